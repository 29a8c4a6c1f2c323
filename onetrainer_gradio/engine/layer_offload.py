"""Keep a part of the blocks of a component in system RAM, and load each one when it computes.

With gradient checkpointing a block computes once in the forward pass and once more in the backward pass, and the backward pass
itself uses the weights of the second time. So one block, and with a copy ahead the next one, is on the train device at a time.
diffusers' group offloading can't replace this: it unloads a block at the end of its forward pass, which checkpointing cuts short.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

FEWEST_LOADED = 2
"""Blocks on the train device in any case: one computes, and the next is copied ahead."""


def offloaded_blocks(sizes_bytes: Sequence[int], fraction: float) -> tuple[int, ...]:
    """Return the numbers of the blocks to keep in RAM, so that this fraction of their bytes isn't on the device at any time.

    The others are spread evenly, so that a copy has as much time as possible to finish.
    """
    count, total = len(sizes_bytes), sum(sizes_bytes)
    if fraction <= 0 or count <= FEWEST_LOADED:
        return ()
    room = (1 - fraction) * total - FEWEST_LOADED * max(sizes_bytes)
    resident = min(count - FEWEST_LOADED, max(0, int(room * count / total)))
    stay = {round((number + 0.5) * count / resident - 0.5) for number in range(resident)} if resident else set()
    return tuple(number for number in range(count) if number not in stay)


class _Block:
    """The tensors of a block and their copies in RAM."""

    def __init__(self, module: nn.Module, loaded_always: Collection[int], home: torch.device, *, pinned: bool) -> None:
        tensors = (*module.parameters(), *module.buffers())
        self.tensors = [tensor for tensor in tensors if id(tensor) not in loaded_always]
        self.home = [tensor.data.to(home) for tensor in self.tensors]
        if pinned:
            self.home = [tensor.pin_memory() for tensor in self.home]
        self.trained = [tensor.requires_grad for tensor in self.tensors]
        self.ready: torch.cuda.Event | None = None
        self.loaded = False
        self._rest()

    def load(self, device: torch.device, stream: torch.cuda.Stream | None) -> None:
        """Copy the tensors to the device; on a stream, the copy may not be finished yet (``ready``)."""
        copies = [torch.empty_like(home, device=device) for home in self.home]
        if stream is None:
            for copy, home in zip(copies, self.home, strict=True):
                copy.copy_(home)
        else:
            stream.wait_stream(torch.cuda.current_stream(device))  # the memory may have been in use there
            with torch.cuda.stream(stream):
                for copy, home in zip(copies, self.home, strict=True):
                    copy.copy_(home, non_blocking=True)
            self.ready = stream.record_event()
        for tensor, copy in zip(self.tensors, copies, strict=True):
            tensor.data = copy
        self.loaded = True

    def wait(self, device: torch.device) -> None:
        """Let the current stream wait until the tensors are there."""
        if self.ready is not None:
            torch.cuda.current_stream(device).wait_event(self.ready)
            self.ready = None

    def unload(self) -> None:
        """Free the memory on the device. Trained weights are copied back; frozen ones haven't changed."""
        for tensor, home, trained in zip(self.tensors, self.home, self.trained, strict=True):
            if trained:
                home.copy_(tensor.data)
        self._rest()

    def _rest(self) -> None:
        for tensor, home in zip(self.tensors, self.home, strict=True):
            tensor.data = home
        self.loaded = False


class LayerOffload:
    """The blocks of one component that are in RAM until they compute."""

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        fraction: float,
        device: torch.device,
        temp_device: torch.device,
        *,
        ahead: bool,
        adapters: Collection[nn.Parameter] = (),
    ) -> None:
        """Move the blocks to ``temp_device``; ``ahead`` copies the next one while a block computes; ``adapters`` stay loaded."""
        self._device = device
        always = {id(parameter) for parameter in adapters}
        sizes = [_size_bytes(block, always) for block in blocks]
        chosen = offloaded_blocks(sizes, fraction)
        cuda = device.type == "cuda"
        pinned = cuda and temp_device.type == "cpu"
        self._blocks = [_Block(blocks[number], always, temp_device, pinned=pinned) for number in chosen]
        self._numbers = {id(blocks[number]): place for place, number in enumerate(chosen)}
        self._stream = torch.cuda.Stream(device) if ahead and cuda else None  # type: ignore[no-untyped-call]
        self._last = -1
        for number in chosen:
            blocks[number].register_forward_pre_hook(self._before)

    @property
    def offloaded(self) -> int:
        """Return the number of blocks that are in RAM until they compute."""
        return len(self._blocks)

    @property
    def loaded(self) -> int:
        """Return the number of those blocks that are on the train device now."""
        return sum(block.loaded for block in self._blocks)

    def _before(self, module: nn.Module, args: object) -> None:
        self.load(module)

    def load(self, module: nn.Module) -> None:
        """Make the tensors of a block available, and unload the others."""
        number = self._numbers.get(id(module))
        if number is None:
            return
        step = -1 if number < self._last else 1
        self._last = number
        following = number + step if self._stream is not None and 0 <= number + step < len(self._blocks) else number
        for other, block in enumerate(self._blocks):
            if block.loaded and other not in (number, following):
                block.wait(self._device)
                block.unload()
        if not self._blocks[number].loaded:
            self._blocks[number].load(self._device, None)
        self._blocks[number].wait(self._device)
        if not self._blocks[following].loaded:
            self._blocks[following].load(self._device, self._stream)

    def move(self, module: nn.Module, device: torch.device) -> None:
        """Move the component, but leave its offloaded blocks in RAM."""
        own = set()
        for block in self._blocks:
            if block.loaded:
                block.wait(self._device)
                block.unload()
            own |= {id(tensor) for tensor in block.tensors}
        for tensor in (*module.parameters(), *module.buffers()):
            if id(tensor) not in own:
                tensor.data = tensor.data.to(device)


def _size_bytes(module: nn.Module, without: Collection[int]) -> int:
    tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if id(tensor) not in without)
