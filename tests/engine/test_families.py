"""Differences between families: states, conditions, packing, objectives (engine/families, flow_matching.py, text_states.py)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.engine import families
from onetrainer_gradio.engine.families import flux_1, stable_diffusion_3, stable_diffusion_xl
from onetrainer_gradio.engine.flow_matching import FlowMatching
from onetrainer_gradio.engine.text_states import ClipStates, T5States

PACKAGE = Path(families.__file__).parent


class Wide(torch.nn.Module):
    """A text encoder with five layers, each of which adds one."""

    def __init__(self, norm: float) -> None:
        super().__init__()
        self.final_layer_norm = self.scaled
        self.encoder = SimpleNamespace(final_layer_norm=self.scaled)
        self.factor = norm

    def scaled(self, hidden):
        return hidden * self.factor

    def forward(self, tokens, **_):
        states = tuple(tokens[..., None] + float(layer) for layer in range(6))
        return SimpleNamespace(hidden_states=states, pooler_output=tokens[:, :1].float())


def model_of(config=None, **settings):
    """Return the part of a loaded model that a family's functions use."""
    spec = settings.pop("spec", stable_diffusion_3.STABLE_DIFFUSION_3)
    return SimpleNamespace(
        config=config or TrainConfig(),
        spec=spec,
        components=dict.fromkeys(settings.pop("components", spec.components)),
        denoiser=SimpleNamespace(config=settings),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def test_every_type_that_is_trained_here_has_its_family():
    """The facts of a type and the module of its family refer to each other."""
    for model_type, facts in MODELS.items():
        if facts.built_in:
            spec = families.spec_of(str(model_type))
            assert set(spec.components) - {"depth_estimator"} == set(facts.parts)
            assert spec.denoiser == facts.denoiser
            assert tuple(encoder.name for encoder in spec.text) == facts.encoders
            assert spec.size_multiple_px == facts.pixel_multiple
            assert spec.dynamic_shift == (facts.dynamic_shift is not None)


@pytest.mark.parametrize("module", sorted(path.name for path in PACKAGE.glob("*.py") if path.name != "family.py"))
def test_a_family_is_a_short_module(module):
    """A family's specifics fit on a few screens."""
    assert len((PACKAGE / module).read_text().splitlines()) <= 200


def test_layers_of_clip_are_counted_from_the_end():
    """Skipped layers move the output down; the norm is applied only where the model needs it."""
    tokens = {"tokens": torch.zeros(1, 2)}
    assert ClipStates(layer=1, norm=True)(Wide(10.0), tokens, 0)["hidden"].unique().tolist() == [50.0]
    assert ClipStates(layer=1, norm=True)(Wide(10.0), tokens, 1)["hidden"].unique().tolist() == [40.0]
    assert ClipStates(layer=2)(Wide(10.0), tokens, 0)["hidden"].unique().tolist() == [4.0]
    assert ClipStates(layer=2)(Wide(10.0), tokens, 2)["hidden"].unique().tolist() == [2.0]


def test_t5_is_normalized_once():
    """The last state already is; an earlier one is normalized by our code."""
    tokens = {"tokens": torch.zeros(1, 2)}
    assert T5States()(Wide(10.0), tokens, 0)["hidden"].unique().tolist() == [5.0]
    assert T5States()(Wide(10.0), tokens, 1)["hidden"].unique().tolist() == [40.0]


def test_flow_matching_goes_from_image_to_noise():
    """Timestep t has sigma (t + 1) / T; the target is the velocity; the weights are 1 or sigma."""
    flow = FlowMatching.of({"num_train_timesteps": 10}, TrainConfig(), torch.device("cpu"))
    latents, noise = torch.full((2, 1, 2, 2), 3.0), torch.full((2, 1, 2, 2), -1.0)
    timestep = torch.tensor([9, 4], dtype=torch.int32)
    assert torch.equal(flow.noised(latents, noise, timestep)[:, 0, 0, 0], torch.tensor([-1.0, 1.0]))
    assert torch.equal(flow.target(latents, noise, timestep), noise - latents)
    assert flow.loss_weight("SIGMA", timestep, 0.0).tolist() == [1.0, 0.5]
    assert flow.loss_weight("CONSTANT", timestep, 0.0).tolist() == [1.0, 1.0]
    assert not flow.timestep_first


@pytest.mark.slow
def test_latents_are_packed_as_diffusers_packs_them():
    """This covers both directions, and the patch positions of its pipeline."""
    from diffusers import FluxPipeline

    latents = torch.randn(2, 16, 6, 8)
    packed = flux_1.pack(latents)
    assert torch.equal(packed, FluxPipeline._pack_latents(latents, 2, 16, 6, 8))
    assert torch.equal(flux_1.unpack(packed, 6, 8), latents)
    ids = FluxPipeline._prepare_latent_image_ids(2, 3, 4, torch.device("cpu"), torch.float32)
    assert torch.equal(flux_1.image_ids(6, 8, torch.device("cpu"), torch.float32), ids)


def test_missing_text_encoders_are_zeros_in_their_places():
    """This covers SD3 without its first CLIP and without T5, and FLUX.1 without either."""
    sd3 = model_of(components=("text_encoder_2", "transformer"), pooled_projection_dim=5, joint_attention_dim=8)
    states = {"tokens_2": torch.ones(2, 77), "hidden_2": torch.ones(2, 77, 3), "pooled_2": torch.ones(2, 3)}
    found = stable_diffusion_3.condition(sd3, states)
    assert found["text"].shape == (2, 154, 8)
    assert found["text"][0, 0].tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    assert found["text"][:, 77:].abs().sum() == 0
    assert found["pooled"][0].tolist() == [0, 0, 1, 1, 1]
    flux = model_of(spec=flux_1.FLUX_1_DEV, pooled_projection_dim=5, joint_attention_dim=8)
    found = flux_1.condition(flux, {"tokens": torch.ones(2, 77), "pooled": torch.ones(2, 5)})
    assert found["text"].shape == (2, 77, 8)
    assert found["text"].abs().sum() == 0


def test_padding_is_zeroed_with_the_attention_mask():
    """Without the mask, padding is used; with it, the states of padding are zeros."""
    states = {
        "tokens_2": torch.ones(1, 3),
        "tokens_mask_2": torch.tensor([[1, 1, 0]]),
        "hidden_2": torch.ones(1, 3, 8),
        "pooled": torch.ones(1, 5),
    }
    for mask, last in ((False, 1.0), (True, 0.0)):
        config = TrainConfig.model_validate({"transformer": {"attention_mask": mask}})
        model = model_of(config, spec=flux_1.FLUX_1_DEV, pooled_projection_dim=5, joint_attention_dim=8)
        text = flux_1.condition(model, states)["text"]
        assert (text[0, 0, 0].item(), text[0, 2, 0].item()) == (1.0, last)


def test_sizes_of_image_and_crop_are_passed_to_sdxl():
    """The order is original size, crop offset, target size, each as height and width."""
    sizes = {
        "original_size": torch.tensor([[10, 11]]),
        "crop_offset": torch.tensor([[1, 2]]),
        "crop_size": torch.tensor([[8, 9]]),
    }
    states = {"hidden": torch.ones(1, 77, 2), "hidden_2": torch.zeros(1, 77, 3), "pooled_2": torch.ones(1, 3)}
    found = stable_diffusion_xl.condition(model_of(spec=stable_diffusion_xl.STABLE_DIFFUSION_XL), states | sizes)
    assert found["time_ids"].tolist() == [[10, 11, 1, 2, 8, 9]]
    assert found["text"].shape == (1, 77, 5)
    assert "time_ids" not in stable_diffusion_xl.condition(model_of(spec=stable_diffusion_xl.STABLE_DIFFUSION_XL), states)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_tied_weights_are_written_under_each_name(tmp_path):
    """T5's embedding has two names, as in OneTrainer's files; the folder loads with the same weights."""
    from safetensors.torch import load_file

    from onetrainer_gradio.engine.model import Model
    from tests.models.tiny import write_model

    source = write_model("STABLE_DIFFUSION_3", tmp_path / "model")
    config = TrainConfig.model_validate({"model_type": "STABLE_DIFFUSION_3", "train_device": "cpu", "temp_device": "cpu"})
    model = Model.load(config, str(source), lambda *_: None)
    model.write_folder(tmp_path, None)
    written = load_file(tmp_path / "text_encoder_3" / "model.safetensors")
    assert torch.equal(written["shared.weight"], written["encoder.embed_tokens.weight"])
    again = Model.load(config, str(tmp_path), lambda *_: None).state("text_encoder_3")
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state("text_encoder_3").items())
