"""Embeddings: their vectors, prompts and files, and training and resuming them.

Covers ``engine/text_embeddings.py``, ``engine/methods/placeholders.py`` and ``engine/methods/embedding.py``.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import Parameter

from onetrainer_gradio.commands import BackupNow
from onetrainer_gradio.engine import families
from onetrainer_gradio.engine.text_embeddings import TextEmbeddings, Vectors, spread
from onetrainer_gradio.errors import BackupMismatchError, ConfigInvalidError, ModelFormatError, ModelNotFoundError
from onetrainer_gradio.events import BackupCreated, ModelSaved, RunPlanned
from tests.engine import toy_family
from tests.engine.recording import FakeControl, Recorder, after_step
from tests.engine.toy_family import TOKENS, WIDTH, WORDS, Encoder, Words

UUID, OTHER = "0123-Ab", "4567-cD"


# -- vectors -----------------------------------------------------------------------------------------------------------------


def encoder() -> Encoder:
    torch.manual_seed(1)
    return Encoder().requires_grad_(False)


def inputs(rows: torch.Tensor) -> Parameter:
    return Parameter(rows.detach().clone())


def tokens(embeddings: TextEmbeddings, text: str) -> torch.Tensor:
    return embeddings.tokenizer(embeddings.expanded(text)).input_ids


def test_a_placeholder_represents_its_vectors():
    """With the rows of two words as vectors, it is encoded like the words;
    other prompts and the tokenizer's file are unchanged.
    """
    text, original = encoder(), Words()
    two = original("a cat", padding="do_not_pad").input_ids
    before = text(original("one a cat two").input_ids)
    plain = text(original("one two").input_ids)
    embeddings = TextEmbeddings(original, text, [Vectors(UUID, "<x>", inputs(text.words.weight[two]))])
    assert torch.equal(text(tokens(embeddings, "one <x> two")), before)
    assert torch.equal(text(tokens(embeddings, "one two")), plain)
    assert len(original) == WORDS
    assert original.added == []


def test_only_the_vectors_get_gradients_and_each_gets_its_own():
    """The summed outputs at a placeholder's positions have gradients for its vectors only."""
    text = encoder()
    one, other = (Vectors(name, f"<{name}>", inputs(torch.randn(2, WIDTH))) for name in ("a", "b"))
    embeddings = TextEmbeddings(Words(), text, [one, other])
    text(tokens(embeddings, "x <b> y")).square().sum().backward()
    assert one.inputs.grad is None or not one.inputs.grad.any()
    assert other.inputs.grad.abs().sum(1).min() > 0
    assert text.words.weight.grad is None


def test_tokens_that_the_table_has_no_row_for_are_zero():
    """A tokenizer may have more tokens than the table has rows."""
    text, original = encoder(), Words()
    original.add_tokens(["<more>"])
    embeddings = TextEmbeddings(original, text, [Vectors(UUID, "<x>", inputs(torch.ones(1, WIDTH)))])
    rows = text.words(torch.tensor([[WORDS, WORDS + 1, 3]]))[0]
    assert torch.equal(rows[0], torch.zeros(WIDTH))
    assert torch.equal(rows[1], torch.ones(WIDTH))
    assert torch.equal(rows[2], text.words.weight[3])
    assert embeddings.expanded("<more>") == "<more>"


def test_outputs_replace_hidden_states_at_their_positions():
    """They are replaced in float32, with gradients, and nowhere else."""
    text = encoder()
    outputs = Parameter(torch.randn(2, WIDTH))
    one = Vectors("a", "<a>", inputs(torch.zeros(1, WIDTH)))
    other = Vectors(UUID, "<x>", inputs(torch.zeros(2, WIDTH)), outputs)
    embeddings = TextEmbeddings(Words(), text, [one, other])
    found = tokens(embeddings, "b <x> <a>")
    hidden = text(found).half()
    replaced = embeddings.with_outputs(found, hidden)
    assert replaced.dtype == torch.float32
    assert torch.equal(replaced[0, 1:3], outputs)
    kept = [0, *range(3, TOKENS)]
    assert torch.equal(replaced[0, kept], hidden[0, kept].float())
    replaced.sum().backward()
    assert torch.equal(outputs.grad, torch.ones(2, WIDTH))


def test_norms_are_preserved_for_what_is_trained():
    """Inputs get the table's median norm, outputs keep their standard deviation; untrained vectors don't change."""
    text = encoder()
    first = torch.randn(3, WIDTH)
    trained, fixed = Vectors("a", "<a>", inputs(7 * first)), Vectors("b", "<b>", inputs(7 * first))
    fixed.inputs.requires_grad_(False)
    output = Vectors("c", "<c>", inputs(torch.zeros(3, WIDTH)).requires_grad_(False), Parameter(first.clone()))
    embeddings = TextEmbeddings(Words(), text, [trained, fixed, output])
    with torch.no_grad():
        output.outputs.mul_(5)
    embeddings.preserve_norms()
    median = text.words.weight.norm(dim=1).median()
    torch.testing.assert_close(trained.inputs.detach().norm(dim=1), median.expand(3))
    assert torch.equal(fixed.inputs, 7 * first)
    assert spread(output.outputs) == pytest.approx(spread(first), rel=1e-5)


def test_tables_that_share_their_weight_are_all_replaced():
    """T5 looks up tokens with a different module from the table's owner."""

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.used, self.other = nn.Embedding(WORDS, WIDTH), nn.Embedding(WORDS, WIDTH), nn.Embedding(4, WIDTH)
            self.used.weight = self.shared.weight

        def get_input_embeddings(self):
            return self.shared

    text = Shared()
    TextEmbeddings(Words(), text, [Vectors(UUID, "<x>", inputs(torch.ones(1, WIDTH)))])
    assert torch.equal(text.used(torch.tensor([WORDS])), torch.ones(1, WIDTH))
    assert "forward" not in vars(text.other)


# -- runs --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _registered(monkeypatch) -> None:
    monkeypatch.setitem(families.FAMILIES, "STABLE_DIFFUSION_15", "tests.engine.toy_family")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return toy_family.write_model(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def toy(configured, model, tmp_path):
    """Runs whose captions contain ``red``, which is the placeholder."""

    def make(**changes):
        document = {
            "base_model_name": str(model),
            "layer_filter": "",
            "lora_rank": 2,
            "training_method": "EMBEDDING",
            "output_model_format": "SAFETENSORS",
            "output_model_destination": str(tmp_path / "out" / "embedding.safetensors"),
            "embedding_learning_rate": 0.05,
            "embedding": {"uuid": UUID, "placeholder": "a ", "token_count": 2, "initial_embedding_text": "cat"},
        }
        return configured(**document | changes)

    return make


def rows(model: Path, *words: str) -> torch.Tensor:
    table = load_file(model / "text_encoder" / "diffusion_pytorch_model.safetensors")["words.weight"]
    return table[[Words().number(word) for word in words]]


def run_with(train, config, at, *commands, **options):
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, at, *commands)
    return train(config, recorder, control, **options)


ADDITIONAL = {"uuid": OTHER, "placeholder": "of", "token_count": None, "initial_embedding_text": "big dog"}
METHODS = {
    "EMBEDDING": {},
    "EMBEDDING, output": {"embedding__is_output_embedding": True},
    "LORA": {"training_method": "LORA", "output_model_format": "KOHYA_LORA", "additional_embeddings": [ADDITIONAL]},
    "FINE_TUNE": {
        "training_method": "FINE_TUNE",
        "output_model_format": "LEGACY_SAFETENSORS",
        "additional_embeddings": [ADDITIONAL],
        "preserve_embedding_norm": True,
    },
}


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("changes", METHODS.values(), ids=METHODS.keys())
def test_a_resumed_run_ends_as_the_whole_one(toy, train, tmp_path, changes):
    """This covers embeddings alone, in the encoder's input or output, and in addition to other methods."""
    changes = dict(changes)
    output = changes.pop("embedding__is_output_embedding", False)
    whole = toy(**changes, epochs=2, ema="CPU")
    if output:
        whole = whole.model_copy(update={"embedding": whole.embedding.model_copy(update={"is_output_embedding": True})})
    _, recorder = run_with(train, whole, 2, BackupNow())
    (backup,) = recorder.of(BackupCreated)
    resumed = whole.model_copy(update={"output_model_destination": str(tmp_path / "resumed.safetensors")})
    _, again = train(resumed, resume_from=backup.path)
    assert again.losses == recorder.losses[2:]
    one, other = load_file(whole.output_model_destination), load_file(resumed.output_model_destination)
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    uuid = UUID if whole.training_method == "EMBEDDING" else OTHER
    assert (Path(backup.path) / "embeddings" / f"{uuid}.safetensors").is_file()


@pytest.mark.slow
def test_the_file_holds_the_trained_vectors(toy, train, model):
    """``emp_params`` has one row per token: they start as the initial text, padded with ``*``, and change."""
    config = toy(epochs=2)
    _, recorder = train(config)
    (plan,) = recorder.of(RunPlanned)
    assert plan.learning_rates == (f"embeddings/{UUID}",)
    assert plan.trainable_parameters == 2 * WIDTH
    found = load_file(config.output_model_destination)
    assert found.keys() == {"emp_params"}
    start = rows(model, "cat", "*")
    assert found["emp_params"].shape == start.shape
    assert not torch.equal(found["emp_params"], start)
    _, frozen = train(config.model_copy(update={"embedding_learning_rate": 0.0}))
    torch.testing.assert_close(load_file(config.output_model_destination)["emp_params"], start)
    assert frozen.losses != recorder.losses


@pytest.mark.slow
def test_an_output_embedding_starts_as_the_encoded_text(toy, train, model):
    """These are the states of ``cat**`` from the second position on; the file's inputs are zero."""
    config = toy(embedding_learning_rate=0.0, epochs=1)
    config = config.model_copy(update={"embedding": config.embedding.model_copy(update={"is_output_embedding": True})})
    train(config)
    found = load_file(config.output_model_destination)
    assert found.keys() == {"emp_params", "emp_params_out"}
    assert not found["emp_params"].any()
    text = Encoder.from_pretrained(model / "text_encoder")
    states = text(Words()("cat**").input_ids)[0, 1:3]
    torch.testing.assert_close(found["emp_params_out"], states.detach())


@pytest.mark.exhaustive
@pytest.mark.slow
def test_training_continues_from_a_file(toy, train, tmp_path):
    """The file determines the number of vectors; an embedding of another model, or a missing one, is rejected."""
    start = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(2))
    file, foreign = tmp_path / "start.safetensors", tmp_path / "foreign.safetensors"
    save_file({"emp_params": start}, file)
    save_file({"emp_params": torch.zeros(1, WIDTH + 1)}, foreign)

    def continued(path):
        config = toy(embedding_learning_rate=0.0, epochs=1)
        return config.model_copy(update={"embedding": config.embedding.model_copy(update={"model_name": str(path)})})

    train(continued(file))
    torch.testing.assert_close(load_file(continued(file).output_model_destination)["emp_params"], start)
    with pytest.raises(ModelFormatError, match=f"length {WIDTH}"):
        train(continued(foreign))
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        train(continued(tmp_path / "nowhere.safetensors"))


@pytest.mark.slow
def test_an_additional_embedding_starts_from_its_file(toy, train, tmp_path):
    """The file determines the number of its vectors, and without training they don't change."""
    start = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(2))
    save_file({"emp_params": start}, tmp_path / "start.safetensors")
    named = {**ADDITIONAL, "model_name": str(tmp_path / "start.safetensors")}
    config = toy(**{**METHODS["LORA"], "additional_embeddings": [named]}, embedding_learning_rate=0.0, epochs=1)
    train(config)
    torch.testing.assert_close(load_file(config.output_model_destination)["bundle_emb.of.clip_l"], start)


@pytest.mark.slow
@pytest.mark.parametrize("bundled", [True, False])
def test_additional_embeddings_are_in_the_lora_or_next_to_it(toy, train, bundled):
    """They are in ``bundle_emb`` with the placeholder and the encoder, or in a folder named after the LoRA."""
    config = toy(**METHODS["LORA"], bundle_additional_embeddings=bundled, epochs=1)
    _, recorder = train(config)
    (plan,) = recorder.of(RunPlanned)
    assert plan.learning_rates == (f"embeddings/{OTHER}", "unet_lora")
    (saved,) = recorder.of(ModelSaved)
    names = {name for name in load_file(saved.path) if name.startswith("bundle_emb.")}
    folder = Path(f"{saved.path}_embeddings")
    assert names == ({"bundle_emb.of.clip_l"} if bundled else set())
    assert folder.is_dir() != bundled
    if not bundled:
        assert load_file(folder / "of.safetensors")["emp_params"].shape == (2, WIDTH)
        (folder / "of.safetensors").write_bytes(b"somebody's")
        train(config)
        assert (folder / "of-2.safetensors").read_bytes() == b"somebody's"
        assert load_file(folder / "of.safetensors")["emp_params"].shape == (2, WIDTH)
    else:
        target = config.output_model_destination.replace(".safetensors", "-2.safetensors")
        changes = {"lora_model_name": saved.path, "embedding_learning_rate": 0.0, "output_model_destination": target}
        train(config.model_copy(update=changes))
        torch.testing.assert_close(load_file(target)["bundle_emb.of.clip_l"], load_file(saved.path)["bundle_emb.of.clip_l"])


@pytest.mark.slow
def test_an_embedding_that_is_not_trained_is_used(toy, train):
    """It changes the loss, has no parameters, and separates the cached text of captions from the text without it."""
    fixed = {**ADDITIONAL, "placeholder": "a ", "train": False}
    lora = {**METHODS["LORA"], "epochs": 1, "learning_rate": 1e-9}
    _, used = train(toy(**{**lora, "additional_embeddings": [fixed]}))
    _, without = train(toy(**{**lora, "additional_embeddings": []}))
    assert used.losses != without.losses
    (plan,) = used.of(RunPlanned)
    assert plan.learning_rates == ("unet_lora",)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_training_of_an_embedding_can_stop_before_the_run(toy, train):
    """From then on its vectors don't change, and the rest continues."""
    stopping = {**ADDITIONAL, "stop_training_after": 1, "stop_training_after_unit": "EPOCH"}
    destination = {}
    for epochs in (2, 3):
        config = toy(**{**METHODS["LORA"], "additional_embeddings": [copy.deepcopy(stopping)], "epochs": epochs})
        train(config)
        destination[epochs] = load_file(config.output_model_destination)
    one, two = destination[2], destination[3]
    assert torch.equal(one["bundle_emb.of.clip_l"], two["bundle_emb.of.clip_l"])
    assert any(not torch.equal(one[name], two[name]) for name in one if "lora_down" in name)


@pytest.mark.slow
def test_an_embedding_that_is_to_stay_is_not_trained(toy, train):
    """Without ``train`` and without an additional embedding, there is nothing to train."""
    config = toy(epochs=1)
    config = config.model_copy(update={"embedding": config.embedding.model_copy(update={"train": False})})
    with pytest.raises(ConfigInvalidError, match="No embedding is trained"):
        train(config)


@pytest.mark.slow
def test_a_backup_without_the_embedding_is_rejected(toy, train):
    """A backup of a LoRA run can't resume as one of an embedding."""
    config = toy(training_method="LORA", output_model_format="KOHYA_LORA", epochs=1, backup_before_save=True)
    _, recorder = train(config)
    (backup,) = recorder.of(BackupCreated)
    with pytest.raises(BackupMismatchError, match="doesn't contain the embedding"):
        train(toy(epochs=2), resume_from=backup.path)
