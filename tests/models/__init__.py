"""Tiny models in the published layouts, their tokenizers and images: created in seconds, equal on every machine."""
