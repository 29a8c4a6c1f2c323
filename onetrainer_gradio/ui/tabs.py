"""The tabs of the page, one line for each. The page, its first view and its scripts follow this table.

A place is a name. The script ``assets/NAME.js`` fills it with ``mount(place)`` when its tab is opened for the first time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tab:
    """A tab: its name in addresses, its title, and the places in it, from top to bottom."""

    key: str
    title: str
    places: tuple[str, ...]


TABS = (
    Tab("configuration", "Configuration", ("form",)),
    Tab("training", "Training", ("status", "problems", "chart", "newest", "console", "runs")),
    Tab("data", "Data", ("data",)),
    Tab("runs", "Runs", ("queue", "history")),
    Tab("samples", "Samples", ("gallery",)),
    Tab("new-lora", "New LoRA", ("new-lora",)),
    Tab("system", "System", ("system",)),
)
