"""Compare measured branch coverage with the committed figures: ``python -m tests.coverage_figures coverage.json [--write]``.

It prints every module whose coverage fell and fails if the whole package is below ``LEAST``. ``--write`` updates the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).with_name("coverage_figures.json")
LEAST = 90.0
"""Percent of lines and branches of the package that tests have to reach."""
NOISE = 1.0
"""Points by which a module may differ from run to run: threads and processes end at different moments."""


def figures_of(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the percentage of each module, and of the package as ``TOTAL``, from the report of ``coverage json``."""
    found = {name.replace("\\", "/"): round(each["summary"]["percent_covered"], 1) for name, each in report["files"].items()}
    return {"TOTAL": round(report["totals"]["percent_covered"], 1), **dict(sorted(found.items()))}


def fallen(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    """Return a line for each module whose coverage fell; a deleted module has none."""
    return [
        f"{name}: {before[name]:g} % -> {now[name]:g} %" for name in before if name in now and now[name] < before[name] - NOISE
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print what fell. Return 1 if the package is below ``LEAST``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--write", action="store_true", help="renew the committed figures")
    parser.add_argument("--least", type=float, default=LEAST)
    given = parser.parse_args(arguments)
    now = figures_of(json.loads(given.report.read_text("utf-8")))
    before = json.loads(FIGURES.read_text("utf-8")) if FIGURES.is_file() else {}
    for line in fallen(before, now):
        print(f"fell: {line}")
    print(f"total: {now['TOTAL']:g} %, before {before.get('TOTAL', 0):g} %")
    if given.write:
        FIGURES.write_text(json.dumps(now, indent=0) + "\n", encoding="utf-8")
    return 1 if now["TOTAL"] < given.least else 0


if __name__ == "__main__":
    sys.exit(main())
