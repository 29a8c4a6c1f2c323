"""The files of the page."""

from __future__ import annotations

import re
import subprocess
import sys
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from onetrainer_gradio.ui.assets import asset_path, assets, assets_route
from onetrainer_gradio.ui.head import head

pytestmark = pytest.mark.slow


def client() -> TestClient:
    return TestClient(Starlette(routes=[assets_route()]))


def test_a_page_from_before_an_update_still_gets_its_parts() -> None:
    """Under an old version, the current file is served but not cached."""
    reply = client().get("/panel/0123456789ab/gallery.js")
    assert reply.content == assets()["gallery.js"].body
    assert reply.headers["cache-control"] == "no-cache"


def test_only_files_of_the_page_are_served() -> None:
    """No path leads out of the folder."""
    for path in ("/panel/x/nothing.js", "/panel/x/..%2fpage.py", "/panel/x/../page.py"):
        assert client().get(path).status_code == 404


def test_without_gzip_the_plain_file_is_sent() -> None:
    """A client without gzip support gets the plain bytes."""
    reply = client().get(f"/{asset_path('panel.css')}", headers={"Accept-Encoding": "identity"})
    assert reply.content == assets()["panel.css"].body
    assert "content-encoding" not in reply.headers


def test_scripts_write_no_markup_and_ask_nobody_else() -> None:
    """External text is inserted as text, and no script, style or font comes from another machine."""
    for name, asset in assets().items():
        text = asset.body.decode()
        if name.startswith("vendor/"):
            text = re.sub(r"^/\*!.*\*/\n", "", text)  # the author's line
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), name
        outside = [address for address in re.findall(r"https?://[^\s'\"`)]+", text) if "www.w3.org" not in address]
        assert outside == [], name


def test_the_site_has_its_own_icon() -> None:
    """It is embedded in the page, so it needs no request."""
    (address,) = re.findall(r'<link rel="icon" href="data:image/svg\+xml,([^"]+)">', head())
    assert ElementTree.fromstring(unquote(address)).tag.endswith("svg")


def test_each_file_is_read_once() -> None:
    """The panel reads more than a hundred files before its page is there."""
    code = """
import sys
from collections import Counter
from onetrainer_gradio.ui.assets import _FOLDER, assets
opened = Counter()
sys.addaudithook(lambda event, words: opened.update([str(words[0])]) if event == "open" else None)
assets()
ours = {path: count for path, count in opened.items() if path.startswith(str(_FOLDER))}
print(len(ours) > 100, set(ours.values()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["True", "{1}"]
