"""Read and write files of LoRA, DoRA, LoHa, LoKr and OFT with the tensor names of OneTrainer, kohya, ComfyUI and diffusers.

In memory, an adapter is a dict of tensors with internal names, which is also the format of a backup:
``<component>.<module path in diffusers>.<suffix>``, and ``bundle_emb.<placeholder>.<encoder>`` for embeddings. Projections that
native files join may be one layer there too, see ``Fusion``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.enums import ModelFormat, ModelType, TrainingMethod
from onetrainer_gradio.config.families.facts import Fusion
from onetrainer_gradio.config.families.layer_names import layer_names
from onetrainer_gradio.config.families.models import output_formats
from onetrainer_gradio.engine.keys import keys_of
from onetrainer_gradio.engine.keys.adapters import (
    BUNDLE,
    DOWN,
    UP,
    Layer,
    inputs_of,
    is_complete,
    join,
    layers_of,
    outputs_of,
    rank_of,
    separate,
    split_key,
    swapped,
    tensors_of,
)
from onetrainer_gradio.engine.keys.family_keys import EncoderKeys, FamilyKeys, Tensors
from onetrainer_gradio.engine.keys.rules import NUMBER, Swap, template
from onetrainer_gradio.errors import ModelFormatError

INTERNAL = ModelFormat.INTERNAL
FUSED_FORMATS = frozenset({ModelFormat.KOHYA_LORA, ModelFormat.ORIGINAL_LORA, ModelFormat.COMFY_LORA})
"""Formats with native names, which join projections."""


@dataclass(frozen=True)
class LoraKeys:
    """The names of a model's layers in adapter files.

    ``paths`` are the paths of the layers that support adapters by component, as in files: those of a loaded model, or the
    published ones. With ``exact``, no others exist; else only their shape counts, so that numbers may differ.
    """

    keys: FamilyKeys
    paths: Mapping[str, Collection[str]]
    exact: bool = True

    @classmethod
    def published(cls, model_type: str) -> LoraKeys:
        """Return the names for a model type of any published size, without a loaded model.

        :raises UnsupportedError: if the type has no tables.
        """
        keys = keys_of(model_type)
        # layers that only some published sizes have
        optional = (f"{fusion.block}.{NUMBER}.{leaf}" for fusion in keys.fusions for leaf in fusion.leaves)
        denoiser = (*layer_names(ModelType(model_type)), *optional, *keys.optional_layers)
        return cls(keys, {keys.denoiser: denoiser, **{name: text.layers for name, text in keys.encoders.items()}}, exact=False)

    def fused_groups(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the denoiser's layers that native files join: the path of each joined layer, and those of its members.

        They are in OneTrainer's order: by fusion, then by the name of the block as text.
        """
        paths = frozenset(self.paths[self.keys.denoiser])
        found: list[tuple[str, tuple[str, ...]]] = []
        for fusion in self.keys.fusions:
            last = f".{fusion.leaves[0]}"
            for base in sorted(path.removesuffix(last) for path in paths if path.endswith(last)):
                members = tuple(f"{base}.{leaf}" for leaf in fusion.leaves)
                if template(base) == f"{fusion.block}.{NUMBER}" and paths.issuperset(members):
                    found.append((f"{base}.{fusion.fused}", members))
        return tuple(found)

    @cached_property
    def _all_paths(self) -> Mapping[str, tuple[str, ...]]:
        fused = tuple(name for name, _ in self.fused_groups())
        return {
            component: (*paths, *fused) if component == self.keys.denoiser else tuple(paths)
            for component, paths in self.paths.items()
        }

    @cached_property
    def _known(self) -> Mapping[str, frozenset[str]]:
        shape = str if self.exact else template
        return {component: frozenset(map(shape, paths)) for component, paths in self._all_paths.items()}

    def knows(self, component: str, path: str) -> bool:
        """Return whether the component has this layer."""
        return (path if self.exact else template(path)) in self._known.get(component, ())

    @cached_property
    def _flat(self) -> Mapping[str, Mapping[str, str]]:
        """By component: the flat template of a path -> the template with dots."""
        flat: dict[str, dict[str, str]] = {}
        for component, paths in self._all_paths.items():
            names = set(paths)
            if component == self.keys.denoiser:
                natives = (self.keys.paths.to_native(path.replace(NUMBER, "0")) for path in paths)
                names |= {native[0] for native in natives if native}
            dotted = (_NUMBER.sub(NUMBER, name) for name in names)
            flat[component] = {name.replace(".", "_"): name for name in dotted}
        return flat

    def unflattened(self, component: str, flat: str) -> str:
        """Return the path with dots of one with underscores; the same if there is none."""
        dotted = self._flat.get(component, {}).get(_NUMBER.sub(NUMBER, flat), flat)
        for number in _NUMBER.findall(flat):
            dotted = dotted.replace(NUMBER, number, 1)
        return dotted

    def module(self, component: str, path: str) -> tuple[str, Swap] | None:
        """Return the internal name of a layer with diffusers' or the native path; None if the model has none."""
        if self.knows(component, path):
            return f"{component}.{path}", Swap.NEVER
        if component == self.keys.denoiser:
            found = self.keys.paths.to_diffusers(path)
            if found and self.knows(component, found[0]):
                return f"{component}.{found[0]}", found[1]
        elif self.knows(component, f"text_model.{path}"):
            return f"{component}.text_model.{path}", Swap.NEVER
        return None


_NUMBER = re.compile(r"(?<![^_.])\d+(?![^_.])")


# -- reading ----------------------------------------------------------------------------------------------------------------

_ALIASES = (
    (re.compile(r"^base_model\.model\."), ""),
    (re.compile(r"^lycoris_"), "lora_unet_"),
    (re.compile(r"\.default(?=\.|$)"), ""),
    (re.compile(r"[._]lora\.(down|up)\.weight$"), r".lora_\1.weight"),
    (re.compile(r"\.lora_A(\.weight)?$"), f".{DOWN}"),
    (re.compile(r"\.lora_B(\.weight)?$"), f".{UP}"),
    (re.compile(r"\.lora_magnitude_vector(\.weight)?$"), ".dora_scale"),
)
"""Names that other programs use, and ours."""


def read_adapter(tensors: Mapping[str, Tensor], names: LoraKeys, source: str) -> Tensors:
    """Return the adapter in the tensors of a file in any format, with internal names and an alpha for each layer that has one.

    :raises ModelFormatError: if the file is for another model, has an unknown type of adapter, or a layer is incomplete.
    """
    layers: dict[str, Layer] = {}
    bundle: Tensors = {}
    foreign = ""
    for key, tensor in tensors.items():
        if "._aux." in key:  # what OneTrainer keeps for itself
            continue
        if key.startswith(BUNDLE):
            bundle[key] = tensor
            continue
        found = split_key(_plain(key))
        module = _internal(found[0], names) if found else None
        if found is None or module is None:
            foreign = foreign or key
            continue
        layers.setdefault(module[0], {})[found[1]] = _oriented(found[1], key, tensor)
        swaps = module[1]
        if swaps is not Swap.NEVER:
            layers[module[0]].setdefault(_SWAP, torch.tensor(swaps is Swap.ALWAYS))
    broken = next((module for module, layer in layers.items() if not is_complete(layer)), "")
    if foreign or broken or not (layers or bundle):
        raise _unfit(source, foreign, broken)
    return {**tensors_of({module: _whole(module, layer) for module, layer in layers.items()}), **bundle}


_SWAP = "swap"


def _plain(key: str) -> str:
    for pattern, plain in _ALIASES:
        key = pattern.sub(plain, key)
    return key


def _oriented(suffix: str, key: str, tensor: Tensor) -> Tensor:
    """Return peft's magnitude, [out] or [1, out, 1, 1], as [out, 1] or [out, 1, 1, 1]."""
    if suffix == "dora_scale" and "lora_magnitude_vector" in key:
        return tensor.reshape(-1, *([1] * max(tensor.ndim - 1, 1)))
    return tensor


def _whole(module: str, layer: Layer) -> Layer:
    swap = layer.pop(_SWAP, None)
    rank = rank_of(layer)
    if "alpha" not in layer and "oft_R.weight" not in layer:
        layer["alpha"] = torch.tensor(float(rank or 1))
    if swap is not None and (bool(swap) or _is_continuous(layer)):
        layer = swapped(layer, module)
    return layer


def _is_continuous(layer: Layer) -> bool:
    outputs, inputs = outputs_of(layer), inputs_of(layer)
    return outputs is not None and inputs is not None and outputs == 2 * inputs


def _internal(module: str, names: LoraKeys) -> tuple[str, Swap] | None:
    """Return the internal name of the module of a file, in whatever format."""
    keys = names.keys
    for component, encoder in keys.encoders.items():
        for prefix in _encoder_prefixes(component, encoder):
            if module.startswith(prefix):
                path = module.removeprefix(prefix)
                return names.module(component, names.unflattened(component, path) if prefix.endswith("_") else path)
    for prefix in (f"{keys.denoiser}.", "diffusion_model."):
        if module.startswith(prefix):
            return names.module(keys.denoiser, module.removeprefix(prefix))
    for prefix in ("lora_unet_", f"lora_{keys.denoiser}_"):
        if module.startswith(prefix):
            return names.module(keys.denoiser, names.unflattened(keys.denoiser, module.removeprefix(prefix)))
    return names.module(keys.denoiser, module)


def _encoder_prefixes(component: str, encoder: EncoderKeys) -> Iterator[str]:
    yield f"{component}."
    if encoder.comfy:
        yield f"text_encoders.{encoder.comfy}.transformer."
    for prefix in (encoder.kohya, *encoder.others):
        yield f"{prefix}_"


def _unfit(source: str, foreign: str, broken: str) -> ModelFormatError:
    detail = f": it contains “{foreign}”" if foreign else f": the layer “{broken}” is incomplete" if broken else ""
    return ModelFormatError(
        f"The LoRA “{source}” doesn't fit this model{detail}.",
        path="lora_model_name",
        value=source,
        expected="a LoRA for the same model type",
        suggestion="Choose a LoRA for the same model type, or clear LoRA base model.",
    )


# -- writing ----------------------------------------------------------------------------------------------------------------


def write_adapter(adapter: Mapping[str, Tensor], model_format: str, keys: FamilyKeys) -> Tensors:
    """Return the tensors of a file in a LoRA format. Projections are joined or split as the format wants.

    :raises ModelFormatError: if the format can't hold the adapter.
    """
    if model_format == INTERNAL:
        return dict(adapter)
    bundle = {key: tensor for key, tensor in adapter.items() if key.startswith(BUNDLE)}
    write = _WRITERS[ModelFormat(model_format)]
    return {**write(_arranged(adapter, model_format, keys), keys, bool(bundle)), **bundle}


def arranged(adapter: Mapping[str, Tensor], model_format: str, keys: FamilyKeys) -> Tensors:
    """Return an adapter with its projections joined if a format joins them, else split.

    :raises ModelFormatError: if that can't be done exactly.
    """
    bundle = {key: tensor for key, tensor in adapter.items() if key.startswith(BUNDLE)}
    return {**tensors_of(_arranged(adapter, model_format, keys)), **bundle}


def _arranged(adapter: Mapping[str, Tensor], model_format: str, keys: FamilyKeys) -> dict[str, Layer]:
    return fused(adapter, keys) if model_format in FUSED_FORMATS else unfused(adapter, keys)


def fused(adapter: Mapping[str, Tensor], keys: FamilyKeys) -> dict[str, Layer]:
    """Return the layers of an adapter with all projections joined that native files join.

    :raises ModelFormatError: if they can't be joined exactly.
    """
    layers = layers_of(adapter)
    for fusion in keys.fusions:
        for base in dict.fromkeys(base for leaf in fusion.leaves for base in _bases(layers, keys, fusion, leaf)):
            own = [layers.pop(f"{base}.{leaf}", None) for leaf in fusion.leaves]
            module = f"{base}.{fusion.fused}"
            layers[module] = join(own, fusion.shares, module)
    return layers


def unfused(adapter: Mapping[str, Tensor], keys: FamilyKeys) -> dict[str, Layer]:
    """Return the layers of an adapter with all joined projections split.

    :raises ModelFormatError: if they can't be split exactly.
    """
    layers = layers_of(adapter)
    for fusion in keys.fusions:
        for base in _bases(layers, keys, fusion, fusion.fused):
            module = f"{base}.{fusion.fused}"
            pieces = separate(layers.pop(module), fusion.shares, module)
            layers |= {f"{base}.{leaf}": piece for leaf, piece in zip(fusion.leaves, pieces, strict=True)}
    return layers


def _bases(layers: Iterable[str], keys: FamilyKeys, fusion: Fusion, leaf: str) -> list[str]:
    """Return the blocks, with their component, that have a layer ``leaf`` of a fusion."""
    block = f"{keys.denoiser}.{fusion.block}.{NUMBER}"
    bases = (module.removesuffix(f".{leaf}") for module in layers if module.endswith(f".{leaf}"))
    return [base for base in bases if template(base) == block]


def _native(layers: Mapping[str, Layer], keys: FamilyKeys, wanted: ModelFormat) -> Iterator[tuple[str, str, Layer]]:
    """Yield component, path and layer, with native paths and order of halves for the denoiser."""
    for module, layer in layers.items():
        component, _, path = module.partition(".")
        if component != keys.denoiser:
            yield component, path, layer
            continue
        found = keys.paths.to_native(path)
        if found is None:
            raise ModelFormatError(
                f"{label_of(ModelFormat, wanted)} has no name for the layer “{path}”.",
                path="output_model_format",
                value=wanted.value,
                suggestion="Choose another format.",
            )
        native, swap = found
        if swap is Swap.ALWAYS or (swap is Swap.CONTINUOUS and _is_continuous(layer)):
            layer = swapped(layer, module)
        yield component, native, layer


def _flat(prefix: str, path: str) -> str:
    return f"{prefix}_{path.replace('.', '_')}"


def _kohya(layers: Mapping[str, Layer], keys: FamilyKeys, bundled: bool) -> Tensors:
    if not keys.flat_native:
        return _legacy(layers, keys, bundled)
    prefixes = {keys.denoiser: "lora_unet", **{name: text.kohya for name, text in keys.encoders.items()}}
    native = _native(layers, keys, ModelFormat.KOHYA_LORA)
    return tensors_of({_flat(prefixes[component], path): layer for component, path, layer in native})


def _legacy(layers: Mapping[str, Layer], keys: FamilyKeys, bundled: bool) -> Tensors:
    prefixes = {keys.denoiser: f"lora_{keys.denoiser}", **{name: text.kohya for name, text in keys.encoders.items()}}
    split = (module.partition(".") for module in layers)
    return tensors_of(
        {_flat(prefixes[component], path): layer for (component, _, path), layer in zip(split, layers.values(), strict=True)}
    )


def _original(layers: Mapping[str, Layer], keys: FamilyKeys, bundled: bool) -> Tensors:
    components = {module.partition(".")[0] for module in layers}
    others = sorted(components - {keys.denoiser}) + ["embeddings"] * bundled
    if others:
        raise ModelFormatError(
            f"{label_of(ModelFormat, ModelFormat.ORIGINAL_LORA)} has no names for {' and '.join(others)}, only for the denoiser.",
            path="output_model_format",
            value=ModelFormat.ORIGINAL_LORA.value,
            suggestion=f"Choose {label_of(ModelFormat, ModelFormat.KOHYA_LORA)}, or train the denoiser alone.",
        )
    native = _native(layers, keys, ModelFormat.ORIGINAL_LORA)
    return tensors_of({path: _matrices_a_b(layer) for _, path, layer in native})


def _comfy(layers: Mapping[str, Layer], keys: FamilyKeys, bundled: bool) -> Tensors:
    prefixes = {keys.denoiser: "diffusion_model."}
    for name, text in keys.encoders.items():
        if text.comfy:
            prefixes[name] = f"text_encoders.{text.comfy}.transformer."
    unknown = sorted({module.partition(".")[0] for module in layers} - prefixes.keys())
    if unknown:
        raise ModelFormatError(
            f"ComfyUI has no key names for the LoRA of {' and '.join(unknown)}.",
            path="output_model_format",
            value=ModelFormat.COMFY_LORA.value,
            suggestion=f"Choose {label_of(ModelFormat, ModelFormat.KOHYA_LORA)}, or train the denoiser alone.",
        )
    native = _native(layers, keys, ModelFormat.COMFY_LORA)
    return tensors_of({prefixes[component] + path: _matrices_a_b(layer) for component, path, layer in native})


def _matrices_a_b(layer: Layer) -> Layer:
    names = {DOWN: "lora_A.weight", UP: "lora_B.weight"}
    return {names.get(suffix, suffix): tensor for suffix, tensor in layer.items()}


def _diffusers(layers: Mapping[str, Layer], keys: FamilyKeys, bundled: bool) -> Tensors:
    return tensors_of({module: _peft(layer) for module, layer in layers.items()})


def _peft(layer: Layer) -> Layer:
    """Return a LoRA with alpha / rank multiplied into ``lora_B``, as diffusers reads it; other types stay as they are."""
    if DOWN not in layer:
        return layer
    down, up, alpha = layer[DOWN], layer[UP], layer["alpha"]
    # in float32, so that half precision rounds once
    named = {"lora_A.weight": down, "lora_B.weight": (up.float() * (alpha.float() / down.shape[0])).to(up.dtype)}
    scale = layer.get("dora_scale")
    if scale is None:
        return named
    if scale.shape[0] == 1:  # per input, which diffusers doesn't read
        return {**named, "dora_scale": scale}
    out = scale.shape[0]
    return {**named, "lora_magnitude_vector.weight": scale.reshape((1, out, 1, 1) if scale.ndim == 4 else (out,))}


_WRITERS: Mapping[ModelFormat, Callable[[Mapping[str, Layer], FamilyKeys, bool], Tensors]] = {
    ModelFormat.DIFFUSERS_LORA: _diffusers,
    ModelFormat.KOHYA_LORA: _kohya,
    ModelFormat.ORIGINAL_LORA: _original,
    ModelFormat.COMFY_LORA: _comfy,
    ModelFormat.LEGACY_LORA: _legacy,
}
LORA_FORMATS: tuple[ModelFormat, ...] = (*_WRITERS, INTERNAL)
"""Every format of an adapter file. Which of them a model type has is in ``config/families``."""


def formats_of(model_type: str) -> Sequence[ModelFormat]:
    """Return the adapter formats of a model type, and INTERNAL."""
    return (*output_formats(ModelType(model_type), TrainingMethod.LORA), INTERNAL)


def unread_by_diffusers(adapter: Mapping[str, Tensor]) -> str:
    """Return what diffusers can't read of an adapter in the format DIFFUSERS, as a sentence; empty if it reads everything."""
    layers = layers_of(adapter).values()
    if any(DOWN not in layer for layer in layers):
        return "diffusers reads only LoRA and DoRA, not the LoHa, LoKr or OFT in this file."
    if any("dora_scale" in layer and layer["dora_scale"].shape[0] == 1 for layer in layers):
        return "diffusers reads no DoRA magnitude per input: it loads this file as a plain LoRA."
    return ""
