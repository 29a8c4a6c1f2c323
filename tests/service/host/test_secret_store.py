"""Tokens are saved and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.service.host.secret_store import SecretStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SecretStore:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return SecretStore(tmp_path / "secrets.json")


def test_a_token_is_kept_for_its_owner_only(store: SecretStore, tmp_path: Path) -> None:
    """Only one user can read the file; the status reports only that a token exists."""
    assert store.status() == {"huggingface_token": False}
    store.set_huggingface_token(" hf_x ")
    assert SecretStore(tmp_path / "secrets.json").huggingface_token() == "hf_x"
    assert store.status() == {"huggingface_token": True}
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    store.set_huggingface_token("")
    assert store.huggingface_token() == ""
    store.set_huggingface_token("hf_y")
    store.clear()
    store.clear()
    assert store.status() == {"huggingface_token": False}


def test_the_environment_is_the_fallback(store: SecretStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token in the environment is used if none was saved."""
    monkeypatch.setenv("HF_TOKEN", "hf_env")
    assert store.huggingface_token() == "hf_env"
    store.set_huggingface_token("hf_own")
    assert store.huggingface_token() == "hf_own"
