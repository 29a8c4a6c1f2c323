"""How much memory a weight takes, by data type."""

from __future__ import annotations

BYTES_PER_WEIGHT: dict[str, float] = {
    "FLOAT_32": 4,
    "TFLOAT_32": 4,
    "FLOAT_16": 2,
    "BFLOAT_16": 2,
    "FLOAT_8": 1,
    "INT_8": 1,
    "FLOAT_W8A8": 1,
    "INT_W8A8": 1,
    "FLOAT_W8A8_COMPRESSED": 0.85,
    "INT_W8A8_COMPRESSED": 0.85,
    "GGUF": 0.6,
    "GGUF_A8_FLOAT": 0.6,
    "GGUF_A8_INT": 0.6,
    "NFLOAT_4": 0.55,
}
"""Bytes that one weight takes in memory, scales included; for GGUF and compressed weights a typical value."""
