"""The settings: the current ones, saved ones and presets, checking, exchange with OneTrainer."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Body, Header, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from onetrainer_gradio.api.replies import ErrorEntry, entry
from onetrainer_gradio.api.seam import Service
from onetrainer_gradio.api.shapes import ERRORS, Open
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.api.training import options_of
from onetrainer_gradio.config.declarations.catalog import CATALOGUE
from onetrainer_gradio.config.files.documents import LISTS_OF_A_PACK, VERSION_KEY, from_document, to_document
from onetrainer_gradio.config.form.aliases import aliases
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.errors import ConfigInvalidError
from onetrainer_gradio.service.host.threads import Threads, in_thread
from onetrainer_gradio.service.settings.comparison import Source, SourceKind
from onetrainer_gradio.service.settings.configs import ConfigDocument

router = APIRouter(prefix="/api/config", tags=["config"], responses=ERRORS)


Client = Annotated[
    str,
    Header(
        alias="X-Client",
        max_length=64,
        description="Who makes the change, by a name of its choice; undo and redo are about its changes. Left out: all changes.",
    ),
]


class ConfigReply(Open):
    """A configuration with what is known about it."""

    ok: bool = True
    changed: list[str] = Field(default_factory=list, description="Paths that differ from where the settings came from.")
    was: dict[str, Any] = Field(default_factory=dict, description="For each of them, the value there.")
    config: dict[str, Any] = Field(description="OneTrainer's document, version 11.")
    revision: int = Field(description="Grows with each change; a change has to name it.")
    name: str | None = Field(None, description="Name of the saved configuration or preset it came from.")
    problems: list[ErrorEntry] = Field(default_factory=list, description="What is wrong or worth knowing.")
    undo: dict[str, Any] | None = Field(None, description="The change that would be undone: `kind`, and `paths` or `name`.")
    redo: dict[str, Any] | None = Field(None, description="The change that would be redone.")


class ConfigItem(Open):
    """A saved configuration or preset."""

    name: str
    kind: str = Field(description="preset, library (a preset of a folder that was added) or saved")
    summary: dict[str, Any] = Field(default_factory=dict, description="What it is about.")


class ConfigList(BaseModel):
    """All that can be loaded."""

    configs: list[ConfigItem]


class ConfigPatch(BaseModel):
    """A change of some settings."""

    revision: int = Field(description="The revision that the change was made against.")
    changes: dict[str, Any] = Field(description="New values by dotted path.", examples=[{"optimizer.optimizer": "ADAMW"}])


class ConfigReplace(BaseModel):
    """A whole new current configuration."""

    config: dict[str, Any]
    name: str | None = None


class ConfigName(BaseModel):
    """A name to save under."""

    name: str = Field(min_length=1, max_length=120)
    over: bool = Field(True, description="Write over one of the same name; false: 409 when there is one.")


class Aliases(BaseModel):
    """Other names of settings."""

    ok: bool = True
    aliases: dict[str, list[str]] = Field(description="Path of a setting (`concepts[].path` in each concept) -> other names.")


class Revision(BaseModel):
    """Which settings are meant."""

    revision: int = Field(description="The revision that the change was made against.")


class OpenEditsBody(BaseModel):
    """Fields of a page that polls."""

    page: str = Field(min_length=1, max_length=64, description="A name that the page chose.")
    fields: list[dict[str, Any]] = Field(description="For each, path, label, value, reason, and whether it is pending.")


class OfRevision(BaseModel):
    """Which settings are meant, where that matters."""

    revision: int | None = Field(None, description="The revision that the change was made against; left out: the current one.")


class NewName(BaseModel):
    """A saved configuration or preset, and the name to give it or its copy."""

    name: str = Field(min_length=1, max_length=200)
    to: str = Field("", max_length=120, description="The new name; for a copy it may be left out.")
    kind: str = Field("", description="saved, preset or library; left out: whichever has the name.")


class Named(BaseModel):
    """The name that it has now."""

    ok: bool = True
    name: str


class SourceBody(BaseModel):
    """One side of a comparison."""

    kind: SourceKind = Field(description="Where the settings come from.")
    name: str = Field("", max_length=200, description="Of a preset or saved one; id of a run, or `latest`.")
    document: dict[str, Any] | None = Field(None, description="With the kind `document`: the configuration itself.")

    def source(self) -> Source:
        """The source that is meant."""
        return Source(self.kind, self.name, self.document)


class CompareBody(BaseModel):
    """What to compare."""

    left: SourceBody
    right: SourceBody


class SideReply(BaseModel):
    """One side as it was found."""

    kind: str
    name: str
    title: str = Field(description="What to call it.")


class DifferenceReply(BaseModel):
    """A setting in which two sides differ."""

    path: str
    before: Any = Field(description="The value on the left.")
    after: Any = Field(description="The value on the right.")


class Differences(BaseModel):
    """What differs between two sources of settings."""

    ok: bool = True
    left: SideReply
    right: SideReply
    differences: list[DifferenceReply]


class Migrated(BaseModel):
    """A document in the present version."""

    ok: bool = True
    config: dict[str, Any] = Field(description="With concepts and samples inside where the document had them.")
    version: int
    from_version: int | None = Field(description="What the document said; null: it named no version.")
    notes: list[ErrorEntry] = Field(description="Unknown keys and the like.")


class Validation(BaseModel):
    """What a check found."""

    ok: bool = Field(True, description="The check was made.")
    valid: bool = Field(description="Whether a run can start with it.")
    errors: list[ErrorEntry] = Field(description="What has to change.")
    warnings: list[ErrorEntry] = Field(description="What one should know.")
    choice: str = Field("", description="Which engine was chosen: its id, or auto.")
    engine: str = Field("", description="Id of the engine that would carry out the run.")
    engines: list[dict[str, Any]] = Field(default_factory=list, description="Each engine, whether it can, and why not.")


@router.get("/current", response_model=ConfigReply)
def current(service: Service, client: Client = "") -> dict[str, Any]:
    """The current settings."""
    return reply(service.configs.current(client))


@router.patch("/current", response_model=ConfigReply)
def change(service: Service, patch: ConfigPatch, client: Client = "") -> dict[str, Any]:
    """Change some settings; 409 when somebody else changed them since `revision`, 422 with a path for each bad value."""
    return reply(service.configs.patch(patch.changes, patch.revision, by=client))


@router.put("/current", response_model=ConfigReply)
def replace(service: Service, body: ConfigReplace, client: Client = "") -> dict[str, Any]:
    """Replace the current settings; what is left out takes its default."""
    return reply(service.configs.replace(body.config, body.name, by=client))


@router.get("/list", response_model=ConfigList)
@slow
def configs(service: Service) -> dict[str, Any]:
    """Presets and saved configurations."""
    return {"configs": service.configs.list()}


@router.get("/load/{name:path}", response_model=ConfigReply)
@slow
def load(
    service: Service,
    name: str,
    kind: Annotated[
        str, Query(description="saved, preset or library; left out: whichever has the name, a saved one first.")
    ] = "",
    client: Client = "",
) -> dict[str, Any]:
    """Open a saved configuration or preset.

    A preset is an overlay: it changes what it sets. Concepts, samples and your own edits stay; what an earlier preset set and
    you didn't edit returns to its default.
    """
    return reply(service.configs.load(name, kind, by=client))


@router.get("/diff", response_model=Differences)
@slow
def differences(
    service: Service,
    right: Annotated[
        str, Query(description="`kind` or `kind:name`, as `saved:mine`, `run:latest`.", examples=["run:latest"])
    ] = "",
    left: Annotated[str, Query(description="The same; left out: the current settings.")] = "current",
    name: Annotated[str | None, Query(description="Instead of `right`: a saved configuration or preset.")] = None,
    other: Annotated[str | None, Query(description="Instead of `left`: a saved configuration or preset.")] = None,
) -> dict[str, Any]:
    """Two sources of settings side by side; by default, what opening another one would change in the current settings."""
    one = service.comparison.named(other) if other else Source.parse(left)
    two = service.comparison.named(name) if name else Source.parse(right)
    return _compared(service, one, two)


@router.post("/diff", response_model=Differences)
@slow
def compare(service: Service, body: CompareBody) -> dict[str, Any]:
    """Two sources of settings side by side, documents included."""
    return _compared(service, body.left.source(), body.right.source())


def _compared(service: Service, left: Source, right: Source) -> dict[str, Any]:
    one, two, found = service.comparison.compare(left, right)
    sides = [{"kind": side.kind, "name": side.name, "title": side.title} for side in (one, two)]
    entries = [{"path": each.path, "before": each.left, "after": each.right} for each in found]
    return {"ok": True, "left": sides[0], "right": sides[1], "differences": entries}


@router.post("/migrate", response_model=Migrated)
@slow
def migrate(
    body: Annotated[dict[str, Any], Body(description="A configuration of any version, with all keys or some.")],
) -> dict[str, Any]:
    """A document of any version in the present one, laid over the defaults; the current settings stay."""
    config, findings = from_document(body)
    version = body.get(VERSION_KEY)
    packed = any(body.get(key) is not None for key in LISTS_OF_A_PACK)
    return {
        "ok": True,
        "config": to_document(config, packed=packed),
        "version": type(config).config_version,
        "from_version": version,
        "notes": [entry(finding) for finding in findings],
    }


@router.post("/optimizer/usual", response_model=ConfigReply)
def usual_optimizer(service: Service, body: Revision, client: Client = "") -> dict[str, Any]:
    """Give the parameters of the chosen optimizer their usual values, and forget what was set for it."""
    return reply(service.configs.usual_optimizer(body.revision, by=client))


@router.post("/undo", response_model=ConfigReply)
def undo(service: Service, body: OfRevision | None = None, client: Client = "") -> dict[str, Any]:
    """Undo the last change of the current settings: an edit, an opened preset or file, a reset. 409 when there is none."""
    return reply(service.configs.undo(body.revision if body else None, by=client))


@router.post("/redo", response_model=ConfigReply)
def redo(service: Service, body: OfRevision | None = None, client: Client = "") -> dict[str, Any]:
    """Redo a change that was undone; 409 when there is none."""
    return reply(service.configs.redo(body.revision if body else None, by=client))


@router.put("/open-edits")
def open_edits(service: Service, body: OpenEditsBody) -> dict[str, Any]:
    """Report fields whose value isn't in the settings, for 10 seconds. A page with a WebSocket reports them there.

    A start of the current settings is refused while one holds a value that can't be used.
    """
    service.open_edits.report(f"page {body.page}", body.fields, for_s=10)
    return {"ok": True}


@router.post("/reset", response_model=ConfigReply)
def reset(service: Service, body: OfRevision | None = None, client: Client = "") -> dict[str, Any]:
    """Go back to what was opened. Concepts and samples stay, unless a file with its own was opened; undo brings the rest back."""
    return reply(service.configs.reset(body.revision if body else None, by=client))


@router.post("/save", response_model=ConfigReply)
def save(service: Service, body: ConfigName, client: Client = "") -> dict[str, Any]:
    """Save the current settings under a name."""
    return reply(service.configs.save(body.name, over=body.over, by=client))


@router.post("/rename", response_model=Named)
def rename(service: Service, body: NewName) -> dict[str, Any]:
    """Give a saved configuration another name; 409 when it is taken."""
    return {"ok": True, "name": service.configs.rename(body.name, body.to)}


@router.post("/duplicate", response_model=Named)
def duplicate(service: Service, body: NewName) -> dict[str, Any]:
    """Save a copy of a saved configuration or preset; 409 when the name is taken."""
    return {"ok": True, "name": service.configs.duplicate(body.name, body.to, body.kind)}


@router.post("/validate", response_model=Validation)
@slow
def validate(
    service: Service, body: Annotated[dict[str, Any] | None, Body(description="A configuration; empty: the current one.")] = None
) -> dict[str, Any]:
    """Check a configuration as before a start, for the engine that would carry it out. The answer is 200 whatever is found.

    With `{"config": ..., "options": {"backend": "onetrainer", "checkout": ...}}` it is held against that engine.
    """
    asked = body if body and body.keys() <= {"config", "options"} else {"config": body}
    document = asked.get("config") or None
    options = options_of(service, asked.get("options")) or RunOptions()
    found = service.configs.validate(document, backend=options.backend, checkout=options.checkout)
    errors = [item for item in found if item["severity"] == "error"]
    try:
        offers = service.engine_offers(document)
    except ConfigInvalidError:  # it is among the errors
        offers = {}
    warnings = [item for item in found if item not in errors]
    return {"ok": True, "valid": not errors, "errors": errors, "warnings": warnings, **offers}


@router.get("/schema", response_model=dict[str, Any])
def schema(service: Service) -> Response:
    """JSON schema of the settings with labels, help, groups, levels and visibility.

    It follows the OneTrainer checkout that is chosen: its own settings are in it, and those that it lacks are marked.
    """
    return Response(service.form.body(), media_type="application/json")


@router.get("/aliases", response_model=Aliases)
def other_names() -> dict[str, Any]:
    """What other trainers call the settings, so that search finds them by these names too."""
    return {
        "ok": True,
        "aliases": {path: names for path, entry in CATALOGUE.items() if entry.offered and (names := aliases(path))},
    }


@router.get("/defaults", response_model=dict[str, Any])
def defaults(
    service: Service,
    model_type: Annotated[str | None, Query(description="OneTrainer's name, as STABLE_DIFFUSION_15.")] = None,
    method: Annotated[str | None, Query(description="OneTrainer's training method, as LORA.")] = None,
) -> dict[str, Any]:
    """A configuration with the defaults for a model type and method."""
    return {"ok": True, "config": service.configs.defaults(model_type, method)}


@router.get("/export")
def export(
    service: Service,
    packed: Annotated[bool, Query(description="Put concepts and samples into the file.")] = True,
    name: Annotated[str, Query(description="A saved configuration or preset; left out: the current settings.")] = "",
    kind: Annotated[str, Query(description="saved, preset or library; left out: whichever has the name.")] = "",
) -> Response:
    """Settings as a file that OneTrainer reads; it holds no secrets."""
    document = service.configs.export(packed, name, kind)
    file = f"{(name or service.configs.name() or 'onetrainer_config').replace('/', ' ').lstrip('#')}.json"
    return Response(json.dumps(document, indent=4), media_type="application/json", headers=attachment(file))


@router.post("/import", response_model=ConfigReply)
async def import_file(
    service: Service,
    request: Request,
    client: Client = "",
    name: Annotated[str, Query(description="Name of the file, which the settings are called by.", max_length=300)] = "",
) -> dict[str, Any]:
    """Make a OneTrainer file (the body itself) the current settings; without lists of concepts and samples, those stay."""
    imported = partial(service.configs.import_json, file_name=name, by=client)
    return reply(await in_thread(Threads.SLOW, imported, await request.body()))


@router.delete("/{name:path}")
def delete(service: Service, name: str) -> dict[str, Any]:
    """Delete a saved configuration; presets stay."""
    service.configs.delete(name)
    return {"ok": True}


def attachment(name: str) -> dict[str, str]:
    """The header that makes a browser save a reply under a name."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='', errors='replace')}"}


def reply(document: ConfigDocument) -> dict[str, Any]:
    """The settings as they go over the wire."""
    return {"ok": True, **document.as_dict()}
