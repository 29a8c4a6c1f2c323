"""A LoRA is converted in a separate process, one at a time, and only the newest results are kept.

Covers ``backends/convert_worker.py``.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import load_file, save_file

from onetrainer_gradio.config.enums import ModelFormat
from onetrainer_gradio.errors import BusyError, ModelFormatError, PathNotFoundError
from onetrainer_gradio.service.engines.conversion import LoraConverter
from tests.waiting import until

LAYER = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"


def lora(folder: Path) -> Path:
    """Return a LoRA for one layer of the text encoder of Stable Diffusion 1.5."""
    down, up = numpy.ones((2, 768), numpy.float32), numpy.ones((768, 2), numpy.float32)
    save_file({f"{LAYER}.lora_down.weight": down, f"{LAYER}.lora_up.weight": up}, folder / "mine.safetensors")
    return folder / "mine.safetensors"


class Instant(LoraConverter):
    """A converter without a process that waits for permission."""

    may_answer = threading.Event()

    def _ask(self, request):
        self.may_answer.wait(10)
        Path(request["destination"]).write_bytes(b"converted")
        return {"model_type": "FLUX_DEV_1", "tensors": 2, "warning": ""}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_process_converts_and_reports_why_not(tmp_path: Path):
    """The new file has the names of its format; a file that is no LoRA isn't converted."""
    converter = LoraConverter(tmp_path / "converted")
    done = converter.convert(lora(tmp_path), "mine.safetensors", ModelFormat.COMFY_LORA)
    assert (done.model_type, done.path.name, done.warning) == ("STABLE_DIFFUSION_15", "mine-comfy.safetensors", "")
    assert converter.file(done.id) == done.path
    assert all(name.startswith("text_encoders.clip_l") or "clip_l" in name for name in load_file(done.path))
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(ModelFormatError):
        converter.convert(tmp_path / "text.safetensors", "text.safetensors", ModelFormat.COMFY_LORA)
    assert [place.name for place in (tmp_path / "converted").iterdir()] == [done.id]
    converter.close()
    with pytest.raises(BusyError):
        converter.convert(lora(tmp_path), "mine.safetensors", ModelFormat.COMFY_LORA)


def test_only_the_newest_files_are_kept_and_found_by_their_id(tmp_path: Path):
    """Any other ID is not a path."""
    converter = Instant(tmp_path / "converted")
    converter.may_answer.set()
    made = [converter.convert(tmp_path, "a.safetensors", ModelFormat.KOHYA_LORA) for _ in range(6)]
    assert len(list((tmp_path / "converted").iterdir())) == 4
    assert converter.file(made[-1].id).read_bytes() == b"converted"
    for gone in (made[0].id, "..", "../converted", "", made[-1].id + "/"):
        with pytest.raises(PathNotFoundError):
            converter.file(gone)


def test_a_second_conversion_has_to_wait(tmp_path: Path):
    """A conversion needs memory, so one runs at a time."""
    converter = Instant(tmp_path / "converted")
    converter.may_answer = threading.Event()
    first = threading.Thread(target=converter.convert, args=(tmp_path, "a", ModelFormat.KOHYA_LORA))
    first.start()
    until(converter._turn.locked)
    with pytest.raises(BusyError):
        converter.convert(tmp_path, "b", ModelFormat.KOHYA_LORA)
    converter.may_answer.set()
    first.join(10)
