"""What the page puts into the document's head: the first script, the style sheet, the choice of light or dark."""

from __future__ import annotations

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


# Says that the page has something to sign out of.
PROTECTED = '<meta name="og-protected" content="yes">'


def head() -> str:
    """The markup; all paths are relative to the page, so that a proxy may put the panel anywhere."""
    preloads = "".join(f'<link rel="modulepreload" href="{asset_path(name)}">' for name in _FIRST)
    return (
        f'{_EARLY}<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="stylesheet" href="{asset_path("panel.css")}">'
        f'{preloads}<script type="module" src="{asset_path("main.js")}"></script>'
    )
