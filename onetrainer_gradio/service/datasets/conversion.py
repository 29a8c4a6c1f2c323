"""Convert captions to UTF-8 and images to formats that are trained. Originals are kept, and no file is replaced."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.dataset.captions import UTF_8, UnreadableTextError, decode_text
from onetrainer_gradio.config.dataset.files import VIDEO_SUFFIXES, shown
from onetrainer_gradio.config.dataset.images import BrokenImageError, is_jpeg
from onetrainer_gradio.errors import DatasetError
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder

LIMIT_S = 15.0
_MAX_NAMES = 8
_BACKUPS = (".bak", *(f".bak{number}" for number in range(2, 100)))


class _NotConvertedError(Exception):
    """One file was not converted; the others are."""


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion: new files, failed files with the reason, and the number of remaining files."""

    made: tuple[Path, ...]
    failed: tuple[tuple[Path, str], ...]
    left: int

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers and the first names."""
        return {
            "converted": len(self.made),
            "made": [shown(path.name) for path in self.made[:_MAX_NAMES]],
            "failed": {
                "count": len(self.failed),
                "first": [[shown(path.name), reason] for path, reason in self.failed[:_MAX_NAMES]],
            },
            "left": self.left,
        }


def convert_captions(files: Sequence[Path], limit_s: float = LIMIT_S) -> Conversion:
    """Rewrite caption files in UTF-8, with the original next to each as ``.bak``; files in UTF-8 stay unchanged."""
    return _each(files, _caption, limit_s)


def convert_images(files: Sequence[Path], decoder: ImageDecoder, limit_s: float = LIMIT_S) -> Conversion:
    """Write a copy of each image next to it: JPEG files under another suffix, everything else as PNG."""
    return _each(
        [file for file in files if file.suffix.lower() not in VIDEO_SUFFIXES], lambda file: _image(file, decoder), limit_s
    )


def _each(files: Sequence[Path], convert: Callable[[Path], Path | None], limit_s: float) -> Conversion:
    give_up_at = time.monotonic() + limit_s
    made: list[Path] = []
    failed: list[tuple[Path, str]] = []
    for number, file in enumerate(files):
        if time.monotonic() > give_up_at:
            return Conversion(tuple(made), tuple(failed), len(files) - number)
        try:
            written = convert(file)
            if written is not None:
                made.append(written)
        except _NotConvertedError as error:
            failed.append((file, str(error)))
        except OSError as error:
            failed.append((file, error.strerror or str(error)))
    return Conversion(tuple(made), tuple(failed), 0)


def _caption(file: Path) -> Path | None:
    before = file.stat()
    data = file.read_bytes()
    try:
        text = decode_text(data)
    except UnreadableTextError as error:
        raise _NotConvertedError(str(error)) from error
    content = text.content.encode(UTF_8)
    if content == data:
        return None
    with _written(file, content) as temporary:
        shutil.copymode(file, temporary)
        _keep(file, data)
        now = file.stat()
        if (now.st_mtime_ns, now.st_size) != (before.st_mtime_ns, before.st_size):
            raise _NotConvertedError("it was changed in the meantime")
        os.replace(temporary, file)
    return file


def _keep(file: Path, data: bytes) -> None:
    """Keep the original under a free name: the file itself if the file system supports links, else a copy."""
    for suffix in _BACKUPS:
        backup = file.with_name(file.name + suffix)
        try:
            os.link(file, backup, follow_symlinks=False)
        except FileExistsError:
            continue
        except (OSError, NotImplementedError):  # a file system without links
            try:
                with backup.open("xb") as copy:
                    copy.write(data)
                    copy.flush()
                    os.fsync(copy.fileno())
            except FileExistsError:
                continue
            shutil.copystat(file, backup)
        return
    raise _NotConvertedError("no name is left for a copy of the original")


def _image(file: Path, decoder: ImageDecoder) -> Path:
    try:
        jpeg = is_jpeg(file)
    except BrokenImageError:
        jpeg = False  # a format that only the decoder may read
    target = file.with_suffix(".jpg" if jpeg else ".png")
    if os.path.lexists(target):
        raise _NotConvertedError(f"{target.name} already exists")
    try:
        content = file.read_bytes() if jpeg else decoder.converted(file)
    except DatasetError as error:
        raise _NotConvertedError(error.message) from error
    with _written(target, content) as temporary:
        shutil.copymode(file, temporary)
        try:
            os.link(temporary, target)
        except FileExistsError as error:
            raise _NotConvertedError(f"{target.name} already exists") from error
        except (OSError, NotImplementedError):  # a file system without links
            with target.open("xb") as copy:
                copy.write(content)
    return target


@contextmanager
def _written(target: Path, content: bytes) -> Iterator[Path]:
    """Provide a hidden file with ``content`` next to a target, removed afterwards unless it was moved there."""
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
