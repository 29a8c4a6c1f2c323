"""Locate a base model: a local folder or file, or a repository on the Hugging Face Hub, which is downloaded."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from tqdm import tqdm  # type: ignore[import-untyped]

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.repository_files import hub_cache
from onetrainer_gradio.errors import ModelNotFoundError

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_FILE_URL = re.compile(r"https://huggingface\.co/(?P<repo>[^/]+/[^/]+)/(?:resolve|blob)/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass(frozen=True)
class Hub:
    """The access to the Hugging Face Hub: token, offline mode, and the folder of downloaded files."""

    token: str | None = field(repr=False)
    offline: bool
    cache_dir: str | None
    progress: Callable[[int, int, str], None] = lambda done, total, detail: None
    """Progress ``(done, total, what)`` of downloads; may raise to end them."""
    setting: str = "base_model_name"
    """The setting with the name of the model, for errors."""

    @classmethod
    def of(cls, config: TrainConfig, progress: Callable[[int, int, str], None] = lambda done, total, detail: None) -> Hub:
        """Return the access with the settings of the configuration."""
        folder = hub_cache(config.huggingface_cache_dir) if config.huggingface_cache_dir else None
        return cls(config.secrets.huggingface_token or None, config.offline_mode, folder, progress)

    def locate(self, name: str, patterns: Iterable[str]) -> Path:
        """Return the local folder or file of the model ``name``; only files that match ``patterns`` are downloaded.

        :raises ModelNotFoundError: if it isn't found.
        """
        if not name.strip():
            raise self._missing(name, "No base model is set.")
        local = Path(name)
        if local.exists():
            return local
        url = _FILE_URL.fullmatch(name)
        if url is None and (_REPOSITORY.fullmatch(name) is None or name.endswith((".safetensors", ".ckpt", ".gguf"))):
            raise self._missing(name, f"The {self._what} “{name}” doesn't exist.")
        try:
            if url is not None:
                return Path(self._file(url["repo"], url["revision"], url["file"]))
            return Path(self._snapshot(name, tuple(patterns)))
        except GatedRepoError as error:
            suggestion = "Accept its conditions on huggingface.co, then enter your token on the System tab."
            raise self._missing(name, f"The repository “{name}” is gated.", suggestion) from error
        except RepositoryNotFoundError as error:
            raise self._missing(
                name, f"The repository “{name}” doesn't exist on the Hugging Face Hub, or your token can't read it."
            ) from error
        except HFValidationError as error:
            raise self._missing(name, f"The {self._what} “{name}” doesn't exist.") from error
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            offline = title_of("offline_mode")
            why = f"{offline} is on" if self.offline else "the Hugging Face Hub can't be reached"
            change = f"Turn off {offline}" if self.offline else "Check the connection"
            suggestion = f"{change}, or set {title_of(self.setting)} to a model on this machine."
            raise self._missing(name, f"The model “{name}” is not on this machine, and {why}.", suggestion) from error
        except (HfHubHTTPError, httpx2.HTTPError) as error:
            suggestion = f"Check the connection, or set {title_of(self.setting)} to a model on this machine."
            raise self._missing(
                name, f"The model “{name}” can't be downloaded from the Hugging Face Hub: {error}", suggestion
            ) from error

    @property
    def _what(self) -> str:
        return "base model" if self.setting == "base_model_name" else "model"

    def _missing(self, name: str, message: str, suggestion: str = "") -> ModelNotFoundError:
        return ModelNotFoundError(
            message,
            path=self.setting,
            value=name,
            expected="a folder in diffusers layout, a .safetensors file, or a repository on the Hugging Face Hub",
            suggestion=suggestion or f"Correct the path or name of the {self._what}.",
        )

    def _snapshot(self, repository: str, patterns: tuple[str, ...]) -> str:
        return snapshot_download(
            repository,
            allow_patterns=list(patterns),
            token=self.token,
            local_files_only=self.offline,
            cache_dir=self.cache_dir,
            tqdm_class=report_to(self.progress),
        )

    def _file(self, repository: str, revision: str, file: str) -> str:
        return hf_hub_download(
            repository,
            file,
            revision=revision,
            token=self.token,
            local_files_only=self.offline,
            cache_dir=self.cache_dir,
            tqdm_class=report_to(self.progress),
        )


def report_to(progress: Callable[[int, int, str], None]) -> Any:
    """Return a progress bar class for huggingface_hub that draws nothing and reports downloads to ``progress``."""

    class Progress(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **{**options, "disable": False, "file": io.StringIO()})

        def update(self, n: float | None = 1) -> bool | None:
            updated: bool | None = super().update(n)
            progress(int(self.n), int(self.total or 0), f"downloading {self.desc or 'the model'}".rstrip(": "))
            return updated

    return Progress
