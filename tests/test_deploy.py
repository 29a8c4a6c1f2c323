"""The service files start the panel as documented: the options exist, runs survive it, and it restarts by itself."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from onetrainer_gradio.cli import GENERATE, PanelOptions, parse
from tests.waiting import read_until

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
    assert given["OOMPolicy"] == "continue"  # otherwise a worker killed for memory stops the panel
    assert given["WantedBy"] == "multi-user.target"
    assert given["RequiresMountsFor"] in given["ExecStart"]
    assert task("Settings/ExecutionTimeLimit") == "PT0S"  # otherwise Windows ends a task after three days
    assert task("Triggers/BootTrigger/Enabled") == "true"
    assert int(task("Settings/RestartOnFailure/Count")) > 100


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd isn't installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """The unit uses a program, a user and a folder of this machine; systemd reports every unknown or misplaced line."""
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


# containers, installers and start scripts


DOCKER = ROOT / "deploy" / "docker"
INSTALL = ROOT / "deploy" / "install.sh"
CLOUD = ROOT / "deploy" / "cloud" / "start.sh"
posix = pytest.mark.skipif(os.name != "posix", reason="a shell script")


def script(path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    shell = "bash" if path == CLOUD else "sh"
    return subprocess.run(
        [shell, str(path), *words], capture_output=True, text=True, check=False, timeout=60, env=kept | environment
    )


def test_the_image_runs_as_a_user_and_reports_its_health() -> None:
    text = (DOCKER / "Dockerfile").read_text("utf-8")
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER \$\{USER_ID\}$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last
    assert "VOLUME /data" in last
    assert "-c constraints.txt" in text
    assert "EXPOSE 7860" in last
    for name in re.findall(r"^COPY (?:--chmod=\d+ )?(?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in name.split():
            assert (ROOT / source).exists(), source


def test_the_build_context_has_what_the_image_copies_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and not line.startswith("#")]
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    text = (DOCKER / "Dockerfile").read_text("utf-8")
    copied = {
        source
        for found in re.findall(r"^COPY (?:--chmod=\d+ )?(?!--from)(.+) \S+$", text, re.MULTILINE)
        for source in found.split()
    }
    assert {name if name in allowed else str(Path(name).parent) for name in copied} == allowed


@pytest.mark.slow
def test_the_layer_of_dependencies_has_all_requirements_of_the_package() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCKER / "requirements.py"), "gpu,notifications"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    listed = done.stdout.splitlines()
    assert {"torch>=2.11,<3", "bitsandbytes>=0.49.1,<0.50", "apprise>=2.3,<3"} < set(listed)
    assert len(listed) == len(set(listed))


def test_the_compose_file_keeps_data_on_a_volume_and_reserves_the_gpu() -> None:
    panel = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))["services"]["panel"]
    assert "data:/data" in panel["volumes"]
    assert panel["ports"] == ["127.0.0.1:7860:7860"]
    assert panel["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert panel["environment"]["ONETRAINER_GRADIO_PASSWORD"].startswith("${ONETRAINER_GRADIO_PASSWORD:?")
    assert (DOCKER / panel["build"]["context"] / panel["build"]["dockerfile"]).is_file()


@pytest.mark.slow
@posix
def test_the_entry_point_starts_the_panel_or_another_command(tmp_path: Path) -> None:
    """The called programs are replaced by ones that print their arguments."""
    for name in ("python", "onetrainer-gradio"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    given = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ONETRAINER_GRADIO_DATA": str(tmp_path / "data")}
    entry = DOCKER / "entrypoint.sh"
    assert script(entry, **given).stdout == "python -m onetrainer_gradio.space\n"
    assert script(entry, "--demo", **given).stdout == "python -m onetrainer_gradio.space --demo\n"
    assert script(entry, "backup", "-", **given).stdout == "onetrainer-gradio backup -\n"
    assert script(entry, "echo", "hello", **given).stdout == "hello\n"
    assert (tmp_path / "data").is_dir()
    (tmp_path / "file").write_text("")
    failed = script(entry, **{**given, "ONETRAINER_GRADIO_DATA": str(tmp_path / "file" / "data")})
    assert failed.returncode == 1
    assert "Can't write to" in failed.stderr


@pytest.mark.exhaustive
@pytest.mark.slow
@posix
@pytest.mark.parametrize("words", [[], ["--ssl", "self"]], ids=["http", "https"])
def test_the_container_start_serves_the_panel_and_its_health_check_passes(tmp_path: Path, words: list[str]) -> None:
    """The entry point and the health check run as in the image, with its environment variables."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    programs = Path(sys.executable).parent
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ONETRAINER", "GRADIO", "SPACE"))},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "ONETRAINER_GRADIO_CONTAINER": "1",
        "ONETRAINER_GRADIO_DATA": str(tmp_path / "data"),
        "ONETRAINER_GRADIO_PASSWORD": "long enough",
        "GRADIO_SERVER_PORT": port,
    }
    check = [sys.executable, str(DOCKER / "healthcheck.py")]
    assert subprocess.run(check, env=environment, capture_output=True, timeout=30, check=False).returncode == 1
    program = subprocess.Popen(["sh", str(DOCKER / "entrypoint.sh"), *words], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        read_until(program, "Ctrl-C")
        give_up_at = time.monotonic() + 60
        while subprocess.run(check, env=environment, capture_output=True, timeout=30, check=False).returncode != 0:
            assert time.monotonic() < give_up_at
        assert (tmp_path / "data" / "data_version.json").is_file()
    finally:
        program.terminate()  # what docker stop sends; the shell is replaced by the panel, so the signal reaches it
        assert program.wait(timeout=30) == 0
        program.communicate()


@pytest.mark.slow
@posix
@pytest.mark.parametrize("program", ["uv", "pip"])
def test_the_installer_does_what_the_readme_documents_and_nothing_else(tmp_path: Path, program: str) -> None:
    (tmp_path / "uv").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "uv").chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    words = ["--dry-run", "--with", program, "--venv", str(tmp_path / "venv"), "--torch-index", "ADDRESS", "--extras", "gpu"]
    done = script(INSTALL, *words, PATH=path)
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if line.startswith("+")]
    assert len(commands) == 3
    assert "venv" in commands[0]
    assert "--index-url ADDRESS torch==" in commands[1]
    assert commands[2].endswith(f"-c {ROOT}/constraints.txt -e {ROOT}[gpu]")
    assert "Nothing was installed" in done.stdout
    assert not (tmp_path / "venv").exists()


@pytest.mark.slow
@posix
def test_the_installer_reports_wrong_options() -> None:
    for words, message in ((["--nothing"], "unknown option"), (["--venv"], "needs a value"), (["--with", "conda"], "uv or pip")):
        done = script(INSTALL, *words)
        assert done.returncode == 1
        assert message in done.stderr


@pytest.mark.slow
@posix
def test_a_rented_machine_keeps_its_data_on_the_volume_and_is_never_open(tmp_path: Path) -> None:
    given = {
        "VOLUME": str(tmp_path),
        "DRY_RUN": "1",
        "PORT": "9000",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    last = script(CLOUD, **given).stdout.splitlines()[-1].split()
    options = parse(last[2:], {"ONETRAINER_GRADIO_DATA": str(tmp_path / "x")})
    assert isinstance(options, PanelOptions)
    assert (options.host, options.port, options.open_browser) == ("0.0.0.0", 9000, False)
    assert options.token == GENERATE
    last = script(CLOUD, **given, ONETRAINER_GRADIO_PASSWORD="long enough", RUNPOD_POD_ID="abc").stdout.splitlines()[-1].split()
    options = parse(last[2:], {})
    assert isinstance(options, PanelOptions)
    assert options.token == ""
    assert options.public_hosts == ("abc-9000.proxy.runpod.net",)
    missing = script(CLOUD, **{**given, "VOLUME": str(tmp_path / "none")})
    assert missing.returncode == 1
    assert "doesn't exist" in missing.stderr


@pytest.mark.slow
@posix
@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck isn't installed")
def test_the_shell_scripts_are_clean() -> None:
    found = [str(path) for path in (ROOT / "deploy").rglob("*.sh")]
    done = subprocess.run(["shellcheck", *found], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint isn't installed")
def test_the_dockerfile_is_clean() -> None:
    done = subprocess.run(["hadolint", str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_windows_installer_runs_the_commands_of_the_readme() -> None:
    """This checks the text; the test below parses it with PowerShell if it is installed."""
    text = (ROOT / "deploy" / "windows" / "install.ps1").read_text("utf-8")
    assert "@('-m', 'pip', 'install', '-c', $constraints, '-e', $package)" in text
    assert "@('-m', 'venv', $Venv)" in text
    assert text.count("{") == text.count("}")
    assert text.isascii()  # Windows PowerShell reads a file without a byte order mark in the system's old code page


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pwsh") is None, reason="PowerShell isn't installed")
def test_powershell_parses_the_windows_installer() -> None:
    path = ROOT / "deploy" / "windows" / "install.ps1"
    command = (
        f"$errors = $null; [void][Management.Automation.Language.Parser]::ParseFile('{path}', [ref]$null, [ref]$errors); "
        "$errors | ForEach-Object { $_.Message }; exit $errors.Count"
    )
    done = subprocess.run(["pwsh", "-NoProfile", "-Command", command], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
