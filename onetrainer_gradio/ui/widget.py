"""Create the places of our widgets: empty named elements, which the script of that name fills in the browser."""

from __future__ import annotations

import gradio as gr
from gradio.components.api_component import Api
from gradio.events import Events

from onetrainer_gradio.ui.assets import scripts

# the selector that assets/main.js uses
PLACE = "og-place"

_DISPATCH_OUTCOME = "m=>(document.dispatchEvent(new CustomEvent('og-outcome',{detail:m})),[])"


def widget(place: str) -> gr.Column:
    """Create the place of that name; its element is ``#og-PLACE``, and ``assets/PLACE.js`` fills it.

    It holds nothing. The content comes from REST and the WebSocket, and enters the document only as ``textContent``. It is a
    column because the page loads columns anyway; ``gr.HTML`` would add 40 kB to the first view.

    :raises ValueError: when there is no such script.
    """
    if f"{place}.js" not in scripts():
        raise ValueError(f"There is no widget {place!r}: ui/assets/{place}.js doesn't exist.")
    with gr.Column(elem_id=f"og-{place}", elem_classes=PLACE, scale=0, min_width=0) as column:
        pass
    return column


def markup(place: str) -> str:
    """The element that a script fills, in the HTML that the server sends; ``assets/main.js`` makes the same in each place."""
    return f'<div class="og" data-og="{place}"></div>'


def outcome_carrier() -> Api:
    """Return the invisible component that passes an action's messages from its generator to the script.

    It has the type of the page's functions for programs, so it loads nothing more, and shows nothing.
    """
    carrier = Api(None, {}, label="Message")  # without a schema, which Gradio would send four times
    # the type has no events in Python, but its front end reports each value
    Events.change.listener(carrier, None, inputs=carrier, js=_DISPATCH_OUTCOME, api_name="outcome", api_visibility="private")
    return carrier
