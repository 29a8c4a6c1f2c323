"""Starting and ending the checkout's Python."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from onetrainer_gradio.backends.onetrainer.checkout import inspect
from tests.backends.onetrainer.standin import set_up
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="elsewhere a process does not learn of its parent's death"),
    pytest.mark.exhaustive,
]

# what each holder does with the checkout's Python before it is killed
HOLDERS = {
    "reads its settings": "run_script(python, 'facts', folder, timeout_s=600)",
    "waits for its import": "Bridge(python, folder).status(600)",
}
HOLDER = """
import sys
from pathlib import Path
from onetrainer_gradio.backends.onetrainer.bridge import Bridge, run_script
python, folder = map(Path, sys.argv[1:])
"""


@pytest.mark.parametrize("what", HOLDERS)
def test_an_import_that_hangs_ends_with_whoever_waits_for_it(tmp_path, what):
    """If a panel is killed while a checkout doesn't respond, no process remains."""
    folder = set_up(tmp_path / "OneTrainer", **{"import": "hang"})
    holder = subprocess.Popen([sys.executable, "-c", HOLDER + HOLDERS[what], str(inspect(folder).python), str(folder)])
    try:
        parent = psutil.Process(holder.pid)
        children = until(lambda: parent.children() or holder.poll() is not None)
        assert holder.poll() is None
    finally:
        holder.kill()
        holder.wait()
    _, left = psutil.wait_procs(children, timeout=20)
    assert left == []
