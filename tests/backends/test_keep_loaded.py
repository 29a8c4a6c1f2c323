"""The storage for what stays loaded between two runs."""

from __future__ import annotations

from onetrainer_gradio.backends.keep_loaded import KeepLoaded


class Loaded:
    def __init__(self) -> None:
        self.works, self.closed = True, 0

    def usable(self) -> bool:
        return self.works

    def close(self) -> None:
        self.closed += 1


def test_what_was_kept_is_taken_once() -> None:
    """The caller that takes it owns it from then on."""
    keep_loaded, thing = KeepLoaded(), Loaded()
    keep_loaded.keep("mark", thing)
    assert keep_loaded.holds()
    assert keep_loaded.take("mark") is thing
    assert not keep_loaded.holds()
    assert keep_loaded.take("mark") is None
    assert thing.closed == 0


def test_what_does_not_fit_or_does_not_work_is_closed() -> None:
    """A backend loaded from elsewhere, or one that died, is never returned and never left behind."""
    keep_loaded, other, dead, replaced, last = KeepLoaded(), Loaded(), Loaded(), Loaded(), Loaded()
    keep_loaded.keep("other", other)
    assert keep_loaded.take("mark") is None
    keep_loaded.keep("mark", dead)
    dead.works = False
    assert not keep_loaded.holds()
    assert keep_loaded.take("mark") is None
    keep_loaded.keep("mark", replaced)
    keep_loaded.keep("mark", last)
    keep_loaded.close()
    keep_loaded.close()
    assert [thing.closed for thing in (other, dead, replaced, last)] == [1, 1, 1, 1]
