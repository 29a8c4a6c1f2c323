"""The layers of the package: which module imports which, and what stays out of the panel's process."""

import ast
import subprocess
import sys
import textwrap
from configparser import ConfigParser
from functools import cache
from pathlib import Path

import pytest

import onetrainer_gradio
from onetrainer_gradio.config.enums import ModelType
from tests.source import nodes

pytestmark = pytest.mark.slow

PACKAGE = Path(onetrainer_gradio.__file__).parent

# A layer imports only what is above it in this list; names in one row do not import each other.
LAYERS = (
    (
        "atomic_file",
        "errors",
        "events",
        "file_lock",
        "memory_kills",
        "panel_secrets",
        "process_birth",
        "tensor_files",
        "versions",
        "vocabulary",
    ),
    ("commands",),
    ("config",),
    ("engine",),
    ("backends",),
    ("service",),
    ("api", "ui"),
    ("cli",),
    ("terminal",),
    ("data_commands", "https", "queue_commands", "share"),
    ("compare", "server"),
    ("__main__", "deploy", "space"),
)
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}

# What a layer may not import although it is above.
CLOSED = {"api": {"engine", "backends"}, "ui": {"engine", "backends"}}

# The demo is data with a script that creates it; it is not one of the layers.
APART = {"demo", "presets"}

# Runs in OneTrainer's Python, where nothing else of this package is available.
WORKER = PACKAGE / "backends" / "onetrainer" / "worker"

# The only function there that catches any error, and its callers: a run and an import. They report the error.
TAKES_ANYTHING = "attempt"
BODIES = {"RunDriver.execute_run", "answer_facts", "serve"}

BROAD = {"Exception", "BaseException"}

HEAVY = {"torch", "diffusers", "transformers", "accelerate", "peft", "gradio"}


# Inside config and service, too, a package or module imports only from what is above it here.
INNER = {
    "config": (
        ("device", "digits", "enums", "model_files", "options", "patterns", "pattern_worker", "suggestions"),
        ("repository_files",),
        ("families",),
        ("machine", "optimizer_libraries", "optimizers"),
        ("declarations",),
        ("layers",),
        ("dataset",),
        ("files",),
        ("paths",),
        ("form",),
        ("final_model",),
        ("memory_estimate", "resume", "timesteps"),
        ("check",),
        ("image_parameters", "lora_programs", "new_lora"),
    ),
    "service": (
        ("host", "service_settings", "sqlite_file"),
        ("people",),
        ("datasets",),
        ("engines",),
        ("runs",),
        ("hub",),
        ("notifications",),
        ("processes",),
        ("settings",),
        ("generations", "new_lora", "results", "scheduler", "take_away"),
        ("queue",),
        ("usage",),
        ("quotas",),
        ("auto_resume",),
        ("trainer",),
    ),
}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0].removesuffix(".py") not in APART)


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Return every module that a file imports, anywhere in the file."""
    return tuple(_imports(path))


def _imports(path: Path):
    package = ("onetrainer_gradio", *path.relative_to(PACKAGE).parent.parts)
    for node in nodes(path):
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
    """Imports between layers go in one direction."""
    for path in modules():
        layer = layer_of(path)
        if layer == "__init__":
            continue
        assert layer in RANK, f"{layer} is no layer of the house: give it a place in LAYERS"
        others = {(name, other) for name in imports(path) if (other := inner(name)) in RANK and other != layer}
        for name, other in others:
            assert RANK[other] < RANK[layer], f"{path} imports {name}: {other} does not stand above {layer}"
            assert other not in CLOSED.get(layer, set()), f"{path} imports {name}: {layer} may not know {other}"


def dotted(path: Path) -> str:
    """Return the name that a module is imported by."""
    return ".".join(("onetrainer_gradio", *path.relative_to(PACKAGE).with_suffix("").parts))


@pytest.mark.parametrize("layer", INNER)
def test_a_package_inside_a_layer_imports_only_from_those_above_it(layer):
    """Imports inside config and service go in one direction too; each package and module there has a place in the list."""
    rank = {name: number for number, row in enumerate(INNER[layer]) for name in row}
    paths = [path for path in modules() if layer_of(path) == layer]
    for path in paths:
        own = path.relative_to(PACKAGE / layer).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        assert own in rank, f"{path}: give {own} a place in INNER"
        others = {name.split(".")[2] for name in imports(path) if name.startswith(f"onetrainer_gradio.{layer}.")}
        for other in (others & rank.keys()) - {own}:
            assert rank[other] < rank[own], f"{path} imports {other}, which does not stand above {own}"


def test_no_modules_import_each_other_in_a_circle():
    """This includes cycles over several modules and imports inside functions."""
    known = {dotted(path): path for path in modules()}
    graph = {name: {other for other in imports(path) if other in known} - {name} for name, path in known.items()}
    while free := {name for name, others in graph.items() if not others & graph.keys()}:
        graph = {name: others for name, others in graph.items() if name not in free}
    assert not graph, sorted(graph)


def test_torch_stays_in_the_engine_and_gradio_in_the_page():
    """config, service and api import no heavy library, not even inside a function."""
    allowed = {
        "engine": HEAVY - {"gradio"},
        "backends": HEAVY - {"gradio"},
        "ui": {"gradio"},
        "server": {"gradio"},
        "share": {"gradio"},
    }
    for path in modules():
        named = {name.split(".")[0] for name in imports(path)} & HEAVY
        assert named <= allowed.get(layer_of(path), set()), path


@pytest.mark.exhaustive
@pytest.mark.parametrize("module", ["config", "service", "api.app"])
def test_importing_a_light_layer_loads_no_heavy_library(module):
    """Indirect imports count too: the panel's process doesn't load torch."""
    code = f"import sys, onetrainer_gradio.{module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def names_in(node: ast.AST) -> set[str]:
    """Return the names and the last parts of dotted names in an expression."""
    parts = list(ast.walk(node))
    return {part.id for part in parts if isinstance(part, ast.Name)} | {
        part.attr for part in parts if isinstance(part, ast.Attribute)
    }


def takes_anything(node: ast.AST) -> bool:
    """Return whether a handler catches every error without raising it again, or is a ``contextlib.suppress`` for every error."""
    if isinstance(node, ast.ExceptHandler):
        reraised = any(isinstance(inside, ast.Raise) and inside.exc is None for inside in ast.walk(node))
        return not reraised and (node.type is None or bool(names_in(node.type) & BROAD))
    if isinstance(node, ast.Call) and "suppress" in names_in(node.func):
        return any(names_in(argument) & BROAD for argument in node.args)
    return False


def test_broad_excepts_stand_in_three_places_only():
    """Only the bodies of a run, here and in OneTrainer's Python, and the API's last
    handler catch every error; all else names what it handles.
    """
    broad = [str(path.relative_to(PACKAGE)) for path in modules() for node in nodes(path) if takes_anything(node)]
    assert set(broad) <= {"backends/__init__.py", "backends/onetrainer/worker/errors.py", "api/failures.py"}, broad
    assert len(broad) <= 3, broad


class Breadth(ast.NodeVisitor):
    """Find where a script catches every error: openly, through ``attempt``, or in disguise.

    The names of the broad classes may appear in annotations, in isinstance and as base classes. Anywhere else they, like
    ``attempt`` as a value, could be a broad except under another name. The same holds for an ``__exit__`` that returns something
    and a ``finally`` that leaves its block.
    """

    def __init__(self, source: str) -> None:
        self.place: list[str] = []
        self.handlers: list[str] = []
        self.bodies: list[str] = []
        self.disguised: list[str] = []
        self.visit(ast.parse(source))

    @property
    def here(self) -> str:
        return ".".join(self.place)

    def disguise(self, node: ast.AST, what: str) -> None:
        self.disguised.append(f"line {node.lineno}, {self.here or 'module'}: {what}")

    def inside(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.place.append(node.name)
        for part in node.body:
            self.visit(part)
        self.place.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.inside(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(part)
        if node.name in ("__exit__", "__aexit__"):
            returned = [part for part in ast.walk(node) if isinstance(part, ast.Return) and part.value is not None]
            for part in returned:
                self.disguise(part, f"{node.name} returns something")
        self.inside(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Try(self, node: ast.Try) -> None:
        for part in node.finalbody:
            for leaving in ast.walk(part):
                if isinstance(leaving, (ast.Return, ast.Break, ast.Continue)):
                    self.disguise(leaving, "a finally leaves")
        self.generic_visit(node)

    visit_TryStar = visit_Try

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is None or names_in(node.type) & BROAD:
            self.handlers.append(self.here)
        for part in node.body:
            self.visit(part)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if called == TAKES_ANYTHING:
            self.bodies.append(self.here)
        else:
            self.visit(node.func)
        for part in (*(node.args[:1] if called == "isinstance" else node.args), *node.keywords):
            self.visit(part)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in BROAD | {TAKES_ANYTHING}:
            self.disguise(node, node.id)

    def visit_alias(self, node: ast.alias) -> None:
        if node.name in BROAD:
            self.disguise(node, node.name)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in BROAD:
            self.disguise(node, node.attr)
        self.generic_visit(node)


def test_the_bridge_takes_any_error_for_a_run_and_an_import_alone():
    """The bridge has one broad except, in one function, called by the bodies listed here."""
    found = [Breadth(path.read_text(encoding="utf-8")) for path in sorted(WORKER.glob("*.py"))]
    assert [place for breadth in found for place in breadth.handlers] == [TAKES_ANYTHING]
    assert {place for breadth in found for place in breadth.bodies} == BODIES
    assert [line for breadth in found for line in breadth.disguised] == []


@pytest.mark.parametrize(
    "disguise",
    [
        "with contextlib.suppress(Exception):\n    act()",
        "with suppress(OSError, BaseException):\n    act()",
        "with suppress(builtins.Exception):\n    act()",
        "ANY = (Exception,)\ntry:\n    act()\nexcept ANY:\n    pass",
        "quietly = attempt",
        "from builtins import Exception as Trouble",
        "def quietly(action, do=attempt):\n    return do(action)",
        "class Quiet:\n    def __exit__(self, *error):\n        return True",
        "def quietly():\n    try:\n        act()\n    finally:\n        return",
        "while True:\n    try:\n        act()\n    finally:\n        break",
    ],
)
def test_a_broad_except_in_disguise_is_found(disguise):
    """The rule above also finds broad excepts that are written differently."""
    assert Breadth(disguise).disguised


@pytest.mark.parametrize(
    "handler", ["except:", "except Exception:", "except (OSError, BaseException) as error:", "except builtins.Exception:"]
)
def test_a_second_broad_except_is_found(handler):
    """A broad except is found bare, in a tuple, by its full name, and if it raises again on only one path."""
    body = f"try:\n    act()\n{handler}\n    if much:\n        raise"
    source = f"class RunDriver:\n    def settle(self):\n{textwrap.indent(body, ' ' * 8)}\n"
    assert Breadth(source).handlers == ["RunDriver.settle"]


def test_what_names_a_broad_class_without_taking_it_is_no_broad_except():
    """Annotations, isinstance and error classes don't count."""
    source = "class Told(Exception):\n    seen: Exception | None = None\n\ndef ask(error: BaseException) -> Exception | None:\n"
    breadth = Breadth(f"{source}    return error if isinstance(error, Exception) else None\n")
    assert (breadth.handlers, breadth.bodies, breadth.disguised) == ([], [], [])


def test_the_bridge_script_needs_only_the_standard_library_and_onetrainer():
    """Another interpreter runs it by its path."""
    for path in WORKER.glob("*.py"):
        outside = {name for name in imports(path) if not name.startswith("onetrainer_gradio.backends.onetrainer.worker")}
        assert {name.split(".")[0] for name in outside} <= sys.stdlib_module_names | {"modules"}, path
        absolute = [node for node in nodes(path) if isinstance(node, ast.ImportFrom) and not node.level]
        assert not any((node.module or "").startswith("onetrainer_gradio") for node in absolute), path


def test_no_coroutine_ignores_a_cancellation():
    """Python 3.11's ``asyncio.wait_for`` ignores one that comes together with a result; ``asyncio.timeout`` doesn't."""
    for path in modules():
        used = [
            node.lineno for node in nodes(path) if isinstance(node, ast.Attribute) and ast.unparse(node) == "asyncio.wait_for"
        ]
        assert not used, f"{path}: lines {used}"


def test_the_wheel_has_every_package():
    """A new folder that isn't listed in setup.cfg would be missing from the installed package."""
    settings = ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg", encoding="utf-8")
    listed = set(settings["options"]["packages"].split())
    folders = {".".join(("onetrainer_gradio", *path.parent.relative_to(PACKAGE).parts)) for path in PACKAGE.rglob("*.py")}
    assert folders <= listed
    assert listed - folders == {"onetrainer_gradio.presets"}


def test_no_module_is_a_drawer_for_everything():
    """Modules are named after what they contain."""
    assert not {path.stem for path in modules()} & {"utils", "util", "helpers", "helper", "managers", "manager", "common", "misc"}


def test_the_changelog_begins_with_the_version_in_the_code():
    """The version in the code is the top entry of the changelog."""
    changelog = (PACKAGE.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    first = next(line for line in changelog.splitlines() if line.startswith("## "))
    assert first.split()[1] == onetrainer_gradio.__version__


def test_only_families_and_their_keys_know_a_model_type():
    """The rest of the engine uses the family's facts and specification and never names a model type."""
    types = {member.value for member in ModelType}
    for path in modules():
        if layer_of(path) != "engine" or {"families", "keys"} & set(path.parts):
            continue
        constants = {node.value for node in nodes(path) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        attributes = {node.attr for node in nodes(path) if isinstance(node, ast.Attribute)}
        assert not (constants | attributes) & types, path
