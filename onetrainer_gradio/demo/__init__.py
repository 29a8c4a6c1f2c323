"""The demo: a tiny text-to-image model and the images that it is trained on.

Importing this package needs neither torch nor gradio.
"""

from __future__ import annotations

from pathlib import Path

from onetrainer_gradio.demo.toy_dataset import TRIGGER_WORD

DEMO_FOLDER = Path(__file__).resolve().parent
MODEL_FOLDER = DEMO_FOLDER / "model"
IMAGES_FOLDER = DEMO_FOLDER / "images"
REGULARIZATION_FOLDER = DEMO_FOLDER / "regularization"

__all__ = ["DEMO_FOLDER", "IMAGES_FOLDER", "MODEL_FOLDER", "REGULARIZATION_FOLDER", "TRIGGER_WORD"]
