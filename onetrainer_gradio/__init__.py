"""A control panel for fine-tuning diffusion models: page, REST and WebSocket over a training engine."""

import os

__version__ = "0.1.0"

# Both libraries read these once, at import: they have to be set before anything of ours imports them.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
