"""Let owners manage accounts and links, and read the audit log."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, WithJsonSchema
from starlette.responses import StreamingResponse

from onetrainer_gradio.api.account import qr_code
from onetrainer_gradio.api.dependencies import AccessRules, Service
from onetrainer_gradio.api.prefix import prefix_of
from onetrainer_gradio.api.public_address import public_address
from onetrainer_gradio.api.schemas import Done
from onetrainer_gradio.api.threads import control, slow
from onetrainer_gradio.service.people.accounts import MAX_PASSWORD
from onetrainer_gradio.service.people.audit import MAX_ENTRIES, AuditQuery
from onetrainer_gradio.service.people.links import LINK_ROLES, Shows
from onetrainer_gradio.service.people.roles import Role, acting

router = APIRouter(tags=["people"])

Id = Annotated[str, Path(max_length=64)]
_MAX_DISK_BYTES = 1 << 60


def _word_of(*roles: Role) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": [role.word for role in roles]})


_AnyRole = Annotated[Role, BeforeValidator(lambda word: Role.of(str(word))), PlainSerializer(lambda role: role.word, str)]
RoleWord = Annotated[_AnyRole, _word_of(*(role for role in Role if role is not Role.NOBODY))]
LinkRoleWord = Annotated[_AnyRole, _word_of(*LINK_ROLES)]
_VIEWER: dict[str, Any] = {"default": Role.VIEWER.word}  # pydantic would show the number


class ExportForm(StrEnum):
    """The format of an exported audit log."""

    JSONL = "jsonl"
    CSV = "csv"


class PeopleReply(BaseModel):
    """All accounts and the tokens of everyone."""

    ok: bool = True
    people: list[dict[str, Any]]
    tokens: list[dict[str, Any]]


class NewPerson(BaseModel):
    """A new account."""

    name: str = Field(max_length=200)
    role: RoleWord = Field(Role.VIEWER, json_schema_extra=_VIEWER)
    password: str = Field(max_length=4 * MAX_PASSWORD, description="A first password; the person should change it.")


class PersonChanges(BaseModel):
    """Changes of an account; omitted fields stay."""

    name: str | None = Field(None, max_length=200)
    role: RoleWord | None = None
    disabled: bool | None = Field(None, description="A disabled account can't sign in, and its tokens don't work.")
    password: str | None = Field(None, max_length=4 * MAX_PASSWORD)
    gpu_hours: float | None = Field(None, ge=0, le=1e6, description="GPU hours in the last 30 days. null: no quota.")
    disk_bytes: int | None = Field(
        None, ge=0, le=_MAX_DISK_BYTES, description="Bytes of their runs and datasets. null: no quota."
    )


class PersonReply(BaseModel):
    """One account."""

    ok: bool = True
    person: dict[str, Any]


class LinksReply(BaseModel):
    """All links."""

    ok: bool = True
    links: list[dict[str, Any]]


class NewLink(BaseModel):
    """A link to share."""

    name: str = Field(max_length=200)
    shows: Shows = Shows.RUN
    run_id: str = Field("", max_length=200, description="The run, if the link shows one.")
    role: LinkRoleWord = Field(Role.VIEWER, json_schema_extra=_VIEWER)
    days: float = Field(7, description="Lifetime in days, at most 366.")


class LinkReply(BaseModel):
    """A new link; its address is shown only once."""

    ok: bool = True
    link: dict[str, Any]
    path: str = Field(description="The path with the secret, for a panel that is known by another name.")
    address: str = Field(description="The whole address, under the name of this request.")
    qr: str = Field(description="The address as a QR code (SVG).")


class AuditReply(BaseModel):
    """Entries of the audit log, newest first."""

    ok: bool = True
    entries: list[dict[str, Any]]
    next_before: int | None = Field(description="The `before` of the next page; null on the last one.")


@router.get("/api/people", response_model=PeopleReply)
@slow
def people(service: Service) -> dict[str, Any]:
    """List all accounts with what they use, and tokens, without their secrets."""
    found = [each.as_dict() | {"usage": service.quotas.report(each)} for each in service.people.accounts.all()]
    return {"people": found, "tokens": [each.as_dict() for each in service.people.tokens.all()]}


@router.post("/api/people", response_model=PersonReply)
@control
def add_person(service: Service, body: NewPerson) -> dict[str, Any]:
    """Add an account."""
    return {"person": service.people.accounts.add(body.name, body.role, body.password).as_dict()}


@router.patch("/api/people/{account_id}", response_model=PersonReply)
@control
def change_person(service: Service, account_id: Id, body: PersonChanges) -> dict[str, Any]:
    """Change a role, a name, quotas or a password, or disable an account. A new password ends the sessions of the account."""
    known, given = service.people, body.model_dump(exclude_unset=True, mode="json")
    changes = {name: value for name, value in given.items() if value is not None or name in {"gpu_hours", "disk_bytes"}}
    person = known.accounts.change(account_id, changes)
    if person.disabled or "password" in changes:
        known.sessions.end(lambda each: each.account == account_id and (bool(person.disabled) or each.id != acting().via))
    return {"person": person.as_dict()}


@router.delete("/api/people/{account_id}", response_model=Done)
@control
def remove_person(service: Service, account_id: Id) -> dict[str, Any]:
    """Remove an account with its sessions and tokens. Its runs stay. The last owner can't be removed."""
    service.people.remove_account(account_id)
    return {}


@router.delete("/api/people/{account_id}/sessions", response_model=Done)
@control
def end_sessions(service: Service, account_id: Id) -> dict[str, Any]:
    """End all sessions of an account. Its open pages are closed at once."""
    service.people.accounts.get(account_id)
    service.people.sessions.end(lambda each: each.account == account_id)
    return {}


@router.delete("/api/people/{account_id}/two-factor", response_model=Done)
@control
def reset_two_factor(service: Service, account_id: Id) -> dict[str, Any]:
    """Turn off the authenticator app of an account, for someone who lost it and the recovery codes."""
    service.people.accounts.turn_off_totp(account_id)
    return {}


@router.get("/api/links", response_model=LinksReply)
@control
def links(service: Service) -> dict[str, Any]:
    """List all links, without their secrets."""
    return {"links": [each.as_dict() for each in service.people.links.all()]}


@router.post("/api/links", response_model=LinkReply)
@control
def add_link(service: Service, access: AccessRules, body: NewLink, request: Request) -> dict[str, Any]:
    """Make a link that opens one run, the gallery or the panel without an account. Its address is shown only once."""
    if body.shows is Shows.RUN:
        service.runs.get(body.run_id)
    link, secret = service.people.links.add(acting().name, body.name, body.shows, body.role, body.days, body.run_id)
    path = f"{prefix_of(request.scope)}/?token={secret}"
    address = f"{public_address(request.scope, access)}/?token={secret}"
    return {"link": link.as_dict(), "path": path, "address": address, "qr": qr_code(address)}


@router.delete("/api/links/{link_id}", response_model=Done)
@control
def revoke_link(service: Service, link_id: Id) -> dict[str, Any]:
    """Revoke a link. Pages that it opened are closed at once."""
    service.people.revoke_link(link_id)
    return {}


@router.get("/api/audit", response_model=AuditReply)
@control
def audit(
    service: Service,
    before: Annotated[int | None, Query(ge=0, le=2**62, description="Only entries before this number.")] = None,
    who: Annotated[str, Query(max_length=200, description="Only entries of this person.")] = "",
    search: Annotated[str, Query(max_length=200, description="Only entries whose action or target contains this.")] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES, description="Maximum number of entries.")] = 100,
) -> dict[str, Any]:
    """Return the audit log: who did what and when, newest first."""
    return service.people.audit.page(AuditQuery(before, who, search, limit))


@router.get("/api/audit/export")
@control
def export_audit(service: Service, form: ExportForm = ExportForm.JSONL) -> StreamingResponse:
    """Download the whole audit log as JSON lines or CSV."""
    media = {ExportForm.JSONL: "application/x-ndjson", ExportForm.CSV: "text/csv; charset=utf-8"}[form]
    headers = {"Content-Disposition": f'attachment; filename="audit.{form.value}"', "Cache-Control": "no-store"}
    return StreamingResponse(service.people.audit.export(form.value), media_type=media, headers=headers)
