"""List and change the queue from the command line, with or without a running panel."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from onetrainer_gradio.cli import QueueOptions, enter_data_folder
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.service.queue.items import ItemChoices
from onetrainer_gradio.service.queue.run_queue import choices_of
from onetrainer_gradio.service.service_settings import ServiceSettings
from onetrainer_gradio.service.trainer import TrainerService
from onetrainer_gradio.terminal import configuration

_MAX_LISTED = 1000


def change_queue(options: QueueOptions, out: TextIO | None = None) -> int:
    """Apply an action to the queue of a data folder, print its result, and return the exit status.

    :raises CommandLineError: if a configuration doesn't exist or the data folder can't be used.
    :raises TrainerError: if the action isn't possible.
    """
    given = Path(options.config).expanduser().absolute()
    enter_data_folder(options.data)
    # not opened: a panel may be running, which owns the runs
    service = TrainerService(ServiceSettings(data_folder=options.data, runs_queue=False))
    try:
        text = _add(service, options, given) if options.action == "add" else _ACTIONS[options.action](service, options)
    finally:
        service.close()
    print(text, file=out or sys.stdout, flush=True)
    return 0


def _add(service: TrainerService, options: QueueOptions, given: Path) -> str:
    config, name, _ = configuration(service, options.config, given)
    choices = choices_of(dict(options.choices))
    run_options = RunOptions(name=choices.name or name, started_by="command line")
    if options.sweep:
        added = service.queue.add_sweep(config, run_options, choices, options.sweep)
        return "\n".join([f"Added {added['count']} runs ({added['sweep']}).", *added["notes"]])
    item = service.queue.add(config, run_options, choices)
    return f"Added {item['id']} “{item['name']}” at place {item['place']}."


def _list(service: TrainerService, options: QueueOptions) -> str:
    page = service.queue.list(_MAX_LISTED, ended=options.ended)
    if options.as_json:
        return json.dumps(page, indent=2, ensure_ascii=False)
    head = f"{page['waiting']} waiting, {page['running']} running"
    if page["paused"]:
        head += f"; paused. {page['pause_reason']}".rstrip()
    return "\n".join([head, *map(_line, page["items"])])


def _line(item: dict[str, Any]) -> str:
    place = f"{item['place']:>4}" if item["place"] else "    "
    state = "held" if item["state"] == "waiting" and item["held"] else item["state"]
    parts = [place, item["id"], f"{state:<10}", ", ".join(item["devices"]), item["name"] or item["run_id"]]
    if item["state"] == "waiting" and item["not_before"]:
        parts.append(f"not before {datetime.fromtimestamp(item['not_before']):%Y-%m-%d %H:%M}")
    reason = item["hold_reason"] if item["held"] else (item["error"] or {}).get("message", "")
    return "  ".join(part for part in (*parts, reason) if part)


def _move(service: TrainerService, options: QueueOptions) -> str:
    return f"Moved to place {service.queue.move(options.item, place=options.place)['place']}."


def _remove(service: TrainerService, options: QueueOptions) -> str:
    service.queue.remove(options.item)
    return "Removed."


def _hold(service: TrainerService, options: QueueOptions) -> str:
    service.queue.edit(options.item, ItemChoices(held=True))
    return "Held."


def _release(service: TrainerService, options: QueueOptions) -> str:
    service.queue.edit(options.item, ItemChoices(held=False))
    return "Released."


def _duplicate(service: TrainerService, options: QueueOptions) -> str:
    copy = service.queue.duplicate(options.item)
    return f"Added {copy['id']} “{copy['name']}” at place {copy['place']}, held."


def _pause(service: TrainerService, _options: QueueOptions) -> str:
    service.queue.pause()
    return "The queue is paused."


def _resume(service: TrainerService, _options: QueueOptions) -> str:
    service.queue.resume()
    return "The queue is resumed."


_ACTIONS: dict[str, Callable[[TrainerService, QueueOptions], str]] = {
    "list": _list,
    "move": _move,
    "remove": _remove,
    "hold": _hold,
    "release": _release,
    "duplicate": _duplicate,
    "pause": _pause,
    "resume": _resume,
}
