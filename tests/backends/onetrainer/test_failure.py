"""OneTrainer's exceptions become a sentence with a suggestion."""

from __future__ import annotations

import errno

import pytest

from onetrainer_gradio import errors
from onetrainer_gradio.backends.onetrainer.failure import death, error_of
from tests.config.preflight import config_with
from tests.config.test_model_files import safetensors


@pytest.mark.parametrize(
    ("cause", "kind", "path"),
    [
        (
            {"kind": "OutOfMemoryError", "message": "CUDA out of memory. Tried to allocate 2 GiB."},
            errors.OutOfMemoryError,
            "batch_size",
        ),
        ({"kind": "RuntimeError", "message": "Training loss became NaN. This"}, errors.NonFiniteLossError, "learning_rate"),
        ({"kind": "Exception", "message": "could not load model: /x"}, errors.ModelNotFoundError, "base_model_name"),
        ({"kind": "Exception", "message": "could not load LoRA: /x"}, errors.ModelNotFoundError, "lora_model_name"),
        ({"kind": "Exception", "message": "could not load embedding: x"}, errors.ModelNotFoundError, "embedding.model_name"),
        (
            {"kind": "OSError", "message": "[Errno 28]", "errno": errno.ENOSPC, "filename": "/w"},
            errors.DiskFullError,
            "workspace_dir",
        ),
        ({"kind": "SafetensorError", "message": "I/O error: No space left on device"}, errors.DiskFullError, "workspace_dir"),
        ({"kind": "PermissionError", "message": "[Errno 13] denied: '/w'", "errno": 13}, errors.StorageError, ""),
        ({"kind": "KeyError", "message": "'unet'"}, errors.TrainingError, ""),
    ],
)
def test_known_causes_have_their_class_and_their_setting(cause, kind, path):
    """Memory, disk, loss and model have their own; all others keep their message."""
    error = error_of(cause, "training")
    assert type(error) is kind
    assert error.path == path
    assert error.suggestion


def test_what_was_printed_is_reported_unless_it_is_the_same():
    """OneTrainer prints the causes of its attempts, and its own message again."""
    message = "could not load model: /x"
    error = error_of({"kind": "Exception", "message": message, "printed": ["No such file: /x/model_index.json", message]})
    assert error.message == f"OneTrainer {message} (No such file: /x/model_index.json)"
    assert error_of({"kind": "Exception", "message": message, "printed": [message]}).message == f"OneTrainer {message}"


HUB = "Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/x.safetensors'."
ATTEMPTS = ["[Errno 2] No such file or directory: '/x/meta.json'", "unet is missing a weight", "Is a directory: '/x'"]


def test_of_several_attempts_to_load_the_first_that_fits_the_path_is_reported(tmp_path):
    """OneTrainer tries a backup, a folder and a single file in turn; the errors of unsuitable attempts mean nothing."""
    cause = {"kind": "Exception", "message": "could not load model: /x"}
    error = error_of(cause | {"printed": ATTEMPTS})
    assert error.message == "OneTrainer could not load model: /x (unet is missing a weight)"
    file = tmp_path / "x.safetensors"
    file.write_bytes(safetensors("something.unknown"))
    printed = [ATTEMPTS[0], HUB, "Error while deserializing header: HeaderTooSmall", "missing argument"]
    error = error_of(cause | {"printed": printed}, "loading", config_with({"base_model_name": str(file)}))
    assert error.message.endswith("(Error while deserializing header: HeaderTooSmall)")
    assert error_of(cause | {"printed": ATTEMPTS[:1]}).message.endswith("meta.json')")


@pytest.mark.parametrize("path", ["base_model_name", "lora_model_name", "embedding.model_name"])
def test_a_file_that_is_recognized_is_named_for_what_it_is(tmp_path, path):
    """OneTrainer's output about its attempts is less helpful."""
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"<!doctype html><html></html>")
    what = {"base_model_name": "model", "lora_model_name": "LoRA", "embedding.model_name": "embedding"}[path]
    cause = {"kind": "Exception", "message": f"could not load {what}: {file}", "printed": ATTEMPTS}
    error = error_of(cause, "loading", config_with({path: str(file)}))
    assert (error.path, error.suggestion) == (path, "Download the file itself. The site may require you to sign in first.")
    assert error.message == f"OneTrainer can't load “{file}”: it is a web page saved under this name."


def test_a_division_by_zero_is_not_taken_for_missing_images():
    """A resolution with a side of 0 pixels, of the run or a concept, explains it; otherwise it keeps its message."""
    cause = {"kind": "ZeroDivisionError", "message": "division by zero", "where": "modules/x.py:3"}
    xl = {"model_type": "STABLE_DIFFUSION_XL_10_BASE"}
    own = {"concepts.0.image.enable_resolution_override": True, "concepts.0.image.resolution_override": "64"}
    for changes, path in (({"resolution": "64"}, "resolution"), (own, "concepts.0.image.resolution_override")):
        error = error_of(cause, "caching", config_with(xl, changes))
        assert (type(error), error.path) == (errors.DatasetError, path)
        assert "0 pixels" in error.message
        wrapped = {"kind": "RuntimeError", "message": "x", "root_kind": "ZeroDivisionError", "root_message": "division by zero"}
        assert error_of(wrapped, "caching", config_with(xl, changes)).path == path
    other = error_of(cause, "training", config_with(xl))
    assert type(other) is errors.TrainingError
    assert other.message == "OneTrainer failed while training: ZeroDivisionError: division by zero (in modules/x.py:3)"


def test_a_full_disk_is_reported_in_a_sentence_with_and_without_the_file():
    """If the system doesn't name the file, neither does the message."""
    full = {"kind": "OSError", "message": "[Errno 28] No space left on device", "errno": errno.ENOSPC}
    assert error_of(full).message == "No space left on disk."
    assert error_of(full | {"filename": "/w/x"}).message == "No space left on disk for /w/x."


def test_an_unknown_cause_is_reported_whole():
    """The message has what happened, when, where, and the underlying error."""
    cause = {"kind": "RuntimeError", "message": "setup failed", "root_kind": "KeyError", "root_message": "'x'"}
    error = error_of(cause | {"where": "modules/a.py:3"}, "backing_up")
    text = "OneTrainer failed while backing up: RuntimeError: setup failed, because of KeyError: 'x' (in modules/a.py:3)"
    assert error.message == text


@pytest.mark.parametrize(
    ("status", "words"), [(-9, "SIGKILL"), (-11, "native code"), (3, "exit code 3"), (None, "without an error message")]
)
def test_a_death_is_named(status, words):
    """The message has the signal or exit code, and the phase."""
    error = death(status, "caching")
    assert words in error.message
    assert "while caching" in error.message


def test_a_kill_for_want_of_memory_is_distinguished_from_every_other():
    """The kernel's counter shows a kill for memory in the meantime."""
    assert isinstance(death(-9, "training", out_of_memory=True), errors.OutOfMemoryError)
    assert isinstance(death(-9, "training"), errors.WorkerDiedError)
    assert isinstance(death(-11, "training", out_of_memory=True), errors.WorkerDiedError)
