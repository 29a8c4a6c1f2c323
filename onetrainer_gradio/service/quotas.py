"""Enforce the quotas of accounts: GPU hours and disk space. A run that trains is never stopped by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from onetrainer_gradio.errors import QuotaError
from onetrainer_gradio.service.notifications.notification import Notification
from onetrainer_gradio.service.people.accounts import Account, Accounts
from onetrainer_gradio.service.runs.record import Run
from onetrainer_gradio.service.usage import Usage

QUOTA_DAYS = 30
"""GPU hours count over this many days until now, not by calendar month: nobody has to wait for the first of one."""
LOOK_EVERY_S = 60.0
_GB = 1e9


class Quotas:
    """What each account may use. Links, and the password and token of the panel, have no quota. Safe from any thread."""

    def __init__(self, accounts: Accounts, usage: Usage, notify: Callable[[Notification], Any]) -> None:
        self._accounts = accounts
        self._usage = usage
        self._notify = notify
        self._looked_at = -LOOK_EVERY_S

    def report(self, account: Account) -> dict[str, Any]:
        """Return what an account uses: ``gpu_hours`` in the last ``days``, ``disk_bytes``, and ``exceeded`` as a sentence."""
        hours, size = self._used(account.id)
        return {"gpu_hours": round(hours, 3), "disk_bytes": size, "days": QUOTA_DAYS, "exceeded": self.exceeded(account.id)}

    def exceeded(self, account_id: str, more_bytes: int = 0) -> str:
        """Return which quota of an account is used up, or would be with ``more_bytes``, as a sentence; empty if none is."""
        found = self._exceeded(account_id, more_bytes)
        return found.message if found else ""

    def require(self, account_id: str, more_bytes: int = 0) -> None:
        """Check before something that uses more.

        :raises QuotaError: if a quota is used up, or would be with ``more_bytes``.
        """
        if found := self._exceeded(account_id, more_bytes):
            raise found

    def _exceeded(self, account_id: str, more_bytes: int) -> QuotaError | None:
        account = self._limited(account_id)
        if account is None:
            return None
        hours, size = self._used(account_id)
        if account.gpu_hours is not None and not more_bytes and hours >= account.gpu_hours:
            return QuotaError(
                f"The quota of {account.name} is used up: {hours:.1f} of {account.gpu_hours:g} GPU hours "
                f"in the last {QUOTA_DAYS} days.",
                path="gpu_hours",
                suggestion=f"Wait until earlier runs are more than {QUOTA_DAYS} days old, or ask an owner for a larger quota.",
            )
        if account.disk_bytes is None or size + more_bytes < account.disk_bytes + bool(more_bytes):
            return None
        limit = f"{account.disk_bytes / _GB:.2f} GB"
        text = f"The quota of {account.name} is used up: runs and datasets take {size / _GB:.2f} of {limit}."
        if more_bytes and size < account.disk_bytes:
            text = (
                f"The disk quota of {account.name} is too small for this: runs and datasets take {size / _GB:.2f} of {limit}, "
                f"and it needs {more_bytes / _GB:.2f} GB."
            )
        advice = "Ask an owner to delete runs or datasets, or for a larger quota."
        return QuotaError(text, path="disk_bytes", suggestion=advice)

    def look(self, training: Iterable[Run]) -> None:
        """Notify, once for each run that trains, that the quota of who started it is used up. The run continues."""
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        for run in training:
            if text := self.exceeded(run.options().account):
                title = f"A quota is used up while “{run.name or run.id}” trains"
                more = "The run continues. Further runs wait."
                key = f"quota:{run.id}"
                self._notify(
                    Notification(key=key, kind="quota", at=time.time(), title=title, text=f"{text} {more}", run_id=run.id)
                )

    def _limited(self, account_id: str) -> Account | None:
        """Return an account that has a quota. Nothing is measured for others."""
        known = next((each for each in self._accounts.all() if each.id == account_id), None) if account_id else None
        limited = known is not None and (known.gpu_hours is not None or known.disk_bytes is not None)
        return known if limited else None

    def _used(self, account_id: str) -> tuple[float, int]:
        seconds = self._usage.device_seconds(QUOTA_DAYS, gpus_only=True).get(account_id, 0.0)
        return seconds / 3600, self._usage.disk_bytes(account_id)
