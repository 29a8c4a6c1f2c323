"""Provide the schema of the form as JSON, for the checkout whose settings the form shows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from onetrainer_gradio.config.files.newer import NOTHING_NEWER, Newer, follow
from onetrainer_gradio.config.form.schema import form_schema


class FormSchema:
    """The schema, created on first use and again when another checkout is followed. Safe from any thread."""

    def __init__(self, newer: Callable[[], Newer] = lambda: NOTHING_NEWER) -> None:
        self._newer = newer
        self._lock = threading.Lock()
        self._made: tuple[Newer, bytes] | None = None

    def body(self) -> bytes:
        """Return the schema as JSON."""
        newer = self._newer()
        with self._lock:
            if self._made is None or self._made[0] is not newer:
                self._made = newer, json.dumps(follow(form_schema(), newer), ensure_ascii=False).encode()
            return self._made[1]
