"""Store tokens for runs on the server, in a file that only its owner can read; workers receive them, no one sees them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json

_TOKEN = "huggingface_token"


class SecretStore:
    """The secrets of a data folder: the service can set, clear and read them; the API can't read them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def set_huggingface_token(self, token: str) -> None:
        """Store the Hugging Face token; an empty one clears it."""
        with raising_storage_error("the token"):
            self.set_value(_TOKEN, token)

    def set_value(self, name: str, value: str) -> None:
        """Store a secret; an empty one clears it.

        :raises OSError: if it can't be written.
        """
        with self._lock:
            kept = self._read()
            kept.pop(name, None)
            if value.strip():
                kept[name] = value.strip()
            write_json(self._path, kept, mode=0o600)

    def value(self, name: str) -> str:
        """Return a stored secret, or ""."""
        return self._read().get(name, "")

    def clear(self) -> None:
        """Remove every secret."""
        with self._lock:
            self._path.unlink(missing_ok=True)

    def status(self) -> dict[str, bool]:
        """Return which secrets are set, by name, never their values."""
        return {_TOKEN: bool(self.huggingface_token())}

    def huggingface_token(self) -> str:
        """Return the Hugging Face token: the stored one, else that of the environment."""
        return self._read().get(_TOKEN, "") or os.environ.get("HF_TOKEN", "")

    def _read(self) -> dict[str, str]:
        body = read_json(self._path)
        return {str(key): str(value) for key, value in body.items()} if isinstance(body, dict) else {}
