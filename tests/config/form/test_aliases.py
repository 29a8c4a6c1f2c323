"""Names from other trainers find the settings."""

from onetrainer_gradio.config.declarations.catalog import CATALOGUE
from onetrainer_gradio.config.form.aliases import ALIASES, aliases


def test_every_alias_belongs_to_a_setting_of_the_form():
    """A path is in the form, one with a leading dot in several components; names are lowercase and unique."""
    for path, names in ALIASES.items():
        several = path.startswith(".")
        paths = [each for each in CATALOGUE if each.count(".") == 1 and each.endswith(path)] if several else [path]
        offered = [each for each in paths if CATALOGUE[each].offered]
        assert offered if several else offered == [path], path
        assert names, path
        assert len(set(names)) == len(names), path
        assert all(name == name.lower().strip() for name in names), path


def test_a_component_has_its_own_and_the_shared_names():
    """The UNet's learning rate is found as ``unet_lr`` and ``lr``; a setting of the whole run has only its own names."""
    assert aliases("unet.learning_rate") == ("unet_lr", "lr")
    assert "unet_lr" not in aliases("learning_rate")
    assert aliases("optimizer.amsgrad") == ()


# arguments of kohya's sd-scripts -> the equivalent setting
KOHYA = {
    "network_dim": "lora_rank",
    "network_alpha": "lora_alpha",
    "network_dropout": "dropout_probability",
    "network_weights": "lora_model_name",
    "network_module": "peft_type",
    "network_train_unet_only": "unet.train",
    "unet_lr": "unet.learning_rate",
    "text_encoder_lr": "text_encoder.learning_rate",
    "lr_scheduler": "learning_rate_scheduler",
    "lr_warmup_steps": "learning_rate_warmup_steps",
    "lr_scheduler_num_cycles": "learning_rate_cycles",
    "optimizer_type": "optimizer.optimizer",
    "fused_backward_pass": "optimizer.fused_back_pass",
    "max_train_epochs": "epochs",
    "max_train_steps": "epochs",
    "train_batch_size": "batch_size",
    "max_grad_norm": "clip_grad_norm",
    "max_data_loader_n_workers": "dataloader_threads",
    "pretrained_model_name_or_path": "base_model_name",
    "output_dir": "output_model_destination",
    "output_name": "output_model_destination",
    "save_precision": "output_dtype",
    "save_model_as": "output_model_format",
    "mixed_precision": "train_dtype",
    "full_bf16": "train_dtype",
    "fp8_base": "transformer.weight_dtype",
    "blocks_to_swap": "transformer.offload_fraction",
    "cpu_offload_checkpointing": "transformer.activation_offloading",
    "sdpa": "attention_mechanism",
    "xformers": "attention_mechanism",
    "clip_skip": "text_encoder_layer_skip",
    "max_token_length": "text_encoder_sequence_length",
    "t5xxl_max_token_length": "text_encoder_2_sequence_length",
    "apply_t5_attn_mask": "transformer.attention_mask",
    "stop_text_encoder_training": "text_encoder.stop_training_after",
    "train_data_dir": "concepts[].path",
    "reg_data_dir": "concepts[].type",
    "num_repeats": "concepts[].balancing",
    "caption_extension": "concepts[].text.prompt_source",
    "shuffle_caption": "concepts[].text.enable_tag_shuffling",
    "keep_tokens": "concepts[].text.keep_tags_count",
    "caption_separator": "concepts[].text.tag_delimiter",
    "caption_tag_dropout_rate": "concepts[].text.tag_dropout_probability",
    "caption_dropout_rate": "text_encoder.dropout_probability",
    "flip_aug": "concepts[].image.enable_random_flip",
    "color_aug": "concepts[].image.enable_random_hue",
    "random_crop": "concepts[].image.enable_crop_jitter",
    "enable_bucket": "aspect_ratio_bucketing",
    "cache_latents": "latent_caching",
    "noise_offset": "offset_noise_weight",
    "ip_noise_gamma": "perturbation_noise_weight",
    "zero_terminal_snr": "rescale_noise_scheduler_to_zero_terminal_snr",
    "v_parameterization": "force_v_prediction",
    "min_snr_gamma": "loss_weight_fn",
    "debiased_estimation_loss": "loss_weight_fn",
    "huber_c": "huber_delta",
    "min_timestep": "min_noising_strength",
    "max_timestep": "max_noising_strength",
    "timestep_sampling": "timestep_distribution",
    "discrete_flow_shift": "timestep_shift",
    "masked_loss": "masked_training",
    "prior_loss_weight": "concepts[].loss_weight",
    "sample_every_n_steps": "sample_after",
    "sample_sampler": "samples[].noise_scheduler",
    "save_every_n_steps": "save_every",
    "save_state": "backup_after",
    "resume": "continue_last_backup",
    "logging_dir": "workspace_dir",
    "log_with": "tensorboard",
    "token_string": "embedding.placeholder",
    "init_word": "embedding.initial_embedding_text",
    "num_vectors_per_token": "embedding.token_count",
}

# arguments of the diffusers training scripts, and names of its pipelines
DIFFUSERS = {
    "instance_data_dir": "concepts[].path",
    "class_data_dir": "concepts[].type",
    "with_prior_preservation": "concepts[].type",
    "center_crop": "concepts[].image.enable_crop_jitter",
    "random_flip": "concepts[].image.enable_random_flip",
    "num_train_epochs": "epochs",
    "checkpointing_steps": "backup_after",
    "checkpoints_total_limit": "rolling_backup_count",
    "resume_from_checkpoint": "continue_last_backup",
    "scale_lr": "learning_rate_scaler",
    "snr_gamma": "loss_weight_strength",
    "lr_num_cycles": "learning_rate_cycles",
    "dataloader_num_workers": "dataloader_threads",
    "use_8bit_adam": "optimizer.optimizer",
    "adam_beta1": "optimizer.beta1",
    "adam_weight_decay": "optimizer.weight_decay",
    "prodigy_safeguard_warmup": "optimizer.safeguard_warmup",
    "allow_tf32": "train_dtype",
    "report_to": "tensorboard",
    "enable_xformers_memory_efficient_attention": "attention_mechanism",
    "rank": "lora_rank",
    "use_dora": "lora_decompose",
    "use_ema": "ema",
    "prediction_type": "force_v_prediction",
    "proportion_empty_prompts": "text_encoder.dropout_probability",
    "input_perturbation": "perturbation_noise_weight",
    "weighting_scheme": "timestep_distribution",
    "logit_mean": "noising_bias",
    "logit_std": "noising_weight",
    "max_sequence_length": "text_encoder_2_sequence_length",
    "placeholder_token": "embedding.placeholder",
    "initializer_token": "embedding.initial_embedding_text",
    "num_vectors": "embedding.token_count",
    "validation_prompt": "samples",
    "num_inference_steps": "samples[].diffusion_steps",
    "guidance_scale": "samples[].cfg_scale",
    "scheduler": "samples[].noise_scheduler",
    "local_files_only": "offline_mode",
}


def test_an_argument_of_another_trainer_finds_its_setting():
    """Users of kohya's scripts or diffusers search for the names they know."""
    assert [name for name, path in [*KOHYA.items(), *DIFFUSERS.items()] if name not in aliases(path)] == []
