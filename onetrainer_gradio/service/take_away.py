"""Describe where a result of a run belongs: its path, and for each program the folder and whether it reads the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.enums import ModelFormat
from onetrainer_gradio.config.lora_programs import Reading, readings
from onetrainer_gradio.errors import ConfigValueError
from onetrainer_gradio.service.runs.artifacts import RESULTS, kept_or_original
from onetrainer_gradio.service.runs.record import Run


def take_away(run: Run, file_id: str) -> dict[str, Any]:
    """Return where a model or save of a run is, the format of a LoRA, and the ``programs`` with folder, instruction and problem.

    :raises RunNotFoundError: if the run has no such file, or it is gone.
    :raises ConfigValueError: if it is a sample or a backup.
    """
    file = run.open_file(file_id)
    if file.kind not in RESULTS:
        raise ConfigValueError(f"{file.name} isn't a model", path="file_id", value=file_id, suggestion="Choose a saved model.")
    config = run.config()
    path = Path(kept_or_original(run.folder, str(file.written_to), file.at) or file.path)
    names, found = readings(path, str(config.get("model_type", "")), str(config.get("training_method", "")))
    return {
        "id": file.id,
        "name": file.name,
        "path": str(path),
        "bytes": file.size(),
        "folder": file.folder,
        "format": names.format.value if names and names.format else "",
        "format_title": label_of(ModelFormat, names.format) if names and names.format else "",
        "algorithm": names.algorithm if names else "",
        "tensors": names.tensors if names else 0,
        "programs": [_described(reading) for reading in found],
    }


def _described(reading: Reading) -> dict[str, Any]:
    wanted = reading.format
    return {
        "key": reading.program.key,
        "title": reading.program.title,
        "reads": reading.reads,
        "problem": reading.problem,
        "convert_to": wanted,
        "convert_to_title": label_of(ModelFormat, wanted) if wanted else "",
        "folder": reading.folder,
        "instruction": reading.instruction,
    }
