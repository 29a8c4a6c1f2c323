"""The shape of the house: who imports whom, and what stays out of the panel's process."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import onetrainer_gradio

PACKAGE = Path(onetrainer_gradio.__file__).parent

# A layer imports only what stands above it in this list; names in one row do not import each other.
LAYERS = (
    ("errors", "events", "memory_kills"),
    ("commands",),
    ("config",),
    ("engine",),
    ("backends",),
    ("service",),
    ("api", "ui"),
    ("cli",),
    ("terminal", "compare"),
    ("server",),
)
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}

# What a layer may not import although it stands above.
CLOSED = {"api": {"engine", "backends"}, "ui": {"engine", "backends"}}

# The demo is data with a script that makes it; it stands beside the house.
APART = {"demo", "presets"}

# Runs in OneTrainer's Python, where nothing of this package is.
BRIDGE_SCRIPT = "backends/onetrainer/bridge_worker.py"

HEAVY = {"torch", "diffusers", "transformers", "accelerate", "peft", "gradio"}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0].removesuffix(".py") not in APART)


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path):
    """Every module that a file imports, wherever in the file."""
    package = ("onetrainer_gradio", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield ".".join((*base, node.module or "")).rstrip(".")
            yield from (".".join((*base, node.module or "", alias.name)) for alias in node.names)


def inner(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "onetrainer_gradio" and len(parts) > 1 else None


def test_a_module_imports_only_from_layers_above_its_own():
    """One way through the house."""
    for path in modules():
        layer = layer_of(path)
        if layer == "__init__":
            continue
        assert layer in RANK, f"{layer} is no layer of the house: give it a place in LAYERS"
        others = {(name, other) for name in imports(path) if (other := inner(name)) in RANK and other != layer}
        for name, other in others:
            assert RANK[other] < RANK[layer], f"{path} imports {name}: {other} does not stand above {layer}"
            assert other not in CLOSED.get(layer, set()), f"{path} imports {name}: {layer} may not know {other}"


def test_torch_stays_in_the_engine_and_gradio_in_the_page():
    """config, service and api name no heavy library, not even inside a function."""
    allowed = {"engine": HEAVY - {"gradio"}, "backends": HEAVY - {"gradio"}, "ui": {"gradio"}, "server": {"gradio"}}
    for path in modules():
        named = {name.split(".")[0] for name in imports(path)} & HEAVY
        assert named <= allowed.get(layer_of(path), set()), path


@pytest.mark.parametrize("module", ["config", "service", "api.app"])
def test_importing_a_light_layer_loads_no_heavy_library(module):
    """What is imported on the way counts too: the panel's process holds no torch."""
    code = f"import sys, onetrainer_gradio.{module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_broad_excepts_stand_in_three_places_only():
    """The bodies of a run here and in OneTrainer's Python, and the API's last resort; everything else names what it handles."""
    broad = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                names = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {"bare"}
                reraised = any(isinstance(inside, ast.Raise) and inside.exc is None for inside in ast.walk(node))
                if names & {"bare", "Exception", "BaseException"} and not reraised:
                    broad.append(str(path.relative_to(PACKAGE)))
    assert set(broad) <= {"backends/__init__.py", BRIDGE_SCRIPT, "api/failures.py", "api/errors.py"}, broad
    assert len(broad) <= 3, broad


def test_the_bridge_script_needs_only_the_standard_library_and_onetrainer():
    """It is handed to another interpreter by its path."""
    named = {name.split(".")[0] for name in imports(PACKAGE / BRIDGE_SCRIPT)}
    assert named <= sys.stdlib_module_names | {"modules"}


def test_no_module_is_a_drawer_for_everything():
    """Modules are named after the thing inside."""
    assert not {path.stem for path in modules()} & {"utils", "util", "helpers", "helper", "managers", "manager", "common", "misc"}


def test_the_changelog_begins_with_the_version_in_the_code():
    """Version in code = top of the changelog."""
    changelog = (PACKAGE.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    first = next(line for line in changelog.splitlines() if line.startswith("## "))
    assert first.split()[1] == onetrainer_gradio.__version__
