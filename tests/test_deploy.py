"""The service files start the panel as documented: options exist, runs survive it, and it comes back by itself."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from onetrainer_gradio.cli import PanelOptions, parse

ROOT = Path(__file__).resolve().parents[1]
UNIT = ROOT / "deploy" / "systemd" / "onetrainer-gradio.service"
TASK = ROOT / "deploy" / "windows" / "onetrainer-gradio.xml"
SPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def unit() -> dict[str, str]:
    lines = [line for line in UNIT.read_text("utf-8").splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def task(path: str) -> str:
    found = ElementTree.parse(TASK).getroot().find("/".join(f"{SPACE}{part}" for part in path.split("/")))
    assert found is not None, path
    return found.text or ""


def test_both_start_the_panel_with_options_that_exist() -> None:
    for arguments in (shlex.split(unit()["ExecStart"])[1:], task("Actions/Exec/Arguments").split()):
        options = parse(arguments, {})
        assert isinstance(options, PanelOptions)
        assert not options.open_browser


def test_a_stop_of_the_service_ends_no_run_and_a_crash_starts_it_again() -> None:
    given = unit()
    assert (given["KillMode"], given["Restart"], given["StartLimitIntervalSec"]) == ("process", "always", "0")
    assert given["OOMPolicy"] == "continue"  # else a worker killed for memory stops the panel
    assert given["WantedBy"] == "multi-user.target"
    assert given["RequiresMountsFor"] in given["ExecStart"]
    assert task("Settings/ExecutionTimeLimit") == "PT0S"  # Windows ends a task after three days otherwise
    assert task("Triggers/BootTrigger/Enabled") == "true"
    assert int(task("Settings/RestartOnFailure/Count")) > 100


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd isn't installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """With a program, a user and a folder of this machine; it reports every unknown or misplaced line."""
    text = UNIT.read_text("utf-8").replace("/opt/onetrainer-gradio/venv/bin/onetrainer-gradio", shutil.which("true") or "")
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace("User=onetrainer", "User=root"), "utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False, timeout=60)
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []
    broken = tmp_path / "broken" / UNIT.name
    broken.parent.mkdir()
    broken.write_text(copy.read_text("utf-8").replace("KillMode", "KillModes"), "utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(broken)], capture_output=True, text=True, check=False, timeout=60)
    assert "KillModes" in done.stderr
