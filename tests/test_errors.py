"""Errors report what happened, what was expected and what to do."""

import inspect

from onetrainer_gradio import errors


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    """The docstring lists every class at its place in the tree."""
    drawn = {}
    stack = []
    for line in errors.__doc__.splitlines():
        name = next((word for word in line.split() if word.endswith("Error")), None)
        if name is None:
            continue
        depth = line.index(name)
        while stack and stack[-1][0] >= depth:
            stack.pop()
        drawn[name] = stack[-1][1] if stack else "Exception"
        stack.append((depth, name))
    classes = {
        name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, errors.TrainerError)
    }
    assert drawn == {name: kind.__base__.__name__ for name, kind in classes.items()}


def test_the_text_of_an_error_carries_the_suggestion_or_what_was_expected():
    """One line shows what to do, once."""
    error = errors.ConfigValueError("Epochs is 0", expected="at least 1", suggestion="Set it to 1.")
    assert str(error) == "Epochs is 0. Set it to 1."
    assert str(errors.ConfigValueError("Epochs is 0.", expected="at least 1")) == "Epochs is 0. Expected: at least 1."


def test_an_invalid_configuration_names_the_first_and_counts_the_rest():
    """The short text is useful even with many findings."""
    found = [errors.Finding("warning", "a", "A"), errors.Finding("error", "b", "B"), errors.Finding("error", "c", "C")]
    error = errors.ConfigInvalidError(found)
    assert "B (and 1 more)" in str(error)
    assert error.path == "b"
    assert error.findings() == tuple(found)


def test_a_wait_is_reported_in_whole_seconds():
    """A wait is at least one second, and one second is singular."""
    assert errors.TooManyAttemptsError(0.2).message == "Too many wrong attempts. Wait 1 second."
    assert errors.TooManyAttemptsError(63.6).message == "Too many wrong attempts. Wait 64 seconds."
