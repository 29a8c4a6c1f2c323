"""Define every error that a user can see.

::

    TrainerError
    ├── ConfigError                 the settings
    │   ├── ConfigValueError        one value is wrong
    │   │   └── PatternError        a regular expression takes too long, or can't be evaluated
    │   ├── ConfigInvalidError      the pre-flight check found errors
    │   ├── ConfigFileError         a file isn't a readable configuration
    │   ├── ConfigNotFoundError     no saved configuration with this name
    │   ├── ConfigExistsError       a saved configuration with this name exists
    │   ├── NothingToUndoError      there is no change to undo or redo
    │   └── RevisionConflictError   someone else changed the settings in the meantime
    ├── InputError                  what the run reads
    │   ├── PathNotFoundError       no readable folder or file
    │   ├── PathExistsError         a folder or file with this name exists
    │   ├── CheckoutError           the OneTrainer checkout can't be used
    │   │   └── CheckoutNotFoundError   the checkout isn't registered
    │   ├── ModelNotFoundError      no base model at the path
    │   ├── ModelFormatError        the base model isn't what was expected
    │   ├── DatasetError            no usable images or captions
    │   │   ├── CaptionConflictError    someone else changed the caption in the meantime
    │   │   └── UploadConflictError     the piece doesn't continue the upload
    │   ├── ArchiveError            a backup file of the data folder can't be restored
    │   ├── BackupNotFoundError     no backup to resume from
    │   └── BackupMismatchError     the backup doesn't match the settings
    ├── TrainingError               the run itself
    │   ├── UnsupportedError        the backend doesn't support a setting
    │   ├── NonFiniteLossError      the loss is NaN or infinite
    │   ├── OutOfMemoryError        out of VRAM or system RAM
    │   ├── SamplingError           a sample could not be generated
    │   └── WorkerDiedError         the training process ended without an error message
    ├── StorageError                what the run writes
    │   ├── DiskFullError           no space left
    │   ├── DataVersionError        a newer version wrote the data folder
    │   ├── OutputExistsError       a file would be overwritten
    │   └── OutputProtectedError    the result would replace files that no run wrote
    ├── RunError                    runs and commands
    │   ├── RunConflictError        not possible in the current state
    │   │   └── CommandRefusedError the command isn't possible in the current state
    │   ├── RunNotFoundError        no such run
    │   ├── QueueItemNotFoundError  no such queued run
    │   └── SampleNotFoundError     no such sample
    ├── AccessError                 who may do what
    │   ├── NotAuthenticatedError   a password or token is needed
    │   │   └── CodeRequiredError       a code of the authenticator app is needed
    │   ├── SignInProviderError     the sign-in provider can't be reached or used
    │   ├── TooManyAttemptsError    wrong passwords came too fast
    │   ├── RateLimitError          requests came too fast
    │   ├── NotPermittedError       the role doesn't allow this
    │   ├── AccountError            an account, token or link can't be like this
    │   │   ├── AccountNotFoundError    no such account, token or link
    │   │   ├── LastOwnerError          no owner would be left
    │   │   └── QuotaError              the person's quota is used up
    │   ├── ForbiddenPathError      outside the allowed folders
    │   ├── ForbiddenOriginError    the request comes from another site
    │   └── InsecureBindError       open to others without a password
    ├── HubError                    the Hugging Face Hub
    │   ├── HubUnreachableError     it can't be reached, or is busy
    │   ├── HubAccessError          the token is missing, or lacks a permission
    │   ├── HubNotFoundError        no such repository, revision or file
    │   ├── HubExistsError          the repository has files already
    │   └── HubDownloadError        what was downloaded isn't what the hub has
    ├── BusyError                   too many requests at the same time
    └── CommandLineError            the command line
        └── CertificateError        a certificate file for HTTPS can't be used

Catch the broad classes; act on the narrow ones. The message describes what happened. ``expected`` is the syntax that was
expected, ``suggestion`` a sentence that starts with a verb ("Set it to 1."), and ``path`` the setting, if there is one.
"""

from __future__ import annotations

import math
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
    identifies the kind of finding (``docs/preflight.md`` lists them), and ``fix`` is the change that removes it, if one change is
    clearly right: dotted path -> new value.
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
        """Return the error as a list of findings, one per setting."""
        return (Finding("error", self.path, self.message, self.value, self.expected, self.suggestion),)

    def __str__(self) -> str:
        parts = [self.message if self.message.endswith((".", "!", "?")) else f"{self.message}."]
        if self.suggestion:
            parts.append(sentence(self.suggestion))
        elif self.expected:
            parts.append(f"Expected: {self.expected}.")
        return " ".join(parts)


class ConfigError(TrainerError):
    """Something about the settings."""


class ConfigValueError(ConfigError):
    """One value is wrong."""


class PatternError(ConfigValueError):
    """A regular expression takes too long, or can't be evaluated."""


class ConfigInvalidError(ConfigError):
    """The pre-flight check found errors; ``all_findings`` contains every finding, including warnings."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.all_findings = tuple(findings)
        errors = [finding for finding in findings if finding.severity == "error"]
        first = errors[0].message if errors else "unknown reason"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"These settings can't be used: {first}{more}", path=errors[0].path if errors else "")

    def findings(self) -> tuple[Finding, ...]:
        return self.all_findings


class ConfigFileError(ConfigError):
    """A file isn't a readable configuration."""


class ConfigNotFoundError(ConfigError):
    """There is no saved configuration or preset with this name."""


class ConfigExistsError(ConfigError):
    """A saved configuration with this name already exists, and overwriting was not requested."""


class NothingToUndoError(ConfigError):
    """There is no change to undo or redo."""


class RevisionConflictError(ConfigError):
    """Someone else changed the settings since they were read."""


class InputError(TrainerError):
    """Something that the run reads is missing or wrong."""


class PathNotFoundError(InputError):
    """A folder or file doesn't exist, or can't be read."""


class PathExistsError(InputError):
    """A folder or file already exists."""


class CheckoutError(InputError):
    """The OneTrainer checkout can't be used: it doesn't exist, is incomplete, or its Python can't import it."""


class CheckoutNotFoundError(CheckoutError):
    """The checkout isn't registered."""


class ModelNotFoundError(InputError):
    """There is no base model at the given path."""


class ModelFormatError(InputError):
    """The base model exists but isn't what was expected."""


class DatasetError(InputError):
    """No usable images or captions."""


class CaptionConflictError(DatasetError):
    """Someone else changed the caption since it was read; ``value`` has both texts and the current version."""


class UploadConflictError(DatasetError):
    """A piece doesn't start where the upload continues; ``value`` is that offset in bytes."""


class ArchiveError(InputError):
    """A backup file of the data folder is damaged, unsafe, or not a backup."""


class BackupNotFoundError(InputError):
    """There is no backup to resume from."""


class BackupMismatchError(InputError):
    """The backup was created with settings that don't match the current ones."""


class TrainingError(TrainerError):
    """The run itself failed."""


class UnsupportedError(TrainingError):
    """The selected backend doesn't support a setting."""


class NonFiniteLossError(TrainingError):
    """The loss is NaN or infinite."""


class OutOfMemoryError(TrainingError):
    """Out of VRAM or system RAM."""


class SamplingError(TrainingError):
    """A sample could not be generated."""


class WorkerDiedError(TrainingError):
    """The training process ended without an error message."""


class StorageError(TrainerError):
    """Something could not be written."""


class DiskFullError(StorageError):
    """There is no space left on the disk."""


class DataVersionError(StorageError):
    """A newer version of the program wrote the data folder, or its version can't be read."""


class OutputExistsError(StorageError):
    """A file that the settings protect would be overwritten."""


class OutputProtectedError(StorageError):
    """The result would replace, or be mixed with, files that no run wrote."""


class RunError(TrainerError):
    """Something about runs and their commands."""


class RunConflictError(RunError):
    """The request conflicts with the current state."""


class CommandRefusedError(RunConflictError):
    """A command isn't possible in the current state of the run."""


class RunNotFoundError(RunError):
    """There is no such run."""


class QueueItemNotFoundError(RunError):
    """There is no such run in the queue."""


class SampleNotFoundError(RunError):
    """There is no such sample."""


class AccessError(TrainerError):
    """Something about access."""


class NotAuthenticatedError(AccessError):
    """A password or token is needed."""


class CodeRequiredError(NotAuthenticatedError):
    """A code of the authenticator app is needed, or it was wrong."""


class SignInProviderError(AccessError):
    """The OpenID Connect provider can't be reached, or its answers can't be used."""


class TooManyAttemptsError(AccessError):
    """Wrong passwords came too fast; ``retry_after_s`` is the number of seconds to wait."""

    def __init__(self, retry_after_s: float) -> None:
        seconds = max(1, round(retry_after_s))
        super().__init__(
            f"Too many wrong attempts. Wait {seconds} second{'s' if seconds > 1 else ''}.",
            expected="the password or token of the panel",
        )
        self.retry_after_s = retry_after_s


class NotPermittedError(AccessError):
    """The role of the person, token or link doesn't allow this."""


class RateLimitError(AccessError):
    """Someone sent more requests than the panel accepts; ``retry_after_s`` is the number of seconds to wait."""

    def __init__(self, what: str, per_minute: int, retry_after_s: float) -> None:
        seconds = max(1, math.ceil(retry_after_s))
        super().__init__(
            f"Too many requests ({what}): {per_minute} per minute are allowed.",
            suggestion=f"Try again in {seconds} second{'s' if seconds > 1 else ''}.",
        )
        self.retry_after_s = float(seconds)


class AccountError(AccessError):
    """An account, token or link can't have this value."""


class AccountNotFoundError(AccountError):
    """There is no such account, token or link."""


class LastOwnerError(AccountError):
    """No owner would be left who can sign in."""


class QuotaError(AccountError):
    """The person's quota is used up."""


class ForbiddenPathError(AccessError):
    """The path is outside the allowed folders."""


class ForbiddenOriginError(AccessError):
    """The request comes from another site or uses another host name."""


class InsecureBindError(AccessError):
    """The panel would be open to others without a password."""


class HubError(TrainerError):
    """The Hugging Face Hub reports an error."""


class HubUnreachableError(HubError):
    """The Hugging Face Hub can't be reached, or is busy."""


class HubAccessError(HubError):
    """The Hugging Face token is missing, isn't valid, or lacks a permission."""


class HubNotFoundError(HubError):
    """The repository, revision or file doesn't exist on the Hugging Face Hub."""


class HubExistsError(HubError):
    """The repository on the Hugging Face Hub has files already."""


class HubDownloadError(HubError):
    """What was downloaded isn't what the Hugging Face Hub has."""


class BusyError(TrainerError):
    """Too many requests are waiting; try again a moment later."""


class CommandLineError(TrainerError):
    """The command line is invalid."""

    exit_status: ClassVar[int] = 2


class CertificateError(CommandLineError):
    """A certificate file for HTTPS can't be used."""
