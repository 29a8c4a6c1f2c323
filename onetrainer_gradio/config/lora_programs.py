"""Which result files other programs read, where they expect them, and whether a LoRA has the tensor names that they look for.

Only the header of a file is read. The tables are facts about ComfyUI, Forge and AUTOMATIC1111, diffusers and OneTrainer; a family
has the name of its module in ``config/families``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.enums import ModelFormat, ModelType, TrainingMethod
from onetrainer_gradio.config.families.models import MODELS, family_module, output_formats
from onetrainer_gradio.config.model_files import BASE, EMBEDDING, recognize, unfit
from onetrainer_gradio.config.model_files import LORA as LORA_FILE

DIFFUSERS, KOHYA, LEGACY = ModelFormat.DIFFUSERS_LORA, ModelFormat.KOHYA_LORA, ModelFormat.LEGACY_LORA
ORIGINAL, COMFY, INTERNAL = ModelFormat.ORIGINAL_LORA, ModelFormat.COMFY_LORA, ModelFormat.INTERNAL

LORA, DORA, LOHA, LOKR, OFT = "LoRA", "DoRA", "LoHa", "LoKr", "OFT"


@dataclass(frozen=True)
class Program:
    """A program that generates images or trains.

    ``reads`` are the formats of LoRAs that it reads by family, the best one first; a family that isn't there isn't supported.
    ``places`` are the folder and the instruction by kind of result: ``lora``, ``checkpoint``, ``denoiser``, ``folder`` and
    ``embedding``. ``{name}`` in an instruction is the file's name without extension, ``{path}`` its path.
    """

    key: str
    title: str
    reads: Mapping[str, Sequence[ModelFormat]]
    algorithms: frozenset[str]
    places: Mapping[str, tuple[str, str]]
    unread: frozenset[tuple[str, ModelFormat]] = frozenset()
    """Algorithms that it doesn't read in a format, although it reads both elsewhere."""


_FAMILIES = tuple(dict.fromkeys(family_module(each) for each in MODELS))
_ALL = frozenset({LORA, DORA, LOHA, LOKR, OFT})
_UNET = ("stable_diffusion", "stable_diffusion_xl")

COMFYUI = Program(
    "comfyui",
    "ComfyUI",
    {
        **{name: (COMFY, KOHYA) for name in _FAMILIES if name not in ("sana", "wuerstchen")},
        **dict.fromkeys(_UNET, (KOHYA, COMFY, LEGACY)),
        **dict.fromkeys(("flux_1", "stable_diffusion_3"), (COMFY, KOHYA, DIFFUSERS, LEGACY)),
        **dict.fromkeys(("qwen", "hi_dream"), (COMFY, KOHYA, DIFFUSERS, ORIGINAL)),
        **dict.fromkeys(("pixart", "z_image"), (COMFY, KOHYA, DIFFUSERS)),
    },
    _ALL - {OFT},
    {
        "lora": ("ComfyUI/models/loras", "Add the node “Load LoRA” and choose {name}."),
        "checkpoint": ("ComfyUI/models/checkpoints", "Choose {name} in the node “Load Checkpoint”."),
        "denoiser": ("ComfyUI/models/diffusion_models", "Choose {name} in the node “Load Diffusion Model”."),
        "embedding": ("ComfyUI/models/embeddings", "Write embedding:{name} in the prompt."),
    },
    frozenset({(DORA, DIFFUSERS)}),
)
FORGE = Program(
    "forge",
    "Forge, A1111",
    {
        **dict.fromkeys(_UNET, (KOHYA, LEGACY)),
        "stable_diffusion_3": (KOHYA,),
        "flux_1": (KOHYA, LEGACY, DIFFUSERS),
        "chroma": (KOHYA,),
    },
    _ALL - {OFT},
    {
        "lora": ("models/Lora", "Write <lora:{name}:1> in the prompt."),
        "checkpoint": ("models/Stable-diffusion", "Choose {name} as checkpoint."),
        "denoiser": ("models/Stable-diffusion", "Choose {name} as checkpoint, and VAE and text encoders with it. Forge only."),
        "embedding": ("embeddings", "Write {name} in the prompt."),
    },
    frozenset({(DORA, DIFFUSERS)}),
)
DIFFUSERS_LIBRARY = Program(
    "diffusers",
    "diffusers",
    {
        **dict.fromkeys(_UNET, (DIFFUSERS, KOHYA, LEGACY)),
        "flux_1": (DIFFUSERS, KOHYA),
        **dict.fromkeys(
            (
                *("stable_diffusion_3", "flux_2", "sana", "hunyuan_video", "hi_dream", "chroma", "qwen", "anima", "krea_2"),
                *("z_image", "ernie", "ideogram_4"),
            ),
            (DIFFUSERS,),
        ),
    },
    frozenset({LORA, DORA}),
    {
        "lora": ("", 'pipeline.load_lora_weights("{path}")'),
        "folder": ("", 'DiffusionPipeline.from_pretrained("{path}")'),
        "embedding": ("", 'pipeline.load_textual_inversion("{path}")'),
    },
)
ONETRAINER = Program(
    "onetrainer",
    "OneTrainer",
    dict.fromkeys(_FAMILIES, (KOHYA, DIFFUSERS, COMFY, ORIGINAL, LEGACY, INTERNAL)),
    _ALL,
    {
        "lora": ("", "Choose it as LoRA base model on the tab LoRA."),
        "checkpoint": ("", "Choose it as base model."),
        "denoiser": ("", "Choose it as override of the denoiser."),
        "folder": ("", "Choose it as base model."),
        "embedding": ("", "Choose it as base embedding."),
    },
)
PROGRAMS = (COMFYUI, FORGE, DIFFUSERS_LIBRARY, ONETRAINER)

_UNET_ROOTS = "conv_in time_embedding add_embedding down_blocks mid_block up_blocks conv_norm_out conv_out"
_JOINT_ROOTS = "transformer_blocks context_embedder time_text_embed norm_out proj_out"
_FLUX_ROOTS = f"{_JOINT_ROOTS} single_transformer_blocks x_embedder"
_ORIGINAL_UNET_ROOTS = "input_blocks middle_block output_blocks time_embed label_emb out"
_BLOCKS = "double_blocks single_blocks txt_in img_in final_layer"
ROOTS: Mapping[str, tuple[str, str]] = {
    "stable_diffusion": (_UNET_ROOTS, _ORIGINAL_UNET_ROOTS),
    "stable_diffusion_xl": (_UNET_ROOTS, _ORIGINAL_UNET_ROOTS),
    "stable_diffusion_3": (
        f"{_JOINT_ROOTS} pos_embed",
        "joint_blocks context_embedder x_embedder t_embedder y_embedder final_layer",
    ),
    "flux_1": (_FLUX_ROOTS, f"{_BLOCKS} time_in vector_in guidance_in"),
    "chroma": (f"{_FLUX_ROOTS} distilled_guidance_layer", f"{_BLOCKS} distilled_guidance_layer"),
    "hunyuan_video": (_FLUX_ROOTS, f"{_BLOCKS} time_in vector_in guidance_in"),
}
"""What the path of a layer of the denoiser begins with by family: in diffusers, and in files with native names."""

_SUFFIX = re.compile(
    r"\.(?:alpha|dora_scale|lora_magnitude_vector(?:\.weight)?|lora_(?:down|up|mid|A|B)\.weight|hada_w[12]_[ab]|hada_t[12]"
    r"|lokr_w[12](?:_[ab])?|lokr_t2|oft_R\.(?:weight|scaled_oft))\Z"
)
_COMPONENT = re.compile(r"(?:unet|transformer|prior)\.")
_ENCODER = re.compile(r"text_encoder(?:_\d)?\.")
_FLAT_ENCODER = re.compile(r"lora_(?:prior_)?te\d?_")
_ALGORITHMS = (("oft_R", OFT), ("lokr_", LOKR), ("hada_", LOHA), ("dora_scale", DORA), ("lora_magnitude_vector", DORA))
_KOHYA_AS_DIFFUSERS = "stable_diffusion"
"""The family whose kohya files have the paths of diffusers, so that its legacy files are the same."""


@dataclass(frozen=True)
class LoraNames:
    """What the tensor names of a LoRA show: their format, or None, and the ``unexpected`` names that don't follow it."""

    format: ModelFormat | None
    algorithm: str
    tensors: int
    unexpected: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """Whether a program reads a result. ``format`` is what to convert it to if not; empty if that doesn't help."""

    program: Program
    reads: bool
    problem: str
    format: str
    folder: str
    instruction: str


def lora_names(keys: Iterable[str], model_type: str) -> LoraNames:
    """Return the format of a LoRA by its tensor names, as that model type's files have it."""
    names = tuple(keys)
    family = family_module(ModelType(model_type)) or ""
    algorithm = next((algorithm for mark, algorithm in _ALGORITHMS if any(mark in name for name in names)), LORA)
    peft = any(name.endswith(("lora_A.weight", "lora_B.weight")) for name in names)
    found = {name: _format_of(name, family, peft or algorithm not in (LORA, DORA)) for name in names}
    counts = Counter(each for each in found.values() if each and each != _ANY)
    flat = any(_FLAT_ENCODER.match(name) for name in names)  # a LoRA of text encoders alone
    chosen = counts.most_common(1)[0][0] if counts else KOHYA if flat else None
    unexpected = tuple(name for name, each in found.items() if each not in (chosen, _ANY))
    return LoraNames(chosen, algorithm, len(names), unexpected)


_ANY = ModelFormat("ANY")
"""A name that is the same in several formats: an encoder's in kohya files, or a bundled embedding."""


def _format_of(name: str, family: str, peft: bool) -> ModelFormat | None:
    """Return the format that the name of a tensor belongs to, or None if it belongs to none."""
    if name.startswith("bundle_emb."):
        return _ANY
    module, suffixes = _SUFFIX.subn("", name)
    if not suffixes:
        return None
    if _FLAT_ENCODER.match(module):
        return _ANY
    if module.startswith("lora_unet_"):
        body, joint = module.removeprefix("lora_unet_"), "_"
        if _begins(body, family, joint, native=family != _KOHYA_AS_DIFFUSERS):
            return KOHYA
        return LEGACY if _begins(body, family, joint, native=family == _KOHYA_AS_DIFFUSERS) else None
    if module.startswith(("lora_transformer_", "lora_prior_")):
        return LEGACY
    if module.startswith("text_encoders."):
        return COMFY
    if module.startswith("diffusion_model."):
        return COMFY if _begins(module.removeprefix("diffusion_model."), family, ".", native=True) else None
    if _ENCODER.match(module):
        return DIFFUSERS if peft else INTERNAL
    if prefix := _COMPONENT.match(module):
        fits = _begins(module[prefix.end() :], family, ".", native=False)
        return (DIFFUSERS if peft else INTERNAL) if fits else None
    return ORIGINAL if _begins(module, family, ".", native=True) and not module.startswith("lora_") else None


def _begins(body: str, family: str, joint: str, *, native: bool) -> bool:
    roots = ROOTS.get(family, ("", ""))[native].split()
    return not roots or any(body == root or body.startswith(root + joint) for root in roots)


def readings(path: Path, model_type: str, method: str) -> tuple[LoraNames | None, tuple[Reading, ...]]:
    """Return the tensor names of a result if it is a LoRA, and what each program does with it.

    ``path`` is a LoRA, an embedding, or a model as a file or folder that a run of the type and method saved.
    """
    kind = _kind(path, method)
    broken = unfit(path, {"lora": LORA_FILE, "embedding": EMBEDDING}.get(kind, BASE), whole=False)
    recognized = recognize(path)
    names = lora_names(recognized.keys, model_type) if kind == "lora" and recognized and not broken else None
    if broken is not None:
        problem = f"{broken.about(path.name)}."
        return None, tuple(_reading(program, path, kind, problem) for program in PROGRAMS)
    if names is None:
        return None, tuple(_reading(program, path, kind, _misplaced(program, kind)) for program in PROGRAMS)
    return names, tuple(
        _reading(program, path, kind, *lora_problem(program, names, model_type), names=names) for program in PROGRAMS
    )


def _kind(path: Path, method: str) -> str:
    if method in (TrainingMethod.LORA, TrainingMethod.EMBEDDING):
        return str(method).lower()
    if path.is_dir():
        return "folder"
    found = recognize(path)
    return "denoiser" if found is not None and found.kind == "denoiser" else "checkpoint"


def _misplaced(program: Program, kind: str) -> str:
    what = {"folder": "folders in diffusers layout", "checkpoint": "single-file checkpoints", "denoiser": "files of a denoiser"}
    return "" if kind in program.places else f"{program.title} doesn't read {what.get(kind, kind)}."


def lora_problem(program: Program, names: LoraNames, model_type: str) -> tuple[str, str]:
    """Return why a program doesn't read a LoRA, as a sentence, and the format to convert it to; both empty if it reads it."""
    known = MODELS.get(ModelType(model_type))
    formats = program.reads.get(family_module(ModelType(model_type)) or "", ())
    if not formats:
        return f"{program.title} doesn't support LoRAs of {known.label if known else model_type}.", ""
    if names.algorithm not in program.algorithms:
        return f"{program.title} doesn't read {names.algorithm}.", ""
    if names.format is None:
        return "The tensor names belong to no format of this model type.", ""
    if names.unexpected:
        return f"{len(names.unexpected)} of {names.tensors} tensors have unexpected names, such as {names.unexpected[0]}.", ""
    if names.format in formats and (names.algorithm, names.format) not in program.unread:
        return "", ""
    written = output_formats(ModelType(model_type), TrainingMethod.LORA)
    wanted = next(
        (each for each in formats if each in written and each != names.format and (names.algorithm, each) not in program.unread),
        None,
    )
    about = f"{program.title} doesn't read the format {label_of(ModelFormat, names.format)}"
    if names.format in formats:
        about += f" with {names.algorithm}"
    return f"{about}.", wanted.value if wanted else ""


def _reading(program: Program, path: Path, kind: str, problem: str, wanted: str = "", names: LoraNames | None = None) -> Reading:
    folder, instruction = program.places.get(kind, ("", ""))
    text = instruction.replace("{name}", path.stem if path.suffix else path.name).replace("{path}", path.as_posix())
    return Reading(program, not problem, problem, wanted, folder, text)
