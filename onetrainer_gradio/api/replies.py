"""Turn errors into responses: all errors of the API have the same form."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from onetrainer_gradio import errors
from onetrainer_gradio.api.serialization import SafeJSONResponse
from onetrainer_gradio.config.files.documents import MAX_LEVELS, nested_deeper
from onetrainer_gradio.errors import Finding, TrainerError

log = logging.getLogger(__name__)

# Other classes get the status of their nearest base class.
STATUS_BY_ERROR: dict[type[TrainerError], int] = {
    TrainerError: 500,
    errors.ConfigError: 422,
    errors.ConfigNotFoundError: 404,
    errors.ConfigExistsError: 409,
    errors.RevisionConflictError: 409,
    errors.NothingToUndoError: 409,
    errors.InputError: 422,
    errors.PathNotFoundError: 404,
    errors.PathExistsError: 409,
    errors.CheckoutNotFoundError: 404,
    errors.CaptionConflictError: 409,
    errors.UploadConflictError: 409,
    errors.TrainingError: 422,
    errors.OutOfMemoryError: 507,
    errors.WorkerDiedError: 500,
    errors.StorageError: 500,
    errors.DiskFullError: 507,
    errors.OutputExistsError: 409,
    errors.OutputProtectedError: 409,
    errors.RunError: 409,
    errors.RunNotFoundError: 404,
    errors.QueueItemNotFoundError: 404,
    errors.SampleNotFoundError: 404,
    errors.AccessError: 403,
    errors.NotAuthenticatedError: 401,
    errors.SignInProviderError: 424,  # the panel itself works
    errors.TooManyAttemptsError: 429,
    errors.AccountError: 422,
    errors.AccountNotFoundError: 404,
    errors.LastOwnerError: 409,
    errors.QuotaError: 409,
    errors.RateLimitError: 429,
    errors.HubError: 424,  # the panel itself works
    errors.HubAccessError: 403,
    errors.HubNotFoundError: 404,
    errors.HubExistsError: 409,
    errors.BusyError: 503,
    errors.CommandLineError: 422,
}


class ErrorEntry(BaseModel):
    """One issue."""

    path: str = Field("", description="Dotted path of the setting or request field.")
    message: str = Field(description="What is wrong.")
    value: Any = Field(None, description="The rejected value.")
    expected: str = Field("", description="Expected syntax.")
    suggestion: str = Field("", description="What to do, as a sentence.")
    severity: str = Field("error", description="`error`, `warning` or `note`.")
    code: str = Field("", description="The kind of issue; docs/preflight.md lists all kinds.")
    fix: dict[str, Any] = Field(
        default_factory=dict, description="The change that fixes the issue, if there is exactly one: path -> value."
    )


class ErrorReply(BaseModel):
    """The form of every error."""

    ok: bool = Field(False, description="Always false.")
    error: str = Field(description="The complete error message.")
    errors: list[ErrorEntry] = Field(default_factory=list, description="One entry per issue.")
    status: int = Field(description="The HTTP status.")


def status_of(error: TrainerError) -> int:
    """Return the HTTP status of an error: that of its class or of the nearest base class in the table."""
    return next(STATUS_BY_ERROR[kind] for kind in type(error).__mro__ if kind in STATUS_BY_ERROR)


def entry(finding: Finding) -> ErrorEntry:
    """Return a finding as a response entry. Values that JSON can't represent become text."""
    value = finding.value
    if not isinstance(value, str | int | float | bool | list | dict | None):
        value = str(value)
    elif isinstance(value, list | dict) and nested_deeper(value, MAX_LEVELS):
        value = None  # JSON cannot carry it back
    return ErrorEntry(
        path=finding.path,
        message=finding.message,
        value=value,
        expected=finding.expected,
        suggestion=finding.suggestion,
        severity=finding.severity,
        code=finding.code,
        fix=dict(finding.fix),
    )


def error_reply(
    status: int, message: str, entries: Iterable[ErrorEntry] = (), headers: Mapping[str, str] | None = None
) -> SafeJSONResponse:
    """Return an error response."""
    body = ErrorReply(ok=False, error=message, errors=list(entries), status=status)
    return SafeJSONResponse(body.model_dump(mode="json"), status_code=status, headers=headers)


def trainer_error_reply(error: TrainerError) -> SafeJSONResponse:
    """Return the response for a `TrainerError`."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.TooManyAttemptsError | errors.RateLimitError):
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if isinstance(error, errors.BusyError):
        headers["Retry-After"] = "5"
    return error_reply(status, str(error), [entry(finding) for finding in error.findings()], headers)


def dotted(location: Iterable[int | str]) -> str:
    """Return the location of a validation error as a dotted path, without the part of the request it is in."""
    parts = [str(part) for part in location]
    if parts and parts[0] in {"body", "query", "path", "header", "cookie"}:
        parts = parts[1:]
    return ".".join(parts)


async def on_trainer_error(_request: Request, error: Exception) -> Response:
    """Handle a `TrainerError`."""
    assert isinstance(error, TrainerError)
    if status_of(error) >= 500:
        log.error("%s: %s", type(error).__name__, error)
    return trainer_error_reply(error)


async def on_bad_request(_request: Request, error: Exception) -> Response:
    """Handle an invalid request: one entry per location."""
    assert isinstance(error, RequestValidationError)
    entries = [
        ErrorEntry(path=dotted(item["loc"]), message=item["msg"], value=_plain(item.get("input"))) for item in error.errors()
    ]
    places = ", ".join(item.path or "the body" for item in entries[:3])
    return error_reply(422, f"Invalid request: {places}: {entries[0].message}" if entries else "Invalid request.", entries)


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Handle an error that the web framework raised itself: an unknown path or wrong method."""
    assert isinstance(error, HTTPException)
    return error_reply(error.status_code, str(error.detail), headers=error.headers)


def unexpected_error_reply(error: Exception) -> SafeJSONResponse:
    """Return the response for an unexpected error. The details go to the log, not to the client."""
    return error_reply(500, f"Internal error in the panel ({type(error).__name__}). See the panel's terminal for details.")


def install(app: FastAPI) -> None:
    """Install the error handlers of ``app``."""
    app.add_exception_handler(TrainerError, on_trainer_error)
    app.add_exception_handler(RequestValidationError, on_bad_request)
    app.add_exception_handler(HTTPException, on_http_error)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else None
