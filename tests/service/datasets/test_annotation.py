"""A job captions and masks datasets: first a preview, then only what is missing; it can be stopped and resumed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from onetrainer_gradio.errors import ConfigValueError, RunConflictError
from onetrainer_gradio.service.datasets.annotation import TASKS, Annotation
from onetrainer_gradio.service.datasets.datasets import Datasets
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.datasets.image_index import Query
from onetrainer_gradio.service.datasets.jobs import Job
from onetrainer_gradio.service.datasets.library import DatasetLibrary
from onetrainer_gradio.service.datasets.thumbnails import Thumbnails
from tests.config.preflight import add_image
from tests.models.annotators import write_blip, write_clipseg

pytestmark = pytest.mark.slow

CATS = "cats"
EVERY = Query()


@pytest.fixture
def datasets(tmp_path: Path, decoder: ImageDecoder) -> Iterator[Datasets]:
    (tmp_path / CATS).mkdir()
    for number in range(7):
        add_image(tmp_path / CATS / f"{number}.png", (64, 48), caption="by hand" if number == 3 else None)
    library = DatasetLibrary(tmp_path)
    found = Datasets(tmp_path, (), Thumbnails(tmp_path / "cache", decoder, library.allowed), decoder, library)
    yield found
    found.close()


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_blip(tmp_path_factory.mktemp("blip")))


def done(datasets: Datasets, images: list[str] | None = None, **asked: Any) -> Job:
    job = datasets.annotator.start(CATS, images, EVERY, Annotation(**{"task": "caption", "kind": "transformers", **asked}))
    ended = datasets.jobs.wait(job.id, 120)
    assert ended.state != "running"
    return ended


def texts(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted((folder / CATS).glob("*.txt"))}


@pytest.mark.exhaustive
def test_captions_are_previewed_and_then_written_where_they_are_missing(datasets: Datasets, tmp_path: Path, blip: str) -> None:
    """The preview writes nothing; the trigger word comes first; one undo reverts everything."""
    preview = done(datasets, model=blip, before="sks", preview=True, options={"max_tokens": 4})
    assert (preview.state, preview.done, len(preview.result["examples"])) == ("done", 5, 5)
    assert texts(tmp_path) == {"3": "by hand"}
    job = done(datasets, model=blip, before="sks", options={"max_tokens": 4})
    assert (job.state, job.done, job.total, job.result["written"]) == ("done", 6, 6, 6)
    written = texts(tmp_path)
    assert written.pop("3") == "by hand"
    assert len(written) == 6
    assert all(text.startswith("sks, ") for text in written.values())
    assert [each["after"] for each in preview.result["examples"]] == [
        job_example["after"] for job_example in job.result["examples"][:5]
    ]
    assert datasets.captions.undo(CATS)["undone"] == 6
    assert texts(tmp_path) == {"3": "by hand"}


@pytest.mark.exhaustive
def test_a_stopped_job_is_resumed_where_it_stopped(datasets: Datasets, tmp_path: Path, blip: str) -> None:
    """Even when it replaces captions, finished work isn't repeated."""
    asked = {"task": "caption", "kind": "transformers", "model": blip, "replace": True, "options": {"max_tokens": 3}}
    job = datasets.annotator.start(CATS, None, EVERY, Annotation(**asked))
    until = time.monotonic() + 60
    while job.done < 2 and time.monotonic() < until:
        time.sleep(0.002)
    datasets.jobs.stop(job.id)
    stopped = datasets.jobs.wait(job.id, 30)
    assert stopped.done >= 2
    rest = done(datasets, **{**asked, "resume": job.id})
    assert (rest.state, rest.total) == ("done", 7 - stopped.done)
    assert len(texts(tmp_path)) == 7


@pytest.mark.exhaustive
def test_masks_are_written_under_onetrainers_name(datasets: Datasets, tmp_path: Path) -> None:
    """It writes only missing masks; a preview is a separate image."""
    model = str(write_clipseg(tmp_path / "clipseg"))
    common = {"task": "mask", "kind": "text", "model": model, "options": {"prompts": ["red"], "threshold": 0.5}}
    preview = done(datasets, **common, preview=True)
    shown = datasets.annotator.preview_file(preview.result["examples"][0]["preview"].removesuffix(".png"))
    assert Image.open(shown).size == (64, 48)
    assert not list((tmp_path / CATS).glob("*-masklabel.png"))
    Image.new("L", (64, 48), 255).save(tmp_path / CATS / "0-masklabel.png")
    job = done(datasets, **common)
    assert (job.state, job.done) == ("done", 6)
    assert len(list((tmp_path / CATS).glob("*-masklabel.png"))) == 7
    assert Image.open(tmp_path / CATS / "0-masklabel.png").getextrema() == (255, 255)
    assert done(datasets, ["0.png"], **common, replace=True).done == 1
    assert len(datasets.moves.trash_entries(CATS)) == 1


@pytest.mark.exhaustive
def test_what_is_missing_fails_with_a_clear_error(datasets: Datasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example is a model that isn't on this machine, in offline mode."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    job = done(datasets, model="nobody/nothing")
    assert (job.state, "nobody/nothing" in job.error) == ("failed", True)
    assert job.suggestion.startswith("Check the name")
    for wrong in ({"kind": "text", "model": "x"}, {"model": " "}):
        with pytest.raises(ConfigValueError):
            done(datasets, **wrong)
    assert {model.kind for model in TASKS["caption"]} == {"transformers", "tagger"}


@pytest.mark.exhaustive
def test_a_run_that_trains_has_the_gpu_alone(datasets: Datasets, tmp_path: Path, blip: str, decoder: ImageDecoder) -> None:
    """Captions are generated on the CPU in the meantime."""
    library = DatasetLibrary(tmp_path)
    busy = Datasets(
        tmp_path, (), Thumbnails(tmp_path / "cache", decoder, library.allowed), decoder, library, training=lambda: True
    )
    with pytest.raises(RunConflictError):
        done(busy, model=blip)
    assert done(busy, model=blip, device="cpu", preview=True).state == "done"
    busy.close()


def test_captioners_of_the_data_folder_are_offered_first(datasets: Datasets, tmp_path: Path) -> None:
    """A folder with a list of tags is a tagger; one without a model isn't offered. Masks have no such folder."""
    (tmp_path / "captioners" / "mine").mkdir(parents=True)
    (tmp_path / "captioners" / "mine" / "config.json").write_text("{}")
    (tmp_path / "captioners" / "tags").mkdir()
    (tmp_path / "captioners" / "tags" / "selected_tags.csv").write_text("")
    (tmp_path / "captioners" / "empty").mkdir()
    found = datasets.annotator.models("caption")
    assert [(model.kind, model.title, model.local) for model in found[:2]] == [
        ("transformers", "mine", True),
        ("tagger", "tags", True),
    ]
    assert [model.name for model in found[2:]] == [model.name for model in TASKS["caption"]]
    assert [model.name for model in datasets.annotator.models("mask")] == [model.name for model in TASKS["mask"]]
