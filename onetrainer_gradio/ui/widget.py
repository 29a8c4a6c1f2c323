"""Widgets of our own: an empty place with a name, which the script of that name fills in the browser.

They are made by functions, not by subclasses of ``gr.HTML``: Gradio writes a stub file beside the module of every subclass when
it is imported, and type checkers then read the stub instead of the module.
"""

from __future__ import annotations

import gradio as gr

# place -> what ``assets/main.js`` puts there
PLACES = {
    "topbar": "name, state in one line, connection, light or dark; the banner when the connection is lost",
    "form": "the settings: a form derived from the schema, one small PATCH an edit",
    "status": "state, phase, progress and numbers of the run",
    "problems": "warnings and errors of the run, and the true cause of its end",
    "chart": "loss and learning rate over the steps",
    "newest": "the newest samples of the run",
    "console": "what the training process printed",
    "runs": "all runs with their files",
    "gallery": "sample pictures by prompt and step, large view, and the form for one of your own",
    "system": "what the machine does, now and over the last minutes; versions and processes",
}


def widget(place: str) -> gr.HTML:
    """The place of that name; its element is ``#og-PLACE``.

    The template is constant: no value from outside ever enters it. What the place shows comes from REST and the WebSocket, and
    reaches the document through ``textContent`` alone.
    """
    if place not in PLACES:
        raise ValueError(f"There is no widget {place!r}; there are: {', '.join(PLACES)}")
    return gr.HTML(
        value=None,
        html_template=f'<div class="og" data-og="{place}"></div>',
        js_on_load=None,
        apply_default_css=False,
        elem_id=f"og-{place}",
    )


def outcome_carrier() -> gr.HTML:
    """Carries what an action says from its generator to the script; shows nothing by itself."""
    return gr.HTML(
        value=None,
        html_template='<div class="og-outcome-carrier" hidden></div>',
        js_on_load="watch('value', () => document.dispatchEvent(new CustomEvent('og-outcome', {detail: props.value})));",
        apply_default_css=False,
        elem_id="og-outcome",
    )
