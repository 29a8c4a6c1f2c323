"""The pre-flight check reports what the settings or the backend would reject later."""

from pathlib import Path

import pytest

from onetrainer_gradio import backends
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.service.engines.preflight import Preflight

pytestmark = pytest.mark.slow


def found(folder: Path, changes: dict[str, object], backend: str = "builtin") -> list[tuple[str, str]]:
    config, _ = from_document({"training_method": "LORA", "output_model_format": "KOHYA_LORA", "train_device": "cpu", **changes})
    return [(finding.severity, finding.path) for finding in Preflight(folder)(config, backend)]


def test_what_the_engine_cannot_do_is_an_error_before_the_start(tmp_path: Path) -> None:
    """A setting that fails while loading is an error while the page is still open."""
    assert ("error", "multi_gpu") in found(tmp_path, {"multi_gpu": True})
    assert ("error", "masked_training") not in found(tmp_path, {"masked_training": False})


def test_each_place_is_named_once_and_errors_come_first(tmp_path: Path) -> None:
    """If the check and the backend both report a wrong format, it is listed once."""
    findings = found(tmp_path, {"output_model_format": "DIFFUSERS", "train_dtype": "FLOAT_16"})
    assert findings.count(("error", "output_model_format")) == 1
    severities = [severity for severity, _ in findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)


def test_a_backend_without_an_opinion_rejects_nothing(tmp_path: Path) -> None:
    """A backend doesn't have to implement the check."""
    config, _ = from_document({})
    assert backends.refusals("tests.fakes.rehearsal:run", config) == ()
    assert ("error", "masked_training") not in found(tmp_path, {"masked_training": True}, "tests.fakes.rehearsal:run")
