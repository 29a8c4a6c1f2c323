"""Convert LoRA files between all formats: of OneTrainer, kohya, ComfyUI and diffusers, and backups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from onetrainer_gradio import __version__
from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.enums import ModelFormat, ModelType
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.model_files import LORA, unfit
from onetrainer_gradio.config.paths.marker import HEADER_KEY
from onetrainer_gradio.engine.files import digest, write_tensors
from onetrainer_gradio.engine.keys import has_keys, keys_of
from onetrainer_gradio.engine.keys.adapters import DOWN, layers_of
from onetrainer_gradio.engine.keys.family_keys import FamilyKeys, Tensors
from onetrainer_gradio.engine.keys.lora_files import LoraKeys, formats_of, read_adapter, unread_by_diffusers, write_adapter
from onetrainer_gradio.engine.precision import DTYPES
from onetrainer_gradio.errors import ModelFormatError, ModelNotFoundError, OutputExistsError


@dataclass(frozen=True)
class Conversion:
    """What a conversion did: the model type of the LoRA, the number of tensors written, and what the format can't express."""

    model_type: ModelType
    tensors: int
    warning: str


def convert_lora(
    source: Path, destination: Path, model_format: str, model_type: str = "", *, overwrite: bool = False, dtype: str = ""
) -> Conversion:
    """Write the LoRA in ``source`` (a file, or a backup) to ``destination`` in another format.

    The header is copied, with a new date and hash. Without ``model_type``, it is recognized by the tensors. With ``dtype``
    (``FLOAT_16`` and the like), the weights get that data type.

    :raises ModelNotFoundError: if ``source`` doesn't exist.
    :raises ModelFormatError: if it isn't a LoRA of the type, or of any, or the format can't hold it.
    :raises OutputExistsError: if ``destination`` exists, without ``overwrite``.
    """
    file = source / "lora" / "lora.safetensors" if source.is_dir() else source
    tensors, header = _content(file)
    found, adapter = _recognized(tensors, model_type, str(source))
    wanted = ModelFormat(model_format)
    if wanted not in formats_of(found):
        raise ModelFormatError(
            f"{label_of(ModelFormat, wanted)} isn't available for a LoRA of {MODELS[found].label}.",
            path="output_model_format",
            value=model_format,
            suggestion="Choose another format.",
        )
    if destination.exists() and not overwrite:
        raise OutputExistsError(
            f"“{destination}” already exists.", path="destination", suggestion="Choose another name, or allow overwriting."
        )
    written = write_adapter(adapter, wanted, keys_of(found))
    if dtype:
        written = {name: tensor.to(DTYPES[dtype]) for name, tensor in written.items()}
    write_tensors(destination, written, _header(header, written))
    warning = unread_by_diffusers(adapter) if wanted is ModelFormat.DIFFUSERS_LORA else ""
    return Conversion(found, len(written), warning)


def _content(file: Path) -> tuple[Tensors, dict[str, str]]:
    if not file.is_file():
        raise ModelNotFoundError(f"The LoRA “{file}” doesn't exist.", path="source", value=str(file))
    problem = unfit(file, LORA)
    if problem is not None:
        raise ModelFormatError(
            f"The LoRA “{file}” {problem.what}.", path="source", value=str(file), suggestion=problem.suggestion
        )
    try:
        with safe_open(file, "pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, dict(opened.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise ModelFormatError(
            f"Can't read the LoRA “{file}”: {error}", path="source", value=str(file), expected="a .safetensors file"
        ) from error


def _recognized(tensors: Mapping[str, Tensor], model_type: str, source: str) -> tuple[ModelType, Tensors]:
    """Return the model type and the adapter, by the names of the layers and the widths of the text encoders."""
    if model_type:
        return ModelType(model_type), read_adapter(tensors, LoraKeys.published(model_type), source)
    for candidate in MODELS:
        if has_keys(candidate):
            names = LoraKeys.published(candidate)
            try:
                adapter = read_adapter(tensors, names, source)
            except ModelFormatError:
                continue
            if _has_widths(adapter, names.keys):
                return candidate, adapter
    raise ModelFormatError(
        f"The LoRA “{source}” is for no model type that can be converted.",
        path="source",
        value=source,
        expected=", ".join(dict.fromkeys(facts.label for name, facts in MODELS.items() if has_keys(name))),
    )


def _has_widths(adapter: Mapping[str, Tensor], keys: FamilyKeys) -> bool:
    """Return whether the attention of each text encoder has as many inputs as that of the published model."""
    widths = {f"{name}.": encoder.width for name, encoder in keys.encoders.items()}
    return all(
        layer[DOWN].shape[1] == width
        for module, layer in layers_of(adapter).items()
        if DOWN in layer
        for start, width in widths.items()
        if module.startswith(start) and module.endswith((".q_proj", ".SelfAttention.q"))
    )


def _header(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {
        **header,
        HEADER_KEY: __version__,
        "modelspec.date": date.today().isoformat(),
        "modelspec.hash_sha256": f"0x{digest(tensors)}",
    }
