"""Gradio is imported without its stub files, and without pandas."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

BEGIN = """
from onetrainer_gradio.ui.gradio_import import DEFERRED, MODULE, WRITER, shorten_import
shorten_import()
shorten_import()
import sys, gradio
"""
NO_STUBS = """
module = sys.modules[MODULE]
assert getattr(module, WRITER).__module__ == "onetrainer_gradio.ui.gradio_import"
assert gradio.Button("works").value == "works"
"""
NO_PANDAS = """
assert DEFERRED in sys.modules
assert f"{DEFERRED}.core" not in sys.modules
import pandas
assert pandas.DataFrame({"a": [1, 2]})["a"].sum() == 3
assert gradio.Dataframe(pandas.DataFrame({"a": [1]})).value["data"] == [[1]]
"""


@pytest.mark.parametrize("then", [NO_STUBS, NO_PANDAS])
def test_import_is_short(then: str) -> None:
    """The stub writer is a private function of Gradio: if this fails, find its new name, or each
    start takes a second longer. Pandas is imported at its first use.
    """
    subprocess.run([sys.executable, "-c", BEGIN + then], check=True, timeout=120)
