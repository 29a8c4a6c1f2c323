"""Parts of the model: is anything trained, and do training, offloading and number formats go together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
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
    """A run that would change nothing."""
    if plan.wants_embeddings and not plan.trains_embeddings:
        yield from _embedding_in_no_encoder(plan)
        return
    if plan.trained or plan.trains_embeddings:
        return
    path = f"{plan.denoiser}.train"
    yield found(
        "nothing-trained",
        path,
        "No part of the model is trained",
        value=False,
        expected="at least one part that is trained",
        suggestion=f"Train the {plan.called(plan.denoiser)}.",
        fix={path: True},
    )


def _embedding_in_no_encoder(plan: Plan) -> Iterator[Finding]:
    """An embedding is trained in every encoder that is loaded and has Train embedding on; here that is none."""
    loaded = [name for name in plan.facts.embedding_encoders if name in plan.loaded]
    name = (loaded or plan.facts.embedding_encoders)[0]
    path = f"{name}.train_embedding" if loaded else f"{name}.include"
    alone = not plan.trained
    yield found(
        "embedding-in-no-encoder",
        path,
        "No text encoder takes part in the training of the embedding"
        + (", so the run has nothing to train" if alone else ", so the embedding is not trained"),
        value=False,
        expected="at least one included text encoder with Train embedding on",
        suggestion=f"Turn it on for the {plan.called(name)}.",
        fix={path: True} if loaded else {path: True, f"{name}.train_embedding": True},
        severity="error" if alone else "warning",
    )


def encoder_offload(plan: Plan) -> Iterator[Finding]:
    """Reading threads run the text encoder while its layers are being moved."""
    threads = plan.config.dataloader_threads
    for name in plan.facts.encoders:
        fraction = plan.at(f"{name}.offload_fraction")
        if fraction > 0 and threads > 1:
            yield found(
                "encoder-offload-threads",
                "dataloader_threads",
                f"The {plan.called(name)} is offloaded ({fraction:.0%}), which works with one reading thread only, not {threads}",
                value=threads,
                expected="1 while a text encoder is offloaded",
                suggestion="Set the reading threads to 1, or the encoder's offload fraction to 0.",
                fix={"dataloader_threads": 1},
            )
            return


def offload_without_checkpointing(plan: Plan) -> Iterator[Finding]:
    """Offloaded layers come back for the backward pass only where they are computed again."""
    for name in plan.with_gradients:
        part = plan.at(name)
        if (part.offload_fraction > 0 or part.activation_offloading) and not part.gradient_checkpointing:
            path = f"{name}.gradient_checkpointing"
            yield found(
                "offload-without-checkpointing",
                path,
                f"The {plan.called(name)} is offloaded without gradient checkpointing",
                value=False,
                expected="gradient checkpointing wherever something is offloaded",
                suggestion="Turn gradient checkpointing on, or offloading off.",
                fix={path: True},
            )


def offload_without_fused_back_pass(plan: Plan) -> Iterator[Finding]:
    """A trained layer that leaves the card during the backward pass has to be stepped before it leaves."""
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
        suggestion = f"Turn Train off for {_list(plan, idle)}: it is not trained anyway."
    elif facts.fused_back_pass:
        suggestion = "Turn Fused back pass of the optimizer on."
        fix |= {"optimizer.fused_back_pass": True, "optimizer.fused": False, "optimizer.foreach": False}
    else:
        suggestion = "Choose ADAFACTOR with Fused back pass, which needs the least memory."
        defaults = {f"optimizer.{key}": value for key, value in OPTIMIZERS[Optimizer.ADAFACTOR].defaults.items()}
        fix |= {"optimizer.optimizer": "ADAFACTOR", **defaults, "optimizer.fused_back_pass": True}
    yield found(
        "offload-needs-fused-back-pass",
        "optimizer.fused_back_pass",
        f"T{_list(plan, offloaded)[1:]} is to be trained and offloaded, "
        f"and {optimizer.optimizer.value} does not step during the backward pass",
        value=optimizer.fused_back_pass,
        expected="an optimizer with Fused back pass on, or nothing offloaded that is trained",
        suggestion=suggestion,
        fix=fix,
    )


def _list(plan: Plan, names: Iterable[str]) -> str:
    return " and ".join(f"the {plan.called(name)}" for name in names)


def quantized_and_trained(plan: Plan) -> Iterator[Finding]:
    """Weights in quantized formats have no gradients; only adapters can be trained over them."""
    if plan.config.training_method is not TrainingMethod.FINE_TUNE:
        return
    for name in plan.trained:
        dtype = plan.at(f"{name}.weight_dtype")
        if dtype in QUANTIZED and _overlap(plan, name):
            path = f"{name}.weight_dtype"
            yield found(
                "quantized-part-trained",
                path,
                f"The {plan.called(name)} is trained as a whole, and weights in {dtype.value} cannot be",
                value=dtype.value,
                expected="BFLOAT_16 or FLOAT_32 for a part that is trained as a whole",
                suggestion="Write BFLOAT_16, or train an adapter (LORA) instead.",
                fix={path: "BFLOAT_16"},
            )


def _overlap(plan: Plan, name: str) -> bool:
    """Whether a layer of the part is both trained and quantized."""
    if name != plan.denoiser:
        return True
    config, names = plan.config, layer_names(plan.config.model_type)
    try:
        trained = select(names, config.layer_filter, config.layer_filter_regex)
        quantized = select(names, config.quantization.layer_filter, config.quantization.layer_filter_regex)
    except ConfigValueError:  # a pattern that is none is another finding
        return True
    return bool(set(trained.layers) & set(quantized.layers))


def svd_with_gguf(plan: Plan) -> Iterator[Finding]:
    """The correction needs the weights from before the quantization, and a GGUF file has none."""
    if plan.config.quantization.svd_dtype is DataType.NONE:
        return
    for name in plan.loaded:
        if plan.at(f"{name}.weight_dtype") in GGUF:
            yield found(
                "svd-with-gguf",
                "quantization.svd_dtype",
                f"SVDQuant cannot correct the {plan.called(name)}, which comes quantized from a GGUF file",
                value=plan.config.quantization.svd_dtype.value,
                expected="NONE with GGUF weights",
                suggestion="Set SVDQuant to NONE, or choose another number format for the weights.",
                fix={"quantization.svd_dtype": "NONE"},
            )
            return


def gguf_without_file(plan: Plan) -> Iterator[Finding]:
    """GGUF is a file format: weights of that format come from a file."""
    for name in plan.loaded:
        part = plan.at(name)
        if part.weight_dtype in GGUF and not part.model_name.lower().endswith(".gguf"):
            path = f"{name}.model_name"
            yield found(
                "gguf-without-file",
                path,
                f"The {plan.called(name)} is to be loaded in {part.weight_dtype.value}, but no GGUF file is named",
                value=part.model_name,
                expected="a .gguf file",
                suggestion="Name the file, or choose another number format for the weights.",
            )


def compressed_weights(plan: Plan) -> Iterator[Finding]:
    """Compressed weights are packed and unpacked by NVIDIA's nvCOMP."""
    device = plan.config.train_device
    cuda = device.startswith("cuda") and plan.machine.device == "cuda"
    known = "compression" in plan.facts.traits
    for name in plan.loaded:
        dtype = plan.at(f"{name}.weight_dtype")
        if dtype not in COMPRESSED:
            continue
        path, plain = f"{name}.weight_dtype", "FLOAT_32" if device == "cpu" else COMPRESSED[dtype].value
        fits = known and (name in (plan.denoiser, "unconditional_transformer"))
        if not fits or not cuda:
            reason = "needs an NVIDIA card" if fits else f"does not exist for the {plan.called(name)} of {plan.facts.label}"
            yield found(
                "compressed-weights",
                path,
                f"{dtype.value} {reason}",
                value=dtype.value,
                expected=f"{plain}, or an NVIDIA card and the nvCOMP library",
                suggestion=f"Write {plain}.",
                fix={path: plain},
            )


def caption_dropout(plan: Plan) -> Iterator[Finding]:
    """For these types the run stops at the first caption that is left out."""
    if plan.facts.drops_captions:
        return
    for name in plan.facts.encoders:
        path = f"{name}.dropout_probability"
        if plan.at(path) > 0:
            yield found(
                "caption-dropout",
                path,
                f"Captions cannot be left out with {plan.facts.label}",
                value=plan.at(path),
                expected="0",
                suggestion="Write 0; to the same end, a second concept with empty captions can be added.",
                fix={path: 0.0},
            )
