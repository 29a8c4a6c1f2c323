"""Reach the Hugging Face Hub with the panel's token, and turn its errors into those of the panel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onetrainer_gradio.errors import (
    ConfigValueError,
    HubAccessError,
    HubError,
    HubNotFoundError,
    HubUnreachableError,
)
from onetrainer_gradio.service.host.atomic import NO_SPACE, raising_storage_error

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo

BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses of a hub that may answer a later attempt."""
_SHORT_S = 10.0
_OWN_TOKEN = "Enter a token with this permission on the System tab."


class HubClient:
    """The hub at ``HF_ENDPOINT``, or else huggingface.co. The library is imported at the first use. Safe from any thread."""

    def __init__(self, token: Callable[[], str] = str) -> None:
        self._token = token

    @property
    def token(self) -> str | None:
        """Return the panel's token; None lets the library look for that of ``hf auth login``."""
        return self._token() or None

    @property
    def endpoint(self) -> str:
        """Return the address, without a slash at its end."""
        return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")

    def api(self) -> HfApi:
        """Return the library's client."""
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=self.token)

    def check_reachable(self) -> None:
        """Raise if the hub doesn't answer one short request: the library repeats its own for half a minute before it fails.

        :raises HubUnreachableError: if there is no connection, or ``HF_HUB_OFFLINE`` is set.
        """
        from huggingface_hub import get_session

        with raising_hub_error("the hub"):
            get_session().head(self.endpoint, timeout=_SHORT_S)

    def search(self, words: str, limit: int, properties: Sequence[str]) -> list[ModelInfo]:
        """Return models with the words in their name that have a diffusers pipeline, the most downloaded first.

        One short request: the library's ``list_models`` repeats it for half a minute if the hub is busy, while a person waits.

        :raises HubError: if the hub doesn't answer, or is busy.
        """
        from huggingface_hub import ModelInfo, get_session
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

        asked: dict[str, str | int | Sequence[str]] = {
            "search": words,
            "filter": "diffusers",
            "sort": "downloads",
            "limit": limit,
            "expand": properties,
        }
        with raising_hub_error(words):
            headers = build_hf_headers(token=self.token)
            response = get_session().get(f"{self.endpoint}/api/models", params=asked, headers=headers, timeout=_SHORT_S)
            hf_raise_for_status(response)
            return [ModelInfo(**each) for each in response.json()]  # type: ignore[no-untyped-call]

    def account(self) -> dict[str, Any]:
        """Return whose token it is: ``name``, ``organizations``, and whether it ``writes`` (None: only for some repositories).

        :raises HubAccessError: if there is no token, or the hub doesn't accept it.
        :raises HubError: if the hub doesn't answer.
        """
        with raising_hub_error("your account"):
            found = self.api().whoami()
        role = (found.get("auth") or {}).get("accessToken", {}).get("role", "")
        return {
            "name": str(found.get("name", "")),
            "organizations": [str(each.get("name", "")) for each in found.get("orgs") or ()],
            "writes": {"write": True, "read": False}.get(role),
        }

    def check_access(self, repository: str, path: str) -> None:
        """Raise if a file of a gated repository can't be read.

        :raises HubAccessError: if its conditions aren't accepted.
        :raises HubError: if the hub doesn't answer.
        """
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        with raising_hub_error(repository):
            get_hf_file_metadata(hf_hub_url(repository, path, endpoint=self.endpoint), token=self.token, endpoint=self.endpoint)


@contextmanager
def raising_hub_error(name: str) -> Iterator[None]:
    """Turn errors of the library about ``name``, a repository or what else is asked for, into those of the panel.

    :raises HubAccessError: if the repository is gated, or the token isn't valid or lacks the permission.
    :raises HubNotFoundError: if it doesn't exist.
    :raises HubUnreachableError: if the hub can't be reached, or is busy.
    :raises HubError: if the hub reports anything else.
    :raises ConfigValueError: if the name isn't valid.
    :raises StorageError: if the library can't write a file.
    """
    import httpx2
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except HFValidationError as error:
        raise ConfigValueError(
            f"“{name}” isn't a valid name on the Hugging Face Hub",
            path="repo",
            value=name,
            expected="OWNER/NAME of letters, digits, “-”, “_” and “.”, at most 96 characters",
        ) from error
    except LocalTokenNotFoundError as error:
        raise HubAccessError(
            "There is no Hugging Face token",
            path="token",
            suggestion="Create a token with write permission on huggingface.co and enter it on the System tab.",
        ) from error
    except OfflineModeIsEnabled as error:
        raise HubUnreachableError(
            "The Hugging Face Hub isn't used, because HF_HUB_OFFLINE is set",
            suggestion="Remove this environment variable and restart the panel.",
        ) from error
    except GatedRepoError as error:
        raise HubAccessError(
            f"The repository “{name}” is gated",
            value=name,
            suggestion="Accept its conditions on huggingface.co, then enter your token on the System tab.",
        ) from error
    except RevisionNotFoundError as error:
        raise HubNotFoundError(
            f"The repository “{name}” has no such revision", value=name, suggestion="Use the revision “main”."
        ) from error
    except RepositoryNotFoundError as error:
        raise HubNotFoundError(
            f"The repository “{name}” doesn't exist on the Hugging Face Hub, or your token can't read it",
            value=name,
            suggestion="Check the name.",
        ) from error
    except LocalEntryNotFoundError as error:  # the library got no response, and searched its cache
        raise unreachable(error.__cause__ if isinstance(error.__cause__, Exception) else error) from error
    except EntryNotFoundError as error:
        raise HubNotFoundError(f"A file of “{name}” doesn't exist on the Hugging Face Hub", value=name) from error
    except HfHubHTTPError as error:
        raise _by_status(error.response.status_code, name) from error
    except httpx2.HTTPError as error:
        raise unreachable(error) from error
    except OSError as error:
        if error.filename is None and error.errno not in NO_SPACE:
            raise unreachable(error) from error
        with raising_storage_error(f"files of “{name}”"):  # the disk of this machine, not the connection
            raise
    except (ValueError, KeyError) as error:
        raise HubError(f"The Hugging Face Hub doesn't accept “{name}”: {error}", value=name) from error


def unreachable(error: Exception) -> HubUnreachableError:
    """Return the error for a hub that doesn't answer."""
    return HubUnreachableError(
        f"The Hugging Face Hub can't be reached ({type(error).__name__})",
        suggestion="Check the connection, or choose a model on this machine.",
    )


def _by_status(status: int, name: str) -> HubError:
    if status == 401:
        return HubAccessError(
            "The Hugging Face Hub doesn't accept the token", value=name, suggestion="Enter a valid token on the System tab."
        )
    if status == 403:
        return HubAccessError(f"Your token has no permission for “{name}”", value=name, suggestion=_OWN_TOKEN)
    if status in BUSY:
        return HubUnreachableError(f"The Hugging Face Hub is busy (status {status})", suggestion="Try again in a minute.")
    return HubError(f"The Hugging Face Hub rejected the request about “{name}” (status {status})", value=name)
