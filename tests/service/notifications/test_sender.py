"""The sending process contacts a service, attaches the sample, hides every part of an address, and can be restricted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onetrainer_gradio.service.notifications import sender
from onetrainer_gradio.service.notifications.delivery import TOO_LONG, Outcome, SenderProcess, attachable
from tests.fakes.rehearsal import png
from tests.fakes.sinks import http_sink, mail_sink

pytest.importorskip("apprise")

WORDS = {"title": "Run “cat” finished", "body": "Step 5 of 5.", "level": "success"}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.png"
    path.write_bytes(png(8, 8, (1, 2, 3)))
    return path


@pytest.mark.slow
def test_a_webhook_gets_title_text_and_sample(sample: Path) -> None:
    with http_sink() as sink:
        outcome = SenderProcess()({"address": sink.address, "attachment": str(sample), **WORDS})
        assert outcome == Outcome(ok=True, service="JSON")
        [body] = sink.received
    assert (body["title"], body["message"], body["type"]) == (WORDS["title"], WORDS["body"], "success")
    assert [item["filename"] for item in body["attachments"]] == ["sample.png"]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_mail_arrives_with_the_sample(sample: Path) -> None:
    with mail_sink() as sink:
        outcome = SenderProcess()({"address": sink.address, "attachment": str(sample), **WORDS})
        assert outcome.ok, outcome
        [mail] = sink.mails
    assert "me@example.org" in mail
    assert "sample.png" in mail


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_failure_names_the_cause_and_no_part_of_the_address(tmp_path: Path) -> None:
    with http_sink() as sink:
        sink.statuses = [404]
        outcome = SenderProcess()({"address": sink.address, **WORDS})
    assert not outcome.ok
    assert "404" in outcome.reason
    for secret in ("hunter2secret", "keyofthehook", "someone", str(sink.port)):
        assert secret not in outcome.reason


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_service_that_does_not_answer_is_given_up() -> None:
    """The process is killed and leaves nothing behind."""
    with http_sink() as sink:
        sink.wait_s = 5.0
        began = time.monotonic()
        outcome = SenderProcess(limit_s=2.5)({"address": sink.address, **WORDS})
    assert outcome == Outcome(ok=False, reason=TOO_LONG)
    assert time.monotonic() - began < 8


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_panel_that_is_open_to_others_contacts_no_private_address(host: str) -> None:
    """Whatever a name resolves to, the connection itself is blocked."""
    with http_sink() as sink:
        outcome = SenderProcess()({"address": f"json://{host}:{sink.port}/x", "public_only": True, **WORDS})
        assert outcome == Outcome(ok=False, service="JSON", reason=sender.NOT_PUBLIC)
        assert sink.paths == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "public"),
    [
        (("93.184.216.34", 443), True),
        (("2606:2800:220:1:248:1893:25c8:1946", 443, 0, 0), True),
        (("169.254.169.254", 80), False),
        (("10.0.0.1", 80), False),
        (("192.168.1.1", 80), False),
        (("::ffff:10.0.0.1", 80, 0, 0), False),
        (("fe80::1%eth0", 80, 0, 2), False),
        (("0.0.0.0", 80), False),
        ("/run/docker.sock", False),
    ],
)
def test_only_public_addresses_pass(address: object, public: bool) -> None:
    code = (
        "import sys; from onetrainer_gradio.service.notifications.sender import only_public_addresses\n"
        f"only_public_addresses()\ntry:\n    sys.audit('socket.connect', None, {address!r})\nexcept OSError:\n    sys.exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == (0 if public else 7)


@pytest.mark.slow
def test_addresses_are_recognized_without_sending() -> None:
    assert sender.answer({"check": True, "address": "discord://1234567/abcdefgh"})["service"] == "Discord"
    unknown = sender.answer({"check": True, "address": "carrierpigeon://secretword"})
    assert not unknown["ok"]
    assert unknown["reason"] == "Apprise doesn't support “carrierpigeon”."
    for incomplete in ("discord://x", "no address at all"):
        answer = sender.answer({"check": True, "address": incomplete})
        assert not answer["ok"]
        assert answer["reason"]


def test_without_the_package_the_reason_reports_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert sender.answer({"check": True, "address": "discord://1/2"})["reason"] == sender.NOT_INSTALLED


def test_every_part_of_an_address_counts_as_a_secret() -> None:
    parts = sender.secret_parts("mailto://user:pa%40ss@mail.example.org/?to=me@example.org&key=abcd")
    assert {"user", "pa%40ss", "pa@ss", "mail.example.org", "example.org", "abcd"} <= set(parts)


def test_only_images_of_a_size_that_services_accept_are_attached(tmp_path: Path, sample: Path) -> None:
    large, text = tmp_path / "large.png", tmp_path / "notes.txt"
    text.write_text("no image")
    with large.open("wb") as file:
        file.truncate(9_000_000)
    assert attachable(str(sample)) == str(sample)
    assert [attachable(str(path)) for path in (large, text, tmp_path / "gone.png", "")] == ["", "", "", ""]


def test_a_process_that_answers_nonsense_has_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid response is treated as data to validate. Covers ``service/notifications/sender.py`` from the panel's side."""
    from onetrainer_gradio.service.notifications.delivery import _outcome

    for answer in (b"", b"[]\n", b"{}\n", json.dumps({"ok": True}).encode()):
        assert not _outcome(answer).ok
