"""What the page puts into the document's head: the first script, the style sheet, the choice of light or dark."""

from __future__ import annotations

from urllib.parse import quote

from onetrainer_gradio.ui.assets import asset_path

# Parts that the first view needs: fetched at once instead of one after the other.
_FIRST = ("dom.js", "live.js", "form.js", "field.js", "lists.js", "settings.js", "toolbar.js")

# Before the first paint, so that a dark page does not flash white. A class on the root element, since there is no body yet.
_EARLY = """<script>
(() => {
  const chosen = localStorage.getItem('og-theme');
  const dark = chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.classList.toggle('og-dark', dark);
  document.documentElement.lang = 'en';
})();
</script>"""


# The mark of the top bar, as part of the page: it costs no request, and is found below a proxy's prefix, too.
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect x="1" y="1" width="30" height="30" rx="8" fill="#3558d4"/>'
    '<path d="M7 8c3 0 3 9 6 11s4-2 6 0 3 5 6 5" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round"/></svg>'
)

# Says that the page has something to sign out of.
PROTECTED = '<meta name="og-protected" content="yes">'


def head() -> str:
    """The markup; all paths are relative to the page, so that a proxy may put the panel anywhere."""
    preloads = "".join(f'<link rel="modulepreload" href="{asset_path(name)}">' for name in _FIRST)
    return (
        f'{_EARLY}<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="data:image/svg+xml,{quote(_ICON, safe="")}">'
        f'<link rel="stylesheet" href="{asset_path("panel.css")}">'
        f'{preloads}<script type="module" src="{asset_path("main.js")}"></script>'
    )
