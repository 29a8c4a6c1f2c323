"""Presets: the panel's own and those of folders that were added, as a OneTrainer checkout's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from onetrainer_gradio.api.config import ConfigItem
from onetrainer_gradio.api.seam import Service
from onetrainer_gradio.api.shapes import ERRORS
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.service.settings.libraries import as_dict

router = APIRouter(prefix="/api/config", tags=["presets"], responses=ERRORS)


class LibraryItem(BaseModel):
    """A folder of presets."""

    title: str = Field(description="First part of the names of its presets.")
    folder: str
    kept: bool = Field(description="False: it belongs to another setting and goes with it.")
    present: bool = Field(description="Whether the folder is there at present.")
    presets: int = Field(description="How many presets it offers.")


class LibraryList(BaseModel):
    """All folders of presets."""

    ok: bool = True
    libraries: list[LibraryItem]


class LibraryAdd(BaseModel):
    """A folder to add."""

    folder: str = Field(max_length=4096, examples=["/home/you/OneTrainer/training_presets"])
    title: str = Field("", max_length=120, description="Empty: named after the folder.")


class PresetList(BaseModel):
    """Presets that were asked for."""

    ok: bool = True
    presets: list[ConfigItem]


class PresetReply(BaseModel):
    """A preset as a whole configuration."""

    ok: bool = True
    name: str
    kind: str
    summary: dict[str, Any]
    config: dict[str, Any] = Field(description="What opening it gives: OneTrainer's document, version 11.")


@router.get("/libraries", response_model=LibraryList)
@slow
def libraries(service: Service) -> dict[str, Any]:
    """The folders of presets that were added."""
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
    """Offer the presets of a folder of this machine from now on; they are never written to."""
    service.libraries.add(body.folder, body.title)
    return _known(service)


@router.delete("/libraries/{title}", response_model=LibraryList)
@slow
def remove_library(service: Service, title: str) -> dict[str, Any]:
    """Offer them no more; the files stay."""
    service.libraries.remove(title)
    return _known(service)


@router.get("/presets", response_model=PresetList)
@slow
def presets(
    service: Service,
    search: Annotated[str, Query(description="Words that have to stand in name, model, method or note.")] = "",
    model_type: Annotated[str, Query(description="OneTrainer's name, as STABLE_DIFFUSION_15.")] = "",
    method: Annotated[str, Query(description="OneTrainer's training method, as LORA.")] = "",
    memory_gb: Annotated[int | None, Query(description="Only those made for at most so much graphics memory.", ge=1)] = None,
) -> dict[str, Any]:
    """The presets of the panel and of libraries."""
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
    """One preset as a whole configuration; the current settings stay."""
    item = next((item for item in service.configs.list() if item["kind"] != "saved" and item["name"] == name), None)
    kind = item["kind"] if item else "preset"
    config = service.configs.as_opened(service.configs.read(name, kind))
    return {"ok": True, "name": name, "kind": kind, "summary": item["summary"] if item else {}, "config": config}
