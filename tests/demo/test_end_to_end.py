"""The demo's promise: a LoRA of the preset teaches the tiny model its trigger word, in time, without forgetting."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.config.files.documents import from_document, read_file
from onetrainer_gradio.demo import IMAGES_FOLDER, MODEL_FOLDER, REGULARIZATION_FOLDER
from onetrainer_gradio.demo.end_to_end import CONFIG_FILE, prepare, run_end_to_end

pytestmark = pytest.mark.slow


def test_end_to_end_runs_the_preset_as_it_is(tmp_path: Path) -> None:
    """Model and images are those of the package; everything is written to the given folder."""
    adapter = prepare(tmp_path)
    config, findings = from_document(read_file(tmp_path / CONFIG_FILE))
    assert not findings
    assert Path(config.base_model_name) == MODEL_FOLDER
    assert config.concepts is not None
    assert [Path(concept.path) for concept in config.concepts] == [IMAGES_FOLDER, REGULARIZATION_FOLDER]
    for path in (config.workspace_dir, config.cache_dir, config.output_model_destination):
        assert Path(path).is_relative_to(tmp_path)
    assert adapter.suffix == ".safetensors"


@pytest.mark.exhaustive
@pytest.mark.timed
def test_the_demo_learns_its_word_in_time_and_forgets_nothing(tmp_path: Path) -> None:
    """Before training at most 1 of 16 samples shows the new concept, afterwards at least 13; at most 1 of 16 old
    prompts is lost; the first sample is there within 20 s and the file within 120 s.
    """
    result = run_end_to_end(tmp_path)
    assert sum(result.before.old) >= 15
    assert sum(result.before.new) <= 1
    assert sum(result.after.new) >= 13
    assert result.after.lost_since(result.before) <= 1
    assert result.adapter.is_file()
    assert result.clock.first_sample < 20
    assert result.clock.total < 120
