"""Labels are the standard terms, and keep their case in sentences."""

import pytest

from onetrainer_gradio.config.declarations.catalog import CATALOGUE
from onetrainer_gradio.config.declarations.labels import LABELS, label_of, within_sentence


@pytest.mark.parametrize(
    ("label", "inside"),
    [
        ("Weight data type", "weight data type"),
        ("Model override", "model override"),
        ("EMA decay", "EMA decay"),
        ("LoRA rank", "LoRA rank"),
        ("TensorBoard port", "TensorBoard port"),
        ("VAE", "VAE"),
        ("Max sequence length", "max sequence length"),
        ("", ""),
    ],
)
def test_a_label_in_a_sentence_keeps_acronyms_and_names(label, inside):
    """Only a plain first word loses its capital letter."""
    assert within_sentence(label) == inside


def test_a_component_s_name_stays_as_it_is_in_front_of_its_settings():
    """The case of UNet and VAE is kept in the label of their data type."""
    assert CATALOGUE["unet.weight_dtype"].title == "UNet: weight data type"
    assert CATALOGUE["vae.model_name"].title == "VAE: model override"


def test_every_member_of_a_enum_with_labels_has_a_label_or_a_readable_name():
    """No choice is shown as an uppercase name with underscores, and every label belongs to an existing member."""
    for kind, labels in LABELS.items():
        values = {member.value for member in kind}
        assert set(labels) <= values, kind
        assert [value for value in values if "_" in label_of(kind, value)] == [], kind
