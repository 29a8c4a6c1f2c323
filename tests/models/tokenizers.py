"""Write small CLIP and T5 tokenizers.

They contain the words of the test captions, and any other text byte by byte.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WORDS = ("red", "green", "blue", "circle", "square", "photo", "of", "background", "bright", "small")
START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_LENGTH = 77
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?-_<>*()'\"/ "
EXTRA_IDS = 8


def _byte_letters() -> list[str]:
    """Return the letter for each byte in GPT-2's and CLIP's vocabularies, in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]


def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return CLIP's vocabulary for ``WORDS`` and the merges that build them from letters."""
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        left = word[0]
        for number, letter in enumerate(word[1:], 2):
            right = letter + ("</w>" if number == len(word) else "")
            if (left, right) not in merges:
                merges.append((left, right))
            left += right
    letters = _byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge) for merge in merges), START, END]
    return {token: number for number, token in enumerate(tokens)}, merges


def write_clip(folder: Path, pad: str = END) -> None:
    """Write a CLIP tokenizer; the second text encoders of SD2 and SDXL pad with ``!``."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = clip_vocabulary()
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    _write(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    _write(folder / "special_tokens_map.json", special)
    facts = {"tokenizer_class": "CLIPTokenizer", "model_max_length": CLIP_LENGTH, "do_lower_case": True, "errors": "replace"}
    _write(folder / "tokenizer_config.json", facts | special | {"add_prefix_space": False})


def t5_tokens() -> list[tuple[str, float]]:
    """Return T5's pieces with their scores: special tokens first, then words, letters, and the extra tokens at the end."""
    words = [(f"▁{word}", -2.0) for word in WORDS] + [("▁", -3.0), ("▁a", -2.5)]
    letters = [(letter, -6.0) for letter in LETTERS if letter != " "]
    extra = [(f"<extra_id_{number}>", 0.0) for number in range(EXTRA_IDS)]
    return [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *words, *letters, *extra]


def write_t5(folder: Path, length: int = 512) -> None:
    """Write a T5 tokenizer without a SentencePiece model."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = t5_tokens()
    special = [*range(3), *range(len(pieces) - EXTRA_IDS, len(pieces))]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": pieces[number][0], **flags} for number in special],
        "normalizer": {"type": "NFKC"},
        "pre_tokenizer": metaspace,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, end],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, end, {"Sequence": {"id": "B", "type_id": 0}}, end],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": pieces, "byte_fallback": False},
    }
    _write(folder / "tokenizer.json", tokenizer)
    facts = {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    _write(folder / "tokenizer_config.json", facts | {"extra_ids": EXTRA_IDS, "model_max_length": length})


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
