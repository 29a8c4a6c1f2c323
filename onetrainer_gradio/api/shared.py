"""Serve what a link to one run or to the gallery opens: a small page, and the data that it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.threads import control, slow
from onetrainer_gradio.errors import AccountNotFoundError, CommandRefusedError
from onetrainer_gradio.service.people.roles import Identity, Kind, acting
from onetrainer_gradio.service.trainer import TrainerService

router = APIRouter(tags=["people"])

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
}
_FILES = {"shared.js": "text/javascript; charset=utf-8", "shared.css": "text/css; charset=utf-8"}
SAMPLES = 24
POINTS = 400
_STATE = ("status", "phase", "speed", "eta_s", "loss", "paused", "max_step", "total_steps")


class Command(StrEnum):
    """What the role operator can do with the run of a link."""

    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"
    SAMPLE = "sample"
    BACKUP = "backup"
    SAVE = "save"


class SharedReply(BaseModel):
    """What a link shows."""

    ok: bool = True
    shows: str = Field(description="`run` or `gallery`.")
    title: str = Field(description="Name of the run, or of the link.")
    role: str
    expires: float = Field(description="When the link expires, in seconds since the epoch.")
    run: dict[str, Any] | None = Field(None, description="State of the run.")
    loss: dict[str, Any] | None = Field(None, description="Smoothed loss, as in `/api/runs/{run_id}/metrics`.")


class SharedSamples(BaseModel):
    """Samples, newest first."""

    ok: bool = True
    samples: list[dict[str, Any]]
    next_before: str | None = None


class CommandReply(BaseModel):
    """The command was given to the run."""

    ok: bool = True


@router.get("/shared", include_in_schema=False)
async def page() -> Response:
    """Serve the page of a link."""
    return HTMLResponse(_file("shared.html"), headers=PAGE_HEADERS)


@router.get("/shared/{name}", include_in_schema=False)
async def asset(name: str) -> Response:
    """Serve a file of that page."""
    if name not in _FILES:
        return PlainTextResponse("File not found.", status_code=404)
    return Response(_file(name), media_type=_FILES[name], headers={"Cache-Control": "no-cache"})


@router.get("/api/shared", response_model=SharedReply)
@slow
def shared(service: Service) -> dict[str, Any]:
    """Return what the link of this request shows."""
    who = _opened_by()
    link = service.people.links.get(who.via)
    found: dict[str, Any] = {"shows": who.shows, "title": link.name, "role": who.role.word, "expires": link.expires}
    if who.run_id:
        run = service.runs.get(who.run_id)
        state = run.state()
        shown = {name: state.get(name) for name in _STATE}
        found["title"] = run.name or who.run_id
        active, commands = not run.ended(), _takes_commands(service, run.id)
        found["run"] = {**shown, "active": active, "controllable": commands, **state["progress"]}
        found["loss"] = run.metrics_series(["smooth_loss"], POINTS, None, None, 5)
    return found


@router.get("/api/shared/samples", response_model=SharedSamples)
@slow
def shared_samples(
    service: Service, before: Annotated[str | None, Query(max_length=200, description="ID of the last sample received.")] = None
) -> dict[str, Any]:
    """Return samples of the run, or of all runs if the link shows the gallery."""
    who = acting()
    page = service.samples.list(who.run_id or None, None, SAMPLES, before)
    kept = ("id", "prompt", "step", "width", "height")
    samples = [{name: sample[name] for name in kept if name in sample} for sample in page["samples"]]
    return {"samples": samples, "next_before": page["next"]}


@router.post("/api/shared/{command}", response_model=CommandReply)
@control
def command(service: Service, command: Annotated[Command, Path()]) -> dict[str, Any]:
    """Give a command to the run of the link, on whichever device it trains. Its role must be operator."""
    run_id = _opened_by().run_id
    if not _takes_commands(service, run_id):
        raise CommandRefusedError("This run isn't active.", value=command.value)
    actions: Mapping[Command, Callable[..., str]] = {
        Command.STOP: service.stop_training,
        Command.PAUSE: service.pause_training,
        Command.RESUME: service.resume_training,
        Command.SAMPLE: service.sample_default,
        Command.BACKUP: service.backup,
        Command.SAVE: service.save,
    }
    actions[command](run_id=run_id)
    return {}


def _opened_by() -> Identity:
    who = acting()
    if who.kind is not Kind.LINK:
        raise AccountNotFoundError("No link was opened here.", suggestion="Open the panel: it shows everything.")
    return who


def _takes_commands(service: TrainerService, run_id: str) -> bool:
    """Return whether this panel can give commands to a run: it is queued or trains, on whichever device."""
    return any(run.id == run_id and not run.ended() for run in service.scheduler.occupants())


def _file(name: str) -> str:
    return files(__package__).joinpath(f"pages/{name}").read_text(encoding="utf-8")
