"""The place of what stays loaded between two runs."""

from __future__ import annotations

from onetrainer_gradio.backends.warm import Warm


class Loaded:
    def __init__(self) -> None:
        self.works, self.closed = True, 0

    def usable(self) -> bool:
        return self.works

    def close(self) -> None:
        self.closed += 1


def test_what_was_kept_is_taken_once() -> None:
    """Whoever takes it owns it from then on."""
    warm, thing = Warm(), Loaded()
    warm.keep("mark", thing)
    assert warm.holds()
    assert warm.take("mark") is thing
    assert not warm.holds()
    assert warm.take("mark") is None
    assert thing.closed == 0


def test_what_does_not_fit_or_does_not_work_is_closed() -> None:
    """Something loaded from elsewhere, or that died meanwhile, is never given out and never left behind."""
    warm, other, dead, replaced, last = Warm(), Loaded(), Loaded(), Loaded(), Loaded()
    warm.keep("other", other)
    assert warm.take("mark") is None
    warm.keep("mark", dead)
    dead.works = False
    assert not warm.holds()
    assert warm.take("mark") is None
    warm.keep("mark", replaced)
    warm.keep("mark", last)
    warm.close()
    warm.close()
    assert [thing.closed for thing in (other, dead, replaced, last)] == [1, 1, 1, 1]
