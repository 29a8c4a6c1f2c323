"""Properties of any configuration: a round trip is lossless, and damaged input is accepted or rejected with its path.

Covers ``config/digits.py``.
"""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetrainer_gradio.config.check import check
from onetrainer_gradio.config.declarations.catalog import CATALOGUE, Entry
from onetrainer_gradio.config.declarations.walk import is_nullable, without_none
from onetrainer_gradio.config.files.documents import LISTS_OF_A_PACK, from_document, parse, to_document
from onetrainer_gradio.errors import ConfigFileError, ConfigInvalidError, Finding

quick = settings(
    max_examples=18,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

TEXTS = st.text(max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)
WHOLE = st.integers(-(2**40), 2**40)

# Small values of every JSON type.
JUNK = st.recursive(
    st.none() | st.booleans() | WHOLE | NUMBERS | TEXTS | st.sampled_from(["inf", "nan", math.nan, math.inf, 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


def value_of(entry: Entry) -> st.SearchStrategy[Any] | None:
    """Values of a leaf in JSON; None if the type is too general."""
    bare = without_none(entry.annotation)
    kinds = {bool: st.booleans(), int: WHOLE, float: NUMBERS, str: TEXTS}
    found = st.sampled_from(entry.choices) if entry.choices else kinds.get(bare)
    if found is None or entry.nested:
        return None
    if bare is float and not entry.choices:
        found = found | WHOLE | st.just("inf")
    return found | st.none() if is_nullable(entry.annotation) else found


LEAVES = {path: found for path, entry in CATALOGUE.items() if (found := value_of(entry)) is not None}
OWN = sorted(path for path in LEAVES if "[]" not in path and not path.startswith("secrets."))
OF_LISTS = {
    name: sorted(path for path in LEAVES if path.startswith(f"{name}[].") and "[]" not in path.removeprefix(f"{name}[]"))
    for name in ("concepts", "samples", "additional_embeddings")
}


def put(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[last] = value


@st.composite
def partial(draw: st.DrawFn, paths: list[str], prefix: str = "") -> dict[str, Any]:
    """A document with values for some of the paths."""
    document: dict[str, Any] = {}
    for path in draw(st.lists(st.sampled_from(paths), max_size=8, unique=True)):
        put(document, path.removeprefix(prefix), draw(LEAVES[path]))
    return document


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document: some settings, perhaps lists of elements, perhaps unknown keys."""
    document = draw(partial(OWN))
    for name, paths in OF_LISTS.items():
        if draw(st.booleans()):
            document[name] = draw(st.lists(partial(paths, f"{name}[]."), max_size=2))
    if draw(st.booleans()):
        document[f"unknown {draw(TEXTS)}"] = draw(TEXTS | st.lists(WHOLE, max_size=2))
    return document


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every path in a document, including inner ones."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in [(*at, key), *places(item, (*at, key))]]


def through_json(document: dict[str, Any]) -> dict[str, Any]:
    return parse(json.dumps(document), name="it")


@pytest.mark.exhaustive
@pytest.mark.slow
@quick
@given(documents())
def test_there_and_back_is_the_same(document: dict[str, Any]) -> None:
    """Any valid configuration, settings only or packed, equals the result of reading its JSON."""
    config, _ = from_document(document)
    for packed in (True, False):
        written = through_json(to_document(config, packed=packed))
        again, findings = from_document(written)
        assert to_document(again, packed=packed) == written
        expected = config if packed else config.model_copy(update=dict.fromkeys(LISTS_OF_A_PACK))
        assert again.model_copy(update={"secrets": config.secrets}) == expected
        assert {finding.path for finding in findings} <= {key for key in document if key.startswith("unknown")}


PACKED = to_document(
    from_document({"concepts": [{"name": "a"}], "samples": [{}], "additional_embeddings": [{}], "scheduler_params": [{}]})[0],
    packed=True,
)
PLACES = places(PACKED)
KEYS = [*sorted(PACKED), "optimizer_beta1", "unet_learning_rate", "train_unet", "embeddings", "min_snr_gamma"]


def holds(value: Any, key: Any) -> bool:
    """Return whether a part of a document, damaged or not, has a value at a key."""
    if isinstance(value, list):
        return isinstance(key, int) and key < len(value)
    return isinstance(value, dict) and key in value


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A complete document with any values, or none, at some paths."""
    document = json.loads(json.dumps(PACKED))
    for place in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3)):
        at: Any = document
        for key in place[:-1]:
            at = at[key] if holds(at, key) else None
        if isinstance(at, dict) and draw(st.booleans()):
            at.pop(place[-1], None)
        elif isinstance(at, dict) or holds(at, place[-1]):
            at[place[-1]] = draw(JUNK)
    return document


def accepted_or_rejected(document: dict[str, Any]) -> None:
    findings: tuple[Finding, ...] = ()
    config = None
    try:
        config, _ = from_document(document)
    except ConfigInvalidError as error:
        findings = error.findings()
    if config is None:
        assert findings
        assert all(finding.path and finding.message for finding in findings)
        return
    written = through_json(to_document(config, packed=True))
    assert to_document(from_document(written)[0], packed=True) == written


@pytest.mark.slow
@quick
@given(damaged())
def test_a_damaged_document_is_accepted_or_rejected_with_its_place(document: dict[str, Any]) -> None:
    """Damaged values never crash: either an error names the path, or the result can be written and read."""
    accepted_or_rejected(document)


@pytest.mark.slow
@quick
@given(
    st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=4),
    st.integers(-1, 12) | JUNK,
)
def test_a_damaged_document_of_any_version_is_accepted_or_rejected(document: dict[str, Any], version: Any) -> None:
    """The same holds for documents that are migrated first."""
    accepted_or_rejected(document | {"__version": version})


@pytest.mark.slow
@quick
@given(documents() | damaged())
def test_the_check_takes_whatever_can_be_read(document: dict[str, Any]) -> None:
    """Anything that can be read is checked without a crash, however strange
    its values; every finding has a path and a message.
    """
    with contextlib.suppress(ConfigInvalidError):
        found = check(from_document(document)[0], base_folder=Path("/nowhere"))
        assert all(finding.path and finding.message for finding in found)


@pytest.mark.parametrize("value", ["9" * 500, f"512x{'9' * 500}", f"{'9' * 7},512"])
def test_the_check_names_a_resolution_beyond_all_measure(value: str) -> None:
    """Its digits alone would overflow the results."""
    found = check(from_document({"resolution": value})[0], base_folder=Path("/nowhere"))
    assert "resolution-syntax" in {finding.code for finding in found if finding.path == "resolution"}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"epochs": ' + "1" * 10_000 + "}", '{"epochs": ', "", "7", "\0"])
def test_a_text_that_no_parser_takes_is_an_error_of_the_file(text: str) -> None:
    """Examples are endless brackets and endless numbers."""
    with pytest.raises(ConfigFileError, match="the file"):
        parse(text, name="the file")


@pytest.mark.parametrize("document", [{"unet": {"learning_rate": math.nan}}, {"unet": {"learning_rate": "nan"}}])
def test_what_is_not_a_number_is_rejected(document: dict[str, Any]) -> None:
    """JSON can't represent NaN, and it would never compare as unchanged."""
    with pytest.raises(ConfigInvalidError) as caught:
        from_document(document)
    assert caught.value.path == "unet.learning_rate"


@pytest.mark.slow
@quick
@given(st.data())
def test_a_damaged_text_is_accepted_or_rejected(data: st.DataObject) -> None:
    """A truncated or corrupted file is an error, or is read like any other."""
    text = json.dumps({"epochs": 3, "optimizer": {"optimizer": "ADAMW", "beta1": 0.5}, "concepts": [{"name": "a", "image": {}}]})
    start = data.draw(st.integers(0, len(text)))
    text = text[:start] + data.draw(st.text(max_size=3)) + text[start + data.draw(st.integers(0, 5)) :]
    document = None
    with contextlib.suppress(ConfigFileError):
        document = parse(text, name="it")
    if document is not None:
        accepted_or_rejected(document)
