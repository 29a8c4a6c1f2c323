"""Own all mutable state: runs, their journals, the current settings, system readings and access.

Names are loaded on first use, so that the small processes of a run (supervisor and worker), which import one module of this
package, don't load the rest of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onetrainer_gradio.service.host.access import Access
    from onetrainer_gradio.service.host.path_guard import PathGuard
    from onetrainer_gradio.service.service_settings import ServiceSettings
    from onetrainer_gradio.service.trainer import TrainerService, get_trainer_service

_HOMES = {
    "Access": "onetrainer_gradio.service.host.access",
    "PathGuard": "onetrainer_gradio.service.host.path_guard",
    "ServiceSettings": "onetrainer_gradio.service.service_settings",
    "TrainerService": "onetrainer_gradio.service.trainer",
    "get_trainer_service": "onetrainer_gradio.service.trainer",
}

__all__ = ["Access", "PathGuard", "ServiceSettings", "TrainerService", "get_trainer_service"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
