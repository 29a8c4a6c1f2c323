"""How messages and replies become JSON: once, fast, and with no value that JSON does not know."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import JSONResponse


def encode(value: Any) -> bytes:
    """A value as JSON; a number that is not finite becomes null."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


class WireResponse(JSONResponse):
    """A JSON reply written by ``encode``."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return encode(content)
