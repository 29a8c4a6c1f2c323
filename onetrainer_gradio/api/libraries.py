"""Presets: built-in ones and those from added folders, such as a OneTrainer checkout's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from onetrainer_gradio.api.config import ConfigItem
from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.service.settings.libraries import as_dict

router = APIRouter(prefix="/api/config", tags=["presets"], responses=ERRORS)


class LibraryItem(BaseModel):
    """A folder of presets."""

    title: str = Field(description="Prefix of its preset names.")
    folder: str
    kept: bool = Field(description="If false, the folder comes from another setting and is removed with it.")
    present: bool = Field(description="Whether the folder exists.")
    presets: int = Field(description="Number of presets in it.")


class LibraryList(BaseModel):
    """The preset folders."""

    ok: bool = True
    libraries: list[LibraryItem]


class LibraryAdd(BaseModel):
    """A folder to add."""

    folder: str = Field(max_length=4096, examples=["/home/you/OneTrainer/training_presets"])
    title: str = Field("", max_length=120, description="Title. Empty: the folder's name.")


class PresetList(BaseModel):
    """Presets that match the request."""

    ok: bool = True
    presets: list[ConfigItem]


class PresetReply(BaseModel):
    """A preset as a complete configuration."""

    ok: bool = True
    name: str
    kind: str
    summary: dict[str, Any]
    config: dict[str, Any] = Field(description="The configuration after opening it: OneTrainer's document, version 11.")


@router.get("/libraries", response_model=LibraryList)
@slow
def libraries(service: Service) -> dict[str, Any]:
    """List the added preset folders."""
    return _known(service)


def _known(service: Service) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for name, _ in service.libraries.presets():
        title = name.partition("/")[0]
        counts[title] = counts.get(title, 0) + 1
    return {"ok": True, "libraries": [as_dict(each, counts.get(each.title, 0)) for each in service.libraries.all()]}


@router.post("/libraries", response_model=LibraryList)
@slow
def add_library(service: Service, body: LibraryAdd) -> dict[str, Any]:
    """Add a folder of presets on this machine. Its files are never modified."""
    service.libraries.add(body.folder, body.title)
    return _known(service)


@router.delete("/libraries/{title}", response_model=LibraryList)
@slow
def remove_library(service: Service, title: str) -> dict[str, Any]:
    """Remove a folder of presets from the list. Its files are kept."""
    service.libraries.remove(title)
    return _known(service)


@router.get("/presets", response_model=PresetList)
@slow
def presets(
    service: Service,
    search: Annotated[str, Query(description="Words that must occur in the name, model, method or note.")] = "",
    model_type: Annotated[str, Query(description="OneTrainer's model type, such as `STABLE_DIFFUSION_15`.")] = "",
    method: Annotated[str, Query(description="OneTrainer's training method, such as `LORA`.")] = "",
    memory_gb: Annotated[int | None, Query(description="Only presets for at most this much VRAM, in GB.", ge=1)] = None,
) -> dict[str, Any]:
    """List built-in presets and those from added folders."""
    asked = search.casefold().split()
    found = []
    for item in service.configs.list():
        about = item["summary"]
        text = " ".join([item["name"], *(str(about.get(key, "")) for key in ("model", "training_method", "note"))]).casefold()
        memory = about.get("memory_gb")
        if (
            item["kind"] != "saved"
            and all(word in text for word in asked)
            and model_type in ("", about.get("model_type"))
            and method in ("", about.get("training_method"))
            and (memory_gb is None or (memory is not None and memory <= memory_gb))
        ):
            found.append(item)
    return {"ok": True, "presets": found}


@router.get("/presets/{name:path}", response_model=PresetReply)
def preset(service: Service, name: str) -> dict[str, Any]:
    """Return a preset as a complete configuration, without opening it."""
    item = next((item for item in service.configs.list() if item["kind"] != "saved" and item["name"] == name), None)
    kind = item["kind"] if item else "preset"
    config = service.configs.as_opened(service.configs.read(name, kind))
    return {"ok": True, "name": name, "kind": kind, "summary": item["summary"] if item else {}, "config": config}
