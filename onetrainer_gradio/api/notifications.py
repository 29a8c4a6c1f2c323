"""Notifications: the list, what people want to be notified of, and the channels they are sent through."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS, Done, Open
from onetrainer_gradio.api.threads import slow

router = APIRouter(prefix="/api/notifications", tags=["notifications"], responses=ERRORS)

ChannelId = Annotated[str, Path(description="ID of a channel.")]


class DeliveryEntry(BaseModel):
    """How a channel took a notification."""

    channel: str
    label: str
    state: str = Field(description="`waiting`, `sending`, `sent` or `failed`.")
    attempts: int
    due_at: float | None = Field(description="When it is sent again, in seconds since the epoch.")
    error: str = Field(description="Why the last attempt failed.")


class NotificationEntry(BaseModel):
    """A notification."""

    id: int
    kind: str = Field(description="`GET /api/notifications/settings` lists all kinds.")
    level: str = Field(description="`info`, `success`, `warning` or `failure`.")
    show: bool = Field(description="Whether pages show it by themselves.")
    at: float
    title: str
    text: str
    run_id: str
    thumbnail: str = Field(description="Path of the run's newest sample, or empty.")
    deliveries: list[DeliveryEntry]


class NotificationPage(BaseModel):
    """A page of notifications, newest first."""

    notifications: list[NotificationEntry]
    next: int | None = Field(description="`before` of the next page; null on the last one.")


class NotificationSettings(Open):
    """What people want to be notified of, and the channels. Addresses are never part of it."""

    ok: bool = True
    kinds: list[str] = Field(description="Kinds that pages show, also as browser notifications.")
    all_kinds: list[dict[str, str]] = Field(description="`kind`, `label`, `level` of each kind.")
    channels: list[dict[str, Any]] = Field(description="`id`, `label`, `service`, `kinds`, `sample`, `on`, `fixed`, `address`.")
    installed: bool = Field(description="Whether the Python package apprise is installed.")
    public_only: bool = Field(description="Whether only public addresses are contacted, because others can reach the panel.")


class SettingsChange(BaseModel):
    """Changes; omitted ones stay as they are."""

    kinds: list[str] | None = None
    stalled_factor: float | None = Field(None, description="A run is stalled if a step takes this many times the usual time.")
    stalled_min_s: float | None = Field(None, description="But not before this many seconds.")
    quiet_s: float | None = Field(None, description="Outside of training steps, seconds without any progress.")
    paused_s: float | None = Field(None, description="Seconds after which a paused run waits for someone.")
    disk_free_gb: float | None = Field(None, description="Free space in GB below which a disk is nearly full. 0: never.")


class ChannelChange(BaseModel):
    """A channel; omitted values stay as they are, or get their defaults."""

    address: str = Field("", description="Apprise address, such as `discord://…`. It is stored as a secret and never returned.")
    label: str | None = Field(None, description="Name of the channel on the page.")
    kinds: list[str] | None = Field(None, description="Kinds of notifications that are sent.")
    sample: bool | None = Field(None, description="Whether the newest sample is attached.")
    on: bool | None = Field(None, description="Whether anything is sent.")

    def values(self) -> dict[str, Any]:
        """Return what is set, without the address."""
        return self.model_dump(exclude={"address"}, exclude_none=True)


class ChannelReply(BaseModel):
    """One channel."""

    ok: bool = True
    channel: dict[str, Any]


class TestReply(BaseModel):
    """Outcome of a test."""

    ok: bool = True
    sent: bool
    reason: str = Field(description="Why it wasn't sent.")


@router.get("", response_model=NotificationPage)
@slow
def page(
    service: Service,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(description="`next` of the previous page.")] = None,
) -> dict[str, Any]:
    """List notifications, newest first, with the outcome of each channel."""
    return service.notifications.page(limit, before)


@router.delete("", response_model=Done)
@slow
def clear(service: Service) -> dict[str, Any]:
    """Remove all notifications from the list."""
    service.notifications.clear()
    return {"ok": True}


@router.get("/settings", response_model=NotificationSettings)
@slow
def settings(service: Service) -> dict[str, Any]:
    """Return what people want to be notified of, and the channels without their addresses."""
    return service.notifications.settings()


@router.patch("/settings", response_model=NotificationSettings)
@slow
def change_settings(service: Service, body: SettingsChange) -> dict[str, Any]:
    """Change what people want to be notified of."""
    service.notifications.change_settings(body.model_dump(exclude_none=True))
    return service.notifications.settings()


@router.post("/channels", response_model=ChannelReply)
@slow
def add_channel(service: Service, body: ChannelChange) -> dict[str, Any]:
    """Add a channel. The address must be one that Apprise supports."""
    return {"ok": True, "channel": service.notifications.add_channel(body.address, body.values())}


@router.patch("/channels/{channel_id}", response_model=ChannelReply)
@slow
def change_channel(service: Service, channel_id: ChannelId, body: ChannelChange) -> dict[str, Any]:
    """Change a channel. Without an address, the current one stays."""
    return {"ok": True, "channel": service.notifications.change_channel(channel_id, body.address, body.values())}


@router.delete("/channels/{channel_id}", response_model=Done)
@slow
def remove_channel(service: Service, channel_id: ChannelId) -> dict[str, Any]:
    """Remove a channel and its address."""
    service.notifications.remove_channel(channel_id)
    return {"ok": True}


@router.post("/channels/{channel_id}/test", response_model=TestReply)
@slow
def test_channel(service: Service, channel_id: ChannelId) -> dict[str, Any]:
    """Send a test notification, and return the outcome after at most 40 seconds."""
    outcome = service.notifications.test_channel(channel_id)
    return {"ok": True, "sent": outcome.ok, "reason": outcome.reason}
