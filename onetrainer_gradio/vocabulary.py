"""Words for phases, statuses, ends, stop stages and commands of a run.

They are in ``vocabulary.json``. The terminal, run log and buttons read them here; the page embeds the file for its scripts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEXT = Path(__file__).with_name("vocabulary.json").read_text(encoding="utf-8")
VOCABULARY: dict[str, Any] = json.loads(TEXT)

PHASES: dict[str, str] = {phase: words["text"] for phase, words in VOCABULARY["phases"].items()}
ENDS: dict[str, str] = VOCABULARY["ends"]
STOP_STAGES: dict[str, dict[str, str]] = VOCABULARY["stop_stages"]
DONE: dict[str, str] = {command: words["done"] for command, words in VOCABULARY["commands"].items()}

# Commands wait during these phases: there is nothing to sample or save yet.
BEFORE_TRAINING = frozenset({"queued", "starting", "loading", "caching"})


def requested(phase: str | None) -> str:
    """Return the text for a command that was accepted during a phase: when it runs."""
    return str(VOCABULARY["requested"]["before_training" if phase in BEFORE_TRAINING else "training"])
