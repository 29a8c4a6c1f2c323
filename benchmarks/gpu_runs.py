"""Create models and configurations for runs on a GPU: the demo's model, and full-size models with random weights.

Nothing is downloaded. ``reduced`` builds the same architecture with few channels, so that every path can be rehearsed on a CPU.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from onetrainer_gradio.config import TrainConfig  # noqa: E402
from onetrainer_gradio.config.enums import ModelType  # noqa: E402
from onetrainer_gradio.config.families.published_configs import Published, published  # noqa: E402
from onetrainer_gradio.config.files.documents import from_document  # noqa: E402
from onetrainer_gradio.demo import DEMO_FOLDER  # noqa: E402

DEMO_MODEL = DEMO_FOLDER / "model"
METHODS = ("LORA", "FINE_TUNE")
DTYPES = ("FLOAT_32", "BFLOAT_16", "FLOAT_16")

_BLOCKS = 4
# the published sizes of Stable Diffusion 1.5, and the same architecture with few channels
FULL_SIZE = {
    "unet": (320, 640, 1280, 1280),
    "vae": (128, 256, 512, 512),
    "text": 768,
    "text_layers": 12,
    "groups": 32,
    "resolution": 512,
}
REDUCED = {"unet": (32, 32, 64, 64), "vae": (16, 16, 32, 32), "text": 32, "text_layers": 2, "groups": 8, "resolution": 64}


def random_sd15(folder: Path, *, reduced: bool = False, device: str = "cpu") -> Path:
    """Write a Stable Diffusion 1.5 with random weights in diffusers layout; the weights are generated on ``device``."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    size: Mapping[str, Any] = REDUCED if reduced else FULL_SIZE
    torch.manual_seed(0)
    with torch.device(device):
        parts = {
            "unet": UNet2DConditionModel(
                sample_size=64,
                block_out_channels=size["unet"],
                cross_attention_dim=size["text"],
                attention_head_dim=8,
                norm_num_groups=size["groups"],
            ),
            "vae": AutoencoderKL(
                block_out_channels=size["vae"],
                down_block_types=("DownEncoderBlock2D",) * _BLOCKS,
                up_block_types=("UpDecoderBlock2D",) * _BLOCKS,
                layers_per_block=2,
                latent_channels=4,
                norm_num_groups=size["groups"],
                sample_size=512,
            ),
            "text_encoder": CLIPTextModel(
                CLIPTextConfig(
                    hidden_size=size["text"],
                    intermediate_size=4 * size["text"],
                    num_hidden_layers=size["text_layers"],
                    num_attention_heads=size["text"] // 64 or 4,
                    projection_dim=size["text"],
                    vocab_size=49408,
                )
            ),
        }
    for name, module in parts.items():
        # half precision halves the time on the disk; the run's own settings say in which precision weights are loaded
        module.half().save_pretrained(folder / name)
    for name in ("tokenizer", "scheduler"):
        shutil.copytree(DEMO_MODEL / name, folder / name)
    shutil.copy(DEMO_MODEL / "model_index.json", folder / "model_index.json")
    return folder


TYPES = {"sdxl": "STABLE_DIFFUSION_XL_10_BASE", "flux": "FLUX_DEV_1"}
"""The models that are created from their published configurations."""
_T5_LAYERS = 2
"""Of T5, which encodes captions before the training: with all layers it would take 9 GB of disk, and measure nothing more."""


def random_model(folder: Path, name: str, *, reduced: bool = False, device: str = "cpu") -> Path:
    """Write a model of ``TYPES`` with random bfloat16 weights in diffusers layout; ``reduced``: the tiny one of the tests."""
    if reduced:
        from tests.models.tiny import write_model

        return write_model(TYPES[name], folder)
    known = published(ModelType(TYPES[name]))
    assert known is not None
    index = json.loads((known.folder / "model_index.json").read_text(encoding="utf-8"))
    for part, entry in index.items():
        if isinstance(entry, list) and entry[1] and (known.folder / part / "config.json").is_file():
            _write_random(known.folder / part / "config.json", entry, folder / part, device)
    shutil.copytree(known.folder / "scheduler", folder / "scheduler")
    shutil.copy(known.folder / "model_index.json", folder / "model_index.json")
    _write_tokenizers(known, index, folder)
    return folder


def _write_random(settings: Path, entry: list[str], folder: Path, device: str) -> None:
    import torch

    library, class_name = entry
    kind = getattr(import_module(library), class_name)
    config = json.loads(settings.read_text(encoding="utf-8"))
    if "T5" in class_name:
        config["num_layers"] = _T5_LAYERS
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)  # in float32, FLUX.1 would need 48 GB while it is created
    try:
        with torch.device(device):
            module = kind(kind.config_class.from_dict(config)) if library == "transformers" else kind.from_config(config)
    finally:
        torch.set_default_dtype(before)
    module.to(torch.bfloat16).save_pretrained(folder)


def _write_tokenizers(known: Published, index: Mapping[str, Any], folder: Path) -> None:
    import transformers

    for name, tokenizer in known.tokenizers.items():
        kind = getattr(transformers, index[name][1])
        kind.from_pretrained(tokenizer.folder, **tokenizer.options).save_pretrained(folder / name)


def settings_of(name: str, method: str, dtype: str) -> dict[str, Any]:
    """Return the settings in which a model differs from Stable Diffusion 1.5."""
    if name not in TYPES:
        return {}
    full = method == "FINE_TUNE"
    common = {
        "model_type": TYPES[name],
        "output_model_format": "DIFFUSERS" if full else "DIFFUSERS_LORA",
        "output_dtype": "BFLOAT_16",
        "text_encoder_2": {"train": False, "weight_dtype": dtype},
        "vae": {"weight_dtype": dtype},
    }
    trained = {"train": True, "weight_dtype": "FLOAT_32" if full else dtype, "gradient_checkpointing": True}
    if name == "flux":
        return common | {"transformer": trained, "unet": {"train": False}, "layer_filter": "" if full else "attn"}
    return common | {"unet": trained}


def write_images(folder: Path, count: int = 6, side: int = 512) -> Path:
    """Write captioned images of one size."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = Image.linear_gradient("L").resize((side, side)).rotate(60 * number)
        Image.merge("RGB", (image, image.rotate(90), image.rotate(180))).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a gradient of {60 * number} degrees")
    return folder


def configuration(
    folder: Path, model: Path, images: Path, *, method: str, dtype: str, device: str, **changes: Any
) -> TrainConfig:
    """Return a configuration for ``device``: trained weights in fp32, the others and the computation in ``dtype``.

    A change with two underscores in its name is a path (``unet__train``).
    """
    full = method == "FINE_TUNE"
    document: dict[str, Any] = {
        "__version": 11,
        "training_method": method,
        "model_type": "STABLE_DIFFUSION_15",
        "base_model_name": str(model),
        "workspace_dir": str(folder / "workspace"),
        "cache_dir": str(folder / "cache"),
        "output_model_destination": str(folder / ("model.safetensors" if full else "lora.safetensors")),
        "output_model_format": "LEGACY_SAFETENSORS" if full else "KOHYA_LORA",
        "output_dtype": "FLOAT_16",
        "include_train_config": "NONE",
        "offline_mode": True,
        "tensorboard": False,
        "train_device": device,
        "temp_device": "cpu",
        "train_dtype": dtype,
        "unet": {"train": True, "weight_dtype": "FLOAT_32" if full else dtype, "gradient_checkpointing": False},
        "text_encoder": {"train": False, "weight_dtype": dtype},
        "vae": {"weight_dtype": "FLOAT_32"},
        "lora_rank": 8,
        "lora_alpha": 8.0,
        "lora_weight_dtype": "FLOAT_32",
        "optimizer": {"optimizer": "ADAMW", "fused": True, "foreach": False, "stochastic_rounding": False},
        "learning_rate": 1e-5 if full else 1e-3,
        "learning_rate_warmup_steps": 0,
        "resolution": "64",
        "batch_size": 2,
        "epochs": 2,
        "dataloader_threads": 2,
        "clear_cache_before_training": False,
        "layer_filter": "" if full else "attentions",
        "concepts": [{"__version": 2, "name": "gradients", "path": str(images), "seed": 1}],
        "samples": [],
        "sample_after_unit": "NEVER",
        "backup_after_unit": "NEVER",
        "backup_before_save": False,
        "save_every_unit": "NEVER",
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = document
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return from_document(json.loads(json.dumps(document)))[0]
