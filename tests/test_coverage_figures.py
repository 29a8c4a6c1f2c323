"""The coverage comparison names the modules whose coverage fell, and it fails below the limit."""

from __future__ import annotations

import json
from pathlib import Path

from tests.coverage_figures import FIGURES, fallen, figures_of, main


def report(**percent: float) -> dict:
    total = percent.pop("TOTAL")
    files = {f"{name}.py": {"summary": {"percent_covered": value}} for name, value in percent.items()}
    return {"totals": {"percent_covered": total}, "files": files}


def test_a_module_that_fell_is_named_with_both_figures() -> None:
    """Small changes, new modules and deleted modules are not reported."""
    before = figures_of(report(TOTAL=95, a=90, b=80, c=70))
    now = figures_of(report(TOTAL=93, a=89.5, b=70, d=1))
    assert fallen(before, now) == ["TOTAL: 95 % -> 93 %", "b.py: 80 % -> 70 %"]


def test_below_the_least_it_fails(tmp_path: Path, capsys) -> None:
    file = tmp_path / "coverage.json"
    for total, code in ((90, 0), (89.9, 1)):
        file.write_text(json.dumps(report(TOTAL=total)))
        assert main([str(file)]) == code
        assert f"total: {total:g} %" in capsys.readouterr().out


def test_committed_figures_name_modules() -> None:
    if FIGURES.is_file():
        assert "TOTAL" in json.loads(FIGURES.read_text("utf-8"))
