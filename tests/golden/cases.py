"""List the recorded runs: for each a model type and what its settings change."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.families import models
from onetrainer_gradio.config.optimizers import OPTIMIZERS as OPTIMIZER_FACTS
from tests.golden import combinations
from tests.models.images import write_images

STEPS = 4
MORE_STEPS = 5
"""The steps of combinations: two of the second epoch."""
SIZES = [(64, 64), (96, 64), (64, 96), (64, 64), (96, 64), (64, 96)]
ODD_SIZES = [(71, 133), (130, 69), (97, 101), (64, 211), (333, 65), (99, 98), (70, 131), (129, 68), (65, 209), (331, 67)]
PARTS = ("unet", "transformer", "prior", "text_encoder", "text_encoder_2", "text_encoder_3", "text_encoder_4", "vae")
FLOW = frozenset({"STABLE_DIFFUSION_3", "STABLE_DIFFUSION_35", "FLUX_DEV_1", "FLUX_FILL_DEV_1"})
COARSE = FLOW | {"STABLE_DIFFUSION_XL_10_BASE", "STABLE_DIFFUSION_XL_10_BASE_INPAINTING"}
"""Types whose buckets are multiples of 64 pixels."""
PART: Mapping[str, Any] = {
    "train": False,
    "weight_dtype": "FLOAT_32",
    "train_embedding": False,
    "gradient_checkpointing": False,
    "stop_training_after_unit": "NEVER",
}
BASE: Mapping[str, Any] = {
    "__version": 11,
    "offline_mode": True,
    "tensorboard": False,
    "output_dtype": "FLOAT_32",
    "train_device": "cpu",
    "temp_device": "cpu",
    "train_dtype": "FLOAT_32",
    "fallback_train_dtype": "FLOAT_32",
    "dataloader_threads": 1,
    "epochs": 20,
    "batch_size": 2,
    "learning_rate": 3e-4,
    "learning_rate_warmup_steps": 0,
    "learning_rate_scheduler": "CONSTANT",
    "lora_rank": 4,
    "lora_alpha": 2.0,
    "lora_weight_dtype": "FLOAT_32",
    "layer_filter_preset": "custom",
    "optimizer": {"optimizer": "ADAMW", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01, "fused": False},
    "embedding": {
        "uuid": "11111111-2222-3333-4444-555555555555",
        "placeholder": "small",
        "token_count": 2,
        "initial_embedding_text": "red",
    },
    "samples": [],
    "sample_after_unit": "NEVER",
    "backup_after_unit": "NEVER",
    "save_every_unit": "NEVER",
    "backup_before_save": False,
}

Changes = Mapping[str, Any]
"""Settings by path; ``concept.`` begins a path in the concept, ``second.`` one in a second concept."""


@dataclass(frozen=True, eq=False)
class Case:
    """One recorded run."""

    model_type: str
    name: str
    changes: Changes = field(default_factory=dict)
    folder: str = "first"
    """The folder of its first concept."""
    steps: int = STEPS

    @property
    def id(self) -> str:
        """Return the key of its rows."""
        return f"{self.model_type}/{self.name}"

    def document(self, model: Path, images: Path, place: Path, adapter: Path | None = None) -> dict[str, Any]:
        """Return its configuration, with everything it writes below ``place``."""
        document = copy.deepcopy(dict(BASE)) | {name: dict(PART) for name in PARTS}
        document |= {
            "model_type": self.model_type,
            "base_model_name": str(model),
            "workspace_dir": str(place / "workspace"),
            "cache_dir": str(place / "cache"),
            "resolution": "128" if self.model_type in COARSE else "64",
            "lora_model_name": str(adapter or ""),
        }
        concept = {"__version": 2, "name": "first", "path": str(images / self.folder), "seed": 7}
        second = {"__version": 2, "name": "second", "path": str(images / "second"), "seed": 11}
        for path, value in self.changes.items():
            put(document, path, value)
            for name, one in (("concept.", concept), ("second.", second)):
                if path.startswith(name):
                    put(one, path.removeprefix(name), value)
        document.pop("concept", None)
        document["concepts"] = [concept, second] if document.pop("second", None) is not None else [concept]
        folder = document["output_model_format"] == "DIFFUSERS"
        document["output_model_destination"] = str(place / "out" / ("model" if folder else "model.safetensors"))
        return document

    @property
    def has_adapter(self) -> bool:
        """Return whether it starts from the adapter weights of a file."""
        return self.changes["training_method"] == "LORA"


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path."""
    *parents, last = path.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[last] = copy.deepcopy(value)


def family_of(model_type: str) -> str:
    """Return the family of a model type."""
    return next(
        family.__name__.rpartition(".")[2] for family in models.FAMILIES for facts in family.MODELS if facts.type == model_type
    )


def built_in(model_type: str) -> bool:
    """Return whether the built-in engine trains a model type."""
    return any(facts.type == model_type and facts.built_in for family in models.FAMILIES for facts in family.MODELS)


@cache
def main_kinds(case: Case) -> frozenset[Hashable]:
    """Return what a case is an example of: its family, and its method with its adapter type."""
    return frozenset({family_of(case.model_type), (case.changes["training_method"], case.changes.get("peft_type"))})


def write_data(folder: Path) -> Path:
    """Write the images of all cases: concepts with captions and masks, the first one with conditioning images."""
    write_images(folder / "first", SIZES, masks=True, conditioning=True)
    write_images(folder / "second", [(64, 64)] * 4, first=20, masks=True)
    write_images(folder / "plain", SIZES, masks=True)
    write_images(folder / "odd", ODD_SIZES, first=40, masks=True)
    return folder


def denoiser(model_type: str) -> str:
    """Return the configuration's name of the denoiser."""
    return "transformer" if model_type in FLOW else "unet"


def encoders(model_type: str) -> tuple[str, ...]:
    """Return the configuration's names of the text encoders that OneTrainer trains."""
    count = 3 if model_type.startswith("STABLE_DIFFUSION_3") else 2 if model_type in COARSE else 1
    return ("text_encoder", "text_encoder_2", "text_encoder_3")[:count]


def _lora(model_type: str, **changes: Any) -> dict[str, Any]:
    own = {"training_method": "LORA", "output_model_format": "KOHYA_LORA", f"{denoiser(model_type)}.train": True}
    return own | {"learning_rate": 1e-3} | changes


def _full(model_type: str, **changes: Any) -> dict[str, Any]:
    return {"training_method": "FINE_TUNE", "output_model_format": "DIFFUSERS", f"{denoiser(model_type)}.train": True} | changes


def _texts(model_type: str) -> dict[str, Any]:
    return {f"{name}.train": True for name in encoders(model_type)}


DORA = {"lora_decompose": True}
PEFTS: Mapping[str, Changes] = {
    "dora": DORA,
    "dora output axis": DORA | {"lora_decompose_output_axis": True},
    "dora no epsilon": DORA | {"lora_decompose_norm_epsilon": False},
    "loha": {"peft_type": "LOHA"},
    "lokr": {"peft_type": "LOKR", "lokr_dim": 2, "lora_alpha": 1.0},
    "lokr full": {"peft_type": "LOKR", "lokr_dim": 2, "lokr_full_matrix": True},
    "lokr both factor": {"peft_type": "LOKR", "lokr_dim": 1, "lokr_decompose_both": True, "lokr_decompose_factor": 4},
    "lokr tucker": {"peft_type": "LOKR", "lokr_dim": 1, "lokr_use_tucker": True},
    "lokr dora": {"peft_type": "LOKR", "lokr_dim": 2, "lokr_weight_decompose": True},
    "lokr dora input axis": {
        "peft_type": "LOKR", "lokr_dim": 2, "lokr_weight_decompose": True, "lokr_dora_on_output": False,
    },
    "lokr no vec trick": {"peft_type": "LOKR", "lokr_dim": 2, "lokr_vec_trick": False},
    "oft": {"peft_type": "OFT_2", "oft_block_size": 4},
    "oft shared": {"peft_type": "OFT_2", "oft_block_size": 4, "oft_block_share": True},
    "oft scaled": {"peft_type": "OFT_2", "oft_block_size": 8, "oft_scaled": True},
}  # fmt: skip
"""Kinds of adapters."""

MASKED = {"masked_training": True, "unmasked_weight": 0.2, "unmasked_probability": 0.0}
SHARED: Mapping[str, Changes] = {
    "masked": MASKED,
    "masked normalized": MASKED | {"normalize_masked_area_loss": True},
    "masked prior": MASKED | {"masked_prior_preservation_weight": 0.5},
    "prior concept": {"second.type": "PRIOR_PREDICTION"},
    "concept weight": {"second.loss_weight": 0.3},
    "mae": {"mse_strength": 0.5, "mae_strength": 0.7},
    "huber": {"mse_strength": 0.0, "huber_strength": 1.0, "huber_delta": 0.5},
    "log cosh": {"mse_strength": 0.0, "log_cosh_strength": 1.5},
    "loss scaler": {"loss_scaler": "BOTH", "learning_rate_scaler": "BATCH", "gradient_accumulation_steps": 2},
    "sigmoid": {"timestep_distribution": "SIGMOID", "noising_weight": 5.0, "noising_bias": 0.1},
    "logit normal": {"timestep_distribution": "LOGIT_NORMAL", "noising_weight": 0.2, "noising_bias": 0.3},
    "heavy tail": {"timestep_distribution": "HEAVY_TAIL", "noising_weight": 0.5},
    "cos map": {"timestep_distribution": "COS_MAP"},
    "inverted parabola": {"timestep_distribution": "INVERTED_PARABOLA", "noising_weight": 7.7},
    "beta": {"timestep_distribution": "BETA", "noising_weight": 0.6, "noising_bias": 1.0},
    "beta left": {"timestep_distribution": "BETA", "noising_weight": 1.0, "noising_bias": 0.6},
    "shift": {"timestep_shift": 3.0},
    "sigmoid shift": {"timestep_distribution": "SIGMOID", "noising_weight": 3.0, "timestep_shift": 2.0},
    "window": {"min_noising_strength": 0.2, "max_noising_strength": 0.7},
    "offset noise": {"offset_noise_weight": 0.1},
    "perturbation": {"perturbation_noise_weight": 0.1, "offset_noise_weight": 0.05},
    "caption dropout": {"text_encoder.dropout_probability": 0.5},
    "accumulation": {"gradient_accumulation_steps": 2},
    "ema": {"ema": "CPU", "ema_decay": 0.9, "ema_update_step_interval": 1},
    "no clipping": {"clip_grad_norm": None},
    "filter": {"layer_filter": "blocks.1"},
    "checkpointing": {f"{name}.gradient_checkpointing": True for name in PARTS},
    "no cache": {"latent_caching": False},
}
"""Variants that every family has."""

BETAS: Mapping[str, Changes] = {
    "min snr": {"loss_weight_fn": "MIN_SNR_GAMMA", "loss_weight_strength": 5.0},
    "debiased": {"loss_weight_fn": "DEBIASED_ESTIMATION"},
    "p2": {"loss_weight_fn": "P2", "loss_weight_strength": 1.0},
    "zero snr": {"rescale_noise_scheduler_to_zero_terminal_snr": True},
    "generalized offset": {"offset_noise_weight": 0.1, "generalized_offset_noise": True},
}
"""Variants of the families that predict noise or velocity."""

FLOWS: Mapping[str, Changes] = {"sigma": {"loss_weight_fn": "SIGMA"}, "dynamic": {"dynamic_timestep_shifting": True}}

JITTER = {"concept.image.enable_crop_jitter": True}
DATA: Mapping[str, Changes] = {
    "no bucketing": {"aspect_ratio_bucketing": False},
    "resolutions": {"resolution": "64,96"},
    "flip": {"concept.image.enable_random_flip": True, "concept.image_variations": 2},
    "fixed flip": {"concept.image.enable_random_flip": False, "concept.image.enable_fixed_flip": True},
    "jitter": JITTER | {"concept.image_variations": 2},
    "rotate": {"concept.image.enable_random_rotate": True, "concept.image.random_rotate_max_angle": 20.0},
    "brightness": {"concept.image.enable_random_brightness": True, "concept.image.random_brightness_max_strength": 0.4},
    "contrast": {"concept.image.enable_random_contrast": True, "concept.image.random_contrast_max_strength": 0.4},
    "saturation": {"concept.image.enable_random_saturation": True, "concept.image.random_saturation_max_strength": 0.4},
    "hue": {"concept.image.enable_random_hue": True, "concept.image.random_hue_max_strength": 0.2},
    "all image changes": {
        **JITTER,
        "concept.image.enable_random_flip": True,
        "concept.image.enable_random_rotate": True,
        "concept.image.random_rotate_max_angle": 10.0,
        "concept.image.enable_random_brightness": True,
        "concept.image.random_brightness_max_strength": 0.2,
        "concept.image.enable_fixed_contrast": True,
        "concept.image.random_contrast_max_strength": 0.2,
        "concept.image.enable_random_hue": True,
        "concept.image.random_hue_max_strength": 0.1,
        **MASKED,
    },
    "mask shrink": MASKED | {"concept.image.enable_random_circular_mask_shrink": True},
    "mask crop": MASKED | {"concept.image.enable_random_mask_rotate_crop": True},
    "override": {"concept.image.enable_resolution_override": True, "concept.image.resolution_override": "96"},
    "override exact": {
        "concept.image.enable_resolution_override": True, "concept.image.resolution_override": "96x64",
    },
    "tags": {"concept.text.enable_tag_shuffling": True, "concept.text.keep_tags_count": 1, "concept.text_variations": 3},
    "tag dropout full": {
        "concept.text.tag_dropout_enable": True, "concept.text.tag_dropout_mode": "FULL",
        "concept.text.tag_dropout_probability": 0.5,
    },
    "tag dropout random": {
        "concept.text.tag_dropout_enable": True, "concept.text.tag_dropout_mode": "RANDOM",
        "concept.text.tag_dropout_probability": 0.5,
    },
    "tag dropout weighted": {
        "concept.text.tag_dropout_enable": True, "concept.text.tag_dropout_mode": "RANDOM WEIGHTED",
        "concept.text.tag_dropout_probability": 0.8, "concept.text.tag_dropout_special_tags_mode": "BLACKLIST",
        "concept.text.tag_dropout_special_tags": "bright",
    },
    "capitals": {
        "concept.text.caps_randomize_enable": True, "concept.text.caps_randomize_mode": "capslock, title, first, random",
        "concept.text.caps_randomize_probability": 0.7, "concept.text.caps_randomize_lowercase": True,
    },
    "file name": {"concept.text.prompt_source": "filename"},
    "balancing": {"concept.balancing": 0.5, "second.balancing": 2.0},
    "samples": {"concept.balancing": 3.0, "concept.balancing_strategy": "SAMPLES", "second.balancing": 1.0},
    "fixed rotate": {"concept.image.enable_fixed_rotate": True, "concept.image.random_rotate_max_angle": 20.0},
    "fixed brightness": {"concept.image.enable_fixed_brightness": True, "concept.image.random_brightness_max_strength": 0.4},
    "fixed contrast": {"concept.image.enable_fixed_contrast": True, "concept.image.random_contrast_max_strength": 0.4},
    "fixed saturation": {"concept.image.enable_fixed_saturation": True, "concept.image.random_saturation_max_strength": 0.4},
    "fixed hue": {"concept.image.enable_fixed_hue": True, "concept.image.random_hue_max_strength": 0.2},
    "jitter, other seed": JITTER | {"concept.image_variations": 2, "concept.seed": 99},
    "second concept": {"second.enabled": True},
    "second concept disabled": {"second.enabled": False},
    "batch of one": {"batch_size": 1},
    "learning rate of the unet": {"unet.learning_rate": 5e-4},
}  # fmt: skip
"""Variants of images and captions."""


def _optimizer(name: str, **settings: Any) -> dict[str, Any]:
    return {"optimizer": {"optimizer": name, **settings}}


BF16 = {"unet.weight_dtype": "BFLOAT_16", "train_dtype": "BFLOAT_16"}
DECAY = {"weight_decay": 0.01, "eps": 1e-8, "beta1": 0.9, "beta2": 0.999}
OPTIMIZERS: Mapping[str, Changes] = {
    "adam": _optimizer("ADAM", **DECAY),
    "sgd": _optimizer("SGD", momentum=0.9, dampening=0.1, weight_decay=0.01, nesterov=False),
    "adafactor": _optimizer(
        "ADAFACTOR", eps=1e-30, eps2=1e-3, clip_threshold=1.0, decay_rate=-0.8, weight_decay=0.01, scale_parameter=False
    ),
    "adafactor relative": {
        **_optimizer(
            "ADAFACTOR", eps=1e-30, eps2=1e-3, clip_threshold=1.0, decay_rate=-0.8, scale_parameter=True, relative_step=True,
            warmup_init=True,
        ),
        "learning_rate_scheduler": "ADAFACTOR",
    },
    "came": _optimizer("CAME", eps=1e-30, eps2=1e-16, beta1=0.9, beta2=0.999, beta3=0.9999, weight_decay=0.01),
    "lion": _optimizer("LION", beta1=0.9, beta2=0.99, weight_decay=0.01),
    "prodigy": {
        "learning_rate": 1.0,
        **_optimizer("PRODIGY", beta1=0.9, beta2=0.999, eps=1e-8, d0=1e-4, d_coef=1.0, decouple=True, weight_decay=0.01),
    },
    "schedule free adamw": _optimizer("SCHEDULE_FREE_ADAMW", beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01, r=0.0),
}  # fmt: skip
ROUNDED: Mapping[str, Changes] = {
    "bf16": BF16,
    "bf16 adamw rounding": BF16 | _optimizer("ADAMW", **DECAY, stochastic_rounding=True),
    "bf16 adam rounding": BF16 | _optimizer("ADAM", **DECAY, stochastic_rounding=True),
    "bf16 adafactor rounding": BF16 | {
        "optimizer": {**OPTIMIZERS["adafactor"]["optimizer"], "stochastic_rounding": True},
    },
    "bf16 came rounding": BF16 | {"optimizer": {**OPTIMIZERS["came"]["optimizer"], "stochastic_rounding": True}},
    "fused back pass": _optimizer("ADAMW", **DECAY, fused_back_pass=True),
    "fused back pass adafactor": {"optimizer": {**OPTIMIZERS["adafactor"]["optimizer"], "fused_back_pass": True}},
}  # fmt: skip
"""Full fine-tunes whose optimizer steps differ from torch's."""

MORE_OPTIMIZERS = (
    "ADAGRAD", "ADAMW_ADV", "ADOPT", "ADOPT_ADV", "LAMB", "LARS", "LION_ADV", "SIGNSGD_ADV", "SCHEDULE_FREE_SGD",
    "DADAPT_ADA_GRAD", "DADAPT_ADAM", "DADAPT_ADAN", "DADAPT_LION", "DADAPT_SGD", "PRODIGY_PLUS_SCHEDULE_FREE", "PRODIGY_ADV",
    "MUON", "MUON_ADV", "ADAMUON_ADV", "ADABELIEF", "TIGER", "AIDA", "YOGI",
)  # fmt: skip
"""Optimizers recorded with the defaults of the form."""


def _with_defaults(name: str) -> dict[str, Any]:
    rate = 1.0 if name.startswith(("DADAPT", "PRODIGY")) else 3e-4
    return {"learning_rate": rate, "optimizer": {"optimizer": name, **OPTIMIZER_FACTS[Optimizer(name)].defaults}}


SCHEDULES: Mapping[str, Changes] = {
    "warmup": {"learning_rate_warmup_steps": 3.0},
    "linear": {"learning_rate_scheduler": "LINEAR", "epochs": 2, "learning_rate_min_factor": 0.1},
    "cosine": {"learning_rate_scheduler": "COSINE", "epochs": 2, "learning_rate_warmup_steps": 0.2},
    "restarts": {"learning_rate_scheduler": "COSINE_WITH_RESTARTS", "epochs": 2, "learning_rate_cycles": 2.0},
    "hard restarts": {"learning_rate_scheduler": "COSINE_WITH_HARD_RESTARTS", "epochs": 2, "learning_rate_cycles": 2.0},
    "rex": {"learning_rate_scheduler": "REX", "epochs": 2},
}


def _many(model_type: str, method: str, variants: Mapping[str, Changes], **also: Any) -> Iterable[Case]:
    make = {"lora": _lora, "fine tune": _full}[method]
    for name, changes in variants.items():
        yield Case(model_type, f"{method}, {name}", make(model_type, **also) | changes)


LORA_FORMATS = ("DIFFUSERS_LORA", "ORIGINAL_LORA", "COMFY_LORA", "LEGACY_LORA")
FULL_FORMATS = ("ORIGINAL_SINGLE_FILE", "LEGACY_SAFETENSORS")


def _family(model_type: str) -> Iterable[Case]:
    """Yield what is recorded for every type: both methods, text encoders, each output format."""
    texts = _texts(model_type)
    yield Case(model_type, "lora", _lora(model_type))
    yield Case(model_type, "lora, text encoders", _lora(model_type, **texts))
    yield Case(model_type, "fine tune", _full(model_type))
    yield Case(model_type, "fine tune, text encoders", _full(model_type, **texts))
    yield Case(model_type, "lora, layer skip", _lora(model_type, text_encoder_layer_skip=1, text_encoder_2_layer_skip=1))
    for form in LORA_FORMATS:
        also = {} if form == "ORIGINAL_LORA" else texts
        yield Case(model_type, f"lora, {form}", _lora(model_type, **also, output_model_format=form))
    transformer = "ORIGINAL_TRANSFORMER" if model_type.startswith("FLUX") else "ORIGINAL_SINGLE_FILE"
    for form in (transformer, "LEGACY_SAFETENSORS"):
        yield Case(model_type, f"fine tune, {form}", _full(model_type, output_model_format=form))


@cache
def cases() -> tuple[Case, ...]:
    """Return all cases."""
    first, second, large = "STABLE_DIFFUSION_15", "STABLE_DIFFUSION_21", "STABLE_DIFFUSION_XL_10_BASE"
    found: list[Case] = []
    for model_type in (first, second, large, "STABLE_DIFFUSION_3", "STABLE_DIFFUSION_35", "FLUX_DEV_1"):
        found += _family(model_type)
    for model_type in (first, large, "STABLE_DIFFUSION_3", "FLUX_DEV_1"):
        flow = FLOWS if model_type in FLOW else BETAS
        found += _many(model_type, "lora", SHARED | flow)
        few = "ff" if model_type == "FLUX_DEV_1" else "attn" if model_type in COARSE else ""
        found += _many(model_type, "lora", PEFTS, layer_filter=few)
    found += _many(second, "lora", BETAS)
    found += _many(first, "lora", DATA | SCHEDULES)
    found += _many(first, "fine tune", OPTIMIZERS | ROUNDED)
    found += [
        Case(first, "fine tune, force v", _full(first, force_v_prediction=True)),
        Case(first, "lora, both", _lora(first, **_texts(first), **{"text_encoder.learning_rate": 1e-4})),
        Case(first, "lora, text encoder only", _lora(first, **_texts(first)) | {"unet.train": False}),
    ]
    found += _many(first, "fine tune", {name: _with_defaults(name) for name in MORE_OPTIMIZERS})
    found += _inpainting()
    found += _embeddings()
    found += _vae(first, second)
    for model_type in ("STABLE_DIFFUSION_20", "STABLE_DIFFUSION_20_BASE", "STABLE_DIFFUSION_21_BASE"):
        found += [Case(model_type, "lora", _lora(model_type)), Case(model_type, "fine tune", _full(model_type))]
    found += _text_settings()
    for model_type in (first, large, "STABLE_DIFFUSION_3", "FLUX_DEV_1"):
        found += _combinations(model_type)
    for name, changes in combinations.MORE_DATA.items():
        folder = "odd" if name.startswith("odd") else "first"
        found.append(Case(first, f"lora, {name}", _lora(first) | _expanded(first, changes), folder, MORE_STEPS))
    names = [case.id for case in found]
    assert len(set(names)) == len(names), "two cases have one name"
    return tuple(found)


VAE: Changes = {"training_method": "FINE_TUNE_VAE", "output_model_format": "DIFFUSERS", "vae.train": True}
MORE_OF_THE_VAE: Mapping[str, Changes] = {
    "masked": MASKED,
    "masked normalized": {
        "normalize_masked_area_loss": True,
        "mse_strength": 0.5,
        "mae_strength": 0.7,
        "huber_strength": 0.2,
        "log_cosh_strength": 0.3,
        **MASKED,
    },
    "mask crop": MASKED | {"concept.image.enable_random_circular_mask_shrink": True},
    "no cache": {"latent_caching": False},
    "augmented": {
        "concept.image.enable_crop_jitter": True,
        "concept.image.enable_random_flip": True,
        "concept.image_variations": 2,
        "loss_weight_fn": "MIN_SNR_GAMMA",
        "ema": "CPU",
    },
}
EMBEDDING: Changes = {"training_method": "EMBEDDING", "output_model_format": "SAFETENSORS", "learning_rate": 1e-3}

MORE_EMBEDDINGS: Mapping[str, Changes] = {
    "other text": {"initial_embedding_text": "green"},
    "three vectors": {"token_count": 3},
    "other placeholder": {"placeholder": "photo"},
}
STOPPING: Mapping[str, Changes] = {"stopped": {"stop_training_after": 1, "stop_training_after_unit": "EPOCH"}}
"""Changes to an embedding."""


def _vae(first: str, second: str) -> Iterable[Case]:
    """Yield fine-tunes of the VAE. OneTrainer mistakes conditioning images for images here, so the folder has none."""
    for model_type in (first, second, "STABLE_DIFFUSION_15_INPAINTING"):
        yield Case(model_type, "fine tune vae", VAE, "plain")
        yield Case(model_type, "fine tune vae, masked normalized", VAE | MORE_OF_THE_VAE["masked normalized"], "plain")
    for name, changes in MORE_OF_THE_VAE.items():
        if name != "masked normalized":
            yield Case(first, f"fine tune vae, {name}", VAE | changes, "plain")


def _embeddings() -> Iterable[Case]:
    for model_type in ("STABLE_DIFFUSION_15", "STABLE_DIFFUSION_XL_10_BASE", "STABLE_DIFFUSION_3", "FLUX_DEV_1"):
        embed = {f"{name}.train_embedding": True for name in encoders(model_type)}
        own = EMBEDDING | embed
        yield Case(model_type, "embedding", own)
        yield Case(model_type, "embedding, preserve norm", own | {"preserve_embedding_norm": True})
        yield Case(model_type, "embedding, output", own | {"embedding.is_output_embedding": True})
        extra = {
            "uuid": "22222222-2222-3333-4444-555555555555", "placeholder": "bright", "train": True, "token_count": 1,
            "initial_embedding_text": "blue",
        }  # fmt: skip
        with_extra = _lora(model_type) | embed | {"additional_embeddings": [extra]}
        yield Case(model_type, "lora, additional embedding", with_extra)
        if model_type == "STABLE_DIFFUSION_XL_10_BASE":
            for name in embed:
                yield Case(model_type, f"lora, additional embedding, without {name}", with_extra | {name: False})
        if model_type == "STABLE_DIFFUSION_15":
            for name, changes in MORE_EMBEDDINGS.items():
                yield Case(
                    model_type, f"embedding, {name}", own | {f"embedding.{path}": value for path, value in changes.items()}
                )
            for name, changes in (MORE_EMBEDDINGS | STOPPING).items():
                additional = {"additional_embeddings": [extra | changes]}
                yield Case(model_type, f"lora, additional embedding, {name}", _lora(model_type) | embed | additional)


def _text_settings() -> Iterable[Case]:
    flux, third, large = "FLUX_DEV_1", "STABLE_DIFFUSION_3", "STABLE_DIFFUSION_XL_10_BASE"
    yield Case(flux, "lora, attention mask", _lora(flux) | {"transformer.attention_mask": True})
    yield Case(flux, "lora, guidance", _lora(flux) | {"transformer.guidance_scale": 3.5})
    yield Case(flux, "lora, sequence length", _lora(flux, text_encoder_2_sequence_length=96))
    for model_type in (flux, third, large):
        second = {"text_encoder_2.dropout_probability": 0.5, "text_encoder_3.dropout_probability": 0.5}
        yield Case(model_type, "lora, second dropout", _lora(model_type) | second)
    for name in ("text_encoder", "text_encoder_2"):
        yield Case(flux, f"lora, without {name}", _lora(flux) | {f"{name}.include": False})
    for name in encoders(third):
        yield Case(third, f"lora, without {name}", _lora(third) | {f"{name}.include": False})
    yield Case(third, "lora, attention mask", _lora(third) | {"transformer.attention_mask": True})
    yield Case(flux, "lora, capitals", _lora(flux) | {
        "concept.text.caps_randomize_enable": True, "concept.text.caps_randomize_probability": 1.0,
        "concept.text.caps_randomize_mode": "capslock",
    })  # fmt: skip
    yield Case(third, "lora, third layer skip", _lora(third, text_encoder_3_layer_skip=1))
    yield Case("STABLE_DIFFUSION_15", "embedding, bfloat16", {
        **EMBEDDING, "text_encoder.train_embedding": True, "embedding_weight_dtype": "BFLOAT_16",
    })  # fmt: skip


def _inpainting() -> Iterable[Case]:
    for model_type in (
        "STABLE_DIFFUSION_15_INPAINTING",
        "STABLE_DIFFUSION_20_INPAINTING",
        "STABLE_DIFFUSION_XL_10_BASE_INPAINTING",
        "FLUX_FILL_DEV_1",
    ):
        yield Case(model_type, "lora", _lora(model_type))
        yield Case(model_type, "fine tune", _full(model_type))
        yield Case(model_type, "lora, masked", _lora(model_type) | MASKED | {"normalize_masked_area_loss": True})
        yield Case(model_type, "lora, unmasked", _lora(model_type) | MASKED | {"unmasked_probability": 0.5})
        yield Case(model_type, "lora, conditioning image", _lora(model_type, custom_conditioning_image=True))


def _expanded(model_type: str, changes: Changes) -> dict[str, Any]:
    """Return the changes with the components that ``denoiser.`` and ``encoders.`` refer to."""
    found: dict[str, Any] = {}
    for path, value in changes.items():
        first, _, rest = path.partition(".")
        of = {"denoiser": (denoiser(model_type),), "encoders": encoders(model_type)}.get(first)
        found |= {f"{name}.{rest}": value for name in of} if of else {path: value}
    return found


def _combinations(model_type: str) -> Iterable[Case]:
    flow = model_type in FLOW
    lora = combinations.EVERYWHERE | (combinations.FLOWS if flow else combinations.BETAS)
    full = combinations.FULL | ({} if flow else combinations.BETAS_FULL)
    embedding = EMBEDDING | {f"{name}.train_embedding": True for name in encoders(model_type)}
    for name, changes in lora.items():
        yield Case(model_type, f"lora, {name}", _lora(model_type) | _expanded(model_type, changes), steps=MORE_STEPS)
    for name, changes in full.items():
        yield Case(model_type, f"fine tune, {name}", _full(model_type) | _expanded(model_type, changes), steps=MORE_STEPS)
    for name, changes in combinations.EMBEDDINGS.items():
        yield Case(model_type, f"embedding, {name}", embedding | _expanded(model_type, changes), steps=MORE_STEPS)
