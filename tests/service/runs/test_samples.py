"""Samples of all runs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from onetrainer_gradio.errors import RunNotFoundError, SampleNotFoundError
from onetrainer_gradio.events import PhaseChanged, RunEnded, SampleGenerated
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.runs.record import Run, RunStore, new_run_id
from onetrainer_gradio.service.runs.samples import SampleStore
from tests.fakes.rehearsal import png
from tests.service.runs.test_record import create


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def samples(runs: RunStore, tmp_path: Path, decoder: ImageDecoder) -> SampleStore:
    return SampleStore(runs, tmp_path / "cache", decoder)


def write_sample(run: Run, number: int, kind: str = "default", content: bytes | None = None) -> Path:
    path = run.folder.parent / f"{run.id}-{number}.png"
    path.write_bytes(png(400, 300, (number, 0, 0)) if content is None else content)
    run.journal.append(PhaseChanged(phase="sampling"))
    run.journal.append(
        SampleGenerated(
            path=str(path),
            kind=kind,  # type: ignore[arg-type]
            index=0,
            prompt=f"prompt {number}",
            negative_prompt="",
            width=400,
            height=300,
            seed=1,
            diffusion_steps=20,
            cfg_scale=7.0,
            noise_scheduler="DDIM",
            global_step=number,
            epoch=0,
            epoch_step=number,
            seconds=0.5,
        )
    )
    return path


@pytest.mark.slow
def test_samples_of_all_runs_come_newest_first_in_pages(runs: RunStore, samples: SampleStore) -> None:
    """A page leads to the next one; every sample is returned once."""
    older, newer = create(runs, new_run_id(1e6)), create(runs, new_run_id(2e6))
    for number in range(3):
        write_sample(older, number)
        write_sample(newer, 10 + number)
    seen, before = [], None
    for _ in range(4):
        page = samples.list(limit=4, before=before)
        seen += [sample["prompt"] for sample in page["samples"]]
        before = page["next"]
        if before is None:
            break
    assert seen == [f"prompt {number}" for number in (12, 11, 10, 2, 1, 0)]
    assert page["total"] == 6
    assert [sample["step"] for sample in samples.latest(2)] == [12, 11]
    assert samples.list(run_id=older.id)["total"] == 3
    with pytest.raises(RunNotFoundError):
        samples.list(run_id="nothing")


@pytest.mark.slow
def test_only_the_runs_of_a_page_are_read(runs: RunStore, samples: SampleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ended run's line in the list has its number of samples; without such lines few journals are read."""
    made = [create(runs, new_run_id(1e6 * number)) for number in range(1, 6)]
    for number, run in enumerate(made):
        write_sample(run, number)
        write_sample(run, 10 + number)
        run.record_end(RunEnded(reason="completed"))
    kept = {run.id: run.summary() for run in made[:3]}
    assert {summary["samples"] for summary in kept.values()} == {2}
    for run in made[:3]:
        (run.folder / "journal.jsonl").unlink()
    page = samples.list(limit=2)
    assert [sample["run_id"] for sample in page["samples"]] == [made[4].id] * 2
    assert page["total"] == 10
    for run in made:
        (run.folder / "summary.json").unlink(missing_ok=True)
    monkeypatch.setattr("onetrainer_gradio.service.runs.samples._MAX_SCANNED", 0)
    page = SampleStore(runs, samples._cache).list(limit=2)
    assert (len(page["samples"]), page["total"]) == (2, None)


@pytest.mark.slow
def test_an_ended_run_is_read_once(runs: RunStore, samples: SampleStore) -> None:
    """Its samples are listed again without reading its files; those of a deleted run are not listed."""
    run = create(runs)
    write_sample(run, 1)
    assert samples.list()["total"] == 1
    write_sample(run, 2)
    run.record_end(RunEnded(reason="completed"))
    assert samples.list()["total"] == 2
    (run.folder / "journal.jsonl").unlink()
    assert len(samples.list()["samples"]) == 2
    runs.discard(run)
    assert samples.list() == {"samples": [], "next": None, "total": 0}


@pytest.mark.slow
def test_new_samples_appear_and_kinds_can_be_chosen(runs: RunStore, samples: SampleStore) -> None:
    """The index grows with the journal."""
    run = create(runs)
    write_sample(run, 1)
    assert samples.list()["total"] == 1
    write_sample(run, 2, "custom")
    assert [sample["kind"] for sample in samples.list()["samples"]] == ["custom", "default"]
    assert [sample["step"] for sample in samples.list(kind="custom")["samples"]] == [2]


def test_a_sample_has_everything_but_its_path(runs: RunStore, samples: SampleStore, tmp_path: Path) -> None:
    """It has parameters and API addresses, but no path of the server."""
    run = create(runs)
    path = write_sample(run, 5)
    sample = samples.latest()[0]
    assert sample == samples.get(sample["id"])
    assert (sample["id"], sample["seed"], sample["cfg_scale"]) == (f"{run.id}.2", 1, 7.0)
    assert (sample["path"], sample["file_name"]) == (f"/api/samples/{run.id}.2/image", path.name)
    assert str(tmp_path) not in str(sample)
    assert samples.path(sample["id"]) == path


def test_an_id_that_names_no_sample_leads_nowhere(runs: RunStore, samples: SampleStore) -> None:
    """This includes other events, paths and invalid ids."""
    run = create(runs)
    write_sample(run, 1)
    for wrong in (f"{run.id}.1", f"{run.id}.3", f"{run.id}.0", f"{run.id}", "..", "x.2", f"{run.id}.2/../x", ""):
        with pytest.raises(SampleNotFoundError):
            samples.get(wrong)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_thumbnails_are_small_and_made_once(runs: RunStore, samples: SampleStore) -> None:
    """A thumbnail is a WebP in one of a few widths, kept until the image changes."""
    run = create(runs)
    write_sample(run, 1)
    sample_id = samples.latest()[0]["id"]
    thumbnail = samples.thumbnail(sample_id, 200)
    with Image.open(thumbnail) as image:
        assert (image.format, image.size) == ("WEBP", (256, 192))
    written = thumbnail.stat().st_mtime_ns
    assert samples.thumbnail(sample_id, 256) == thumbnail
    assert thumbnail.stat().st_mtime_ns == written
    with Image.open(samples.thumbnail(sample_id, 10_000)) as image:
        assert image.size == (400, 300)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"no picture", b"", png(8, 8, (1, 0, 0))[:11] + b"\4" + png(8, 8, (1, 0, 0))[12:]])
def test_a_broken_or_missing_image_is_reported(runs: RunStore, samples: SampleStore, content: bytes) -> None:
    """The metadata stay; the image is reported as missing or unreadable."""
    run = create(runs)
    path = write_sample(run, 1, content=content)
    sample_id = samples.latest()[0]["id"]
    with pytest.raises(SampleNotFoundError, match="Can't read the image"):
        samples.thumbnail(sample_id)
    path.unlink()
    with pytest.raises(SampleNotFoundError, match="deleted"):
        samples.path(sample_id)
    assert samples.get(sample_id)["prompt"] == "prompt 1"


@pytest.mark.slow
def test_images_that_are_kept_at_once_are_all_kept(runs: RunStore, samples: SampleStore, tmp_path: Path) -> None:
    """Each gets its own number, and the same image is kept once."""
    run = create(runs, new_run_id(1e6))
    images = [tmp_path / f"{number}.png" for number in range(8)]
    for number, image in enumerate(images):
        image.write_bytes(png(8, 8, (number, 0, 0)))
    together = threading.Barrier(16)

    def keep(image: Path) -> tuple[Path, str]:
        together.wait(20)
        return image, str(samples.keep(run.id, image, image.stem, {"prompt": image.stem})["id"])

    with ThreadPoolExecutor(16) as pool:
        kept = set(pool.map(keep, images * 2))
    assert len(kept) == len({sample_id for _, sample_id in kept}) == 8
    assert all(samples.path(sample_id).read_bytes() == image.read_bytes() for image, sample_id in kept)
