"""Events and commands survive a round trip through JSON."""

import json
from pathlib import Path

import pytest

from onetrainer_gradio import commands, events


def samples():
    error = events.ErrorInfo(type="DiskFullError", message="full")
    yield events.PhaseChanged(phase="caching", detail="40 pictures")
    yield events.RunPlanned(
        total_steps=10,
        steps_per_epoch=5,
        total_updates=10,
        epochs=2,
        first_step=0,
        images=5,
        trainable_parameters=7,
        learning_rates=("unet_lora",),
    )
    yield events.BackupFailed(path="/b", error=error)
    yield events.RunEnded(reason="failed", error=error, exit_code=1)
    yield events.RunEnded(reason="completed")
    yield events.WarningIssued(code="broken_picture", message="Ünïcode 'quotes'", path="/p.png")


@pytest.mark.parametrize("event", samples(), ids=lambda event: type(event).__name__)
def test_an_event_is_read_back_equal(event):
    """A decoded event equals the encoded one."""
    assert events.decode(json.loads(json.dumps(events.encode(event)))) == event


def test_every_event_and_command_has_a_tag_of_its_own():
    """The tables contain every defined class, each under one tag."""
    for module, base, table in (
        (events, events.Event, events.EVENT_BY_TAG),
        (commands, commands.Command, commands.COMMAND_BY_TAG),
    ):
        defined = {
            kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, base) and kind is not base
        }
        assert set(table.values()) == defined
        assert len(table) == len(defined)


def test_keys_of_a_newer_version_are_ignored_and_missing_ones_are_an_error():
    """The journal of a newer panel is readable; a broken line is not decoded as an event."""
    body = events.encode(events.PhaseChanged(phase="training")) | {"new": 1}
    assert isinstance(events.decode(body), events.PhaseChanged)
    with pytest.raises(KeyError):
        events.decode({"type": "phase_changed"})
    with pytest.raises(KeyError):
        events.decode({"type": "unheard_of"})


# What later versions added to an event, with the default for old journals.
ADDED_FIELDS = {"command_received": ("by",), "command_completed": ("by",)}
OLD_NAMES = (Path(__file__).parent / "fixtures" / "old_names" / "journal.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("line", OLD_NAMES, ids=lambda line: json.loads(line)["type"])
def test_an_event_under_an_old_name_is_read_as_the_event_it_is(line):
    """A run folder of an earlier version has other tags and field names; each line decodes with all values in place."""
    body = json.loads(line)
    assert events.is_event(body)
    event = events.decode(body)
    now = events.encode(event)
    assert now["type"] == events.FORMER_TAGS.get(body["type"], body["type"])
    former = [events.FORMER_FIELDS.get(now["type"], {}).get(name, name) for name in body]
    assert list(now) == [*former, *ADDED_FIELDS.get(now["type"], ())]
    values = list(now.values())[1 : len(body)]
    assert json.dumps(values) == json.dumps(list(body.values())[1:]).replace('"change"', '"suggestion"')


def test_the_journal_with_old_names_holds_every_kind_of_event():
    """The fixture contains every event that was renamed, and new events don't reuse old names."""
    kinds = [json.loads(line)["type"] for line in OLD_NAMES]
    assert {events.FORMER_TAGS.get(kind, kind) for kind in kinds} == set(events.EVENT_BY_TAG)
    assert events.FORMER_TAGS.keys() <= set(kinds)
    assert events.EVENT_BY_TAG.keys().isdisjoint(events.FORMER_TAGS)


def test_a_command_keeps_its_id_and_parameters():
    """A response can be matched to its command."""
    command = commands.SampleCustom(params={"prompt": "a"}, by="me")
    assert commands.decode_command(json.loads(json.dumps(commands.encode_command(command)))) == command
