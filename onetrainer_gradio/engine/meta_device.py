"""Run a training step on the meta device as a GPU would: autocast and attention there, and the memory that it would take.

Tensors on the meta device have a shape and a data type, and no content. torch has no autocast for it, and decomposes attention
into the complete matrix of scores; both are replaced here by what CUDA does.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

META = "meta"
_BLOCK_BYTES = 512
"""The CUDA allocator rounds up to multiples of this."""

LOW_PRECISION = frozenset(
    {
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "matmul",
        "__matmul__",
        "__rmatmul__",
        "mm",
        "mv",
        "bmm",
        "addmm",
        "addmv",
        "addbmm",
        "baddbmm",
        "chain_matmul",
        "multi_dot",
        "einsum",
        "prelu",
        "scaled_dot_product_attention",
    }
)
"""Functions that CUDA's autocast runs in the lower precision (PyTorch, "Automatic Mixed Precision", op reference)."""

FULL_PRECISION = frozenset(
    {
        "layer_norm",
        "group_norm",
        "instance_norm",
        "norm",
        "softmax",
        "log_softmax",
        "softmin",
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "nll_loss",
        "cross_entropy",
        "kl_div",
        "cosine_similarity",
        "exp",
        "expm1",
        "log",
        "log10",
        "log2",
        "log1p",
        "pow",
        "__pow__",
        "__rpow__",
        "reciprocal",
        "rsqrt",
        "sinh",
        "cosh",
        "tan",
        "acos",
        "asin",
        "softplus",
        "sum",
        "prod",
        "cumsum",
        "cumprod",
        "dist",
        "cdist",
        "renorm",
        "logsumexp",
    }
)
"""Functions that CUDA's autocast runs in float32."""


@dataclass
class _Region:
    dtype: torch.dtype | None
    copies: dict[int, Tensor] | None


_REGIONS: ContextVar[tuple[_Region, ...]] = ContextVar("autocast regions", default=())


@dataclass(frozen=True)
class MetaAutocast:
    """Autocast for the meta device, with CUDA's rules; ``dtype`` None turns it off within the block. Needs ``AsOnGpu``."""

    dtype: torch.dtype | None
    cache: bool = True

    def __enter__(self) -> None:
        regions = _REGIONS.get()
        # casts of weights are kept until the outermost region ends
        copies = regions[0].copies if regions else {}
        _REGIONS.set((*regions, _Region(self.dtype, copies if self.cache else None)))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _REGIONS.set(_REGIONS.get()[:-1])


class AsOnGpu(TorchFunctionMode):
    """Apply autocast and memory-efficient attention to functions on the meta device."""

    def __init__(self, efficient_attention: bool = True) -> None:
        super().__init__()
        self._efficient = efficient_attention

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function as on a GPU."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        regions = _REGIONS.get()
        if regions and regions[-1].dtype is not None:
            if name in LOW_PRECISION:
                args, kwargs = tree_map(_caster(regions[-1].dtype, regions[-1].copies), (args, kwargs))
            elif name in FULL_PRECISION:
                args, kwargs = tree_map(_caster(torch.float32, None), (args, kwargs))
        if name in LOW_PRECISION:
            _require_one_dtype(name, args, kwargs)
        if name == "scaled_dot_product_attention" and self._efficient:
            return _attention(*args, **kwargs)
        return func(*args, **kwargs)


def _caster(dtype: torch.dtype, copies: dict[int, Tensor] | None) -> Callable[[Any], Any]:
    def cast(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.dtype in (dtype, torch.float64):
            return value
        # a view may be gone while its number is in use again, so torch keeps no copies of views either
        if copies is None or value._is_view() or not (value.is_leaf and value.requires_grad):
            return value.to(dtype)
        if id(value) not in copies:
            copies[id(value)] = value.to(dtype)
        return copies[id(value)]

    return cast


def _require_one_dtype(name: str, *arguments: Any) -> None:
    """Check what the meta device doesn't.

    :raises RuntimeError: if floating-point inputs have different data types.
    """
    tensors = (leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor) and leaf.is_floating_point())
    if len(found := {tensor.dtype for tensor in tensors}) > 1:
        raise RuntimeError(f"{name} expected inputs of the same data type, but found {', '.join(sorted(map(str, found)))}.")


class _Attention(torch.autograd.Function):
    """Flash attention, as far as memory goes: it keeps its inputs, its output, and one number per query."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return the output (..., L, D of value)."""
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return gradients of the inputs."""
        query, key, value, _, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    return cast(Tensor, _Attention.apply(query, key, value))  # type: ignore[no-untyped-call]


def backward(loss: Tensor) -> None:
    """Compute gradients. ``Tensor.backward`` leaves all function modes, so checkpoints would compute again without them."""
    _engine_run_backward((loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True)


@dataclass
class _Totals:
    now: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)
    highest: int = 0
    current: int = 0

    def add(self, category: str, count: int) -> None:
        self.now[category] += count
        self.current += count
        if self.current > self.highest:
            self.highest, self.peak = self.current, Counter(self.now)


_Layout = tuple[torch.Size, tuple[int, ...], torch.dtype]
_CONSTANTS = frozenset({int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format})


class _Shapes:
    """Run operations on the meta device, and those that were seen before with the same shapes by their results.

    A block of a model runs the same hundred operations many times, and each computes shapes in Python. Operations that write to
    their inputs or return a view of them always run.
    """

    def __init__(self) -> None:
        self._results: dict[Any, tuple[type, tuple[_Layout, ...]]] = {}
        self._fresh: dict[Any, bool] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run an operation. Its results are new tensors, as always."""
        fresh = self._fresh.get(func)
        if fresh is None:
            schema = getattr(func, "_schema", None)  # operators that call functions have none
            values = () if schema is None else (*schema.arguments, *schema.returns)
            fresh = self._fresh[func] = bool(values) and not any(each.alias_info for each in values)
        key = (func, _key(args), _key(tuple(kwargs.items()))) if fresh else None
        if key is None or None in key:
            return func(*args, **kwargs)
        found = self._results.get(key)
        if found is None:
            out = func(*args, **kwargs)
            results = out if type(out) is tuple else (out,)
            if _is_new(results, (args, kwargs)):
                self._results[key] = (type(out), tuple((each.shape, each.stride(), each.dtype) for each in results))
            return out
        kind, layouts = found
        made = tuple(_empty(*layout) for layout in layouts)
        return made if kind is tuple else made[0]


def _empty(shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty_strided(shape, stride, dtype=dtype, device=META)


def _is_new(results: tuple[Any, ...], inputs: Any) -> bool:
    """Return whether results have separate storages, as large as their shapes need. Some views aren't declared as such."""
    if not all(type(each) is Tensor and each.device.type == META for each in results):
        return False
    others = {each.untyped_storage()._cdata for each in tree_leaves(inputs) if isinstance(each, Tensor)}
    own = {each.untyped_storage()._cdata for each in results}
    return (
        len(own) == len(results)
        and not own & others
        and all(
            each.untyped_storage().nbytes() == _empty(each.shape, each.stride(), each.dtype).untyped_storage().nbytes()
            for each in results
        )
    )


def _key(values: Any) -> tuple[Any, ...] | None:
    """Return what the result of an operation depends on; None if these values aren't plain tensors and constants."""
    made: list[Any] = []
    for value in values:
        if type(value) in (Tensor, torch.nn.Parameter):
            if value.device.type != META:
                return None
            made.append((value.shape, value.stride(), value.dtype, value.storage_offset()))
        elif type(value) in (list, tuple, torch.Size):
            inside = _key(value)
            if inside is None:
                return None
            made.append((type(value), inside))
        elif type(value) in _CONSTANTS:
            made.append((type(value), value))  # 1, 1.0 and True are equal
        else:
            return None
    return tuple(made)


class MemoryCount(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the bytes of all tensors on the meta device while they live, by category, and remember their peak.

    New tensors are activations, except in a backward pass, where they are temporary, and in ``within``.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._totals = _Totals()
        self._known: dict[int, list[Any]] = {}
        self._shapes = _Shapes()
        self._category = "activations"
        self._backward = False

    @contextmanager
    def within(self, category: str) -> Iterator[None]:
        """Give tensors that are born in the block this category."""
        before, self._category = self._category, category
        try:
            yield
        finally:
            self._category = before

    @contextmanager
    def backward(self) -> Iterator[None]:
        """Count tensors of a backward pass as temporary, except those that checkpoints compute again."""
        self._backward = True
        try:
            yield
        finally:
            self._backward = False

    def hold(self, tensors: Iterable[Tensor], category: str, size: Callable[[Tensor], int] | None = None) -> None:
        """Count the storages of tensors in a category from now on, with ``size`` bytes instead of the size of each."""
        for tensor in tensors:
            self._count(tensor, category, None if size is None else size(tensor))

    def peak(self) -> dict[str, int]:
        """Return the highest total since the last call of ``restart``, by category."""
        return {category: count for category, count in self._totals.peak.items() if count}

    def restart(self) -> None:
        """Forget the peak."""
        totals = self._totals
        totals.highest, totals.peak = totals.current, Counter(totals.now)

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and count the tensors that it creates."""
        if func is torch.ops.aten._local_scalar_dense.default and args[0].device.type == META:
            return torch.ones((), dtype=args[0].dtype).item()  # a tensor without content has no value to branch on
        out = self._shapes.run(func, args, kwargs or {})
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.device.type == META:
                self._count(tensor)
        return out

    def _count(self, tensor: Tensor, category: str | None = None, size: int | None = None) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        entry = self._known.get(key)
        if entry is None:
            count = -(-storage.nbytes() // _BLOCK_BYTES) * _BLOCK_BYTES if size is None else size
            entry = self._known[key] = [category or self._born(), count]
            self._totals.add(*entry)
            weakref.finalize(storage, self._forget, key).atexit = False
        elif category is not None:
            self._totals.add(entry[0], -entry[1])
            entry[:] = [category, entry[1] if size is None else size]
            self._totals.add(*entry)

    def _born(self) -> str:
        return "temporary" if self._backward and not torch.is_grad_enabled() else self._category

    def _forget(self, key: int) -> None:
        category, count = self._known.pop(key)
        self._totals.add(category, -count)
