"""The demo: a tiny text-to-image model and the images that it is trained on.

Importing this package needs neither torch nor gradio.
"""

from __future__ import annotations

from pathlib import Path

from onetrainer_gradio.demo.world import NEW_WORD

DEMO_FOLDER = Path(__file__).resolve().parent
MODEL_FOLDER = DEMO_FOLDER / "model"
PICTURES_FOLDER = DEMO_FOLDER / "pictures"
REMINDERS_FOLDER = DEMO_FOLDER / "reminders"

__all__ = ["DEMO_FOLDER", "MODEL_FOLDER", "NEW_WORD", "PICTURES_FOLDER", "REMINDERS_FOLDER"]
