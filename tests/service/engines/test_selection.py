"""Which engine trains a run: what each supports, the user's choice, and the run's own options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.errors import CheckoutNotFoundError, ConfigInvalidError, ConfigValueError
from onetrainer_gradio.events import WarningIssued
from onetrainer_gradio.service.engines.checkouts import Checkouts, Sources
from onetrainer_gradio.service.engines.selection import AUTO, BUILTIN, Engines
from tests.backends.onetrainer.standin import set_up
from tests.fakes.configs import small_config
from tests.service.conftest import MakeService, ended

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> Checkouts:
    """Two scanned revisions."""
    folder = tmp_path_factory.mktemp("engines")
    ready = set_up(folder / "OneTrainer", newer=True)
    bare = set_up(folder / "bare", python=False)
    (folder / "data").mkdir()
    found = Checkouts(folder / "data", Sources([bare, ready]))
    found.read_all()
    assert found.wait(PATIENCE_S)
    return found


@pytest.fixture
def engines(checkouts: Checkouts, tmp_path: Path) -> Engines:
    return Engines(tmp_path / "engine.json", checkouts)


def configured(**settings: object) -> TrainConfig:
    config, _ = from_document(
        {"training_method": "LORA", "model_type": "STABLE_DIFFUSION_15", "output_model_format": "KOHYA_LORA"} | settings
    )
    return config


SMALL = {
    "train_dtype": "FLOAT_32",
    **{part: {"weight_dtype": "FLOAT_32"} for part in ("unet", "text_encoder", "vae")},
}


def ids(checkouts: Checkouts) -> tuple[str, str]:
    bare, ready = checkouts.all()
    return f"onetrainer:{bare.id}", f"onetrainer:{ready.id}"


@pytest.mark.slow
def test_with_an_open_choice_the_first_that_can_trains(engines: Engines, checkouts: Checkouts) -> None:
    """The built-in engine is preferred, then a checkout; if none can, the built-in engine reports why."""
    _, ready = ids(checkouts)
    assert engines.choice() == AUTO
    assert engines.present(configured(**SMALL)).id == BUILTIN
    assert engines.present(configured(model_type="SANA")).id == ready
    assert engines.present(configured(model_type="NEW_MODEL_9")).id == ready
    assert engines.present(configured(model_type="MODEL_NOBODY_KNOWS")).id == BUILTIN


@pytest.mark.slow
def test_a_setting_that_only_the_checkout_has_asks_for_it(engines: Engines, checkouts: Checkouts) -> None:
    """Without a choice, OneTrainer is used if the built-in engine would ignore a setting."""
    config = configured(**SMALL, sharpness=0.75)
    assert engines.present(config).id == ids(checkouts)[1]
    engines.choose(BUILTIN)
    (finding,) = [finding for finding in engines.findings(config, engines.present(config)) if finding.path == "sharpness"]
    assert finding.severity == "warning"
    assert "ignores it" in finding.message


@pytest.mark.slow
def test_a_choice_holds_until_the_next_one(engines: Engines, checkouts: Checkouts, tmp_path: Path) -> None:
    """It outlives the panel; if the chosen checkout is no longer registered, the choice is open again."""
    _, ready = ids(checkouts)
    engines.choose(ready)
    again = Engines(tmp_path / "engine.json", checkouts)
    assert again.choice() == ready
    assert again.present(configured(**SMALL)).id == ready
    (tmp_path / "other").mkdir()
    assert Engines(tmp_path / "engine.json", Checkouts(tmp_path / "other")).choice() == AUTO
    with pytest.raises(ConfigValueError, match="The engine 'best' doesn't exist"):
        engines.choose("best")


@pytest.mark.slow
def test_the_options_of_a_run_come_before_the_choice(engines: Engines, checkouts: Checkouts) -> None:
    """A checkout is selected by folder or id and must be registered, because its Python is executed."""
    _, ready = checkouts.all()
    config = configured(**SMALL)
    engines.choose(BUILTIN)
    for options in (RunOptions(checkout=str(ready.folder)), RunOptions(backend="onetrainer", checkout=ready.id)):
        settled = engines.settled(config, options.model_copy(update={"checkout_python": "/bin/sh"}))
        assert (settled.backend, settled.checkout) == ("onetrainer", str(ready.folder))
        assert settled.checkout_python == ""
    assert engines.settled(config, RunOptions(backend="onetrainer")).checkout == str(ready.folder)
    assert engines.settled(config, RunOptions(backend="somewhere:run")).backend == "somewhere:run"
    engines.choose(ids(checkouts)[1])
    assert engines.settled(config, RunOptions(backend="builtin")).checkout == ""
    with pytest.raises(CheckoutNotFoundError, match="/nowhere"):
        engines.settled(config, RunOptions(checkout="/nowhere"))


@pytest.mark.slow
def test_each_engine_reports_why_it_cannot(engines: Engines, checkouts: Checkouts) -> None:
    """The model type is reported before details, and missing parts of a checkout before both."""
    bare, ready = ids(checkouts)
    support = {engine["id"]: engine for engine in engines.engine_support(configured(model_type="SANA"))}
    assert list(support) == [BUILTIN, bare, ready]
    assert support[BUILTIN]["can"] is False
    assert support[BUILTIN]["path"] == "model_type"
    assert support[bare]["can"] is False
    assert "no Python environment" in support[bare]["why"]
    assert support[ready]["can"] is True
    assert support[ready]["title"].startswith("OneTrainer")
    support = {
        engine["id"]: engine for engine in engines.engine_support(configured(model_type="SANA", training_method="FINE_TUNE_VAE"))
    }
    assert (support[ready]["can"], support[ready]["path"]) == (False, "training_method")
    support = {engine["id"]: engine for engine in engines.engine_support(configured(learning_rate_scheduler="SPIRAL"))}
    assert (support[ready]["can"], support[ready]["path"]) == (False, "learning_rate_scheduler")


def test_what_the_checkout_lacks_is_reported_where_it_was_set(engines: Engines, checkouts: Checkouts) -> None:
    """A setting that it would ignore is a warning, not an error; at its default there is no warning."""
    ready = engines.all()[-1]
    (finding,) = [item for item in engines.findings(configured(force_circular_padding=True), ready) if item.severity == "warning"]
    assert (finding.path, finding.value) == ("force_circular_padding", True)
    assert "doesn't have" in finding.message
    assert not [item for item in engines.findings(configured(), ready) if item.severity == "warning"]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_table_of_types_and_methods_has_what_anything_knows(engines: Engines, checkouts: Checkouts) -> None:
    """Each row shows for each engine whether it can train the type with the method."""
    rows = {(row["model_type"], row["training_method"]): row for row in engines.matrix()}
    answers = {one["id"]: one for one in rows["STABLE_DIFFUSION_15", "LORA"]["engines"]}
    assert answers[BUILTIN]["can"]
    assert answers[ids(checkouts)[1]]["can"]
    answers = {one["id"]: one for one in rows["NEW_MODEL_9", "LORA"]["engines"]}
    assert answers[ids(checkouts)[1]]["can"]
    assert "NEW_MODEL_9" in answers[BUILTIN]["why"]
    assert len(rows) > 60


def test_the_form_follows_the_chosen_checkout(engines: Engines, checkouts: Checkouts) -> None:
    """Without a choice, it follows the first usable checkout; with the built-in engine, none."""
    assert "sharpness" in engines.newer().settings
    before = engines.summary()
    engines.choose(BUILTIN)
    assert engines.newer().settings == {}
    assert engines.summary()["follows"] == "" != before["follows"]
    engines.choose(ids(checkouts)[1])
    assert engines.summary() == before | {"choice": ids(checkouts)[1]}


def test_without_a_checkout_there_is_nothing_to_choose(tmp_path: Path) -> None:
    """OneTrainer without a checkout is rejected, with how to add one."""
    engines = Engines(tmp_path / "engine.json", Checkouts(tmp_path))
    assert engines.summary() == {"choice": AUTO, "checkouts": 0, "follows": ""}
    with pytest.raises(CheckoutNotFoundError) as caught:
        engines.settled(configured(), RunOptions(backend="onetrainer"))
    assert "--onetrainer" in caught.value.suggestion
    started_with = Engines(tmp_path / "engine.json", Checkouts(tmp_path), default="onetrainer")
    assert [engine["can"] for engine in started_with.engine_support(configured(**SMALL))] == [True]
    (finding, *_) = [
        item for item in started_with.findings(configured(), started_with.present(configured())) if item.code == "checkout"
    ]
    assert finding.severity == "error"


def test_a_panel_that_was_started_with_another_backend_uses_it(tmp_path: Path, checkouts: Checkouts) -> None:
    """The option at startup takes precedence over support and over an earlier choice."""
    Engines(tmp_path / "engine.json", checkouts).choose(BUILTIN)
    engines = Engines(tmp_path / "engine.json", checkouts, default="somewhere:run")
    assert engines.choice() == AUTO
    assert engines.all()[0].id == "somewhere:run"
    assert engines.newer().settings == {}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_what_only_the_checkout_knows_arrives_there_as_it_was_set(make_service: MakeService, tmp_path: Path) -> None:
    """OneTrainer trains a model type and a setting newer than this release, without being selected."""
    service = make_service(backend="builtin", checkouts=(set_up(tmp_path / "OneTrainer", newer=True),))
    assert service.checkouts.wait(PATIENCE_S)
    config = small_config(tmp_path, model_type="NEW_MODEL_9", sharpness=0.75, tensorboard=False, epochs=1)
    run = service.runs.get(service.start(config))
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["backend"]) == ("completed", "onetrainer"), state["error"]
    assert run.record.checkout["config_version"] == 12
    assert run.summary()["checkout"] == "OneTrainer"
    (used,) = (tmp_path / "workspace" / "config").glob("*.json")
    taken = json.loads(used.read_text())
    assert (taken["model_type"], taken["sharpness"]) == ("NEW_MODEL_9", 0.75)
    assert not [entry for entry in run.journal.since(0, 500) if isinstance(entry.event(), WarningIssued)]


@pytest.mark.slow
def test_a_checkout_that_is_gone_is_reported_before_the_start(make_service: MakeService, tmp_path: Path) -> None:
    """The run doesn't start; once the folder is back, the next one does."""
    folder = set_up(tmp_path / "OneTrainer")
    service = make_service(backend="builtin", checkouts=(folder,))
    assert service.checkouts.wait(PATIENCE_S)
    service.engines.choose(service.engines.all()[1].id)
    folder.rename(tmp_path / "moved")
    with pytest.raises(ConfigInvalidError, match="doesn't exist"):
        service.start(small_config(tmp_path, tensorboard=False, epochs=1))
    assert service.runs.ids() == []
    (tmp_path / "moved").rename(folder)
    service.start(small_config(tmp_path, tensorboard=False, epochs=1))
    assert service.wait_for(ended, PATIENCE_S)["end_reason"] == "completed"
