"""Base models are downloaded from a stand-in for the Hugging Face Hub with the real library; errors are repaired or reported.

Covers ``service/hub/blobs.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from onetrainer_gradio.config.repository_files import DIFFUSERS, SMALL, TRANSFORMERS
from onetrainer_gradio.engine.hub import Hub
from onetrainer_gradio.errors import (
    DiskFullError,
    HubAccessError,
    HubError,
    HubNotFoundError,
    HubUnreachableError,
    ModelFormatError,
    PathNotFoundError,
    RunConflictError,
)
from onetrainer_gradio.service.hub import downloads as module
from onetrainer_gradio.service.hub.client import HubClient
from onetrainer_gradio.service.hub.downloads import Downloads
from tests.fakes.hub import FakeHub

NAME = "maker/tiny-sd"
PARTS = {"unet": DIFFUSERS[0], "vae": DIFFUSERS[0], "text_encoder": TRANSFORMERS[0]}


def weights(size: int, seed: int = 1) -> bytes:
    """Return a safetensors file with one tensor."""
    head = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    period = bytes((seed * index) % 251 for index in range(251))
    return struct.pack("<Q", len(head)) + head + (period * (size // 251 + 1))[:size]


def add_model(hub: FakeHub, name: str = NAME, size: int = 300_000, **known):
    return hub.add(
        name,
        {
            "model_index.json": '{"_class_name": "StableDiffusionPipeline"}',
            "scheduler/scheduler_config.json": "{}",
            "tokenizer/vocab.json": "{}",
            "unet/config.json": "{}",
            "unet/diffusion_pytorch_model.safetensors": weights(size),
            "unet/diffusion_pytorch_model.fp16.safetensors": weights(size, 3),
            "vae/config.json": "{}",
            "vae/diffusion_pytorch_model.safetensors": weights(size // 2, 5),
            "text_encoder/config.json": "{}",
            "text_encoder/model.safetensors": weights(20_000, 7),
            "text_encoder/pytorch_model.bin": b"x" * 20_000,
            "safety_checker/model.safetensors": weights(20_000, 11),
            "v1-5.ckpt": b"y" * 50_000,
        },
        tags=["diffusers:StableDiffusionPipeline", "license:mit"],
        **known,
    )


@pytest.fixture
def cache(tmp_path):
    """Return the cache folder of the library."""
    return tmp_path / "cache"


@pytest.fixture
def make(tmp_path, cache, hub):
    """Return a function that creates a panel's downloads, always in the same data folder."""
    made = []

    def new(token: str = "", **options) -> Downloads:
        known = {"pause_s": 0.01, "cache": lambda: str(cache), **options}
        made.append(Downloads(tmp_path / "downloads.json", HubClient(lambda: token), **known))
        made[-1].open()
        return made[-1]

    yield new
    for each in made:
        each.close()


def start(downloads: Downloads, name: str = NAME, **chosen) -> dict:
    return downloads.start(name, **chosen)


def finished(downloads: Downloads, name: str = NAME) -> dict:
    return downloads.wait(start(downloads, name)["id"], 30)


@pytest.mark.slow
def test_only_what_training_needs_arrives_in_the_cache_that_training_reads(make, hub, cache):
    """Variants, other formats, the safety checker and single files are skipped; the library finds the model offline."""
    model = add_model(hub)
    downloads = make()
    done = finished(downloads)
    assert (done["state"], done["done"]) == ("done", done["total"]), done
    patterns = (*SMALL, *(f"{part}/{name}" for part, name in PARTS.items()))
    folder = Hub(None, True, str(cache)).locate(NAME, patterns)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
    }
    for name in found:
        assert (folder / name).read_bytes() == model.files[name]
    assert not list(cache.rglob("*.incomplete"))


@pytest.mark.slow
def test_a_download_that_breaks_off_continues_where_it_was(make, hub):
    """A range request gets the rest, and nothing is downloaded twice."""
    add_model(hub)
    hub.fault("unet/diffusion_pytorch_model.safetensors", times=2, cut_after=100_000)
    assert finished(make())["state"] == "done"
    assert hub.ranges[:2] == ["bytes=100000-", "bytes=200000-"]


@pytest.mark.slow
def test_a_paused_download_resumes_also_in_another_panel(make, hub, cache):
    """The model can't be found until it is complete."""
    add_model(hub, size=3_000_000)
    hub.fault("unet/diffusion_pytorch_model.safetensors", bytes_per_s=2_000_000)
    downloads = make()
    started = start(downloads)
    until(lambda: arrived(cache, hub) > 500_000)
    paused = downloads.pause(started["id"])
    assert paused["state"] == "paused"
    assert 0 < paused["done"] < paused["total"]
    with pytest.raises(LocalEntryNotFoundError):
        snapshot_download(NAME, cache_dir=cache, local_files_only=True)
    downloads.close()
    later = make()
    assert [each["state"] for each in later.list()] == ["paused"]
    later.resume(started["id"])
    assert later.wait(started["id"], 30)["state"] == "done"
    assert any(int(each[6:-1]) >= 100_000 for each in hub.ranges)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_download_that_runs_when_the_panel_ends_continues_with_the_next(make, hub, cache):
    add_model(hub, size=3_000_000)
    hub.fault("unet/diffusion_pytorch_model.safetensors", bytes_per_s=2_000_000)
    downloads = make()
    started = start(downloads)
    until(lambda: arrived(cache, hub) > 500_000)
    downloads.close()
    assert make().wait(started["id"], 30)["state"] == "done"


@pytest.mark.slow
def test_wrong_bytes_are_downloaded_again_and_never_kept(make, hub, cache):
    """One wrong checksum is repaired; a persistent one is reported, and no file remains."""
    add_model(hub)
    hub.fault("GET /maker/tiny-sd/resolve", wrong_bytes=True)
    assert finished(make())["state"] == "done"
    add_model(hub, "maker/broken")
    hub.fault("broken/resolve", times=100, wrong_bytes=True)
    downloads = make()
    failed = finished(downloads, "maker/broken")
    assert failed["state"] == "failed"
    assert "checksum" in failed["error"]
    blobs = cache / "models--maker--broken" / "blobs"
    assert not list(blobs.iterdir())
    hub.faults.clear()
    downloads.resume(failed["id"])
    assert downloads.wait(failed["id"], 30)["state"] == "done"


@pytest.mark.slow
def test_a_busy_hub_is_asked_again(make, hub):
    """429 with a delay, and 503, are retried."""
    add_model(hub)
    hub.fault("unet/diffusion", status=429, retry_after=0)
    hub.fault("vae/diffusion", status=503, times=2)
    assert finished(make())["state"] == "done"


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_hub_that_stays_away_is_a_failure_that_can_be_resumed(make, hub):
    add_model(hub)
    hub.fault("unet/diffusion", status=503, times=100)
    downloads = make()
    failed = finished(downloads)
    assert (failed["state"], "can't be reached" in failed["error"]) == ("failed", True)
    hub.faults.clear()
    assert start(downloads)["id"] == failed["id"]
    assert downloads.wait(failed["id"], 30)["state"] == "done"


@pytest.mark.exhaustive
@pytest.mark.slow
def test_gated_and_unknown_repositories_are_named(make, hub):
    """The error comes before the download; with accepted conditions, it works."""
    add_model(hub, gated="auto")
    with pytest.raises(HubAccessError, match="gated"):
        start(make())
    hub.account("hf_friend", "bob", accepted=(NAME,))
    with pytest.raises(HubNotFoundError, match="doesn't exist"):
        start(make(), "maker/none")
    with pytest.raises(HubAccessError, match="token"):
        start(make("hf_wrong"))
    assert finished(make("hf_friend"))["state"] == "done"


def test_a_repository_without_a_pipeline_is_rejected(make, hub):
    hub.add("maker/text", {"config.json": "{}"})
    with pytest.raises(ModelFormatError, match="diffusers layout"):
        start(make(), "maker/text")


def test_without_the_hub_the_reason_is_named(make, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubUnreachableError, match="can't be reached"):
        start(make())


@pytest.mark.slow
def test_too_little_space_is_reported_before(make, hub, monkeypatch):
    add_model(hub)
    monkeypatch.setattr(module, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(DiskFullError, match="are free"):
        start(make())
    assert hub.hits("/resolve/") == 0


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_removed_download_leaves_nothing(make, hub, cache):
    add_model(hub, size=3_000_000)
    hub.fault("unet/diffusion_pytorch_model.safetensors", bytes_per_s=2_000_000)
    downloads = make()
    started = start(downloads)
    until(lambda: arrived(cache, hub) > 500_000)
    downloads.remove(started["id"])
    assert downloads.list() == []
    assert not list((cache / "models--maker--tiny-sd" / "blobs").iterdir())
    with pytest.raises(PathNotFoundError):
        downloads.get(started["id"])


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_removed_download_deletes_nothing_of_other_programs(make, hub, cache):
    """Other programs' partial files, contents of their snapshots, and files that another download needs stay."""
    model = add_model(hub, size=3_000_000)
    hub.fault("unet/diffusion_pytorch_model.safetensors", times=1000, bytes_per_s=2_000_000)
    downloads = make()
    snapshot = snapshot_download(NAME, cache_dir=cache, endpoint=hub.url, allow_patterns="vae/config.json")
    blobs = cache / "models--maker--tiny-sd" / "blobs"
    theirs = blobs / f"{sha256(model.files['vae/diffusion_pytorch_model.safetensors'])}.incomplete"
    theirs.write_bytes(model.files["vae/diffusion_pytorch_model.safetensors"][:1000])
    hub.fault("vae/diffusion_pytorch_model.safetensors", times=1000, status=503)
    started = start(downloads)
    until(lambda: arrived(cache, hub) > 500_000)
    encoder = Path(snapshot) / "text_encoder" / "model.safetensors"
    until((blobs / (used := sha256(model.files["text_encoder/model.safetensors"]))).exists)
    encoder.parent.mkdir()
    encoder.symlink_to(f"../../../blobs/{used}")
    downloads.remove(started["id"])
    assert {path.name for path in blobs.iterdir()} == {theirs.name, used, (Path(snapshot) / "vae/config.json").resolve().name}
    assert theirs.stat().st_size == 1000
    assert encoder.read_bytes() == model.files["text_encoder/model.safetensors"]


@pytest.mark.slow
def test_a_removed_download_leaves_what_another_one_needs(make, hub, cache):
    add_model(hub)
    hub.fault("unet/diffusion_pytorch_model.safetensors", times=1000, status=404)
    downloads = make()
    first, second = finished(downloads), downloads.wait(start(downloads, revision="v1")["id"], 30)
    blobs = cache / "models--maker--tiny-sd" / "blobs"
    assert {first["state"], second["state"]} == {"failed"}
    before = sorted(blobs.iterdir())
    downloads.remove(first["id"])
    assert sorted(blobs.iterdir()) == before
    downloads.remove(second["id"])


@pytest.mark.slow
def test_only_two_run_at_once(make, hub):
    for number in range(3):
        add_model(hub, f"maker/m{number}")
    hub.fault("/resolve/", times=1000, bytes_per_s=200_000)
    downloads = make()
    ids = [start(downloads, f"maker/m{number}")["id"] for number in range(3)]
    assert sorted(each["state"] for each in downloads.list()) == ["running", "running", "waiting"]
    downloads.pause(ids[0])
    assert downloads.get(ids[2])["state"] == "running"
    with pytest.raises(RunConflictError):
        downloads.pause(ids[0])
    with pytest.raises(RunConflictError):
        downloads.resume(ids[2])


@pytest.mark.slow
def test_a_run_that_needs_the_model_meanwhile_waits_for_it(make, hub, cache):
    """The library waits for the file's lock and doesn't download it again."""
    add_model(hub, size=1_000_000)
    hub.fault("unet/diffusion_pytorch_model.safetensors", bytes_per_s=1_000_000)
    downloads = make()
    started = start(downloads)
    until(lambda: arrived(cache, hub) > 300_000)
    path = snapshot_download(
        NAME,
        cache_dir=cache,
        endpoint=hub.url,
        allow_patterns=["unet/*.safetensors", "unet/*.json"],
        ignore_patterns="*fp16*",
    )
    assert (Path(path) / "unet/diffusion_pytorch_model.safetensors").stat().st_size > 1_000_000
    assert downloads.wait(started["id"], 30)["state"] == "done"
    assert hub.hits("GET /maker/tiny-sd/resolve") == 5  # each file once


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_changed_repository_is_downloaded_as_it_is_now(make, hub):
    """A new commit during a pause replaces the changed files."""
    model = add_model(hub)
    hub.fault("unet/diffusion_pytorch_model.safetensors", status=404)
    downloads = make()
    failed = finished(downloads)
    assert failed["state"] == "failed"
    model.files["unet/diffusion_pytorch_model.safetensors"] = weights(1000, 9)
    downloads.resume(failed["id"])
    done = downloads.wait(failed["id"], 30)
    assert done["state"] == "done"
    assert done["commit"] == model.sha != failed["commit"]


def test_a_checksum_that_would_lead_elsewhere_is_rejected(tmp_path):
    """The checksum becomes a file name."""
    paths = ("model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors")
    files = [SimpleNamespace(rfilename=path, size=2, lfs=None, blob_id="../../../../escaped") for path in paths]
    info = SimpleNamespace(id=NAME, sha="1", gated=False, tags=["diffusers:StableDiffusionPipeline"], config={}, siblings=files)

    class Strange(HubClient):
        def api(self):
            return SimpleNamespace(model_info=lambda *names, **chosen: info)

    downloads = Downloads(tmp_path / "downloads.json", Strange(), cache=lambda: str(tmp_path / "a" / "cache"))
    with pytest.raises(HubError, match="no checksum"):
        downloads.start(NAME)
    downloads.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_unexpected_error_ends_a_download_as_failed(make, hub):
    """Otherwise it would stay active forever; it can be resumed."""
    add_model(hub)
    errors = [RuntimeError("a bug")]

    def changed(download):
        if download["state"] == "running" and errors:
            raise errors.pop()

    downloads = make(changed=changed)
    failed = finished(downloads)
    assert (failed["state"], failed["error"]) == ("failed", "The download ended unexpectedly.")
    downloads.resume(failed["id"])
    assert downloads.wait(failed["id"], 30)["state"] == "done"


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HF_HOME": "/a"}, "/a/hub"),
        ({"HF_HOME": "/a", "HF_HUB_CACHE": "/b"}, "/b"),
        ({"HOME": "/c"}, "/c/.cache/huggingface/hub"),
    ],
)
def test_the_usual_cache_follows_the_variables_of_the_library(variables, expected):
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("HF_", "XDG_", "HUGGINGFACE_"))}
    code = "from onetrainer_gradio.service.hub.downloads import default_cache; print(default_cache())"
    done = subprocess.run([sys.executable, "-c", code], env={**kept, **variables}, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == expected, done.stderr


def arrived(cache: Path, hub: FakeHub) -> int:
    """Return the number of downloaded bytes of the UNet."""
    name = sha256(hub.repositories[NAME].files["unet/diffusion_pytorch_model.safetensors"])
    return max((path.stat().st_size for path in cache.rglob(f"{name}.incomplete")), default=0)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def until(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
