"""A dry run goes through every phase of a run without weights, at full size,
and adds up GPU memory. (engine/dry_run_optimizers.py)
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.configurations import configurations_of
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.memory_estimate import CATEGORIES, PHASES, MemoryEstimate
from onetrainer_gradio.demo import DEMO_FOLDER
from onetrainer_gradio.engine.dry_run import estimate
from onetrainer_gradio.engine.families import FAMILIES
from tests.core import exhaustive_unless

pytestmark = pytest.mark.usefixtures("as_in_runs")

DEMO = str(DEMO_FOLDER / "model")
GIB = 1 << 30
METHODS = ("LORA", "FINE_TUNE")
OTHER_METHODS: dict[str, dict[str, Any]] = {
    "DoRA": {"lora_decompose": True},
    "LoHa": {"peft_type": "LOHA"},
    "LoKr": {"peft_type": "LOKR", "lokr_weight_decompose": True},
    "OFT": {"peft_type": "OFT_2"},
    "embedding": {"training_method": "EMBEDDING"},
    "VAE": {"training_method": "FINE_TUNE_VAE"},
}
SIZES = ("STABLE_DIFFUSION_15", "STABLE_DIFFUSION_XL_10_BASE", "STABLE_DIFFUSION_35", "FLUX_DEV_1")
"""One type of each family: the others of a family differ in sizes and input channels, which LoRA and full fine-tunes cover."""


def configured(model_type: str = "STABLE_DIFFUSION_15", base: str = DEMO, **changes: Any) -> TrainConfig:
    part = {"train": True, "weight_dtype": "BFLOAT_16", "gradient_checkpointing": changes.pop("checkpointing", False)}
    part |= changes.pop("denoiser", {})
    document: dict[str, Any] = {
        "__version": 11,
        "model_type": model_type,
        "base_model_name": base,
        "training_method": "LORA",
        "train_dtype": "BFLOAT_16",
        "train_device": "cuda",
        "resolution": "64",
        "batch_size": 1,
        "optimizer": {"optimizer": "ADAMW"},
        "lora_rank": 4,
        "samples": [{"prompt": "x", "width": 64, "height": 64, "enabled": True}],
        "unet": part,
        "transformer": part,
        "vae": {"weight_dtype": "FLOAT_32"},
        **{f"text_encoder{n}": {"train": False, "weight_dtype": "BFLOAT_16"} for n in ("", "_2", "_3")},
    }
    return from_document(document | changes)[0]


def training(found: MemoryEstimate) -> dict[str, int]:
    (phase,) = (phase for phase in found.phases if phase.phase == "training")
    return dict(phase.bytes)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"lora_decompose": True}, marks=pytest.mark.slow),
        pytest.param({"peft_type": "LOKR", "lokr_weight_decompose": True}, marks=pytest.mark.slow),
        pytest.param({"peft_type": "OFT_2"}, marks=pytest.mark.slow),
        pytest.param({"additional_embeddings": [{"placeholder": "<x>"}]}, marks=pytest.mark.slow),
        pytest.param(
            {"training_method": "EMBEDDING", "embedding": {"is_output_embedding": True}, "preserve_embedding_norm": True},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["DoRA", "LoKr", "OFT", "LoRA and embedding", "output embedding"],
)
def test_other_adapters_and_embeddings_are_estimated(changes):
    """This covers their training and every phase; text that depends on a trained embedding isn't cached."""
    found = estimate(configured(**changes))
    assert {*PHASES} - {phase.phase for phase in found.phases} <= {"caching_text"}
    assert 0 < found.trained < found.parameters


@pytest.mark.exhaustive
@pytest.mark.slow
def test_fine_tuning_the_vae_takes_the_vae_alone():
    """No captions are cached, and the full image's decoder is trained."""
    found = estimate(configured(training_method="FINE_TUNE_VAE", output_model_format="DIFFUSERS"))
    assert [phase.phase for phase in found.phases] == [phase for phase in PHASES if phase != "caching_text"]
    whole = estimate(configured(training_method="FINE_TUNE", output_model_format="DIFFUSERS"))
    assert 0 < found.trained < whole.trained
    assert training(found)["weights"] < training(whole)["weights"]
    assert training(found)["optimizer"] >= 2 * 4 * found.trained


@pytest.mark.exhaustive
@pytest.mark.slow
def test_every_phase_of_a_run_is_there_and_the_peak_is_one_of_them():
    """The size is that of the model in the folder, not of a published one."""
    found = estimate(configured())
    assert [phase.phase for phase in found.phases] == list(PHASES)
    assert {name for phase in found.phases for name in phase.bytes} <= set(CATEGORIES)
    assert found.peak.total == max(phase.total for phase in found.phases)
    assert found.parameters < 20e6
    assert 0 < found.trained < found.parameters
    assert MemoryEstimate.from_json(found.to_json()) == found


@pytest.mark.exhaustive
@pytest.mark.slow
def test_nothing_of_a_dry_run_stays_in_the_process():
    """The estimating process lives for hours and gets a request with each change of the form."""
    from diffusers.models.modeling_utils import ModelMixin

    def alive() -> list[ModelMixin]:
        gc.collect()
        return [item for item in gc.get_objects() if isinstance(item, ModelMixin)]

    others = weakref.WeakSet(alive())
    estimate(configured())
    estimate(configured(training_method="FINE_TUNE", optimizer={"optimizer": "ADAMW", "fused_back_pass": True}))
    assert [type(model).__name__ for model in alive() if model not in others] == []


@pytest.mark.exhaustive
@pytest.mark.slow
def test_settings_move_the_category_that_they_are_about():
    """Batch size, checkpointing, rank, optimizer, EMA and weight data type are each compared with the same run."""
    plain = training(estimate(configured()))
    assert training(estimate(configured(batch_size=4)))["activations"] > 3 * plain["activations"]
    assert training(estimate(configured(checkpointing=True)))["activations"] < plain["activations"]
    assert training(estimate(configured(lora_rank=16)))["optimizer"] > 3 * plain["optimizer"]
    assert training(estimate(configured(optimizer={"optimizer": "ADAMW_8BIT"})))["optimizer"] < plain["optimizer"] / 3
    assert "ema" not in plain
    assert training(estimate(configured(ema="GPU")))["ema"] > 0
    assert "ema" not in training(estimate(configured(ema="CPU")))
    packed = training(estimate(configured(denoiser={"weight_dtype": "NFLOAT_4"})))
    assert packed["weights"] < plain["weights"]
    assert training(estimate(configured(latent_caching=False)))["weights"] > plain["weights"]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_full_fine_tune_holds_gradients_unless_the_back_pass_is_fused():
    """It holds the gradients of all weights, and two optimizer states of them."""
    full = training(estimate(configured(training_method="FINE_TUNE", layer_filter="")))
    assert full["gradients"] > 0.5 * full["weights"]
    assert full["optimizer"] >= 2 * full["gradients"]
    fused = {"optimizer": "ADAFACTOR", "fused_back_pass": True}
    assert training(estimate(configured(training_method="FINE_TUNE", optimizer=fused))).get("gradients", 0) < full["gradients"]


def test_every_type_that_is_trained_here_has_a_size():
    """It is the size of the type's default base model, or the one in the base model's name."""
    for model_type in FAMILIES:
        assert configurations_of(ModelType(model_type), "").keys() >= {"vae", "scheduler"}, model_type
    sizes = [configurations_of(ModelType.STABLE_DIFFUSION_35, f"stable-diffusion-3.5-{size}") for size in ("large", "medium")]
    assert [size["transformer"]["num_layers"] for size in sizes] == [38, 24]


PAIRS = [(model_type, method) for model_type in FAMILIES for method in METHODS]


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "method"), PAIRS)
def test_every_family_steps_at_full_size(model_type: str, method: str):
    """It does forward, backward and optimizer with the published architecture and number of parameters."""
    full = method == "FINE_TUNE"
    changes = {"training_method": method, "layer_filter": "", "resolution": "512", "checkpointing": True}
    found = estimate(configured(model_type, "", **changes))
    billions = MODELS[model_type].base.billions  # type: ignore[index]
    if full:
        assert found.trained / 1e9 == pytest.approx(billions, rel=0.01)
    assert training(found)["weights"] / GIB > 2 * billions * 1e9 / GIB * 0.99
    assert not found.assumptions


OTHER_PAIRS = [
    (model_type, method)
    for model_type in SIZES
    for method, changes in OTHER_METHODS.items()
    if changes.get("training_method", "LORA") in MODELS[ModelType(model_type)].methods
]
OTHER_CHOSEN = ("STABLE_DIFFUSION_15", "embedding")
OTHER_PARAMETERS = [pytest.param(*pair, marks=exhaustive_unless(pair == OTHER_CHOSEN)) for pair in OTHER_PAIRS]


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "method"), OTHER_PARAMETERS)
def test_every_other_method_steps_at_full_size(model_type: str, method: str):
    """Each kind of layer of the second blocks has an adapter, with optimizer states next to the whole model."""
    changes = OTHER_METHODS[method]
    found = estimate(
        configured(model_type, "", **changes, layer_filter="blocks.1.", resolution="512", checkpointing=True, samples=[])
    )
    step = training(found)
    assert 0 < found.trained < 0.05 * found.parameters
    assert step["optimizer"] >= 2 * 4 * found.trained
    billions = 0.08 if method == "VAE" else MODELS[ModelType(model_type)].base.billions
    assert step["weights"] > 2 * billions * 1e9 * 0.99
    assert not found.assumptions


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["STABLE_DIFFUSION_15", "STABLE_DIFFUSION_20_DEPTH", "STABLE_DIFFUSION_15_INPAINTING"])
def test_a_run_in_one_data_type_needs_no_autocast(model_type: str):
    """Images and masks have the train data type, as in a run, so nothing is mixed with float32."""
    whole = {"lora_weight_dtype": "BFLOAT_16", "vae": {"weight_dtype": "BFLOAT_16"}}
    base = DEMO if model_type == "STABLE_DIFFUSION_15" else ""
    found = estimate(configured(model_type, base, **whole, layer_filter="attn2", checkpointing=True))
    assert training(found)["optimizer"] < 2 * 4 * found.trained


@pytest.mark.slow
@pytest.mark.exhaustive
def test_checkpointing_fits_sdxl_into_a_tenth_of_the_activations():
    """At batch size 1, 1024 px and bfloat16, activations take 7.3 GiB without and 0.6 GiB with checkpointing."""
    changes = {"resolution": "1024", "lora_rank": 16, "layer_filter": "attn", "samples": []}
    without, with_ = (
        training(estimate(configured("STABLE_DIFFUSION_XL_10_BASE", "", checkpointing=on, **changes))) for on in (False, True)
    )
    assert without["activations"] / GIB == pytest.approx(7.3, abs=0.5)
    assert with_["activations"] / GIB == pytest.approx(0.55, abs=0.15)
