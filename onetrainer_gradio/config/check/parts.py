"""Checks of the model components: what is trained, and how that fits offloading and data types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import name_of, names_of
from onetrainer_gradio.config.enums import DataType, Optimizer, TrainingMethod
from onetrainer_gradio.config.families.layer_names import layer_names
from onetrainer_gradio.config.layers.filter import select
from onetrainer_gradio.config.optimizers import OPTIMIZERS
from onetrainer_gradio.errors import ConfigValueError, Finding

GGUF = frozenset({DataType.GGUF, DataType.GGUF_A8_FLOAT, DataType.GGUF_A8_INT})
COMPRESSED = {
    DataType.FLOAT_W8A8_COMPRESSED: DataType.FLOAT_W8A8,
    DataType.INT_W8A8_COMPRESSED: DataType.INT_W8A8,
}
QUANTIZED = GGUF | frozenset(COMPRESSED) | frozenset({DataType.FLOAT_W8A8, DataType.INT_W8A8, DataType.NFLOAT_4, DataType.INT_8})


def nothing_trained(plan: Plan) -> Iterator[Finding]:
    """Yield an error if nothing is trained."""
    if plan.wants_embeddings and not plan.trains_embeddings:
        yield from _embedding_in_no_encoder(plan)
        return
    if plan.trained or plan.trains_embeddings:
        return
    embedding = plan.config.training_method is TrainingMethod.EMBEDDING
    path = "embedding.train" if embedding else f"{plan.denoiser}.train"
    yield found(
        "nothing-trained",
        path,
        f"{'No embedding' if embedding else 'No model component'} is trained, so the run would change nothing",
        value=False,
        expected=f"at least one trained {'embedding' if embedding else 'component'}",
        suggestion=f"Turn on {title_of(path)}{'' if embedding else f' for the {plan.called(plan.denoiser)}'}.",
        fix={path: True},
    )


def _embedding_in_no_encoder(plan: Plan) -> Iterator[Finding]:
    """Yield a finding for an embedding that no loaded text encoder trains."""
    loaded = [name for name in plan.facts.embedding_encoders if name in plan.loaded]
    name = (loaded or plan.facts.embedding_encoders)[0]
    path = f"{name}.train_embedding" if loaded else f"{name}.include"
    fix = {path: True} if loaded else {path: True, f"{name}.train_embedding": True}
    alone = not plan.trained
    yield found(
        "embedding-in-no-encoder",
        path,
        f"{title_of(path)} is off for "
        + ("every text encoder" if len(plan.facts.embedding_encoders) > 1 else "the text encoder")
        + (", so the run has nothing to train" if alone else ", so the embedding is not trained"),
        value=False,
        expected="at least one included text encoder that trains embeddings",
        suggestion=f"Turn on {' and '.join(dict.fromkeys(map(title_of, fix)))} for the {plan.called(name)}.",
        fix=fix,
        severity="error" if alone else "warning",
    )


def encoder_offload(plan: Plan) -> Iterator[Finding]:
    """Yield an error for several dataloader threads that run a text encoder while its layers are moved."""
    threads = plan.config.dataloader_threads
    for name in plan.facts.encoders:
        fraction = plan.at(f"{name}.offload_fraction")
        if fraction > 0 and threads > 1:
            yield found(
                "encoder-offload-threads",
                "dataloader_threads",
                f"The {plan.called(name)} is offloaded ({fraction:.0%}), which requires one dataloader thread, not {threads}",
                value=threads,
                expected="1 while a text encoder is offloaded",
                suggestion=f"Set {title_of('dataloader_threads')} to 1, or {title_of(f'{name}.offload_fraction')} of the "
                f"{plan.called(name)} to 0.",
                fix={"dataloader_threads": 1},
            )
            return


def offload_without_checkpointing(plan: Plan) -> Iterator[Finding]:
    """Yield an error for offloading without gradient checkpointing, which moves the layers back for the backward pass."""
    for name in plan.with_gradients:
        part = plan.at(name)
        if (part.offload_fraction > 0 or part.activation_offloading) and not part.gradient_checkpointing:
            path = f"{name}.gradient_checkpointing"
            yield found(
                "offload-without-checkpointing",
                path,
                f"Offloading the {plan.called(name)} requires {title_of(path)}",
                value=False,
                expected="gradient checkpointing for each offloaded component",
                suggestion=f"Turn on {title_of(path)} for the {plan.called(name)}, or turn off its offloading.",
                fix={path: True},
            )


def offload_without_fused_back_pass(plan: Plan) -> Iterator[Finding]:
    """Yield an error if trained layers are offloaded during the backward pass without being stepped before."""
    optimizer = plan.config.optimizer
    facts = OPTIMIZERS[optimizer.optimizer]
    if plan.config.training_method is not TrainingMethod.FINE_TUNE or (facts.fused_back_pass and optimizer.fused_back_pass):
        return
    offloaded = [name for name in plan.loaded if plan.at(f"{name}.train") and plan.at(f"{name}.offload_fraction") > 0]
    if not offloaded:
        return
    idle = [name for name in offloaded if name not in plan.trained]
    fix: dict[str, Any] = {f"{name}.train": False for name in idle}
    if len(idle) == len(offloaded):
        suggestion = f"Turn off Train for {_list(plan, idle)}, which is not trained anyway."
    elif facts.fused_back_pass:
        suggestion = f"Turn on {title_of('optimizer.fused_back_pass')} of the optimizer."
        fix |= {"optimizer.fused_back_pass": True, "optimizer.fused": False, "optimizer.foreach": False}
    else:
        suggestion = (
            f"Choose {name_of(Optimizer.ADAFACTOR)} with {title_of('optimizer.fused_back_pass')}, which uses the least memory."
        )
        defaults = {f"optimizer.{key}": value for key, value in OPTIMIZERS[Optimizer.ADAFACTOR].defaults.items()}
        fix |= {"optimizer.optimizer": "ADAFACTOR", **defaults, "optimizer.fused_back_pass": True}
    yield found(
        "offload-needs-fused-back-pass",
        "optimizer.fused_back_pass",
        f"Offloading {_list(plan, offloaded)} during a full fine-tune requires an optimizer that steps during the backward pass, "
        f"but {name_of(optimizer.optimizer)} doesn't",
        value=optimizer.fused_back_pass,
        expected="an optimizer with fused back pass, or no offloading of trained components",
        suggestion=suggestion,
        fix=fix,
    )


def _list(plan: Plan, names: Iterable[str]) -> str:
    return " and ".join(f"the {plan.called(name)}" for name in names)


def quantized_and_trained(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a full fine-tune of quantized weights, which have no gradients."""
    if plan.config.training_method not in (TrainingMethod.FINE_TUNE, TrainingMethod.FINE_TUNE_VAE):
        return
    for name in plan.trained:
        dtype = plan.at(f"{name}.weight_dtype")
        if dtype in QUANTIZED and _overlap(plan, name):
            path = f"{name}.weight_dtype"
            yield found(
                "quantized-part-trained",
                path,
                f"{title_of(path)} {name_of(dtype)} is quantized and can't be trained, but the {plan.called(name)} is "
                "fully fine-tuned",
                value=dtype.value,
                expected=f"{names_of((DataType.BFLOAT_16, DataType.FLOAT_32))} for a full fine-tune",
                suggestion=f"Set {title_of(path)} to {name_of(DataType.BFLOAT_16)}, or train a LoRA.",
                fix={path: DataType.BFLOAT_16.value},
            )


def _overlap(plan: Plan, name: str) -> bool:
    """Return whether a layer of the component is both trained and quantized."""
    if name != plan.denoiser:
        return True
    config, names = plan.config, layer_names(plan.config.model_type)
    try:
        trained = select(names, config.layer_filter, config.layer_filter_regex)
        quantized = select(names, config.quantization.layer_filter, config.quantization.layer_filter_regex)
    except ConfigValueError:  # an invalid pattern is reported by another finding
        return True
    return bool(set(trained.layers) & set(quantized.layers))


def svd_with_gguf(plan: Plan) -> Iterator[Finding]:
    """Yield an error for SVDQuant with GGUF: it requires the original weights, which a GGUF file doesn't contain."""
    if plan.config.quantization.svd_dtype is DataType.NONE:
        return
    for name in plan.loaded:
        if plan.at(f"{name}.weight_dtype") in GGUF:
            yield found(
                "svd-with-gguf",
                "quantization.svd_dtype",
                f"{title_of('quantization.svd_dtype')} isn't supported for the {plan.called(name)}, because its GGUF "
                "file is already quantized",
                value=plan.config.quantization.svd_dtype.value,
                expected=f"{name_of(DataType.NONE)} with GGUF weights",
                suggestion=f"Set {title_of('quantization.svd_dtype')} to {name_of(DataType.NONE)}, or choose another "
                "weight data type.",
                fix={"quantization.svd_dtype": "NONE"},
            )
            return


def gguf_without_file(plan: Plan) -> Iterator[Finding]:
    """Yield an error for the data type GGUF without a GGUF file."""
    for name in plan.loaded:
        part = plan.at(name)
        if part.weight_dtype in GGUF and not part.model_name.lower().endswith(".gguf"):
            path = f"{name}.model_name"
            yield found(
                "gguf-without-file",
                path,
                f"The weight data type of the {plan.called(name)} is {name_of(part.weight_dtype)}, but {title_of(path)} "
                "isn't a GGUF file",
                value=part.model_name,
                expected="a .gguf file",
                suggestion=f"Set {title_of(path)} to a .gguf file, or choose another weight data type.",
            )


def compressed_weights(plan: Plan) -> Iterator[Finding]:
    """Yield an error for compressed weights without an NVIDIA GPU, whose nvCOMP library they require."""
    device = plan.config.train_device
    cuda = device.startswith("cuda") and plan.machine.device == "cuda"
    known = "compression" in plan.facts.traits
    for name in plan.loaded:
        dtype = plan.at(f"{name}.weight_dtype")
        if dtype not in COMPRESSED:
            continue
        path, plain = f"{name}.weight_dtype", DataType.FLOAT_32 if device == "cpu" else COMPRESSED[dtype]
        fits = known and (name in (plan.denoiser, "unconditional_transformer"))
        if not fits or not cuda:
            reason = "requires an NVIDIA GPU" if fits else f"isn't available for the {plan.called(name)} of {plan.facts.label}"
            yield found(
                "compressed-weights",
                path,
                f"{title_of(path)} {name_of(dtype)} {reason}",
                value=dtype.value,
                expected=f"{name_of(plain)}, or an NVIDIA GPU and the nvCOMP library",
                suggestion=f"Set {title_of(path)} to {name_of(plain)}.",
                fix={path: plain.value},
            )


def caption_dropout(plan: Plan) -> Iterator[Finding]:
    """Yield an error for caption dropout with a model type that doesn't support it: the run stops at the first "
    "dropped caption."""
    if plan.facts.drops_captions:
        return
    for name in plan.facts.encoders:
        path = f"{name}.dropout_probability"
        if plan.at(path) > 0:
            yield found(
                "caption-dropout",
                path,
                f"{title_of(path)} isn't supported for {plan.facts.label}",
                value=plan.at(path),
                expected="0",
                suggestion=f"Set {title_of(path)} to 0. For the same effect, add a second concept with empty captions.",
                fix={path: 0.0},
            )
