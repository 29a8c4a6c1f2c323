"""A panel on a restored data folder shows the runs of the original and leaves the original's processes alone."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.service.host.data_backup import back_up
from onetrainer_gradio.service.host.data_restore import restore
from tests.fakes.configs import small_config
from tests.service.conftest import PATIENCE_S, MakeService

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="speaks of Unix signals"),
    pytest.mark.exhaustive,
]


def wait_until(done: Callable[[], Any]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.02)


def test_a_backup_of_a_training_panel_opens_with_the_run_ended_and_its_files_in_the_new_folder(
    make_service: MakeService, tmp_path: Path
) -> None:
    service = make_service(in_process=False)
    config = small_config(tmp_path / "data")
    tags = ("steps=100000", "step_s=0.01", "sample_every=5", "backup_every=5")
    run = service.runs.get(service.start(config, RunOptions(name="run", tags=tags)))
    service.queue.pause()
    wait_until(lambda: service.get_state()["update_step"] > 12)
    back_up(tmp_path / "data", tmp_path / "panel.tar")
    restore(tmp_path / "panel.tar", tmp_path / "elsewhere" / "data")

    other = make_service(data_folder=tmp_path / "elsewhere" / "data", in_process=False)
    restored = other.runs.get(run.id)
    wait_until(restored.ended)
    assert other.get_state()["end_reason"] == "lost"
    assert other.queue.summary()["paused"]
    samples = [entry for entry in restored.journal.since(0, 10_000) if entry.body["type"] == "sample_generated"]
    shown = [Path(entry.body["path"]) for entry in samples[:2]]
    assert len(shown) == 2
    assert all(path.is_file() and path.is_relative_to(tmp_path / "elsewhere") for path in shown)
    assert json.loads((restored.folder / "config.json").read_text())["workspace_dir"].startswith(str(tmp_path / "elsewhere"))
    before = service.get_state()["update_step"]
    wait_until(lambda: service.get_state()["update_step"] > before)  # the original still trains
    assert service.get_state()["is_training"]
    service.stop_training()
    service.stop_training()
    wait_until(lambda: not service.get_state()["process_running"])
