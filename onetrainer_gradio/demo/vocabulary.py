"""Create a small CLIP vocabulary: every byte, and one token for each word of the toy dataset.

The trigger word is split into tokens that no training caption contains.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

from onetrainer_gradio.demo import toy_dataset

START = "<|startoftext|>"
END = "<|endoftext|>"
WORD_END = "</w>"
TOKENS = 77
"""Length to which every prompt is padded."""

Pair = tuple[str, str]


def words_of_the_dataset() -> tuple[str, ...]:
    """Return every word that a caption of the base model's training can contain, sorted."""
    phrases = [*toy_dataset.SHAPES, *toy_dataset.COLORS, *toy_dataset.PLACES, *toy_dataset.BACKGROUNDS, "a on background"]
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))


def byte_letters() -> list[str]:
    """Return one printable letter for each of the 256 bytes, in byte order.

    Source: the byte alphabet of GPT-2's byte-level pair encoding: printable Latin-1 stays, the rest moves up
    behind U+0100.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letters = []
    moved = 0
    for byte in range(256):
        if byte in printable:
            letters.append(chr(byte))
        else:
            letters.append(chr(0x100 + moved))
            moved += 1
    return letters


def merges_for(words: tuple[str, ...]) -> list[Pair]:
    """Return the pair merges, most frequent first, that make every given word a single token."""
    spelled = [[*word[:-1], word[-1] + WORD_END] for word in words]
    merges: list[Pair] = []
    while True:
        pairs = Counter(pair for letters in spelled for pair in pairwise(letters))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_merged(letters, best) for letters in spelled]


def _merged(letters: list[str], pair: Pair) -> list[str]:
    result: list[str] = []
    for letter in letters:
        if result and (result[-1], letter) == pair:
            result[-1] += letter
        else:
            result.append(letter)
    return result


def build_vocabulary() -> tuple[dict[str, int], list[Pair]]:
    """Return tokens with their IDs, and the merges. The two special tokens are last, as in CLIP."""
    letters = sorted(byte_letters())
    merges = merges_for(words_of_the_dataset())
    tokens = [*letters, *(letter + WORD_END for letter in letters)]
    tokens += [token for token in dict.fromkeys(a + b for a, b in merges) if token not in set(tokens)]
    tokens += [START, END]
    return {token: number for number, token in enumerate(tokens)}, merges


def write_tokenizer(folder: Path) -> None:
    """Write the four files of a CLIPTokenizer."""
    vocabulary, merges = build_vocabulary()
    folder.mkdir(parents=True, exist_ok=True)
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = {
        **special,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": TOKENS,
        "tokenizer_class": "CLIPTokenizer",
    }
    contents = {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *(f"{a} {b}" for a, b in merges)]) + "\n",
        "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
        "special_tokens_map.json": json.dumps(special, indent=2) + "\n",
    }
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
