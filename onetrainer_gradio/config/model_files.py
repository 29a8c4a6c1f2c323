"""Recognize model files and folders by their first bytes and tensor names, without loading weights or running code.

The pre-flight check and the engine use ``unfit``, so both report the same about a file that a setting can't use.
"""

from __future__ import annotations

import io
import json
import os
import pickletools
import re
import stat
import struct
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

LARGEST_HEADER = 100_000_000
"""Bytes: safetensors' own limit for a header."""
_HEAD = 1024
_LARGEST_PICKLE = 64_000_000

# the roles of a file: what a setting uses it for; PIPELINE is a component in a separate pipeline
BASE, COMPONENT, PIPELINE, LORA, EMBEDDING = "base", "component", "pipeline", "lora", "embedding"


@dataclass(frozen=True)
class Recognized:
    """What a file is. ``kind`` is a key of ``_KINDS``, ``detail`` completes its description, ``keys`` are its tensor names."""

    kind: str
    detail: str = ""
    keys: tuple[str, ...] = ()
    container: str = ""
    """The file format: safetensors, torch or gguf."""


@dataclass(frozen=True)
class Unfit:
    """Why a setting can't use a file or folder (a sentence without its subject), and what to choose instead."""

    what: str
    suggestion: str

    def about(self, name: str) -> str:
        """Return the sentence about a file."""
        return f"{name} {self.what}"


# kind -> (what the file is, what to do about it whatever it was meant for)
_BROKEN: Mapping[str, tuple[str, str]] = {
    "empty": ("is empty (0 bytes)", "Download or copy it again."),
    "lfs": (
        "is a Git LFS pointer, not the file itself{detail}",
        "Run “git lfs pull” in the repository, or download the file from the model page.",
    ),
    "html": ("is a web page saved under this name", "Download the file itself. The site may require you to sign in first."),
    "text": ("is a text file, not a model", "Choose the model file."),
    "json": ("is a JSON file, not a model", "Choose the model file."),
    "image": ("is an image, not a model", "Choose the model file."),
    "archive": ("is an archive ({detail}), not a model", "Unpack it and choose the model file inside."),
    "truncated": ("is incomplete: {detail}", "Download or copy it again."),
    "damaged": ("is damaged: {detail}", "Download or copy it again."),
    "misnamed": ("is a {detail}", "Rename the file with the extension of its type."),
    "lightning": (
        "is a PyTorch Lightning checkpoint with objects of a training program in addition to the weights{detail}. "
        "Loading them would run code, so it is not loaded",
        "Choose the model as .safetensors, or convert it on a machine where you trust the file.",
    ),
    "code": (
        "is a pickle file that would run code when it is loaded{detail}, so it is not loaded",
        "Choose the model as .safetensors, or convert it on a machine where you trust the file.",
    ),
}

# kind -> what the file is; the role decides whether it can be used
_KINDS: Mapping[str, str] = {
    "lora": "is a LoRA",
    "embedding": "is an embedding (textual inversion)",
    "checkpoint": "is a full checkpoint",
    "no-vae": "is a checkpoint without a VAE",
    "no-encoder": "is a checkpoint without a text encoder",
    "denoiser": "contains only a denoiser, without VAE and text encoder",
    "vae": "is a VAE",
    "text-encoder": "is a text encoder",
    "gguf": "is a GGUF file, which contains only a quantized denoiser",
    "pipeline": "is a folder of a full model in diffusers layout",
    "component": "is a folder of a single model component ({detail})",
    "adapter-folder": "is a folder of an adapter in PEFT format",
    "adapter-backup": "is a backup of a LoRA run",
}

_NO_COMPONENT = dict.fromkeys(
    ("lora", "embedding", "adapter-folder", "adapter-backup"), "Choose a model component, or clear the setting."
)
_A_BASE = "Choose a folder in diffusers layout, or a checkpoint that contains denoiser, VAE and text encoder."
# role -> kinds that can't be used, with what to choose instead
_MISPLACED: Mapping[str, Mapping[str, str]] = {
    BASE: {
        "lora": "Choose the base model here, and set LoRA base model to the LoRA.",
        "embedding": "Choose the base model here, and set Base embedding to the embedding.",
        "adapter-folder": _A_BASE,
        "adapter-backup": "Choose the base model here, and resume from the backup.",
        "vae": _A_BASE,
        "text-encoder": _A_BASE,
        "component": "Choose the folder above it, which contains model_index.json.",
    },
    COMPONENT: {**_NO_COMPONENT, "pipeline": "Choose the component’s subfolder, such as vae."},
    PIPELINE: _NO_COMPONENT,
    LORA: {
        "embedding": "Choose a LoRA file.",
        "checkpoint": "Choose a LoRA file here, and this file as the base model.",
        "no-vae": "Choose a LoRA file.",
        "no-encoder": "Choose a LoRA file.",
        "denoiser": "Choose a LoRA file.",
        "vae": "Choose a LoRA file.",
        "text-encoder": "Choose a LoRA file.",
        "gguf": "Choose a LoRA file.",
        "pipeline": "Choose a LoRA file here, and this folder as the base model.",
        "component": "Choose a LoRA file.",
    },
    EMBEDDING: {
        "lora": "Choose an embedding file, or set Training method to LoRA for this file.",
        "checkpoint": "Choose an embedding file here, and this file as the base model.",
        "no-vae": "Choose an embedding file.",
        "no-encoder": "Choose an embedding file.",
        "denoiser": "Choose an embedding file.",
        "vae": "Choose an embedding file.",
        "text-encoder": "Choose an embedding file.",
        "gguf": "Choose an embedding file.",
        "pipeline": "Choose an embedding file here, and this folder as the base model.",
        "component": "Choose an embedding file.",
        "adapter-folder": "Choose an embedding file.",
        "adapter-backup": "Choose an embedding file.",
    },
}
# For a base model that is loaded from a single file.
_INCOMPLETE = ("no-vae", "no-encoder", "denoiser", "gguf")

_ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_CONTAINERS = {"safetensors": "safetensors file", "torch": "PyTorch file (.ckpt, .pt)", "gguf": "GGUF file"}

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs.github.com/spec/", "lfs", ""),
    (b"GGUF", "gguf", ""),
    (b"\x89PNG", "image", ""),
    (b"\xff\xd8\xff", "image", ""),
    (b"GIF8", "image", ""),
    (b"7z\xbc\xaf\x27\x1c", "archive", "7z"),
    (b"Rar!", "archive", "rar"),
    (b"\x1f\x8b", "archive", "gzip"),
)
_HTML = re.compile(rb"\s*(<!doctype html|<html|<\?xml|<head|<!--)", re.IGNORECASE)

_LORA_KEY = re.compile(
    r"(^|\.)lora_(down|up|mid|A|B|E)(\.|$)|\.lora\.(down|up)\.|_lora\.(down|up)\.|\.hada_w[12]_|\.hada_t|\.lokr_|\.oft_(R|blocks)|^lora_|^lycoris_"
)
_EMBEDDING_KEYS = frozenset({"emp_params", "emp_params_out", "clip_l", "clip_g", "t5", "gemma", "llama", "string_to_param", "*"})
_DENOISER_KEY = re.compile(
    r"^(model\.diffusion_model|net)\.|^(double_blocks|joint_blocks|transformer_blocks|single_transformer_blocks|single_blocks)\."
    r"|^down_blocks\.\d+\.(attentions|resnets)\.|^input_blocks\.\d+\."
)
_VAE_KEY = re.compile(r"^(decoder|encoder)\.(conv_in|conv_out|mid_block|mid\.|up_blocks|down_blocks|up\.|down\.)")
_ENCODER_KEY = re.compile(r"^(text_model|transformer\.text_model)\.|^encoder\.block\.|^shared\.weight$")
_IN_CHECKPOINT = {"vae": ("first_stage_model.", "vae."), "encoder": ("cond_stage_model.", "conditioner.", "text_encoders.")}

# what a pickle of weights names; torch's own restricted loader accepts these
_PLAIN_MODULES = re.compile(r"^(torch|torch\._utils|torch\.nn\.parameter|torch\.storage|torch\._tensor|collections|_codecs)$")
_PLAIN_TORCH = re.compile(r"^(\w*Storage|Size|device|dtype|Tensor|bool|\w*(float|int|complex)\w*)$")
_PLAIN_BUILTINS = frozenset({"set", "frozenset", "bytearray", "complex", "dict", "list", "tuple", "int", "float", "str", "bool"})


def recognize(path: Path) -> Recognized | None:
    """Return what is at ``path``, or None if it doesn't exist, can't be read, or isn't recognized."""
    try:
        if path.is_dir():
            return _folder(path)
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        return _known(str(path), status.st_size, status.st_mtime_ns) if status.st_size else Recognized("empty")
    except OSError:  # a missing or unreadable path is another finding
        return None


@lru_cache(maxsize=256)
def _known(path: str, size: int, changed_ns: int) -> Recognized | None:
    """Read a file once per content: the check runs at every edit of a setting, and some pickles take a second."""
    with open(path, "rb") as file:
        found = _file(file, file.read(_HEAD), size)
    ending = os.path.splitext(path)[1].lower()
    if found is None:
        broken = ending == ".safetensors"
        return Recognized("damaged", "it doesn't begin like a safetensors file") if broken else None
    if found.kind in _BROKEN:
        return found
    tensors = ending == ".safetensors"
    if found.container and ending in _ENDINGS and tensors != (found.container == "safetensors"):
        return Recognized("misnamed", f"{_CONTAINERS[found.container]} with the extension {ending}")
    return found


def unfit(path: Path, role: str, *, whole: bool = True, components: Collection[str] = ()) -> Unfit | None:
    """Return why a setting of ``role`` can't use the file or folder at ``path``, or None if there is no known reason.

    With ``whole``, a base model in one file must contain every component. ``components`` are the subfolders of a folder in
    diffusers layout that are loaded.
    """
    found = recognize(path)
    if found is None:
        return None
    if found.kind in _BROKEN:
        what, suggestion = _BROKEN[found.kind]
        return Unfit(what.format(detail=found.detail), suggestion)
    suggestion = _MISPLACED[role].get(found.kind, "")
    if not suggestion and role == BASE and whole and found.kind in _INCOMPLETE:
        suggestion = _A_BASE
    if suggestion:
        return Unfit(_KINDS[found.kind].format(detail=found.detail), suggestion)
    if found.kind == "pipeline" and role == BASE:
        return _component_unfit(path, components)
    return None


def header_of(path: Path) -> dict[str, Any]:
    """Return the header of a .safetensors file; empty if it isn't one, or can't be read."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length <= LARGEST_HEADER else None
    except (OSError, ValueError, struct.error, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


# ------------------------------------------------------------------------------------------------------------------ files


def _file(file: io.BufferedReader, head: bytes, size: int) -> Recognized | None:
    for magic, kind, detail in _MAGIC:
        if head.startswith(magic):
            return Recognized(kind, _pointed(head) if kind == "lfs" else detail, container="gguf" if kind == "gguf" else "")
    if _HTML.match(head):
        return Recognized("html")
    if head.startswith(b"PK\x03\x04"):
        return _zip(file)
    # a safetensors file begins with the length of its header, which is a JSON object; the length can look like a pickle's start
    if len(head) > 8 and head[8:9] in b"{ " and struct.unpack("<Q", head[:8])[0] <= LARGEST_HEADER:
        return _safetensors(file, size)
    if head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5:
        file.seek(0)
        return _pickled(file.read(_LARGEST_PICKLE))
    if _is_text(head):
        return Recognized("json" if head.lstrip()[:1] in (b"{", b"[") else "text")
    if size < 8:
        return Recognized("truncated", f"it has {size} bytes")
    return None


def _pointed(head: bytes) -> str:
    size = re.search(rb"^size (\d{1,18})$", head, re.MULTILINE)
    return f" (which has {int(size[1]):,} bytes)" if size else ""


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4 or error.start == 0:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\r\n\t\f" for character in text)


def _safetensors(file: io.BufferedReader, size: int) -> Recognized:
    file.seek(0)
    (length,) = struct.unpack("<Q", file.read(8))
    if 8 + length > size:
        return Recognized("truncated", f"it has {size:,} bytes, and its header alone has {8 + length:,}")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        return Recognized("damaged", "its header is unreadable")
    if not isinstance(header, dict):
        return Recognized("damaged", "its header is not an object")
    tensors = {key: value for key, value in header.items() if key != "__metadata__"}
    try:
        end = max((int(value["data_offsets"][1]) for value in tensors.values()), default=0)
    except (KeyError, TypeError, ValueError, IndexError):
        return Recognized("damaged", "its header doesn't describe tensors")
    if 8 + length + end > size:
        return Recognized("truncated", f"it has {size:,} of {8 + length + end:,} bytes")
    return replace(_of_keys(tensors) or Recognized("", keys=tuple(tensors)), container="safetensors")


def _of_keys(names: Iterable[str]) -> Recognized | None:
    """Return the kind of weights that tensor names belong to."""
    keys = tuple(names)
    if not keys:
        return None
    if any(_LORA_KEY.search(key) for key in keys):
        return Recognized("lora", keys=keys)
    if set(keys) <= _EMBEDDING_KEYS | {f"{key}_out" for key in _EMBEDDING_KEYS}:
        return Recognized("embedding", keys=keys)
    has = {part: any(key.startswith(prefixes) for key in keys) for part, prefixes in _IN_CHECKPOINT.items()}
    denoiser = any(_DENOISER_KEY.search(key) for key in keys)
    if any(has.values()):
        kind = "checkpoint" if all(has.values()) else "no-encoder" if has["vae"] else "no-vae"
        return Recognized(kind if denoiser else "", keys=keys)
    if denoiser:
        return Recognized("denoiser", keys=keys)
    if any(_VAE_KEY.search(key) for key in keys):
        return Recognized("vae", keys=keys)
    if any(_ENCODER_KEY.search(key) for key in keys):
        return Recognized("text-encoder", keys=keys)
    return None


# ----------------------------------------------------------------------------------------------------------------- pickles


def _zip(file: io.BufferedReader) -> Recognized | None:
    try:
        with zipfile.ZipFile(file) as archive:
            pickled = next((item for item in archive.infolist() if item.filename.endswith("data.pkl")), None)
            if pickled is None:
                return Recognized("archive", "zip")
            with archive.open(pickled) as stream:
                return _pickled(stream.read(_LARGEST_PICKLE))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, RuntimeError):
        return Recognized("truncated", "it is a PyTorch file that ends early")


def _pickled(data: bytes) -> Recognized | None:
    """Recognize a pickle by its globals and strings, from its operations alone."""
    named: list[str] = []
    strings: list[str] = []
    try:
        for operation, argument, _ in pickletools.genops(data):
            if operation.name in ("GLOBAL", "INST"):
                named.append(str(argument).replace(" ", "."))
            elif operation.name == "STACK_GLOBAL":
                named.append(".".join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    except (ValueError, IndexError, struct.error, UnicodeDecodeError):
        # an old file of several pickles is read up to its first end; anything else ends early
        if not named and not strings:
            return Recognized("damaged", "PyTorch didn't write it")
    lightning = any(text.startswith("pytorch-lightning") for text in strings)
    foreign = next((name for name in named if not _plain(name)), "")
    if foreign:
        return Recognized("lightning" if lightning else "code", f" ({foreign})")
    found = _of_keys(text for text in strings if not text.isdigit() and ("." in text or text in _EMBEDDING_KEYS))
    return replace(found or Recognized(""), container="torch")


def _plain(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    if module in ("builtins", "__builtin__"):
        return attribute in _PLAIN_BUILTINS
    if module == "torch":
        return bool(_PLAIN_TORCH.match(attribute))
    return bool(_PLAIN_MODULES.match(module))


# ----------------------------------------------------------------------------------------------------------------- folders

_WEIGHTS = ("diffusion_pytorch_model", "model", "pytorch_model")
_NO_WEIGHTS = re.compile(r"Scheduler|Tokenizer|Processor|FeatureExtractor|SafetyChecker")


def _folder(folder: Path) -> Recognized | None:
    if (folder / "lora" / "lora.safetensors").is_file():
        return Recognized("adapter-backup")
    if any((folder / name).is_file() for name in ("model_index.json", "modular_model_index.json", "meta.json")):
        return Recognized("pipeline")
    if (folder / "adapter_config.json").is_file():
        return Recognized("adapter-folder")
    config = _document(folder / "config.json")
    if isinstance(config, dict):
        kind = config.get("_class_name") or next(iter(config.get("architectures") or ()), "") or config.get("model_type") or "?"
        return Recognized("component", str(kind)[:80])
    return None


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _component_unfit(folder: Path, wanted: Collection[str]) -> Unfit | None:
    """Return the problem with the weights of a folder in diffusers layout."""
    index = _document(folder / "model_index.json")
    if not isinstance(index, dict):
        if (folder / "model_index.json").is_file():
            return Unfit("has an unreadable model_index.json", "Download or copy the folder again.")
        return None
    for name, value in index.items():
        loaded = isinstance(value, list) and len(value) == 2 and isinstance(value[1], str)
        if not loaded or _NO_WEIGHTS.search(value[1]) or (wanted and name not in wanted):
            continue
        problem = weights_unfit(folder / name)
        if problem is not None:
            return Unfit(f"has the component {name}, which {problem.what}", problem.suggestion)
    return None


def weights_unfit(folder: Path) -> Unfit | None:
    """Return the problem with the weights of one component: missing, without a shard, or broken."""
    again = "Download or copy the folder again."
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return Unfit("is missing", again)
    single = any(f"{name}.safetensors" in names for name in _WEIGHTS)
    for index in (name for name in names if name.endswith(".index.json") and not single):
        shards = _shards(folder / index)
        if shards is None:
            return Unfit(f"has an unreadable index of weight files ({index})", again)
        missing = [shard for shard in shards if shard not in names]
        if missing:
            return Unfit(f"lacks {len(missing)} of the {len(shards)} weight files that {index} lists, first {missing[0]}", again)
    weights = [name for name in names if name.split(".")[0].split("-")[0] in _WEIGHTS and name.endswith((".safetensors", ".bin"))]
    if not weights:
        return Unfit("has no weight files", again)
    # the plain safetensors files are loaded; variants and .bin files only where there are none
    plain = [name for name in weights if name.endswith(".safetensors") and name.count(".") == 1]
    for name in plain or [item for item in weights if item.endswith(".safetensors")] or weights:
        found = recognize(folder / name)
        if found is not None and found.kind in _BROKEN:
            what, suggestion = _BROKEN[found.kind]
            return Unfit(f"has the weight file {name}, which {what.format(detail=found.detail)}", suggestion)
    return None


def _shards(index: Path) -> list[str] | None:
    document = _document(index)
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict):
        return None
    return sorted({str(name) for name in weight_map.values()})


_FAMILIES: tuple[tuple[str, str], ...] = (
    ("conditioner.embedders.", "STABLE_DIFFUSION_XL"),
    ("cond_stage_model.model.", "STABLE_DIFFUSION_2"),
    ("cond_stage_model.transformer.", "STABLE_DIFFUSION_1"),
)


def family_of(path: Path) -> str:
    """Return the common prefix of the model types of a single-file checkpoint; empty if its tensor names don't show it."""
    found = recognize(path)
    keys = found.keys if found is not None and found.kind in ("checkpoint", "no-vae") else ()
    return next((family for start, family in _FAMILIES if any(key.startswith(start) for key in keys)), "")


def damage(path: Path) -> str:
    """Return why a file of a backup can't be read, as the end of a sentence; empty if no problem is found."""
    found = recognize(path)
    if found is None or found.kind not in _BROKEN:
        return ""
    return _BROKEN[found.kind][0].format(detail=found.detail)
