"""Load models of transformers and files of the Hugging Face Hub, with an error that shows what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onetrainer_gradio.errors import ModelNotFoundError


def device_of(name: str) -> str:
    """Return the device for ``auto``: the first GPU, else the CPU."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def loading(model: str) -> Iterator[None]:
    """Turn the errors of a model that isn't there into one that names it.

    :raises ModelNotFoundError: if it can't be loaded.
    """
    try:
        yield
    except (OSError, ImportError, ValueError, KeyError) as error:
        local = os.path.isdir(model)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = (
            "The folder isn't complete, or isn't a model of this kind"
            if local
            else ("It isn't on this machine, and can't be downloaded from the Hugging Face Hub")
        )
        raise ModelNotFoundError(
            f"Can't load the model {model!r}. {where}: {reason}",
            path="model",
            value=model,
            suggestion="Choose another folder." if local else "Check the name and the internet connection, or choose a folder.",
        ) from error


def pretrained(load: Callable[..., Any], model: str, **arguments: Any) -> Any:
    """Load a part of a model with ``from_pretrained``; code of the model is never executed.

    :raises ModelNotFoundError: if it can't be loaded.
    """
    with loading(model):
        return load(model, trust_remote_code=False, **arguments)


def hub_file(model: str, name: str) -> Path:
    """Return a file of a folder, or of a repository of the Hugging Face Hub.

    :raises ModelNotFoundError: if it isn't available.
    """
    if os.path.isdir(model):
        path = Path(model) / name
        with loading(model):
            if not path.is_file():
                raise FileNotFoundError(f"{name} is missing")
        return path
    from huggingface_hub import hf_hub_download

    with loading(model):
        return Path(hf_hub_download(model, name))
