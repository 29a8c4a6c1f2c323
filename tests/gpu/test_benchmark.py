"""The GPU benchmark measures what it prints, and the GPU tests report why they are skipped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import benchmark
from tests.gpu.conftest import no_gpu

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

ROOT = Path(__file__).parents[2]


def test_the_benchmark_measures_each_run(device, capsys):
    """Step time, peak memory and losses, as a table and as JSON."""
    found = benchmark(device, "sd15" if device == "cpu" else "demo", steps=3, batch=1, methods=("LORA",), dtypes=("FLOAT_32",))
    (row,) = found["runs"]
    assert row["step_ms"] > 0
    assert row["peak_mib"] > 0
    assert 0 < row["load_s"] < row["total_s"]
    assert "LORA" in capsys.readouterr().out
    assert json.loads(json.dumps(found))["machine"]["torch"]


@pytest.mark.parametrize("model", ["sdxl", "flux"])
def test_the_other_models_are_measured_too(device, model, capsys):
    """On a CPU, tiny models rehearse what a GPU runs at full size."""
    if device != "cpu":
        pytest.skip("at full size, the benchmark itself is the test")
    found = benchmark(device, model, steps=3, batch=1, methods=("LORA",), dtypes=("FLOAT_32",))
    (row,) = found["runs"]
    assert row["model"] == model
    assert row["step_ms"] > 0
    assert row["estimate_mib"] > 0
    assert model in capsys.readouterr().out


def test_on_a_machine_without_a_gpu_the_tests_are_there_and_say_why_they_are_skipped():
    """``pytest -m gpu`` collects them all."""
    if not no_gpu():
        pytest.skip("this machine has a GPU")
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "tests/gpu/test_placing.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert "no GPU: torch" in done.stdout
    assert " skipped" in done.stdout
    assert "passed" not in done.stdout
