"""The process that sends one notification: ``python -P -m onetrainer_gradio.service.notifications.sender``.

It reads a request from standard input and writes the outcome to standard output, each as one line of JSON. The panel ends it if
it takes too long. A library of some service can neither block the panel nor write an address to its log, and the panel never
imports Apprise.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
import sys
from typing import Any
from urllib.parse import unquote

from onetrainer_gradio.service.host.redaction import redacted

NOT_INSTALLED = "Sending notifications requires the Python package apprise."
NOT_PUBLIC = "The panel is open to others, so it sends notifications only to public addresses."
_LONGEST_REASON = 300
_ADDRESS_PART = re.compile(r"[^/:@?&=#,\s]{4,}")
_CONNECTS = "socket.connect"


class NotPublicError(OSError):
    """A connection to an address that isn't public."""


class Warnings(logging.Handler):
    """Keep the messages of warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.messages.append(record.getMessage())


def secret_parts(address: str) -> tuple[str, ...]:
    """Return everything in an address that may be a secret: all its parts except the kind of service, longest first."""
    _, _, rest = address.partition("://")
    parts = {text for part in _ADDRESS_PART.findall(rest) for text in (part, unquote(part))}
    return (address, *sorted(parts, key=len, reverse=True))


def only_public_addresses() -> list[str]:
    """Make each connection of this process fail unless it goes to a public address, whatever a name resolves to.

    Return the list to which rejected hosts will be added.
    """
    rejected: list[str] = []

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if event != _CONNECTS:
            return
        address = arguments[1]
        host = str(address[0]).partition("%")[0] if isinstance(address, tuple) and address else ""
        try:
            public = ipaddress.ip_address(host).is_global
        except ValueError:  # a socket of this machine
            public = False
        if not public:
            rejected.append(host)
            raise NotPublicError(NOT_PUBLIC)

    sys.addaudithook(check)
    return rejected


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Send a notification, or with ``check`` only recognize its address. Return ``ok``, ``service`` and ``reason``."""
    try:
        import apprise
    except ImportError:
        return {"ok": False, "service": "", "reason": NOT_INSTALLED}
    address = request["address"]
    warnings = Warnings()
    log = logging.getLogger("apprise")
    log.addHandler(warnings)
    log.propagate = False
    log.setLevel(logging.WARNING)
    asset = apprise.AppriseAsset(app_id="OneTrainer panel", app_desc="OneTrainer panel", plugin_paths=[])
    service = apprise.Apprise.instantiate(address, asset=asset)
    if service is None:
        kind, separator, _ = address.partition("://")
        if not separator:
            reason = "An address contains “://”."
        elif kind.lower() in apprise.NotificationManager():  # type: ignore[no-untyped-call]
            reason = "The address is incomplete."
        else:
            reason = f"Apprise doesn't support “{redacted(kind)[:30]}”."
        return {"ok": False, "service": "", "reason": reason}
    name = str(service.service_name)
    if request.get("check"):
        return {"ok": True, "service": name, "reason": ""}
    rejected = only_public_addresses() if request.get("public_only") else []
    attachment = request.get("attachment") or None
    one = apprise.Apprise(asset=asset)
    one.add(service)
    sent = one.notify(
        body=request["body"],
        title=request["title"],
        notify_type=apprise.NotifyType(request["level"]),
        body_format=apprise.NotifyFormat.TEXT,
        attach=apprise.AppriseAttachment(attachment, asset=asset) if attachment else None,
    )
    reason = "" if sent else NOT_PUBLIC if rejected else _reason(warnings.messages, address)
    return {"ok": bool(sent), "service": name, "reason": reason}


def _reason(messages: list[str], address: str) -> str:
    """Return why nothing was sent, without any part of the address."""
    text = " ".join(dict.fromkeys(messages[-2:])) or "The service didn't accept it."
    return redacted(text, secret_parts(address))[:_LONGEST_REASON]


def main() -> None:
    """Answer the request on standard input."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of a library is not a response
    request = json.loads(sys.stdin.buffer.readline())
    answers.write(json.dumps(answer(request)).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
    os._exit(0)  # threads of a library must not keep the process
