"""The environment variables that hold what opens the panel, and an environment without them: no process of a run needs them."""

from __future__ import annotations

from collections.abc import Mapping

PASSWORD_VARIABLE = "ONETRAINER_GRADIO_PASSWORD"
TOKEN_VARIABLE = "ONETRAINER_GRADIO_TOKEN"


def without_panel_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that a run starts, whose code and console log are not the panel's own."""
    return {name: value for name, value in environment.items() if name not in (PASSWORD_VARIABLE, TOKEN_VARIABLE)}
