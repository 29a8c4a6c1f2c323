"""Choices that no engine can train are marked before anyone selects them."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.files.presets import DEMO_PRESET
from onetrainer_gradio.errors import ConfigValueError
from onetrainer_gradio.service.engines.checkouts import Checkouts, Sources
from onetrainer_gradio.service.engines.selection import BUILTIN, Engines
from onetrainer_gradio.service.settings.availability import Availability
from onetrainer_gradio.service.settings.configs import ConfigStore
from tests.backends.onetrainer.standin import set_up

pytestmark = pytest.mark.slow

SD15, _ = from_document({"training_method": "LORA", "model_type": "STABLE_DIFFUSION_15"})
PATIENCE_S = 30.0


def availability(folder: Path, checkout: Path | None = None) -> tuple[Availability, Engines]:
    checkouts = Checkouts(folder, Sources([checkout] if checkout else []))
    checkouts.read_all()
    assert checkouts.wait(PATIENCE_S)
    engines = Engines(folder / "engine.json", checkouts)
    return Availability(engines, ConfigStore(folder)), engines


@pytest.mark.exhaustive
def test_presets_that_only_another_engine_trains_are_named_with_the_reason(tmp_path: Path) -> None:
    """Without a OneTrainer installation, these are presets of models that the built-in engine doesn't support, never the demo."""
    found = {item["name"]: item["why"] for item in availability(tmp_path)[0].presets()}
    assert "Anima" in found["Anima/LoRA 8 GB"]
    assert DEMO_PRESET not in found


def test_choices_are_asked_together_with_the_other_settings(tmp_path: Path) -> None:
    """Each unavailable choice has its reason; a setting without unavailable
    choices is omitted; one without choices is an error.
    """
    asked, _ = availability(tmp_path)
    found = asked.choices(SD15, ["attention_mechanism", "sample_image_format"])
    assert set(found) == {"attention_mechanism"}
    assert "FlashAttention" in found["attention_mechanism"]["FLASH"]
    assert "SDP" not in found["attention_mechanism"]
    for path in ("epochs", "no.such.setting", "cloud"):
        with pytest.raises(ConfigValueError, match="no choices"):
            asked.choices(TrainConfig(), [path])


def test_an_installation_makes_choices_available(tmp_path: Path) -> None:
    """OneTrainer's models are available while either engine may be used, and unavailable if the built-in one is selected."""
    asked, engines = availability(tmp_path, set_up(tmp_path / "OneTrainer"))
    assert asked.choices(SD15, ["attention_mechanism"]) == {}
    engines.choose(BUILTIN)
    assert "FLASH" in asked.choices(SD15, ["attention_mechanism"])["attention_mechanism"]
