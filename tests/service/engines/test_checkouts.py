"""The panel registers checkouts, reports what each lacks, and scans their settings once per revision."""

from __future__ import annotations

import json
import queue
import shutil
import threading
from pathlib import Path

import pytest

from onetrainer_gradio.backends.onetrainer.checkout import Checkout
from onetrainer_gradio.backends.onetrainer.facts import CheckoutFacts, read_facts
from onetrainer_gradio.config.files.newer import NewerSetting
from onetrainer_gradio.errors import (
    CheckoutError,
    CheckoutNotFoundError,
    ConfigFileError,
    ConfigNotFoundError,
    ForbiddenPathError,
    StorageError,
)
from onetrainer_gradio.service.engines.checkouts import Checkouts, Sources, version_note
from tests.backends.onetrainer.standin import environment, set_up

PATIENCE_S = 30.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def newer_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of a later revision, which these tests only read."""
    return set_up(tmp_path_factory.mktemp("later") / "OneTrainer", newer=True)


def read(checkouts: Checkouts) -> Checkouts:
    checkouts.read_all()
    assert checkouts.wait(PATIENCE_S)
    return checkouts


@pytest.mark.slow
def test_a_checkout_that_is_added_is_remembered(data: Path, newer_one: Path) -> None:
    """The list outlives the panel; the id in URLs stays the same."""
    checkouts = Checkouts(data)
    known = checkouts.add(newer_one)
    again = Checkouts(data)
    assert again.all() == (known,)
    assert again.get(known.id) == again.get(newer_one) == again.get(str(newer_one) + "/") == known
    assert known.id.startswith("onetrainer-")
    assert checkouts.wait(PATIENCE_S)


@pytest.mark.slow
def test_what_is_removed_is_not_found_again(data: Path, newer_one: Path) -> None:
    """The search doesn't add a removed checkout again; adding it manually does."""
    sources = Sources(search=lambda: [newer_one, data / "nothing"])
    checkouts = Checkouts(data, sources)
    (known,) = checkouts.all()
    assert known.origin == "found"
    checkouts.remove(known.id)
    assert checkouts.all() == Checkouts(data, sources).all() == ()
    with pytest.raises(CheckoutNotFoundError, match="Add it on the System tab"):
        checkouts.get(known.id)
    checkouts.add(newer_one)
    assert [known.origin for known in Checkouts(data, sources).all()] == ["added"]
    assert checkouts.wait(PATIENCE_S)


def test_those_of_the_command_line_come_first(data: Path, newer_one: Path, tmp_path: Path) -> None:
    """They are registered for this start, even if they have problems, and each folder once."""
    other = tmp_path / "other"
    sources = Sources([other, newer_one], lambda: [newer_one])
    assert [(known.folder, known.origin) for known in Checkouts(data, sources).all()] == [
        (other, "command line"),
        (newer_one, "command line"),
    ]


def test_a_usual_place_that_cannot_be_looked_at_is_ignored(data: Path, newer_one: Path, tmp_path: Path) -> None:
    """Another user's folder, or a path that no disk can hold, doesn't keep the panel from starting."""
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0)
    places = [tmp_path / ("a" * 5000), locked / "OneTrainer", newer_one]
    checkouts = Checkouts(data, Sources(search=lambda: places))
    locked.chmod(0o755)
    assert [known.folder for known in checkouts.all()] == [newer_one]
    assert checkouts.try_out(places[0]).problems[0].code == "checkout_missing"


@pytest.mark.parametrize(("content", "words"), [(None, "doesn't exist"), ("README.md", "doesn't contain OneTrainer")])
def test_a_folder_without_onetrainer_is_rejected(data: Path, tmp_path: Path, content: str | None, words: str) -> None:
    """The message names what is missing and what to choose instead; nothing is saved."""
    folder = tmp_path / "somewhere"
    if content:
        folder.mkdir()
        (folder / content).touch()
    checkouts = Checkouts(data)
    with pytest.raises(CheckoutError, match=words) as caught:
        checkouts.add(folder)
    assert caught.value.suggestion
    with pytest.raises(CheckoutError, match="No folder is set"):
        checkouts.add("  ")
    assert checkouts.all() == ()


@pytest.mark.slow
def test_a_checkout_without_an_environment_is_kept_and_reports_it(data: Path, tmp_path: Path) -> None:
    """The problem is listed with it; once an interpreter is set or the environment exists, it can be used."""
    folder = set_up(tmp_path / "OneTrainer", python=False)
    checkouts = Checkouts(data)
    described = checkouts.describe(checkouts.add(folder))
    assert described["usable"] is False
    assert described["problems"][0]["code"] == "checkout_no_python"
    assert "installer" in described["problems"][0]["suggestion"]
    assert described["settings"]["state"] == "unread"
    python = environment(tmp_path / "elsewhere")
    described = checkouts.describe(checkouts.add(folder, python))
    assert (described["usable"], described["python"], described["named_python"]) == (True, str(python), str(python))
    assert Checkouts(data).all()[0].python == python
    (given,) = Checkouts(data, Sources([folder])).all()
    assert (given.origin, given.python) == ("command line", python)
    assert checkouts.wait(PATIENCE_S)


def test_a_panel_for_others_takes_checkouts_from_its_start_only(data: Path, newer_one: Path) -> None:
    """Adding a checkout runs its programs, so with --allow only the person at the machine may do it."""
    checkouts = Checkouts(data, Sources([newer_one]), closed=True)
    with pytest.raises(ForbiddenPathError, match="can't be added"):
        checkouts.add(newer_one)
    with pytest.raises(ForbiddenPathError):
        checkouts.try_out("/etc")
    with pytest.raises(ForbiddenPathError, match="can't be removed"):
        checkouts.remove(checkouts.all()[0].id)
    assert [known.folder for known in checkouts.all()] == [newer_one]


@pytest.mark.slow
def test_its_settings_are_read_in_the_background_and_reported(data: Path, newer_one: Path) -> None:
    """The checkout's own Python reports newer and missing settings, other defaults and model types."""
    messages: list[str] = []
    checkouts = Checkouts(data, Sources([newer_one]), changed=lambda: messages.append("changed"))
    (known,) = checkouts.all()
    assert checkouts.describe(known)["settings"]["state"] == "unread"
    assert checkouts.newer(known).settings == {}
    read(checkouts)
    settings = checkouts.describe(known)["settings"]
    assert settings["state"] == "ready"
    new_settings = {item["path"]: (item["type"], item["default"]) for item in settings["newer"]}
    assert new_settings["sharpness"] == ("float", 0.5)
    assert new_settings["rules"] == ("list[RuleConfig]", [])
    assert "rules[].word" not in new_settings, "it belongs to the list"
    assert settings["lacking"] == ["force_circular_padding"]
    assert {"path": "batch_size", "here": 1, "there": 3} in settings["defaults"]
    assert settings["newer_model_types"] == ["NEW_MODEL_9"]
    newer = checkouts.newer(known)
    assert newer.settings.keys() == new_settings.keys()
    assert newer.settings["sharpness"] == NewerSetting("sharpness", "number", 0.5)
    words = newer.settings["trigger_words"]
    assert words == NewerSetting("trigger_words", "array", ["a photo"], items=NewerSetting("trigger_words[]", "string"))
    assert newer.settings["units_shown"].items.choices[0] == "EPOCH"
    assert list(newer.settings["rules"].items.inside) == ["word", "strength", "steps"]
    assert newer.lacking == {"force_circular_padding"}
    assert newer.names == {"model_type": ("NEW_MODEL_9",)}
    assert newer.methods["NEW_MODEL_9"]
    assert "STABLE_DIFFUSION_15" not in newer.methods
    assert len(messages) >= 2
    json.dumps(checkouts.describe(known))


@pytest.mark.slow
def test_a_checkout_that_cannot_be_imported_reports_why(data: Path, tmp_path: Path) -> None:
    """The scan fails with the cause; the checkout isn't offered until it is scanned again."""
    folder = set_up(tmp_path / "OneTrainer")
    (folder / "modules/util/config/TrainConfig.py").write_text("import a_library_that_is_not_there\nconfig_version=11\n")
    checkouts = read(Checkouts(data, Sources([folder])))
    (known,) = checkouts.all()
    settings = checkouts.describe(known)["settings"]
    assert settings["state"] == "failed"
    assert "a_library_that_is_not_there" in settings["error"]
    assert checkouts.usable() == ()
    set_up(tmp_path / "again")
    (folder / "modules/util/config/TrainConfig.py").write_bytes(
        (tmp_path / "again/modules/util/config/TrainConfig.py").read_bytes()
    )
    checkouts.check(known.id)
    assert checkouts.wait(PATIENCE_S)
    assert checkouts.describe(known)["settings"]["state"] == "ready"
    assert checkouts.usable() == (known,)


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[type[BaseException]]:
    """Return the errors that ended threads, which are reported nowhere else."""
    deaths_seen: queue.Queue[type[BaseException]] = queue.Queue()
    monkeypatch.setattr(threading, "excepthook", lambda death: deaths_seen.put(death.exc_type))
    return deaths_seen


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_reading_that_goes_wrong_keeps_no_other_from_being_read(
    data: Path, tmp_path: Path, deaths: queue.Queue[type[BaseException]]
) -> None:
    """An unexpected error is reported for that checkout only; the others are scanned, and it can be scanned again."""
    first, second = set_up(tmp_path / "one" / "OneTrainer"), set_up(tmp_path / "two" / "OneTrainer")
    bad = True

    def read_one(looked: Checkout, cache: Path) -> CheckoutFacts:
        if bad and looked.folder == first:
            raise LookupError("something new")
        return read_facts(looked, cache)

    checkouts = read(Checkouts(data, Sources([first, second]), read=read_one))
    assert deaths.get(timeout=PATIENCE_S) is LookupError
    assert [checkouts.reading(known).state for known in checkouts.all()] == ["failed", "ready"]
    assert checkouts.describe(checkouts.all()[0])["settings"]["error"]
    bad = False
    checkouts.check(str(first))
    assert checkouts.wait(PATIENCE_S)
    assert [checkouts.reading(known).state for known in checkouts.all()] == ["ready", "ready"]


@pytest.mark.slow
def test_a_page_that_cannot_be_notified_keeps_none_from_being_read(
    data: Path, tmp_path: Path, deaths: queue.Queue[type[BaseException]]
) -> None:
    """An error while reporting a scan (a full disk) doesn't end the scans."""
    first, second = set_up(tmp_path / "one" / "OneTrainer"), set_up(tmp_path / "two" / "OneTrainer")
    main = threading.get_ident()

    def changed() -> None:
        if threading.get_ident() != main:
            raise StorageError("the disk is full")

    checkouts = read(Checkouts(data, Sources([first, second]), changed=changed))
    assert [deaths.get(timeout=PATIENCE_S) for _ in range(2)] == [StorageError, StorageError]
    assert [checkouts.reading(known).state for known in checkouts.all()] == ["ready", "ready"]


@pytest.mark.slow
def test_a_damaged_cache_is_reported(data: Path, newer_one: Path) -> None:
    """A result in an unknown format is an error of that checkout."""
    read(Checkouts(data, Sources([newer_one])))
    (cached,) = (data / "cache" / "onetrainer").glob("*.json")
    cached.write_text('{"enums": [1]}')
    checkouts = read(Checkouts(data, Sources([newer_one])))
    assert "unknown form" in checkouts.describe(checkouts.all()[0])["settings"]["error"]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_an_update_of_the_checkout_is_noticed(data: Path, tmp_path: Path) -> None:
    """When its revision changes, the next look scans its settings again."""
    folder = set_up(tmp_path / "OneTrainer")
    git = folder / ".git"
    git.mkdir()
    (git / "HEAD").write_text("1" * 40)
    checkouts = read(Checkouts(data, Sources([folder])))
    (known,) = checkouts.all()
    assert checkouts.title(known) == "OneTrainer 1111111"
    assert checkouts.newer(known).settings == {}
    (git / "HEAD").write_text("2" * 40)
    set_up(tmp_path / "later", newer=True)
    shutil.copytree(tmp_path / "later" / "modules", folder / "modules", dirs_exist_ok=True)
    checkouts.look(known, not_older_s=0)
    assert checkouts.wait(PATIENCE_S)
    assert "sharpness" in checkouts.newer(known).settings
    assert checkouts.newer(known).source == "OneTrainer 2222222"


@pytest.mark.slow
def test_lists_of_concepts_and_samples_can_be_read(data: Path, tmp_path: Path) -> None:
    """Relative paths start at the checkout, as in OneTrainer."""
    folder = set_up(tmp_path / "OneTrainer")
    (folder / "images").mkdir()
    mine = [{"name": "a", "path": "images"}, {"name": "b", "path": "/elsewhere"}, {"name": "c", "path": "not/there"}]
    (folder / "training_concepts" / "mine.json").write_text(json.dumps(mine))
    (folder / "training_concepts" / "broken.json").write_text("{")
    checkouts = Checkouts(data, Sources([folder]))
    (known,) = checkouts.all()
    assert checkouts.describe(known)["lists"]["concepts"] == ["broken", "concepts", "mine"]
    paths = [item["path"] for item in checkouts.read_list(known.id, "concepts", "mine")]
    assert paths == [str(folder / "images"), "/elsewhere", "not/there"]
    assert isinstance(checkouts.read_list(known.id, "samples", "samples"), list)
    with pytest.raises(ConfigFileError):
        checkouts.read_list(known.id, "concepts", "broken")
    for kind, name in (("concepts", "../../secrets"), ("presets", "x")):
        with pytest.raises(ConfigNotFoundError):
            checkouts.read_list(known.id, kind, name)


@pytest.mark.slow
def test_a_run_can_note_which_checkout_it_used(data: Path, newer_one: Path) -> None:
    """The record has folder, interpreter, revision, version and libraries."""
    checkouts = read(Checkouts(data, Sources([newer_one])))
    record = checkouts.record(checkouts.all()[0])
    assert record["folder"] == str(newer_one)
    assert record["python"] == str(newer_one / "venv/bin/python")
    assert record["config_version"] == 12
    assert record["versions"]["python"]


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (12, ("version 12, this panel's version 11", "translates", "“Newer settings”", "dropped")),
        (10, ("version 10, this panel's version 11", "by their names", "doesn't have yet", "warning of the run")),
        (11, ()),
        (None, ()),
    ],
)
def test_another_version_of_the_settings_is_explained(version: int | None, words: tuple[str, ...]) -> None:
    """The text explains what happens to the settings; it is empty if the version is the same or unknown."""
    note = version_note(version)
    assert bool(note) == bool(words)
    for each in words:
        assert each in note


def test_an_unreadable_list_does_not_keep_the_panel_from_starting(data: Path) -> None:
    """The panel starts with a damaged file."""
    (data / "checkouts.json").write_text('{"checkouts": [3, {"folder": 5}, {}], "forgotten": [null]}')
    assert Checkouts(data).all() == ()


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove checkouts from the test runner's environment."""
    for name in ("ONETRAINER_PATH", "ONETRAINER_PYTHON", "OT_PYTHON_VENV", "OT_CONDA_ENV"):
        monkeypatch.delenv(name, raising=False)
