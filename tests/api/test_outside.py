"""With allowed folders, no response reveals what is outside of them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.config.declarations.walk import leaves
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.service import ServiceSettings, TrainerService
from onetrainer_gradio.service.host.access import Access, AccessSettings
from tests.api.conftest import ADDRESS
from tests.fakes.configs import small_config
from tests.fakes.rehearsal import png

pytestmark = pytest.mark.slow

_PATH = re.compile(r"[^\s\"',()\\\\]*qq[^\s\"',()\\\\]*")


@dataclass
class Place:
    """A panel with one allowed folder, and files outside of it."""

    client: TestClient
    document: dict[str, Any]
    allowed: Path
    outside: Path

    def answers(self, ask: Callable[[str], str], *, few: bool = False) -> list[str]:
        """Return the answers of ``ask`` for existing and missing targets,
        without the paths, whose parts all begin with ``qq``.
        """
        return [_PATH.sub("PATH", ask(path)) for path in (self.paths()[:8:2] if few else self.paths())]

    def paths(self) -> list[str]:
        direct = [str(self.outside / name) for name in ("qqfolder", "qqnothing", "qqlist.json", "qqmodel.txt", "qqclosed/qqx")]
        first = [direct[0], "qqlink/qqlist.json", direct[1], "qqlink/qqmodel.txt", "qqlink/qqfolder", "~qqnobody/qqx"]
        first += ["qqlink/qqnothing", "~root/qqx"]
        # first the most revealing ones: a folder, nothing, both through a link, a file
        return [*first, *direct[2:], "../qqoutside/qqnothing", "../qqoutside/qqfolder", "~/qqx"]

    def ask(self, method: str, address: str, body: Any = None) -> str:
        reply = self.client.request(method, address, json=body)
        assert reply.status_code < 500, reply.text
        return f"{reply.status_code} {reply.text}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    top = tmp_path_factory.mktemp("top")
    allowed, outside, data = top / "allowed", top / "qqoutside", top / "data"
    for folder in (allowed, outside / "qqfolder" / "vae", outside / "qqclosed", data):
        folder.mkdir(parents=True)
    (outside / "qqfolder" / "image.png").write_bytes(png(32, 32, (1, 2, 3)))
    (outside / "qqfolder" / "model_index.json").write_text('{"_class_name": "Flux"}')
    (outside / "qqlist.json").write_text('[{"name": "a secret name", "path": "/x", "prompt": "a secret prompt"}]')
    (outside / "qqmodel.txt").write_text("a secret tag")
    (outside / "qqclosed").chmod(0)
    (data / "qqlink").symlink_to(outside)
    service = TrainerService(
        ServiceSettings(data_folder=data, in_process=True, backend="tests.fakes.rehearsal:run", allowed_roots=(allowed,))
    )
    document = to_document(small_config(allowed), packed=True)
    with TestClient(create_api(service, Access(AccessSettings())), base_url=ADDRESS) as client:
        client.put("/api/config/current", json={"config": document})
        yield Place(client, document, allowed, outside)
    (outside / "qqclosed").chmod(0o700)
    shutil.rmtree(top)


def path_settings(document: dict[str, Any]) -> list[str]:
    config, _ = from_document(document)
    found = [leaf.path for leaf in leaves(config) if leaf.setting.path]
    return [*found, "concepts.0.text.tag_dropout_special_tags"]


def changed(document: dict[str, Any], setting: str, value: str) -> dict[str, Any]:
    document = json.loads(json.dumps(document))
    *parents, last = setting.split(".")
    at: Any = document
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at[part]
    at[last] = value
    if setting.endswith("special_tags"):
        document["concepts"][0]["text"] |= {"tag_dropout_enable": True, "tag_dropout_special_tags_mode": "BLACKLIST"}
        at[last] = value + ".txt"
    if setting.endswith("prompt_path"):
        document["concepts"][0]["text"]["prompt_source"] = "concept"
    if setting in {"concept_file_name", "sample_definition_file_name"}:
        document["concepts" if setting.startswith("concept") else "samples"] = None
    return document


@pytest.mark.exhaustive
def test_the_check_reports_the_same_for_what_is_outside_whether_it_is_there_or_not(place):
    """Each path setting is tried, directly and through a link: validation, start, comparison, statistics and preview."""
    assert len(path_settings(place.document)) > 15
    for setting in path_settings(place.document):
        for ask in (
            lambda path, setting=setting: place.ask("POST", "/api/config/validate", changed(place.document, setting, path)),
            lambda path, setting=setting: place.ask("POST", "/api/training/start", changed(place.document, setting, path)),
        ):
            answers = place.answers(ask, few=setting not in ("concepts.0.path", "base_model_name"))
            assert set(answers) == {answers[0]}, f"{setting}: {sorted(set(answers))[:3]}"
            assert "outside the allowed folders" in answers[0], f"{setting}: {answers[0]}"
        comparing = place.answers(
            lambda path, setting=setting: place.ask(
                "POST",
                "/api/config/diff",
                {"left": {"kind": "current"}, "right": {"kind": "document", "document": changed(place.document, setting, path)}},
            ),
            few=True,
        )
        assert not any("secret" in answer for answer in comparing), setting
        assert {answer[:3] for answer in comparing} == {comparing[0][:3]}, setting


@pytest.mark.parametrize("address", ["/api/concepts/statistics", "/api/concepts/preview"])
def test_concepts_outside_show_nothing(place, address):
    for setting in ("concepts.0.path", "concepts.0.text.prompt_path", "concepts.0.text.tag_dropout_special_tags"):
        answers = place.answers(
            lambda path, setting=setting: place.ask(
                "POST", address, {"index": 0, "changes": {"concepts": changed(place.document, setting, path)["concepts"]}}
            )
        )
        assert not any("secret" in answer for answer in answers)
        if setting == "concepts.0.path":
            assert len(set(answers)) == 1, sorted(set(answers))[:3]


def test_other_paths_outside_get_one_answer(place):
    """This covers folders to scan or to create something in, libraries, backups, images of a sample, and checkouts."""
    for ask in (
        lambda path: place.ask("GET", f"/api/files?path={path}"),
        lambda path: place.ask("GET", f"/api/files?path={path}&nearest=true"),
        lambda path: place.ask("POST", "/api/files/folder", {"path": path, "name": "new"}),
        lambda path: place.ask("POST", "/api/config/libraries", {"folder": path}),
        lambda path: place.ask("POST", "/api/training/start", {"config": place.document, "options": {"resume_from": path}}),
        lambda path: place.ask("POST", "/api/config/validate", {"config": place.document, "options": {"resume_from": path}}),
        lambda path: place.ask("POST", "/api/samples/custom", {"prompt": "x", "base_image_path": path}),
        lambda path: place.ask("POST", "/api/onetrainer/inspect", {"folder": path}),
        lambda path: place.ask("POST", "/api/onetrainer/checkouts", {"folder": path}),
        lambda path: place.ask("POST", "/api/config/validate", {"config": place.document, "options": {"checkout": path}}),
        lambda path: place.ask("GET", f"/api/config/load/{quote(path, safe='')}"),
        lambda path: place.ask("GET", f"/api/config/presets/{quote(path, safe='')}"),
    ):
        answers = place.answers(ask)
        assert len(set(answers)) == 1, sorted(set(answers))[:3]


@pytest.mark.exhaustive
def test_what_the_form_shows_of_an_outside_path_is_the_same(place):
    """This covers the current settings, their export, and the engines that could train them."""
    for setting in path_settings(place.document):

        def ask(path: str, setting: str = setting) -> str:
            document = changed(place.document, setting, path)
            replies = [place.ask("PUT", "/api/config/current", {"config": document})]
            replies += [place.ask("GET", address) for address in ("/api/config/current", "/api/config/export", "/api/engines")]
            replies.append(place.ask("POST", "/api/config/validate", {}))
            return "\n".join(replies)

        answers = [json.dumps(answer) for answer in place.answers(ask, few=True)]
        assert not any("secret" in answer for answer in answers), setting
    place.client.put("/api/config/current", json={"config": place.document})
