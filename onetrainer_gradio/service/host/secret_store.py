"""Tokens that a run needs: kept on the server in a file that only its owner can read, given to workers, shown to nobody."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json

_TOKEN = "huggingface_token"


class SecretStore:
    """The secrets of a data folder: they can be set, cleared and asked for by the service, never read through the API."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def set_huggingface_token(self, token: str) -> None:
        """Keep the hub token; an empty one clears it."""
        with self._lock:
            kept = self._read()
            kept.pop(_TOKEN, None)
            if token.strip():
                kept[_TOKEN] = token.strip()
            with raising_storage_error("the token"):
                write_json(self._path, kept, mode=0o600)

    def clear(self) -> None:
        """Forget every secret."""
        with self._lock:
            self._path.unlink(missing_ok=True)

    def status(self) -> dict[str, bool]:
        """Which secrets are there, by name; never what they are."""
        return {_TOKEN: bool(self.huggingface_token())}

    def huggingface_token(self) -> str:
        """The hub token: the one kept, else the one of the environment."""
        return self._read().get(_TOKEN, "") or os.environ.get("HF_TOKEN", "")

    def _read(self) -> dict[str, str]:
        body = read_json(self._path)
        return {str(key): str(value) for key, value in body.items()} if isinstance(body, dict) else {}
