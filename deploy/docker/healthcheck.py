"""Exit with status 0 if the panel in this container answers, else with 1."""

from __future__ import annotations

import os
import ssl
import sys
import urllib.error
import urllib.request

ADDRESS = f"127.0.0.1:{os.environ.get('GRADIO_SERVER_PORT', '7860')}/health"


def problem() -> str:
    """Return why the panel isn't healthy; empty if it is. It serves HTTPS with ``--ssl self`` or a certificate, else HTTP."""
    # a certificate isn't made for this address, and nothing secret is sent
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    found: list[str] = []
    for scheme in ("http", "https"):
        try:
            urllib.request.urlopen(f"{scheme}://{ADDRESS}", timeout=2, context=context).close()
        except urllib.error.HTTPError as error:
            return str(error)
        except OSError as error:
            found.append(f"{scheme}: {error}")
        else:
            return ""
    return ", ".join(found)


if __name__ == "__main__":
    why = problem()
    sys.exit(f"The panel doesn't answer: {why}" if why else 0)
