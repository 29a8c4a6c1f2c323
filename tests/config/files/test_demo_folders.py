"""A configuration of an earlier version still finds the demo's images."""

from onetrainer_gradio.config.files.demo_folders import DEMO_FOLDER, with_moved_demo_folders
from onetrainer_gradio.config.files.documents import from_document


def test_the_demos_former_folders_are_read_as_the_current_ones():
    """Drafts, saved configurations and run folders contain the absolute paths of the version that wrote them."""
    paths = [str(DEMO_FOLDER / "pictures"), str(DEMO_FOLDER / "reminders"), "/elsewhere/pictures"]
    config, _ = from_document({"concepts": [{"path": path, "seed": 1} for path in paths]})
    read = [concept.path for concept in config.concepts or ()]
    assert read == [str(DEMO_FOLDER / "images"), str(DEMO_FOLDER / "regularization"), "/elsewhere/pictures"]
    assert all((DEMO_FOLDER / name).is_dir() for name in ("images", "regularization"))


def test_a_document_without_a_list_of_concepts_stays_as_it_is():
    """Problems with it are reported later."""
    for document in ({}, {"concepts": None}, {"concepts": "x"}):
        assert with_moved_demo_folders(document) is document
    strange = {"concepts": [1, {"path": 2}, {}]}
    assert with_moved_demo_folders(strange) == strange
