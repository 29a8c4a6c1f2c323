"""The process that estimates memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.demo import MODEL_FOLDER as MODEL
from tests.fakes.configs import small_config

pytestmark = pytest.mark.exhaustive

IMPORTED = """
import json, sys
from onetrainer_gradio.backends.memory_worker import answer
from onetrainer_gradio.engine.lean_imports import UNUSED
print(json.dumps(answer({"config": json.loads(sys.argv[1])})))
print(*(name for name in UNUSED if name in sys.modules))
"""


@pytest.mark.slow
def test_memory_is_estimated_without_libraries_that_it_does_not_use(tmp_path: Path) -> None:
    """Importing them would take as long as the rest of the first estimate."""
    config = to_document(small_config(tmp_path, base_model_name=str(MODEL)), packed=True)
    command = [sys.executable, "-c", IMPORTED, json.dumps(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    answer, imported = done.stdout.splitlines()[-2:]
    assert json.loads(answer)["estimate"]["peak_bytes"] > 0
    assert imported == ""
