"""torch's compiler is imported when something is compiled, and is complete then (engine/lazy_dynamo.py)."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

BEGIN = """
import sys
import torch
from onetrainer_gradio.engine.lazy_dynamo import LazyDynamo, postpone
postpone()
def loaded():
    return not isinstance(sys.modules["torch._dynamo"], LazyDynamo)
"""

STEP = """
layer = torch.nn.Linear(2, 1)
optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
before = layer.weight.clone()
layer(torch.ones(1, 2)).sum().backward()
optimizer.step()
optimizer.zero_grad()
assert not torch.equal(before, layer.weight)
"""


def run(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_an_optimizer_steps_without_the_compiler() -> None:
    """Models that mark blocks and functions for the compiler don't need it either."""
    code = (
        "from onetrainer_gradio.engine.lean_imports import unused_omitted\n"
        "block = unused_omitted()\n"
        "block.__enter__()\n"
        "from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel\n"
        "from transformers import CLIPTextModel, T5EncoderModel\n"
        "print(loaded())"
    )
    assert run(STEP + code) == ["False"]


def test_compiled_code_gives_the_same_result() -> None:
    """Marks from before the compiler was loaded apply to it: allowed, constant and skipped functions."""
    code = """
allowed = torch._dynamo.allow_in_graph(torch.nn.Identity)
@torch.compiler.disable
def skipped(x):
    return x + (1 if torch.compiler.is_compiling() else 2)
@torch.compiler.disable(recursive=False)
def body(x):
    return x * 3
@torch._dynamo.assume_constant_result
def constant():
    return 5
def whole(x):
    return body(skipped(torch.sin(x))) * constant()
x = torch.linspace(0, 1, 5)
plain = whole(x)
print(loaded())
compiled = torch.compile(whole, backend="eager")(x)
assert torch.equal(plain, compiled)
from torch._dynamo import trace_rules
assert id(torch.nn.Identity) in trace_rules._allowed_callable_ids
assert constant._dynamo_marked_constant
print(loaded(), torch._dynamo is sys.modules["torch._dynamo"])
"""
    assert run(STEP + code + STEP) == ["False", "True", "True"]


@pytest.mark.parametrize(
    "statement",
    [
        "import torch._dynamo.eval_frame",
        "from torch._dynamo.utils import counters",
        "from torch._dynamo import config",
        "torch._dynamo.reset()",
        "import torch._inductor.config, torch._dynamo.backends.registry",
    ],
)
def test_any_other_use_loads_it_once(statement: str) -> None:
    """Modules aren't imported a second time, whichever use is first."""
    code = f"""
assert not loaded()
{statement}
assert loaded()
import torch._dynamo as real
from torch._dynamo import eval_frame, utils
assert utils is sys.modules["torch._dynamo.utils"] is real.utils
assert eval_frame is sys.modules["torch._dynamo.eval_frame"] is real.eval_frame
assert eval_frame.__spec__.origin == eval_frame.__file__
assert torch.equal(torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2)), torch.full((2,), 2.0))
"""
    assert run(code + STEP) == []


def test_a_compiler_that_is_loaded_stays() -> None:
    """In that case, postponing has no effect."""
    assert run("import torch._dynamo.utils\nbefore = torch._dynamo\npostpone()\nprint(torch._dynamo is before)") == ["True"]
