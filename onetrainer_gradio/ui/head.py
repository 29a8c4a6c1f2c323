"""Build the document's head: first script, style sheet, color theme and vocabulary."""

from __future__ import annotations

import json
from urllib.parse import quote

from onetrainer_gradio.config.declarations.labels import LABELS
from onetrainer_gradio.config.enums import TrainingMethod
from onetrainer_gradio.ui.assets import FIRST, asset_path
from onetrainer_gradio.vocabulary import VOCABULARY

# What the form asks for: requested before its script has loaded.
ASKED_FIRST = ("api/config/schema", "api/config/current")

# Runs before the first paint, so that a dark page doesn't flash white. The class is on the root element: there is no body yet.
_EARLY = """<script>
(() => {
  const chosen = localStorage.getItem('og-theme');
  const dark = chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.classList.toggle('og-dark', dark);
  document.documentElement.lang = 'en';
})();
</script>"""


# The logo, inline: it needs no request and works below a proxy's prefix.
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect x="1" y="1" width="30" height="30" rx="8" fill="#3558d4"/>'
    '<path d="M7 8c3 0 3 9 6 11s4-2 6 0 3 5 6 5" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round"/></svg>'
)

# Lets the scripts know that the panel requires a login.
PROTECTED = '<meta name="og-protected" content="yes">'


# A data block, not a script: the words that the scripts share with Python.
_WORDS = {**VOCABULARY, "methods": LABELS[TrainingMethod]}
_VOCABULARY = json.dumps(_WORDS, separators=(",", ":")).replace("<", "\\u003c")


def head() -> str:
    """Return the markup. All paths are relative to the page, so that the panel works below any proxy path."""
    # requested in the way of assets/live.js, whose request then gets this answer
    asked = "".join(f'<link rel="preload" href="{path}" as="fetch" crossorigin>' for path in ASKED_FIRST)
    return (
        f'{_EARLY}<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="data:image/svg+xml,{quote(_ICON, safe="")}">'
        f'<script type="application/json" id="og-vocabulary">{_VOCABULARY}</script>'
        f"{asked}"
        f'<script type="module" src="{asset_path(FIRST)}"></script>'
    )
