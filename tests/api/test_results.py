"""Where the results of a run can be used, and which save is the result, over REST.

Covers ``service/take_away.py`` and ``service/results.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from onetrainer_gradio.config.enums import ModelFormat
from onetrainer_gradio.service.engines.conversion import Converted, LoraConverter
from onetrainer_gradio.service.results import Results
from tests.waiting import until

pytestmark = pytest.mark.slow


def test_a_result_comes_with_the_programs_that_read_it(panel) -> None:
    """The rehearsal's model has names of another type, so every program reports a problem; a sample is no model."""
    run_id = panel.finished(steps=2)
    files = panel.client.get(f"/api/runs/{run_id}/files").json()["files"]
    model = next(file for file in files if file["kind"] == "model")
    answer = panel.client.get(f"/api/runs/{run_id}/files/{model['id']}/programs").json()
    assert answer["path"] == model["written_to"]
    assert [program["key"] for program in answer["programs"]] == ["comfyui", "forge", "diffusers", "onetrainer"]
    assert all(program["reads"] is not bool(program["problem"]) for program in answer["programs"])
    assert panel.client.get(f"/api/runs/{run_id}/files/99999/programs").status_code == 404


def test_the_path_is_that_of_the_kept_file_once_another_run_replaced_the_output(panel) -> None:
    run_id = panel.finished(steps=2)
    run = panel.service.runs.get(run_id)
    model = next(file for file in run.files() if file["kind"] == "model")
    save_file({"other.weight": numpy.ones(3, numpy.float32)}, model["written_to"])
    answer = panel.client.get(f"/api/runs/{run_id}/files/{model['id']}/programs").json()
    assert answer["path"].startswith(str(run.folder))


@pytest.fixture
def saved(panel):
    """A panel with a finished rehearsal that has a save; ``panel.model`` and ``panel.save`` are its files."""
    panel.run_id = panel.training(steps=3, saved="weights of a save")
    run = panel.service.runs.get(panel.run_id)
    command = panel.service.save()
    until(lambda: run.answer(command) is not None)
    (Path(run.record.workspace) / "go").touch()
    panel.service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 10)
    files = {file["kind"]: file for file in run.files()}
    panel.model, panel.saved, panel.output = files["model"], files["save"], Path(files["model"]["written_to"])
    return panel


def choose(panel, file: dict, status: int = 200) -> dict:
    reply = panel.client.post(f"/api/runs/{panel.run_id}/result", json={"file": file["id"]})
    assert reply.status_code == status, reply.text
    return reply.json()


def test_a_save_becomes_the_result_and_back(saved) -> None:
    """The earlier result is kept next to it; undoing restores its bytes and deletes only the new file."""
    first, save = saved.output.read_bytes(), Path(saved.saved["written_to"]).read_bytes()
    assert first != save
    assert saved.client.get(f"/api/runs/{saved.run_id}/result").json()["file"] == saved.model["id"]
    answer = choose(saved, saved.saved)
    assert (answer["file"], answer["path"]) == (saved.saved["id"], str(saved.output))
    assert saved.output.read_bytes() == save
    earlier = Path(answer["changes"][0]["earlier"])
    assert (earlier.parent, earlier.read_bytes()) == (saved.output.parent, first)
    answer = saved.client.delete(f"/api/runs/{saved.run_id}/result").json()
    assert (answer["file"], answer["changes"]) == (saved.model["id"], [])
    assert saved.output.read_bytes() == first
    assert not earlier.exists()
    assert Path(saved.saved["written_to"]).read_bytes() == save
    assert saved.client.delete(f"/api/runs/{saved.run_id}/result").status_code == 409


def test_what_is_not_the_runs_is_never_replaced(saved) -> None:
    """Neither choosing a save nor undoing replaces it, and nothing changes."""
    saved.output.write_bytes(b"of someone else")
    assert "isn't the result of this run" in choose(saved, saved.saved, 409)["error"]
    assert saved.output.read_bytes() == b"of someone else"
    saved.output.unlink()
    answer = choose(saved, saved.saved)
    assert answer["changes"][0]["earlier"] == ""
    saved.output.write_bytes(b"changed since")
    assert saved.client.delete(f"/api/runs/{saved.run_id}/result").status_code == 409
    assert saved.output.read_bytes() == b"changed since"
    assert saved.client.get(f"/api/runs/{saved.run_id}/result").json()["file"] == ""


def test_what_cannot_be_a_result_is_rejected(saved) -> None:
    """This covers the final model, a missing file and a run that is training."""
    choose(saved, saved.model, 422)
    choose(saved, {"id": "99999"}, 404)
    (Path(saved.service.runs.get(saved.run_id).record.workspace) / "go").unlink()
    training = saved.training()
    reply = saved.client.post(f"/api/runs/{training}/result", json={"file": "1"})
    assert reply.status_code == 409
    saved.service.stop_training(now=True)


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_kill_in_between_leaves_one_result(saved, monkeypatch, exchanged: bool) -> None:
    """The new file counts if it was in place; the earlier one exists in both cases."""
    from onetrainer_gradio.service import results

    first, exchange = saved.output.read_bytes(), results._exchange

    class Killed(BaseException):
        pass

    def killed(new: Path, path: Path, earlier: str) -> None:
        if exchanged:
            exchange(new, path, earlier)
        raise Killed

    monkeypatch.setattr(results, "_exchange", killed)
    with pytest.raises(Killed):
        saved.service.results.choose(saved.run_id, saved.saved["id"])
    monkeypatch.undo()
    answer = saved.service.results.get(saved.run_id)
    assert answer["file"] == (saved.saved if exchanged else saved.model)["id"]
    if exchanged:
        saved.service.results.undo(saved.run_id)
    assert saved.output.read_bytes() == first


@pytest.mark.parametrize("killed", [False, True])
def test_a_request_during_an_exchange_moves_nothing(saved, monkeypatch, killed: bool) -> None:
    """Without hard links there is briefly no file at the path; after a kill, the earlier result is restored."""
    from onetrainer_gradio.service import results

    first, answer = saved.output.read_bytes(), []

    def exchange(new: Path, path: Path, earlier: str) -> None:
        path.rename(earlier)
        if killed:
            raise KeyboardInterrupt
        answer.append(saved.service.results.get(saved.run_id))
        new.rename(path)

    monkeypatch.setattr(results, "_exchange", exchange)
    if killed:
        with pytest.raises(KeyboardInterrupt):
            saved.service.results.choose(saved.run_id, saved.saved["id"])
        monkeypatch.undo()
        assert saved.service.results.get(saved.run_id)["file"] == saved.model["id"]
        assert saved.output.read_bytes() == first
        choose(saved, saved.saved)
    else:
        choose(saved, saved.saved)
        assert (answer[0]["file"], answer[0]["changes"]) == ("", [])
    (change,) = saved.service.results.get(saved.run_id)["changes"]
    assert Path(change["earlier"]).read_bytes() == first
    assert saved.service.results.undo(saved.run_id)["file"] == saved.model["id"]
    assert saved.output.read_bytes() == first


def test_a_kill_at_the_end_of_an_undo_leaves_nothing_to_undo(saved, monkeypatch) -> None:
    """The earlier result is restored, and a save can be chosen again."""
    first = saved.output.read_bytes()
    choose(saved, saved.saved)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("onetrainer_gradio.service.results._store", killed)
        with pytest.raises(KeyboardInterrupt):
            saved.service.results.undo(saved.run_id)
    answer = saved.client.get(f"/api/runs/{saved.run_id}/result").json()
    assert (answer["file"], answer["changes"]) == (saved.model["id"], [])
    assert saved.output.read_bytes() == first
    assert saved.client.delete(f"/api/runs/{saved.run_id}/result").status_code == 409
    assert choose(saved, saved.saved)["file"] == saved.saved["id"]


def test_a_full_disk_leaves_the_result_as_it_was(saved, monkeypatch) -> None:
    """No partial file is left next to it."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    first, around = saved.output.read_bytes(), sorted(saved.output.parent.iterdir())
    monkeypatch.setattr("onetrainer_gradio.service.results.shutil.copy2", full)
    reply = saved.client.post(f"/api/runs/{saved.run_id}/result", json={"file": saved.saved["id"]})
    assert reply.status_code == 507
    assert saved.output.read_bytes() == first
    assert sorted(saved.output.parent.iterdir()) == around


def test_a_backup_becomes_the_result_through_the_converter(panel, tmp_path: Path) -> None:
    """It has the format and data type of the run; missing parts are reported."""
    asked = []

    class Converter(LoraConverter):
        def convert(self, source: Path, name: str, model_format: ModelFormat, dtype: str = "") -> Converted:
            asked.append((source.name, model_format, dtype))
            path = tmp_path / "converted.safetensors"
            path.write_bytes(b"converted")
            return Converted("1", path, "STABLE_DIFFUSION_15", 2, "")

    panel.document |= {"backup_before_save": True, "ema": "CPU", "output_dtype": "FLOAT_16"}
    run_id = panel.finished(steps=2)
    run = panel.service.runs.get(run_id)
    files = {file["kind"]: file for file in run.files()}
    results = Results(panel.service.runs, Converter(tmp_path))
    answer = results.choose(run_id, files["backup"]["id"])
    assert asked == [(files["backup"]["name"], "KOHYA_LORA", "FLOAT_16")]
    assert Path(answer["path"]).read_bytes() == b"converted"
    assert "EMA" in answer["changes"][0]["warning"]
    assert results.undo(run_id)["file"] == files["model"]["id"]
