"""Folders of a run that must not contain each other."""

from __future__ import annotations

import pytest

from onetrainer_gradio.config.paths.placement import misplaced
from tests.config.preflight import add_image, config_with, findings, furnish

DEEP = {"concepts.0.include_subdirectories": True}


@pytest.fixture
def place(tmp_path):
    """A data folder with a model and images."""
    return furnish(tmp_path)


def codes(place, *changes: dict, **kwargs: object) -> list[tuple[str, str]]:
    found = findings(place, *changes, **kwargs)
    return [(item.code, item.path) for item in found if item.severity == "error"]


@pytest.mark.slow
@pytest.mark.parametrize("workspace", ["images/workspace", "images", "./images/a/b", "link/workspace", "images/new/"])
def test_a_workspace_in_a_concept_is_rejected_with_a_suggestion(place, workspace):
    """The next run would train on its samples; the suggestion avoids that."""
    (place / "link").symlink_to(place / "images")
    (found,) = (item for item in findings(place, DEEP, {"workspace_dir": workspace}) if item.severity == "error")
    assert (found.code, found.path) == ("workspace-in-concept", "workspace_dir")
    assert codes(place, DEEP, dict(found.fix)) == []


@pytest.mark.slow
def test_samples_in_subfolders_that_are_not_read_are_harmless(place):
    """A concept without subfolders doesn't read them; even then, the folder itself is no valid workspace."""
    assert codes(place, {"workspace_dir": "images/workspace"}) == []
    assert codes(place, {"workspace_dir": "images"}) == [("workspace-in-concept", "workspace_dir")]


@pytest.mark.slow
def test_concepts_that_are_not_trained_on_do_not_count(place):
    """A disabled concept doesn't count; one for validation does, since its loss would be measured on samples."""
    (place / "other").mkdir()
    add_image(place / "other" / "a.png")
    other = {"__version": 2, "name": "b", "path": "other", "include_subdirectories": True}
    both = [{"__version": 2, "name": "cats", "path": "images", "seed": 1}, other]
    inside = {"workspace_dir": "other/run"}
    assert codes(place, {"concepts": [both[0], other | {"enabled": False}]}, inside) == []
    found = codes(place, {"concepts": [both[0], other | {"type": "VALIDATION"}], "validation": True}, inside)
    assert found == [("workspace-in-concept", "workspace_dir")]


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["samples", "save", "backup", "samples/0 - a cat"])
def test_a_concept_in_what_the_run_writes_is_rejected(place, folder):
    """The run would train on its own output."""
    inside = place / "workspace" / "run" / folder
    inside.mkdir(parents=True)
    add_image(inside / "a.png", (512, 512))
    found = codes(place, {"concepts.0.path": f"workspace/run/{folder}", "batch_size": 1})
    assert ("concept-in-workspace", "concepts.0.path") in found


@pytest.mark.slow
def test_cache_and_concepts_are_apart(place):
    """Neither may contain the other, through links too, with or without subfolders; without caching there is no cache."""
    (place / "link").symlink_to(place / "images")
    for cache in ("images", "images/cache", "link/cache"):
        assert codes(place, {"cache_dir": cache}) == [("cache-in-concept", "cache_dir")], cache
    (place / "project").mkdir()
    (place / "images").rename(place / "project" / "image")
    (place / "link2").symlink_to(place / "project" / "image")
    for concept in ("project/image", "link2"):
        found = codes(place, {"concepts.0.path": concept, "cache_dir": "project"})
        assert found == [("concept-in-cache", "concepts.0.path")], concept
    assert codes(place, {"concepts.0.path": "project/image", "cache_dir": "project", "latent_caching": False}) == []


@pytest.mark.slow
@pytest.mark.parametrize("workspace", [".", "runs", "config/mine", "cache"])
def test_the_panels_own_folders_are_no_workspace(place, workspace):
    """The workspace has folders with the same names."""
    (found,) = (item for item in findings(place, {"workspace_dir": workspace}) if item.severity == "error")
    assert (found.code, found.fix) == ("workspace-in-panel", {"workspace_dir": "workspace/run"})


@pytest.mark.slow
def test_a_cache_that_onetrainer_would_empty_of_other_files_is_rejected(place):
    """It deletes folders by name, so they have to contain only a cache, its own or ours."""
    theirs = place / "cache-of-mine" / "image" / ("0a" * 32) / "variation-0"
    theirs.mkdir(parents=True)
    for name in ("aggregate.pt", "0.pt"):
        (theirs / name).write_text("x")
    (place / "cache-of-mine" / "text").mkdir()
    (place / "cache-of-mine" / "text" / f"{'0b' * 32}.safetensors").write_text("x")
    here = {"cache_dir": "cache-of-mine"}
    assert codes(place, here, backend="onetrainer") == []
    for name in ("image/photo.png", "text/notes.txt", "epoch-1/mine.pt.bak", "image/deep/er/a.txt"):
        other = place / "cache-of-mine" / name
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text("x")
        assert codes(place, here, backend="onetrainer") == [("cache-foreign", "cache_dir")], name
        assert codes(place, here, backend="builtin") == []
        assert codes(place, here, {"clear_cache_before_training": False}, backend="onetrainer") == []
        other.unlink()
    (place / "cache-of-mine" / "image" / "photo.png").write_text("x")
    (found,) = (item for item in findings(place, here, backend="onetrainer") if item.severity == "error")
    assert codes(place, dict(found.fix), backend="onetrainer") == []


@pytest.mark.slow
def test_debug_images_are_not_trained_on(place):
    """The debug folder counts while debug mode is on."""
    inside = {"debug_dir": "images/debug"}
    assert codes(place, DEEP, inside) == []
    assert codes(place, DEEP, inside, {"debug_mode": True}) == [("workspace-in-concept", "debug_dir")]


def test_a_run_without_a_panel_is_held_to_the_same_rule(place):
    """The engine calls the same function."""
    config = config_with(DEEP, {"workspace_dir": str(place / "images" / "w"), "concepts.0.path": str(place / "images")})
    assert [item.code for item in misplaced(config, place, by_name=False)] == ["workspace-in-concept"]
