"""OneTrainer checkouts of the panel, and the training engine for runs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from onetrainer_gradio.api.config import ConfigReply, reply
from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS, Open
from onetrainer_gradio.api.threads import control, slow
from onetrainer_gradio.service.engines import checkouts as known_checkouts

router = APIRouter(prefix="/api", tags=["onetrainer"], responses=ERRORS)

CheckoutId = Annotated[str, Path(description="ID of a checkout.", examples=["onetrainer-3f2a1c"])]
ListKind = Annotated[str, Path(description="`concepts` or `samples`.")]


class CheckoutPlace(BaseModel):
    """Location of a checkout."""

    folder: str = Field(description="OneTrainer's folder.")
    python: str = Field("", description="Python interpreter to use instead of the checkout's own venv.")


class Checkout(Open):
    """A checkout: folder, revision, problems, and how its settings differ from the panel's."""

    id: str = ""
    folder: str
    usable: bool = Field(description="Whether it can be used for training.")
    config_version: int | None = Field(description="Version of its settings; null if unknown.")
    panel_config_version: int = Field(description="Version of this panel's settings.")
    version_note: str = Field(description="What the version difference means; empty if there is none.")
    problems: list[dict[str, Any]] = Field(description="What is missing, each with a suggestion.")


class CheckoutReply(BaseModel):
    """One checkout."""

    ok: bool = True
    checkout: Checkout


class CheckoutList(BaseModel):
    """The panel's checkouts."""

    checkouts: list[Checkout]
    can_add: bool = Field(
        description="Whether checkouts can be added and removed. If others can reach the panel, they can only be set at startup."
    )


class EngineChoice(BaseModel):
    """The engine to use."""

    engine: str = Field(
        description="ID of an engine, or `auto`: the first one that supports the settings.", examples=["auto", "builtin"]
    )


class Engines(BaseModel):
    """The engines, and which one would train the current settings."""

    ok: bool = True
    choice: str = Field(description="ID of the selected engine, or `auto`.")
    engine: str = Field(description="ID of the engine that Start uses for the current settings.")
    engines: list[dict[str, Any]] = Field(description="Each engine, whether it can train the current settings, and if not, why.")


class EngineTable(BaseModel):
    """Model types and methods by engine."""

    rows: list[dict[str, Any]] = Field(
        description="`model_type`, `training_method`, their labels, and `engines` with `id`, `can`, `why`."
    )


class UnavailablePreset(BaseModel):
    """A preset or saved configuration that no available engine can train."""

    kind: str = Field(description="`preset`, `library` or `saved`.")
    name: str
    why: str = Field(description="The first reason.")


class UnavailablePresets(BaseModel):
    """Presets and saved configurations that no available engine can train."""

    presets: list[UnavailablePreset]


class UnavailableChoices(BaseModel):
    """Choices that no available engine can train together with the current settings."""

    choices: dict[str, dict[str, str]] = Field(description="Path of a setting -> choice -> reason.")


class ListImport(BaseModel):
    """How to import a list into the current settings."""

    revision: int | None = Field(None, description="The revision that the change is based on. If omitted: the current one.")
    add: bool = Field(False, description="Append to the current list instead of replacing it.")


class Unloaded(BaseModel):
    """Result of unloading."""

    ok: bool = True
    unloaded: bool = Field(description="Whether a training process was loaded.")


class ListItems(BaseModel):
    """The elements of a list."""

    items: list[Any]


@router.get("/engines", response_model=Engines)
def engines(service: Service) -> dict[str, Any]:
    """List the engines, the selected one, and whether each can train the current settings."""
    return {"ok": True, **service.engine_support()}


@router.put("/engines", response_model=Engines)
def choose_engine(service: Service, body: EngineChoice) -> dict[str, Any]:
    """Select the engine for all runs that don't specify one."""
    service.engines.choose(body.engine)
    return {"ok": True, **service.engine_support()}


@router.get("/engines/table", response_model=EngineTable)
@slow
def engine_table(service: Service) -> dict[str, Any]:
    """Show which engines can train each model type and training method, and why the others can't."""
    return {"rows": service.engines.matrix()}


@router.get("/engines/unavailable/presets", response_model=UnavailablePresets)
@slow
def unavailable_presets(service: Service) -> dict[str, Any]:
    """List the presets and saved configurations that no available engine can train, and why."""
    return {"presets": service.availability.presets()}


@router.get("/engines/unavailable/choices", response_model=UnavailableChoices)
@slow
def unavailable_choices(
    service: Service,
    path: Annotated[list[str], Query(description="Settings with choices, such as `optimizer.optimizer`.", max_length=20)],
) -> dict[str, Any]:
    """List the choices of the given settings that no available engine can train with the current settings, and why."""
    return {"choices": service.availability.choices(service.configs.train_config(), path)}


@router.get("/onetrainer/checkouts", response_model=CheckoutList)
def checkouts(service: Service) -> dict[str, Any]:
    """List the panel's checkouts with their details."""
    known = service.checkouts
    return {"checkouts": [known.describe(each) for each in known.all()], "can_add": known.can_add}


@router.post("/onetrainer/checkouts", response_model=CheckoutReply)
@slow
def add_checkout(service: Service, body: CheckoutPlace) -> dict[str, Any]:
    """Add a checkout. Its settings are read in the background. 422 if the folder doesn't contain OneTrainer."""
    return {"ok": True, "checkout": service.checkouts.describe(service.checkouts.add(body.folder, body.python))}


@router.post("/onetrainer/inspect", response_model=CheckoutReply)
@slow
def inspect(service: Service, body: CheckoutPlace) -> dict[str, Any]:
    """Check a OneTrainer folder without adding it."""
    inspected = service.checkouts.try_out(body.folder, body.python)
    return {"ok": True, "checkout": {"folder": str(inspected.folder), **known_checkouts.about(inspected)}}


@router.post("/onetrainer/unload", response_model=Unloaded)
@control
def unload(service: Service) -> dict[str, Any]:
    """Unload the training process that the last run left loaded, and free its memory."""
    return {"ok": True, "unloaded": service.unload()}


@router.get("/onetrainer/checkouts/{checkout_id}", response_model=CheckoutReply)
def checkout(service: Service, checkout_id: CheckoutId) -> dict[str, Any]:
    """Return one checkout."""
    return {"ok": True, "checkout": service.checkouts.describe(service.checkouts.get(checkout_id))}


@router.post("/onetrainer/checkouts/{checkout_id}/check", response_model=CheckoutReply)
@slow
def check(service: Service, checkout_id: CheckoutId) -> dict[str, Any]:
    """Rescan a checkout after updating or reinstalling it."""
    return {"ok": True, "checkout": service.checkouts.describe(service.checkouts.check(checkout_id))}


@router.delete("/onetrainer/checkouts/{checkout_id}")
def remove_checkout(service: Service, checkout_id: CheckoutId) -> dict[str, Any]:
    """Remove a checkout from the panel. Its files are kept."""
    service.checkouts.remove(checkout_id)
    return {"ok": True}


@router.get("/onetrainer/checkouts/{checkout_id}/lists/{kind}/{name}", response_model=ListItems)
@slow
def read_list(service: Service, checkout_id: CheckoutId, kind: ListKind, name: str) -> dict[str, Any]:
    """Return a list of concepts or samples from the checkout."""
    return {"items": service.checkouts.read_list(checkout_id, kind, name)}


@router.post("/onetrainer/checkouts/{checkout_id}/lists/{kind}/{name}", response_model=ConfigReply)
@slow
def import_list(service: Service, checkout_id: CheckoutId, kind: ListKind, name: str, body: ListImport) -> dict[str, Any]:
    """Import a list of concepts or samples from the checkout into the current settings."""
    return reply(service.import_list(checkout_id, kind, name, revision=body.revision, add=body.add))
