"""The process that decodes images for the panel: ``python -P -m onetrainer_gradio.service.datasets.image_worker``.

It reads one request per line and answers with one line that names the error or the sizes of the images that follow. Its memory is
limited, so that an image that was made to fill memory ends this process at most. It exits when nothing was asked for a while.
"""

from __future__ import annotations

import io
import json
import os
import select
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from onetrainer_gradio.config.dataset.image_augmentation import ImageAugmentation
from onetrainer_gradio.config.dataset.images import DAMAGED, MAX_SHOWN_BYTES, BrokenImageError, decode_other
from onetrainer_gradio.service.datasets import pixels, previews

IDLE_S = 60.0
# what decoding may use in addition to the decoded image: copies, and the buffers of a decoder
_MORE_BYTES = 512 * 1024 * 1024


def _thumbnail(request: Mapping[str, Any]) -> list[bytes]:
    return [previews.thumbnail(Path(request["path"]), request["width"], request["height"])]


def _preview(request: Mapping[str, Any]) -> list[bytes]:
    augmentations = [
        ImageAugmentation(**{**augmentation, **{name: tuple(augmentation[name]) for name in ("scaled", "size", "offset")}})
        for augmentation in request["augmentations"]
    ]
    return previews.preview(Path(request["path"]), augmentations, request["longest"])


def _convert(request: Mapping[str, Any]) -> list[bytes]:
    out = io.BytesIO()
    Image.init()  # every format that Pillow reads
    decode_other(request["path"]).save(out, "PNG", compress_level=1)
    return [out.getvalue()]


def _edit(request: Mapping[str, Any]) -> list[bytes]:
    pixels.write_edited(Path(request["path"]), Path(request["to"]), request["rotate"], request["crop"])
    return []


def _mask(request: Mapping[str, Any]) -> list[bytes]:
    pixels.write_mask(Path(request["path"]), Path(request["to"]), tuple(request["size"]))
    return []


def _fingerprint(request: Mapping[str, Any]) -> list[bytes]:
    return [json.dumps(pixels.fingerprint(Path(request["path"]))).encode()]


_REQUESTS: Mapping[str, Callable[[Mapping[str, Any]], list[bytes]]] = {
    "thumbnail": _thumbnail,
    "preview": _preview,
    "convert": _convert,
    "edit": _edit,
    "mask": _mask,
    "fingerprint": _fingerprint,
}


def _limit_memory() -> None:
    """Limit the address space to what is used already and what one image may take."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + MAX_SHOWN_BYTES + _MORE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        return  # another system: the number of pixels is limited all the same


def _is_asked(requests: BinaryIO) -> bool:
    """Whether a request, or the end of the panel, comes in time."""
    try:
        return bool(select.select([requests], [], [], IDLE_S)[0])
    except (OSError, ValueError):  # pipes cannot be waited for on this system
        return True


def main() -> None:
    """Answer requests from standard input until it ends."""
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of a library is not a response
    os.nice(5) if hasattr(os, "nice") else None

    _limit_memory()
    while _is_asked(requests):
        line = requests.readline()
        if not line:
            return
        request = json.loads(line)
        images: list[bytes] = []
        error = ""
        try:
            images = _REQUESTS[request["what"]](request)
        except BrokenImageError as broken:
            error = str(broken)
        except (MemoryError, OSError, *DAMAGED) as failed:
            error = "it takes too much memory to be shown" if isinstance(failed, MemoryError) else f"{failed}"
        answers.write(json.dumps({"error": error, "sizes": [len(image) for image in images]}).encode() + b"\n")
        answers.writelines(images)
        answers.flush()


if __name__ == "__main__":
    main()
    sys.exit(0)
