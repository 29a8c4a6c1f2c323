"""Settings: the current ones, saved configurations, presets, validation, import and export."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Body, Header, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.replies import ErrorEntry, entry
from onetrainer_gradio.api.schemas import ERRORS, Open
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.api.training import options_of
from onetrainer_gradio.config.declarations.catalog import CATALOGUE, title_of
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
        description="A name of your choice for the client. Undo and redo apply to its changes only. If omitted: to all changes.",
    ),
]


class ConfigReply(Open):
    """A configuration with its revision and issues."""

    ok: bool = True
    changed: list[str] = Field(default_factory=list, description="Paths that differ from the opened configuration.")
    was: dict[str, Any] = Field(
        default_factory=dict, description="For each of these paths, the value in the opened configuration."
    )
    config: dict[str, Any] = Field(description="OneTrainer's configuration document, version 11.")
    revision: int = Field(description="Increases with each change. Changes must state it.")
    name: str | None = Field(None, description="Name of the opened configuration or preset.")
    problems: list[ErrorEntry] = Field(default_factory=list, description="Errors, warnings and notes.")
    undo: dict[str, Any] | None = Field(None, description="The change that undo would revert: `kind`, and `paths` or `name`.")
    redo: dict[str, Any] | None = Field(None, description="The change that redo would restore.")


class ConfigItem(Open):
    """A saved configuration or preset."""

    name: str
    kind: str = Field(description="`preset`, `library` (a preset from an added folder) or `saved`.")
    summary: dict[str, Any] = Field(default_factory=dict, description="Model, method and notes.")


class ConfigList(BaseModel):
    """Saved configurations and presets."""

    configs: list[ConfigItem]


class ConfigPatch(BaseModel):
    """A change to some settings."""

    revision: int = Field(description="The revision that the change is based on.")
    changes: dict[str, Any] = Field(description="New values by dotted path.", examples=[{"optimizer.optimizer": "ADAMW"}])


class ConfigReplace(BaseModel):
    """A complete configuration that replaces the current one."""

    config: dict[str, Any]
    name: str | None = None


class ConfigName(BaseModel):
    """The name to save under."""

    name: str = Field(min_length=1, max_length=120)
    over: bool = Field(True, description="Overwrite a configuration with the same name. If false, the answer is 409.")


class Aliases(BaseModel):
    """Alternative names of settings."""

    ok: bool = True
    aliases: dict[str, list[str]] = Field(description="Path of a setting (such as `concepts[].path`) -> alternative names.")


class Revision(BaseModel):
    """The revision of the settings."""

    revision: int = Field(description="The revision that the change is based on.")


class OpenEditsBody(BaseModel):
    """Unsaved fields of a page that polls."""

    page: str = Field(min_length=1, max_length=64, description="A name that the page chooses.")
    fields: list[dict[str, Any]] = Field(description="For each field: path, label, value, reason, and whether it is pending.")


class OfRevision(BaseModel):
    """The revision of the settings, optional."""

    revision: int | None = Field(None, description="The revision that the change is based on. If omitted: the current one.")


class NewName(BaseModel):
    """A saved configuration or preset, and the new name for it or its copy."""

    name: str = Field(min_length=1, max_length=200)
    to: str = Field("", max_length=120, description="The new name. Optional for a copy.")
    kind: str = Field("", description="`saved`, `preset` or `library`. If omitted: whichever has this name.")


class Named(BaseModel):
    """The new name."""

    ok: bool = True
    name: str


class SourceBody(BaseModel):
    """One side of a comparison."""

    kind: SourceKind = Field(description="Source of the settings.")
    name: str = Field("", max_length=200, description="Name of a preset or saved configuration; ID of a run, or `latest`.")
    document: dict[str, Any] | None = Field(None, description="For the kind `document`: the configuration itself.")

    def source(self) -> Source:
        """Return the source."""
        return Source(self.kind, self.name, self.document)


class CompareBody(BaseModel):
    """The two sides to compare."""

    left: SourceBody
    right: SourceBody


class SideReply(BaseModel):
    """One side of a comparison."""

    kind: str
    name: str
    title: str = Field(description="Title to display.")


class DifferenceReply(BaseModel):
    """A setting that differs."""

    path: str
    title: str = Field(description="What the form calls the setting; the path if it isn't in the form.")
    before: Any = Field(description="The value on the left.")
    after: Any = Field(description="The value on the right.")


class Differences(BaseModel):
    """Differences between two configurations."""

    ok: bool = True
    left: SideReply
    right: SideReply
    differences: list[DifferenceReply]


class Migrated(BaseModel):
    """A configuration converted to the current version."""

    ok: bool = True
    config: dict[str, Any] = Field(description="Includes concepts and samples if the document did.")
    version: int
    from_version: int | None = Field(description="Version stated in the document; null if none.")
    notes: list[ErrorEntry] = Field(description="Notes, such as unknown keys.")


class Validation(BaseModel):
    """Result of the pre-flight check."""

    ok: bool = Field(True, description="The check ran.")
    valid: bool = Field(description="Whether a run can start.")
    errors: list[ErrorEntry] = Field(description="Issues that block the start.")
    warnings: list[ErrorEntry] = Field(description="Warnings and notes.")
    choice: str = Field("", description="ID of the selected engine, or `auto`.")
    engine: str = Field("", description="ID of the engine that would train.")
    engines: list[dict[str, Any]] = Field(
        default_factory=list, description="Each engine, whether it can train this, and if not, why."
    )


@router.get("/current", response_model=ConfigReply)
def current(service: Service, client: Client = "") -> dict[str, Any]:
    """Return the current settings."""
    return reply(service.configs.current(client))


@router.patch("/current", response_model=ConfigReply)
def change(service: Service, patch: ConfigPatch, client: Client = "") -> dict[str, Any]:
    """Change some settings. 409 if someone else changed them since `revision`; 422 with a path for each invalid value."""
    return reply(service.configs.patch(patch.changes, patch.revision, by=client))


@router.put("/current", response_model=ConfigReply)
def replace(service: Service, body: ConfigReplace, client: Client = "") -> dict[str, Any]:
    """Replace the current settings. Missing keys get their defaults."""
    return reply(service.configs.replace(body.config, body.name, by=client))


@router.get("/list", response_model=ConfigList)
@slow
def configs(service: Service) -> dict[str, Any]:
    """List presets and saved configurations."""
    return {"configs": service.configs.list()}


@router.get("/load/{name:path}", response_model=ConfigReply)
@slow
def load(
    service: Service,
    name: str,
    kind: Annotated[
        str, Query(description="`saved`, `preset` or `library`. If omitted: whichever has this name, saved ones first.")
    ] = "",
    client: Client = "",
) -> dict[str, Any]:
    """Open a saved configuration or preset.

    A preset is an overlay: it changes only the settings that it contains. Concepts, samples and your own edits stay. Settings
    from an earlier preset that you didn't edit return to their defaults.
    """
    return reply(service.configs.load(name, kind, by=client))


@router.get("/diff", response_model=Differences)
@slow
def differences(
    service: Service,
    right: Annotated[
        str, Query(description="`kind` or `kind:name`, such as `saved:mine` or `run:latest`.", examples=["run:latest"])
    ] = "",
    left: Annotated[str, Query(description="In the same form. If omitted: the current settings.")] = "current",
    name: Annotated[str | None, Query(description="Instead of `right`: a saved configuration or preset.")] = None,
    other: Annotated[str | None, Query(description="Instead of `left`: a saved configuration or preset.")] = None,
) -> dict[str, Any]:
    """Compare two configurations. By default: show what opening another one would change in the current settings."""
    one = service.comparison.named(other) if other else Source.parse(left)
    two = service.comparison.named(name) if name else Source.parse(right)
    return _compared(service, one, two)


@router.post("/diff", response_model=Differences)
@slow
def compare(service: Service, body: CompareBody) -> dict[str, Any]:
    """Compare two configurations, which may be documents in the request."""
    return _compared(service, body.left.source(), body.right.source())


def _compared(service: Service, left: Source, right: Source) -> dict[str, Any]:
    one, two, found = service.comparison.compare(left, right)
    sides = [{"kind": side.kind, "name": side.name, "title": side.title} for side in (one, two)]
    entries = [{"path": each.path, "title": title_of(each.path), "before": each.left, "after": each.right} for each in found]
    return {"ok": True, "left": sides[0], "right": sides[1], "differences": entries}


@router.post("/migrate", response_model=Migrated)
@slow
def migrate(
    body: Annotated[dict[str, Any], Body(description="A configuration of any version, complete or partial.")],
) -> dict[str, Any]:
    """Convert a configuration to the current version and fill in defaults. The current settings don't change."""
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


@router.post("/optimizer/defaults", response_model=ConfigReply)
def reset_optimizer(service: Service, body: Revision, client: Client = "") -> dict[str, Any]:
    """Reset the parameters of the selected optimizer to their defaults."""
    return reply(service.configs.reset_optimizer(body.revision, by=client))


@router.post("/undo", response_model=ConfigReply)
def undo(service: Service, body: OfRevision | None = None, client: Client = "") -> dict[str, Any]:
    """Undo the last change to the current settings: an edit, an opened preset or file, or a reset. 409 if there is none."""
    return reply(service.configs.undo(body.revision if body else None, by=client))


@router.post("/redo", response_model=ConfigReply)
def redo(service: Service, body: OfRevision | None = None, client: Client = "") -> dict[str, Any]:
    """Redo the last undone change. 409 if there is none."""
    return reply(service.configs.redo(body.revision if body else None, by=client))


@router.put("/open-edits")
def open_edits(service: Service, body: OpenEditsBody) -> dict[str, Any]:
    """Report fields with unsaved values. The report is valid for 10 seconds. Pages with a WebSocket use that instead.

    While a reported field has an invalid value, starting the current settings fails.
    """
    service.open_edits.report(f"page {body.page}", body.fields, for_s=10)
    return {"ok": True}


@router.post("/reset", response_model=ConfigReply)
def reset(service: Service, body: OfRevision | None = None, client: Client = "") -> dict[str, Any]:
    """Revert to the opened configuration. Concepts and samples stay unless the opened file contains its own. Can be undone."""
    return reply(service.configs.reset(body.revision if body else None, by=client))


@router.post("/save", response_model=ConfigReply)
def save(service: Service, body: ConfigName, client: Client = "") -> dict[str, Any]:
    """Save the current settings under a name."""
    return reply(service.configs.save(body.name, over=body.over, by=client))


@router.post("/rename", response_model=Named)
def rename(service: Service, body: NewName) -> dict[str, Any]:
    """Rename a saved configuration. 409 if the name is taken."""
    return {"ok": True, "name": service.configs.rename(body.name, body.to)}


@router.post("/duplicate", response_model=Named)
def duplicate(service: Service, body: NewName) -> dict[str, Any]:
    """Duplicate a saved configuration or preset. 409 if the name is taken."""
    return {"ok": True, "name": service.configs.duplicate(body.name, body.to, body.kind)}


@router.post("/validate", response_model=Validation)
@slow
def validate(
    service: Service,
    body: Annotated[dict[str, Any] | None, Body(description="A configuration. If empty: the current one.")] = None,
) -> dict[str, Any]:
    """Run the pre-flight check for the engine that would train. The status is 200 even if there are errors.

    With `{"config": ..., "options": {"backend": "onetrainer", "checkout": ...}}`, check for that engine.
    """
    asked = body if body and body.keys() <= {"config", "options"} else {"config": body}
    document = asked.get("config") or None
    options = options_of(service, asked.get("options")) or RunOptions()
    found = service.configs.validate(document, backend=options.backend, checkout=options.checkout)
    errors = [item for item in found if item["severity"] == "error"]
    try:
        offers = service.engine_support(document)
    except ConfigInvalidError:  # already in errors
        offers = {}
    warnings = [item for item in found if item not in errors]
    return {"ok": True, "valid": not errors, "errors": errors, "warnings": warnings, **offers}


@router.get("/schema", response_model=dict[str, Any])
def schema(service: Service) -> Response:
    """Return the JSON schema of the settings with labels, help texts, groups, levels and visibility.

    It follows the selected OneTrainer checkout: the checkout's extra settings are included, and unsupported ones are marked.
    """
    return Response(service.form.body(), media_type="application/json")


@router.get("/aliases", response_model=Aliases)
def other_names() -> dict[str, Any]:
    """Return the names that other trainers use for the settings, for search."""
    return {
        "ok": True,
        "aliases": {path: names for path, entry in CATALOGUE.items() if entry.offered and (names := aliases(path))},
    }


@router.get("/defaults", response_model=dict[str, Any])
def defaults(
    service: Service,
    model_type: Annotated[str | None, Query(description="OneTrainer's model type, such as `STABLE_DIFFUSION_15`.")] = None,
    method: Annotated[str | None, Query(description="OneTrainer's training method, such as `LORA`.")] = None,
) -> dict[str, Any]:
    """Return the default configuration for a model type and method."""
    return {"ok": True, "config": service.configs.defaults(model_type, method)}


@router.get("/export")
def export(
    service: Service,
    packed: Annotated[bool, Query(description="Include concepts and samples in the file.")] = True,
    name: Annotated[str, Query(description="A saved configuration or preset. If omitted: the current settings.")] = "",
    kind: Annotated[str, Query(description="`saved`, `preset` or `library`. If omitted: whichever has this name.")] = "",
) -> Response:
    """Download settings as a OneTrainer file, without secrets."""
    document = service.configs.export(packed, name, kind)
    file = f"{(name or service.configs.name() or 'onetrainer_config').replace('/', ' ').lstrip('#')}.json"
    return Response(json.dumps(document, indent=4), media_type="application/json", headers=attachment(file))


@router.post("/import", response_model=ConfigReply)
async def import_file(
    service: Service,
    request: Request,
    client: Client = "",
    name: Annotated[str, Query(description="File name, used as the name of the settings.", max_length=300)] = "",
) -> dict[str, Any]:
    """Import a OneTrainer file (the request body) as the current settings. Concepts and samples stay if the file has none."""
    imported = partial(service.configs.import_json, file_name=name, by=client)
    return reply(await in_thread(Threads.SLOW, imported, await request.body()))


@router.delete("/{name:path}")
def delete(service: Service, name: str) -> dict[str, Any]:
    """Delete a saved configuration. Presets can't be deleted."""
    service.configs.delete(name)
    return {"ok": True}


def attachment(name: str) -> dict[str, str]:
    """Return the header that makes a browser save the response under a name."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='', errors='replace')}"}


def reply(document: ConfigDocument) -> dict[str, Any]:
    """Return the settings as a response body."""
    return {"ok": True, **document.as_dict()}
