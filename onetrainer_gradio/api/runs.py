"""Runs: records, journals, metrics, console logs and files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, Response, StreamingResponse

from onetrainer_gradio.api.config import attachment
from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS, Open, RunAccepted, RunId
from onetrainer_gradio.api.serialization import SafeJSONResponse
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.enums import ModelFormat, ModelType, TrainingMethod
from onetrainer_gradio.config.families.models import output_formats
from onetrainer_gradio.events import EVENT_BY_TAG
from onetrainer_gradio.service.people.permissions import check
from onetrainer_gradio.service.people.roles import acting
from onetrainer_gradio.service.runs.changes import MAX_RUNS, Action
from onetrainer_gradio.service.runs.index import NEWEST_FIRST, STATUSES, RunQuery, Sort
from onetrainer_gradio.service.runs.labels import MAX_NAME, MAX_NOTE, MAX_TAGS
from onetrainer_gradio.service.runs.lineage import chain_of, chain_series
from onetrainer_gradio.service.runs.record import RUNS_PER_PAGE

MAX_STEPS = 2**53  # integers up to here are exact in the metrics

_ARCHIVED = {"no": False, "yes": True, "all": None}
_STATUS_LIST = f"^(({'|'.join(STATUSES)})(,|$))*$"

router = APIRouter(prefix="/api/runs", tags=["runs"], responses=ERRORS)


class RunItem(Open):
    """A run in the list."""

    id: str
    name: str = ""


class RunList(BaseModel):
    """A page of the runs."""

    runs: list[RunItem]
    next_cursor: str | None = Field(None, description="The `cursor` of the next page; null on the last one.")
    total: int = Field(description="Number of all runs.")
    matches: int = Field(description="Number of runs that the search and the filters select.")
    unread: int = Field(description="Number of runs that a search can't find yet because their folders are still being read.")


class JournalPage(BaseModel):
    """A part of a run's journal."""

    events: list[dict[str, Any]]
    next: int = Field(description="The `since` of the next call.")


class LogPage(Open):
    """A part of the console log."""

    text: str
    offset: int = Field(description="Start of this part, in bytes.")
    next: int = Field(description="The `offset` of the next call.")
    size: int = Field(description="Size of the complete log in bytes.")


class ResumeRequest(BaseModel):
    """What to resume from."""

    backup: str | None = Field(None, description="ID or name of a backup among the run's files. If omitted: the newest.")
    epochs: int | None = Field(None, ge=1, le=1_000_000, description="Total number of epochs. If omitted: as in the ended run.")
    settings: Literal["run", "current"] = Field(
        "run", description="Whose settings the new run has: the ended run's, or the form's."
    )
    queue: bool = Field(False, description="Add the run to the queue if it can't start now.")


class FileList(BaseModel):
    """Files of a run, in the order in which it wrote them."""

    files: list[dict[str, Any]]
    next_cursor: str | None = Field(None, description="The `cursor` of the next page; null on the last one.")
    total: int = Field(description="Number of all files, or of all files of the requested kind.")
    missing: list[dict[str, Any]] = Field(description="Models and saves that are no longer available, and `why`.")
    freed_bytes: int = Field(description="Bytes that deleting the run frees.")
    only_here_bytes: int = Field(description="Bytes of those files that exist only in this run's folder.")


class LabelChanges(BaseModel):
    """Changes of what people can add to a run. Omitted ones stay."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, max_length=MAX_NAME, description="Name of the run. Null: the one it was started with.")
    tags: list[str] | None = Field(
        None, max_length=MAX_TAGS, description="All tags of the run. Null: those that it was started with."
    )
    note: str = Field("", max_length=MAX_NOTE, description="A note.")
    archived: bool = Field(False, description="Whether lists omit the run unless archived runs are requested.")


class BulkRequest(BaseModel):
    """The same change of many runs."""

    ids: list[str] = Field(min_length=1, max_length=MAX_RUNS, description="IDs of the runs.")
    action: Action = Field(description="What to do with each of them.")
    tags: list[str] = Field([], max_length=MAX_TAGS, description="The tags to add or remove.")
    preview: bool = Field(False, description="Only with `delete`: return what it would free, without deleting anything.")


class BulkReply(Open):
    """What became of each run."""

    done: list[str] = Field([], description="The changed runs.")
    failed: list[dict[str, Any]] = Field([], description="The other runs with their `id` and `error`.")
    freed_bytes: int = Field(0, description="Bytes that a deletion freed, or would free.")


class Facets(BaseModel):
    """What the list can be filtered by: values with the number of runs, the most frequent ones first."""

    models: list[tuple[str, int]]
    methods: list[tuple[str, int]]
    statuses: list[tuple[str, int]]
    tags: list[tuple[str, int]]
    titles: dict[str, str] = Field(description="The label of each model type.")


@router.get("", response_model=RunList)
@slow
def runs(
    service: Service,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of runs.")] = RUNS_PER_PAGE,
    cursor: Annotated[
        str | None, Query(max_length=2000, description="The `next_cursor` of the previous page; omitted: the first page.")
    ] = None,
    search: Annotated[
        str,
        Query(max_length=500, description="Words that all occur in the name, id, tags, model, method, engine or error message."),
    ] = "",
    status: Annotated[
        str,
        Query(pattern=_STATUS_LIST, description=f"Only runs in these states, separated by commas: {', '.join(STATUSES)}."),
    ] = "",
    tag: Annotated[str, Query(max_length=500, description="Only runs with this tag.")] = "",
    model: Annotated[str, Query(max_length=100, description="Only runs of this model type.")] = "",
    method: Annotated[str, Query(max_length=100, description="Only runs with this training method.")] = "",
    resumes: Annotated[str, Query(max_length=100, description="Only runs that resume this run.")] = "",
    archived: Annotated[
        Literal["no", "yes", "all"], Query(description="Whether to list archived runs: `no`, `yes` (only those) or `all`.")
    ] = "no",
    sort: Annotated[Sort, Query(description="Sort order; a leading `-` reverses it.")] = NEWEST_FIRST,
) -> dict[str, Any]:
    """List runs in pages, newest first unless `sort` asks for another order."""
    statuses = tuple(name for name in status.split(",") if name)
    return service.runs.page(limit, cursor, RunQuery(search, statuses, tag, model, method, resumes, _ARCHIVED[archived], sort))


@router.get("/facets", response_model=Facets)
@slow
def facets(service: Service) -> dict[str, Any]:
    """List the models, methods, states and tags of all runs with their numbers."""
    found = service.runs.listing.facets()
    return {**found, "titles": {value: label_of(ModelType, value) for value, _ in found["models"]}}


@router.post("/bulk", response_model=BulkReply)
@slow
def bulk(service: Service, body: BulkRequest) -> dict[str, Any]:
    """Archive, tag or delete many runs at once. A run for which it fails doesn't keep the others from being changed."""
    if body.preview:
        return service.run_changes.preview_delete(body.ids)
    if body.action == "delete":
        check(acting(), "POST /api/runs/bulk delete")
    return service.run_changes.apply(body.ids, body.action, body.tags)


@router.get("/{run_id}", response_model=dict[str, Any])
def run(service: Service, run_id: RunId) -> dict[str, Any]:
    """Return a run: its record, state and configuration."""
    found = service.runs.get(run_id)
    return {
        "record": asdict(found.record),
        "labels": {**asdict(found.labels), "name": found.name, "tags": list(found.tags)},
        "state": found.state(),
        "config": found.config(),
        "model_title": found.line()["model_title"],
    }


@router.get("/{run_id}/journal", response_model=JournalPage)
def journal(
    service: Service,
    run_id: RunId,
    since: Annotated[int, Query(ge=0, description="Number of the last event already received.")] = 0,
    limit: Annotated[int, Query(ge=1, le=5000, description="Maximum number of events.")] = 500,
    types: Annotated[str, Query(description="Only events of these types, comma-separated. Empty: all.")] = "",
) -> dict[str, Any]:
    """Return the run's events after a position, oldest first. The end is reached when `next` no longer increases."""
    run = service.runs.get(run_id)
    wanted = [name for name in types.split(",") if name in EVENT_BY_TAG]
    entries = run.journal.since(since, limit, only=wanted) if wanted or not types else []
    return {"events": [{"seq": item.seq, **item.body} for item in entries], "next": entries[-1].seq if entries else since}


@router.get("/{run_id}/metrics", response_model=dict[str, Any])
@slow
def metrics(
    service: Service,
    run_id: RunId,
    columns: Annotated[str, Query(description="Column names, comma-separated. Empty: `loss` and `smooth_loss`.")] = "",
    buckets: Annotated[int, Query(ge=1, le=10_000, description="Number of buckets. Each has a minimum and a maximum.")] = 1000,
    first: Annotated[int | None, Query(ge=-MAX_STEPS, le=MAX_STEPS, description="First step.")] = None,
    last: Annotated[int | None, Query(ge=-MAX_STEPS, le=MAX_STEPS, description="Last step.")] = None,
    chain: Annotated[
        bool, Query(description="Include the runs that this one was resumed from, up to the step where it resumed.")
    ] = False,
    digits: Annotated[
        int | None, Query(ge=1, le=17, description="Significant digits to round values to; omitted: full precision.")
    ] = None,
) -> Response:
    """Return the metrics of a run as minimum and maximum per bucket. `lr/*` is the learning rate that the step used.

    With `chain`, the answer also lists the runs (`chain`, oldest first) and the steps at which one resumed another (`resumes`).
    """
    wanted = [name.strip() for name in columns.split(",") if name.strip()] or None
    if chain:
        return SafeJSONResponse(chain_series(chain_of(service.runs, run_id), wanted, buckets, first, last, digits))
    return SafeJSONResponse(service.runs.get(run_id).metrics_series(wanted, buckets, first, last, digits))


@router.get("/{run_id}/log", response_model=LogPage)
def log(
    service: Service,
    run_id: RunId,
    offset: Annotated[int, Query(ge=-1, description="Start position in bytes; -1: the last part.")] = -1,
) -> dict[str, Any]:
    """Return the console log: its last part, or the text after an offset."""
    return service.runs.get(run_id).log(offset)


@router.get("/{run_id}/log.txt", response_class=Response)
def log_file(service: Service, run_id: RunId) -> Response:
    """Download the current console log."""
    size, pieces = service.runs.get(run_id).log_bytes()
    headers = {**attachment(f"{run_id}.log"), "Content-Length": str(size)}
    return StreamingResponse(pieces, media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/{run_id}/files", response_model=FileList)
@slow
def files(
    service: Service,
    run_id: RunId,
    limit: Annotated[int | None, Query(ge=1, le=10_000, description="Maximum number of files. If omitted: all.")] = None,
    cursor: Annotated[
        str | None, Query(max_length=20, description="The `next_cursor` of the previous page. If omitted: the first page.")
    ] = None,
    kind: Annotated[
        Literal["", "model", "save", "backup", "sample"], Query(description="Only files of this kind. If omitted: all.")
    ] = "",
) -> dict[str, Any]:
    """List the models, saves, backups and samples of the run with their sizes and IDs for download."""
    found = service.runs.get(run_id)
    freed, only = found.freed_by_delete()
    return {**found.files_page(limit, cursor, kind), "freed_bytes": freed, "only_here_bytes": only}


@router.get("/{run_id}/files.zip", response_class=Response)
@slow
def archive(
    service: Service,
    run_id: RunId,
    kind: Annotated[
        Literal["", "model", "save", "backup", "sample"], Query(description="Only files of this kind. Empty: all.")
    ] = "",
    ids: Annotated[str, Query(description="Only the files with these IDs, comma-separated.", max_length=8000)] = "",
) -> Response:
    """Download models, saves, backups and samples of the run as an uncompressed zip stream."""
    chosen = [each for each in ids.split(",") if each]
    pieces = service.runs.get(run_id).archive(kind=kind, ids=chosen)
    return StreamingResponse(
        pieces, media_type="application/zip", headers=attachment(f"{run_id}{f'-{kind}s' if kind else ''}.zip")
    )


@router.get("/{run_id}/files/{file_id}", response_class=Response)
def download(service: Service, run_id: RunId, file_id: str) -> Response:
    """Download a file, or a folder as a zip. Supports `Range` for files."""
    file = service.runs.get(run_id).open_file(file_id)
    if file.folder:
        return StreamingResponse(
            file.zip_chunks(),
            media_type="application/zip",
            headers=attachment(f"{file.name}.zip"),
        )
    return FileResponse(file.path, filename=file.name, media_type="application/octet-stream")


class LoraFormat(BaseModel):
    """A format of LoRA files."""

    value: str = Field(description="What `format` of a conversion may be.")
    label: str


class LoraFormats(BaseModel):
    """The formats that a LoRA of the run can be converted to."""

    ok: Literal[True] = True
    formats: list[LoraFormat]


class ConversionRequest(BaseModel):
    """The format of the new file."""

    model_config = ConfigDict(extra="forbid")

    format: ModelFormat


class ConvertedFile(BaseModel):
    """A converted LoRA."""

    ok: Literal[True] = True
    name: str
    bytes: int
    model_type: str
    tensors: int
    warning: str = Field(description="What the format can't express; empty if nothing is lost.")
    download: str = Field(description="Where the file is until four newer ones were converted.")


@router.get("/{run_id}/lora_formats", response_model=LoraFormats)
@slow
def lora_formats(service: Service, run_id: RunId) -> dict[str, Any]:
    """List the formats of LoRAs of the run's model type; none if the run trains no LoRA."""
    config = service.runs.get(run_id).config()
    lora = config.get("training_method") == TrainingMethod.LORA
    known = output_formats(ModelType(str(config.get("model_type", ""))), TrainingMethod.LORA) if lora else ()
    return {"ok": True, "formats": [{"value": each.value, "label": label_of(ModelFormat, each)} for each in known]}


@router.post("/{run_id}/files/{file_id}/convert", response_model=ConvertedFile)
@slow
def convert(service: Service, run_id: RunId, file_id: str, body: ConversionRequest) -> dict[str, Any]:
    """Convert a LoRA of the run to another format, for download. The file of the run is kept as it is."""
    file = service.runs.get(run_id).open_file(file_id)
    done = service.converter.convert(file.path, file.name, body.format)
    return {
        "name": done.path.name,
        "bytes": done.path.stat().st_size,
        "model_type": done.model_type,
        "tensors": done.tensors,
        "warning": done.warning,
        "download": f"api/runs/{run_id}/converted/{done.id}",
    }


@router.get("/{run_id}/converted/{converted_id}", response_class=Response)
def download_converted(service: Service, run_id: RunId, converted_id: str) -> Response:
    """Download a converted LoRA. Supports `Range`."""
    service.runs.get(run_id)
    path = service.converter.file(converted_id)
    return FileResponse(path, filename=path.name, media_type="application/octet-stream")


@router.post("/{run_id}/resume", response_model=RunAccepted)
@slow
def resume(service: Service, run_id: RunId, body: ResumeRequest | None = None) -> dict[str, Any]:
    """Resume an ended run from one of its backups, as a new run."""
    body = body or ResumeRequest()
    settings = service.settings_to_resume(run_id, body.backup, body.epochs, current_settings=body.settings == "current")
    made = service.start_or_enqueue(*settings, queue=body.queue)
    return {"ok": True, **made, "state": service.get_state()}


@router.patch("/{run_id}", response_model=RunItem)
@slow
def change(service: Service, run_id: RunId, body: LabelChanges) -> dict[str, Any]:
    """Rename, tag, annotate, archive or unarchive a run, and return its line in the list."""
    return service.run_changes.label(run_id, body.model_dump(exclude_unset=True))


@router.delete("/{run_id}")
@slow
def delete(service: Service, run_id: RunId) -> dict[str, Any]:
    """Delete an ended run's folder and the files in it. Its workspace and output file are kept."""
    return {"ok": True, "freed_bytes": service.run_changes.delete(run_id)}
