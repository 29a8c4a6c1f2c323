"""Keep what people want to be notified of, and the channels, whose addresses are stored separately as secrets."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onetrainer_gradio.errors import ConfigInvalidError, ConfigValueError, Finding
from onetrainer_gradio.panel_secrets import NOTIFICATIONS_VARIABLE
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json
from onetrainer_gradio.service.host.secret_store import SecretStore
from onetrainer_gradio.service.notifications.notification import KINDS, Kind

_LOG = logging.getLogger(__name__)
Model = TypeVar("Model", bound=BaseModel)
MAX_CHANNELS = 20
MAX_CHARACTERS = 2000
_FROM_ENVIRONMENT = "environment-"
_DEFAULT_KINDS: tuple[Kind, ...] = tuple(kind for kind, facts in KINDS.items() if facts.on)


class Channel(BaseModel):
    """Where notifications are sent: a service that Apprise supports. The address is a secret and isn't part of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    label: str = Field("", max_length=100)
    service: str = Field("", description="Name of the service, such as Discord.")
    kinds: tuple[Kind, ...] = _DEFAULT_KINDS
    sample: bool = Field(True, description="Whether the newest sample is attached.")
    on: bool = True

    @property
    def fixed(self) -> bool:
        """Return whether the channel is set in the environment, where the page can't change it."""
        return self.id.startswith(_FROM_ENVIRONMENT)


class Preferences(BaseModel):
    """What people want to be notified of; the values decide when a run counts as stalled and a disk as nearly full."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kinds: tuple[Kind, ...] = Field(_DEFAULT_KINDS, description="Kinds that pages show, also as browser notifications.")
    stalled_factor: Annotated[float, Field(ge=2, le=1000)] = Field(
        10.0, description="A run is stalled if a step takes this many times the usual time."
    )
    stalled_min_s: Annotated[float, Field(ge=1, le=86400)] = Field(
        120.0, description="A run isn't stalled before this many seconds without a step."
    )
    quiet_s: Annotated[float, Field(ge=10, le=86400)] = Field(
        1800.0, description="Outside of training steps, such as while loading or sampling, seconds without any progress."
    )
    paused_s: Annotated[float, Field(ge=10, le=604800)] = Field(
        1800.0, description="Seconds after which a paused run counts as waiting for someone."
    )
    disk_free_gb: Annotated[float, Field(ge=0, le=100000)] = Field(
        10.0, description="Free space in GB below which a disk is nearly full. 0 turns it off."
    )
    channels: tuple[Channel, ...] = ()


class PreferenceStore:
    """Preferences in a file, and the addresses of the channels among the secrets. Safe from any thread."""

    def __init__(self, path: Path, secrets: SecretStore, environment: Mapping[str, str]) -> None:
        self._path = path
        self._secrets = secrets
        self._lock = threading.Lock()
        self._fixed = environment.get(NOTIFICATIONS_VARIABLE, "").split()[:MAX_CHANNELS]
        self._now: Preferences | None = None

    def preferences(self) -> Preferences:
        """Return the preferences, with the channels of the environment first; defaults if the file can't be used."""
        with self._lock:
            if self._now is None:
                self._now = self._read()
            fixed = tuple(
                Channel(id=f"{_FROM_ENVIRONMENT}{number}", label=f"Set at startup, {number}")
                for number in range(1, len(self._fixed) + 1)
            )
            return self._now.model_copy(update={"channels": fixed + self._now.channels})

    def channel(self, channel_id: str) -> Channel:
        """Return a channel.

        :raises ConfigValueError: if there is none with this ID.
        """
        found = next((each for each in self.preferences().channels if each.id == channel_id), None)
        if found is None:
            raise ConfigValueError(f"The channel {channel_id!r} doesn't exist", path="id", value=channel_id)
        return found

    def address(self, channel_id: str) -> str:
        """Return the address of a channel, or "" if it was removed with the other secrets."""
        if channel_id.startswith(_FROM_ENVIRONMENT):
            number = channel_id.removeprefix(_FROM_ENVIRONMENT)
            at = int(number) - 1 if number.isascii() and number.isdigit() else -1
            return self._fixed[at] if 0 <= at < len(self._fixed) else ""
        return self._secrets.value(_secret_name(channel_id))

    def change(self, changes: Mapping[str, Any]) -> Preferences:
        """Change preferences other than the channels.

        :raises ConfigInvalidError: with a finding for each invalid value.
        :raises StorageError: if they can't be written.
        """
        self.preferences()
        with self._lock:
            assert self._now is not None
            self._write(_validated(Preferences, self._now.model_dump() | {**changes, "channels": self._now.channels}))
        return self.preferences()

    def add(self, address: str, service: str, values: Mapping[str, Any]) -> Channel:
        """Add a channel.

        :raises ConfigInvalidError: with a finding for each invalid value.
        :raises ConfigValueError: if there are too many channels.
        :raises StorageError: if it can't be written.
        """
        channel = _validated(Channel, {"label": "", **values, "id": uuid.uuid4().hex[:12], "service": service})
        self.preferences()
        with self._lock:
            assert self._now is not None
            if len(self._now.channels) >= MAX_CHANNELS:
                raise ConfigValueError(
                    f"There are already {MAX_CHANNELS} channels.", path="address", suggestion="Remove one of them."
                )
            with raising_storage_error("the address"):
                self._secrets.set_value(_secret_name(channel.id), address)
            self._write(self._now.model_copy(update={"channels": (*self._now.channels, channel)}))
        return channel

    def change_channel(self, channel_id: str, changes: Mapping[str, Any], *, address: str = "", service: str = "") -> Channel:
        """Change a channel, and its address if one is given.

        :raises ConfigValueError: if there is no channel with this ID, or it is set in the environment.
        :raises ConfigInvalidError: with a finding for each invalid value.
        :raises StorageError: if it can't be written.
        """
        before = self._changeable(channel_id)
        named = {"service": service} if address else {}
        channel = _validated(Channel, before.model_dump() | {**changes, **named, "id": channel_id})
        with self._lock:
            assert self._now is not None
            if address:
                with raising_storage_error("the address"):
                    self._secrets.set_value(_secret_name(channel_id), address)
            kept = tuple(channel if each.id == channel_id else each for each in self._now.channels)
            self._write(self._now.model_copy(update={"channels": kept}))
        return channel

    def remove(self, channel_id: str) -> None:
        """Remove a channel and its address.

        :raises ConfigValueError: if there is no channel with this ID, or it is set in the environment.
        :raises StorageError: if it can't be written.
        """
        self._changeable(channel_id)
        with self._lock:
            assert self._now is not None
            with raising_storage_error("the address"):
                self._secrets.set_value(_secret_name(channel_id), "")
            kept = tuple(each for each in self._now.channels if each.id != channel_id)
            self._write(self._now.model_copy(update={"channels": kept}))

    def _changeable(self, channel_id: str) -> Channel:
        channel = self.channel(channel_id)
        if channel.fixed:
            raise ConfigValueError(
                "This channel is set at startup.", path="id", value=channel_id, suggestion=f"Change {NOTIFICATIONS_VARIABLE}."
            )
        return channel

    def _read(self) -> Preferences:
        document = read_json(self._path)
        if not isinstance(document, dict):
            return Preferences()
        try:
            return Preferences.model_validate(document)
        except ValidationError as error:
            _LOG.warning("Can't use %s: %s values are invalid", self._path, error.error_count())
            return Preferences()

    def _write(self, preferences: Preferences) -> None:
        with raising_storage_error("the notification settings"):
            write_json(self._path, preferences.model_dump(mode="json"))
        self._now = preferences


def _secret_name(channel_id: str) -> str:
    return f"notification_channel.{channel_id}"


def _validated(kind: type[Model], values: Mapping[str, Any]) -> Model:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigInvalidError(
            [Finding("error", ".".join(map(str, item["loc"])), item["msg"], item.get("input")) for item in error.errors()]
        ) from error
