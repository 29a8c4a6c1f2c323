"""Describe how much VRAM a run is expected to use, by phase and by category."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CATEGORIES: Mapping[str, str] = {
    "weights": "Weights",
    "gradients": "Gradients",
    "optimizer": "Optimizer state",
    "ema": "EMA",
    "activations": "Activations",
    "temporary": "Temporary",
}
"""Category -> label, in the order of the bar."""

PHASES: Mapping[str, str] = {
    "caching_image": "Caching images",
    "caching_text": "Caching captions",
    "training": "Training",
    "sampling": "Sampling",
    "saving": "Backup and save",
}
"""Phase -> label, in the order of a run."""

NOT_CALIBRATED = "Estimate, not yet calibrated"
"""Shown wherever an estimate is: it hasn't been compared with a real GPU."""


@dataclass(frozen=True)
class PhaseMemory:
    """The peak of one phase in bytes, by category."""

    phase: str
    bytes: Mapping[str, int]

    @property
    def total(self) -> int:
        """Return the peak in bytes."""
        return sum(self.bytes.values())


@dataclass(frozen=True)
class MemoryEstimate:
    """The peak of each phase. ``parameters`` counts those of the model, ``trained`` those that are trained.

    ``assumptions`` lists what the estimate doesn't compute, as sentences.
    """

    phases: tuple[PhaseMemory, ...]
    parameters: int
    trained: int
    assumptions: tuple[str, ...] = ()

    @property
    def peak(self) -> PhaseMemory:
        """Return the phase with the highest peak."""
        return max(self.phases, key=lambda phase: phase.total)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; ``peak`` is the name of the phase with the highest peak."""
        return {
            "peak": self.peak.phase,
            "peak_bytes": self.peak.total,
            "phases": [{"phase": one.phase, "total": one.total, "bytes": dict(one.bytes)} for one in self.phases],
            "parameters": self.parameters,
            "trained": self.trained,
            "assumptions": list(self.assumptions),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> MemoryEstimate:
        """Return the estimate that ``to_json`` describes."""
        phases = tuple(PhaseMemory(one["phase"], dict(one["bytes"])) for one in content["phases"])
        return cls(phases, content["parameters"], content["trained"], tuple(content["assumptions"]))
