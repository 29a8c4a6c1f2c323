"""Let Gradio's functions run as the person who calls them, with the role that the table of permissions demands.

Gradio runs functions in tasks of its queue, not in the task of the request, and one path calls all of them. So the guard passes
on who sent the request, and each function asks the same table.
"""

from __future__ import annotations

import contextlib
import inspect
import typing
from collections.abc import AsyncIterator, Callable
from functools import wraps
from typing import Any

import gradio as gr

from onetrainer_gradio.errors import NotPermittedError
from onetrainer_gradio.service.host.threads import Threads, in_thread
from onetrainer_gradio.service.people.audit import AuditLog
from onetrainer_gradio.service.people.permissions import check, needed
from onetrainer_gradio.service.people.roles import IDENTITY_KEY, LOCAL, STRANGER, Identity, Kind, Role, act_as

_CALLER = "caller"


def permitted(
    function: Callable[..., Any],
    name: str,
    refusal: Callable[[NotPermittedError], Any] | None = None,
    *,
    audit: AuditLog,
    by_action: bool = False,
) -> Callable[..., Any]:
    """Return ``function`` with an additional first parameter, which Gradio fills with the request.

    It checks the entry ``gradio NAME``. With ``by_action``, the function itself checks the entry of its action. ``refusal`` makes
    the message of a generator that isn't permitted to run; without it, an error is raised. What changes something is recorded in
    ``audit``.
    """

    async def note(identity: Identity, *args: Any) -> None:
        action = f" {args[0].get('action')}" if by_action and args and isinstance(args[0], dict) else ""
        key = f"gradio {name}{action}"
        if identity.kind is not Kind.LOCAL and (needed(key) or Role.NOBODY) >= Role.OPERATOR:
            await in_thread(Threads.CONTROL, audit.note, identity, key)

    def allow(caller: gr.Request) -> Identity:
        identity = identity_of(caller)
        act_as(identity)
        if not by_action:
            check(identity, f"gradio {name}")
        return identity

    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def stream(caller: gr.Request, *args: Any) -> AsyncIterator[Any]:
            try:
                identity = allow(caller)
            except NotPermittedError as error:
                if refusal is None:
                    raise gr.Error(str(error), print_exception=False) from error
                yield refusal(error)
                return
            await note(identity)
            async with contextlib.aclosing(function(*args)) as messages:
                async for message in messages:
                    yield message
                    act_as(identity)  # Gradio may continue a generator in another task

        return _with_caller(stream, function)

    @wraps(function)
    async def call(caller: gr.Request, *args: Any) -> Any:
        try:
            identity = allow(caller)
        except NotPermittedError as error:
            raise gr.Error(str(error), print_exception=False) from error
        await note(identity, *args)
        return await function(*args)

    return _with_caller(call, function)


def identity_of(caller: gr.Request) -> Identity:
    """Return who sent the request of a call, as the guard passed it on. In an app without the guard, everyone is its owner."""
    request = getattr(caller, "request", None)
    found = STRANGER if request is None else request.scope.get(IDENTITY_KEY, LOCAL)
    return found if isinstance(found, Identity) else STRANGER


def _with_caller(wrapper: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``wrapper`` the signature of ``function`` with the additional parameter, which Gradio recognizes by its type."""
    signature = inspect.signature(function)
    first = inspect.Parameter(_CALLER, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request)
    hints = typing.get_type_hints(function)
    parameters = [each.replace(annotation=hints.get(each.name, each.annotation)) for each in signature.parameters.values()]
    wrapper.__signature__ = signature.replace(parameters=[first, *parameters])
    wrapper.__annotations__ = {_CALLER: gr.Request, **hints}
    del wrapper.__wrapped__
    return typing.cast(Callable[..., Any], wrapper)
