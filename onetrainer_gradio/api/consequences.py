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
