"""Run OneTrainer's trainer in its own Python, with the checkout as working directory.

This program is started by the path of its folder. It imports the standard library and OneTrainer's own modules by their public
names, and nothing else from this package.

``python worker facts [PARENT]``
    writes one JSON object with the facts of the checkout, and exits. It also exits if the process PARENT is no longer its
    parent, because then no one waits for the answer.
``python worker serve [SOCKET]``
    exchanges JSON lines. Out, on what was standard output: ``hello``, then ``imported`` or ``import_failed``, then per run its
    events (those of ``onetrainer_gradio.events``, tag under ``type``), ``config`` with the settings that OneTrainer
    uses, and finally ``run_done``. In, on standard input: ``run``, commands (those of ``onetrainer_gradio.commands``),
    ``shutdown``. With a ``run``, the socket SOCKET transfers the given number of descriptors: first that of the
    console log, then those of the folder locks; they are closed after the run. End of file on standard input means that the
    parent is dead: the step is finished, a backup and the model are saved, and the process exits.

OneTrainer's output goes to standard error; of progress bars, only the last state and an occasional one between are kept.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback

OLDEST_PYTHON = (3, 10)
# The name of this package over there, which no module of OneTrainer or its libraries has.
PACKAGE = "onetrainer_gradio_worker"

if sys.version_info < OLDEST_PYTHON:
    sys.stdout.write(
        '{"type": "import_failed", "kind": "python", "message": "This is Python %d.%d."}\n' % (sys.version_info[:2])  # noqa: UP031
    )
    sys.stdout.flush()
    sys.exit(3)


def load_package() -> None:
    """Make the folder of this script importable as a package."""
    here = os.path.dirname(os.path.abspath(__file__))
    place = os.path.join(here, "__init__.py")
    spec = importlib.util.spec_from_file_location(PACKAGE, place, submodule_search_locations=[here])
    assert spec is not None
    assert spec.loader is not None
    sys.modules[PACKAGE] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def look_in_checkout() -> None:
    """Let imports search the checkout first, and never the folder of this script."""
    sys.path[0] = os.getcwd()


if __name__ == "__main__":
    load_package()
    look_in_checkout()
    status = 1
    try:
        status = importlib.import_module(PACKAGE + ".main").main(sys.argv[1:])
    finally:  # whatever gets out of there: nothing that was started stays
        if sys.exc_info()[1] is not None:
            traceback.print_exc()
        importlib.import_module(PACKAGE + ".processes").leave(status)
