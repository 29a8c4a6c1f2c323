"""Preferences and channels are saved in a file without addresses, which are stored as secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.errors import ConfigInvalidError, ConfigValueError
from onetrainer_gradio.service.host.secret_store import SecretStore
from onetrainer_gradio.service.notifications.preferences import MAX_CHANNELS, Preferences, PreferenceStore

ADDRESS = "json://someone:hunter2secret@host/key"


@pytest.fixture
def store(tmp_path: Path) -> PreferenceStore:
    return PreferenceStore(tmp_path / "config" / "notifications.json", SecretStore(tmp_path / "secrets.json"), {})


def test_an_address_is_in_the_secrets_only(store: PreferenceStore, tmp_path: Path) -> None:
    channel = store.add(ADDRESS, "JSON", {"label": "Phone", "kinds": ["failed"]})
    assert store.address(channel.id) == ADDRESS
    assert "hunter2" not in (tmp_path / "config" / "notifications.json").read_text()
    secrets = tmp_path / "secrets.json"
    assert "hunter2" in secrets.read_text()
    assert secrets.stat().st_mode & 0o077 == 0
    again = PreferenceStore(tmp_path / "config" / "notifications.json", SecretStore(secrets), {})
    assert again.preferences().channels == (channel,)
    again.remove(channel.id)
    assert "hunter2" not in secrets.read_text()
    assert again.preferences().channels == ()


def test_removing_all_secrets_leaves_a_channel_without_address(store: PreferenceStore, tmp_path: Path) -> None:
    channel = store.add(ADDRESS, "JSON", {})
    SecretStore(tmp_path / "secrets.json").clear()
    assert store.address(channel.id) == ""
    assert store.change_channel(channel.id, {}, address="json://other", service="JSON").id == channel.id
    assert store.address(channel.id) == "json://other"


def test_each_kind_can_be_chosen(store: PreferenceStore) -> None:
    assert "stopped" not in store.preferences().kinds
    assert store.change({"kinds": ["stopped"], "disk_free_gb": 3}).kinds == ("stopped",)
    channel = store.add(ADDRESS, "JSON", {"kinds": []})
    assert store.change_channel(channel.id, {"kinds": ["disk_low"], "on": False, "label": "Mail"}).kinds == ("disk_low",)
    assert store.preferences().disk_free_gb == 3


@pytest.mark.parametrize("changes", [{"kinds": ["nothing"]}, {"stalled_factor": 0}, {"disk_free_gb": -1}, {"paused_s": "soon"}])
def test_an_invalid_preference_changes_nothing(store: PreferenceStore, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigInvalidError):
        store.change(changes)
    assert store.preferences() == Preferences()


@pytest.mark.slow
def test_channels_are_bounded(store: PreferenceStore) -> None:
    for _ in range(MAX_CHANNELS):
        store.add(ADDRESS, "JSON", {})
    with pytest.raises(ConfigValueError, match="already"):
        store.add(ADDRESS, "JSON", {})
    with pytest.raises(ConfigValueError, match="doesn't exist"):
        store.channel("nope")


def test_channels_of_the_environment_come_first_and_cannot_be_changed(store: PreferenceStore, tmp_path: Path) -> None:
    environment = {"ONETRAINER_GRADIO_NOTIFICATIONS": f"{ADDRESS} json://two"}
    fixed = PreferenceStore(tmp_path / "config" / "notifications.json", SecretStore(tmp_path / "secrets.json"), environment)
    own = store.add("json://own", "JSON", {})
    assert [each.id for each in fixed.preferences().channels] == ["environment-1", "environment-2", own.id]
    assert [fixed.address(f"environment-{number}") for number in (0, 1, 2, 3, "x")] == ["", ADDRESS, "json://two", "", ""]
    for act in (lambda: fixed.remove("environment-1"), lambda: fixed.change_channel("environment-1", {"on": False})):
        with pytest.raises(ConfigValueError, match="startup"):
            act()
    fixed.change({"disk_free_gb": 1})
    assert [each.id for each in store.preferences().channels] == [own.id]


def test_a_damaged_file_gives_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "notifications.json"
    for text in ("{", "[]", '{"kinds": ["nothing"]}', '{"stalled_factor": "x"}'):
        path.write_text(text)
        assert PreferenceStore(path, SecretStore(tmp_path / "secrets.json"), {}).preferences() == Preferences()
