"""Inspect and convert the datasets of concepts."""
