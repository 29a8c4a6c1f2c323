"""Checks of the folders that the run writes to, and of paths outside the allowed folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import title_of
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
    """Yield an error for a folder that can't be written to or created."""
    for name in _written(plan):
        value = plan.at(name)
        output = name == "output_model_destination"
        if not value:
            expected, suggestion = "a folder", f"Set {title_of(name)}. The folder doesn't have to exist."
            message = f"{title_of(name)} isn't set"
            yield found("folder-missing", name, message, value=value, expected=expected, suggestion=suggestion)
            continue
        place = plan.path(value)
        above = existing_ancestor(place.parent if output else place)
        if not os.path.isdir(above):
            message = f"Can't create {value}, because {above.name} is a file"
            suggestion = f"Choose another path for {title_of(name)}."
            yield found("folder-is-file", name, message, value=value, expected="a folder", suggestion=suggestion)
        elif not plan.machine.allowed(above, os.W_OK | os.X_OK):
            message = f"Can't write to {value}: permission denied for {above}"
            yield found(
                "path-unwritable",
                name,
                message,
                value=value,
                expected="a writable folder",
                suggestion=f"Choose another path for {title_of(name)}, or change the permissions of {above}.",
            )


def misplaced(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the run writes into a folder that it trains on, or the reverse."""
    yield from placement.misplaced(
        plan.config, plan.base_folder, plan.base_folder, by_name=plan.backend in placement.CLEARS_BY_NAME
    )


def characters(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a path with invisible characters, which copying often adds; in the name of an existing "
    "folder they're fine."""
    for leaf in plan.paths:
        if isinstance(leaf.value, str) and not leaf.value.isprintable() and _misspelt(plan, leaf.value):
            yield found(
                "path-characters",
                leaf.path,
                f"The path {leaf.value!r} contains invisible characters",
                value=leaf.value,
                expected="a path of visible characters",
                suggestion=f"Enter {title_of(leaf.path)} again.",
                fix={leaf.path: "".join(char for char in leaf.value if char.isprintable())},
            )


def _misspelt(plan: Plan, value: str) -> bool:
    """Return whether the part of a path that doesn't exist has such characters."""
    place = plan.path(value)
    return holdable(value) != value or not str(place).removeprefix(str(existing_ancestor(place))).isprintable()


def inside_roots(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each path outside the allowed folders."""
    if not plan.roots:
        return
    tags = (leaf for leaf in leaves(plan.config, _holds_tags) if leaf.value.endswith((".txt", ".csv")))
    for leaf in (*plan.paths, *tags):
        # The name of a repository on the Hub is checked too: it is a path if a link of that name exists.
        if leaf.value and not _inside(plan, leaf.value):
            yield found(
                "path-outside",
                leaf.path,
                f"{title_of(leaf.path)} {leaf.value} is outside the allowed folders",
                value=leaf.value,
                expected="a path inside " + ", ".join(str(root) for root in plan.roots),
                suggestion=f"Choose another path for {title_of(leaf.path)}, or start the panel with --allow FOLDER.",
            )


def _holds_tags(setting: Setting, annotation: Any) -> bool:
    """Return whether a setting is the special tags, which may be the path of a file."""
    return setting.label == _SPECIAL_TAGS


def _inside(plan: Plan, value: str) -> bool:
    """Return whether a path, with its links followed, is inside an allowed folder, whether or not it exists."""
    if value.startswith("~") and value[1:2] not in ("", "/", os.sep):  # someone's home folder, whether or not it exists
        return False
    try:
        place = plan.path(value).resolve()
    except (OSError, RuntimeError, ValueError):  # a cycle of links, or an invalid path
        return False
    return any(place.is_relative_to(root) for root in plan.roots)
