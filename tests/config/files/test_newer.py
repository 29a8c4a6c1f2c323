"""The form and the document follow a OneTrainer checkout that is newer or older than this release."""

import jsonschema
import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.check import check
from onetrainer_gradio.config.declarations.walk import leaves
from onetrainer_gradio.config.enums import Name
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.files.newer import NOTHING_NEWER, Newer, NewerSetting, follow, newer_names, with_known_names
from onetrainer_gradio.config.form import patch
from onetrainer_gradio.config.form.schema import form_schema
from onetrainer_gradio.errors import ConfigInvalidError
from tests.fakes.configs import small_config

RULE = {
    "word": NewerSetting("rules[].word", "string", ""),
    "steps": NewerSetting("rules[].steps", "array", [], items=NewerSetting("rules[].steps[]", "integer")),
    "unclear": None,
}
NEWER = Newer(
    source="OneTrainer abc1234",
    settings={
        setting.path: setting
        for setting in (
            NewerSetting("swirl", "number", 0.5),
            NewerSetting("swirl_mode", "string", "SOFT", choices=("SOFT", "HARD")),
            NewerSetting("optimizer.spin", "integer", None, nullable=True),
            NewerSetting("transformer_9.train", "boolean", True),
            NewerSetting("concepts[].image.bend", "boolean", False),
            NewerSetting("words", "array", ["a"], items=NewerSetting("words[]", "string")),
            NewerSetting("places", "array", [], items=NewerSetting("places[]", "string", choices=("HERE", "THERE"))),
            NewerSetting("weights", "object", None, nullable=True, items=NewerSetting("weights[]", "number")),
            NewerSetting("anything", "object", {"depth": 2}),
            NewerSetting("rules", "array", [], items=NewerSetting("rules[]", "object", inside=RULE)),
            NewerSetting("concepts[].neighbours", "array", [], items=NewerSetting("concepts[].neighbours[]", "integer")),
        )
    },
    lacking=frozenset({"masked_training", "optimizer.beta1", "no_such_path"}),
    names={"model_type": ("MODEL_OF_NEXT_YEAR",), "learning_rate_scheduler": ("WAVES",)},
    methods={"MODEL_OF_NEXT_YEAR": ("LORA",), "FLUX_2": ("FINE_TUNE", "LORA", "EMBEDDING")},
    samples={"MODEL_OF_NEXT_YEAR": {"width": 640, "negative_prompt": "grainy", "no_field": 1}, "SANA": {"width": 896}},
)


def at(document, path):
    for part in path.split("."):
        document = document[int(part)] if part.isdigit() else document[part]
    return document


@pytest.fixture
def config():
    found, _ = from_document({"concepts": [{"name": "a"}]})
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("swirl", 0.75),
        ("swirl", 2),
        ("swirl_mode", "HARD"),
        ("optimizer.spin", 3),
        ("transformer_9.train", False),
        ("concepts.0.image.bend", True),
        ("words", ["b", "c"]),
        ("words", []),
        ("places", ["THERE"]),
        ("weights", {"face": 1, "hand": 0.5}),
        ("anything", {"depth": [1, {"x": None}], "name": "y"}),
        ("rules", [{"word": "x", "steps": [1, 2], "unclear": "?"}, {}]),
        ("concepts.0.neighbours", [1]),
    ],
)
def test_a_setting_that_only_the_checkout_has_can_be_changed_and_survives(config, path, value):
    """It is stored in the document like other settings, survives reading and writing, and its default removes it."""
    changed = patch.apply(config, {path: value}, NEWER)
    document = to_document(changed, packed=True)
    assert at(document, path) == value
    again, _ = from_document(document)
    assert again == changed
    default = NEWER.setting(path).default
    back = to_document(patch.apply(again, {path: default}, NEWER), packed=True)
    with pytest.raises(KeyError):
        at(back, path)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("swirl", "much", "a number"),
        ("swirl", None, "a number"),
        ("swirl", float("nan"), "a number"),
        ("swirl_mode", "SIDEWAYS", "one of SOFT, HARD"),
        ("optimizer.spin", 1.5, "a whole number, or empty"),
        ("optimizer.spin", True, "a whole number, or empty"),
        ("transformer_9.train", "yes", "true or false"),
    ],
)
def test_a_value_of_another_type_is_rejected(config, path, value, words):
    """The checkout's type applies, and the finding has the path and the expected type."""
    with pytest.raises(ConfigInvalidError) as caught:
        patch.apply(config, {path: value}, NEWER)
    (finding,) = caught.value.all_findings
    assert (finding.path, finding.expected) == (path, words)


WORDS = 'a list of texts, as ["one", "two"]'
RULES = 'an object with word, steps, unclear, as {"word": "one"}'


@pytest.mark.parametrize(
    ("path", "value", "message", "expected"),
    [
        ("words", '["a", ', "words isn't valid JSON: Expecting value in line 1, column 7", WORDS),
        ("words", "[NaN]", "words isn't valid JSON: NaN isn't a JSON number", WORDS),
        ("words", "[" * 200_000, "words isn't valid JSON: ", WORDS),
        ("words", " ", "words is empty", WORDS),
        ("words", '["a"]', "words is '[\"a\"]'", WORDS),
        ("words", {"a": 1}, 'words must be a list of texts, as ["one", "two"], not {\'a\': 1}', WORDS),
        ("words", None, 'words must be a list of texts, as ["one", "two"], not null', WORDS),
        ("words", ["a", 2], "words.1 must be a text, not 2", "a text"),
        ("places", ["HERE", "NOWHERE"], "places.1 must be one of HERE, THERE, not 'NOWHERE'", "one of HERE, THERE"),
        ("weights", {"face": True}, "weights.face must be a number, not True", "a number"),
        ("weights", [], "weights must be an object of numbers", 'an object of numbers, as {"name": 0.5, "other": 2}, or empty'),
        ("anything", "x", "anything isn't valid JSON: Expecting value in line 1, column 1", 'an object, as {"name": "value"}'),
        ("rules", [{"wrod": "x"}], "rules.0 has no setting 'wrod'", RULES),
        ("rules", [{}, {"steps": [1, 2.5]}], "rules.1.steps.1 must be a whole number, not 2.5", "a whole number"),
        ("rules", [3], "rules.0 must be an object with word, steps, unclear", RULES),
        ("concepts.0.neighbours", ["a"], "concepts.0.neighbours.0 must be a whole number, not 'a'", "a whole number"),
    ],
)
def test_what_does_not_fit_in_a_list_or_object_is_named(config, path, value, message, expected):
    """The finding names the path inside it, the value and the expected type; the setting keeps its value."""
    with pytest.raises(ConfigInvalidError) as caught:
        patch.apply(config, {path: value}, NEWER)
    (finding,) = caught.value.all_findings
    assert (finding.path, finding.expected) == (path, expected)
    assert finding.message.startswith(message)
    assert len(finding.message) < 200
    assert finding.suggestion


@pytest.mark.slow
def test_a_place_within_a_list_or_object_can_be_changed_and_is_held_to_the_same(config):
    """An unset setting starts with its default; an invalid value is rejected."""
    document = to_document(patch.apply(config, {"words.0": "b", "anything.more": [1]}, NEWER), packed=True)
    assert document["words"] == ["b"]
    assert document["anything"] == {"depth": 2, "more": [1]}
    for path, value in (("words.0", 1), ("words.1", "b"), ("words.x", "b"), ("rules.0.word", "x"), ("weights.face", 1)):
        with pytest.raises(ConfigInvalidError):
            patch.apply(config, {path: value}, NEWER)
    assert NEWER.around("concepts.0.neighbours.3") == "concepts.0.neighbours"
    assert NEWER.around("words") == NEWER.around("concepts.0.path") == ""


@pytest.mark.slow
def test_lists_and_objects_of_the_checkout_are_fields_of_json():
    """They come with their element type, their default as text, and a schema that their values satisfy."""
    properties = follow(form_schema(), NEWER)["properties"]
    rules = properties["rules"]
    assert (rules["x-kind"], rules["x-level"], rules["default"], rules["type"]) == ("json", "expert", [], "array")
    assert "a list of objects with word, steps, unclear" in rules["description"]
    assert "Default: []." in rules["description"]
    assert "Default: empty." in properties["weights"]["description"]
    assert "properties" not in properties["anything"], "it is one field, not a part with settings of its own"
    validator = jsonschema.Draft202012Validator(
        {"type": "object", "properties": {"rules": rules, "weights": properties["weights"]}}
    )
    assert validator.is_valid({"rules": [{"word": "x", "steps": [1], "unclear": None}], "weights": {"a": 1.5}})
    assert validator.is_valid({"weights": None})
    for wrong in ({"rules": [{"wrod": "x"}]}, {"rules": {}}, {"weights": {"a": "x"}}):
        assert not validator.is_valid(wrong)
    neighbours = properties["concepts"]["items"]["properties"]["neighbours"]
    assert (neighbours["x-kind"], neighbours["x-group"]) == ("json", "concept")


def test_a_number_of_any_size_is_one():
    """A number beyond the range of a float is treated like any other; a fraction is not an integer, and NaN is invalid."""
    whole, number = NewerSetting("seeds", "integer"), NewerSetting("scale", "number")
    assert [whole.wrong(value, "seeds") for value in (10**400, -1, 0)] == [None] * 3
    assert [number.wrong(value, "scale") for value in (10**400, 0.5, 1)] == [None] * 3
    assert all(whole.wrong(value, "seeds") for value in (0.5, 1.0, float("nan"), True, "1"))
    assert all(number.wrong(value, "scale") for value in (float("nan"), True, "1"))


@pytest.mark.slow
def test_without_the_checkout_its_settings_are_unknown(config):
    """Typing errors are still found if no checkout is selected."""
    for changes in ({"swirl": 0.75}, {"model_type": "MODEL_OF_NEXT_YEAR"}, {"learning_rate_scheduler": "WAVES"}):
        with pytest.raises(ConfigInvalidError) as caught:
            patch.apply(config, changes)
        assert caught.value.path == next(iter(changes))


def test_names_that_the_checkout_knows_can_be_chosen(config):
    """Its model types and other names are valid values; names that it doesn't know either are rejected."""
    changed = patch.apply(config, {"model_type": "MODEL_OF_NEXT_YEAR", "learning_rate_scheduler": "WAVES"}, NEWER)
    assert [leaf.path for leaf in newer_names(changed)] == ["model_type", "learning_rate_scheduler"]
    plain = with_known_names(changed)
    assert [leaf.path for leaf in newer_names(plain)] == ["model_type"]
    assert plain.learning_rate_scheduler == TrainConfig().learning_rate_scheduler
    with pytest.raises(ConfigInvalidError, match="RIPPLES"):
        patch.apply(config, {"learning_rate_scheduler": "RIPPLES"}, NEWER)


@pytest.mark.slow
def test_every_name_can_be_one_that_is_not_known_here(config):
    """For every setting with choices, a newer name is kept, reported, and ignored by checks."""
    named = [leaf.path for leaf in leaves(config) if isinstance(leaf.value, Name)]
    assert len(named) > 40
    for path in named:
        document = to_document(config, packed=True)
        *parents, last = path.split(".")
        place = at(document, ".".join(parents)) if parents else document
        place[last] = "NAME_OF_NEXT_YEAR"
        changed, findings = from_document(document)
        assert [leaf.path for leaf in newer_names(changed)] == [path]
        assert [finding.path for finding in findings] == [path]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_check_does_not_stumble_over_a_newer_name(tmp_path):
    """The check reports everything else, and nothing false about the unknown name."""
    base = small_config(tmp_path, concepts=[{"name": "gone", "path": str(tmp_path / "gone")}])
    usual = {finding.path for finding in check(base, base_folder=tmp_path) if finding.severity == "error"}
    for leaf in [leaf for leaf in leaves(base) if isinstance(leaf.value, Name)]:
        document = to_document(base, packed=True)
        *parents, last = leaf.path.split(".")
        (at(document, ".".join(parents)) if parents else document)[last] = "NAME_OF_NEXT_YEAR"
        config, _ = from_document(document)
        assert {finding.path for finding in check(config, base_folder=tmp_path) if finding.severity == "error"} == usual, (
            leaf.path
        )


@pytest.mark.slow
def test_the_form_has_the_settings_of_the_checkout_as_expert_fields():
    """Each is at its location in the document, with type and default, in a separate group or in that of its list."""
    schema = follow(form_schema(), NEWER)
    swirl = schema["properties"]["swirl"]
    assert (swirl["type"], swirl["default"], swirl["x-level"], swirl["x-group"]) == ("number", 0.5, "expert", "checkout")
    assert schema["properties"]["swirl_mode"]["enum"] == ["SOFT", "HARD"]
    assert schema["properties"]["optimizer"]["properties"]["spin"]["type"] == ["integer", "null"]
    assert schema["properties"]["optimizer"]["properties"]["spin"]["title"] == "Optimizer: spin"
    assert schema["properties"]["transformer_9"]["properties"]["train"]["title"] == "Transformer 9: train"
    bend = schema["properties"]["concepts"]["items"]["properties"]["image"]["properties"]["bend"]
    assert bend["x-group"] == "concept"
    assert schema["x-groups"][-1]["key"] == schema["x-tabs"][-1]["key"] == "checkout"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.slow
def test_what_the_checkout_lacks_is_marked():
    """Only settings in the form can be marked."""
    schema = follow(form_schema(), NEWER)
    assert schema["properties"]["masked_training"]["x-lacking"] is True
    assert schema["properties"]["optimizer"]["properties"]["beta1"]["x-lacking"] is True
    assert "x-lacking" not in schema["properties"]["learning_rate"]


@pytest.mark.slow
def test_a_newer_model_type_is_offered_under_its_own_name_with_everything():
    """It can be selected, has the checkout's methods, and hides no setting."""
    schema = follow(form_schema(), NEWER)
    properties = schema["properties"]
    assert "MODEL_OF_NEXT_YEAR" in properties["model_type"]["enum"]
    methods = properties["training_method"]["x-choices-by"]["choices"]
    assert methods["MODEL_OF_NEXT_YEAR"] == ["LORA"]
    assert methods["FLUX_2"] == ["FINE_TUNE", "LORA", "EMBEDDING"]
    formats = properties["output_model_format"]["x-choices-by"]["choices"]
    assert {"KOHYA_LORA", "DIFFUSERS"} <= set(formats["MODEL_OF_NEXT_YEAR"]["LORA"])
    assert (
        formats["FLUX_2"]["LORA"]
        == form_schema()["properties"]["output_model_format"]["x-choices-by"]["choices"]["FLUX_2"]["LORA"]
    )
    assert formats["FLUX_2"]["EMBEDDING"]
    assert "MODEL_OF_NEXT_YEAR" in properties["masked_training"].get("x-shown", {}).get("model_type", ["MODEL_OF_NEXT_YEAR"])
    assert "MODEL_OF_NEXT_YEAR" in properties["layer_filter_preset"]["x-choices-by"]["choices"]
    assert "WAVES" in properties["learning_rate_scheduler"]["enum"]


@pytest.mark.slow
def test_a_new_sample_begins_as_the_checkout_defines():
    """The checkout's defaults for the model type override ours; values without a field are omitted."""
    begins = follow(form_schema(), NEWER)["properties"]["samples"]["x-new-by"]["values"]
    assert begins["MODEL_OF_NEXT_YEAR"] == {"width": 640, "negative_prompt": "grainy"}
    assert (begins["SANA"]["width"], begins["SANA"]["height"], begins["SANA"]["diffusion_steps"]) == (896, 1024, 20)
    assert begins["FLUX_2"]["width"] == 1024


@pytest.mark.slow
def test_without_a_checkout_the_form_is_as_it_was():
    """Nothing is copied or marked."""
    schema = form_schema()
    assert follow(schema, NOTHING_NEWER) is schema
