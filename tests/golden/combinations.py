"""List combinations of settings that are recorded: what works alone must also work together.

Names that begin with ``denoiser.`` and ``encoders.`` refer to the components of the recorded model type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Changes = Mapping[str, Any]

MASKED = {"masked_training": True, "unmasked_weight": 0.15, "unmasked_probability": 0.0}
TEXTS = {"encoders.train": True}
DORA = {"lora_decompose": True}
ADAM = {"optimizer": "ADAMW", "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.02, "fused": False}
SCHEDULE_FREE = {"optimizer": "SCHEDULE_FREE_ADAMW", "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
EPOCH = {"stop_training_after": 1, "stop_training_after_unit": "EPOCH"}


def extra(number: int, placeholder: str, **settings: Any) -> dict[str, Any]:
    """Return an additional embedding."""
    own = {"uuid": f"{number}{number}{number}22222-2222-3333-4444-555555555555", "placeholder": placeholder, "train": True}
    return own | {"token_count": number, "initial_embedding_text": "blue red"} | settings


def inside(prefix: str, settings: Changes) -> dict[str, Any]:
    """Return settings of a component."""
    return {f"{prefix}.{name}": value for name, value in settings.items()}


EVERYWHERE: Mapping[str, Changes] = {
    "masked, prior preserved, prior concept": {
        **MASKED, "masked_prior_preservation_weight": 0.3, "second.type": "PRIOR_PREDICTION", "second.loss_weight": 0.4,
        "normalize_masked_area_loss": True,
    },
    "masked, prior preserved, all losses": {
        **MASKED, "masked_prior_preservation_weight": 0.6, "mse_strength": 0.4, "mae_strength": 0.3, "huber_strength": 0.2,
        "huber_delta": 0.3, "log_cosh_strength": 0.5, "loss_scaler": "BATCH",
    },
    "prior preserved, dropout, no cache": MASKED | {
        "masked_prior_preservation_weight": 0.8, "encoders.dropout_probability": 0.4, "latent_caching": False,
    },
    "unmasked at random, prior concept": {
        **MASKED, "unmasked_probability": 0.5, "second.type": "PRIOR_PREDICTION", "normalize_masked_area_loss": True,
    },
    "ema every second update, accumulation": {
        "ema": "CPU", "ema_decay": 0.95, "ema_update_step_interval": 2, "gradient_accumulation_steps": 2,
    },
    "text encoders stop": TEXTS | inside("encoders", EPOCH) | {"ema": "CPU", "ema_decay": 0.9},
    "denoiser stops": TEXTS | inside("denoiser", EPOCH),
    "stop after steps, accumulation": TEXTS | {
        "text_encoder.stop_training_after": 3, "text_encoder.stop_training_after_unit": "STEP",
        "gradient_accumulation_steps": 2,
    },
    "additional embeddings, text encoders, dropout": TEXTS | {
        "encoders.dropout_probability": 0.3, "encoders.train_embedding": True,
        "additional_embeddings": [extra(1, "small"), extra(2, "bright")], "embedding_learning_rate": 2e-3,
    },
    "additional embedding stops, output embedding": {
        "encoders.train_embedding": True,
        "additional_embeddings": [extra(2, "small") | EPOCH, extra(1, "bright", is_output_embedding=True)],
    },
    "additional embedding not trained, preserve norm": {
        "encoders.train_embedding": True, "preserve_embedding_norm": True,
        "additional_embeddings": [extra(2, "small", train=False), extra(1, "bright", initial_embedding_text="")],
    },
    "odd rank": TEXTS | {"lora_rank": 3, "lora_alpha": 0.7},
    "odd rank, dora": TEXTS | DORA | {"lora_rank": 5, "lora_alpha": 1.3},
    "odd rank, dora output axis": TEXTS | DORA | {"lora_rank": 3, "lora_alpha": 7.0, "lora_decompose_output_axis": True},
    "oft, text encoders": TEXTS | {"peft_type": "OFT_2", "oft_block_size": 6},
    "validation": {"validation": True, "validate_after": 2, "validate_after_unit": "STEP", "second.type": "VALIDATION"},
    "validation, text encoders, dropout, masked": TEXTS | MASKED | {
        "encoders.dropout_probability": 0.5, "validation": True, "validate_after": 1, "validate_after_unit": "EPOCH",
        "second.type": "VALIDATION",
    },
    "window, logit normal, shift": {
        "timestep_distribution": "LOGIT_NORMAL", "noising_weight": 0.8, "noising_bias": -0.5, "min_noising_strength": 0.15,
        "max_noising_strength": 0.9, "timestep_shift": 2.5,
    },
    "window, heavy tail, shift": {
        "timestep_distribution": "HEAVY_TAIL", "noising_weight": 1.3, "min_noising_strength": 0.05, "max_noising_strength": 0.8,
        "timestep_shift": 0.6,
    },
    "window, parabola, shift": {
        "timestep_distribution": "INVERTED_PARABOLA", "noising_weight": 5.0, "noising_bias": 0.15,
        "min_noising_strength": 0.1, "max_noising_strength": 0.75, "timestep_shift": 1.8,
    },
    "window, cos map, shift": {
        "timestep_distribution": "COS_MAP", "min_noising_strength": 0.25, "timestep_shift": 3.2,
    },
    "window, uniform, shift": {"min_noising_strength": 0.4, "max_noising_strength": 0.95, "timestep_shift": 4.0},
    "offset, perturbation, prior preserved": MASKED | {
        "masked_prior_preservation_weight": 0.5, "offset_noise_weight": 0.08, "perturbation_noise_weight": 0.12,
    },
    "learning rates, scaler, accumulation": TEXTS | {
        "denoiser.learning_rate": 7e-4, "text_encoder.learning_rate": 2e-4, "learning_rate_scaler": "BOTH",
        "gradient_accumulation_steps": 2, "loss_scaler": "GRADIENT_ACCUMULATION",
    },
    "low clipping, text encoders": TEXTS | {"clip_grad_norm": 0.01},
    "warmup share, linear, accumulation": {
        "learning_rate_scheduler": "LINEAR", "learning_rate_warmup_steps": 0.5, "epochs": 4, "gradient_accumulation_steps": 2,
        "learning_rate_min_factor": 0.25,
    },
    "cosine restarts, warmup, floor": {
        "learning_rate_scheduler": "COSINE_WITH_HARD_RESTARTS", "learning_rate_warmup_steps": 2.0, "epochs": 3,
        "learning_rate_cycles": 3.0, "learning_rate_min_factor": 0.1,
    },
    "custom scheduler": {
        "learning_rate_scheduler": "CUSTOM", "custom_learning_rate_scheduler": "torch.optim.lr_scheduler.StepLR",
        "scheduler_params": [{"key": "step_size", "value": "2"}, {"key": "gamma", "value": "0.3"}],
        "learning_rate_warmup_steps": 1.0,
    },
    "odd batch, resolutions, jitter, masks": MASKED | {
        "batch_size": 3, "resolution": "128,192", "concept.image.enable_crop_jitter": True, "concept.image_variations": 2,
        "concept.image.enable_random_flip": True, "second.image.enable_random_rotate": True,
        "second.image.random_rotate_max_angle": 12.0,
    },
    "two concepts, overrides, weights": MASKED | {
        "concept.loss_weight": 1.7, "second.loss_weight": 0.2, "concept.image.enable_resolution_override": True,
        "concept.image.resolution_override": "128", "second.balancing": 0.5, "concept.image.enable_fixed_hue": True,
        "concept.image.random_hue_max_strength": 0.3, "second.image.enable_fixed_brightness": True,
        "second.image.random_brightness_max_strength": 0.25,
    },
    "checkpointing, text encoders, dora": TEXTS | DORA | {
        "encoders.gradient_checkpointing": True, "denoiser.gradient_checkpointing": True,
    },
}  # fmt: skip
"""LoRA runs of every family."""

FULL: Mapping[str, Changes] = {
    "text encoders stop, schedule free": TEXTS | inside("encoders", EPOCH) | {
        "optimizer": SCHEDULE_FREE | {"weight_decay": 0.01, "r": 0.0},
        "learning_rate_warmup_steps": 2.0, "gradient_accumulation_steps": 2,
    },
    "schedule free, validation, ema": {
        "optimizer": SCHEDULE_FREE | {"weight_decay": 0.0, "r": 0.5},
        "validation": True, "validate_after": 1, "validate_after_unit": "STEP", "second.type": "VALIDATION",
    },
    "filter, fused back pass, clipping": {
        "layer_filter": "attn", "optimizer": ADAM | {"fused_back_pass": True}, "clip_grad_norm": 0.05,
        "denoiser.gradient_checkpointing": True,
    },
    "filter as regular expression, text encoders": TEXTS | {
        "layer_filter": r"attn.*to_(q|k)", "layer_filter_regex": True, "gradient_accumulation_steps": 2,
    },
    "ema, embedding, dropout": TEXTS | {
        "ema": "CPU", "ema_decay": 0.8, "encoders.train_embedding": True, "encoders.dropout_probability": 0.4,
        "additional_embeddings": [extra(2, "small")],
    },
    "adafactor relative, accumulation": {
        "optimizer": {
            "optimizer": "ADAFACTOR", "eps": 1e-30, "eps2": 1e-3, "clip_threshold": 1.0, "decay_rate": -0.8,
            "scale_parameter": True, "relative_step": True, "warmup_init": True, "beta1": 0.9, "weight_decay": 0.01,
        },
        "learning_rate_scheduler": "ADAFACTOR", "gradient_accumulation_steps": 2,
    },
    "masked, min window, all losses": MASKED | {
        "min_noising_strength": 0.3, "mse_strength": 0.2, "mae_strength": 0.9, "normalize_masked_area_loss": True,
        "encoders.train": True,
    },
}  # fmt: skip
"""Full fine-tunes of every family."""

BETAS: Mapping[str, Changes] = {
    "odd rank, loha": TEXTS | {"peft_type": "LOHA", "lora_rank": 3, "lora_alpha": 2.5},
    "odd rank, lokr": TEXTS | {
        "peft_type": "LOKR", "lokr_dim": 3, "lora_alpha": 0.3, "lokr_decompose_factor": 3,
    },
    "min snr, zero snr": {
        "loss_weight_fn": "MIN_SNR_GAMMA", "loss_weight_strength": 3.0, "rescale_noise_scheduler_to_zero_terminal_snr": True,
    },
    "p2, zero snr, masked, mae": MASKED | {
        "loss_weight_fn": "P2", "loss_weight_strength": 0.7, "rescale_noise_scheduler_to_zero_terminal_snr": True,
        "mse_strength": 0.5, "mae_strength": 0.5,
    },
    "debiased, zero snr": {"loss_weight_fn": "DEBIASED_ESTIMATION", "rescale_noise_scheduler_to_zero_terminal_snr": True},
    "min snr, concept weights, prior concept": {
        "loss_weight_fn": "MIN_SNR_GAMMA", "loss_weight_strength": 1.0, "second.type": "PRIOR_PREDICTION",
        "second.loss_weight": 2.5, "concept.loss_weight": 0.6,
    },
    "generalized offset, zero snr, perturbation": {
        "offset_noise_weight": 0.1, "generalized_offset_noise": True, "perturbation_noise_weight": 0.1,
        "rescale_noise_scheduler_to_zero_terminal_snr": True,
    },
    "circular padding, text encoders": TEXTS | {"force_circular_padding": True},
    "circular padding, dora": DORA | {"force_circular_padding": True},
    "circular padding, loha": {"force_circular_padding": True, "peft_type": "LOHA"},
    "circular padding, lokr": {"force_circular_padding": True, "peft_type": "LOKR", "lokr_dim": 2},
    "circular padding, oft": {"force_circular_padding": True, "peft_type": "OFT_2", "oft_block_size": 4},
    "validation, variations, flips": {
        "validation": True, "validate_after": 1, "validate_after_unit": "STEP", "second.type": "VALIDATION",
        "second.image_variations": 2, "second.text_variations": 3, "second.image.enable_random_flip": True,
        "second.image.enable_crop_jitter": True, "second.text.enable_tag_shuffling": True,
    },
    "bf16 base": {
        "denoiser.weight_dtype": "BFLOAT_16", "encoders.weight_dtype": "BFLOAT_16", "vae.weight_dtype": "FLOAT_32",
        "train_dtype": "BFLOAT_16",
    },
    "bf16 everywhere, text encoders": TEXTS | {
        "denoiser.weight_dtype": "BFLOAT_16", "encoders.weight_dtype": "BFLOAT_16", "vae.weight_dtype": "BFLOAT_16",
        "train_dtype": "BFLOAT_16", "lora_weight_dtype": "BFLOAT_16",
    },
}  # fmt: skip
"""LoRA runs of the families that predict noise or velocity."""

BETAS_FULL: Mapping[str, Changes] = {
    "force v, min snr": {"force_v_prediction": True, "loss_weight_fn": "MIN_SNR_GAMMA", "loss_weight_strength": 5.0},
    "force v, debiased, masked": MASKED | {"force_v_prediction": True, "loss_weight_fn": "DEBIASED_ESTIMATION"},
    "force v, p2": {"force_v_prediction": True, "loss_weight_fn": "P2", "loss_weight_strength": 1.5},
    "force epsilon, p2": {"force_epsilon_prediction": True, "loss_weight_fn": "P2", "loss_weight_strength": 0.5},
    "force epsilon, min snr": {"force_epsilon_prediction": True, "loss_weight_fn": "MIN_SNR_GAMMA"},
}
"""Full fine-tunes of the families that predict noise or velocity."""

FLOWS: Mapping[str, Changes] = {
    "sigma, masked, prior preserved": MASKED | {"loss_weight_fn": "SIGMA", "masked_prior_preservation_weight": 0.5},
    "dynamic, logit normal, resolutions": {
        "dynamic_timestep_shifting": True, "timestep_distribution": "LOGIT_NORMAL", "resolution": "128,192",
    },
    "dynamic, sigmoid, resolutions": {
        "dynamic_timestep_shifting": True, "timestep_distribution": "SIGMOID", "noising_weight": 4.0, "resolution": "128,192",
    },
    "attention mask, text encoders, dropout": TEXTS | {
        "transformer.attention_mask": True, "encoders.dropout_probability": 0.4,
    },
    "layer skip, text encoders": TEXTS | {
        "text_encoder_layer_skip": 1, "text_encoder_2_layer_skip": 1, "text_encoder_3_layer_skip": 1,
    },
    "layer skip, cached": {"text_encoder_3_layer_skip": 1, "text_encoder_2_layer_skip": 1},
    "odd rank, loha": TEXTS | {"layer_filter": "ff", "peft_type": "LOHA", "lora_rank": 3, "lora_alpha": 2.5},
    "odd rank, lokr": TEXTS | {
        "layer_filter": "ff", "peft_type": "LOKR", "lokr_dim": 3, "lora_alpha": 0.3, "lokr_decompose_factor": 3,
    },
}  # fmt: skip
"""LoRA runs of the flow-matching families."""

EMBEDDINGS: Mapping[str, Changes] = {
    "dropout, accumulation, preserve norm": {
        "encoders.dropout_probability": 0.4,
        "gradient_accumulation_steps": 2,
        "preserve_embedding_norm": True,
    },
    "ema, masked, validation": MASKED
    | {
        "ema": "CPU",
        "ema_decay": 0.9,
        "validation": True,
        "validate_after": 2,
        "validate_after_unit": "STEP",
        "second.type": "VALIDATION",
    },
    "many tokens, no text": {
        "embedding.token_count": 5,
        "embedding.initial_embedding_text": "",
        "embedding.placeholder": "photo",
    },
    "with additional embedding": {"additional_embeddings": [extra(2, "bright")], "embedding_learning_rate": 3e-3},
    "long text": {"embedding.token_count": 2, "embedding.initial_embedding_text": "a photo of a red square, bright"},
}
"""Embeddings of every family."""

MORE_DATA: Mapping[str, Changes] = {
    "odd sizes": {},
    "odd sizes, resolutions, jitter, flips": {
        "resolution": "40,64,88", "concept.image.enable_crop_jitter": True, "concept.image_variations": 3,
        "concept.image.enable_random_flip": True,
    },
    "odd sizes, no bucketing, masks": MASKED | {"aspect_ratio_bucketing": False, "resolution": "72"},
    "odd sizes, all changes, mask crop": MASKED | {
        "concept.image.enable_random_mask_rotate_crop": True, "concept.image.enable_random_circular_mask_shrink": True,
        "concept.image.enable_random_rotate": True, "concept.image.random_rotate_max_angle": 25.0,
        "concept.image.enable_random_saturation": True, "concept.image.random_saturation_max_strength": 0.5,
        "concept.image.enable_fixed_brightness": True, "concept.image.random_brightness_max_strength": 0.2,
        "unmasked_probability": 0.3,
    },
    "fixed changes": {
        "concept.image.enable_fixed_rotate": True, "concept.image.random_rotate_max_angle": 15.0,
        "concept.image.enable_fixed_saturation": True, "concept.image.random_saturation_max_strength": 0.4,
        "concept.image.enable_fixed_contrast": True, "concept.image.random_contrast_max_strength": 0.3,
        "concept.image.enable_fixed_flip": True, "concept.image.enable_random_flip": False,
    },
    "tags, capitals, dropout, variations": {
        "concept.text.enable_tag_shuffling": True, "concept.text.keep_tags_count": 2, "concept.text_variations": 2,
        "concept.text.tag_dropout_enable": True, "concept.text.tag_dropout_mode": "RANDOM",
        "concept.text.tag_dropout_probability": 0.3, "concept.text.caps_randomize_enable": True,
        "concept.text.caps_randomize_mode": "first, random", "concept.text.caps_randomize_probability": 0.5,
        "text_encoder.dropout_probability": 0.3,
    },
    "tag delimiter, weighted dropout, whitelist": {
        "concept.text.enable_tag_shuffling": True, "concept.text.tag_delimiter": " ", "concept.text.tag_dropout_enable": True,
        "concept.text.tag_dropout_mode": "RANDOM WEIGHTED", "concept.text.tag_dropout_probability": 0.6,
        "concept.text.tag_dropout_special_tags_mode": "WHITELIST", "concept.text.tag_dropout_special_tags": "red circle,gre.*",
        "concept.text.tag_dropout_special_tags_regex": True, "concept.text_variations": 3,
    },
    "samples and repeats, text encoder": TEXTS | {
        "concept.balancing": 2.0, "concept.balancing_strategy": "SAMPLES", "second.balancing": 1.5,
        "second.balancing_strategy": "REPEATS", "concept.image_variations": 2, "concept.text_variations": 2,
    },
    "other seeds": {"concept.seed": 123456, "second.seed": -5, "concept.image.enable_crop_jitter": True},
    "first disabled": {"concept.enabled": False, "second.image.enable_random_flip": True},
    "text encoder, no cache, variations": TEXTS | {
        "latent_caching": False, "concept.image_variations": 2, "concept.image.enable_random_flip": True,
        "concept.text.enable_tag_shuffling": True,
    },
    "conditioning images, masks": MASKED | {"custom_conditioning_image": True, "concept.image.enable_random_flip": True},
}  # fmt: skip
"""Images and captions of Stable Diffusion 1.5."""
