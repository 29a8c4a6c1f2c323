"""Start the panel in a hosted Space or a container, from environment variables instead of options."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

from onetrainer_gradio.cli import SPACE_VARIABLE
from onetrainer_gradio.panel_secrets import PASSWORD_VARIABLE, TOKEN_VARIABLE
from onetrainer_gradio.server import main as run
from onetrainer_gradio.service.service_settings import DATA_VARIABLE

# Where a Space mounts its persistent storage.
PERSISTENT = Path("/data")
PORT = 7860


def environment_of(given: Mapping[str, str], persistent: Path = PERSISTENT) -> dict[str, str]:
    """Return the variables to add: where data and downloaded models are stored. What is set already stays."""
    added = {}
    if os.path.isdir(persistent) and os.access(persistent, os.W_OK):
        added = {DATA_VARIABLE: str(persistent / "onetrainer_gradio"), "HF_HOME": str(persistent / "huggingface")}
    return {name: value for name, value in added.items() if not given.get(name)}


def arguments_of(environment: Mapping[str, str], persistent: Path = PERSISTENT) -> list[str]:
    """Return the options of the panel. Without password and token, it generates a token and prints it to the log."""
    arguments = ["--host", "0.0.0.0", "--port", environment.get("GRADIO_SERVER_PORT") or str(PORT), "--no-open"]
    if not (environment.get(PASSWORD_VARIABLE) or environment.get(TOKEN_VARIABLE)):
        arguments.append("--token")
    if environment.get(SPACE_VARIABLE):
        # a person with access sees the data, but not the rest of the Space's disk, such as its variables in /proc
        allowed = persistent if environment.get(DATA_VARIABLE, "").startswith(f"{persistent}/") else None
        arguments += ["--demo", "--no-find-onetrainer"]
        arguments += ["--allow", str(allowed)] if allowed else ["--allow", str(Path.home() / "onetrainer_gradio")]
    for name in (environment.get("SPACE_HOST") or "").split(","):
        arguments += ["--public-host", name.strip()] if name.strip() else []
    return arguments


def main(argv: Sequence[str] = (), environment: MutableMapping[str, str] = os.environ, persistent: Path = PERSISTENT) -> int:
    """Start the panel and return its exit status; ``argv`` are further options."""
    environment.update(environment_of(environment, persistent))
    return run([*arguments_of(environment, persistent), *argv])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
