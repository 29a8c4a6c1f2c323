"""With fair share, among runs of the same priority, the run of the person with the least usage starts next."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import copy_context
from pathlib import Path

import pytest

from onetrainer_gradio.errors import ConfigValueError, QuotaError
from onetrainer_gradio.service.people.roles import Identity, Kind, Role, act_as
from onetrainer_gradio.service.queue.fair_share import fair_order
from onetrainer_gradio.service.queue.items import ItemChoices, QueueItem
from onetrainer_gradio.service.queue.run_queue import Frozen, RunQueue
from onetrainer_gradio.service.queue.store import QueueStore
from tests.fakes.configs import small_config

HOUR = 3600.0


def waiting(name: str, account: str, position: int, priority: int = 0) -> QueueItem:
    return QueueItem(id=name, name=name, account=account, position=position, priority=priority)


def names(items: list[QueueItem]) -> list[str]:
    return [item.id for item in items]


def test_the_person_who_used_the_least_is_next_within_a_priority():
    """Priority counts first; the runs of one person keep their order."""
    items = [waiting("a1", "ada", 0), waiting("a2", "ada", 1), waiting("b1", "bob", 2), waiting("urgent", "ada", 3, priority=1)]
    assert names(fair_order(items, {"ada": 5 * HOUR, "bob": HOUR})) == ["urgent", "b1", "a1", "a2"]
    assert names(fair_order(items, {"ada": HOUR, "bob": 5 * HOUR})) == ["urgent", "a1", "a2", "b1"]


def test_equal_use_leaves_the_order_and_seconds_do_not_change_it():
    """The order is stable: two runs that train at the same time don't alternate."""
    items = [waiting("a1", "ada", 0), waiting("b1", "bob", 1)]
    assert names(fair_order(items, {})) == ["a1", "b1"]
    assert names(fair_order(items, {"ada": HOUR + 20, "bob": HOUR + 10})) == ["a1", "b1"]
    assert names(fair_order(reversed(items), {"ada": HOUR + 10, "bob": HOUR + 20})) == ["a1", "b1"]


def test_a_second_device_goes_to_someone_else():
    """Nobody has used anything yet, but one person's run trains already, or is about to."""
    items = [waiting("a1", "ada", 0), waiting("a2", "ada", 1), waiting("b1", "bob", 2)]
    assert names(fair_order(items[1:], {}, [items[0]])) == ["b1", "a2"]
    running = QueueItem(id="a0", account="ada", state="running")
    assert names(fair_order([running, *items], {})) == ["b1", "a1", "a2"]


def test_people_without_an_account_are_one_person():
    """On a panel without accounts, fair share changes nothing."""
    items = [waiting("one", "", 0), waiting("two", "", 1), waiting("three", "", 2)]
    assert names(fair_order(items, {"": 100 * HOUR})) == ["one", "two", "three"]


class Shared:
    """A queue of several people, and the usage of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.used: dict[str, float] = {}
        self.over = ""
        self.asked: list[float] = []
        self.config = small_config(folder)
        self.open()

    def open(self) -> None:
        self.store = QueueStore(self.folder / "queue.sqlite")
        self.queue = RunQueue(self.store, self.freeze, used_s=self.used_s, admit=self.admit)

    def freeze(self, config, options, device) -> Frozen:
        from onetrainer_gradio.config import RunOptions
        from onetrainer_gradio.service.people.roles import acting

        own = {"started_by": acting().name, "account": acting().account}
        return Frozen(config or self.config, (options or RunOptions()).model_copy(update=own))

    def used_s(self, days: float) -> Mapping[str, float]:
        self.asked.append(days)
        return self.used

    def admit(self, account: str) -> None:
        if account == self.over:
            raise QuotaError("The quota is used up.")

    def by(self, name: str, call):
        """Call a function in the name of a person."""

        def work():
            act_as(Identity(Role.OPERATOR, Kind.ACCOUNT, name, name.lower()))
            return call()

        return copy_context().run(work)

    def add(self, person: str, name: str) -> str:
        return self.by(person, lambda: self.queue.add(None, None, ItemChoices(name=name))["id"])

    def names(self) -> list[str]:
        return [item["name"] for item in self.queue.list()["items"]]


@pytest.fixture
def shared(tmp_path: Path):
    made = Shared(tmp_path)
    yield made
    made.store.close()


@pytest.mark.slow
def test_the_list_has_the_fair_order_with_its_reason_also_after_a_restart(shared):
    """An owner turns it on once, and it stays on; when it is off, runs start in the order they were added."""
    ids = [shared.add("Ada", "a1"), shared.add("Ada", "a2"), shared.add("Bob", "b1")]
    shared.used |= {"ada": 2 * HOUR}
    assert (shared.names(), shared.asked) == (["a1", "a2", "b1"], [])
    assert shared.queue.list()["items"][0]["order_reason"] == ""
    assert shared.queue.set_fair_share(7)["fair_share_days"] == 7
    shared.store.close()
    shared.open()
    assert (shared.names(), shared.asked[-1]) == (["b1", "a1", "a2"], 7)
    assert shared.queue.summary()["fair_share_days"] == 7
    assert shared.queue.get(ids[2])["place"] == 1
    assert shared.queue.get(ids[0])["order_reason"] == "Fair share: Ada used 2.0 hours in the last 7 days."
    shared.queue.move(ids[1], by=-1)
    assert shared.names() == ["b1", "a2", "a1"]
    shared.queue.set_fair_share(0)
    assert sorted(shared.names()) == ["a1", "a2", "b1"]
    assert shared.queue.list()["items"][0]["order_reason"] == ""
    with pytest.raises(ConfigValueError):
        shared.queue.set_fair_share(-1)


@pytest.mark.slow
def test_a_run_stays_that_of_who_added_it_and_a_copy_is_that_of_who_copies(shared):
    """Editing another person's run doesn't count as the editor's usage."""
    item_id = shared.add("Ada", "a1")
    shared.by("Bob", lambda: shared.queue.edit(item_id, ItemChoices(), changes={"epochs": 3}))
    options = shared.queue.get(item_id, with_config=True)["options"]
    assert (options["started_by"], options["account"]) == ("Ada", "ada")
    copy = shared.by("Bob", lambda: shared.queue.duplicate(item_id))
    options = shared.queue.get(copy["id"], with_config=True)["options"]
    assert (copy["added_by"], options["started_by"], options["account"]) == ("Bob", "Bob", "bob")


@pytest.mark.slow
def test_nothing_is_added_over_a_quota_except_by_the_panel_itself(shared):
    """An automatic resume waits in the queue instead of being lost."""
    item_id = shared.add("Ada", "a1")
    shared.over = "ada"
    for call in (
        lambda: shared.queue.add(),
        lambda: shared.queue.duplicate(item_id),
        lambda: shared.queue.add_sweep(None, None, None, {"epochs": [1, 2]}),
    ):
        with pytest.raises(QuotaError):
            shared.by("Ada", call)
    assert shared.names() == ["a1"]
    shared.add("Bob", "b1")
    shared.queue.add(None, None, ItemChoices(name="resume"))
    assert shared.names() == ["a1", "b1", "resume"]
