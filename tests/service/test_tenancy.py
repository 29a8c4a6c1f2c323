"""One process at a time works with a data folder."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from onetrainer_gradio.errors import RunConflictError
from onetrainer_gradio.service.process import ProcessIdentity
from onetrainer_gradio.service.tenancy import Tenancy


@pytest.fixture
def other_process():
    """A process that lives until the test ends."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.stdin.close()
    process.wait(10)


def test_a_second_process_is_refused_with_the_address_of_the_first(tmp_path, other_process):
    body = {**ProcessIdentity.of(other_process.pid).as_dict(), "address": "http://127.0.0.1:7860/"}
    (tmp_path / "panel.json").write_text(json.dumps(body))
    with pytest.raises(RunConflictError, match=r"http://127.0.0.1:7860/"), Tenancy(tmp_path, "me"):
        pass
    assert json.loads((tmp_path / "panel.json").read_text()) == body


@pytest.mark.parametrize("left", ['{"pid": 1, "created": "long ago", "boot": "another"}', "torn", "[]"])
def test_what_a_killed_process_left_does_not_count(tmp_path, left):
    (tmp_path / "panel.json").write_text(left)
    with Tenancy(tmp_path, "me"):
        assert json.loads((tmp_path / "panel.json").read_text())["address"] == "me"
    assert not (tmp_path / "panel.json").exists()
