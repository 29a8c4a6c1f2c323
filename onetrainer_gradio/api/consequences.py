"""What settings lead to, before anything is run: the draw of timesteps, and the layers that a filter takes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from onetrainer_gradio.api.seam import Service
from onetrainer_gradio.api.shapes import ERRORS
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.form.patch import apply
from onetrainer_gradio.config.layers.match import layer_match
from onetrainer_gradio.config.timesteps import TimestepCurve, timestep_plot
from onetrainer_gradio.service.trainer import TrainerService

router = APIRouter(prefix="/api/config", tags=["config"], responses=ERRORS)

Changes = Annotated[
    dict[str, Any],
    Field(description="Settings to look at in place of the current ones; nothing is kept.", examples=[{"timestep_shift": 3}]),
]


class Asked(BaseModel):
    """The current settings, changed."""

    changes: Changes = Field(default_factory=dict)


class TimestepsAsked(Asked):
    """Which draw is asked for."""

    bins: int = Field(200, ge=10, le=1000, description="Into how many equal bins the timesteps are put.")


class Curve(BaseModel):
    """The draw for pictures of one size."""

    width: int | None = Field(description="Of the pictures, in pixels; null: for all.")
    height: int | None
    shift: float
    density: list[float] = Field(description="From little to much noise; 1: as often as in an even draw.")
    mean: float = Field(description="The mean timestep.")
    quantiles: list[int] = Field(description="The timesteps below which 10, 50 and 90 % of the draws lie.")


class Timesteps(BaseModel):
    """How often each timestep is drawn, computed without drawing."""

    ok: Literal[True] = True
    timesteps: int = Field(description="How many there are.")
    window: list[int] = Field(description="First timestep of the window and the one behind its last, before the shift.")
    dynamic: bool = Field(description="Whether the shift follows the size of a picture.")
    curves: list[Curve] = Field(description="One, or with a shift by size one for each resolution.")
    notes: list[str]


class LayersAsked(Asked):
    """Which filter is asked for."""

    of: Literal["training", "quantization"] = "training"
    names: bool = Field(False, description="Also give the names of the layers.")


class Pattern(BaseModel):
    """A pattern of a filter."""

    pattern: str
    taken: int = Field(description="Layers that it takes.")
    late: int = Field(description="Layers that it fits and an earlier pattern took.")


class Kind(BaseModel):
    """Layers whose names differ in the numbers of their blocks only."""

    name: str
    total: int
    taken: int


class Layers(BaseModel):
    """What a layer filter takes of the model."""

    ok: Literal[True] = True
    known: bool = Field(description="Whether the names of the type's layers are known before the model is loaded.")
    exact: bool = Field(True, description="False: the type comes in several sizes, and the counts are those of one.")
    model: str = ""
    part: str = ""
    total: int = 0
    taken: int = 0
    patterns: list[Pattern] = Field(default_factory=list)
    kinds: list[Kind] = Field(default_factory=list)
    names: list[str] | None = Field(None, description="The layers that are taken, when they were asked for.")


@router.post("/timesteps", response_model=Timesteps)
@slow
def timesteps(service: Service, asked: TimestepsAsked) -> dict[str, Any]:
    """How often each timestep is drawn."""
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
def layers(service: Service, asked: LayersAsked) -> dict[str, Any]:
    """Which layers a filter takes, and how many; those of the denoiser."""
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


def changed(service: TrainerService, asked: Asked) -> TrainConfig:
    """The current settings with the changes that are only looked at.

    :raises ConfigInvalidError: when one of them does not fit.
    """
    config = service.configs.train_config()
    return apply(config, asked.changes, service.engines.newer()) if asked.changes else config


def _curve(curve: TimestepCurve) -> dict[str, Any]:
    height, width = curve.size or (None, None)
    rest = {name: getattr(curve, name) for name in ("shift", "mean", "quantiles")}
    return {"width": width, "height": height, "density": [round(value, 5) for value in curve.density], **rest}
