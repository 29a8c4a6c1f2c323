"""Scripts that are served together, and the imports between all scripts."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path, PurePath

import pytest

from onetrainer_gradio.ui.assets import BUNDLES, FIRST, assets, scripts
from onetrainer_gradio.ui.bundle import BundleError, bundled, in_order, module
from onetrainer_gradio.ui.tabs import TABS

SOURCES = {
    "base.js": "export const one = 1;\nexport function two() {\n  return 2;\n}\n",
    "main.js": "import { one, two as second } from './base.js';\n\nimport('./late.js');\nimport('./alone.js');\n",
    "late.js": "import { two } from './base.js';\n\nexport class Late {}\nconsole.log(two());\n",
    "alone.js": "import { two } from './base.js';\nimport { Late } from './late.js';\nimport { tool } from './tool.js';\n",
    "tool.js": "export const tool = 1;\n",
}


def everything() -> dict:
    return {name: module(name, text) for name, text in scripts().items()}


@pytest.mark.slow
def test_no_script_imports_itself_by_a_detour():
    """This covers static and dynamic imports: shared code is a separate module."""
    modules = everything()
    later = {
        name: module(name, each.text + "".join(f"\nimport {{ x }} from './{other}';\n" for other in each.later))
        for name, each in modules.items()
    }
    assert set(in_order(later, later)) == set(modules)


@pytest.mark.slow
def test_every_name_that_is_imported_is_exported():
    modules = everything()
    for name, each in modules.items():
        for line in each.text.split(" from './")[:-1]:
            names = line.rpartition("import {")[2].rstrip("} \n").split(",")
            source = each.text.split(line + " from './", 1)[1].split("'")[0]
            wanted = {one.split(" as ")[0].strip() for one in names if one.strip()}
            assert wanted <= set(modules[source].exports), f"{name} from {source}"


@pytest.mark.slow
def test_every_script_is_reached_from_the_first():
    """main.js loads the scripts of the tabs by name."""
    modules = everything()
    reached, waiting = set(), ["main.js", *(f"{place}.js" for tab in TABS for place in tab.places)]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [*modules[name].imports, *modules[name].later]
    assert reached == set(modules)


@pytest.mark.slow
def test_a_widget_in_a_bundle_is_loaded_from_it():
    """main.js imports it by name; a second copy would open a second connection."""
    widgets = {f"{place}.js" for tab in TABS for place in tab.places} | {"topbar.js"}
    bundles = {name for roots in BUNDLES.values() for name in in_order(everything(), roots)}
    assert widgets & bundles <= {*everything()["main.js"].later}


@pytest.mark.slow
def test_what_several_tabs_need_comes_with_the_first_view():
    """Otherwise a dialog of one tab would load the scripts of another."""
    for name, asset in assets().items():
        if name.endswith(".js") and not name.startswith("vendor/"):
            at_once = re.findall(r"^import .* from '\./([\w-]+\.js)';$", asset.body.decode(), re.MULTILINE)
            assert not {*at_once} & {*BUNDLES} - {FIRST}, name


def test_each_module_is_in_one_file_only():
    """Two copies of a module would be two connections, or two sets of settings."""
    served = bundled(SOURCES, {"first.js": ["main.js"], "second.js": ["late.js"]})
    assert set(served) == {"first.js", "second.js", "alone.js", "tool.js"}
    assert served["first.js"].count("function two()") == 1
    assert "function two()" not in served["second.js"]
    assert served["second.js"].startswith("import { $base } from './first.js';\n")
    assert "const { two } = $base;" in served["second.js"]


def test_comments_are_not_sent():
    text = "// about\n\n/** What it is. */\nexport const a = 1; // kept\n/**\n * More.\n */\nexport const b = '// text';\n"
    served = bundled({"main.js": text}, {"first.js": ["main.js"]})["first.js"]
    assert "\n\nconst a = 1; // kept\nconst b = '// text';\nreturn { a, b };" in served
    assert "about" not in served
    assert "*" not in served


def test_imports_lead_to_where_a_module_is():
    served = bundled(SOURCES, {"first.js": ["main.js"], "second.js": ["late.js"]})
    assert "const { one, two: second } = $base;" in served["first.js"]
    assert "import('./second.js').then((all) => all.$late);" in served["first.js"]
    assert "import('./alone.js');" in served["first.js"]
    assert served["alone.js"] == (
        "import { $base } from './first.js';\nimport { $late } from './second.js';\n"
        "const { two } = $base;\nconst { Late } = $late;\nimport { tool } from './tool.js';\n"
    )
    alone = bundled(SOURCES, {"first.js": ["main.js", "late.js"]})
    assert "Promise.resolve($late);" in alone["first.js"]


@pytest.mark.parametrize(
    "text",
    ["export let counter = 0;\n", "export default 1;\n", "import * as all from './tool.js';\n", "await thing();\n"],
)
def test_what_a_bundle_cannot_hold_is_rejected(text):
    with pytest.raises(BundleError, match=r"main\.js can't be part of first\.js"):
        bundled({**SOURCES, "main.js": text}, {"first.js": ["main.js"]})


def test_a_circle_is_named():
    sources = {"a.js": "import { b } from './b.js';\n", "b.js": "import { a } from './a.js';\n"}
    with pytest.raises(BundleError, match=r"a\.js → b\.js → a\.js"):
        bundled(sources, {"first.js": ["a.js"]})


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="node checks the syntax")
def test_what_is_served_is_javascript(tmp_path: Path):
    assert {FIRST, *BUNDLES} <= set(assets())
    for name, asset in assets().items():
        if name.endswith(".js"):
            script = tmp_path / f"{PurePath(name).name}.mjs"
            script.write_bytes(asset.body)
            subprocess.run(["node", "--check", str(script)], check=True, timeout=60)
