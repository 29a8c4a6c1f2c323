"""A model file or folder is recognized without loading it, and each kind has a message wherever it is the wrong one."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

from onetrainer_gradio.config.model_files import BASE, COMPONENT, EMBEDDING, LORA, damage, family_of, recognize, unfit
from tests.config.preflight import findings, furnish

UNET, VAE, ENCODER = (
    "model.diffusion_model.input_blocks.0.0.weight",
    "first_stage_model.decoder.conv_in.weight",
    "cond_stage_model.transformer.text_model.x",
)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4265146304\n"


def safetensors(*names: str, size: int = 4, cut: int = 0) -> bytes:
    """Return a file with these tensors of ``size`` bytes each; ``cut`` bytes are missing at its end."""
    header = json.dumps(
        {name: {"dtype": "U8", "shape": [size], "data_offsets": [at * size, (at + 1) * size]} for at, name in enumerate(names)}
    ).encode()
    data = struct.pack("<Q", len(header)) + header + b"\0" * size * len(names)
    return data[: len(data) - cut]


class Runs:
    """The content of a pickle that executes code."""

    def __reduce__(self):
        return (os.system, ("true",))


def torch_file(content: object, *, protocol: int = 2) -> bytes:
    """Return a file as torch.save writes it: a zip with a pickle inside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=protocol))
        archive.writestr("archive/data/0", b"\0" * 64)
    return buffer.getvalue()


def plain_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "x")
    return buffer.getvalue()


CHECKPOINT = safetensors(UNET, VAE, ENCODER)
# name -> (bytes, the message wherever it is used)
BROKEN = {
    "empty.safetensors": (b"", "is empty"),
    "pointer.safetensors": (LFS, "Git LFS pointer, not the file itself (which has 4,265,146,304 bytes)"),
    "pointer.ckpt": (LFS, "Git LFS pointer"),
    "page.safetensors": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
    "page2.safetensors": (b"\n  <html lang='en'>", "web page"),
    "note.safetensors": (b"Access to this model is restricted.\n", "text file"),
    "note.txt": ("größer als\n".encode(), "text file"),
    "config.safetensors": (b'{"error": "not found"}', "JSON file"),
    "short.safetensors": (safetensors(UNET, VAE, ENCODER, cut=3), "is incomplete"),
    "header.safetensors": (CHECKPOINT[:40], "is incomplete"),
    "byte.safetensors": (b"\x01", "is incomplete"),
    "garbage.safetensors": (bytes(range(256)) * 4, "damaged: it doesn't begin like a safetensors file"),
    "list.safetensors": (struct.pack("<Q", 9) + b"{" + b"x" * 8, "damaged: its header is unreadable"),
    "image.safetensors": (b"\x89PNG\r\n\x1a\n" + b"\0" * 32, "is an image"),
    "zip.safetensors": (plain_zip(), "archive (zip)"),
    "packed.ckpt": (b"7z\xbc\xaf\x27\x1c" + b"\0" * 32, "archive (7z)"),
    "code.pt": (torch_file(Runs()), "would run code when it is loaded (posix.system)"),
    "code4.pt": (torch_file(Runs(), protocol=4), "would run code"),
    "legacy.pt": (pickle.dumps(Runs(), protocol=2), "would run code"),
    "lightning.ckpt": (
        torch_file({"pytorch-lightning_version": "1.4", "state_dict": {}, "callbacks": Runs()}),
        "PyTorch Lightning checkpoint",
    ),
    "cut.ckpt": (torch_file({"a": 1})[:60], "is incomplete: it is a PyTorch file that ends early"),
    "renamed.safetensors": (torch_file({"a.b": 1}), "is a PyTorch file (.ckpt, .pt) with the extension .safetensors"),
    "renamed.ckpt": (CHECKPOINT, "is a safetensors file with the extension .ckpt"),
    "gguf.safetensors": (b"GGUF" + b"\0" * 32, "is a GGUF file with the extension .safetensors"),
}
KOHYA = safetensors("lora_unet_conv_in.lora_down.weight", "lora_unet_conv_in.alpha")
PEFT = safetensors("unet.down_blocks.0.attentions.0.to_q.lora_A.weight")
LOKR = safetensors("lycoris_unet_conv_in.lokr_w1")
WORD = safetensors("emp_params")
WORD_XL = safetensors("clip_l", "clip_g")
WORD_PT = torch_file({"string_to_token": {"*": 265}, "string_to_param": {"*": 1}})
# name -> (bytes, the settings that it is wrong for, the message there)
MISPLACED = {
    "checkpoint.safetensors": (CHECKPOINT, {LORA, EMBEDDING}, "is a full checkpoint"),
    "no-vae.safetensors": (safetensors(UNET, ENCODER), {BASE, LORA, EMBEDDING}, "is a checkpoint without a VAE"),
    "no-encoder.safetensors": (safetensors(UNET, VAE), {BASE, LORA, EMBEDDING}, "is a checkpoint without a text encoder"),
    "denoiser.safetensors": (safetensors("double_blocks.0.img_attn"), {BASE, LORA, EMBEDDING}, "contains only a denoiser"),
    "unet.safetensors": (safetensors("down_blocks.0.resnets.0.x"), {BASE, LORA, EMBEDDING}, "contains only a denoiser"),
    "vae.safetensors": (safetensors("decoder.conv_in.weight", "quant_conv.weight"), {BASE, LORA, EMBEDDING}, "is a VAE"),
    "clip.safetensors": (safetensors("text_model.embeddings.x"), {BASE, LORA, EMBEDDING}, "is a text encoder"),
    "model.gguf": (b"GGUF" + b"\0" * 32, {BASE, LORA, EMBEDDING}, "is a GGUF file"),
    "kohya.safetensors": (KOHYA, {BASE, COMPONENT, EMBEDDING}, "is a LoRA"),
    "peft.safetensors": (PEFT, {BASE, COMPONENT, EMBEDDING}, "is a LoRA"),
    "lokr.safetensors": (LOKR, {BASE, COMPONENT, EMBEDDING}, "is a LoRA"),
    "lora.pt": (torch_file({"lora_unet_x.lora_up.weight": 1}), {BASE, COMPONENT, EMBEDDING}, "is a LoRA"),
    "word.safetensors": (WORD, {BASE, COMPONENT, LORA}, "is an embedding"),
    "word-xl.safetensors": (WORD_XL, {BASE, COMPONENT, LORA}, "is an embedding"),
    "word.pt": (WORD_PT, {BASE, COMPONENT, LORA}, "is an embedding"),
    "unknown.safetensors": (safetensors("something.else"), set(), ""),
    "unknown.ckpt": (bytes(range(1, 256)) * 8, set(), ""),
    "bundle.safetensors": (
        safetensors("lora_unet_x.lora_up.weight", "bundle_emb.x.clip_l"),
        {BASE, COMPONENT, EMBEDDING},
        "LoRA",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("role", [BASE, COMPONENT, LORA, EMBEDDING])
def test_a_broken_file_is_named_for_what_it_is(tmp_path, name, role):
    """The message has the same content for any setting, and what to do."""
    content, what = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    problem = unfit(tmp_path / name, role)
    assert problem is not None
    assert what in problem.about(name)
    assert problem.suggestion


@pytest.mark.slow
@pytest.mark.parametrize("name", MISPLACED)
@pytest.mark.parametrize("role", [BASE, COMPONENT, LORA, EMBEDDING])
def test_a_whole_file_is_rejected_only_where_it_does_not_belong(tmp_path, name, role):
    """The message names the kind of file and what to choose; a file of unknown content is left to the loader."""
    content, wrong, what = MISPLACED[name]
    (tmp_path / name).write_bytes(content)
    problem = unfit(tmp_path / name, role)
    assert (problem is not None) == (role in wrong)
    if problem is not None:
        assert what in problem.about(name)
        assert problem.suggestion


def test_a_type_that_takes_components_from_elsewhere_takes_an_incomplete_file(tmp_path):
    file = tmp_path / "denoiser.safetensors"
    file.write_bytes(safetensors("double_blocks.0.img_attn"))
    assert unfit(file, BASE, whole=False) is None


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("conditioner.embedders.0.x", "STABLE_DIFFUSION_XL"),
        ("cond_stage_model.model.x", "STABLE_DIFFUSION_2"),
        ("cond_stage_model.transformer.x", "STABLE_DIFFUSION_1"),
        ("text_encoders.x", ""),
    ],
)
def test_a_checkpoint_shows_its_family(tmp_path, key, family):
    file = tmp_path / "x.safetensors"
    file.write_bytes(safetensors(UNET, VAE, key))
    assert family_of(file) == family


# -- folders


def model_folder(folder: Path) -> Path:
    """Write a complete model in the diffusers layout."""
    index = {
        "_class_name": "StableDiffusionPipeline",
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    for name, kind, file in (
        ("unet", "UNet2DConditionModel", "diffusion_pytorch_model"),
        ("vae", "AutoencoderKL", "diffusion_pytorch_model"),
        ("text_encoder", "CLIPTextModel", "model"),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{file}.safetensors").write_bytes(safetensors("x"))
        (folder / name / "config.json").write_text(json.dumps({"_class_name": kind}))
        index[name] = ["diffusers", kind]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_a_whole_folder_is_fine_as_a_base_and_wrong_elsewhere(tmp_path):
    folder = model_folder(tmp_path / "model")
    assert unfit(folder, BASE) is None
    assert unfit(folder / "vae", COMPONENT) is None
    for role in (COMPONENT, LORA, EMBEDDING):
        problem = unfit(folder, role)
        assert problem is not None
        assert "full model" in problem.what
    for role in (BASE, LORA, EMBEDDING):
        problem = unfit(folder / "vae", role)
        assert problem is not None
        assert "AutoencoderKL" in problem.what


def index_without_shards(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    shards = {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors", "b": "x-00002-of-00002.safetensors"}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(shards))


def broken_index(folder: Path) -> None:
    index_without_shards(folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text("{")


def put(content: bytes):
    return lambda folder: (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    ("damaged", "what"),
    [
        (index_without_shards, "has the component unet, which lacks 2 of the 2 weight files"),
        (broken_index, "an unreadable index of weight files"),
        (lambda folder: (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink(), "has no weight files"),
        (lambda folder: (folder / "unet").rename(folder / "gone"), "unet, which is missing"),
        (put(LFS), "which is a Git LFS pointer"),
        (put(b""), "which is empty"),
        (put(safetensors("x", cut=2)), "which is incomplete"),
        (lambda folder: (folder / "model_index.json").write_text("{"), "unreadable model_index.json"),
    ],
)
def test_a_damaged_folder_is_named_with_its_component(tmp_path, damaged, what):
    """This includes a cloned repository whose large files were never downloaded."""
    folder = model_folder(tmp_path / "model")
    damaged(folder)
    problem = unfit(folder, BASE)
    assert problem is not None
    assert what in problem.about("model")
    if "unet" in what:
        assert unfit(folder, BASE, components=("vae", "text_encoder")) is None


def test_files_that_are_not_loaded_may_be_broken(tmp_path):
    """Variants or pickles next to the regular weights, and linked files, may be broken."""
    folder = model_folder(tmp_path / "model")
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(LFS)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"")
    assert unfit(folder, BASE) is None
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert unfit(link, BASE) is None


def test_an_adapter_folder_and_a_backup_are_recognized(tmp_path):
    (tmp_path / "peft").mkdir()
    (tmp_path / "peft" / "adapter_config.json").write_text("{}")
    (tmp_path / "backup" / "lora").mkdir(parents=True)
    (tmp_path / "backup" / "lora" / "lora.safetensors").write_bytes(KOHYA)
    (tmp_path / "backup" / "meta.json").write_text("{}")
    assert unfit(tmp_path / "backup", LORA) is None
    for name in ("peft", "backup"):
        problem = unfit(tmp_path / name, BASE)
        assert problem is not None
        assert "adapter" in problem.what or "LoRA" in problem.what


def test_nothing_is_reported_for_what_is_not_there_or_no_file(tmp_path):
    """Missing paths, folders of other things and pipes have other findings."""
    os.mkfifo(tmp_path / "pipe.safetensors")
    for path in (tmp_path / "gone", tmp_path, tmp_path / "pipe.safetensors", Path("/dev/null")):
        assert recognize(path) is None
        assert damage(path) == ""


def test_a_replaced_file_is_read_again(tmp_path):
    file = tmp_path / "x.safetensors"
    file.write_bytes(LFS)
    assert recognize(file).kind == "lfs"
    file.write_bytes(CHECKPOINT)
    assert recognize(file).kind == "checkpoint"


# -- in the pre-flight check

SETTINGS = {
    "base_model_name": (BASE, {}),
    "vae.model_name": (COMPONENT, {}),
    "lora_model_name": (LORA, {}),
    "embedding.model_name": (EMBEDDING, {"training_method": "EMBEDDING", "output_model_format": "SAFETENSORS"}),
    "additional_embeddings.0.model_name": (EMBEDDING, {"additional_embeddings": [{"placeholder": "<x>", "model_name": "x"}]}),
}


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_check_reports_what_a_file_is_at_every_setting_that_names_one(tmp_path, setting):
    """The message equals the engine's, as an error for the setting."""
    place = furnish(tmp_path)
    role, changes = SETTINGS[setting]
    names = [*BROKEN, *(name for name, (_, wrong, _) in MISPLACED.items() if role in wrong)]
    for name in names:
        (place / name).write_bytes((BROKEN.get(name) or MISPLACED[name])[0])
        hits = [item for item in findings(place, changes, {setting: name}) if item.path == setting]
        assert len(hits) == 1, name
        expected = {"model-file", "base-model-file"} if name == "note.txt" else {"model-file"}
        assert hits[0].severity == "error"
        assert hits[0].code in expected
        assert hits[0].suggestion
        if hits[0].code == "model-file":
            problem = unfit(place / name, role)
            assert problem is not None
            assert hits[0].message == problem.about(name)


@pytest.mark.slow
def test_the_check_reports_the_type_of_a_checkpoint(tmp_path):
    place = furnish(tmp_path)
    (place / "xl.safetensors").write_bytes(safetensors(UNET, VAE, "conditioner.embedders.0.x"))
    (finding,) = [item for item in findings(place, {"base_model_name": "xl.safetensors"}) if item.path == "base_model_name"]
    assert finding.code == "base-model-type"
    assert "SDXL" in finding.message
    xl = {"model_type": "STABLE_DIFFUSION_XL_10_BASE", "base_model_name": "xl.safetensors"}
    assert not [item for item in findings(place, xl) if item.path == "base_model_name"]


def test_a_length_that_looks_like_a_pickle_is_that_of_a_header(tmp_path):
    """A safetensors file whose header has 0x0280 bytes begins like a pickle of protocol 2."""
    header = b'{"lora_unet_x.lora_down.weight":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'.ljust(0x0280)
    file = tmp_path / "lora.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert file.read_bytes()[:2] == b"\x80\x02"
    assert unfit(file, LORA) is None
