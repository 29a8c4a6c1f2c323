"""Describe Linears that an output format stores as one layer, such as query, key and value of an attention."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from onetrainer_gradio.errors import ConfigValueError


@dataclass(frozen=True)
class FusedGroup:
    """Linears of one component with the same input, in the order in which their outputs are concatenated.

    ``name`` is the path of the fused layer in LoRA files (``transformer_blocks.0.attn.qkv``), and ``members`` are the paths of
    the Linears in the component.
    """

    name: str
    members: tuple[str, ...]


def selected_groups(groups: Sequence[FusedGroup], selected: Collection[str]) -> tuple[FusedGroup, ...]:
    """Return the groups whose members are all selected, in their order.

    :raises ConfigValueError: if the layer filter selects only a part of a group, because one adapter can't be over a part.
    """
    chosen = frozenset(selected)
    for group in groups:
        missing = [member for member in group.members if member not in chosen]
        if missing and len(missing) < len(group.members):
            raise ConfigValueError(
                f"The output format stores {', '.join(group.members)} as one layer, but the layer filter doesn't select "
                f"{', '.join(missing)}.",
                path="layer_filter",
                expected="all layers of the group, or none",
                suggestion="Change Layer filter so that it selects all of them, or choose another Output format.",
            )
    return tuple(group for group in groups if chosen.issuperset(group.members))
