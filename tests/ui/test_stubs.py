"""Gradio is imported without its stub files."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
from onetrainer_gradio.ui.stubs import MODULE, WRITER, skip_stubs
skip_stubs()
skip_stubs()
import sys, gradio
module = sys.modules[MODULE]
assert getattr(module, WRITER).__module__ == "onetrainer_gradio.ui.stubs"
assert gradio.Button("works").value == "works"
"""


def test_no_stub_is_written_while_gradio_is_imported():
    """The writer is a private function of Gradio: when this fails, look for its new name, or each start takes a second longer."""
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=120)
