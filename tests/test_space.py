"""The Space starts the panel from its environment, its files are complete, and one command uploads them."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from onetrainer_gradio import deploy, space
from onetrainer_gradio.cli import GENERATE, PanelOptions, parse
from onetrainer_gradio.deploy import SpaceOptions, deploy_space, requirements, space_files
from onetrainer_gradio.errors import CommandLineError, HubAccessError, HubExistsError, HubUnreachableError
from onetrainer_gradio.server import panel_settings
from onetrainer_gradio.service.host.access import check_bind
from onetrainer_gradio.service.host.storage import in_container, is_temporary
from onetrainer_gradio.ui.storage_notice import storage_notice
from tests.fakes.hub import FakeHub
from tests.waiting import read_until

ROOT = Path(__file__).resolve().parents[1]
SPACE = ROOT / "deploy" / "space"
HOSTED = {"SPACE_ID": "ada/panel", "SPACE_HOST": "ada-panel.hf.space"}


def options(environment: dict[str, str], persistent: Path) -> PanelOptions:
    found = dict(environment) | space.environment_of(environment, persistent)
    parsed = parse(space.arguments_of(found, persistent), found)
    assert isinstance(parsed, PanelOptions)
    return parsed


# start


def test_a_space_listens_for_its_proxy_and_allows_its_public_name(tmp_path: Path) -> None:
    given = options({**HOSTED, "ONETRAINER_GRADIO_PASSWORD": "long enough"}, tmp_path / "none")
    assert (given.host, given.port, given.public_hosts) == ("0.0.0.0", 7860, ("ada-panel.hf.space",))
    assert given.hosted
    assert given.demo
    assert not given.open_browser
    settings = panel_settings(given)
    check_bind(settings.access, host=given.host, share=given.share)
    assert settings.closed_checkouts


def test_persistent_storage_is_used_when_it_is_there(tmp_path: Path) -> None:
    given = options({**HOSTED, "ONETRAINER_GRADIO_PASSWORD": "long enough"}, tmp_path)
    assert given.data == tmp_path / "onetrainer_gradio"
    assert given.allow == (tmp_path,)
    assert space.environment_of({}, tmp_path)["HF_HOME"] == str(tmp_path / "huggingface")
    assert space.environment_of({"HF_HOME": "/mine", "ONETRAINER_GRADIO_DATA": "/mine"}, tmp_path) == {}
    assert space.environment_of({}, tmp_path / "none") == {}


def test_without_a_password_a_token_is_generated_and_the_panel_is_never_open(tmp_path: Path) -> None:
    given = options(HOSTED, tmp_path)
    assert given.token == GENERATE
    check_bind(panel_settings(given).access, host=given.host, share=False)
    for secret in ("ONETRAINER_GRADIO_PASSWORD", "ONETRAINER_GRADIO_TOKEN"):
        assert "--token" not in space.arguments_of({**HOSTED, secret: "long enough"}, tmp_path)


def test_a_container_uses_the_same_start_without_the_settings_of_a_space(tmp_path: Path) -> None:
    given = options({"ONETRAINER_GRADIO_PASSWORD": "long enough", "GRADIO_SERVER_PORT": "9000"}, tmp_path)
    assert (given.port, given.hosted, given.demo, given.allow) == (9000, False, False, ())


# storage


def test_the_storage_is_temporary_only_in_a_container_and_on_its_own_disk(tmp_path: Path) -> None:
    assert in_container(HOSTED)
    assert in_container({"ONETRAINER_GRADIO_CONTAINER": "1"})
    assert is_temporary(tmp_path / "not" / "yet" / "there", HOSTED, root=tmp_path)
    other = next((Path(place) for place in ("/dev/shm", "/proc") if os.path.isdir(place)), None)
    if other is not None:  # a disk other than the root's
        assert not is_temporary(other, HOSTED, root=tmp_path)


def test_the_notice_reports_what_is_lost_and_what_to_do() -> None:
    assert 'href="https://huggingface.co/spaces/ada/panel/settings"' in storage_notice("ada/panel")
    assert "Mount a volume" in storage_notice("")
    assert "restored from ada/data" in storage_notice("ada/panel", "ada/data")
    assert "<script>" not in storage_notice('"><script>')


# files


def test_the_card_matches_what_the_project_uses() -> None:
    text = (SPACE / "README.md").read_text("utf-8")
    front = yaml.safe_load(text.split("---")[1])
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if "==" in line)
    assert front["sdk_version"] == pins["gradio"]
    assert front["app_file"] == "app.py"
    assert front["license"] == "apache-2.0"
    assert front["hf_oauth"] is True
    assert len(front["short_description"]) <= 60  # the Hub rejects longer ones
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert set(deploy.SECRETS) < named


def test_the_requirements_are_those_of_the_package_in_the_tested_versions() -> None:
    """`python docs/generate.py` writes them."""
    assert (SPACE / "requirements.txt").read_text("utf-8") == requirements()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in requirements().splitlines()[1:])


@pytest.mark.slow
def test_the_space_has_everything_that_the_package_needs() -> None:
    files = space_files()
    for needed in (
        "README.md",
        "app.py",
        "requirements.txt",
        "LICENSE",
        "onetrainer_gradio/server.py",
        "onetrainer_gradio/vocabulary.json",
        "onetrainer_gradio/ui/assets/main.js",
        "onetrainer_gradio/demo/model/model_index.json",
    ):
        assert needed in files
    assert any(name.startswith("configs/") for name in files)
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc") or name.startswith("tests/")]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_files_of_the_space_alone_start_the_panel_with_the_demo_and_the_warning(tmp_path: Path) -> None:
    """As on a Space, `python app.py` runs in a folder with nothing else, under the Space's variables."""
    for name, content in space_files().items():
        target = tmp_path / "app" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content) if isinstance(content, bytes) else shutil.copyfile(content, target)
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONETRAINER", "GRADIO", "HF_", "PYTHON"))}
    environment = {**kept, **HOSTED, "HOME": str(home), "ONETRAINER_GRADIO_PASSWORD": "long enough"}
    environment["GRADIO_SERVER_PORT"] = "0"
    program = subprocess.Popen(
        [sys.executable, "-c", ONLY_HERE], cwd=tmp_path / "app", env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        output = read_until(program, "Ctrl-C")
        assert "https://ada-panel.hf.space/" in output
        port = port_of(program.pid)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Host": HOSTED["SPACE_HOST"]}) as client:
            assert client.get("/api/training/status").status_code == 401
            secret = {"Authorization": "Bearer long enough"}
            assert client.get("/api/training/status", headers=secret).json()["is_training"] is False
            assert "demo" in client.get("/api/config/current", headers=secret).json()["name"].lower()
            page = client.get("/", headers={**secret, "Accept": "text/html"}, timeout=60).text
            assert "The storage of this Space is temporary" in page
        assert (home / "onetrainer_gradio" / "data_version.json").is_file()
    finally:
        program.terminate()
        program.communicate(timeout=30)


ONLY_HERE = """
import runpy, sys
sys.path = [path for path in sys.path if not path or "site-packages" in path or "/lib/" in path]
sys.path.insert(0, "")
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.argv = ["app.py"]
runpy.run_path("app.py", run_name="__main__")
"""


def port_of(pid: int) -> int:
    import psutil

    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        listening = [each.laddr.port for each in psutil.Process(pid).net_connections("tcp") if each.status == "LISTEN"]
        if listening:
            return int(listening[0])
        time.sleep(0.05)
    raise AssertionError("it doesn't listen")


# deployment


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub() as stand_in:
        stand_in.account("hf_writer", "ada")
        stand_in.account("hf_reader", "ada", writes=False)
        monkeypatch.setenv("HF_ENDPOINT", stand_in.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        # the stand-in has no Xet storage, so the library uploads by HTTP
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield stand_in


@pytest.mark.slow
def test_a_dry_run_lists_the_files_and_contacts_nobody(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["space", "panel", "--dry-run"]) == 0
    listed = capsys.readouterr().out
    assert "onetrainer_gradio/server.py" in listed
    assert "Nothing was uploaded" in listed
    assert hub.requests == []


@pytest.mark.slow
def test_a_space_is_created_private_and_updated_in_place(hub: FakeHub) -> None:
    """Files that the package no longer has are deleted; files that the owner added stay."""
    environment = {"HF_TOKEN": "hf_writer", "ONETRAINER_GRADIO_PASSWORD": "long enough"}
    wanted = SpaceOptions(
        "panel", secrets=("ONETRAINER_GRADIO_PASSWORD",), variables=(("A", "b"),), hardware="t4-small", bucket="ada/data"
    )
    out = io.StringIO()
    assert deploy_space(wanted, environment, out) == f"{hub.url}/spaces/ada/panel"
    made = hub.repositories["ada/panel"]
    assert made.private
    assert (made.kind, made.asked["sdk"], made.asked["hardware"]) == ("space", "gradio", "t4-small")
    assert made.asked["volumes"] == [{"type": "bucket", "source": "ada/data", "mountPath": "/data"}]
    assert set(space_files()) < set(made.files)
    assert made.secrets == {"ONETRAINER_GRADIO_PASSWORD": "long enough"}
    assert made.variables == {"A": "b"}
    assert "long enough" not in out.getvalue()
    made.files |= {"onetrainer_gradio/old.py": b"", "notes.md": b"mine"}
    deploy_space(SpaceOptions("panel"), environment, out)
    assert "onetrainer_gradio/old.py" not in made.files
    assert made.files["notes.md"] == b"mine"
    assert made.private
    assert hub.hits("/api/repos/create") == 2


@pytest.mark.slow
def test_a_space_with_something_else_is_not_changed(hub: FakeHub) -> None:
    """A mistyped name doesn't overwrite another Space of the owner."""
    files = {".gitattributes": "", "README.md": "mine", "app.py": "mine", "configs/mine.json": "{}"}
    theirs = hub.add("ada/other", files, kind="space")
    before = dict(theirs.files)
    with pytest.raises(HubExistsError, match="doesn't contain the panel"):
        deploy_space(SpaceOptions("other", variables=(("A", "b"),)), {"HF_TOKEN": "hf_writer"}, io.StringIO())
    assert theirs.files == before
    assert theirs.variables == {}


@pytest.mark.slow
def test_a_missing_permission_and_an_unreachable_hub_are_reported(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HubAccessError):
        deploy_space(SpaceOptions("panel"), {"HF_TOKEN": "hf_reader"}, io.StringIO())
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubUnreachableError):
        deploy_space(SpaceOptions("panel"), {"HF_TOKEN": "hf_writer"}, io.StringIO())


@pytest.mark.parametrize(
    "words",
    [
        ["space"],
        ["space", "a b"],
        ["space", "../x"],
        ["space", "x", "--variable", "nothing"],
        ["space", "x", "--variable", "HF_TOKEN=hf_x"],
        ["space", "x", "--secret", "NOT_SET_ANYWHERE"],
        ["box", "x"],
    ],
)
def test_a_wrong_command_line_ends_with_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(words) == 2
    assert "error" in capsys.readouterr().err


def test_outside_a_checkout_the_command_reports_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(CommandLineError, match="isn't a checkout"):
        space_files(tmp_path)
