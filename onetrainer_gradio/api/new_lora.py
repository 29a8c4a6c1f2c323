"""New LoRA: from a few answers to settings."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from onetrainer_gradio.api.config import Client, attachment
from onetrainer_gradio.api.datasets import FolderText
from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.replies import ErrorEntry, entry
from onetrainer_gradio.api.schemas import ERRORS, Open
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.config.memory_estimate import NOT_CALIBRATED, PHASES
from onetrainer_gradio.config.new_lora import CaptionSource, Plan, Quality, Subject, file_name
from onetrainer_gradio.errors import BusyError, UnsupportedError
from onetrainer_gradio.service import TrainerService

router = APIRouter(prefix="/api/new_lora", tags=["new LoRA"], responses=ERRORS)

_MAX_LETTERS = 200


class Answers(BaseModel):
    """What was chosen on the page."""

    name: str = Field(
        description="Name of the LoRA: of its file, workspace and concept.", max_length=_MAX_LETTERS, examples=["My cat"]
    )
    folder: FolderText
    preset: str = Field(
        description="Preset of a LoRA; `GET /api/new_lora/models` names one for each model.", max_length=_MAX_LETTERS
    )
    subject: Subject = Subject.PERSON
    trigger_word: str = Field("", description="One word that calls up the LoRA.", max_length=_MAX_LETTERS)
    captions: CaptionSource = CaptionSource.TRIGGER_WORD
    quality: Quality = Quality.BALANCED
    base_model: str = Field("", description="Another base model than the preset's: folder, file or repository.", max_length=4096)


class OpenAnswers(Answers):
    """Answers whose settings are opened."""

    revision: int | None = Field(None, description="409 if the settings changed since this revision.")


class Models(BaseModel):
    """Base models, those that can be trained here first."""

    ok: Literal[True] = True
    models: list[dict[str, Any]]


class Difference(BaseModel):
    """A setting that differs from the preset."""

    path: str
    title: str
    before: Any
    after: Any


class Checked(BaseModel):
    """What is expected of a run before it starts."""

    ok: Literal[True] = True
    findings: list[ErrorEntry] = Field(description="Errors and warnings of the pre-flight check.")
    peak_bytes: int | None = Field(description="Estimated VRAM; null if there is no estimate for these settings.")
    peak: str = Field("", description="Phase with the highest VRAM usage.")
    gpu_bytes: int | None = Field(description="VRAM of the GPU; null without one.")
    note: str = Field("", description="How accurate the estimate is, or why there is none.")


class Planned(Open):
    """The settings that follow from the answers."""

    ok: Literal[True] = True
    preset: str
    changes: dict[str, Any] = Field(description="Settings that the answers decide, by path.")
    differences: list[Difference] = Field(description="All settings that differ from the preset.")
    epochs: int
    steps: int = Field(description="Expected optimizer steps.")
    prompts: list[str] = Field(description="Prompts of the samples.")
    seconds: float | None = Field(description="Expected time, by the speed of an earlier run on this machine; null without one.")
    seconds_from: str = Field("", description="Name of that run.")
    findings: list[ErrorEntry] = Field(
        description="Warnings and notes about the answers; those of the pre-flight check are in `check`."
    )
    revision: int | None = Field(None, description="Revision of the settings, if they were opened.")


class Trigger(BaseModel):
    """What is known of a word."""

    ok: Literal[True] = True
    word: str
    existing: bool = Field(description="Whether the tokenizer has it among its common words, so the model already knows it.")


@router.get("/models", response_model=Models)
@slow
def models(service: Service) -> dict[str, Any]:
    """List base models with license, size, whether they are on this machine, and why one can't be trained here."""
    return {"ok": True, "models": service.new_lora.models()}


@router.get("/trigger_word", response_model=Trigger)
def trigger_word(service: Service, word: Annotated[str, Query(max_length=_MAX_LETTERS)]) -> dict[str, Any]:
    """Return whether a trigger word is a common word."""
    return {"ok": True, **service.new_lora.trigger_word(word)}


@router.post("/plan", response_model=Planned)
@slow
def plan(service: Service, answers: Answers) -> dict[str, Any]:
    """Return the settings that follow from the answers; nothing is changed."""
    return _planned(service, service.new_lora.plan(answers.model_dump()))


@router.post("/check", response_model=Checked)
@slow
def check(service: Service, answers: Answers) -> dict[str, Any]:
    """Run the pre-flight check for the settings that follow, and estimate their VRAM. The first estimate takes some seconds."""
    made = service.new_lora.plan(answers.model_dump())
    found = [each for each in service.new_lora.check(made) if each.severity != "note"]
    shown = {"ok": True, "findings": [entry(each) for each in found], "gpu_bytes": service.gpu_bytes()}
    try:
        estimate = service.memory.estimate(made.config)
    except (UnsupportedError, BusyError) as error:
        return {**shown, "peak_bytes": None, "note": str(error)}
    peak = estimate.peak
    return {**shown, "peak_bytes": peak.total, "peak": PHASES[peak.phase], "note": NOT_CALIBRATED}


@router.post("/export")
@slow
def export(service: Service, answers: Answers) -> Response:
    """Download the settings that follow as a OneTrainer file, with concepts and samples; nothing is changed."""
    made = service.new_lora.plan(answers.model_dump())
    document = to_document(made.config, packed=True)
    file = attachment(f"{file_name(answers.name)}.json")
    return Response(json.dumps(document, indent=4), media_type="application/json", headers=file)


@router.post("/settings", response_model=Planned)
@slow
def settings(service: Service, answers: OpenAnswers, client: Client = "") -> dict[str, Any]:
    """Make the settings that follow from the answers the current ones. `POST /api/training/start` then starts the run."""
    made, document = service.new_lora.open(answers.model_dump(exclude={"revision"}), revision=answers.revision, by=client)
    return {**_planned(service, made), "revision": document.revision}


def _planned(service: TrainerService, made: Plan) -> dict[str, Any]:
    duration = service.new_lora.duration(made)
    return {
        "ok": True,
        "preset": made.preset,
        "changes": made.changes,
        "differences": [
            {"path": each.path, "title": title_of(each.path), "before": each.left, "after": each.right}
            for each in service.new_lora.differences(made)
        ],
        "epochs": made.epochs,
        "steps": made.steps,
        "prompts": made.prompts,
        "seconds": duration and duration.seconds,
        "seconds_from": duration.run if duration else "",
        "findings": [entry(each) for each in made.findings],
    }
