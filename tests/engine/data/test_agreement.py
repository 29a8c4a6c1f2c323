"""The pre-flight check, the page's statistics and the engine agree on every dataset."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.dataset.reader import ImageSizeReader
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.engine.data.dataset import Collection, Dataset, Reports
from onetrainer_gradio.errors import DatasetError
from onetrainer_gradio.service.datasets.concepts import ConceptStore
from tests.engine.data.test_dataset import Averages

pytestmark = pytest.mark.exhaustive

NAMES = st.text(st.sampled_from("ab .-_é字\n'[%"), min_size=1, max_size=5).filter(lambda name: name not in (".", ".."))
SUFFIXES = st.sampled_from([".png", ".PNG", ".jpg", ".Jpeg", ".webp", ".tif", ".gif", ".txt", ".TXT", "-masklabel.png", ".json"])
SIDES = st.integers(1, 90)
BOM = b"\xef\xbb\xbf"
CAPTIONS = st.sampled_from(
    [None, b"", b"a", b"a\r\nb", b"\r\n\n", BOM + b"a\x0bb", "a\u2028é".encode("utf-16"), "é".encode("cp1252"), b"a\rb\r"]
)
FOLDERS = st.sampled_from(["", "", "in", "in/deep", ".hidden", "in.png"])
FILES = st.lists(st.tuples(FOLDERS, NAMES, SUFFIXES, st.sampled_from("ooooobzl"), SIDES, SIDES, CAPTIONS), max_size=9)
CONCEPTS = st.fixed_dictionaries(
    {
        "include_subdirectories": st.booleans(),
        "enabled": st.sampled_from([True, True, True, False]),
        "type": st.sampled_from(["STANDARD", "STANDARD", "VALIDATION", "PRIOR_PREDICTION"]),
        "balancing": st.sampled_from([1.0, 1.0, 0.0, 0.5, 0.7, 2.0, 2.5, 3.0]),
        "balancing_strategy": st.sampled_from(["REPEATS", "SAMPLES"]),
        "text": st.sampled_from([{}, {"prompt_source": "filename"}]),
        "image": st.sampled_from([{}, {}, {"enable_resolution_override": True, "resolution_override": "40x72"}]),
    }
)


def build(folder: Path, files) -> None:
    """Create images, captions, masks, broken files (b), empty ones (z) and links to the parent (l)."""
    folder.mkdir()
    for inside, name, suffix, kind, width, height, caption in files:
        place = folder / inside
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{name}{suffix}"
        if os.path.lexists(path):
            continue
        if kind == "l":
            path.symlink_to(place)
        elif kind != "o" or not suffix.lower().endswith((".png", ".jpg", ".jpeg", ".webp", ".tif", ".gif")):
            path.write_bytes(b"broken" if kind == "b" else b"")
        else:
            exif = Image.Exif()
            exif[0x0112] = 1 + width % 8
            Image.new("RGB", (width, height)).save(path, exif=exif)
        text = path.with_suffix(".txt")
        if caption is not None and not os.path.lexists(text):
            text.write_bytes(caption)


@pytest.mark.slow
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    data=st.lists(st.tuples(FILES, CONCEPTS), min_size=1, max_size=3),
    resolution=st.sampled_from(["64", "32", "50", "64x40", " 48 ", "64,64"]),
    bucketing=st.booleans(),
    batch=st.integers(1, 3),
    cached=st.booleans(),
)
def test_check_statistics_and_engine_agree(data, resolution, bucketing, batch, cached):
    """Images, sizes, captions, buckets and steps are the same, however strange the folders are."""
    with tempfile.TemporaryDirectory() as made:
        base = Path(made)
        concepts = []
        for number, (files, concept) in enumerate(data):
            build(base / f"c{number}", files)
            concepts.append({"path": str(base / f"c{number}"), "seed": 1, **concept})
        document = {
            "model_type": "STABLE_DIFFUSION_15",
            "cache_dir": str(base / "cache"),
            "resolution": resolution,
            "batch_size": batch,
            "aspect_ratio_bucketing": bucketing,
            "latent_caching": cached,
            "concepts": concepts,
        }
        compare(from_document(document)[0], base)


def compare(config: TrainConfig, base: Path) -> None:
    """Compare the three results for the data of a configuration."""
    plan = Plan(config, base, reader=ImageSizeReader(limit_s=60))
    statistics = ConceptStore(base, (), base / "thumbnails").statistics(config)
    assert statistics["complete"]
    reports = Reports(lambda warning: None, lambda done, total: None, lambda: None)
    if not statistics["total"]["images"]:
        with pytest.raises(DatasetError, match="no images"):
            Collection.of(config, reports, validation=False)
        return
    collection = Collection.of(config, reports, validation=False)
    trained = {number for number, concept in plan.concepts if concept.type != "VALIDATION"}
    broken = {path for number in trained for path, _ in plan.sizes[number].broken}
    expected = [(number, path) for number in sorted(trained) for path in plan.folders[number].items if path not in broken]
    assert [(image.concept, image.path) for image in collection.images] == expected
    sizes = [size for number in sorted(trained) for size in plan.sizes[number].sizes]
    assert [image.size_px for image in collection.images] == sizes
    for image in collection.images:
        if image.concept in plan.captions:
            texts = dict(plan.captions[image.concept].texts)
            file = plan.folders[image.concept].caption_of(image.path)
            assert image.captions == ((texts[file].lines if file else ()) or ("",))
    data = Dataset.open(config, Averages(), reports, collection=collection, text_fixed=True, dtype=torch.float32, facts={})
    items = data.items(0)
    buckets = Counter(data.transform(item).size_px for item in items)
    assert plan.buckets == buckets
    try:
        steps = len(data.plan(0))
    except DatasetError:
        steps = 0
    total = statistics["total"]
    assert (total["images"], total["per_epoch"]) == (data.images, len(items))
    assert plan.steps_per_epoch == total["steps_per_epoch"] == steps
