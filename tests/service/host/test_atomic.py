"""Small files are complete or missing."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from onetrainer_gradio.errors import DiskFullError, StorageError
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json


@pytest.mark.parametrize("content", ["", "{torn", "\xff"])
def test_what_cannot_be_read_is_nothing(tmp_path: Path, content: str) -> None:
    """A missing or truncated file is no error."""
    path = tmp_path / "file"
    path.write_text(content, encoding="latin-1")
    assert read_json(path) is None
    assert read_json(tmp_path / "missing") is None


def test_a_full_disk_is_distinguished() -> None:
    """The error names the file that couldn't be written, and why."""
    with (
        pytest.raises(DiskFullError, match="Can't write the settings: no space left on device"),
        raising_storage_error("the settings"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StorageError, match="Permission") as error, raising_storage_error("the settings"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert not isinstance(error.value, DiskFullError)
