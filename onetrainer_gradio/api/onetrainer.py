"""OneTrainer checkouts that the panel knows, and which engine carries out runs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from onetrainer_gradio.api.config import ConfigReply, reply
from onetrainer_gradio.api.seam import Service
from onetrainer_gradio.api.shapes import ERRORS, Open
from onetrainer_gradio.api.threads import control, slow
from onetrainer_gradio.service.engines import checkouts as known_checkouts

router = APIRouter(prefix="/api", tags=["onetrainer"], responses=ERRORS)

CheckoutId = Annotated[str, Path(description="Id of a known checkout.", examples=["onetrainer-3f2a1c"])]
ListKind = Annotated[str, Path(description="concepts or samples.")]


class CheckoutPlace(BaseModel):
    """Where a checkout is."""

    folder: str = Field(description="The folder that OneTrainer was cloned or unpacked into.")
    python: str = Field("", description="An interpreter to use instead of that of its own environment.")


class Checkout(Open):
    """A checkout: where it is, its revision, what is missing, and how its settings differ from the panel's."""

    id: str = ""
    folder: str
    usable: bool = Field(description="Whether nothing is known that would keep it from training.")
    config_version: int | None = Field(description="Version of its settings; null where it is not told.")
    panel_config_version: int = Field(description="Version of the settings of this panel.")
    version_note: str = Field(description="What it means that the two differ; empty where they do not.")
    problems: list[dict[str, Any]] = Field(description="What is missing, each with what to do about it.")


class CheckoutReply(BaseModel):
    """One checkout."""

    ok: bool = True
    checkout: Checkout


class CheckoutList(BaseModel):
    """The known checkouts."""

    checkouts: list[Checkout]
    can_add: bool = Field(description="Whether some can be added and removed; where others use the panel its start names them.")


class EngineChoice(BaseModel):
    """Which engine is wanted."""

    engine: str = Field(description="Id of an engine, or auto: the first that can.", examples=["auto", "builtin"])


class Engines(BaseModel):
    """The engines, and which of them would carry out the current settings."""

    ok: bool = True
    choice: str = Field(description="What was chosen: the id of an engine, or auto.")
    engine: str = Field(description="Id of the engine that Start takes for the current settings.")
    engines: list[dict[str, Any]] = Field(description="Each engine, whether it can train the current settings, and why not.")


class EngineTable(BaseModel):
    """Model types and methods by engine."""

    rows: list[dict[str, Any]] = Field(description="model_type, training_method, their words, engines: id, can, why.")


class UnavailablePreset(BaseModel):
    """A preset or saved configuration that no engine here can train."""

    kind: str = Field(description="preset, library or saved.")
    name: str
    why: str = Field(description="The first reason.")


class UnavailablePresets(BaseModel):
    """The presets and saved configurations that no engine here can train."""

    presets: list[UnavailablePreset]


class UnavailableChoices(BaseModel):
    """The choices that can't be trained here together with the current settings."""

    choices: dict[str, dict[str, str]] = Field(description="Path of a setting -> choice -> reason.")


class ListImport(BaseModel):
    """How a list comes into the current settings."""

    revision: int | None = Field(None, description="The revision that the change is made against; left out: whatever it is.")
    add: bool = Field(False, description="Put it behind what is there instead of in its place.")


class Unloaded(BaseModel):
    """What became of the OneTrainer that waited."""

    ok: bool = True
    unloaded: bool = Field(description="Whether one was loaded.")


class ListItems(BaseModel):
    """The elements of a list."""

    items: list[Any]


@router.get("/engines", response_model=Engines)
def engines(service: Service) -> dict[str, Any]:
    """The engines that there are, which one is chosen, and whether each can train the current settings."""
    return {"ok": True, **service.engine_offers()}


@router.put("/engines", response_model=Engines)
def choose_engine(service: Service, body: EngineChoice) -> dict[str, Any]:
    """Choose the engine of all runs that do not name one themselves."""
    service.engines.choose(body.engine)
    return {"ok": True, **service.engine_offers()}


@router.get("/engines/table", response_model=EngineTable)
@slow
def engine_table(service: Service) -> dict[str, Any]:
    """For each model type and training method, which engines can train it, and why the others cannot."""
    return {"rows": service.engines.matrix()}


@router.get("/engines/unavailable/presets", response_model=UnavailablePresets)
@slow
def unavailable_presets(service: Service) -> dict[str, Any]:
    """Which presets and saved configurations no engine of this panel can train, and why."""
    return {"presets": service.availability.presets()}


@router.get("/engines/unavailable/choices", response_model=UnavailableChoices)
@slow
def unavailable_choices(
    service: Service,
    path: Annotated[list[str], Query(description="Settings with choices, such as `optimizer.optimizer`.", max_length=20)],
) -> dict[str, Any]:
    """Which choices of the given settings can't be trained here together with the current settings, and why."""
    return {"choices": service.availability.choices(service.configs.train_config(), path)}


@router.get("/onetrainer/checkouts", response_model=CheckoutList)
def checkouts(service: Service) -> dict[str, Any]:
    """The known checkouts with everything that is known of each."""
    known = service.checkouts
    return {"checkouts": [known.describe(each) for each in known.all()], "can_add": known.can_add}


@router.post("/onetrainer/checkouts", response_model=CheckoutReply)
@slow
def add_checkout(service: Service, body: CheckoutPlace) -> dict[str, Any]:
    """Know a checkout from now on; its settings are read in the background. 422 where there is no OneTrainer."""
    return {"ok": True, "checkout": service.checkouts.describe(service.checkouts.add(body.folder, body.python))}


@router.post("/onetrainer/look", response_model=CheckoutReply)
@slow
def look(service: Service, body: CheckoutPlace) -> dict[str, Any]:
    """What a folder is and what is missing, without knowing it afterwards."""
    looked = service.checkouts.try_out(body.folder, body.python)
    return {"ok": True, "checkout": {"folder": str(looked.folder), **known_checkouts.about(looked)}}


@router.post("/onetrainer/unload", response_model=Unloaded)
@control
def unload(service: Service) -> dict[str, Any]:
    """End the OneTrainer that the last run left loaded for the next one; what it holds of the memory is free then."""
    return {"ok": True, "unloaded": service.unload()}


@router.get("/onetrainer/checkouts/{checkout_id}", response_model=CheckoutReply)
def checkout(service: Service, checkout_id: CheckoutId) -> dict[str, Any]:
    """One checkout."""
    return {"ok": True, "checkout": service.checkouts.describe(service.checkouts.get(checkout_id))}


@router.post("/onetrainer/checkouts/{checkout_id}/check", response_model=CheckoutReply)
@slow
def check(service: Service, checkout_id: CheckoutId) -> dict[str, Any]:
    """Look at it again, after an update or an installation."""
    return {"ok": True, "checkout": service.checkouts.describe(service.checkouts.check(checkout_id))}


@router.delete("/onetrainer/checkouts/{checkout_id}")
def remove_checkout(service: Service, checkout_id: CheckoutId) -> dict[str, Any]:
    """Know it no more; nothing of it is deleted."""
    service.checkouts.remove(checkout_id)
    return {"ok": True}


@router.get("/onetrainer/checkouts/{checkout_id}/lists/{kind}/{name}", response_model=ListItems)
@slow
def read_list(service: Service, checkout_id: CheckoutId, kind: ListKind, name: str) -> dict[str, Any]:
    """A list of concepts or samples of the checkout."""
    return {"items": service.checkouts.read_list(checkout_id, kind, name)}


@router.post("/onetrainer/checkouts/{checkout_id}/lists/{kind}/{name}", response_model=ConfigReply)
@slow
def import_list(service: Service, checkout_id: CheckoutId, kind: ListKind, name: str, body: ListImport) -> dict[str, Any]:
    """Put a list of concepts or samples of the checkout into the current settings."""
    return reply(service.import_list(checkout_id, kind, name, revision=body.revision, add=body.add))
