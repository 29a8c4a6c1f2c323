"""Functions for programs that use ``gradio_client``: the settings, the runs and the samples. The page itself uses REST."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import gradio as gr
from pydantic import ValidationError

from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.errors import ConfigValueError, TrainerError
from onetrainer_gradio.service import TrainerService
from onetrainer_gradio.service.host.threads import Threads, in_thread
from onetrainer_gradio.service.people.permissions import check
from onetrainer_gradio.service.people.roles import acting
from onetrainer_gradio.service.queue.run_queue import QUEUE_PAGE, choices_of
from onetrainer_gradio.service.runs.index import NEWEST_FIRST, SORTS, RunQuery
from onetrainer_gradio.service.runs.overlay import AXES, MAX_POINTS, MAX_RUNS, View
from onetrainer_gradio.service.runs.record import RUNS_PER_PAGE
from onetrainer_gradio.service.settings.configs import ConfigDocument
from onetrainer_gradio.ui.actions import Actions
from onetrainer_gradio.vocabulary import DONE

T = TypeVar("T")


class ClientFunctions:
    """What ``gradio_client`` can call besides the buttons, bound to a service. The method names are the API names.

    An error of the service becomes one that ``gradio_client`` raises as ``AppError``, with what to do about it.

    ``gradio_client`` takes every object with a ``path`` for a file and downloads it, unless it is created with
    ``download_files=False``. Concepts have a path, so programs that read the settings need that; the other answers name
    their paths differently.
    """

    def __init__(self, service: TrainerService, actions: Actions) -> None:
        self._service = service
        self._actions = actions

    async def config(self) -> dict[str, Any]:
        """Return the current settings: ``config`` as OneTrainer's document, ``revision``, ``name``, ``changed`` and more."""
        return await _call(lambda: _settings(self._service.configs.current()))

    async def change_settings(self, changes: dict[str, Any], revision: float | None = None) -> dict[str, Any]:
        """Change settings by their path, such as ``{"learning_rate": 1e-4, "concepts.0.path": "/images"}``. All or nothing.

        With ``revision``, the change fails if someone else changed the settings since. Return what ``config`` returns.
        """
        based_on = None if revision is None else int(revision)
        return await _call(lambda: _settings(self._service.configs.patch(changes, based_on, by="gradio_client")))

    async def list_runs(
        self, limit: float = RUNS_PER_PAGE, cursor: str | None = None, search: str = "", sort: str = NEWEST_FIRST
    ) -> dict[str, Any]:
        """Return a page of runs, newest first unless ``sort`` asks for another order, as in REST.

        ``cursor`` is the ``next_cursor`` of the previous page. Archived runs are omitted.
        """

        def page() -> dict[str, Any]:
            if sort not in SORTS:
                raise ConfigValueError(f"{sort!r} isn't a sort order.", path="sort", expected=", ".join(SORTS))
            return self._service.runs.page(min(int(limit), 1000), cursor, RunQuery(search, sort=sort, archived=False))

        return await _call(page)

    async def runs(self, request: dict[str, Any]) -> dict[str, Any]:
        """Compare, change or replay runs, by the ``action`` of the request; docs/page.md lists the actions."""
        return await _call(lambda: _run_action(self._service, request))

    async def queue(self, request: dict[str, Any]) -> dict[str, Any]:
        """Read or change the queue, by the ``action`` of the request; docs/page.md lists the actions."""
        return await _call(lambda: _queue_action(self._service, request))

    async def notifications(self, request: dict[str, Any]) -> dict[str, Any]:
        """Read the notifications and their settings, by the ``action`` of the request; docs/page.md lists the actions."""
        return await _call(lambda: _notification_action(self._service, request))

    async def list_samples(self, run_id: str | None = None, limit: float = 60, before: str | None = None) -> dict[str, Any]:
        """Return a page of samples, newest first; ``image`` is the address of the file, ``before`` the last page's ``next``."""

        def samples() -> dict[str, Any]:
            page = self._service.samples.list(run_id=run_id, limit=max(1, min(int(limit), 500)), before=before)
            return {**page, "samples": [_renamed(sample, "image") for sample in page["samples"]]}

        return await _call(samples)

    async def generate_sample(self, params: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Generate one sample with the current run, and stream progress until it is done.

        ``params`` are those of a configured sample; missing ones get the defaults of the model type. The last message has
        ``done``, ``ok`` and in ``result`` the path of the image.
        """
        async for message in self._actions.command(
            "generate_sample", lambda: self._service.sample_custom(params), DONE["sample_custom"]
        ):
            yield message


def _config(document: dict[str, Any] | None) -> TrainConfig | None:
    return None if document is None else from_document(document)[0]


def _options(values: dict[str, Any] | None) -> RunOptions | None:
    """Return the options that a program may choose; the panel sets the others."""
    try:
        return None if values is None else RunOptions(**{name: values[name] for name in _OPTIONS if name in values})
    except ValidationError as error:
        raise ConfigValueError(str(error.errors()[0]["msg"]), path="options") from error


Choices = Mapping[str, Callable[[], Any]]


def _chosen(function: str, actions: Choices, values: Mapping[str, Any], usual: str) -> Any:
    """Return the result of the action that a request names; several functions in one keep the page's configuration small.

    :raises NotPermittedError: if the role of the caller doesn't allow this action.
    """
    action = str(values.get("action", usual))
    if action not in actions:
        raise ConfigValueError(
            f"The action {action!r} doesn't exist.", path="action", suggestion=f"Use one of {', '.join(actions)}."
        )
    check(acting(), f"gradio {function} {action}")
    return actions[action]()


def _queue_action(service: TrainerService, values: dict[str, Any]) -> dict[str, Any]:
    queue, item_id = service.queue, str(values.get("id", ""))
    rest = {name: value for name, value in values.items() if name not in _NO_CHOICES}
    actions: Choices = {
        "list": lambda: queue.list(int(values.get("limit", QUEUE_PAGE)), values.get("cursor"), ended=bool(values.get("ended"))),
        "add": lambda: queue.add(_config(values.get("config")), _options(values.get("options")), choices_of(rest)),
        "edit": lambda: queue.edit(item_id, choices_of(rest), changes=values.get("changes")),
        "move": lambda: queue.move(item_id, **{name: values.get(name) for name in ("place", "by", "before", "after")}),
        "duplicate": lambda: queue.duplicate(item_id),
        "remove": lambda: queue.remove(item_id),
        "suspend": lambda: service.suspend_item(item_id),
        "pause": queue.pause,
        "resume": queue.resume,
    }
    found = _chosen("queue", actions, values, "list")
    return found if isinstance(found, dict) else queue.summary()


def _notification_action(service: TrainerService, values: dict[str, Any]) -> dict[str, Any]:
    center = service.notifications

    def sent() -> dict[str, Any]:
        outcome = center.test_channel(str(values.get("id", "")))
        return {"sent": outcome.ok, "reason": outcome.reason}

    actions: Choices = {
        "list": lambda: center.page(max(1, min(int(values.get("limit", _NOTIFICATIONS)), _NOTIFICATIONS)), values.get("before")),
        "clear": center.clear,
        "settings": center.settings,
        "change_settings": lambda: center.change_settings(values.get("changes") or {}),
        "test": sent,
    }
    found = _chosen("notifications", actions, values, "list")
    return found if isinstance(found, dict) else center.settings()


def _run_action(service: TrainerService, values: dict[str, Any]) -> dict[str, Any]:
    run_id, run_ids = str(values.get("id", "")), [str(each) for each in values.get("ids") or ()]

    def curves() -> dict[str, Any]:
        axis = str(values.get("axis", "step"))
        if axis not in AXES:
            raise ConfigValueError(f"{axis!r} isn't an axis.", path="axis", expected=", ".join(AXES))
        points = max(2, min(int(values.get("points", 1000)), MAX_POINTS))
        return service.overlay.series(run_ids, View(tuple(values.get("metrics") or ("loss",)), axis, points))

    def compared() -> dict[str, Any]:
        table = service.comparison.of_runs(run_ids[:MAX_RUNS])
        return {"runs": table.runs, "settings": [_renamed(row, "setting") for row in table.settings], "total": table.total}

    def changed() -> dict[str, Any]:
        changes = values.get("changes") or {}
        unknown = sorted(changes.keys() - {"name", "tags", "note", "archived"})
        if unknown:
            raise ConfigValueError(f"A run has no {', '.join(unknown)} to change.", path="changes", value=unknown)
        return service.run_changes.label(run_id, changes)

    def replayed() -> dict[str, Any]:
        step = values.get("step")
        found = service.replay.at(run_id, None if step is None else int(step))
        samples = [_renamed(sample, "image") for sample in found["samples"]]
        return {**found, "samples": samples, "events": [_renamed(event, "file") for event in found["events"]]}

    actions: Choices = {"curves": curves, "compare": compared, "change": changed, "replay": replayed}
    return dict(_chosen("runs", actions, values, "compare"))


_NOTIFICATIONS = 50
_NO_CHOICES = frozenset({"action", "id", "config", "options", "changes"})
_OPTIONS = ("name", "tags", "max_steps", "seed")


def _settings(document: ConfigDocument) -> dict[str, Any]:
    body = document.as_dict()
    return {**body, "problems": [_renamed(problem, "setting") for problem in body["problems"]]}


def _renamed(item: dict[str, Any], name: str) -> dict[str, Any]:
    return {name if key == "path" else key: value for key, value in item.items()}


async def _call(function: Callable[[], T]) -> T:
    try:
        return await in_thread(Threads.SLOW, function)
    except TrainerError as error:
        found = [*error.findings()]
        text = " ".join(f"{item.message.rstrip('.')}. {item.suggestion}".strip() for item in found) or error.message
        raise gr.Error(text, print_exception=False) from error
