"""One process at a time uses a data folder."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from onetrainer_gradio.errors import RunConflictError, StorageError
from onetrainer_gradio.service.host.data_folder_lock import DataFolderLock
from onetrainer_gradio.service.host.lock import FolderLock
from onetrainer_gradio.service.host.process import ProcessIdentity


@pytest.fixture
def other_process():
    """A process that lives until the test ends."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.stdin.close()
    process.wait(10)


@pytest.mark.slow
def test_a_second_process_is_rejected_with_the_address_of_the_first(tmp_path, other_process):
    body = {**ProcessIdentity.of(other_process.pid).as_dict(), "address": "http://127.0.0.1:7860/"}
    (tmp_path / "panel.json").write_text(json.dumps(body))
    with pytest.raises(RunConflictError, match=r"http://127.0.0.1:7860/"), DataFolderLock(tmp_path, "me"):
        pass
    assert json.loads((tmp_path / "panel.json").read_text()) == body


@pytest.mark.parametrize("left", ['{"pid": 1, "created": "long ago", "boot": "another"}', "torn", "[]"])
def test_what_a_killed_process_left_does_not_count(tmp_path, left):
    (tmp_path / "panel.json").write_text(left)
    with DataFolderLock(tmp_path, "me"):
        assert json.loads((tmp_path / "panel.json").read_text())["address"] == "me"
    assert not (tmp_path / "panel.json").exists()


def test_a_folder_that_takes_nothing_is_reported(tmp_path):
    """A full disk, or a path that is no folder, is an error in one sentence."""
    (tmp_path / "data").touch()
    with pytest.raises(StorageError, match="Can't write"), DataFolderLock(tmp_path / "data", "me"):
        pass


@pytest.mark.slow
def test_of_two_that_come_at_once_one_is_rejected(tmp_path, other_process):
    """Checking for another process and registering one's own is atomic."""
    refused = []

    def come() -> None:
        try:
            with DataFolderLock(tmp_path, "me"):
                pass
        except RunConflictError as error:
            refused.append(error)

    late = threading.Thread(target=come)
    with FolderLock(tmp_path):
        late.start()
        late.join(0.2)
        assert not (tmp_path / "panel.json").exists()
        body = {**ProcessIdentity.of(other_process.pid).as_dict(), "address": "the first"}
        (tmp_path / "panel.json").write_text(json.dumps(body))
    late.join(10)
    assert len(refused) == 1
