"""Exit with status 0 if the panel in this container answers, else with 1."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

try:
    urllib.request.urlopen(f"http://127.0.0.1:{os.environ.get('GRADIO_SERVER_PORT', '7860')}/health", timeout=4).close()
except (OSError, urllib.error.URLError) as error:
    sys.exit(f"The panel doesn't answer: {error}")
