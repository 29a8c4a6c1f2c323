"""A postponed module is imported when it is used, and never before (engine/lazy_module.py)."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from onetrainer_gradio.engine.lazy_module import LazyModule, postpone


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a package with a module and a submodule that can be imported."""
    name = "postponed_for_a_test"
    inner = tmp_path / name / "inner"
    inner.mkdir(parents=True)
    (tmp_path / name / "__init__.py").write_text("")
    (inner / "__init__.py").write_text("value = 3\n")
    (inner / "deeper.py").write_text("value = 4\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[module]


def test_the_first_use_imports_it(package: str) -> None:
    postpone(f"{package}.inner")
    module = importlib.import_module(f"{package}.inner")
    assert isinstance(module, LazyModule)
    assert module.value == 3
    assert not isinstance(sys.modules[f"{package}.inner"], LazyModule)


def test_an_import_of_a_submodule_imports_it(package: str) -> None:
    postpone(f"{package}.inner")
    assert importlib.import_module(f"{package}.inner.deeper").value == 4
    assert sys.modules[f"{package}.inner"].value == 3


def test_a_module_that_is_imported_or_missing_stays_as_it_is(package: str) -> None:
    there = importlib.import_module(f"{package}.inner")
    for name in (f"{package}.inner", f"{package}.missing", "no_such_package.inner"):
        postpone(name)
    assert sys.modules[f"{package}.inner"] is there
    assert f"{package}.missing" not in sys.modules
    assert "no_such_package.inner" not in sys.modules
