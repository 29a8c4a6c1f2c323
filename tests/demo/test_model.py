"""The committed model: layout, size and vocabulary, without sampling.

Covers ``demo/``.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from safetensors import safe_open

from onetrainer_gradio.demo import DEMO_FOLDER, IMAGES_FOLDER, MODEL_FOLDER, REGULARIZATION_FOLDER, TRIGGER_WORD, toy_dataset
from onetrainer_gradio.demo.vocabulary import build_vocabulary, byte_letters, words_of_the_dataset

PARTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}


def config_of(part: str) -> dict[str, object]:
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    loaded: dict[str, object] = json.loads((MODEL_FOLDER / part / name).read_text(encoding="utf-8"))
    return loaded


def test_model_and_images_take_at_most_ten_megabytes() -> None:
    """The package stays small enough to include its demo."""
    size = sum(
        path.stat().st_size
        for folder in (MODEL_FOLDER, IMAGES_FOLDER, REGULARIZATION_FOLDER)
        for path in folder.rglob("*")
        if path.is_file()
    )
    assert size <= 10_000_000


def test_tensors_have_the_names_of_published_models() -> None:
    """Every program can load the demo's model, including OneTrainer, whose libraries may be older than ours."""
    with safe_open(MODEL_FOLDER / "text_encoder" / PARTS["text_encoder"], "numpy") as weights:
        assert {name.partition(".")[0] for name in weights.keys()} == {"text_model"}  # noqa: SIM118


def test_the_layout_is_that_of_stable_diffusion_15() -> None:
    """Classes, noise schedule and latent shape are SD1.5's; there is no safety checker."""
    index = json.loads((MODEL_FOLDER / "model_index.json").read_text(encoding="utf-8"))
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["safety_checker"] == [None, None]
    assert {part: index[part][1] for part in ("unet", "vae", "text_encoder", "tokenizer")} == {
        "unet": "UNet2DConditionModel",
        "vae": "AutoencoderKL",
        "text_encoder": "CLIPTextModel",
        "tokenizer": "CLIPTokenizer",
    }
    schedule = config_of("scheduler")
    assert [schedule[name] for name in ("beta_schedule", "beta_start", "beta_end", "num_train_timesteps", "prediction_type")] == [
        "scaled_linear",
        0.00085,
        0.012,
        1000,
        "epsilon",
    ]
    vae, unet = config_of("vae"), config_of("unet")
    assert vae["latent_channels"] == unet["in_channels"] == 4
    assert len(vae["block_out_channels"]) == 4  # type: ignore[arg-type]
    assert vae["scaling_factor"] != 0.18215  # measured on this model's own latents
    assert unet["down_block_types"][-1] == "DownBlock2D"  # type: ignore[index]
    assert unet["cross_attention_dim"] == config_of("text_encoder")["hidden_size"]


@pytest.mark.parametrize("part", PARTS)
def test_weights_are_finite_safetensors(part: str) -> None:
    """Every weight can be loaded and is finite."""
    with safe_open(MODEL_FOLDER / part / PARTS[part], framework="np") as file:
        tensors = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118 (no mapping)
    assert len(tensors) > 30
    assert all((abs(tensor.astype("float32")) < 1e4).all() for tensor in tensors)


def test_every_byte_has_a_letter_of_its_own() -> None:
    """Any text can be tokenized."""
    assert len(set(byte_letters())) == 256
    assert not any(letter.isspace() for letter in byte_letters())


def test_committed_vocabulary_is_the_one_that_the_code_builds() -> None:
    """The tokenizer's files match the code that wrote them."""
    vocabulary, merges = build_vocabulary()
    folder = MODEL_FOLDER / "tokenizer"
    assert json.loads((folder / "vocab.json").read_text(encoding="utf-8")) == vocabulary
    assert (folder / "merges.txt").read_text(encoding="utf-8").splitlines()[1:] == [f"{a} {b}" for a, b in merges]
    assert config_of("text_encoder")["vocab_size"] == len(vocabulary)


def test_known_words_are_single_tokens_and_the_new_word_is_not() -> None:
    """The model's known words don't include the trigger word."""
    vocabulary, _ = build_vocabulary()
    assert all(word + "</w>" in vocabulary for word in words_of_the_dataset())
    assert TRIGGER_WORD not in words_of_the_dataset()
    assert TRIGGER_WORD + "</w>" not in vocabulary


@pytest.mark.slow
def test_the_demo_can_be_found_without_torch() -> None:
    """The panel reads the demo's folders in a process that never loads torch or gradio."""
    code = (
        "import sys, onetrainer_gradio.demo, onetrainer_gradio.demo.check;"
        "sys.exit(bool({'torch', 'gradio', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_part_of_the_demo_explains_itself() -> None:
    """The folder contains a README with its seeds and sizes."""
    text = (DEMO_FOLDER / "README.md").read_text(encoding="utf-8")
    assert TRIGGER_WORD in text
    assert "python -m onetrainer_gradio.demo.build" in text
    assert str(len(toy_dataset.all_scenes())) in text.replace(",", "")
