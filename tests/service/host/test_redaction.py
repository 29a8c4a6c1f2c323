"""Secrets are removed from logs."""

from __future__ import annotations

import logging

import pytest

from onetrainer_gradio.service.host.redaction import HIDDEN, redact_logs, redacted

SECRET = "Xy-0123456789_abcdefghijk"


@pytest.mark.parametrize(
    "text",
    [
        f"GET /?token={SECRET} HTTP/1.1",
        f"GET /?a=1&token={SECRET}&b=2",
        f"/login?next=/%3Ftoken%3D{SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"authorization: bearer {SECRET}",
        f"< Cookie: other=1; onetrainer_gradio_7860={SECRET}; more=2",
        f'{{"password": "{SECRET}"}}',
        f"{{'token': '{SECRET}'}}",
        f"b'GET /ws?token={SECRET}'",
        f"GET /train/login/callback?code={SECRET}&state={SECRET} HTTP/1.1",
        f"< Cookie: onetrainer_gradio_7860_attempt_0a1b2c={SECRET}.{SECRET}",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text):
    clean = redacted(text)
    assert SECRET not in clean
    assert HIDDEN in clean


@pytest.mark.parametrize("text", ["GET /api/runs?limit=5", "token_count 3", "4 tokens: one, two", "the password is too short"])
def test_other_texts_stay(text):
    assert redacted(text) == text


def test_every_record_is_looked_through(log_records):
    """Messages and arguments of any type are searched, from every logger; arguments keep their types."""
    undo = redact_logs("my own password")
    try:
        with log_records.at_level(logging.DEBUG):
            logging.getLogger("tests.access").info('%s - "%s %s" %d', "client", "GET", f"/?token={SECRET}", 200)
            logging.getLogger("a").debug("< %s: %s", "Authorization", f"Bearer {SECRET}")
            logging.getLogger("b").debug(ValueError(f"token={SECRET}"))
            logging.getLogger("c").debug("%(what)s", {"what": "my own password"})
            logging.getLogger("d").debug("%s", f"Cookie: onetrainer_gradio_1={SECRET}".encode())
    finally:
        undo()
    assert SECRET not in log_records.text
    assert "my own password" not in log_records.text
    # threads of servers from other tests may log at the same time
    (access,) = [record for record in log_records.records if record.name == "tests.access"]
    assert access.args == ("client", "GET", f"/?token={HIDDEN}", 200)
