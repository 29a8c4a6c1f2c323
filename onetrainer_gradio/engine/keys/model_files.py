"""Name the tensors of full models as their original checkpoints do. Strict: a tensor without a rule is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from onetrainer_gradio.config.enums import ModelFormat
from onetrainer_gradio.config.families.facts import Fusion
from onetrainer_gradio.engine.keys.family_keys import FamilyKeys, Tensors
from onetrainer_gradio.engine.keys.rules import PathMap, Swap
from onetrainer_gradio.errors import ModelFormatError


def renamed(state: Mapping[str, Tensor], paths: PathMap) -> Tensors:
    """Return the tensors with their native names.

    :raises ModelFormatError: if there is no rule for one.
    """
    tensors: Tensors = {}
    for name, tensor in state.items():
        found = paths.to_native(name)
        if found is None:
            raise ModelFormatError(
                f"The original format has no name for the tensor “{name}”.",
                path="output_model_format",
                expected="a model with the published architecture",
                suggestion="Set Output format to Diffusers.",
            )
        native, swap = found
        tensors[native] = _swapped(tensor, swap, state, name)
    return tensors


def joined_by_rule(tensors: Tensors, block: str, leaves: Sequence[str], fused: str) -> None:
    """Replace the ``leaves`` of each numbered ``block`` by one tensor: theirs, one below the other."""
    first = f".{leaves[0]}"
    for name in [name for name in tensors if name.startswith(f"{block}.") and name.endswith(first)]:
        base = name.removesuffix(first)
        if not base.removeprefix(f"{block}.").isdecimal():
            continue
        tensors[f"{base}.{fused}"] = torch.cat([tensors.pop(f"{base}.{leaf}") for leaf in leaves])


def denoiser_tensors(state: Mapping[str, Tensor], keys: FamilyKeys) -> Tensors:
    """Return a denoiser's tensors with native names, its projections joined as in the original checkpoint.

    :raises ModelFormatError: if there is no rule for one.
    """
    tensors = dict(state)
    for fusion in keys.fusions:
        _join(tensors, fusion)
    return renamed(tensors, keys.paths)


def model_tensors(
    model_format: str,
    components: Mapping[str, Mapping[str, Tensor]],
    keys: FamilyKeys,
    betas_T: Tensor | None = None,
    prediction: str = "",
) -> Tensors:
    """Return the tensors of a full model in a format that is one file.

    ``components`` are state dicts by component; those that a model lacks are omitted. ``betas_T`` is the noise schedule of a
    model that has one, ``prediction`` what it predicts, as in diffusers.

    :raises ModelFormatError: if there is no name for a tensor.
    """
    if model_format == ModelFormat.ORIGINAL_TRANSFORMER or not keys.single_file:
        return denoiser_tensors(components[keys.denoiser], keys)
    tensors: Tensors = {}
    for section in keys.single_file:
        state = components.get(section.component)
        if state is not None:
            named = section.tensors(state) if section.tensors else denoiser_tensors(state, keys)
            tensors |= {section.prefix + name: tensor for name, tensor in named.items()}
    if keys.with_schedule and betas_T is not None:
        tensors |= schedule_buffers(betas_T)
    if keys.v_prediction_key and prediction == "v_prediction":
        tensors[keys.v_prediction_key] = torch.tensor([])
    return tensors


def schedule_buffers(betas_T: Tensor) -> Tensors:
    """Return the buffers of a noise schedule in original checkpoints (arXiv 2006.11239), shapes (T,), in float32."""
    betas = betas_T.double()
    kept = (1 - betas).cumprod(0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]])
    variance = betas * (1 - before) / (1 - kept)
    buffers = {
        "betas": betas,
        "alphas_cumprod": kept,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": kept.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - kept).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - kept).log(),
        "sqrt_recip_alphas_cumprod": (1 / kept).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / kept - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - kept),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - kept),
    }
    return {name: buffer.float() for name, buffer in buffers.items()}


def _join(tensors: Tensors, fusion: Fusion) -> None:
    for part in ("weight", "bias"):
        joined_by_rule(tensors, fusion.block, [f"{leaf}.{part}" for leaf in fusion.leaves], f"{fusion.fused}.{part}")


def _swapped(tensor: Tensor, swap: Swap, state: Mapping[str, Tensor], name: str) -> Tensor:
    weight = state[name.rpartition(".")[0] + ".weight"] if swap is Swap.CONTINUOUS else tensor
    if swap is Swap.NEVER or (swap is Swap.CONTINUOUS and weight.shape[0] != 2 * weight.shape[1]):
        return tensor
    return torch.cat(tensor.chunk(2)[::-1])
