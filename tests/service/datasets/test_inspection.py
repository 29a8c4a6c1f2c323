"""Problems of a dataset are found, and one operation fixes each.

Covers ``service/datasets/jobs.py`` and ``service/datasets/bucket_view.py``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onetrainer_gradio.config.dataset.buckets import bucket_of
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.errors import BusyError, ConfigValueError, PathNotFoundError
from onetrainer_gradio.service.datasets.bucket_view import bucket_view, bucketing_of
from onetrainer_gradio.service.datasets.datasets import Datasets
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.datasets.image_index import Query
from onetrainer_gradio.service.datasets.jobs import Job, Jobs
from tests.service.datasets.test_captions import datasets_in

CATS = "cats"
SETTINGS = from_document({"model_type": "STABLE_DIFFUSION_15", "resolution": "512"})[0]


def scene(seed: int, size: tuple[int, int] = (600, 450)) -> Image.Image:
    """Return a smooth random image that stays similar under small changes."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images that have something to report, made once for all tests."""
    folder = tmp_path_factory.mktemp(CATS)
    scene(1).save(folder / "one.png")
    (folder / "copy.png").write_bytes((folder / "one.png").read_bytes())
    (folder / "copy.txt").write_text("captioned")
    scene(1).resize((630, 470)).save(folder / "similar.jpg", quality=80)
    scene(2).save(folder / "other.png")
    scene(3, (64, 64)).save(folder / "tiny.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(4).save(folder / "rotated.jpg", exif=exif)
    scene(5).save(folder / "scan.gif")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "cut.png").write_bytes((folder / "other.png").read_bytes()[:2000])
    for name in ("plain", "flat"):
        Image.new("RGB", (600, 450), "red" if name == "flat" else "blue").save(folder / f"{name}.png")
    return folder


@pytest.fixture
def datasets(tmp_path: Path, images: Path, decoder: ImageDecoder) -> Iterator[Datasets]:
    shutil.copytree(images, tmp_path / CATS)
    found = datasets_in(tmp_path, decoder)
    yield found
    found.close()


def inspected(datasets: Datasets) -> dict[str, Any]:
    job = datasets.inspector.start(CATS, bucketing_of(SETTINGS))
    assert datasets.jobs.wait(job.id, 60).state == "done", job.error
    return datasets.inspector.report(CATS)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_each_problem_is_found_and_each_operation_removes_it(datasets: Datasets, tmp_path: Path) -> None:
    """It finds exact and similar duplicates, small, rotated, broken and
    untrained files; flat images aren't similar to each other.
    """
    report = inspected(datasets)
    assert sorted((each["kind"], each["path"]) for each in report["problems"]) == [
        ("broken", "broken.png"),
        ("broken", "cut.png"),
        ("format", "scan.gif"),
        ("rotated", "rotated.jpg"),
        ("small", "tiny.png"),
    ]
    exact, similar = report["groups"]
    assert (exact["kind"], sorted(exact["images"]), exact["keep"]) == ("exact", ["copy.png", "one.png"], "copy.png")
    assert (similar["kind"], sorted(similar["images"])) == ("similar", ["copy.png", "one.png", "similar.jpg"])
    assert datasets.inspector.duplicates(CATS) == {"copy.png", "one.png", "similar.jpg"}
    assert report["counts"] == {"broken": 2, "format": 1, "rotated": 1, "small": 1, "exact": 1, "similar": 2}
    for kind, fixed in (("exact", 1), ("broken", 2), ("small", 1), ("rotated", 1), ("format", 1)):
        assert datasets.inspector.fix(CATS, kind) == {"fixed": fixed, "skipped": []}, kind
    assert datasets.inspector.fix(CATS, "similar", ["similar.jpg"])["fixed"] == 1
    assert inspected(datasets)["counts"] == {}
    left = sorted(path.name for path in (tmp_path / CATS).iterdir() if not path.name.startswith("."))
    assert left == ["copy.png", "copy.txt", "flat.png", "other.png", "plain.png", "rotated.png", "scan.png"]
    assert sum(entry["count"] for entry in datasets.moves.trash_entries(CATS)) == 6


@pytest.mark.slow
def test_all_kinds_are_dealt_with_after_one_inspection(datasets: Datasets, tmp_path: Path) -> None:
    """A file removed for one problem isn't reported for another, and one image of each group stays."""
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(4).save(tmp_path / CATS / "rotated again.jpg", exif=exif, quality=60)
    assert inspected(datasets)["counts"] == {"broken": 2, "format": 1, "rotated": 2, "small": 1, "exact": 1, "similar": 3}
    (tmp_path / CATS / "broken.png").unlink()  # by another program
    fixed = {kind: datasets.inspector.fix(CATS, kind) for kind in ("rotated", "exact", "similar", "broken", "small", "format")}
    assert {kind: each["fixed"] for kind, each in fixed.items()} == {
        "rotated": 2,
        "exact": 1,
        "similar": 1,
        "broken": 1,
        "small": 1,
        "format": 1,
    }
    assert datasets.inspector.report(CATS)["counts"] == {}
    left = {path.name for path in (tmp_path / CATS).glob("*.png")}
    assert {"copy.png", "other.png", "rotated.png", "rotated again.png", "scan.png"} <= left


@pytest.mark.exhaustive
@pytest.mark.slow
def test_what_is_ignored_is_not_reported_until_the_file_changes(
    datasets: Datasets, tmp_path: Path, decoder: ImageDecoder
) -> None:
    """The next panel doesn't report it either."""
    inspected(datasets)
    datasets.inspector.ignore(CATS, "small", ["tiny.png"])
    assert "small" not in datasets.inspector.report(CATS)["counts"]
    again = datasets_in(tmp_path, decoder)
    assert "small" not in inspected(again)["counts"]
    scene(6, (65, 65)).save(tmp_path / CATS / "tiny.png")
    assert inspected(again)["counts"]["small"] == 1
    again.close()


@pytest.mark.slow
def test_an_unknown_operation_is_rejected(datasets: Datasets) -> None:
    with pytest.raises(ConfigValueError):
        datasets.inspector.fix(CATS, "ugly")
    with pytest.raises(PathNotFoundError):
        datasets.inspector.start("dogs")


@pytest.mark.slow
def test_the_bucket_view_has_the_sizes_of_training(datasets: Datasets) -> None:
    """The view and the engine use the same functions; an image that is too wide is cropped at its sides."""
    rows = datasets.index.rows(CATS, ["one.png", "tiny.png", "broken.png"], Query())
    view = bucket_view(rows, bucketing_of(SETTINGS, "512,256"), None, 0, 10)
    assert [each["resolution"] for each in view["resolutions"]] == ["512", "256"]
    assert (view["unreadable"], view["matches"]) == (1, 2)
    one = view["images"][0]
    height, width = bucket_of((450, 600), 512, 8)
    assert one["bucket"] == [width, height]
    assert one["scaled"][0] >= width
    assert one["scaled"][1] >= height
    assert 0 <= one["cropped"] < 0.1
    only = bucket_view(rows, bucketing_of(SETTINGS), (512, 512), 0, 10)
    assert [each["path"] for each in only["images"]] == ["tiny.png"]
    with pytest.raises(ConfigValueError):
        bucketing_of(SETTINGS, "large")


def test_one_job_of_a_kind_runs_at_a_time_and_stops_when_asked() -> None:
    """A job ends with its actual state and error."""
    jobs = Jobs()

    def waits(job: Job) -> None:
        job.stopping.wait(10)

    def fails(job: Job) -> None:
        raise ConfigValueError("Not possible", suggestion="Choose another one.")

    job = jobs.start("wait", CATS, waits)
    with pytest.raises(BusyError):
        jobs.start("wait", CATS, waits)
    failed = jobs.wait(jobs.start("fail", CATS, fails).id, 5)
    assert (failed.state, failed.error, failed.suggestion) == ("failed", "Not possible", "Choose another one.")
    jobs.stop(job.id)
    assert jobs.wait(job.id, 5).state == "stopped"
    assert [each["kind"] for each in jobs.list()] == ["fail", "wait"]
    with pytest.raises(PathNotFoundError):
        jobs.get("x")
    jobs.close()
