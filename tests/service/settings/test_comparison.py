"""Any two sources of settings are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.errors import ConfigNotFoundError, ConfigValueError, RunNotFoundError
from onetrainer_gradio.service.runs.record import RunStore
from onetrainer_gradio.service.settings.comparison import Comparison, Difference, Source
from onetrainer_gradio.service.settings.configs import ConfigStore
from tests.fakes.configs import small_config
from tests.service.conftest import MakeService, ended


@pytest.fixture
def store(tmp_path: Path) -> ConfigStore:
    return ConfigStore(tmp_path)


def differences(comparison: Comparison, left: str, right: str) -> list[Difference]:
    return comparison.compare(Source.parse(left), Source.parse(right))[2]


@pytest.mark.slow
def test_each_differing_path_comes_with_both_values(store: ConfigStore, tmp_path: Path) -> None:
    """Saved configurations, presets, defaults, the opened settings and the form are compared with each other without changes."""
    comparison = Comparison(store, RunStore(tmp_path / "runs"))
    store.save("mine")
    before = store.current().config["epochs"]
    store.patch({"epochs": 7})
    store.save("other")
    store.patch({"epochs": 8})
    assert differences(comparison, "current", "saved:other") == [Difference("epochs", 8, 7)]
    assert differences(comparison, "saved:mine", "opened") == [Difference("epochs", before, 7)]
    assert differences(comparison, "saved:mine", "saved:mine") == []
    paths = [each.path for each in differences(comparison, "defaults", "preset:SDXL/LoRA 8 GB")]
    assert "base_model_name" in paths
    left, right, _ = comparison.compare(Source.parse("current"), Source.parse("saved:mine"))
    assert (left.title, left.name, right.title, right.kind) == ("the settings in the form", "other", "mine", "saved")
    assert store.current().config["epochs"] == 8


@pytest.mark.slow
def test_a_document_can_be_a_side(store: ConfigStore, tmp_path: Path) -> None:
    """An unsaved document is compared as it would be opened: migrated, with defaults."""
    comparison = Comparison(store, RunStore(tmp_path / "runs"))
    old = Source("document", document={"__version": 1, "unet_learning_rate": 0.5})
    new = Source("document", document={"unet": {"learning_rate": 0.25}})
    assert Difference("unet.learning_rate", 0.5, 0.25) in comparison.compare(old, new)[2]


@pytest.mark.slow
def test_a_run_is_compared_with_the_form(make_service: MakeService, tmp_path: Path) -> None:
    """Only real differences are listed: the run's absolute paths equal the form's relative ones."""
    service = make_service()
    config = small_config(tmp_path / "material").model_copy(update={"cache_dir": "cache/here"})
    service.configs.replace(config, "small")
    run_id = service.start()
    service.wait_for(ended, 30)
    assert Path(service.runs.get(run_id).config()["cache_dir"]).is_absolute()
    assert differences(service.comparison, "run:latest", "current") == []
    service.configs.patch({"epochs": 9})
    assert differences(service.comparison, f"run:{run_id}", "current") == [Difference("epochs", config.epochs, 9)]
    left = service.comparison.read(Source.parse("run:latest"))
    assert (left.name, left.title) == (run_id, "small")


@pytest.mark.parametrize("text", ["", "draft", "saved", "saved:", "run:", "document", "current of mine"])
def test_what_is_no_source_is_rejected(text: str) -> None:
    """The error names the kind or the name."""
    with pytest.raises(ConfigValueError) as caught:
        Source.parse(text)
    assert caught.value.path in ("kind", "name", "document")


def test_names_of_nothing_are_errors(store: ConfigStore, tmp_path: Path) -> None:
    """A preset is not among the saved configurations, and there may be no run yet."""
    comparison = Comparison(store, RunStore(tmp_path / "runs"))
    with pytest.raises(ConfigNotFoundError):
        differences(comparison, "current", "saved:SDXL/LoRA 8 GB")
    for run in ("latest", "no-such-run"):
        with pytest.raises(RunNotFoundError):
            differences(comparison, f"run:{run}", "current")
