"""One vocabulary for phases, endings, stop steps and commands."""

from __future__ import annotations

import json
import re
from typing import get_args

import pytest

from onetrainer_gradio.api.schemas import Status
from onetrainer_gradio.commands import COMMAND_BY_TAG
from onetrainer_gradio.events import EndReason, Phase, StopStage
from onetrainer_gradio.ui.head import head
from onetrainer_gradio.vocabulary import BEFORE_TRAINING, VOCABULARY, requested


def test_every_key_has_words():
    """Each phase, status, ending, stop step and command of the protocol has a word, and there are no others."""
    assert set(VOCABULARY["phases"]) == set(get_args(Phase))
    assert set(VOCABULARY["statuses"]) == set(get_args(Status))
    assert set(VOCABULARY["ends"]) == set(get_args(EndReason))
    assert set(VOCABULARY["stop_stages"]) == set(get_args(StopStage))
    assert set(VOCABULARY["commands"]) == set(COMMAND_BY_TAG)
    assert set(get_args(Phase)) > BEFORE_TRAINING


@pytest.mark.slow
def test_the_page_embeds_the_vocabulary():
    """The scripts read the same words, without a separate request."""
    (text,) = re.findall(r'<script type="application/json" id="og-vocabulary">(.*?)</script>', head())
    words = json.loads(text)
    assert words.pop("methods")["LORA"] == "LoRA"
    assert words == VOCABULARY


def test_an_accepted_command_states_when_it_runs():
    """It runs after the current step or, before training, as soon as training starts."""
    assert requested("caching") == "Requested. Runs as soon as training starts."
    assert requested("training") == "Requested. Runs after the current step."
