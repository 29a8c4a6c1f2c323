"""Results of runs are published to a stand-in for the Hugging Face Hub with the real library.

Covers ``service/hub/card.py``.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.new_lora import trigger_word_in
from onetrainer_gradio.errors import (
    ConfigValueError,
    HubAccessError,
    HubExistsError,
    HubUnreachableError,
    SampleNotFoundError,
    UnsupportedError,
)
from onetrainer_gradio.events import ModelSaved
from onetrainer_gradio.service.hub.model_file import ModelFile, public_content
from onetrainer_gradio.service.hub.publishing import PublishOptions
from tests.fakes.configs import small_config
from tests.fakes.hub import FakeHub


def safetensors(path: Path, metadata: dict[str, str], data: bytes = b"\1\2\3\4") -> Path:
    header = {"__metadata__": metadata, "a": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.fixture
def finished(make_service, tmp_path, hub: FakeHub):
    """A service with the token of ``ada``, and the ID of a finished run with samples."""
    service = make_service(backend="tests.fakes.rehearsal:run")
    service.secrets.set_huggingface_token("hf_writer")
    caption = tmp_path / "caption.txt"
    caption.write_text("a photo of ohwx\n")
    config = small_config(
        tmp_path,
        base_model_name="stable-diffusion-v1-5/stable-diffusion-v1-5",
        concepts=[
            {"name": "red", "path": str(tmp_path / "images"), "text": {"prompt_source": "concept", "prompt_path": str(caption)}}
        ],
    )
    run_id = service.start(config, RunOptions(name="My cat", tags=("steps=4", "sample_every=2")))
    service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 20)
    return service, run_id


def publish(service, run_id: str, **chosen) -> dict:
    started = service.publishing.start(PublishOptions(run_id, **chosen))
    return service.publishing.wait(started["id"], 30)


@pytest.mark.slow
def test_a_run_is_published_privately_with_card_samples_and_settings(finished, hub):
    """The repository has the file, a card with base model, license and trigger word, samples, and settings."""
    service, run_id = finished
    done = publish(service, run_id)
    assert done["state"] == "done", done
    assert done["done"] == done["total"] > 0
    made = hub.repositories["ada/my-cat"]
    assert made.private
    names = set(made.files)
    assert {"README.md", "training_settings.json", "lora.safetensors", "samples/01.webp"} <= names
    card = made.files["README.md"].decode()
    for line in (
        "base_model: stable-diffusion-v1-5/stable-diffusion-v1-5",
        "license: creativeml-openrail-m",
        "instance_prompt: ohwx",
        "- template:sd-lora",
        "url: samples/01.webp",
        'load_lora_weights("ada/my-cat", weight_name="lora.safetensors")',
    ):
        assert line in card
    assert service.publishing.list(run_id)[0]["url"] == f"{hub.url}/ada/my-cat"


@pytest.mark.exhaustive
@pytest.mark.slow
def test_nothing_published_contains_a_path_or_secret(finished, hub, tmp_path):
    """No file contains the token, a local path, or settings that a program wrote into the header."""
    service, run_id = finished
    assert publish(service, run_id)["state"] == "done"
    for name, data in hub.repositories["ada/my-cat"].files.items():
        for private in (str(tmp_path), str(Path.home()), "hf_writer"):
            assert private.encode() not in data, name
    settings = json.loads(hub.repositories["ada/my-cat"].files["training_settings.json"])
    assert settings["training_method"] == "LORA"
    assert not settings.keys() & {"concepts", "samples", "secrets", "workspace_dir", "output_model_destination"}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_text_with_a_local_path_or_token_is_rejected(finished, tmp_path):
    service, run_id = finished
    for text in (f"Trained in {tmp_path}/data", "My token is hf_writer"):
        with pytest.raises(ConfigValueError, match="contains"):
            service.publishing.start(PublishOptions(run_id, description=text))


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_preview_shows_card_and_files_and_uploads_nothing(finished, hub):
    service, run_id = finished
    shown = service.publishing.preview(PublishOptions(run_id, trigger_word="sks", license_text="Do what you want."))
    assert shown["repository"] == "ada/my-cat"
    assert shown["private"] is True
    assert shown["exists"] is False
    assert shown["problem"] == ""
    assert shown["license"] == "other"
    assert "license_link: LICENSE.md" in shown["card"]
    assert [each["path"] for each in shown["files"]][:4] == [
        "README.md",
        "LICENSE.md",
        "training_settings.json",
        "lora.safetensors",
    ]
    assert shown["total_bytes"] == sum(each["bytes"] for each in shown["files"])
    assert hub.repositories == {}
    assert all(request.startswith("GET") for request in hub.requests)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_an_existing_repository_changes_only_as_a_new_revision(finished, hub):
    service, run_id = finished
    assert publish(service, run_id)["state"] == "done"
    assert service.publishing.preview(PublishOptions(run_id))["exists"] is True
    with pytest.raises(HubExistsError, match="already exists"):
        service.publishing.start(PublishOptions(run_id))
    assert publish(service, run_id, new_revision=True, description="Better.")["state"] == "done"
    assert "Better." in hub.repositories["ada/my-cat"].files["README.md"].decode()
    assert len(hub.repositories["ada/my-cat"].commits) == 2


@pytest.mark.exhaustive
@pytest.mark.slow
def test_what_is_to_be_private_is_not_published_in_a_public_repository(finished, hub):
    """This holds with and without files in the repository; a private repository stays private."""
    service, run_id = finished
    for name, files in (("ada/empty", {".gitattributes": ""}), ("ada/full", {"README.md": "mine"})):
        hub.add(name, files)
        assert (
            service.publishing.preview(PublishOptions(run_id, repository=name))["problem"] == f"The repository “{name}” is public"
        )
        with pytest.raises(ConfigValueError, match="is public"):
            service.publishing.start(PublishOptions(run_id, repository=name, new_revision=True))
        assert hub.repositories[name].commits == []
    assert publish(service, run_id, repository="ada/full", private=False, new_revision=True)["private"] is False
    hub.add("ada/hidden", {".gitattributes": ""}, private=True)
    assert publish(service, run_id, repository="ada/hidden", private=False)["private"] is True


@pytest.mark.exhaustive
@pytest.mark.slow
def test_without_a_token_or_permission_the_reason_is_named(finished, hub):
    service, run_id = finished
    with pytest.raises(HubAccessError, match="isn't a member of “other”"):
        service.publishing.start(PublishOptions(run_id, repository="other/cat"))
    service.secrets.set_huggingface_token("hf_reader")
    assert "no write permission" in service.publishing.preview(PublishOptions(run_id))["problem"]
    with pytest.raises(HubAccessError, match="no write permission"):
        service.publishing.start(PublishOptions(run_id))
    service.secrets.set_huggingface_token("hf_wrong")
    with pytest.raises(HubAccessError, match="doesn't accept the token"):
        service.publishing.start(PublishOptions(run_id))
    service.secrets.set_huggingface_token("")
    shown = service.publishing.preview(PublishOptions(run_id))
    assert "no Hugging Face token" in shown["problem"]
    assert "README.md" in [each["path"] for each in shown["files"]]
    assert hub.repositories == {}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_member_publishes_to_the_organization(finished, hub):
    service, run_id = finished
    assert publish(service, run_id, repository="lovelace/cat", private=False)["state"] == "done"
    assert hub.repositories["lovelace/cat"].private is False


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a b", "../etc", "ada/-x", "a/b/c", "x" * 200])
def test_an_invalid_name_is_rejected(finished, name):
    service, run_id = finished
    with pytest.raises(ConfigValueError, match="valid name"):
        service.publishing.preview(PublishOptions(run_id, repository=name))


@pytest.mark.slow
def test_a_hub_that_is_not_there_is_named(finished, monkeypatch):
    service, run_id = finished
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubUnreachableError, match="can't be reached"):
        service.publishing.start(PublishOptions(run_id))


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_rejected_upload_leaves_no_commit(finished, hub):
    service, run_id = finished
    hub.fault("POST /api/models/ada/my-cat/commit", status=403)
    done = publish(service, run_id)
    assert (done["state"], done["error"]) == ("failed", "Your token has no permission for “ada/my-cat”")
    assert hub.repositories["ada/my-cat"].commits == []
    assert publish(service, run_id)["state"] == "done"  # an empty repository doesn't count as existing


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_stopped_publication_leaves_no_commit(finished, hub):
    """The upload ends, and the repository has no commit."""
    service, run_id = finished
    hub.fault("POST /api/models/ada/my-cat/preupload", bytes_per_s=200)
    started = service.publishing.start(PublishOptions(run_id))
    service.publishing.stop(started["id"])
    assert service.publishing.wait(started["id"], 30)["state"] == "stopped"
    assert all(not each.commits for each in hub.repositories.values())


@pytest.mark.slow
def test_only_samples_of_the_run_are_published(finished, hub):
    """Chosen samples are published in the given order."""
    service, run_id = finished
    ids = [each["id"] for each in service.samples.of_run(run_id)]
    assert service.publishing.preview(PublishOptions(run_id, samples=(ids[-1],)))["samples"] == [ids[-1]]
    with pytest.raises(SampleNotFoundError, match="no sample"):
        service.publishing.preview(PublishOptions(run_id, samples=("other.1",)))


@pytest.mark.slow
def test_a_run_without_a_model_is_not_published(finished):
    service, run_id = finished
    sample = next(each for each in service.runs.get(run_id).files() if each["kind"] == "sample")
    with pytest.raises(UnsupportedError, match="can't be published"):
        service.publishing.preview(PublishOptions(run_id, file=sample["id"]))


@pytest.mark.parametrize(
    ("caption", "word"),
    [("a photo of ohwx", "ohwx"), ("ohwx", "ohwx"), ("a photo of", ""), ("a photo of a red cat", ""), ("", "")],
)
def test_the_trigger_word_is_read_from_the_caption(caption, word):
    assert trigger_word_in(caption) == word


def test_the_configuration_of_a_component_is_published_without_the_path_that_it_was_loaded_from(tmp_path):
    """diffusers and transformers write that path; everything else stays the same."""
    part = {"_name_or_path": "/home/ada/models/clip", "layers": 2}
    config = {"_class_name": "UNet2DConditionModel", "_name_or_path": "/home/ada/models/unet", "act_fn": "silu", "text": part}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert json.loads(public_content(path)) == {"_class_name": "UNet2DConditionModel", "act_fn": "silu", "text": {"layers": 2}}
    for name, text in {"vocab.json": '{"a": 1}', "list.json": "[1]", "torn.json": "{", "merges.txt": "_name_or_path"}.items():
        (tmp_path / name).write_text(text)
        assert public_content(tmp_path / name) == tmp_path / name


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_published_folder_contains_no_path(finished, hub, tmp_path):
    service, run_id = finished
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (folder / "unet" / "config.json").write_text(json.dumps({"_name_or_path": str(tmp_path), "act_fn": "silu"}))
    safetensors(folder / "unet" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    service.runs.get(run_id).journal.append(ModelSaved(path=str(folder), final=True, global_step=4, bytes=size))
    assert publish(service, run_id)["state"] == "done"
    files = hub.repositories["ada/my-cat"].files
    assert json.loads(files["unet/config.json"]) == {"act_fn": "silu"}
    assert not [name for name, content in files.items() if str(tmp_path).encode() in content]


def test_a_file_is_read_without_private_entries_of_its_header(tmp_path):
    """Tensor bytes are unchanged; entries with settings are removed; any range can be read."""
    path = safetensors(
        tmp_path / "a.safetensors", {"ot_config": "/home/x", "modelspec.title": "T", "format": "pt"}, b"0123456789"
    )
    with ModelFile(path) as file:
        assert file.removed == ("ot_config",)
        data = file.read()
        assert len(data) == len(file)
        assert b"/home/x" not in data
        length = struct.unpack("<Q", data[:8])[0]
        assert json.loads(data[8 : 8 + length])["__metadata__"] == {"modelspec.title": "T", "format": "pt"}
        assert data[8 + length :] == b"0123456789"
        assert (8 + length) % 8 == 0
        file.seek(3)
        assert file.read(length + 10) == data[3 : length + 13]
        assert file.tell() == length + 13
    plain = safetensors(tmp_path / "b.safetensors", {"format": "pt"})
    with ModelFile(plain) as file:
        assert file.removed == ()
        assert file.read() == plain.read_bytes()
