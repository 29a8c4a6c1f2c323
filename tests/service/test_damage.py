"""No damaged file in the data folder keeps the panel from starting, and everything readable stays readable."""

from __future__ import annotations

import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.errors import DataVersionError
from onetrainer_gradio.service.host.access import Access, AccessSettings
from onetrainer_gradio.service.host.data_folder_lock import DataFolderLock
from onetrainer_gradio.service.host.data_version import VERSION_FILE
from onetrainer_gradio.service.runs.index import RunQuery
from onetrainer_gradio.service.runs.record import INDEX_FILE
from onetrainer_gradio.service.service_settings import ServiceSettings
from onetrainer_gradio.service.trainer import TrainerService
from tests.core import exhaustive_unless
from tests.fakes.configs import small_config
from tests.service.conftest import PATIENCE_S, REHEARSAL, NoGpu, ended

pytestmark = pytest.mark.slow


def nested(path: Path) -> None:
    path.write_text('{"a":' * 100_000 + "1" + "}" * 100_000)


def half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "inside").write_text("x")


def link_to_itself(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path)


def link_to_nothing(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.with_name("nothing"))


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(8 << 30)


def wrong_types(path: Path) -> None:
    """Turn every value of a JSON object into a list of an object, and other files into one."""
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        document = None
    values = document if isinstance(document, dict) else {"x": 1}
    path.write_text(json.dumps({key: [{"a": 1}] for key in values}))


def content(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: path.unlink(missing_ok=True),
    "empty": content(b""),
    "half": half,
    "zeros": content(b"\0" * 4096),
    "not UTF-8": content(b'{"id": "\xff\xfe"}\n'),
    "half a character": content(b'{"name": "\\ud800", "id": "\\ud800"}\n'),
    "a list": content(b"[]\n"),
    "a number": content(b"1e999\n"),
    "null": content(b"null\n"),
    "an object": content(b"{}\n"),
    "wrong types": wrong_types,
    "deeply nested": nested,
    "a folder": folder,
    "a link to itself": link_to_itself,
    "a link to nothing": link_to_nothing,
    "a pipe": pipe,
    "huge": huge,
}


def service_of(data: Path) -> TrainerService:
    return TrainerService(ServiceSettings(data_folder=data, backend=REHEARSAL, in_process=True), gpus=NoGpu)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two finished runs."""
    place = tmp_path_factory.mktemp("sound")
    with service_of(place / "data") as service:
        service.configs.replace(small_config(place), "mine")
        service.configs.save("mine")
        service.secrets.set_huggingface_token("hf_secret")
        service.engines.choose("builtin")
        for _ in range(2):
            service.start(small_config(place), RunOptions(name="named", backend=REHEARSAL, tags=("steps=6", "sample_every=3")))
            service.wait_for(ended, PATIENCE_S)
            time.sleep(0.02)
        service.samples.thumbnail(service.samples.latest()[0]["id"])
        for summary in service.runs.list():
            assert summary["name"] == "named"
        assert len(service.runs.page()["runs"]) == 2
        newest = service.runs.folder / service.runs.ids()[0]
    for name in ("supervisor.json", "child_process.json", "exit.json", "parked.json", "next.json"):
        (newest / name).write_text("{}")
    (newest / "stops.jsonl").write_text("")
    (newest / "commands" / "0000000000000000001-abc.json").write_text("{}")
    (newest / "commands" / "taken" / "0000000000000000002-abc.json").write_text("{}")
    extra = {
        "config/engine.json": {"choice": "builtin"},
        "checkouts.json": {"checkouts": [{"folder": str(place / "OneTrainer"), "python": ""}], "forgotten": ["/nowhere"]},
        "config/libraries.json": {"libraries": [{"title": "mine", "folder": str(place)}]},
        "config/previous.json": {},
        "sessions.json": {"key": 1e12},
        "panel.json": {"pid": 1, "created": "1", "boot": "x", "address": "http://127.0.0.1:1/"},
        ".lock": {},
        "cache/thumbnails/other.webp": {},
        f"cache/{INDEX_FILE}-journal": {},
    }
    for name, document in extra.items():
        (place / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "data" / name).write_text(json.dumps(document))
    return place


def files_of(data: Path) -> Iterator[Path]:
    """Return the files of the data folder, those of the newest run first and of other runs none."""
    newest = max((data / "runs").iterdir())
    yield from (path.relative_to(data) for path in sorted(newest.rglob("*")) if path.is_file())
    yield from (
        path.relative_to(data)
        for path in sorted(data.rglob("*"))
        if path.is_file() and "runs" not in path.parts[len(data.parts) :]
    )


PARTS = 4


def damaged(files: Sequence[Path], damage: str, part: int) -> list[Path]:
    """Return the files that a part of the tests damages this way."""
    shift = list(DAMAGES).index(damage)
    return [file for number, file in enumerate(files) if (number + shift) % PARTS == part]


def test_the_first_part_has_every_file_and_every_damage(sound: Path) -> None:
    """`.ci/run` tests each file with every fourth damage, and each damage with every fourth file."""
    files = list(files_of(sound / "data"))
    tested = {damage: damaged(files, damage, 0) for damage in DAMAGES}
    assert all(len(some) >= len(files) // PARTS > 0 for some in tested.values())
    assert {file: sum(file in some for some in tested.values()) >= 4 for file in files} == dict.fromkeys(files, True)
    assert [sorted(file for part in range(PARTS) for file in damaged(files, damage, part)) for damage in DAMAGES] == [
        sorted(files)
    ] * len(DAMAGES)


@pytest.mark.parametrize("part", [pytest.param(part, marks=exhaustive_unless(part == 0)) for part in range(PARTS)])
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_panel_starts_whatever_became_of_a_file(sound: Path, tmp_path: Path, damage: str, part: int) -> None:
    """For every file and this damage, the service opens, lists both runs, names the damaged one, and deletes it."""
    wrong = []
    for number, file in enumerate(damaged(list(files_of(sound / "data")), damage, part)):
        data = tmp_path / str(number)
        shutil.copytree(sound / "data", data)
        DAMAGES[damage](data / file)
        try:
            if file.name == VERSION_FILE:
                use_without_version(data, file)
            else:
                use(data, file)
        except Exception as error:  # noqa: BLE001
            place = traceback.extract_tb(error.__traceback__)[-1]
            wrong.append(f"{file}: {type(error).__name__}: {str(error)[:200]} ({place.filename}:{place.lineno})")
        shutil.rmtree(data)
    assert wrong == []


def use_without_version(data: Path, file: Path) -> None:
    """An unreadable version is the only exception: the panel reports what to do, changes nothing, and starts after that."""
    before = {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
    refused: DataVersionError | None = None
    try:
        use(data, file)
    except DataVersionError as error:
        refused = error
    if refused is not None:
        assert "damaged" in str(refused)
        assert "Delete it only if" in refused.suggestion
        assert {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()} == before
        (data / file).unlink()
        use(data, file)


def use(data: Path, file: Path) -> None:
    """Open the panel, view everything, and delete the newest run, as a person does first."""
    Access(AccessSettings(password="secret-password", sessions_file=data / "sessions.json"))
    with DataFolderLock(data, "a test"), service_of(data) as service:
        newest, older = service.runs.ids()
        assert [line["id"] for line in service.runs.list()] == [newest, older]
        first, second = service.runs.list()
        assert second["end_reason"] == "completed"
        page = service.runs.page(10, None, RunQuery(search=older))
        assert ([row["id"] for row in page["runs"]], page["total"]) == ([older], 2)
        json.dumps(service.feed.snapshot(), default=str)
        state = service.get_state()
        assert not state["is_training"]
        assert state["can"]["start"]
        run = service.runs.get(newest)
        json.dumps([run.state(), run.config(), run.files(), run.log(), run.metrics_series()])
        size, pieces = run.log_bytes()
        assert len(next(iter(pieces), b"")) <= size
        service.configs.patch({"epochs": 3})
        service.samples.list()
        service.configs.list()
        service.preflight(service.configs.train_config())
        if file.name == "run.json":
            assert first["damaged"]
            assert run.config()["concepts"]
            assert run.metrics.count() == 6
            assert run.files()
        service.delete_run(newest)
        assert [line["id"] for line in service.runs.page()["runs"]] == [older]
        assert [line["id"] for line in service.runs.list()] == [older]
