"""Runs of the built-in engine are compared with recorded runs of OneTrainer with the same tiny model, images and settings."""

from __future__ import annotations

import gc
import gzip
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.engine import unsupported
from onetrainer_gradio.engine.families import FAMILIES
from tests.core import core, exhaustive_unless, left
from tests.engine.recording import FakeControl, Recorder
from tests.golden.cases import Case, built_in, cases, main_kinds, write_data

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
DIFFERENT: Mapping[str, str] = {}
"""Cases that differ on purpose, with the reason that docs/fidelity.md gives."""
ADAPTIVE = ("PRODIGY", "DADAPT")
"""Optimizers that find the learning rate: OneTrainer's chart is one update behind where they change it during the update."""
LOSS = 1e-6
CALL = 2e-5
NORM = 1e-5
WEIGHTS = 1e-5


@cache
def rows() -> dict[str, Any]:
    """Return the recorded rows by case."""
    found: dict[str, Any] = {}
    for path in sorted((HERE / "rows").glob("*.json")):
        found |= {f"{path.stem}/{name}": row for name, row in json.loads(path.read_text(encoding="utf-8")).items()}
    return found


def packed(name: str) -> dict[str, Any]:
    """Return the content of a compressed list: ``adapters`` (shapes) or ``keys`` (tensors of files), by hash."""
    content: dict[str, Any] = json.loads(gzip.decompress((HERE / f"{name}.json.gz").read_bytes()))
    return content


@cache
def chosen() -> frozenset[str]:
    """Return the cases that every change is tested with: each family, each method, each adapter type."""
    trained = [case for case in cases() if built_in(case.model_type) and "error" not in rows().get(case.id, {"error": ""})]
    return frozenset(case.id for case in core(trained, main_kinds, lambda case: case.model_type))


def expected(case: Case) -> Any:
    marks: list[Any] = exhaustive_unless(case.id in chosen() or case.id not in rows())
    marks += [pytest.mark.xfail(strict=True, reason=DIFFERENT[case.id])] if case.id in DIFFERENT else []
    return pytest.param(case, id=case.id, marks=marks)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tests.models.tiny import write_model

    return cache(lambda model_type: write_model(model_type, tmp_path_factory.mktemp(model_type) / "model"))


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Freeze what the libraries leave: each run ends with a garbage collection, which would walk through it."""
    for module in {*FAMILIES.values()}:
        import_module(module)
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def refused(case: Case) -> list[str]:
    """Return what the built-in engine doesn't support of a case."""
    config, _ = from_document(case.document(Path("model"), Path("images"), Path("place")))
    return [finding.message for finding in unsupported.findings(config) if finding.severity == "error"]


def test_every_supported_case_has_rows():
    """A case that the built-in engine trains is recorded; OneTrainer's own errors and crashes are recorded as such."""
    missing = [case.id for case in cases() if case.id not in rows() and not refused(case)]
    assert not missing
    assert set(rows()) <= {case.id for case in cases()}, "rows of a case that isn't listed"


PARAMETERS = [expected(case) for case in cases()]


@pytest.mark.exhaustive
def test_the_core_has_every_family_method_and_adapter_type():
    """They are in a case that every change is tested with; the other settings run each night."""
    tested = [case for (case,) in left(PARAMETERS) if case.id in rows() and "error" not in rows()[case.id]]
    assert [case.id for case in tested if refused(case)] == [], "they would be skipped"
    trained = [case for case in cases() if "error" not in rows().get(case.id, {"error": ""}) and not refused(case)]
    assert frozenset().union(*map(main_kinds, tested)) == frozenset().union(*map(main_kinds, trained))
    assert len(tested) < len(trained) / 10


@pytest.mark.parametrize("case", PARAMETERS)
def test_run_equals_the_recorded_one(case, images, model, tmp_path):
    """Inputs of each denoiser call, losses, gradient norms, learning rates and the written tensors equal OneTrainer's."""
    if messages := refused(case):
        pytest.skip(f"refused: {' '.join(messages)}")
    row = rows().get(case.id)
    assert row is not None, "this case isn't recorded"
    if "error" in row:
        pytest.skip(f"OneTrainer failed: {row['error']}")
    ours = repeat(case, model(case.model_type), images, tmp_path, row)
    compare(ours, row)


def repeat(case: Case, model: Path, images: Path, place: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """Run a case with the built-in engine and return its row."""
    from safetensors.torch import save_file

    from onetrainer_gradio import engine
    from tests.golden.digests import listen
    from tests.golden.runs import describe_file
    from tests.models.weights import adapter

    initial = None
    if "adapter" in row:
        initial = place / "initial.safetensors"
        save_file(adapter(packed("adapters")[row["adapter"]]), initial)
    document = case.document(model, images, place, initial)
    config, _ = from_document(document)
    recorder, calls = Recorder(), []
    with listen(calls.append):
        engine.run(config, recorder, FakeControl(), RunOptions(max_steps=case.steps))
    described, names = describe_file(Path(document["output_model_destination"]))
    return {
        "steps": [[step.loss, list(step.learning_rates)] for step in recorder.steps],
        "norms": [step.grad_norm for step in recorder.steps],
        "calls": calls,
        "file": described,
        "names": names,
        "adapts": config.optimizer.optimizer.startswith(ADAPTIVE),
    }


def whole_norms(recorded: Sequence[float], steps: int) -> list[float]:
    """Return one norm for each step: with a fused back pass, OneTrainer clips each parameter alone, so there are more."""
    parameters, rest = divmod(len(recorded), steps)
    assert not rest
    return [math.hypot(*recorded[at : at + parameters]) for at in range(0, len(recorded), parameters)]


def compare(ours: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Fail at the first difference, in the order in which things depend on each other."""
    assert len(ours["calls"]) == len(row["calls"])
    for number, (call, theirs) in enumerate(zip(ours["calls"], row["calls"], strict=True)):
        where = f"call {number}"
        assert call["grad"] == theirs["grad"], where
        assert call["in"].keys() == theirs["in"].keys(), where
        for name, figures in theirs["in"].items():
            assert call["in"][name] == pytest.approx(figures, abs=CALL, rel=CALL), f"{where}: {name}"
        assert call["out"] == pytest.approx(theirs["out"], abs=CALL, rel=CALL), where
    losses = [loss for loss, _ in ours["steps"]]
    assert losses == pytest.approx([loss for loss, _ in row["steps"]], abs=LOSS, rel=LOSS)
    if not ours["adapts"] and row["steps"][0][1]:
        assert [rates for _, rates in ours["steps"]] == [pytest.approx(rates, rel=1e-6) for _, rates in row["steps"]]
    if row["norms"]:
        norms = [norm for norm in ours["norms"] if norm is not None]
        assert norms == pytest.approx(whole_norms(row["norms"], len(norms)), abs=NORM, rel=NORM)
    if ours["file"]["keys"] != row["file"]["keys"]:
        theirs, names = set(packed("keys")[row["file"]["keys"]]), set(ours["names"])
        assert sorted(names - theirs) == sorted(theirs - names), "tensors that only one of the files has"
    assert ours["file"]["weights"] == pytest.approx(row["file"]["weights"], abs=WEIGHTS, rel=WEIGHTS)
