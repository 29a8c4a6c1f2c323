"""Define which role each route needs: REST, WebSocket, Gradio's paths and functions. The guard enforces this table.

A route without an entry is closed, and ``tests/test_permissions.py`` fails. Keys are a method and a path template. Some
requests carry an action in their body; for these, the action follows (``POST /api/runs/bulk delete``). Functions of
``gradio_client`` and messages over the WebSocket also have keys (``gradio start``, ``message open_edits``).
"""

from __future__ import annotations

from collections.abc import Mapping

from onetrainer_gradio.errors import NotPermittedError
from onetrainer_gradio.service.people.roles import Identity, Role

_BY_ROLE: Mapping[Role, tuple[str, ...]] = {
    # without signing in
    Role.NOBODY: (
        "GET /login",
        "POST /login",
        "POST /api/login",
        "GET /login/start",
        "GET /login/callback",
        "GET /health",
        "GET /health/live",
        "GET /setup",
        "POST /setup",
        "POST /api/setup",
    ),
    # sees runs and samples
    Role.VIEWER: (
        "GET /api/session",
        "POST /api/logout",
        "GET /api/account",
        "POST /api/account/password",
        "POST /api/account/two-factor/offer",
        "PUT /api/account/two-factor",
        "DELETE /api/account/two-factor",
        "DELETE /api/account/sessions/{session_id}",
        "POST /api/account/tokens",
        "DELETE /api/account/tokens/{token_id}",
        "GET /shared",
        "GET /shared/{name}",
        "GET /api/shared",
        "GET /api/shared/samples",
        "WEBSOCKET /ws",
        "message ping",
        "GET /api/events",
        "GET /api/training/status",
        "GET /api/training/progress",
        "GET /api/commands/{command_id}",
        "GET /api/queue",
        "GET /api/queue/{item_id}",
        "GET /api/config/libraries",
        "GET /api/config/presets",
        "GET /api/config/presets/{name:path}",
        "GET /api/config/current",
        "GET /api/config/list",
        "GET /api/config/diff",
        "GET /api/config/schema",
        "GET /api/config/aliases",
        "GET /api/config/defaults",
        "GET /api/generations",
        "GET /api/generations/{grid_id}",
        "GET /api/generations/{grid_id}/images/{number}",
        "GET /api/generations/{grid_id}/images/{number}/thumbnail",
        "GET /api/generations/{grid_id}/images.zip",
        "GET /api/runs/{run_id}/publications",
        "GET /api/runs/{run_id}/publications/{publication_id}",
        "GET /api/samples/parameters",
        "GET /api/samples/list",
        "GET /api/samples/latest",
        "GET /api/samples/{sample_id}",
        "GET /api/samples/{sample_id}/image",
        "GET /api/samples/{sample_id}/thumbnail",
        "GET /api/runs",
        "GET /api/runs/facets",
        "GET /api/runs/series",
        "GET /api/runs/compare",
        "GET /api/runs/{run_id}",
        "GET /api/runs/{run_id}/replay",
        "GET /api/runs/{run_id}/backups",
        "GET /api/runs/{run_id}/journal",
        "GET /api/runs/{run_id}/metrics",
        "GET /api/runs/{run_id}/log",
        "GET /api/runs/{run_id}/log.txt",
        "GET /api/runs/{run_id}/files",
        "GET /api/runs/{run_id}/lora_formats",
        "GET /api/runs/{run_id}/files/{file_id}/programs",
        "GET /api/runs/{run_id}/result",
        "GET /api/runs/{run_id}/auto-resume",
        "GET /api/auto-resume",
        "GET /api/system/info",
        "GET /api/system/resources",
        "GET /api/system/processes",
        "GET /api/engines",
        "GET /api/engines/table",
        "GET /api/engines/unavailable/presets",
        "GET /api/engines/unavailable/choices",
        "GET /api/notifications",
        "GET /metrics",
        "GET /docs",
        "GET /redoc",
        "GET /docs/assets/{name}",
        "GET /openapi.json",
        "GET /panel/{version}/{name:path}",
        *(f"{method} /api/{{path:path}}" for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")),
        # Gradio's page and its events; each function has its own entry
        "GET /",
        "GET /config",
        "GET /assets/{path:path}",
        "GET /static/{path:path}",
        "GET /svelte/{path:path}",
        "GET /theme.css",
        "GET /favicon.ico",
        "GET /manifest.json",
        "GET /robots.txt",
        "GET /pwa_icon",
        "GET /pwa_icon/{size}",
        "GET /gradio_api/theme.css",
        "GET /gradio_api/info",
        "GET /gradio_api/openapi.json",
        "GET /gradio_api/app_id",
        "GET /gradio_api/user",
        "GET /gradio_api/token",
        "GET /gradio_api/login_check",
        "GET /gradio_api/startup-events",
        "GET /gradio_api/heartbeat/{session_hash}",
        "POST /gradio_api/queue/join",
        "GET /gradio_api/queue/data",
        "GET /gradio_api/queue/status",
        "POST /gradio_api/call/{api_name}",
        "GET /gradio_api/call/{api_name}/{event_id}",
        "POST /gradio_api/call/v2/{api_name}",
        "GET /gradio_api/call/v2/{api_name}/{event_id}",
        "POST /gradio_api/run/{api_name}",
        "POST /gradio_api/api/{api_name}",
        "POST /gradio_api/cancel",
        "POST /gradio_api/reset",
        "gradio watch",
        "gradio config",
        "gradio list_runs",
        "gradio list_samples",
        "gradio runs curves",
        "gradio runs compare",
        "gradio runs replay",
        "gradio queue list",
        "gradio notifications list",
    ),
    # also starts, stops, edits settings and data
    Role.OPERATOR: (
        "POST /api/training/start",
        "POST /api/training/stop",
        "POST /api/training/pause",
        "POST /api/training/resume",
        "POST /api/training/backup",
        "POST /api/training/save",
        "POST /api/training/suspend",
        "POST /api/queue",
        "POST /api/queue/pause",
        "POST /api/queue/resume",
        "POST /api/queue/sweep/preview",
        "POST /api/queue/sweep",
        "PATCH /api/queue/{item_id}",
        "DELETE /api/queue/{item_id}",
        "POST /api/queue/{item_id}/move",
        "POST /api/queue/{item_id}/duplicate",
        "POST /api/queue/{item_id}/suspend",
        "PATCH /api/config/current",
        "PUT /api/config/current",
        "GET /api/config/load/{name:path}",
        "POST /api/config/diff",
        "POST /api/config/migrate",
        "POST /api/config/optimizer/defaults",
        "POST /api/config/undo",
        "POST /api/config/redo",
        "PUT /api/config/open-edits",
        "message open_edits",
        "POST /api/config/reset",
        "POST /api/config/save",
        "POST /api/config/rename",
        "POST /api/config/duplicate",
        "POST /api/config/validate",
        "GET /api/config/export",
        "POST /api/config/import",
        "POST /api/config/memory",
        "POST /api/config/timesteps",
        "POST /api/config/layers",
        "GET /api/files",
        "POST /api/files/folder",
        "POST /api/concepts/statistics",
        "POST /api/concepts/preview",
        "POST /api/concepts/convert",
        "GET /api/concepts/images/{image_id}",
        "POST /api/datasets/uploads",
        "GET /api/datasets/uploads",
        "GET /api/datasets/uploads/{upload_id}",
        "PUT /api/datasets/uploads/{upload_id}",
        "DELETE /api/datasets/uploads/{upload_id}",
        "GET /api/datasets/captions",
        "PUT /api/datasets/captions",
        "POST /api/datasets/captions/change",
        "GET /api/datasets/captions/undo",
        "POST /api/datasets/captions/undo",
        "POST /api/datasets/images/trash",
        "POST /api/datasets/images/exclude",
        "POST /api/datasets/images/include",
        "POST /api/datasets/images/move",
        "GET /api/datasets/trash",
        "POST /api/datasets/trash/restore",
        "POST /api/datasets/images/edit",
        "GET /api/datasets/images/file",
        "PUT /api/datasets/masks",
        "DELETE /api/datasets/masks",
        "POST /api/datasets/buckets",
        "POST /api/datasets/inspection",
        "GET /api/datasets/inspection",
        "POST /api/datasets/inspection/fix",
        "POST /api/datasets/inspection/ignore",
        "GET /api/datasets/models",
        "POST /api/datasets/annotate",
        "GET /api/datasets/jobs",
        "GET /api/datasets/jobs/{job_id}",
        "POST /api/datasets/jobs/{job_id}/stop",
        "GET /api/datasets/mask-previews/{name}",
        "GET /api/datasets",
        "POST /api/datasets",
        "POST /api/datasets/images",
        "POST /api/datasets/tags",
        "POST /api/datasets/{dataset}/rename",
        "POST /api/generations",
        "POST /api/generations/{grid_id}/images/{number}/keep",
        "POST /api/generations/{grid_id}/resume",
        "POST /api/generations/{grid_id}/stop",
        "DELETE /api/generations/{grid_id}",
        "GET /api/data-copy",
        "POST /api/data-copy",
        "GET /api/hub/models",
        "GET /api/hub/models/{owner}/{name}",
        "POST /api/hub/downloads",
        "GET /api/hub/downloads",
        "GET /api/hub/downloads/{download_id}",
        "POST /api/hub/downloads/{download_id}/pause",
        "POST /api/hub/downloads/{download_id}/resume",
        "DELETE /api/hub/downloads/{download_id}",
        "GET /api/new_lora/models",
        "GET /api/new_lora/trigger_word",
        "POST /api/new_lora/plan",
        "POST /api/new_lora/check",
        "POST /api/new_lora/export",
        "POST /api/shared/{command}",
        "POST /api/new_lora/settings",
        "POST /api/samples/default",
        "POST /api/samples/custom",
        "GET /api/runs/workspace",
        "POST /api/runs/workspace",
        "PATCH /api/runs/{run_id}/backups/{backup_id}",
        "POST /api/runs/{run_id}/start",
        "POST /api/runs/{run_id}/resume",
        "POST /api/runs/{run_id}/result",
        "DELETE /api/runs/{run_id}/result",
        "POST /api/runs/bulk",
        "PATCH /api/runs/{run_id}",
        "GET /api/runs/{run_id}/files.zip",
        "GET /api/runs/{run_id}/files/{file_id}",
        "POST /api/runs/{run_id}/files/{file_id}/convert",
        "GET /api/runs/{run_id}/converted/{converted_id}",
        "POST /api/runs/{run_id}/auto-resume",
        "DELETE /api/runs/{run_id}/auto-resume",
        "GET /api/onetrainer/checkouts",
        "GET /api/onetrainer/checkouts/{checkout_id}",
        "GET /api/onetrainer/checkouts/{checkout_id}/lists/{kind}/{name}",
        "POST /api/onetrainer/checkouts/{checkout_id}/lists/{kind}/{name}",
        "GET /api/secrets",
        "DELETE /api/notifications",
        "gradio start",
        "gradio stop",
        "gradio pause",
        "gradio resume",
        "gradio sample",
        "gradio backup",
        "gradio save",
        "gradio change_settings",
        "gradio generate_sample",
        "gradio runs change",
        "gradio queue add",
        "gradio queue edit",
        "gradio queue move",
        "gradio queue duplicate",
        "gradio queue remove",
        "gradio queue suspend",
        "gradio queue pause",
        "gradio queue resume",
        "gradio notifications clear",
    ),
    # also people, secrets, engines, folders, and deletes
    Role.OWNER: (
        "GET /api/people",
        "POST /api/people",
        "PATCH /api/people/{account_id}",
        "DELETE /api/people/{account_id}",
        "DELETE /api/people/{account_id}/sessions",
        "DELETE /api/people/{account_id}/two-factor",
        "GET /api/links",
        "POST /api/links",
        "DELETE /api/links/{link_id}",
        "GET /api/audit",
        "GET /api/audit/export",
        "POST /api/config/libraries",
        "DELETE /api/config/libraries/{title}",
        "DELETE /api/config/{name:path}",
        "DELETE /api/datasets/{dataset}",
        "PUT /api/queue/fair-share",
        "POST /api/runs/{run_id}/backups/prune",
        "POST /api/runs/bulk delete",
        "DELETE /api/runs/{run_id}",
        "PUT /api/engines",
        "POST /api/onetrainer/checkouts",
        "POST /api/onetrainer/inspect",
        "POST /api/onetrainer/unload",
        "POST /api/onetrainer/checkouts/{checkout_id}/check",
        "DELETE /api/onetrainer/checkouts/{checkout_id}",
        "POST /api/runs/{run_id}/publish",
        "POST /api/runs/{run_id}/publications/{publication_id}/stop",
        "PUT /api/secrets",
        "DELETE /api/secrets",
        "GET /api/notifications/settings",
        "PATCH /api/notifications/settings",
        "POST /api/notifications/channels",
        "PATCH /api/notifications/channels/{channel_id}",
        "DELETE /api/notifications/channels/{channel_id}",
        "POST /api/notifications/channels/{channel_id}/test",
        "PATCH /api/auto-resume",
        "gradio notifications settings",
        "gradio notifications change_settings",
        "gradio notifications test",
        # paths of Gradio that the page doesn't use: most are closed
        "GET /gradio_api/runs",
        "POST /gradio_api/process_recording",
        "GET /gradio_api/dev/reload",
        *(f"GET /gradio_api/{path}" for path in ("vibe-code", "upload_progress", "deep_link", "deep_link{path:path}")),
        *(f"POST /gradio_api/{path}" for path in ("vibe-code", "vibe-edit", "undo-vibe-edit", "vibe-starter-queries")),
        *(
            f"{method} /gradio_api/{path}"
            for method in ("GET", "POST", "PUT", "DELETE")
            for path in ("upload", "component_server", "custom_component/{path:path}", "file/{path:path}", "file={path:path}")
        ),
        *(
            f"{method} /gradio_api/{path}"
            for method in ("GET", "POST", "PUT", "DELETE")
            for path in ("proxy={path:path}", "stream/{path:path}")
        ),
        *(f"{method} /gradio_api/{path}" for method in ("POST", "PUT", "DELETE") for path in ("upload_progress",)),
        *(f"{method} /gradio_api/deep_link{{path:path}}" for method in ("POST", "PUT", "DELETE")),
        "POST /login/",
        "GET /logout",
        "GET /monitoring",
        "GET /monitoring/summary",
        "GET /monitoring/{key}",
    ),
}

PERMISSIONS: Mapping[str, Role] = {key: role for role, keys in _BY_ROLE.items() for key in keys}

# What a link to one run or to the gallery opens. The rest of the panel stays closed to it, whatever its role.
_SHARED = (
    *("GET /shared", "GET /shared/{name}", "GET /api/shared", "GET /api/shared/samples", "GET /api/session", "POST /api/logout"),
    *("GET /api/samples/{sample_id}/image", "GET /api/samples/{sample_id}/thumbnail"),
)
LINK_ROUTES: Mapping[str, frozenset[str]] = {
    "run": frozenset({*_SHARED, "POST /api/shared/{command}"}),
    "gallery": frozenset(_SHARED),
}

# Requests that change nothing although they aren't a GET, and those that are recorded elsewhere.
NOT_RECORDED = frozenset(
    {
        *(f"POST /api/config/{name}" for name in ("validate", "diff", "memory", "timesteps", "layers", "migrate")),
        *("PUT /api/config/open-edits", "POST /api/concepts/statistics", "POST /api/concepts/preview"),
        *(f"POST /api/datasets/{name}" for name in ("images", "tags", "buckets")),
        *("POST /api/new_lora/plan", "POST /api/new_lora/check", "POST /api/queue/sweep/preview"),
        *("POST /login", "POST /api/login", "POST /setup", "POST /api/setup", "POST /api/account/two-factor/offer"),
    }
)


def needed(key: str) -> Role | None:
    """Return the role that a route needs, or None if it has no entry. A HEAD needs what a GET needs."""
    method, _, path = key.partition(" ")
    found = PERMISSIONS.get(key)
    return PERMISSIONS.get(f"GET {path}") if found is None and method == "HEAD" else found


def recorded(key: str) -> bool:
    """Return whether a request of a route belongs in the audit log."""
    changes = key.startswith(("POST /api/", "PUT /api/", "PATCH /api/", "DELETE /api/")) and "{path:path}" not in key
    return changes and key not in NOT_RECORDED


def check(identity: Identity, key: str, parameters: Mapping[str, str] | None = None) -> None:
    """Check that someone may use a route; ``parameters`` are those in its path.

    :raises NotPermittedError: if the role is too low, the link doesn't show this, or the route has no entry.
    """
    role = needed(key)
    if role is None:
        raise NotPermittedError("This route has no entry in the table of permissions, so it is closed.", value=key)
    if identity.restricted and role is not Role.NOBODY and key not in LINK_ROUTES.get(identity.shows, frozenset()):
        raise NotPermittedError("This link doesn't open this part of the panel.")
    if identity.run_id and (sample := (parameters or {}).get("sample_id")) and sample.rpartition(".")[0] != identity.run_id:
        raise NotPermittedError("This link doesn't open this run.")
    if identity.role < role:
        raise NotPermittedError(
            f"This requires the role {role.word}. You have the role {identity.role.word}.",
            value=role.word,
            suggestion="Use an account with this role.",
        )


def may(identity: Identity, key: str) -> bool:
    """Return whether someone may use a route."""
    try:
        check(identity, key)
    except NotPermittedError:
        return False
    return True
