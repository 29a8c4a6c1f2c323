"""The page as Gradio builds it, without a browser.

Covers ``ui/theme.py``.
"""

from __future__ import annotations

import json
import re
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from onetrainer_gradio.service import TrainerService
from onetrainer_gradio.ui import page
from onetrainer_gradio.ui.assets import assets_route
from onetrainer_gradio.ui.head import ASKED_FIRST
from onetrainer_gradio.ui.tabs import TABS
from onetrainer_gradio.ui.widget import widget

pytestmark = pytest.mark.slow  # importing Gradio alone takes three seconds

ACTIONS = {"start", "pause", "resume", "stop", "sample", "backup", "save"}
PLACES = [place for tab in TABS for place in tab.places]
CLIENT = {"config", "change_settings", "list_runs", "list_samples", "generate_sample"}
CLIENT |= {"runs", "queue", "notifications"}


@pytest.fixture
def config(service: TrainerService) -> dict[str, Any]:
    """Return what Gradio sends to the browser."""
    return page.build_page(service).get_config_file()


@pytest.mark.exhaustive
def test_no_part_of_the_page_holds_a_connection_open(config: dict[str, Any]) -> None:
    """Without a heartbeat, a browser can open any number of tabs; a State, timer, unload or stream would add one."""
    assert config["connect_heartbeat"] is False
    assert not {component["type"] for component in config["components"]} & {"state", "timer"}


def test_actions_are_public_and_quiet(config: dict[str, Any]) -> None:
    """Every button has an API name and no progress animation, and several people may press it at once."""
    events = {event["api_name"]: event for event in config["dependencies"]}
    assert set(events) == ACTIONS | {"watch", *CLIENT, "outcome"}
    # the page passes messages to its own scripts: none of it runs in the panel
    assert (events["outcome"]["backend_fn"], events["outcome"]["api_visibility"]) == (False, "private")
    for name in ACTIONS:
        assert events[name]["show_progress"] == "hidden", name
        assert events[name]["api_visibility"] == "public", name
        assert events[name]["types"]["generator"], name


@pytest.mark.exhaustive
def test_no_part_of_the_page_has_a_template(config: dict[str, Any]) -> None:
    """Gradio evaluates templates as code. A placeholder is an empty column, which loads nothing more."""
    assert not {component["type"] for component in config["components"]} & {"html", "markdown"}
    places = [component for component in config["components"] if "og-place" in (component["props"].get("elem_classes") or [])]
    assert {component["type"] for component in places} == {"column"}
    assert [each["props"]["elem_id"] for each in places] == [f"og-{name}" for name in ("topbar", *PLACES)]


def test_the_page_loads_no_more_of_gradio_than_it_shows(config: dict[str, Any]) -> None:
    """Gradio loads each type of component with the first view, including those of other tabs."""
    assert {component["type"] for component in config["components"]} == {"column", "tabs", "tabitem", "button", "api"}


def test_every_tab_and_place_has_a_name_of_its_own() -> None:
    """Addresses and elements are named after them."""
    keys = [tab.key for tab in TABS]
    assert len({*keys}) == len(keys)
    assert len({*PLACES}) == len(PLACES)
    assert all(re.fullmatch("[a-z][a-z-]*", name) for name in (*keys, *PLACES))


@pytest.mark.exhaustive
def test_the_causes_of_an_end_come_before_the_curve(config: dict[str, Any]) -> None:
    """The order of the document is also that of the keyboard and of a phone."""
    order = [component["props"].get("elem_id") for component in config["components"]]
    assert order.index("og-status") < order.index("og-problems") < order.index("og-chart") < order.index("og-console")


def test_a_place_that_nobody_fills_is_rejected() -> None:
    """A misspelled placeholder is an error when the page is built, not an empty spot in it."""
    with pytest.raises(ValueError, match=r"There is no widget 'chrat': ui/assets/chrat\.js doesn't exist"):
        widget("chrat")


@pytest.mark.exhaustive
def test_the_config_that_goes_with_the_page_is_small(config: dict[str, Any]) -> None:
    """Gradio sends it twice and uncompressed."""
    assert len(json.dumps(config)) < 40_000


def test_the_page_starts_a_run_through_gradios_queue(service: TrainerService) -> None:
    """A client that uses Gradio's protocol starts a run and reads its stream to the outcome."""
    app = gr.mount_gradio_app(FastAPI(), page.build_page(service), "/", ssr_mode=False)
    with TestClient(app) as client:
        event = client.post("/gradio_api/call/start", json={"data": []}).json()["event_id"]
        with client.stream("GET", f"/gradio_api/call/start/{event}") as reply:
            lines = [line for line in reply.iter_lines() if line.startswith("data:")]
    messages = [each for line in lines if (each := json.loads(line.removeprefix("data:")))]
    assert messages[-1][0]["done"]
    assert messages[-1][0]["run_id"] == service.get_state()["run_id"]


def test_head_names_files_that_are_there() -> None:
    """Everything that the head references is served from this machine, and may be cached forever."""
    app = FastAPI(routes=[assets_route()])
    with TestClient(app) as client:
        document = page.HEAD + page.FIRST_VIEW
        paths = [part.split('"')[0] for part in document.replace('src="', 'href="').split('href="')[1:] if part[0] != "#"]
        fetched = [path for path in paths if path.startswith("panel/")]
        # the icon is in the page, and what the form requests comes from the API
        assert [path for path in paths if path not in fetched and not path.startswith("data:image/svg+xml,")] == [*ASKED_FIRST]
        assert len(fetched) == 2
        for path in fetched:
            reply = client.get(f"/{path}")
            assert reply.status_code == 200, path
            assert "immutable" in reply.headers["cache-control"]
            assert reply.headers["content-encoding"] == "gzip"
