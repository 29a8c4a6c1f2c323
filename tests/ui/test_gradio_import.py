"""Gradio is imported without its stub files and templates, and without pandas."""

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
HELP_OF_EVENTS = """
import inspect, json, gradio
from gradio.events import EventListener
print("templates by", EventListener.set_doc.__module__)
kinds = [each for _, each in inspect.getmembers(gradio, inspect.isclass) if getattr(each, "EVENTS", None)]
print(json.dumps({f"{kind.__name__}.{event}": getattr(kind, str(event)).__doc__ for kind in kinds for event in kind.EVENTS}))
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


def test_help_of_events_is_gradios() -> None:
    """It is filled in without compiling templates, and is the same as with them."""
    commands = [[sys.executable, "-c", begin + HELP_OF_EVENTS] for begin in ("", BEGIN)]
    gradios, ours = [
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout for command in commands
    ]
    assert gradios.startswith("templates by gradio.events\n")
    assert ours.startswith("templates by onetrainer_gradio.ui.gradio_import\n")
    assert "Triggered when the Button is clicked." in ours
    assert ours.splitlines()[1] == gradios.splitlines()[1]
