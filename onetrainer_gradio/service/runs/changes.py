"""Change runs after their start: rename, tag, add a note, archive and delete, one or many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from onetrainer_gradio.errors import RunNotFoundError, TrainerError
from onetrainer_gradio.service.runs.index import RunQuery
from onetrainer_gradio.service.runs.labels import changed, tidy_tags
from onetrainer_gradio.service.runs.record import Run, RunStore

Action = Literal["archive", "unarchive", "add_tags", "remove_tags", "delete"]
ACTIONS: tuple[Action, ...] = get_args(Action)
MAX_RUNS = 1000
_MAX_CONTINUED = 20


class RunChanges:
    """Changes of the runs of a store. ``delete`` deletes one run and returns the freed bytes; ``notify`` reports changed runs."""

    def __init__(self, runs: RunStore, delete: Callable[[str], int], notify: Callable[[Sequence[str]], None]) -> None:
        self._runs = runs
        self._delete = delete
        self._notify = notify

    def label(self, run_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change ``name``, ``tags``, ``note`` or ``archived`` of a run, and return its line in the list.

        :raises RunNotFoundError: if there is no run with this ID.
        :raises ConfigValueError: if a value is too long.
        :raises StorageError: if it can't be written.
        """
        run = self._runs.get(run_id)
        run.set_labels(changed(run.labels, changes))
        line = self._runs.listing.read([run_id])[run_id]
        self._notify([run_id])
        return line

    def delete(self, run_id: str) -> int:
        """Delete a run and return the freed bytes.

        :raises RunNotFoundError: if there is no run with this ID.
        :raises RunConflictError: if it hasn't ended.
        """
        freed = self._delete(run_id)
        self._notify([run_id])
        return freed

    def apply(self, ids: Sequence[str], action: Action, tags: Sequence[str] = ()) -> dict[str, Any]:
        """Do the same with many runs. A run for which it fails is listed with the reason, and the others are still changed.

        :raises ConfigValueError: if a tag is too long.
        """
        given = tidy_tags(tags)
        done, failed, freed = [], [], 0
        for run_id in dict.fromkeys(ids):
            try:
                if action == "delete":
                    freed += self._delete(run_id)
                else:
                    run = self._runs.get(run_id)
                    run.set_labels(changed(run.labels, _changes_of(run, action, given)))
            except TrainerError as error:
                failed.append({"id": run_id, "error": str(error)})
            else:
                done.append(run_id)
        if action != "delete":
            self._runs.listing.read(done)
        if done:
            self._notify(done)
        return {"done": done, "failed": failed, "freed_bytes": freed}

    def preview_delete(self, ids: Iterable[str]) -> dict[str, Any]:
        """Return what deleting runs would free, which files exist only there, and which other runs continue them."""
        chosen = list(dict.fromkeys(ids))
        deletable, active, freed, only_here = [], [], 0, 0
        continued: dict[str, str] = {}
        for run_id in chosen:
            try:
                run = self._runs.get(run_id)
            except RunNotFoundError:
                continue
            if not run.ended():
                active.append(run_id)
                continue
            deletable.append(run_id)
            size, only = run.freed_by_delete()
            freed, only_here = freed + size, only_here + only
            continued |= {line["id"]: line["name"] for line in self.continued_by(run_id) if line["id"] not in chosen}
        return {
            "deletable": deletable,
            "active": active,
            "freed_bytes": freed,
            "only_here_bytes": only_here,
            "continued_by": [{"id": run_id, "name": name} for run_id, name in continued.items()],
        }

    def continued_by(self, run_id: str) -> list[dict[str, Any]]:
        """Return the lines of the newest runs that resume a run."""
        return list(self._runs.page(_MAX_CONTINUED, None, RunQuery(resumes=run_id))["runs"])


def _changes_of(run: Run, action: Action, tags: Sequence[str]) -> dict[str, Any]:
    if action == "add_tags":
        return {"tags": [*run.tags, *tags]}
    if action == "remove_tags":
        return {"tags": [tag for tag in run.tags if tag not in tags]}
    return {"archived": action == "archive"}
