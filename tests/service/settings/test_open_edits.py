"""Values in fields of open pages that are not in the settings."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.errors import ConfigInvalidError
from onetrainer_gradio.service.settings.open_edits import OpenEdits
from tests.fakes.configs import small_config
from tests.service.conftest import MakeService

EPOCHS = {"path": "epochs", "label": "Epochs", "value": "abc", "reason": "expected a whole number"}


def test_a_value_that_cannot_be_used_is_named_until_it_is_corrected_or_its_page_is_gone() -> None:
    """Each page counts separately; the message has the setting's label and the field's value."""
    edits = OpenEdits()
    edits.report("one", [EPOCHS])
    edits.report("two", [EPOCHS, {"path": "concepts.0.balancing", "label": "Balancing", "value": "x"}])
    message = "Epochs is “abc” on an open page, which can't be used: expected a whole number"
    with pytest.raises(ConfigInvalidError, match=message) as caught:
        edits.refuse()
    assert [finding.path for finding in caught.value.findings()] == ["epochs", "concepts.0.balancing"]
    edits.report("one", [])
    with pytest.raises(ConfigInvalidError):
        edits.refuse()
    edits.gone("two")
    edits.refuse()


@pytest.mark.slow
def test_a_start_waits_for_an_edit_on_its_way() -> None:
    """Start right after the last keystroke uses the new value, or is rejected for it; the wait is limited."""
    edits = OpenEdits()
    edits.report("one", [{**EPOCHS, "pending": True}])
    threading.Timer(0.1, edits.report, ("one", [EPOCHS])).start()
    with pytest.raises(ConfigInvalidError):
        edits.refuse()
    edits.report("one", [{**EPOCHS, "pending": True}])
    started = time.monotonic()
    edits.refuse(0.05)
    assert time.monotonic() - started < 1


def test_a_page_that_polls_is_forgotten_when_it_falls_silent() -> None:
    """Nothing reports that it was closed."""
    now = [0.0]
    edits = OpenEdits(clock=lambda: now[0])
    edits.report("one", [EPOCHS], for_s=10)
    with pytest.raises(ConfigInvalidError):
        edits.refuse()
    now[0] = 11
    edits.refuse()


@pytest.mark.parametrize("message", [None, 5, "x", {"path": "epochs"}, [5, None, {}, {"path": 5}]])
def test_what_is_no_report_is_ignored(message: object) -> None:
    """Any message that a page sends is accepted or ignored."""
    edits = OpenEdits()
    edits.report("one", message)
    edits.refuse()


@pytest.mark.slow
def test_what_a_page_reports_is_bounded() -> None:
    """Number and length of reports and the number of pages are limited."""
    edits = OpenEdits()
    for page in range(600):
        edits.report(str(page), [{"path": f"a{number}", "value": "x" * 10_000} for number in range(100)])
    with pytest.raises(ConfigInvalidError) as caught:
        edits.refuse()
    assert len(caught.value.findings()) == 50
    assert max(len(finding.message) for finding in caught.value.findings()) < 400


@pytest.mark.slow
def test_a_start_of_the_current_settings_is_rejected_and_one_of_other_settings_is_not(
    make_service: MakeService, tmp_path: Path
) -> None:
    """The field belongs to the settings being edited; a program may request the start anyway."""
    service = make_service()
    config = small_config(tmp_path / "material")
    service.configs.replace(config)
    service.open_edits.report("one", [EPOCHS])
    with pytest.raises(ConfigInvalidError, match="Epochs"):
        service.start()
    with pytest.raises(ConfigInvalidError, match="Epochs"):
        service.start_training()
    run_id = service.start(config)
    service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 20)
    service.open_edits.report("one", [EPOCHS])
    assert service.start(options=RunOptions(ignore_open_edits=True)) != run_id
    service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 20)
