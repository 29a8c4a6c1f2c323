"""Every error that a user of the panel can meet.

::

    TrainerError
    ├── ConfigError                 the settings
    │   ├── ConfigValueError        one value is wrong
    │   │   └── PatternError        a regular expression takes too long, or can't be evaluated
    │   ├── ConfigInvalidError      the check before the start found something
    │   ├── ConfigFileError         a file is no readable configuration
    │   ├── ConfigNotFoundError     no saved configuration of that name
    │   ├── ConfigExistsError       there is a saved configuration of that name
    │   ├── NothingToUndoError      there is no change to take back or to make again
    │   └── RevisionConflictError   somebody else changed the settings meanwhile
    ├── InputError                  what the run reads
    │   ├── PathNotFoundError       no folder or file there that can be read
    │   ├── PathExistsError         there is a folder or file of that name already
    │   ├── CheckoutError           the OneTrainer checkout cannot be used
    │   │   └── CheckoutNotFoundError   the panel knows no such checkout
    │   ├── ModelNotFoundError      no base model there
    │   ├── ModelFormatError        it is there but is not what was expected
    │   ├── DatasetError            no usable pictures or captions
    │   ├── BackupNotFoundError     nothing to go on from
    │   └── BackupMismatchError     the backup does not fit the settings
    ├── TrainingError               the run itself
    │   ├── UnsupportedError        this backend cannot do that
    │   ├── NonFiniteLossError      the loss is no number any more
    │   ├── OutOfMemoryError        graphics or main memory is used up
    │   ├── SamplingError           a preview picture could not be made
    │   └── WorkerDiedError         the training process ended without saying why
    ├── StorageError                what the run writes
    │   ├── DiskFullError           no space left
    │   ├── OutputExistsError       a file would be overwritten
    │   └── OutputProtectedError    the result would replace files that no run wrote
    ├── RunError                    runs and commands
    │   ├── RunConflictError        not possible in the present state
    │   │   └── CommandRefusedError the command does not fit the present state
    │   ├── RunNotFoundError        no such run
    │   └── SampleNotFoundError     no such sample
    ├── AccessError                 who may do what
    │   ├── NotAuthenticatedError   a password or token is needed
    │   ├── TooManyAttemptsError    wrong passwords came too fast
    │   ├── ForbiddenPathError      outside the allowed folders
    │   ├── ForbiddenOriginError    the request comes from a foreign page
    │   └── InsecureBindError       open to others without a password
    ├── BusyError                   too many requests at the same time
    └── CommandLineError            the command line

Catch the broad classes; act on the narrow ones. The message describes what happened. ``expected`` is the syntax that was
expected, ``suggestion`` a sentence that starts with a verb ("Set it to 1."), and ``path`` the setting, if there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


def sentence(text: str) -> str:
    """Return the text with a capital letter at its start and a period at its end."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing, about a configuration.

    ``severity`` is ``error`` (blocks the start), ``warning`` or ``note``; ``path`` is the dotted path of the setting. ``code``
    names the kind of finding (``docs/preflight.md`` lists them), and ``fix`` is the change that removes it where one change is
    right: dotted path -> new value.
    """

    severity: str
    path: str
    message: str
    value: Any = None
    expected: str = ""
    suggestion: str = ""
    code: str = ""
    fix: Mapping[str, Any] = field(default_factory=dict)


class TrainerError(Exception):
    """Base of all errors that a user can meet."""

    def __init__(self, message: str, *, path: str = "", value: Any = None, expected: str = "", suggestion: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.value = value
        self.expected = expected
        self.suggestion = suggestion

    def findings(self) -> tuple[Finding, ...]:
        """The error as a list of findings, one per place to change."""
        return (Finding("error", self.path, self.message, self.value, self.expected, self.suggestion),)

    def __str__(self) -> str:
        parts = [self.message if self.message.endswith((".", "!", "?")) else f"{self.message}."]
        if self.expected:
            parts.append(f"Expected: {self.expected}.")
        if self.suggestion:
            parts.append(sentence(self.suggestion))
        return " ".join(parts)


class ConfigError(TrainerError):
    """Something about the settings."""


class ConfigValueError(ConfigError):
    """One value is wrong."""


class PatternError(ConfigValueError):
    """A regular expression takes too long, or can't be evaluated."""


class ConfigInvalidError(ConfigError):
    """The check before the start found errors; ``all_findings`` holds every finding, warnings included."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.all_findings = tuple(findings)
        errors = [finding for finding in findings if finding.severity == "error"]
        first = errors[0].message if errors else "unknown reason"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"These settings cannot be used: {first}{more}", path=errors[0].path if errors else "")

    def findings(self) -> tuple[Finding, ...]:
        return self.all_findings


class ConfigFileError(ConfigError):
    """A file is no readable configuration."""


class ConfigNotFoundError(ConfigError):
    """There is no saved configuration or preset of that name."""


class ConfigExistsError(ConfigError):
    """There is a saved configuration of that name, and nobody said to write over it."""


class NothingToUndoError(ConfigError):
    """There is no change to take back or to make again."""


class RevisionConflictError(ConfigError):
    """The settings were changed by somebody else since they were read."""


class InputError(TrainerError):
    """Something that the run reads is missing or wrong."""


class PathNotFoundError(InputError):
    """There is no folder or file at a path, or it cannot be read."""


class PathExistsError(InputError):
    """There is a folder or file at a path already."""


class CheckoutError(InputError):
    """The OneTrainer checkout cannot be used: it is not there, not whole, or its Python cannot import it."""


class CheckoutNotFoundError(CheckoutError):
    """The panel knows no such checkout."""


class ModelNotFoundError(InputError):
    """There is no base model at the given place."""


class ModelFormatError(InputError):
    """The base model is there but is not what was expected."""


class DatasetError(InputError):
    """No usable pictures or captions."""


class BackupNotFoundError(InputError):
    """There is no backup to go on from."""


class BackupMismatchError(InputError):
    """The backup was made with settings that do not fit the present ones."""


class TrainingError(TrainerError):
    """The run itself failed."""


class UnsupportedError(TrainingError):
    """The chosen backend cannot do what a setting asks for."""


class NonFiniteLossError(TrainingError):
    """The loss became infinite or not a number."""


class OutOfMemoryError(TrainingError):
    """Graphics memory or main memory is used up."""


class SamplingError(TrainingError):
    """A preview picture could not be made."""


class WorkerDiedError(TrainingError):
    """The training process ended without saying why."""


class StorageError(TrainerError):
    """Something could not be written."""


class DiskFullError(StorageError):
    """There is no space left on the disk."""


class OutputExistsError(StorageError):
    """A file would be overwritten that the settings protect."""


class OutputProtectedError(StorageError):
    """The result would replace, or be mixed with, files that no run wrote."""


class RunError(TrainerError):
    """Runs and the commands given to them."""


class RunConflictError(RunError):
    """The request does not fit what is going on."""


class CommandRefusedError(RunConflictError):
    """A command does not fit the present state of the run."""


class RunNotFoundError(RunError):
    """There is no such run."""


class SampleNotFoundError(RunError):
    """There is no such sample."""


class AccessError(TrainerError):
    """Who may do what."""


class NotAuthenticatedError(AccessError):
    """A password or token is needed."""


class TooManyAttemptsError(AccessError):
    """Wrong passwords came too fast; ``retry_after_s`` says how many seconds to wait."""

    def __init__(self, retry_after_s: float) -> None:
        seconds = max(1, round(retry_after_s))
        super().__init__(
            f"Too many wrong attempts. Wait {seconds} second{'s' if seconds > 1 else ''}.",
            expected="the password or token of the panel",
        )
        self.retry_after_s = retry_after_s


class ForbiddenPathError(AccessError):
    """The path lies outside the allowed folders."""


class ForbiddenOriginError(AccessError):
    """The request comes from a foreign page or under a foreign host name."""


class InsecureBindError(AccessError):
    """The panel would be open to others without a password."""


class BusyError(TrainerError):
    """Too many requests are waiting; the same request works a moment later."""


class CommandLineError(TrainerError):
    """The command line cannot be understood."""

    exit_status: ClassVar[int] = 2
