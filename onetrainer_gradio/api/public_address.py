"""The address of the panel in a browser."""

from __future__ import annotations

from starlette.types import Scope

from onetrainer_gradio.api.cookies import HTTPS, host_of
from onetrainer_gradio.api.guard import hostname
from onetrainer_gradio.api.prefix import prefix_of
from onetrainer_gradio.service.host.access import Access


def public_address(scope: Scope, access: Access) -> str:
    """Return the panel's address in the browser, without a slash at the end: behind a proxy, on a Space and under a prefix."""
    settings, host = access.settings, host_of(scope)
    secure = settings.hosted or scope["scheme"] in HTTPS
    if settings.hosted and settings.hosts and hostname(host) not in settings.hosts:
        host = settings.hosts[0]  # the name that is registered with the provider
    return f"{'https' if secure else 'http'}://{host}{prefix_of(scope)}"
