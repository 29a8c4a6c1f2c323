"""Preview the effect of settings without a run: the timestep distribution, and the layers that a filter matches."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.form.patch import apply
from onetrainer_gradio.config.layers.match import layer_match
from onetrainer_gradio.config.memory_estimate import NOT_CALIBRATED
from onetrainer_gradio.config.timesteps import TimestepCurve, timestep_plot
from onetrainer_gradio.service.trainer import TrainerService

router = APIRouter(prefix="/api/config", tags=["config"], responses=ERRORS)

Changes = Annotated[
    dict[str, Any],
    Field(description="Settings to use instead of the current ones. They are not saved.", examples=[{"timestep_shift": 3}]),
]


class ChangedSettings(BaseModel):
    """The current settings with temporary changes."""

    changes: Changes = Field(default_factory=dict)


class TimestepsRequest(ChangedSettings):
    """Parameters of the timestep distribution."""

    bins: int = Field(200, ge=10, le=1000, description="Number of equal bins.")


class Curve(BaseModel):
    """The timestep distribution for one image size."""

    width: int | None = Field(description="Image width in pixels; null: all sizes.")
    height: int | None = Field(description="Image height in pixels; null: all sizes.")
    shift: float
    density: list[float] = Field(description="Relative sampling frequency from low to high noise; 1: uniform.")
    mean: float = Field(description="The mean timestep.")
    quantiles: list[int] = Field(description="The 10%, 50% and 90% quantiles of the timesteps.")


class Timesteps(BaseModel):
    """How often each timestep is sampled."""

    ok: Literal[True] = True
    timesteps: int = Field(description="Number of timesteps.")
    window: list[int] = Field(description="First timestep of the window (inclusive) and its end (exclusive), before the shift.")
    dynamic: bool = Field(description="Whether the shift depends on the image size.")
    curves: list[Curve] = Field(description="One curve, or with dynamic shifting one per resolution.")
    notes: list[str]


class LayersRequest(ChangedSettings):
    """Select the layer filter."""

    of: Literal["training", "quantization"] = "training"
    names: bool = Field(False, description="Include the layer names.")


class Pattern(BaseModel):
    """A pattern of a layer filter."""

    pattern: str
    taken: int = Field(description="Number of layers that it matches.")
    late: int = Field(description="Number of layers that an earlier pattern already matched.")


class Kind(BaseModel):
    """Layers whose names differ only in their block numbers."""

    name: str
    total: int
    taken: int


class Layers(BaseModel):
    """The layers that a filter matches."""

    ok: Literal[True] = True
    known: bool = Field(description="Whether the layer names of this model type are available before the model is loaded.")
    exact: bool = Field(True, description="If false, the model type comes in several sizes, and the counts are for one of them.")
    model: str = ""
    part: str = ""
    total: int = 0
    taken: int = 0
    patterns: list[Pattern] = Field(default_factory=list)
    kinds: list[Kind] = Field(default_factory=list)
    names: list[str] | None = Field(None, description="The matched layers, if requested.")


class MemoryRequest(ChangedSettings):
    """Parameters of a memory estimate."""

    fit: bool = Field(False, description="Also return changes that make the run fit, each computed by another estimate.")
    limit_bytes: int | None = Field(None, ge=1, description="VRAM to fit into (default: that of the GPU).")


class PhaseBytes(BaseModel):
    """The peak of one phase."""

    phase: str = Field(description="caching_image, caching_text, training, sampling or saving.")
    total: int
    bytes: dict[str, int] = Field(description="weights, gradients, optimizer, ema, activations and temporary, where not 0.")


class MemoryStep(BaseModel):
    """A change that saves memory, and the peak after it and all steps before it."""

    label: str
    changes: dict[str, Any]
    peak_bytes: int
    fits: bool


class Memory(BaseModel):
    """The VRAM that a run is expected to need."""

    ok: Literal[True] = True
    note: str = Field(description="How reliable the estimate is.")
    peak: str = Field(description="The phase with the highest peak.")
    peak_bytes: int
    gpu_bytes: int | None = Field(description="The memory of the GPU; null without a GPU.")
    phases: list[PhaseBytes]
    parameters: int
    trained: int
    assumptions: list[str] = Field(description="What the estimate doesn't compute.")
    steps: list[MemoryStep] = Field(default_factory=list)


@router.post("/memory", response_model=Memory)
@slow
def memory(service: Service, asked: MemoryRequest) -> dict[str, Any]:
    """Estimate the VRAM of a run: the peak of each phase by category. The first estimate takes some seconds more."""
    config = changed(service, asked)
    gpu_bytes = service.gpu_bytes()
    limit = asked.limit_bytes or gpu_bytes
    steps = service.memory.steps_to_fit(config, limit) if asked.fit and limit else ()
    return {
        **service.memory.estimate(config).to_json(),
        "note": NOT_CALIBRATED,
        "gpu_bytes": gpu_bytes,
        "steps": [
            {
                "label": step.label,
                "changes": step.changes,
                "peak_bytes": step.estimate.peak.total,
                "fits": step.estimate.peak.total <= (limit or 0),
            }
            for step in steps
        ],
    }


@router.post("/timesteps", response_model=Timesteps)
@slow
def timesteps(service: Service, asked: TimestepsRequest) -> dict[str, Any]:
    """Show how often each timestep is sampled."""
    found = timestep_plot(changed(service, asked), asked.bins)
    return {
        "timesteps": 1000,
        "window": found.window,
        "dynamic": found.dynamic,
        "curves": [_curve(curve) for curve in found.curves],
        "notes": found.notes,
    }


@router.post("/layers", response_model=Layers)
@slow
def layers(service: Service, asked: LayersRequest) -> dict[str, Any]:
    """Show which layers of the denoiser a filter matches."""
    config = changed(service, asked)
    source = config.quantization if asked.of == "quantization" else config
    match = layer_match(config.model_type, source.layer_filter, source.layer_filter_regex)
    if match is None:
        return {"known": False}
    shown = {name: getattr(match, name) for name in ("exact", "model", "part", "total", "taken")}
    return {
        "known": True,
        **shown,
        "patterns": [vars(pattern) for pattern in match.patterns],
        "kinds": [vars(kind) for kind in match.kinds],
        "names": match.names if asked.names else None,
    }


def changed(service: TrainerService, asked: ChangedSettings) -> TrainConfig:
    """Return the current settings with temporary changes.

    :raises ConfigInvalidError: if a change is invalid.
    """
    config = service.configs.train_config()
    return apply(config, asked.changes, service.engines.newer()) if asked.changes else config


def _curve(curve: TimestepCurve) -> dict[str, Any]:
    height, width = curve.size or (None, None)
    rest = {name: getattr(curve, name) for name in ("shift", "mean", "quantiles")}
    return {"width": width, "height": height, "density": [round(value, 5) for value in curve.density], **rest}
