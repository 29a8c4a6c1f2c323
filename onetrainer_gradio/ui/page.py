"""Build the page: tabs of widgets, and the buttons that control the run."""

from __future__ import annotations

from functools import partial

import gradio as gr

from onetrainer_gradio.service import TrainerService
from onetrainer_gradio.service.people.audit import AuditLog
from onetrainer_gradio.ui.actions import Actions, refused
from onetrainer_gradio.ui.client import ClientFunctions
from onetrainer_gradio.ui.first_view import first_view
from onetrainer_gradio.ui.head import PROTECTED, head
from onetrainer_gradio.ui.permitted import permitted
from onetrainer_gradio.ui.tabs import TABS
from onetrainer_gradio.ui.theme import theme
from onetrainer_gradio.ui.widget import outcome_carrier, widget

__all__ = ["CSS", "FIRST_VIEW", "HEAD", "PROTECTED", "THEME", "TITLE", "build_page"]

TITLE = "OneTrainer panel"
HEAD = head()
FIRST_VIEW = first_view(TABS)
THEME = theme()
# All styles are in assets/panel.css, which browsers cache; Gradio would repeat a string here in every page.
CSS = ""

# How many viewers may press the same button at the same time. Stop has no limit, so it never waits.
_SIDE_BY_SIDE = 16

# label, action and API name, variant
_BUTTONS = (
    ("Start", "start", "primary"),
    ("Pause", "pause", "secondary"),
    ("Resume", "resume", "secondary"),
    ("Stop", "stop", "stop"),
    ("Sample now", "sample", "secondary"),
    ("Back up now", "backup", "secondary"),
    ("Save now", "save", "secondary"),
)


def build_page(service: TrainerService) -> gr.Blocks:
    """Return the Blocks of the page, to be mounted with ``CSS`` and ``THEME``; ``HEAD`` and ``FIRST_VIEW`` go with it.

    No ``gr.State``, timer, unload or stream event: each would keep a connection open for every browser tab.
    """
    actions = Actions(service)
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        widget("topbar")
        with gr.Tabs(elem_id="og-tabs"):
            for tab in TABS:
                with gr.Tab(tab.title, id=tab.key):
                    if tab.key == "training":
                        _controls(actions, service.people.audit)
                    for place in tab.places:
                        widget(place)
        client = ClientFunctions(service, actions)
        functions = (client.config, client.change_settings, client.list_runs, client.list_samples, client.generate_sample)
        by_action = (client.runs, client.queue, client.notifications)
        for function in (actions.watch, *functions, *by_action):
            name = function.__name__
            checked = permitted(function, name, audit=service.people.audit, by_action=function in by_action)
            gr.api(checked, api_name=name, concurrency_limit=_SIDE_BY_SIDE)
    return page


def _controls(actions: Actions, audit: AuditLog) -> None:
    # a Column that the style sheet lays out as a row: gr.Row would load two more files
    with gr.Column(elem_id="og-controls"):
        buttons = {name: gr.Button(label, variant=look, elem_id=f"og-{name}") for label, name, look in _BUTTONS}
    outcome = outcome_carrier()
    for name, button in buttons.items():
        button.click(
            permitted(getattr(actions, name), name, partial(refused, name), audit=audit),
            outputs=outcome,
            api_name=name,
            show_progress="hidden",
            concurrency_limit=None if name == "stop" else _SIDE_BY_SIDE,
            # a second press of Stop counts while the first one still streams
            trigger_mode="multiple" if name == "stop" else "once",
        )
