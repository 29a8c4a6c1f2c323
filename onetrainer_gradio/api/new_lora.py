"""New LoRA: from a few answers to settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from onetrainer_gradio.api.config import Client
from onetrainer_gradio.api.datasets import FolderText
from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.replies import ErrorEntry, entry
from onetrainer_gradio.api.schemas import ERRORS, Open
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.config.new_lora import CaptionSource, Plan, Quality, Subject

router = APIRouter(prefix="/api/new_lora", tags=["new LoRA"], responses=ERRORS)

_MOST_LETTERS = 200


class Answers(BaseModel):
    """What was chosen on the page."""

    name: str = Field(
        description="Name of the LoRA: of its file, workspace and concept.", max_length=_MOST_LETTERS, examples=["My cat"]
    )
    folder: FolderText
    preset: str = Field(
        description="Preset of a LoRA; `GET /api/new_lora/models` names one for each model.", max_length=_MOST_LETTERS
    )
    subject: Subject = Subject.PERSON
    trigger_word: str = Field("", description="One word that calls up the LoRA.", max_length=_MOST_LETTERS)
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


class Planned(Open):
    """The settings that follow from the answers."""

    ok: Literal[True] = True
    preset: str
    changes: dict[str, Any] = Field(description="Settings that differ from the preset, by path.")
    epochs: int
    steps: int = Field(description="Expected optimizer steps.")
    prompts: list[str] = Field(description="Prompts of the samples.")
    findings: list[ErrorEntry] = Field(description="Warnings and notes about the answers.")
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
def trigger_word(service: Service, word: Annotated[str, Query(max_length=_MOST_LETTERS)]) -> dict[str, Any]:
    """Return whether a trigger word is a common word."""
    return {"ok": True, **service.new_lora.trigger_word(word)}


@router.post("/plan", response_model=Planned)
@slow
def plan(service: Service, answers: Answers) -> dict[str, Any]:
    """Return the settings that follow from the answers; nothing is changed."""
    return _planned(service.new_lora.plan(answers.model_dump()))


@router.post("/settings", response_model=Planned)
@slow
def settings(service: Service, answers: OpenAnswers, client: Client = "") -> dict[str, Any]:
    """Make the settings that follow from the answers the current ones. `POST /api/training/start` then starts the run."""
    made, document = service.new_lora.open(answers.model_dump(exclude={"revision"}), revision=answers.revision, by=client)
    return {**_planned(made), "revision": document.revision}


def _planned(made: Plan) -> dict[str, Any]:
    return {
        "ok": True,
        "preset": made.preset,
        "changes": made.changes,
        "epochs": made.epochs,
        "steps": made.steps,
        "prompts": made.prompts,
        "findings": [entry(each) for each in made.findings],
    }
