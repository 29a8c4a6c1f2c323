"""A tiny model in the layout of Stable Diffusion 1.5, its images, and a recorded run on them."""

from __future__ import annotations

import copy
import gc
import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.engine.lean_imports import unused_omitted
from tests.engine.recording import FakeControl, Recorder

with unused_omitted():  # as runs import it; the tests of bitsandbytes and peft import these themselves
    import_module("diffusers.loaders.single_file_utils")
    import_module("diffusers.models.autoencoders.autoencoder_kl")
    import_module("transformers.models.clip.modeling_clip")

GOLDEN = Path(__file__).parent.parent / "fixtures" / "golden"


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Use one thread: with several, tiny models are slower because the threads wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def _imported():
    """Freeze the imported modules: each run ends with a garbage collection, which would walk through them."""
    import_module("onetrainer_gradio.engine.families.stable_diffusion")
    import_module("diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion")
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _imported_for_runs(request):
    """Import what runs need; the fast tests don't."""
    if request.node.get_closest_marker("slow"):
        request.getfixturevalue("_imported")


@pytest.fixture
def as_in_runs():
    """Omit peft, which diffusers imports for a forward pass: several seconds in each process that tests."""
    with unused_omitted():
        yield


@pytest.fixture(scope="session")
def recorded() -> dict[str, Any]:
    """Return what the recorded run did, step by step."""
    return json.loads((GOLDEN / "run.json").read_text())


@pytest.fixture(scope="session")
def recorded_tensors() -> dict[str, Any]:
    """Return the tensors of the recorded run."""
    from safetensors.torch import load_file

    return load_file(GOLDEN / "run.safetensors")


@pytest.fixture(scope="session")
def initial_adapter(tmp_path_factory, recorded_tensors) -> Path:
    """Return the adapter that the recorded run started with."""
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("adapter") / "initial.safetensors"
    before = {key.removeprefix("before."): value for key, value in recorded_tensors.items() if key.startswith("before.")}
    save_file(before, path)
    return path


@pytest.fixture(scope="session")
def few_images(tmp_path_factory) -> Path:
    """Return six of the images with their captions."""
    folder = tmp_path_factory.mktemp("images")
    for image in sorted((GOLDEN / "data").glob("*.png"))[:6]:
        shutil.copy(image, folder)
        shutil.copy(image.with_suffix(".txt"), folder)
    return folder


def configuration(tmp_path: Path, recorded: dict[str, Any], few: Path, **changes: Any) -> TrainConfig:
    """Return a run on the tiny model: LoRA on two layers of each block, batches of two, everything else off."""
    folder = changes.pop("images", few)
    concept = {"__version": 2, "name": "tiny", "path": str(folder), "seed": 1, **changes.pop("concept", {})}
    document = {
        **copy.deepcopy(recorded["config"]),
        "base_model_name": str(GOLDEN / "model"),
        "workspace_dir": str(tmp_path / "workspace"),
        "cache_dir": str(tmp_path / "cache"),
        "output_model_destination": str(tmp_path / "out" / "lora.safetensors"),
        "clear_cache_before_training": False,
        "batch_size": 2,
        "epochs": 2,
        "concepts": [concept],
        "samples": [],
        "layer_filter": "attn2",
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = document
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return from_document(document)[0]


@pytest.fixture
def configured(tmp_path, recorded, few_images) -> Callable[..., TrainConfig]:
    """Return a function that creates configurations of runs; a name with two underscores is a path (``unet__train``)."""
    return lambda **changes: configuration(tmp_path, recorded, few_images, **changes)


@pytest.fixture(scope="session")
def plain(tmp_path_factory, recorded, few_images) -> Recorder:
    """Return the events of a run with the unchanged configuration."""
    from onetrainer_gradio import engine

    recorder = Recorder()
    engine.run(configuration(tmp_path_factory.mktemp("plain"), recorded, few_images), recorder, FakeControl(), RunOptions())
    return recorder


@pytest.fixture
def train() -> Callable[..., tuple[str, Recorder]]:
    """Run the engine to its end and return (outcome, its events)."""
    from onetrainer_gradio import engine

    def go(
        config: TrainConfig, recorder: Recorder | None = None, control: FakeControl | None = None, **options: Any
    ) -> tuple[str, Recorder]:
        recorder = recorder or Recorder()
        return engine.run(config, recorder, control or FakeControl(), RunOptions(**options)), recorder

    return go
