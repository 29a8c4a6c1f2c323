"""Write the table of docs/optimizers.md: each optimizer with its package and what it can do."""

from __future__ import annotations

from onetrainer_gradio.config.declarations.labels import name_of
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.optimizer_libraries import LIBRARIES
from onetrainer_gradio.config.optimizers import OPTIMIZERS

_HEAD = (
    "| Optimizer | In files | Package | Runs on | Learning rate | Stochastic rounding | Fused back pass |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)


def overview() -> str:
    """Return the table in Markdown, in the order of the form."""
    return _HEAD + "\n".join(map(_row, Optimizer)) + "\n"


def _row(optimizer: Optimizer) -> str:
    facts, library = OPTIMIZERS[optimizer], LIBRARIES[optimizer]
    rate = "adapted, set 1" if facts.adaptive else "constant after warmup" if facts.schedule_free else "scheduled"
    cells = (
        name_of(optimizer),
        f"`{optimizer.value}`",
        f"{library.package}" if not library.extra else f"{library.package} (`{library.extra}`)",
        "GPU" if library.needs_gpu else "CPU, GPU",
        rate,
        "yes" if "stochastic_rounding" in facts.defaults else "",
        "yes" if facts.fused_back_pass else "",
    )
    return f"| {' | '.join(cells)} |"
