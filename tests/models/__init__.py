"""Tiny models in the published layouts, their tokenizers and images: made in seconds, equal on every machine."""
