"""A LoRA's tensor names determine which other programs can read it.

The names are those that OneTrainer wrote.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from onetrainer_gradio.config.enums import ModelFormat, ModelType
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.lora_programs import (
    COMFYUI,
    DIFFUSERS_LIBRARY,
    FORGE,
    ONETRAINER,
    PROGRAMS,
    lora_names,
    lora_problem,
    readings,
)
from tests.core import core, exhaustive_unless
from tests.golden.cases import cases

GOLDEN = Path(__file__).parents[1] / "golden"


def written() -> dict[tuple[str, str], tuple[str, list[str]]]:
    """Return each recorded LoRA by model type and name: its format and its tensor names."""
    keys = json.loads(gzip.decompress((GOLDEN / "keys.json.gz").read_bytes()))
    recorded = {path.stem: json.loads(path.read_text()) for path in (GOLDEN / "rows").glob("*.json")}
    found = {}
    for case in cases():
        if case.changes["training_method"] != "LORA":
            continue
        file = recorded.get(case.model_type, {}).get(case.name, {}).get("file")
        if file:
            names = [name.split(" ")[0] for name in keys[file["keys"]]]
            found[case.model_type, case.name] = (case.changes["output_model_format"], names)
    return found


WRITTEN = written()
CORE = core(sorted(WRITTEN), lambda case: frozenset({(case[0], WRITTEN[case][0])}))


def test_the_core_has_every_format_of_every_type() -> None:
    assert {(case[0], WRITTEN[case][0]) for case in CORE} == {
        (model_type, names[0]) for (model_type, _), names in WRITTEN.items()
    }


@pytest.mark.parametrize("case", [pytest.param(case, marks=exhaustive_unless(case in CORE)) for case in sorted(WRITTEN)])
def test_the_format_of_each_recorded_lora_is_recognized(case: tuple[str, str]) -> None:
    """All its tensors follow the format. Formats that are equal for a model type count as the first of them."""
    wanted, keys = WRITTEN[case]
    names = lora_names(keys, case[0])
    same = {"LEGACY_LORA": {"LEGACY_LORA", "KOHYA_LORA"}}.get(wanted, {wanted})
    assert names.format in same, (names.format, names.unexpected[:3])
    assert names.unexpected == ()
    assert lora_problem(ONETRAINER, names, case[0]) == ("", "")


FLUX = "FLUX_DEV_1"
KEYS = {
    "KOHYA_LORA": ["lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", "lora_te1_text_model_x.lora_up.weight"],
    "DIFFUSERS_LORA": ["transformer.transformer_blocks.0.attn.to_q.lora_A.weight"],
    "ORIGINAL_LORA": ["double_blocks.0.img_attn.qkv.lora_A.weight"],
    "COMFY_LORA": [
        "diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight",
        "text_encoders.clip_l.transformer.x.lora_B.weight",
    ],
    "LEGACY_LORA": ["lora_transformer_transformer_blocks_0_attn_to_q.lora_down.weight"],
}
READ = {
    "KOHYA_LORA": (COMFYUI, FORGE, DIFFUSERS_LIBRARY, ONETRAINER),
    "DIFFUSERS_LORA": (COMFYUI, FORGE, DIFFUSERS_LIBRARY, ONETRAINER),
    "ORIGINAL_LORA": (ONETRAINER,),
    "COMFY_LORA": (COMFYUI, ONETRAINER),
    "LEGACY_LORA": (COMFYUI, FORGE, ONETRAINER),
}


@pytest.mark.parametrize("model_format", KEYS)
def test_a_file_that_a_program_does_not_read_names_the_format_to_convert_to(model_format: str) -> None:
    names = lora_names(KEYS[model_format], FLUX)
    assert names.format == model_format
    for program in PROGRAMS:
        problem, wanted = lora_problem(program, names, FLUX)
        assert bool(problem) == (program not in READ[model_format]), program.key
        assert bool(wanted) == bool(problem)
        if wanted:
            assert lora_problem(program, lora_names(KEYS[wanted], FLUX), FLUX) == ("", "")


def test_what_converting_does_not_help_with_is_reported_without_a_format() -> None:
    """This covers an adapter type, a model type, and unrelated names."""
    oft = lora_names(["lora_unet_double_blocks_0_img_attn_qkv.oft_R.weight"], FLUX)
    assert lora_problem(COMFYUI, oft, FLUX) == ("ComfyUI doesn't read OFT.", "")
    assert lora_problem(ONETRAINER, oft, FLUX) == ("", "")
    loha = lora_names(["lora_unet_double_blocks_0_img_attn_qkv.hada_w1_a"], FLUX)
    assert lora_problem(DIFFUSERS_LIBRARY, loha, FLUX)[0] == "diffusers doesn't read LoHa."
    assert "doesn't support LoRAs of" in lora_problem(FORGE, lora_names(KEYS["KOHYA_LORA"], "QWEN"), "QWEN")[0]
    other = lora_names(KEYS["KOHYA_LORA"], "STABLE_DIFFUSION_15")
    assert other.unexpected == ("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight",)
    assert lora_problem(COMFYUI, other, "STABLE_DIFFUSION_15")[0].startswith("1 of 2 tensors have unexpected names")
    assert lora_names(["model.weight"], FLUX).format is None


def test_dora_of_diffusers_is_read_by_diffusers_alone() -> None:
    """Other programs expect another name for its magnitude."""
    names = lora_names([*KEYS["DIFFUSERS_LORA"], "transformer.transformer_blocks.0.attn.to_q.lora_magnitude_vector.weight"], FLUX)
    assert names.algorithm == "DoRA"
    assert lora_problem(DIFFUSERS_LIBRARY, names, FLUX) == ("", "")
    assert lora_problem(COMFYUI, names, FLUX) == ("ComfyUI doesn't read the format Diffusers with DoRA.", "COMFY_LORA")


def test_every_program_has_a_place_for_a_lora_and_known_formats() -> None:
    """The tables contain only existing formats and families."""
    for program in PROGRAMS:
        assert program.places["lora"][1]
        for family, formats in program.reads.items():
            assert family
            assert all(each in ModelFormat.__members__ for each in formats), (program.key, family)
    assert {family for program in PROGRAMS for family in program.reads} == set(ONETRAINER.reads)
    assert all(lora_problem(ONETRAINER, lora_names(["lora_te_x.alpha"], each), each) == ("", "") for each in MODELS)


def test_files_are_described_by_what_they_are(tmp_path: Path) -> None:
    """This covers a LoRA with its folder and line, a diffusers folder, and a broken file."""
    path = tmp_path / "my cat.safetensors"
    save_file({name: numpy.ones((1, 1), numpy.float32) for name in KEYS["COMFY_LORA"]}, path)
    names, found = readings(path, FLUX, "LORA")
    assert names is not None
    assert (names.format, names.tensors) == ("COMFY_LORA", 2)
    by_key = {reading.program.key: reading for reading in found}
    assert (by_key["comfyui"].reads, by_key["comfyui"].folder) == (True, "ComfyUI/models/loras")
    assert (by_key["forge"].reads, by_key["forge"].format) == (False, "KOHYA_LORA")
    assert by_key["forge"].instruction == "Write <lora:my cat:1> in the prompt."
    assert by_key["diffusers"].instruction == f'pipeline.load_lora_weights("{path}")'
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    _, found = readings(folder, FLUX, "FINE_TUNE")
    assert [reading.reads for reading in found] == [False, False, True, True]
    path.write_bytes(b"")
    _, found = readings(path, FLUX, "LORA")
    assert all("is empty" in reading.problem for reading in found)
    assert ModelType(FLUX).known
