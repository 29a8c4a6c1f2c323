"""Regular expressions written by users.

Covers ``config/pattern_worker.py``.
"""

import contextlib
import re
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetrainer_gradio.config import patterns
from onetrainer_gradio.config.dataset.caption_augmentation import matching
from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.layer_names import layer_names
from onetrainer_gradio.config.layers.filter import layers_to_train, select
from onetrainer_gradio.config.layers.match import layer_match
from onetrainer_gradio.errors import PatternError

pytestmark = pytest.mark.slow

NAMES = layer_names(ModelType.STABLE_DIFFUSION_15)
SLOW = (r"(\w+\.?)+!", r"(.*)*(.*)*(.*)*z", r"^(([\w.])+.)+[A-Z]$", r"(?:\w|\w\w)+\d!")

# Another regex library would match several of these differently than re.
SAME_AS_RE = (
    "attn[12].*to_[qk]$",
    r"^down_blocks\.(?:0|1)\.",
    r"(?i)ATTN",
    "[[:alpha:]]",
    "(?:attn){e<=1}",
    "a{,2}b",
    "[+--c]q?",
    r"(?P<n>\d)\.\w+\.(?P=n)",
    r"(?<!to_)q\b",
    r"(?>attn)1",
    r"to_\w(?#[)",
    "(?x) to_q # [",
    r"\N{LATIN SMALL LETTER A}ttn",
    "é|ü|\u0301",
    r"^\w+$",
)


@pytest.mark.parametrize("pattern", SAME_AS_RE)
@pytest.mark.parametrize("how", ["search", "fullmatch"])
def test_a_pattern_means_what_it_means_to_python(pattern, how):
    """Search and full match give the results of ``re``, so a filter has the same meaning here and in OneTrainer."""
    texts = (*NAMES[:60], "aab", "attm", "l]", "e\u0301", "ATTN", "q")
    fit = getattr(re.compile(pattern), how)
    expected = frozenset(at for at, text in enumerate(texts) if fit(text))
    assert patterns.fits([pattern], texts, how) == [expected]


@given(st.text(alphabet=r"abq_.^$\- /", max_size=8))
@settings(max_examples=200, deadline=None)
def test_what_is_evaluated_directly_means_the_same(pattern):
    """The results are the same without a process."""
    try:
        fit = re.compile(pattern).search
    except re.error:
        return
    if patterns._forced(pattern):
        expected = frozenset(at for at, name in enumerate(NAMES[:40]) if fit(name))
        assert patterns.fits([pattern], NAMES[:40], "search") == [expected]


@pytest.mark.parametrize("pattern", [SLOW[0], *(pytest.param(pattern, marks=pytest.mark.slow) for pattern in SLOW[1:])])
def test_a_pattern_that_never_ends_is_ended_while_others_continue(pattern):
    """It stops at its time limit, and no other thread waits for it."""
    turns = 0
    done = threading.Event()

    def count():
        nonlocal turns
        while not done.wait(0.01):
            turns += 1

    other = threading.Thread(target=count)
    other.start()
    started = time.monotonic()
    with pytest.raises(PatternError, match="took too long"):
        select(NAMES, pattern, True, seconds=0.2)
    took = time.monotonic() - started
    done.set()
    other.join()
    assert took < 4
    assert turns > 5


@pytest.mark.exhaustive
def test_a_slow_pattern_among_good_ones_is_found_everywhere():
    """This covers the filter, its display on the page, a run, and special tags."""
    with pytest.raises(PatternError, match="took too long") as caught:
        select(NAMES, f"attn,{SLOW[0]}", True, seconds=0.1)
    assert (caught.value.path, caught.value.value) == ("layer_filter", f"attn,{SLOW[0]}")
    with pytest.raises(PatternError):
        layer_match(ModelType.STABLE_DIFFUSION_15, SLOW[0], True)
    with pytest.raises(PatternError):
        matching([r"(\w+\s?)+!"], ["a long caption of many words that ends without a mark of any kind"])


@pytest.mark.alone
def test_a_second_look_at_a_slow_pattern_costs_nothing():
    """A pattern that timed out is remembered; a form that is rendered repeatedly doesn't wait again."""
    for _ in range(2):
        started = time.monotonic()
        with pytest.raises(PatternError):
            select(NAMES, SLOW[1], True, seconds=0.15)
    assert time.monotonic() - started < 0.1


@pytest.mark.parametrize("pattern", ["(?:" * 150 + "a" + "{2})" * 150, "((((a{1,100}){1,100}){1,100}){1,100}){1,100}", "(" * 900])
def test_a_pattern_that_grows_is_bounded(pattern):
    """Nested repeats and deep nesting are answered quickly, whatever the answer."""
    started = time.monotonic()
    with contextlib.suppress(PatternError):
        patterns.fits([pattern], NAMES, "search", seconds=0.5)
    assert time.monotonic() - started < 4


def test_too_many_and_too_long_patterns_are_an_error():
    """They have no practical use, and each is searched in each name."""
    with pytest.raises(PatternError, match="at most 5000 patterns, not 6001"):
        select(NAMES, "x," * 6000, False)
    with pytest.raises(PatternError, match="at most 20000 characters, not 30000"):
        select(NAMES, "(" * 30_000, True)


def test_a_run_gives_a_pattern_more_time_than_the_check(monkeypatch):
    """A pattern that passed the check doesn't fail in a run on a slower machine."""
    given_s = []
    monkeypatch.setattr(patterns, "_evaluated", lambda asked, texts, how, seconds: given_s.append(seconds) or (frozenset({0}),))
    layers_to_train(NAMES, "(attn)+", True, idle_allowed=True)
    select(NAMES, "(attn)+", True)
    assert given_s == [patterns.RUN_S, patterns.CHECK_S]


def test_a_process_that_cannot_be_started_is_reported(monkeypatch):
    """Without an interpreter nothing is evaluated, and nothing counts as a match."""
    monkeypatch.setattr(patterns.sys, "executable", "/nowhere/python")
    with pytest.raises(PatternError, match="no process can be started"):
        patterns.fits(["(x)+"], ("x",), "search")
