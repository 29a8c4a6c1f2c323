"""What a machine offers is found without torch."""

import sys
from pathlib import Path

from onetrainer_gradio.config.machine import Machine, existing_ancestor, free_bytes


def test_this_machine_is_described_without_torch():
    """The device is one that a configuration can name, and no heavy library was needed."""
    before = "torch" in sys.modules
    machine = Machine.here()
    assert machine.device in ("cpu", "cuda", "mps")
    assert machine.gpus or machine.device != "cuda" or machine.gpus is None
    assert ("torch" in sys.modules) == before


def test_free_space_is_told_for_folders_that_do_not_exist_yet(tmp_path):
    """The disk is that of the nearest folder above."""
    place = tmp_path / "not" / "there" / "yet"
    assert existing_ancestor(place) == tmp_path
    assert free_bytes(place)
    assert existing_ancestor(Path("/nowhere/at/all")) == Path("/")
