"""Values that are written out for OneTrainer because otherwise its UI would fill them in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.backends.onetrainer.resolve import Headless, headless
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.files.documents import from_document


def resolved(*, options: RunOptions | None = None, **settings: Any) -> Headless:
    config, _ = from_document({"training_method": "LORA", "output_model_format": "KOHYA_LORA", **settings})
    return headless(config, options or RunOptions())


@pytest.mark.parametrize(
    ("settings", "patterns", "regex"),
    [
        ({"layer_filter_preset": "attn-mlp"}, "attentions", False),
        ({"layer_filter_preset": "attn-only"}, "attn", False),
        ({"layer_filter_preset": "full"}, "", False),
        ({"layer_filter_preset": "attn-mlp", "layer_filter": "to_q"}, "to_q", False),
        ({"layer_filter_preset": "custom", "layer_filter": "to_k", "layer_filter_regex": True}, "to_k", True),
        ({"layer_filter_preset": "full", "layer_filter": "to_v"}, "to_v", False),
        ({"layer_filter_preset": "blocks", "model_type": "FLUX_2"}, "transformer_block", False),
        (
            {"layer_filter_preset": "attn-only", "model_type": "Z_IMAGE", "output_model_format": "DIFFUSERS_LORA"},
            r"^(?!.*refiner).*attention",
            True,
        ),
        ({"layer_filter_preset": "of its own", "model_type": "NEW_MODEL_9"}, "", False),
    ],
)
def test_patterns_stand_for_the_name_of_a_layer_preset(settings, patterns, regex):
    """Without its UI, the name alone trains every layer; existing patterns take precedence."""
    document = resolved(**settings).document
    assert (document["layer_filter"], document["layer_filter_regex"]) == (patterns, regex)


def test_quantization_has_patterns_of_its_own():
    """The same names are resolved in the same way."""
    document = resolved(quantization={"layer_filter_preset": "attn-mlp"}).document
    assert document["quantization"]["layer_filter"] == "attentions"
    assert document["layer_filter"] == ""


def test_versions_lists_and_secrets():
    """They are version 11, concepts of version 2 inside, lists that always exist, and no secrets anywhere."""
    document = resolved(
        concepts=[{"name": "a", "path": "/a"}], secrets={"huggingface_token": "hf_secret"}, note="of a preset"
    ).document
    assert document["__version"] == 11
    assert [(concept["__version"], concept["path"]) for concept in document["concepts"]] == [(2, "/a")]
    assert document["samples"] == []
    assert "hf_secret" not in json.dumps(document)
    assert "secrets" not in document
    assert "note" not in document


def test_a_format_that_cannot_be_written_is_replaced_and_reported():
    """OneTrainer would fail at its first save."""
    result = resolved(output_model_format="SAFETENSORS")
    assert result.document["output_model_format"] == "DIFFUSERS_LORA"
    assert [(note.code, note.path) for note in result.notes] == [("output_format", "output_model_format")]
    assert resolved().notes == []


def test_an_embedding_keeps_its_identity_when_it_resumes(tmp_path: Path):
    """A backup names it by its uuid; without a backup, the settings' uuid stays."""
    workspace = tmp_path / "workspace"
    for name, uuid in (("2026-01-01_00-00-00-backup-1-0-1", "old"), ("2026-01-02_00-00-00-backup-2-0-2", "new")):
        folder = workspace / "backup" / name / "onetrainer_config"
        folder.mkdir(parents=True)
        (folder / "args.json").write_text(json.dumps({"embedding": {"uuid": uuid}}))
    settings = {"training_method": "EMBEDDING", "output_model_format": "SAFETENSORS", "embedding": {"uuid": "mine"}}
    settings |= {"workspace_dir": str(workspace)}
    assert resolved(**settings).document["embedding"]["uuid"] == "mine"
    assert resolved(**settings, continue_last_backup=True).document["embedding"]["uuid"] == "new"
    backup = workspace / "backup" / "2026-01-01_00-00-00-backup-1-0-1"
    assert resolved(**settings, options=RunOptions(resume_from=str(backup))).document["embedding"]["uuid"] == "old"
