"""Set up the embeddings of a run in the text encoders of a model, read and write their files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Parameter

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.embedding import TrainEmbeddingConfig
from onetrainer_gradio.config.model_files import EMBEDDING, unfit
from onetrainer_gradio.engine import precision
from onetrainer_gradio.engine.backups import read_tensors
from onetrainer_gradio.engine.families.family import TextEncoder
from onetrainer_gradio.engine.files import digest, safe_name, write_tensors
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.keys import keys_of
from onetrainer_gradio.engine.keys.adapters import BUNDLE
from onetrainer_gradio.engine.keys.family_keys import EncoderKeys, Tensors
from onetrainer_gradio.engine.methods.method import ParameterGroup
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.engine.staging import free_name
from onetrainer_gradio.engine.text_embeddings import TextEmbeddings, Vectors
from onetrainer_gradio.errors import ConfigValueError, ModelFormatError, ModelNotFoundError

FOLDER = "embeddings"
"""The folder of embeddings in a backup."""
PADDING = "*"
"""The word whose vectors fill up an initial text that is shorter than the embedding."""


@dataclass(frozen=True)
class Placeholders:
    """The embeddings of a run, in the order in which prompts are searched for them: the main one of method EMBEDDING last.

    ``vectors``: text encoder -> the vectors of each embedding in it. ``others`` are tensors of initial files for encoders that
    the model doesn't have, by embedding, which saved files keep.
    """

    config: TrainConfig
    settings: tuple[TrainEmbeddingConfig, ...] = ()
    vectors: Mapping[str, tuple[Vectors, ...]] = field(default_factory=dict)
    keys: Mapping[str, EncoderKeys] = field(default_factory=dict)
    in_place: Mapping[str, TextEmbeddings] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    """The text encoders whose states are computed before the training."""
    others: Mapping[str, Tensors] = field(default_factory=dict)

    @classmethod
    def attach(
        cls, model: Model, config: TrainConfig, backup: Path | None, bundled: Mapping[str, Tensor] = MappingProxyType({})
    ) -> Placeholders:
        """Give each text encoder of the model the vectors of the embeddings.

        ``bundled`` are the embeddings in an initial LoRA, with their names there. One without a file starts from them.

        :raises ModelNotFoundError, ModelFormatError: if an embedding file is missing or doesn't fit the model.
        """
        main = (config.embedding,) if config.training_method == "EMBEDDING" else ()
        settings = (*config.additional_embeddings, *main)
        if not settings:
            return cls(config)
        encoders = {encoder.name: encoder for encoder in model.text_encoders}
        keys = keys_of(config.model_type, model.denoiser.config).encoders
        dtype = precision.DTYPES[config.embedding_weight_dtype]
        if any(not one.is_output_embedding and (one.train or one in main) for one in settings):
            for name in encoders:
                model.components[name].get_input_embeddings().to(dtype)
        initial = {one.uuid: _initial(one, backup) or _unbundled(one, bundled) for one in settings}
        vectors = {
            name: tuple(_vectors(model, encoder, keys[name], one, initial[one.uuid]) for one in settings)
            for name, encoder in encoders.items()
        }
        named = {f"{key}{end}" for name in encoders for key in _names(keys[name]) for end in ("", "_out")}
        others = {uuid: {key: found[key] for key in found.keys() - named} for uuid, found in initial.items()}
        # only now: the initial outputs are those of the encoder as it was
        in_place = {
            name: TextEmbeddings(model.tokenizers[encoder.tokenizer], model.components[name], vectors[name])
            for name, encoder in encoders.items()
        }
        model.embeddings.update(in_place)
        fixed = frozenset(name for name, encoder in encoders.items() if not model.live(encoder))
        method = cls(config, settings, vectors, keys, in_place, fixed, others)
        for group in method.groups():
            for parameter in group.parameters:
                parameter.requires_grad_(True)
        return method

    def groups(self) -> tuple[ParameterGroup, ...]:
        """Return one group for each trained embedding in each text encoder that takes part."""
        config = self.config
        rate = config.learning_rate if config.embedding_learning_rate is None else config.embedding_learning_rate
        groups = []
        for number, (name, vectors) in enumerate(self.vectors.items(), 1):
            several = len(self.keys) > 1
            if several and not getattr(config, name).train_embedding:
                continue
            prefix = f"embeddings_{number}" if several else "embeddings"
            for one, settings in zip(vectors, self.settings, strict=True):
                if settings.train:
                    full = f"{prefix}/{one.uuid}"
                    groups.append(ParameterGroup(full, name, (one.trained,), rate, names=(full,), settings=settings))
        return tuple(groups)

    def facts(self) -> dict[str, Any]:
        """Return what the embeddings add to states that are computed before the training."""
        if not self.fixed:
            return {}
        placeholders = [[one.placeholder, one.uuid] for one in self.settings]
        inputs = {f"{name}.{n}": one.inputs.detach() for name in sorted(self.fixed) for n, one in enumerate(self.vectors[name])}
        return {"placeholders": placeholders, "embeddings": digest(inputs)}

    def preserve_norms(self) -> None:
        """Scale the trained vectors to their usual norms, if the setting asks for it."""
        if self.config.preserve_embedding_norm:
            for embeddings in self.in_place.values():
                embeddings.preserve_norms()

    # -- files ------------------------------------------------------------------------------------------------------------

    def tensors(self, number: int, *, alone: bool) -> Tensors:
        """Return the tensors of an embedding with the names of embedding files (``alone``), or those of bundles."""
        tensors = dict(self.others.get(self.settings[number].uuid, {}))
        for name, vectors in self.vectors.items():
            key = self.keys[name].alone if alone and self.keys[name].alone else self.keys[name].embedding
            tensors[key] = vectors[number].inputs.detach()
            outputs = vectors[number].outputs
            if outputs is not None:
                tensors[f"{key}_out"] = outputs.detach()
        return tensors

    def bundle(self) -> Tensors:
        """Return the additional embeddings with their names in LoRA files: ``bundle_emb.<placeholder>.<encoder>``."""
        return {
            f"{BUNDLE}{one.placeholder}.{key}": tensor
            for number, one in enumerate(self.settings[: len(self.config.additional_embeddings)])
            for key, tensor in self.tensors(number, alone=False).items()
        }

    def save_main(self, destination: Path, dtype: torch.dtype | None, header: Header) -> None:
        """Write the file of the embedding that method EMBEDDING trains."""
        self._write(destination, len(self.settings) - 1, dtype, header)

    def save_additional(self, destination: Path, dtype: torch.dtype | None, header: Header) -> None:
        """Write the additional embeddings to the folder ``<destination>_embeddings``.

        Files that are there, of an earlier run or someone else's, are kept under another name.
        """
        folder = destination.with_name(f"{destination.name}_embeddings")
        for number, one in enumerate(self.settings[: len(self.config.additional_embeddings)]):
            name = safe_name(one.placeholder.replace(" ", "_"), length=len(one.placeholder))
            file = folder / f"{name}.safetensors"
            if os.path.lexists(file):
                file.rename(free_name(file))
            self._write(file, number, dtype, header)

    def back_up(self, folder: Path, header: Header) -> None:
        """Write ``embeddings/<uuid>.safetensors`` of all embeddings."""
        for number, one in enumerate(self.settings):
            self._write(folder / FOLDER / f"{one.uuid}.safetensors", number, None, header)

    def _write(self, file: Path, number: int, dtype: torch.dtype | None, header: Header) -> None:
        tensors = {key: tensor.to("cpu", dtype) for key, tensor in self.tensors(number, alone=True).items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(file, tensors, header(tensors))


def in_order(groups: Sequence[ParameterGroup], placeholders: Placeholders) -> tuple[ParameterGroup, ...]:
    """Return the groups of components and embeddings in OneTrainer's order: text encoders, embeddings, denoiser."""
    is_text = [group.part.startswith("text_encoder") for group in groups]
    texts = (group for group, text in zip(groups, is_text, strict=True) if text)
    others = (group for group, text in zip(groups, is_text, strict=True) if not text)
    return (*texts, *placeholders.groups(), *others)


def _names(keys: EncoderKeys) -> Iterator[str]:
    """Yield the names of an encoder's vectors in embedding files."""
    if keys.alone:
        yield keys.alone
    yield keys.embedding


def _vectors(model: Model, encoder: TextEncoder, keys: EncoderKeys, one: TrainEmbeddingConfig, initial: Tensors) -> Vectors:
    module = model.components[encoder.name]
    table = module.get_input_embeddings().weight
    names = [f"{name}{end}" for end in ("_out", "") for name in _names(keys)]
    found = next((initial[name] for name in names if name in initial), None)
    outputs = None
    is_output = one.is_output_embedding and _has_hidden(encoder)
    if found is None:
        found, outputs = _from_initial_text(model, encoder, one, table)
    elif is_output:
        outputs = found
    elif found.dim() != 2 or found.shape[1] != table.shape[1]:
        raise ModelFormatError(
            f"The embedding “{one.placeholder}” has vectors of the shape {tuple(found.shape)}, but the model's have the length "
            f"{table.shape[1]}.",
            path="base_model_name",
            expected="an embedding for the same model type",
            suggestion="Choose an embedding for the same model type, or clear Base embedding.",
        )
    device = model.device
    if not is_output:
        return Vectors(one.uuid, one.placeholder, Parameter(found.detach().to(device, table.dtype), requires_grad=False))
    outputs = found if outputs is None else outputs
    inputs = torch.zeros(len(outputs), table.shape[1], dtype=table.dtype, device=device)
    trained = Parameter(outputs.detach().to(device, torch.float32), requires_grad=False)
    return Vectors(one.uuid, one.placeholder, Parameter(inputs, requires_grad=False), trained)


@torch.no_grad()
def _from_initial_text(
    model: Model, encoder: TextEncoder, one: TrainEmbeddingConfig, table: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return the rows of the initial text, and for an output embedding the states of an encoder that has some.

    The states are those of the text and as many ``*`` as there are vectors, from the second on.
    """
    tokenizer = model.tokenizers[encoder.tokenizer]
    count = one.token_count
    # a tokenizer reports truncation without a length as an error
    limit = {} if count is None else {"truncation": True, "max_length": count}
    ids = list(tokenizer(one.initial_embedding_text, padding="do_not_pad", add_special_tokens=False, **limit).input_ids)
    star = tokenizer(PADDING, padding="do_not_pad", truncation=True, add_special_tokens=False, max_length=1).input_ids[0]
    ids += [star] * ((count or 0) - len(ids))
    if not ids:
        raise ConfigValueError(
            f"The embedding “{one.placeholder}” has no vectors, because its initial embedding text is empty.",
            path="additional_embeddings",
            value=one.initial_embedding_text,
            expected="a text, or a token count",
            suggestion="Set Initial embedding text or Token count.",
        )
    inputs = table[torch.tensor(ids, device=table.device)].detach().clone()
    if not (one.is_output_embedding and _has_hidden(encoder)):
        return inputs, None
    text = one.initial_embedding_text + PADDING * len(ids)
    length = encoder.tokens(tokenizer, model.config)
    encoded = tokenizer(text, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    tokens = {"tokens": encoded.input_ids.to(table.device), "tokens_mask": encoded.attention_mask.to(table.device)}
    with model.autocast, model.computing(encoder.name):
        states = encoder.states(model.components[encoder.name], tokens, 0)
    return inputs, states["hidden"][0, 1:][: len(ids)]


def _has_hidden(encoder: TextEncoder) -> bool:
    """Return whether a model is conditioned on hidden states of the encoder; no output can replace those of the others."""
    return getattr(encoder.states, "layer", 0) is not None


def _initial(one: TrainEmbeddingConfig, backup: Path | None) -> Tensors:
    """Return the tensors that an embedding starts from: of the backup, or of its file; none without both.

    :raises ModelNotFoundError, ModelFormatError: if the file is missing, or isn't an embedding.
    """
    file = backup / FOLDER / f"{one.uuid}.safetensors" if backup else None
    if file is None or not file.is_file():
        if not one.model_name:
            return {}
        file = Path(one.model_name)
    if not file.is_file():
        raise ModelNotFoundError(
            f"The embedding “{file}” doesn't exist.",
            path="additional_embeddings",
            value=one.model_name,
            expected="an embedding file",
            suggestion="Correct Base embedding, or clear it.",
        )
    problem = unfit(file, EMBEDDING)
    if problem is not None:
        raise _unreadable(file, one, problem.what, problem.suggestion)
    try:
        found = load_file(file) if file.suffix == ".safetensors" else read_tensors(file) or {}
    except SafetensorError as error:
        raise _unreadable(file, one, f"can't be read: {error}") from error
    return {key: tensor for key, tensor in found.items() if isinstance(tensor, Tensor)}


def _unbundled(one: TrainEmbeddingConfig, bundled: Mapping[str, Tensor]) -> Tensors:
    prefix = f"{BUNDLE}{one.placeholder}."
    return {key.removeprefix(prefix): tensor for key, tensor in bundled.items() if key.startswith(prefix)}


def _unreadable(file: Path, one: TrainEmbeddingConfig, what: str, suggestion: str = "") -> ModelFormatError:
    return ModelFormatError(
        f"The embedding “{file}” {what}.",
        path="additional_embeddings",
        value=one.model_name,
        expected="an embedding file",
        suggestion=suggestion or "Choose another file, or clear Base embedding.",
    )
