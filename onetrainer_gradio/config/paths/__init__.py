"""Decide where a run may read and write."""
