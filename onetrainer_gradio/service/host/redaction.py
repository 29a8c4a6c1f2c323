"""Secrets that would get into a log: addresses with a token, Authorization headers and session cookies.

Libraries log requests as they came at the level ``debug``: the server each address, its WebSocket part every header.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

HIDDEN = "[hidden]"

_PATTERNS = (
    re.compile(r"(?i)((?:\b|%[0-9a-f]{2})(?:token|password|access_token|hf_token)(?:=|%3D|\"?\s*:\s*\"|'?\s*:\s*'))[^&\s\"'#;]+"),
    re.compile(r"(?i)(\b(?:Bearer|Basic)\s+)[^\s\"',]+"),
    re.compile(r"(?i)(/login/callback\?)[^\s\"']+"),
    re.compile(r"(\bonetrainer_gradio_\w+=)[^\s\"';,]+"),
    re.compile(r"(\b)hf_[A-Za-z0-9]{20,}"),
)


def redacted(text: str, known: tuple[str, ...] = ()) -> str:
    """The text without what looks like a secret, and without the ``known`` ones."""
    for secret in known:
        text = text.replace(secret, HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return text


def redact_logs(*secrets: str) -> Callable[[], None]:
    """Hide secrets in every record that this process logs from now on; the result undoes that."""
    known = tuple(secret for secret in secrets if secret)
    before = logging.getLogRecordFactory()

    def make(*args: Any, **more: Any) -> logging.LogRecord:
        record = before(*args, **more)
        record.msg = _clean(record.msg, known)
        if isinstance(record.args, tuple):
            record.args = tuple(_clean(each, known) for each in record.args)
        elif isinstance(record.args, Mapping):
            record.args = {key: _clean(each, known) for key, each in record.args.items()}
        return record

    logging.setLogRecordFactory(make)
    return lambda: logging.setLogRecordFactory(before)


def _clean(value: Any, known: tuple[str, ...]) -> Any:
    """Texts and bytes are looked through as they are; of other objects only those whose text holds a secret become text."""
    if isinstance(value, str):
        return redacted(value, known)
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    text = str(value)
    clean = redacted(text, known)
    return value if clean == text else clean
