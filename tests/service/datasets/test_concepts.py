"""The contents of concept folders.

Covers ``service/datasets/previews.py``.
"""

from __future__ import annotations

import base64
import io
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.errors import DatasetError, ForbiddenPathError, PathNotFoundError
from onetrainer_gradio.service.datasets.concepts import ConceptStore, FolderReader
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from tests.config.preflight import add_image
from tests.waiting import until


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder `cats` with three captioned images in two aspect ratios, an uncaptioned image, a mask and a broken file."""
    folder = tmp_path / "cats"
    folder.mkdir()
    add_image(folder / "a.png", (512, 512), caption="sks cat, red, sitting")
    add_image(folder / "b.png", (768, 512), caption="sks cat, blue")
    add_image(folder / "c.png", (64, 64), caption="sks cat, red")
    add_image(folder / "d.jpg", (512, 512), caption=None)
    add_image(folder / "a-masklabel.png", (512, 512), caption=None)
    (folder / "e.png").write_bytes(b"no picture")
    (folder / "e.txt").write_text("broken")
    return tmp_path


@pytest.fixture
def store(base: Path, decoder: ImageDecoder) -> ConceptStore:
    return ConceptStore(base, (), base / "cache", decoder=decoder)


def config(*concepts: dict[str, Any], **settings: Any) -> TrainConfig:
    made = [{"path": "cats", "name": "cats", "image": {}, "text": {}, **concept} for concept in concepts or ({},)]
    return from_document({"resolution": "512", "batch_size": 1, "concepts": made, **settings})[0]


def opened(data: str) -> Image.Image:
    head, content = data.split(",", 1)
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.slow
def test_a_folder_is_reported_with_captions_masks_sizes_and_what_is_broken(store: ConceptStore) -> None:
    """The result has everything that a concept's card shows."""
    (cats,) = store.statistics(config())["concepts"]
    assert (cats["images"], cats["masks"], cats["problem"], cats["complete"]) == (5, 1, "", True)
    captions = cats["captions"]
    assert (captions["missing"], captions["without"]) == (1, ["d.jpg"])
    assert captions["words"] == [1, 2.8, 4]
    assert captions["tags"][:2] == [("sks cat", 3), ("red", 2)]
    assert (cats["broken"]["count"], cats["broken"]["first"][0][0]) == (1, "e.png")
    assert cats["sizes"]["smallest"] == [64, 64]
    assert cats["sizes"]["largest"] == [768, 512]
    assert cats["formats"] == {"png": 4, "jpg": 1}
    assert cats["bytes"] > 0


@pytest.mark.slow
def test_buckets_are_at_the_resolution_of_the_settings(store: ConceptStore) -> None:
    """There is one table per edge length, in multiples of the model type; small images are counted."""
    (cats,) = store.statistics(config(resolution="512,256"))["concepts"]
    first, second = cats["resolutions"]
    assert (first["resolution"], first["small"]) == ("512", 1)
    assert first["buckets"][0] == {"width": 512, "height": 512, "images": 3}
    assert {(bucket["width"], bucket["height"]) for bucket in second["buckets"]} == {(256, 256), (312, 208)}
    (fixed,) = store.statistics(config(resolution="768x512"))["concepts"][0]["resolutions"]
    assert fixed["buckets"] == [{"width": 768, "height": 512, "images": 4}]


@pytest.mark.slow
def test_the_total_counts_repeats_batches_and_what_fills_none(base: Path, store: ConceptStore) -> None:
    """Disabled concepts don't count; buckets of all concepts are filled together."""
    (base / "cats" / "e.png").unlink()
    two = config({"balancing": 3}, {"enabled": False, "name": "off"}, batch_size=2, epochs=10)
    statistics = store.statistics(two)
    assert [concept["per_epoch"] for concept in statistics["concepts"]] == [12, 0]
    total = statistics["total"]
    assert (total["concepts"], total["images"], total["per_epoch"]) == (1, 4, 12)
    assert total["buckets"][0] == {"width": 512, "height": 512, "images": 9, "batches": 4, "left": 1}
    assert (total["steps_per_epoch"], total["steps"], total["left"]) == (5, 50, 2)


@pytest.mark.slow
def test_a_broken_file_is_no_part_of_an_epoch(store: ConceptStore) -> None:
    """The run skips it, so the total doesn't count it."""
    total = store.statistics(config({}, {"type": "VALIDATION"}))["total"]
    assert (total["concepts"], total["images"], total["per_epoch"], total["steps_per_epoch"]) == (1, 4, 4, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "problem"), [("", "No folder"), ("nowhere", "doesn't exist")])
def test_a_folder_that_is_not_there_is_a_problem_of_its_card(store: ConceptStore, path: str, problem: str) -> None:
    """The other concepts are still reported."""
    statistics = store.statistics(config({"path": path}, {}))
    assert problem in statistics["concepts"][0]["problem"]
    assert statistics["concepts"][1]["images"] == 5


@pytest.mark.slow
def test_nothing_outside_the_allowed_folders_is_looked_at(base: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither a path nor a link to an image leads outside."""
    outside = tmp_path_factory.mktemp("outside")
    add_image(outside / "secret.png", caption="secret")
    store = ConceptStore(base, (base,), base / "cache")
    statistics = store.statistics(config({"path": str(outside)}, {"path": "../" + outside.name}))
    assert all("outside the allowed folders" in concept["problem"] for concept in statistics["concepts"])
    with pytest.raises(ForbiddenPathError):
        store.preview(config({"path": str(outside)}), 0)
    (base / "links").mkdir()
    (base / "links" / "x.png").symlink_to(outside / "secret.png")
    (linked,) = store.statistics(config({"path": "links"}))["concepts"]
    assert (linked["images"], linked["thumbnail"]) == (0, None)
    assert linked["skipped"]["first"] == [["x.png", "the link leads outside the allowed folders"]]
    with pytest.raises(DatasetError):
        store.preview(config({"path": "links"}), 0)


@pytest.mark.slow
def test_what_changed_in_a_folder_is_seen(base: Path, store: ConceptStore) -> None:
    """A new caption changes the fingerprint; without a change it stays the same."""
    first = store.statistics(config())["concepts"][0]
    assert store.statistics(config())["concepts"][0]["fingerprint"] == first["fingerprint"]
    (base / "cats" / "d.txt").write_text("sks cat")
    second = store.statistics(config())["concepts"][0]
    assert second["fingerprint"] != first["fingerprint"]
    assert second["captions"]["missing"] == 0


def test_captions_of_an_unchanged_folder_are_read_once(base: Path) -> None:
    """A folder with a known fingerprint returns the same facts without reading the files again."""
    reader = FolderReader(limit_s=math.inf)
    first = reader.look(base / "cats", False)
    reader.renew()
    assert reader.look(base / "cats", False) is first
    os.utime(base / "cats" / "a.txt", (1, 1))
    reader.renew()
    assert reader.look(base / "cats", False) is not first


@pytest.mark.slow
def test_a_look_that_ran_out_of_time_continues_when_asked_again(base: Path) -> None:
    """Headers that were read are not read again and the next scan has more time, so each scan gets further."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.05
        return now

    store = ConceptStore(base, (), base / "cache", FolderReader(limit_s=0.3, clock=clock))
    statistics = [store.statistics(config())["complete"] for _ in range(8)]
    assert (statistics[0], statistics[-1]) == (False, True)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_first_image_that_can_be_read_is_the_thumbnail(base: Path, store: ConceptStore) -> None:
    """The thumbnail is a small WebP, generated once; an unknown id is not found."""
    (base / "cats" / "a.png").write_bytes(b"broken now")
    image_id = store.statistics(config())["concepts"][0]["thumbnail"]
    made = store.thumbnail(image_id, 100)
    with Image.open(made) as small:
        assert (small.format, small.size) == ("WEBP", (192, 128))
    stamp = made.stat().st_mtime_ns
    assert store.thumbnail(image_id, 100).stat().st_mtime_ns == stamp
    again = ConceptStore(base, (), base / "cache")
    assert again.thumbnail(image_id, 100) == made
    for wrong in ("nope", "../cats/a", image_id[:-1]):
        with pytest.raises(PathNotFoundError):
            store.thumbnail(wrong)


@pytest.mark.slow
def test_a_preview_draws_images_and_captions_by_the_settings(store: ConceptStore) -> None:
    """Each variant has the size of its bucket and its augmented caption; the same seed gives the same variants."""
    image = {"enable_random_flip": True, "enable_fixed_brightness": True, "random_brightness_max_strength": 0.5}
    text = {"enable_tag_shuffling": True, "keep_tags_count": 1}
    settings = config({"image": image, "text": text})
    shown = store.preview(settings, 0, image_index=0, variants=8, seed=3)
    assert (shown["file"], shown["images"], shown["width"], shown["captions"]) == ("a.png", 5, 512, ["sks cat, red, sitting"])
    assert {variant["caption"] for variant in shown["variants"]} == {"sks cat, red, sitting", "sks cat, sitting, red"}
    assert {tuple(variant["changes"]) for variant in shown["variants"]} == {
        ("brightness +50%",),
        ("flipped", "brightness +50%"),
    }
    assert opened(shown["variants"][0]["image"]).size == (320, 320)
    assert store.preview(settings, 0, image_index=0, variants=8, seed=3) == shown
    assert store.preview(settings, 0, image_index=6)["file"] == "b.png"


@pytest.mark.slow
def test_changes_are_seen_in_the_pixels(base: Path, store: ConceptStore) -> None:
    """Flip, brightness, saturation and hue are measured on an image with two halves."""
    two = Image.new("RGB", (64, 64), (200, 0, 0))
    two.paste((0, 0, 60), (0, 0, 32, 64))
    (base / "halves").mkdir()
    two.save(base / "halves" / "x.png")

    def corners(**image: Any) -> list[tuple[int, ...]]:
        shown = store.preview(config({"path": "halves", "image": image}, resolution="64"), 0, variants=1, width_px=64)
        made = opened(shown["variants"][0]["image"]).convert("RGB")
        return [made.getpixel((10, 32)), made.getpixel((54, 32))]

    def near(found: list[tuple[int, ...]], *wanted: tuple[int, ...]) -> bool:
        pairs = zip((channel for color in found for channel in color), (c for color in wanted for c in color), strict=True)
        return all(abs(one - other) <= 14 for one, other in pairs)

    assert near(corners(), (0, 0, 60), (200, 0, 0))
    assert near(corners(enable_fixed_flip=True), (200, 0, 0), (0, 0, 60))
    assert near(corners(enable_fixed_brightness=True, random_brightness_max_strength=-0.5), (0, 0, 30), (100, 0, 0))
    gray = corners(enable_fixed_saturation=True, random_saturation_max_strength=-1.0)
    assert near(gray, (7, 7, 7), (60, 60, 60))
    assert near(corners(enable_fixed_hue=True, random_hue_max_strength=1.0), (60, 60, 0), (0, 200, 200))
    assert near(corners(enable_fixed_rotate=True, random_rotate_max_angle=180), (200, 0, 0), (0, 0, 60))


@pytest.mark.slow
def test_captions_come_from_the_source_of_the_concept(base: Path, store: ConceptStore) -> None:
    """The source is a file next to the image, one file for all images, or the image's name."""
    (base / "all.txt").write_text("one\ntwo\n")
    sources = {"sample": ["sks cat, red, sitting"], "concept": ["one", "two"], "filename": ["a"]}
    for source, captions in sources.items():
        text = {"prompt_source": source, "prompt_path": "all.txt"}
        assert store.preview(config({"text": text}), 0, image_index=0)["captions"] == captions


@pytest.mark.slow
def test_a_cached_run_sees_fewer_variants_than_the_preview(store: ConceptStore) -> None:
    """The preview mentions it only if latents are cached."""
    assert "generated before the run" in store.preview(config(latent_caching=True), 0)["notes"][0]
    assert store.preview(config(latent_caching=False), 0)["notes"] == []


@pytest.mark.slow
def test_a_model_type_that_is_not_known_here_has_a_preview(store: ConceptStore) -> None:
    """Images of a newer OneTrainer model type are previewed like any others."""
    newer = config({"image": {"enable_random_mask_rotate_crop": True}}, model_type="MODEL_OF_NEXT_YEAR")
    assert store.preview(newer, 0)["variants"]


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.alone
def test_a_folder_full_of_broken_files_is_reported_at_once(base: Path, store: ConceptStore) -> None:
    """Thousands of broken files take no longer than listing their names."""
    folder = base / "broken"
    folder.mkdir()
    for number in range(6000):
        (folder / f"{number}.png").write_bytes(b"no picture")
    full = config({"path": "broken"})
    until(lambda: store.statistics(full)["complete"], 240)
    started = time.monotonic()
    assert store.statistics(full)["concepts"][0]["broken"]["count"] == 6000
    assert time.monotonic() - started < 2


@pytest.mark.slow
def test_what_cannot_be_previewed_is_explained(base: Path, store: ConceptStore) -> None:
    """This covers an unknown concept, an empty folder and a broken image."""
    with pytest.raises(PathNotFoundError):
        store.preview(config(), 7)
    (base / "empty").mkdir()
    with pytest.raises(DatasetError, match="no images in 'empty'"):
        store.preview(config({"path": "empty"}), 0)
    with pytest.raises(DatasetError, match=r"e\.png"):
        store.preview(config(), 0, image_index=4)
