"""Encode messages and responses as JSON, quickly and without values that JSON can't represent."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, is_dataclass
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import JSONResponse


def encode(value: Any) -> bytes:
    """Return a value as JSON. NaN and infinity become null."""
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS)
    except orjson.JSONEncodeError:  # an integer of more than 64 bits, or a lone surrogate: the standard library can encode them
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else _finite(_plain(value))


class SafeJSONResponse(JSONResponse):
    """A JSON response encoded by ``encode``."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return encode(content)
