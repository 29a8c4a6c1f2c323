"""Create our widgets: an empty named element, which the script of that name fills in the browser.

Functions create them instead of subclasses of ``gr.HTML``, because Gradio writes a stub file next to the module of every
subclass when it is imported, and type checkers then read the stub instead of the module.
"""

from __future__ import annotations

import gradio as gr

# place -> what ``assets/main.js`` puts there
PLACES = {
    "topbar": "name, status line, connection, color theme; the banner when the connection is lost",
    "form": "the settings: a form derived from the schema, one small PATCH per edit",
    "status": "status, phase, progress and metrics of the run",
    "problems": "warnings and errors of the run, and why it ended",
    "chart": "loss and learning rate over the steps",
    "newest": "the newest samples of the run",
    "console": "output of the training process",
    "runs": "all runs with their files",
    "gallery": "samples by prompt and step, large view, and the form for a custom sample",
    "system": "resource usage of the last 10 minutes, versions and processes",
}


def widget(place: str) -> gr.HTML:
    """Return the place of that name; its element is ``#og-PLACE``.

    The template is constant and contains no outside values. The content comes from REST and the WebSocket, and enters the
    document only as ``textContent``.
    """
    if place not in PLACES:
        raise ValueError(f"There is no widget {place!r}; choose one of: {', '.join(PLACES)}")
    return gr.HTML(
        value=None,
        html_template=markup(place),
        js_on_load=None,
        apply_default_css=False,
        elem_id=f"og-{place}",
    )


def markup(place: str) -> str:
    """The element that a script fills."""
    return f'<div class="og" data-og="{place}"></div>'


def outcome_carrier() -> gr.HTML:
    """Return the invisible component that passes an action's messages from its generator to the script."""
    return gr.HTML(
        value=None,
        html_template='<div class="og-outcome-carrier" hidden></div>',
        js_on_load="watch('value', () => document.dispatchEvent(new CustomEvent('og-outcome', {detail: props.value})));",
        apply_default_css=False,
        elem_id="og-outcome",
    )
