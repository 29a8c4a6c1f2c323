"""Folders that the run writes to, and where paths may lead at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.concept import ConceptTextConfig
from onetrainer_gradio.config.declarations.setting import Setting, declared
from onetrainer_gradio.config.declarations.walk import leaves
from onetrainer_gradio.config.files.resolve import holdable
from onetrainer_gradio.config.machine import existing_ancestor
from onetrainer_gradio.config.paths import placement
from onetrainer_gradio.errors import Finding

_SPECIAL_TAGS = declared(ConceptTextConfig.model_fields["tag_dropout_special_tags"]).label


def _written(plan: Plan) -> Iterator[str]:
    yield "workspace_dir"
    if plan.config.latent_caching:
        yield "cache_dir"
    if plan.config.debug_mode:
        yield "debug_dir"
    if plan.config.output_model_destination:
        yield "output_model_destination"


def writable(plan: Plan) -> Iterator[Finding]:
    """A folder need not exist yet; the nearest one above it that does has to let us in."""
    for name in _written(plan):
        value = plan.at(name)
        output = name == "output_model_destination"
        if not value:
            expected = "a folder, which need not exist yet"
            message = "No folder is named for " + ("the workspace" if name == "workspace_dir" else "it")
            yield found("folder-missing", name, message, value=value, expected=expected, suggestion="Name a folder.")
            continue
        place = plan.path(value)
        above = existing_ancestor(place.parent if output else place)
        if not os.path.isdir(above):
            message = f"{value} lies in {above.name}, which is a file"
            yield found("folder-is-file", name, message, value=value, expected="a folder", suggestion="Choose another name.")
        elif not plan.machine.allowed(above, os.W_OK | os.X_OK):
            message = f"{value} cannot be written: {above} may not be changed"
            yield found(
                "path-unwritable",
                name,
                message,
                value=value,
                expected="a folder that may be written to",
                suggestion="Choose another folder or change its permissions.",
            )


def misplaced(plan: Plan) -> Iterator[Finding]:
    """What the run writes is not inside what it trains on, and the other way round."""
    yield from placement.misplaced(
        plan.config, plan.base_folder, plan.base_folder, by_name=plan.backend in placement.CLEARS_BY_NAME
    )


def characters(plan: Plan) -> Iterator[Finding]:
    """Characters that cannot be seen end up in paths by copying; a wide blank in the name of a folder that is there is meant."""
    for leaf in plan.paths:
        if isinstance(leaf.value, str) and not leaf.value.isprintable() and _misspelt(plan, leaf.value):
            yield found(
                "path-characters",
                leaf.path,
                f"{leaf.value!r} has characters that cannot be seen",
                value=leaf.value,
                expected="a path of visible characters",
                suggestion="Type it anew.",
                fix={leaf.path: "".join(char for char in leaf.value if char.isprintable())},
            )


def _misspelt(plan: Plan, value: str) -> bool:
    """Whether what is not there of a path has such characters."""
    place = plan.path(value)
    return holdable(value) != value or not str(place).removeprefix(str(existing_ancestor(place))).isprintable()


def inside_roots(plan: Plan) -> Iterator[Finding]:
    """Nothing is read or written outside of the allowed folders."""
    if not plan.roots:
        return
    tags = (leaf for leaf in leaves(plan.config, _holds_tags) if leaf.value.endswith((".txt", ".csv")))
    for leaf in (*plan.paths, *tags):
        # The name of a hub repository is held against the folders too: it is a path when a link of that name is there.
        if leaf.value and not _inside(plan, leaf.value):
            yield found(
                "path-outside",
                leaf.path,
                f"{leaf.path} leads outside the allowed folders: {leaf.value}",
                value=leaf.value,
                expected="a path inside " + ", ".join(str(root) for root in plan.roots),
                suggestion="Choose another path, or start the panel with --allow FOLDER.",
            )


def _holds_tags(setting: Setting, annotation: Any) -> bool:
    """Choose the special tags, which may be given as the path of a file."""
    return setting.label == _SPECIAL_TAGS


def _inside(plan: Plan, value: str) -> bool:
    """Whether a path, with its links followed, leads into an allowed folder. What is there, or is not, makes no difference."""
    if value.startswith("~") and value[1:2] not in ("", "/", os.sep):  # somebody's home, whether this machine knows them or not
        return False
    try:
        place = plan.path(value).resolve()
    except (OSError, RuntimeError, ValueError):  # a circle of links, or what no path can hold
        return False
    return any(place.is_relative_to(root) for root in plan.roots)
