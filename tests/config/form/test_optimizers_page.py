"""docs/optimizers.md lists every optimizer of the tables."""

from __future__ import annotations

from pathlib import Path

from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.form.optimizers_page import overview

PAGE = Path(__file__).parents[3] / "docs" / "optimizers.md"


def test_the_page_has_the_table():
    """docs/generate.py writes it."""
    assert PAGE.read_text("utf-8").endswith(overview())


def test_each_optimizer_has_a_row():
    """The row has its name in files."""
    assert all(f"`{name.value}`" in overview() for name in Optimizer)
