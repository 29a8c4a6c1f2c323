"""The log as JSON: one object per line, without secrets."""

from __future__ import annotations

import json
import logging
import sys

from onetrainer_gradio.service.host.logs import REQUEST_ID, JsonFormatter


def record(message: str, *args: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("a.logger", logging.WARNING, __file__, 1, message, args, None)
    made.__dict__.update(more)
    return made


def test_a_record_is_one_line():
    line = JsonFormatter().format(record("two\nlines of %s", "text"))
    assert "\n" not in line
    body = json.loads(line)
    assert (body["level"], body["logger"], body["message"]) == ("warning", "a.logger", "two\nlines of text")
    assert body["time"].endswith("+00:00")
    assert "request_id" not in body


def test_secrets_are_hidden_in_messages_fields_and_tracebacks():
    made = record("GET /?token=%s", "very-secret", path="/x?password=very-secret", status=200)
    try:
        raise ValueError("Authorization: Bearer very-secret")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = JsonFormatter().format(made)
    assert "very-secret" not in line
    body = json.loads(line)
    assert body["path"] == "/x?password=[hidden]"
    assert body["status"] == 200
    assert "ValueError" in body["exception"]


def test_the_id_of_the_request_is_in_its_records():
    token = REQUEST_ID.set("trace-0123456789")
    try:
        assert json.loads(JsonFormatter().format(record("x")))["request_id"] == "trace-0123456789"
    finally:
        REQUEST_ID.reset(token)
