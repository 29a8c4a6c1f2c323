"""Remove the environment variables with the panel's secrets, which no process of a run needs."""

from __future__ import annotations

from collections.abc import Mapping

PASSWORD_VARIABLE = "ONETRAINER_GRADIO_PASSWORD"
TOKEN_VARIABLE = "ONETRAINER_GRADIO_TOKEN"
SSL_PASSWORD_VARIABLE = "ONETRAINER_GRADIO_SSL_PASSWORD"
NOTIFICATIONS_VARIABLE = "ONETRAINER_GRADIO_NOTIFICATIONS"
"""Addresses that notifications are sent to, separated by spaces."""
OIDC_SECRET_VARIABLE = "ONETRAINER_GRADIO_OIDC_CLIENT_SECRET"
SPACE_SECRET_VARIABLE = "OAUTH_CLIENT_SECRET"
"""Set by a Space with ``hf_oauth: true``."""
ACCOUNTS_VARIABLE = "ONETRAINER_GRADIO_ACCOUNTS"
"""Whether people sign in with accounts; not a secret."""
_ALL = frozenset(
    {PASSWORD_VARIABLE, TOKEN_VARIABLE, SSL_PASSWORD_VARIABLE, NOTIFICATIONS_VARIABLE}
    | {OIDC_SECRET_VARIABLE, SPACE_SECRET_VARIABLE}
)


def without_panel_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a process of a run, whose code and console log aren't the panel's."""
    return {name: value for name, value in environment.items() if name not in _ALL}
