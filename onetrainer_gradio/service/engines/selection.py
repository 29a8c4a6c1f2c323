"""Select the engine of a run: the built-in one or a OneTrainer checkout, by the user's choice or by what each supports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio import backends
from onetrainer_gradio.config.declarations.catalog import CATALOGUE, value_at
from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.visibility import METHOD, MODEL_TYPE
from onetrainer_gradio.config.enums import ModelType, TrainingMethod
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.newer import NOTHING_NEWER, Newer, newer_names, unknown_name
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.errors import CheckoutNotFoundError, ConfigValueError, Finding
from onetrainer_gradio.service.engines.checkouts import Checkouts, Known
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json

AUTO = "auto"
BUILTIN = "builtin"
ONETRAINER = "onetrainer"


@dataclass(frozen=True)
class Engine:
    """A backend, and for OneTrainer its checkout."""

    backend: str
    known: Known | None = None

    @property
    def id(self) -> str:
        """Return its ID: ``builtin``, ``onetrainer:ID``, or the backend that the panel was started with."""
        return f"{self.backend}:{self.known.id}" if self.known else self.backend


@dataclass(frozen=True)
class EngineSupport:
    """Whether an engine supports a configuration.

    ``why`` is the first reason against it, at the setting ``path``; ``more`` counts the others, ``note`` is further information.
    """

    id: str
    backend: str
    title: str
    can: bool
    why: str = ""
    path: str = ""
    more: int = 0
    note: str = ""


class Engines:
    """The available engines, the selected one, and what each supports. Safe from any thread.

    ``default`` is the backend that the panel was started with. If that is the built-in one, each run uses the first engine that
    supports it, with the built-in one first, until the user selects one.
    """

    def __init__(
        self, file: Path, checkouts: Checkouts, *, default: str = BUILTIN, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._file = file
        self._checkouts = checkouts
        self._default = default
        self._notify = changed
        self._lock = threading.Lock()
        kept = read_json(file)
        kept_choice = kept.get("choice") if isinstance(kept, dict) else None
        self._choice = kept_choice if isinstance(kept_choice, str) and default == BUILTIN else ""

    # which there are

    def all(self) -> tuple[Engine, ...]:
        """Return the engine that the panel was started with, the built-in one, and one per registered checkout."""
        own = [] if self._default in (BUILTIN, ONETRAINER) else [Engine(self._default)]
        return (*own, Engine(BUILTIN), *(Engine(ONETRAINER, known) for known in self._checkouts.all()))

    def choice(self) -> str:
        """Return the selection: the ID of an engine, or ``auto``. A removed checkout results in ``auto``."""
        if self._choice in {engine.id for engine in self.all()}:
            return self._choice
        return AUTO

    def choose(self, which: str) -> None:
        """Select an engine for all new runs; ``auto`` uses the first one that supports the settings.

        :raises ConfigValueError: if there is no such engine.
        """
        ids = [AUTO, *(engine.id for engine in self.all())]
        if which not in ids:
            raise ConfigValueError(
                f"The engine {which!r} doesn't exist", path="engine", value=which, expected=f"one of: {', '.join(ids)}"
            )
        with self._lock:
            with raising_storage_error("the choice of the engine"):
                write_json(self._file, {"choice": which})
            self._choice = which
        self._notify()

    def title(self, engine: Engine) -> str:
        """Return the title of the engine."""
        if engine.known is not None:
            return self._checkouts.title(engine.known)
        return backends.find_backend(engine.backend).title

    # which one

    def for_run(self, config: TrainConfig, options: RunOptions) -> Engine:
        """Return the engine of a run: that of its options, else the selected one, else the first that supports it.

        :raises CheckoutNotFoundError: if the checkout in the options isn't registered, or OneTrainer is set and none is.
        """
        if options.checkout and options.backend in ("", ONETRAINER):
            return Engine(ONETRAINER, self._checkouts.get(options.checkout))
        if options.backend == ONETRAINER:
            return self._onetrainer()
        return Engine(options.backend) if options.backend else self.present(config)

    def present(self, config: TrainConfig) -> Engine:
        """Return the engine that would train a configuration without further options."""
        choice = self.choice()
        if choice != AUTO:
            return next(engine for engine in self.all() if engine.id == choice)
        if self._default == ONETRAINER:
            return self._onetrainer(strict=False)
        first = Engine(self._default)
        if self._default != BUILTIN or not self._errors(first, config, strict=True):
            return first
        others = (Engine(ONETRAINER, known) for known in self._checkouts.usable())
        return next((engine for engine in others if not self._errors(engine, config)), first)

    def _onetrainer(self, *, strict: bool = True) -> Engine:
        usable = self._checkouts.usable()
        known = next(iter((*usable, *self._checkouts.all())), None)
        if known is None and strict:
            raise CheckoutNotFoundError(
                "No OneTrainer installation is registered",
                path="options.backend",
                value=ONETRAINER,
                suggestion="Add one on the System tab, or start the panel with --onetrainer FOLDER.",
            )
        return Engine(ONETRAINER, known)

    def settled(self, config: TrainConfig, options: RunOptions) -> RunOptions:
        """Return the options with the engine of the run."""
        engine = self.for_run(config, options)
        if engine.known:
            self._checkouts.look(engine.known, not_older_s=0)  # missing parts may exist by now, or the other way round
        python = engine.known.python if engine.known else None
        return options.model_copy(
            update={
                "backend": engine.backend,
                "checkout": str(engine.known.folder) if engine.known else "",
                "checkout_python": str(python or ""),
            }
        )

    def record(self, options: RunOptions) -> dict[str, Any]:
        """Return what a run records of its checkout; empty for every other engine."""
        return self._checkouts.record(self._checkouts.get(options.checkout)) if options.checkout else {}

    # what it can

    def findings(self, config: TrainConfig, engine: Engine) -> tuple[Finding, ...]:
        """Return the settings of a configuration that an engine doesn't support, and those that it would ignore."""
        found = [*backends.refusals(engine.backend, config)] if _asks(config, engine) else []
        if engine.known is None:
            found.extend(map(unknown_name, newer_names(config)))
            found.extend(_passed_over(config, [self._checkouts.newer(known) for known in self._checkouts.all()]))
            if engine.backend == ONETRAINER:
                found.append(_NO_CHECKOUT)
            return tuple(found)
        return (*self._of_checkout(config, engine.known), *found)

    def _of_checkout(self, config: TrainConfig, known: Known) -> Iterator[Finding]:
        looked, reading, title = self._checkouts.look(known), self._checkouts.reading(known), self._checkouts.title(known)
        wrong = [problem for problem in looked.problems if problem.severity == "error"]
        if wrong:
            yield from wrong
            return
        if reading.facts is None:
            if reading.state == "failed":
                yield Finding("error", "", reading.error, str(known.folder), suggestion=reading.suggestion, code="checkout")
            else:
                text = f"The list of models that {title} can train is still loading. The start doesn't wait for it"
                yield Finding("note", "", text, code="checkout")
            return
        if reading.facts.problem:
            text = f"{title} can't train at the moment: {reading.facts.problem}"
            suggestion = "Run OneTrainer's installer again, then check the installation on the System tab."
            yield Finding("error", "", text, str(known.folder), suggestion=suggestion, code="checkout")
            return
        methods = reading.facts.methods.get(config.model_type, ())
        if config.model_type not in reading.facts.model_types:
            expected = f"one of its {len(reading.facts.model_types)} model types"
            yield Finding(
                "error", MODEL_TYPE, f"{title} doesn't support {_words(config.model_type)}", config.model_type, expected
            )
        elif config.training_method not in methods:
            expected = " or ".join(methods) or "another model type"
            text = f"{title} can't train {_words(config.model_type)} with the method {config.training_method}"
            yield Finding("error", METHOD, text, config.training_method, expected, f"Set {METHOD} to {expected}.")
        for leaf in newer_names(config):
            if leaf.path != MODEL_TYPE and not reading.newer.knows(leaf.path, leaf.value):
                yield unknown_name(leaf)
        for path in sorted(reading.newer.lacking):
            if "[]" not in path and (value := value_at(config, path)) != CATALOGUE[path].default:
                text = f"{title} doesn't have {path} and ignores this setting"
                yield Finding(
                    "warning", path, text, value, suggestion="Reset it, or train with another engine.", code=_PASSED_OVER
                )

    def _errors(self, engine: Engine, config: TrainConfig, *, strict: bool = False) -> list[Finding]:
        """Return the reasons against an engine; with ``strict``, including ignored settings."""
        severities = ("error", "warning") if strict else ("error",)
        found = self.findings(config, engine)
        return [item for item in found if item.severity == "error" or (item.severity in severities and item.code == _PASSED_OVER)]

    def engine_support(self, config: TrainConfig) -> list[dict[str, Any]]:
        """Return for each engine whether it supports a configuration, and the reason if not."""
        return [asdict(self._support_of(engine, config)) for engine in self.all()]

    def _support_of(self, engine: Engine, config: TrainConfig) -> EngineSupport:
        found = self.findings(config, engine)
        errors = [item for item in found if item.severity == "error"]
        note = next((item.message for item in found if item.severity != "error" and item.code), "")
        # the kind of model and of training before details that can be set otherwise
        first = next(iter(sorted(errors, key=lambda item: item.path not in (MODEL_TYPE, METHOD))), None)
        title = self.title(engine)
        if first is None:
            return EngineSupport(engine.id, engine.backend, title, True, note=note)
        return EngineSupport(engine.id, engine.backend, title, False, first.message, first.path, len(errors) - 1, note)

    def matrix(self) -> list[dict[str, Any]]:
        """Return for each model type and method which engines support it, and the reason if not."""
        rows = []
        for name, methods in self._types().items():
            for method in methods:
                config = TrainConfig.model_validate({MODEL_TYPE: name, METHOD: method})
                engines = [_kind_support(self.findings(config, engine), engine) for engine in self.all()]
                words = {"label": _words(name), "method_label": label_of(TrainingMethod, method)}
                rows.append({MODEL_TYPE: name, METHOD: method, **words, "engines": engines})
        return rows

    def _types(self) -> dict[str, tuple[str, ...]]:
        """Return every model type of any engine, with every method that any engine supports for it."""
        found: dict[str, dict[str, None]] = {name.value: dict.fromkeys(facts.methods) for name, facts in MODELS.items()}
        for known in self._checkouts.all():
            facts = self._checkouts.facts(known)
            for name, methods in facts.methods.items() if facts else ():
                found.setdefault(name, {}).update(dict.fromkeys(methods))
        return {name: tuple(methods) for name, methods in found.items() if methods}

    # what the form follows

    def followed(self) -> Known | None:
        """Return the checkout whose settings the form shows: the selected one, or with ``auto`` the first usable one."""
        choice = self.choice()
        chosen = next((engine for engine in self.all() if engine.id == choice), None)
        if chosen is not None:
            return chosen.known
        if self._default not in (BUILTIN, ONETRAINER):
            return None
        return next((known for known in self._checkouts.usable() if self._checkouts.facts(known)), None)

    def newer(self) -> Newer:
        """Return how the configuration of the followed checkout differs from ours."""
        known = self.followed()
        return self._checkouts.newer(known) if known else NOTHING_NEWER

    def summary(self) -> dict[str, Any]:
        """Return the summary for a page: the selection, the number of checkouts, and the key of the followed checkout."""
        return {"choice": self.choice(), "checkouts": len(self._checkouts.all()), "follows": self.newer().key}


_PASSED_OVER = "not_used_by_engine"

_NO_CHECKOUT = Finding(
    "error",
    "",
    "No OneTrainer installation is registered",
    suggestion="Add one on the System tab, or start the panel with --onetrainer FOLDER.",
    code="checkout",
)


def _asks(config: TrainConfig, engine: Engine) -> bool:
    """A backend is asked about what it can know: the tables of ours do not know every model type of a checkout."""
    return engine.known is None or not any(True for _ in newer_names(config))


def _passed_over(config: TrainConfig, every: Iterable[Newer]) -> Iterator[Finding]:
    """Return the settings of a configuration that only a checkout has."""
    sources = {path: newer.source for newer in every for path in newer.settings if "[]" not in path}
    for path, source in sources.items():
        if (value := _kept(config, path)) is not None:
            text = f"{path} is a setting of {source}. This engine ignores it"
            yield Finding("warning", path, text, value, suggestion=f"Train with {source}.", code=_PASSED_OVER)


def _kept(config: Any, path: str) -> Any:
    at = config
    for part in path.split("."):
        at = at.get(part) if isinstance(at, dict) else getattr(at, part, None)
        if at is None:
            return None
    return at


def _kind_support(found: Iterable[Finding], engine: Engine) -> dict[str, Any]:
    reasons = [item.message for item in found if item.severity == "error" and _is_about_the_kind(item)]
    return {"id": engine.id, "can": not reasons, "why": reasons[0] if reasons else ""}


def _is_about_the_kind(item: Finding) -> bool:
    """Return whether a reason applies to the model type and method, or to the engine itself, regardless of other settings."""
    return item.path in ("", MODEL_TYPE, METHOD) or item.code.startswith("checkout")


def _words(model_type: str) -> str:
    return MODELS[ModelType(model_type)].label if model_type in ModelType.__members__ else str(model_type)
