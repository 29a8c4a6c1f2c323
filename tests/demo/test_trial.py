"""The demo's promise: a LoRA of the preset teaches the tiny model its new word, in time, and it forgets nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.config.files.documents import from_document, read_file
from onetrainer_gradio.demo import MODEL_FOLDER, PICTURES_FOLDER, REMINDERS_FOLDER
from onetrainer_gradio.demo.trial import CONFIG_FILE, attempt, prepare


def test_the_trial_runs_the_preset_as_it_comes(tmp_path: Path) -> None:
    """Model and pictures are those of the package; everything written lies in the given folder."""
    adapter = prepare(tmp_path)
    config, findings = from_document(read_file(tmp_path / CONFIG_FILE))
    assert not findings
    assert Path(config.base_model_name) == MODEL_FOLDER
    assert config.concepts is not None
    assert [Path(concept.path) for concept in config.concepts] == [PICTURES_FOLDER, REMINDERS_FOLDER]
    for path in (config.workspace_dir, config.cache_dir, config.output_model_destination):
        assert Path(path).is_relative_to(tmp_path)
    assert adapter.suffix == ".safetensors"


@pytest.mark.slow
@pytest.mark.alone
def test_the_demo_learns_its_word_in_time_and_forgets_nothing(tmp_path: Path) -> None:
    """Before at most 1 of 16 samples show the new concept, after at least 13; at most 1 of 16 old prompts is lost; the
    first sample comes within 20 s and the file within 120 s."""
    trial = attempt(tmp_path)
    assert sum(trial.before.old) >= 15
    assert sum(trial.before.new) <= 1
    assert sum(trial.after.new) >= 13
    assert trial.after.lost_since(trial.before) <= 1
    assert trial.adapter.is_file()
    assert trial.clock.first_sample < 20
    assert trial.clock.total < 120
