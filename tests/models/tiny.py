"""Write tiny untrained models with the topology of the published ones: same blocks, levels and names, very few channels.

``python -m tests.models.tiny MODEL_TYPE FOLDER`` writes one manually.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors.torch import save_file

from tests.models.tokenizers import CLIP_LENGTH, END, START, clip_vocabulary, t5_tokens, write_clip, write_t5
from tests.models.weights import Config, fill, tensors_of

CLIP_WIDTH = 16
T5_WIDTH = 32
CROSS = "CrossAttnDownBlock2D"
UP = "CrossAttnUpBlock2D"


def _vae(channels: int, **settings: Any) -> tuple[str, Config]:
    return "AutoencoderKL", {
        "block_out_channels": (8, 8, 16, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": channels,
        "norm_num_groups": 4,
        "sample_size": 64,
    } | settings


def _unet(**settings: Any) -> tuple[str, Config]:
    return "UNet2DConditionModel", {
        "sample_size": 8,
        "block_out_channels": (8, 8, 16, 16),
        "down_block_types": (CROSS, CROSS, CROSS, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", UP, UP, UP),
        "layers_per_block": 2,
        "attention_head_dim": 2,
        "cross_attention_dim": CLIP_WIDTH,
        "norm_num_groups": 4,
    } | settings


def _unet_xl(channels: int) -> tuple[str, Config]:
    return _unet(
        in_channels=channels,
        sample_size=16,
        block_out_channels=(8, 16, 16),
        down_block_types=("DownBlock2D", CROSS, CROSS),
        up_block_types=(UP, UP, "UpBlock2D"),
        attention_head_dim=(1, 2, 4),
        transformer_layers_per_block=(1, 1, 2),
        use_linear_projection=True,
        cross_attention_dim=2 * CLIP_WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + CLIP_WIDTH,
    )


def _clip(layers: int = 3, *, projection: bool = False, act: str = "quick_gelu") -> tuple[str, Config]:
    vocabulary, _ = clip_vocabulary()
    return "CLIPTextModelWithProjection" if projection else "CLIPTextModel", {
        "vocab_size": len(vocabulary),
        "hidden_size": CLIP_WIDTH,
        "intermediate_size": 4 * CLIP_WIDTH,
        "projection_dim": CLIP_WIDTH,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "max_position_embeddings": CLIP_LENGTH,
        "hidden_act": act,
        "bos_token_id": vocabulary[START],
        "eos_token_id": vocabulary[END],
        "pad_token_id": vocabulary[END],
    }


def _t5() -> tuple[str, Config]:
    return "T5EncoderModel", {
        "vocab_size": len(t5_tokens()),
        "d_model": T5_WIDTH,
        "d_kv": 8,
        "d_ff": 64,
        "num_heads": 4,
        "num_layers": 2,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,  # OneTrainer samples the dropout without a seed while it is trained
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "tie_word_embeddings": False,
    }


def _sd3(**settings: Any) -> tuple[str, Config]:
    return "SD3Transformer2DModel", {
        "sample_size": 16,
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "joint_attention_dim": T5_WIDTH,
        "caption_projection_dim": 16,
        "pooled_projection_dim": 2 * CLIP_WIDTH,
        "pos_embed_max_size": 16,
    } | settings


def _flux(channels: int) -> tuple[str, Config]:
    return "FluxTransformer2DModel", {
        "in_channels": channels,
        "out_channels": 64,
        "num_layers": 2,
        "num_single_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "axes_dims_rope": (4, 6, 6),
        "joint_attention_dim": T5_WIDTH,
        "pooled_projection_dim": CLIP_WIDTH,
        "guidance_embeds": True,
    }


BETAS: Config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def _betas(prediction: str) -> tuple[str, Config]:
    return "DDIMScheduler", BETAS | {
        "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "prediction_type": prediction,
    }  # fmt: skip


def _flow(*, dynamic: bool) -> tuple[str, Config]:
    shifts = {"base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096}
    return "FlowMatchEulerDiscreteScheduler", {"shift": 3.0, "use_dynamic_shifting": dynamic} | shifts


Clip = Callable[[Path], None]
Components = dict[str, tuple[str, Config]]


def _first(folder: Path) -> None:
    write_clip(folder)


def _second(folder: Path) -> None:
    write_clip(folder, pad="!")


def _stable_diffusion(prediction: str = "epsilon", channels: int = 4, *, second: bool = False) -> tuple[str, Components]:
    text = _clip(23, act="gelu") if second else _clip()  # OpenCLIP-H without its last layer: single files name all 23
    unet = _unet(in_channels=channels, use_linear_projection=True, attention_head_dim=(1, 2, 2, 2)) if second else None
    parts = {
        "text_encoder": text,
        "tokenizer": ("CLIPTokenizer", {"write": _second if second else _first}),
        "unet": unet or _unet(in_channels=channels),
        "vae": _vae(4, scaling_factor=0.18215),
        "scheduler": _betas(prediction),
    }
    return "StableDiffusionInpaintPipeline" if channels == 9 else "StableDiffusionPipeline", parts


def _stable_diffusion_xl(channels: int = 4) -> tuple[str, Components]:
    parts = {
        "text_encoder": _clip(),
        "text_encoder_2": _clip(32, projection=True, act="gelu"),  # single files name all 32 layers
        "tokenizer": ("CLIPTokenizer", {"write": _first}),
        "tokenizer_2": ("CLIPTokenizer", {"write": _second}),
        "unet": _unet_xl(channels),
        "vae": _vae(4, scaling_factor=0.13025),
        "scheduler": _betas("epsilon"),
    }
    return "StableDiffusionXLInpaintPipeline" if channels == 9 else "StableDiffusionXLPipeline", parts


def _stable_diffusion_3(**settings: Any) -> tuple[str, Components]:
    return "StableDiffusion3Pipeline", {
        "text_encoder": _clip(projection=True),
        "text_encoder_2": _clip(projection=True, act="gelu"),
        "text_encoder_3": _t5(),
        "tokenizer": ("CLIPTokenizer", {"write": _first}),
        "tokenizer_2": ("CLIPTokenizer", {"write": _second}),
        "tokenizer_3": ("T5TokenizerFast", {"write": write_t5}),
        "transformer": _sd3(**settings),
        "vae": _vae(16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False),
        "scheduler": _flow(dynamic=False),
    }


def _flux_1(channels: int = 64) -> tuple[str, Components]:
    return "FluxFillPipeline" if channels > 64 else "FluxPipeline", {
        "text_encoder": _clip(),
        "text_encoder_2": _t5(),
        "tokenizer": ("CLIPTokenizer", {"write": _first}),
        "tokenizer_2": ("T5TokenizerFast", {"write": write_t5}),
        "transformer": _flux(channels),
        "vae": _vae(16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
        "scheduler": _flow(dynamic=True),
    }


MODELS: Mapping[str, Callable[[], tuple[str, Components]]] = {
    "STABLE_DIFFUSION_15": _stable_diffusion,
    "STABLE_DIFFUSION_15_INPAINTING": lambda: _stable_diffusion(channels=9),
    "STABLE_DIFFUSION_20": lambda: _stable_diffusion("v_prediction", second=True),
    "STABLE_DIFFUSION_20_BASE": lambda: _stable_diffusion(second=True),
    "STABLE_DIFFUSION_20_INPAINTING": lambda: _stable_diffusion(channels=9, second=True),
    "STABLE_DIFFUSION_21": lambda: _stable_diffusion("v_prediction", second=True),
    "STABLE_DIFFUSION_21_BASE": lambda: _stable_diffusion(second=True),
    "STABLE_DIFFUSION_XL_10_BASE": _stable_diffusion_xl,
    "STABLE_DIFFUSION_XL_10_BASE_INPAINTING": lambda: _stable_diffusion_xl(9),
    "STABLE_DIFFUSION_3": _stable_diffusion_3,
    "STABLE_DIFFUSION_35": lambda: _stable_diffusion_3(qk_norm="rms_norm", dual_attention_layers=(0,)),
    "FLUX_DEV_1": _flux_1,
    "FLUX_FILL_DEV_1": lambda: _flux_1(384),
}
"""Pipeline class and components of each model type."""


def write_model(model_type: str, folder: Path) -> Path:
    """Write the tiny model of a type as a diffusers folder.

    :raises KeyError: for a type that has none yet.
    """
    pipeline, components = MODELS[model_type]()
    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": "0.30.0"}
    of_transformers = frozenset(transformers.__all__)
    for name, (kind, settings) in components.items():
        place = folder / name
        index[name] = ["transformers" if kind in of_transformers else "diffusers", kind]
        if "write" in settings:
            settings["write"](place)
        elif name == "scheduler":
            getattr(diffusers, kind)(**settings).save_pretrained(place)
        elif name.startswith("text_encoder"):
            _write_encoder(name, kind, settings, place)
        else:
            _write_component(name, kind, settings, place)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    return folder


def _write_component(name: str, kind: str, settings: Config, folder: Path) -> None:
    module = getattr(diffusers, kind)(**settings)
    fill(name, module)
    module.save_pretrained(folder)


def _write_encoder(name: str, kind: str, settings: Config, folder: Path) -> None:
    config = (transformers.T5Config if kind.startswith("T5") else transformers.CLIPTextConfig)(**settings, architectures=[kind])
    module = getattr(transformers, kind)(config)
    fill(name, module)
    config.save_pretrained(folder)
    # published files have the level text_model, which CLIPTextModel of newer transformers lacks
    bare = kind.startswith("CLIP") and not any(key.startswith("text_model.") for key in module.state_dict())
    tensors = tensors_of(module, "text_model." if bare else "")
    tensors.pop("encoder.embed_tokens.weight", None)  # the same tensor as shared.weight
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    with torch.random.fork_rng():
        write_model(sys.argv[1], Path(sys.argv[2]))
