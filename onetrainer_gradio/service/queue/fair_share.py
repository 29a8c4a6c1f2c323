"""Order the queue by fair share: among runs of the same priority, the person who used the least starts next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from onetrainer_gradio.service.queue.items import ON_DEVICE, QueueItem
from onetrainer_gradio.service.queue.store import Transaction

FACT = "fair_share_days"
MAX_DAYS = 365
# Usage counts in whole minutes: the order doesn't change while two runs train for about the same time.
_STEP_S = 60.0


def fair_share_days(queue: Transaction) -> int:
    """Return how many days back usage counts; 0 if runs start in their order."""
    text = queue.fact(FACT)
    return min(MAX_DAYS, int(text)) if text.isdecimal() else 0


def fair_order(items: Iterable[QueueItem], used_s: Mapping[str, float], starting: Iterable[QueueItem] = ()) -> list[QueueItem]:
    """Return the waiting items in the order in which they start.

    Priority comes first, then the least use of devices (``used_s``: account to seconds), then the fewest runs on a device,
    then the position. Everyone without an account counts as one person. ``starting`` are items that got a device just now.
    """
    every = list(items)
    running = Counter(item.account for item in (*(each for each in every if each.state in ON_DEVICE), *starting))

    def key(item: QueueItem) -> tuple[int, int, int, int]:
        return (-item.priority, int(used_s.get(item.account, 0.0) // _STEP_S), running[item.account], item.position)

    return sorted((item for item in every if item.state == "waiting"), key=key)


def reason_of(item: QueueItem, used_s: Mapping[str, float], days: int) -> str:
    """Return why an item has its place, as a sentence."""
    who = (item.added_by or "its owner") if item.account else "people without an account"
    hours = used_s.get(item.account, 0.0) / 3600
    return f"Fair share: {who} used {hours:.1f} hours in the last {days} {'day' if days == 1 else 'days'}."
