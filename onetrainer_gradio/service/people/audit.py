"""Record who did what. The log only grows; the database itself rejects changes to it."""

from __future__ import annotations

import csv
import io
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from onetrainer_gradio.errors import StorageError
from onetrainer_gradio.service.people.roles import Identity
from onetrainer_gradio.service.people.store import PeopleStore

log = logging.getLogger(__name__)

MAX_ENTRIES = 500
_FIELDS = ("seq", "at", "who", "account", "kind", "via", "address", "action", "target", "status")
_MAX_TEXT = 300
# A spreadsheet would run a cell that begins with one of these as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class AuditQuery:
    """Which entries: ``before`` this number, by ``who``, whose action or target contains ``search``."""

    before: int | None = None
    who: str = ""
    search: str = ""
    limit: int = 100


class AuditLog:
    """The audit log."""

    def __init__(self, store: PeopleStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def add(self, identity: Identity, action: str, *, target: str = "", address: str = "", status: int = 0) -> None:
        """Add an entry.

        :raises StorageError: if it can't be written.
        """
        who = identity.name or identity.kind.value
        given = (who, identity.account, identity.kind.value, identity.via, address, action, target)
        values = (self._clock(), *(text.encode(errors="replace").decode()[:_MAX_TEXT] for text in given), status)
        names, marks = ", ".join(_FIELDS[1:]), ", ".join("?" * len(values))
        self._store.change(lambda database: database.execute(f"INSERT INTO audit ({names}) VALUES ({marks})", values))

    def note(self, identity: Identity, action: str, *, target: str = "", address: str = "", status: int = 0) -> None:
        """Add an entry about what has happened already. If it can't be written, the panel's log has a warning instead."""
        try:
            self.add(identity, action, target=target, address=address, status=status)
        except StorageError as error:
            log.warning("The audit log misses an entry (%s %s): %s", identity.name, action, error)

    def page(self, query: AuditQuery) -> dict[str, Any]:
        """Return entries, newest first, and the ``before`` of the next page."""
        entries = self._entries(query, min(max(1, query.limit), MAX_ENTRIES))
        full = len(entries) == min(max(1, query.limit), MAX_ENTRIES)
        return {"entries": entries, "next_before": entries[-1]["seq"] if full else None}

    def export(self, form: str) -> Iterator[str]:
        """Yield the whole log, newest first, as JSON lines or as CSV. It is read in pages."""
        if form == "csv":
            yield _csv_line(_FIELDS)
        before = None
        while entries := self._entries(AuditQuery(before=before), MAX_ENTRIES):
            for entry in entries:
                line = _csv_line(entry.values()) if form == "csv" else json.dumps(entry, ensure_ascii=False) + "\n"
                yield line
            before = entries[-1]["seq"]

    def _entries(self, query: AuditQuery, limit: int) -> list[dict[str, Any]]:
        conditions = {
            "seq < :before": query.before is not None,
            "who = :who": bool(query.who),
            "(instr(lower(action), :search) OR instr(lower(target), :search))": bool(query.search),
        }
        where = " AND ".join(condition for condition, wanted in conditions.items() if wanted) or "1"
        statement = f"SELECT {', '.join(_FIELDS)} FROM audit WHERE {where} ORDER BY seq DESC LIMIT :limit"
        values = {**asdict(query), "search": query.search.lower(), "limit": limit}

        def rows(database: sqlite3.Connection) -> list[dict[str, Any]]:
            return [dict(zip(_FIELDS, row, strict=True)) for row in database.execute(statement, values)]

        return self._store.read(rows, [])


def _csv_line(values: Any) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([f"'{value}" if str(value).startswith(_FORMULA) else value for value in values])
    return out.getvalue()
