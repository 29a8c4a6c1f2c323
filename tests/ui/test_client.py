"""Programs access settings, runs and samples with the real ``gradio_client``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from onetrainer_gradio.config.files.documents import to_document
from tests.fakes.configs import small_config
from tests.panel_process import REHEARSAL, Running, wait_for

gradio_client = pytest.importorskip("gradio_client")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A panel whose runs are rehearsals."""
    panel = Running(tmp_path_factory.mktemp("data"), "--backend", REHEARSAL)
    httpx.get(panel.address + "/config", timeout=60)  # Gradio is imported while the panel already responds
    yield panel.address
    panel.end()
    panel.kill()


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[gradio_client.Client]:
    """The client that users install with Gradio."""
    client = gradio_client.Client(address, verbose=False, download_files=False, httpx_kwargs={"timeout": 60})
    yield client
    client.close()


@pytest.mark.exhaustive
def test_settings_are_read_and_changed(client: gradio_client.Client) -> None:
    """A change returns all settings, and the next reading shows it."""
    before = client.predict(api_name="/config")
    after = client.predict({"learning_rate": 0.002, "batch_size": 1}, before["revision"], api_name="/change_settings")
    assert (after["config"]["learning_rate"], after["revision"]) == (0.002, before["revision"] + 1)
    assert client.predict(api_name="/config")["config"]["batch_size"] == 1


def test_a_wrong_value_is_an_error_with_what_to_do_and_changes_nothing(client: gradio_client.Client) -> None:
    """The program gets the service's error as text."""
    before = client.predict(api_name="/config")["revision"]
    with pytest.raises(gradio_client.exceptions.AppError, match="earning rate"):
        client.predict({"learning_rate": "quick"}, api_name="/change_settings")
    assert client.predict(api_name="/config")["revision"] == before


def test_a_change_of_outdated_settings_is_an_error(client: gradio_client.Client) -> None:
    """Two programs can't overwrite each other's changes unknowingly."""
    with pytest.raises(gradio_client.exceptions.AppError):
        client.predict({"batch_size": 3}, -1, api_name="/change_settings")


def test_a_run_is_listed_and_generates_a_sample(client: gradio_client.Client, address: str, tmp_path: Path) -> None:
    """A custom sample is in the list of samples, and its run in the list of runs."""
    small = to_document(small_config(tmp_path), packed=True)
    small.pop("__version")
    client.predict({"concepts": small["concepts"], "base_model_name": small["base_model_name"]}, api_name="/change_settings")
    for name in ("epochs", "resolution", "workspace_dir", "cache_dir", "output_model_destination", "batch_size"):
        client.predict({name: small[name]}, api_name="/change_settings")
    # a button has no options, and without them a rehearsal ends immediately
    options = {"tags": ["steps=100000", "step_s=0.02"]}
    httpx.post(f"{address}/api/training/start", json={"options": options}, timeout=60).raise_for_status()
    wait_for(address, lambda state: state["status"] == "running")
    job = client.submit({"prompt": "a red house"}, api_name="/generate_sample")
    give_up_at = time.monotonic() + 30
    while not job.done():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    messages = job.outputs()
    assert (messages[-1]["done"], messages[-1]["ok"]) == (True, True), messages
    (sample, *_) = client.predict(api_name="/list_samples")["samples"]
    assert (sample["prompt"], sample["kind"]) == ("a red house", "custom")
    runs = client.predict(1, api_name="/list_runs")
    assert [run["id"] for run in runs["runs"]] == [sample["run_id"]]
    assert client.submit(api_name="/stop").result(timeout=30)["done"]


@pytest.mark.exhaustive
def test_runs_and_samples_are_read_by_a_client_that_downloads_files(client: gradio_client.Client, address: str) -> None:
    """It mistakes nothing in these answers for a file."""
    plain = gradio_client.Client(address, verbose=False, httpx_kwargs={"timeout": 60})
    for name in ("/list_runs", "/list_samples"):
        assert plain.predict(api_name=name).keys() == client.predict(api_name=name).keys()
    assert client.predict(api_name="/list_samples")["samples"][0]["image"].startswith("/api/samples/")
    plain.close()


@pytest.mark.exhaustive
def test_the_functions_describe_themselves(client: gradio_client.Client) -> None:
    """``view_api`` shows their arguments by name."""
    named = client.view_api(return_format="dict")["named_endpoints"]
    wanted = {"/config", "/change_settings", "/list_runs", "/list_samples", "/generate_sample", "/watch", "/start", "/stop"}
    assert wanted <= named.keys()
    assert [item["parameter_name"] for item in named["/change_settings"]["parameters"]] == ["changes", "revision"]


@pytest.mark.exhaustive
def test_runs_are_compared_changed_and_replayed(client: gradio_client.Client) -> None:
    """Programs can access what the Runs tab shows, and a wrong value is an error that names it."""
    run_id = client.predict(1, api_name="/list_runs")["runs"][0]["id"]

    def runs(action: str, **values: object) -> dict[str, object]:
        found: dict[str, object] = client.predict({"action": action, **values}, api_name="/runs")
        return found

    assert runs("change", id=run_id, changes={"name": "by a program"})["name"] == "by a program"
    assert client.predict(5, None, "by a program", "-best", api_name="/list_runs")["matches"] == 1
    curves = runs("curves", ids=[run_id], metrics=["loss", "speed"], axis="time", points=100)
    assert curves["runs"][0]["run_id"] == run_id  # type: ignore[index]
    assert runs("compare", ids=[run_id])["settings"] == []
    assert runs("replay", id=run_id)["run_id"] == run_id
    for wrong in (
        lambda: client.predict(5, None, "", "moon", api_name="/list_runs"),
        lambda: runs("change", id=run_id, changes={"x": 1}),
        lambda: runs("curves", ids=[run_id], axis="moon"),
        lambda: runs("fly"),
    ):
        with pytest.raises(gradio_client.exceptions.AppError):
            wrong()


@pytest.mark.exhaustive
def test_runs_are_queued_moved_and_removed(client: gradio_client.Client, tmp_path: Path) -> None:
    """One endpoint has all actions of the queue; a wrong action is an error with the valid ones."""
    document = to_document(small_config(tmp_path), packed=True)

    def queue(action: str, **values: object) -> dict[str, object]:
        found: dict[str, object] = client.predict({"action": action, **values}, api_name="/queue")
        return found

    assert queue("pause")["paused"] is True
    one, two = (queue("add", config=document, options={"name": name}, priority=1)["id"] for name in ("one", "two"))
    assert queue("move", id=two, place=1)["place"] == 1
    assert queue("edit", id=one, name="first", changes={"epochs": 3})["name"] == "first"
    assert [item["name"] for item in queue("list")["items"]] == ["two", "first"]  # type: ignore[attr-defined]
    for item_id in (one, two):
        queue("remove", id=item_id)
    assert queue("resume")["waiting"] == 0
    with pytest.raises(gradio_client.exceptions.AppError, match="duplicate"):
        queue("fly")


@pytest.mark.exhaustive
def test_notifications_are_listed_and_their_settings_changed(client: gradio_client.Client) -> None:
    """One endpoint has all actions; no answer contains a channel's address, and a wrong action is an error."""

    def notifications(action: str, **values: object) -> dict[str, object]:
        found: dict[str, object] = client.predict({"action": action, **values}, api_name="/notifications")
        return found

    assert isinstance(notifications("list", limit=5)["notifications"], list)
    kinds = notifications("settings")["kinds"]
    assert notifications("change_settings", changes={"kinds": ["failed"]})["kinds"] == ["failed"]
    assert notifications("change_settings", changes={"kinds": kinds})["kinds"] == kinds
    assert notifications("clear")["channels"] == []
    assert notifications("list")["notifications"] == []
    for wrong in ({"action": "fly"}, {"action": "test", "id": "none"}, {"action": "change_settings", "changes": {"kinds": 3}}):
        with pytest.raises(gradio_client.exceptions.AppError):
            client.predict(wrong, api_name="/notifications")
