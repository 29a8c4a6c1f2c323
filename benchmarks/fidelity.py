"""Compare both engines over all model types and training methods that both have, on tiny models.

    python benchmarks/fidelity.py --onetrainer FOLDER [--python FILE] [--only 'STABLE_DIFFUSION_3*'] [--out FOLDER] [--steps 4]
        [--combinations]

Each row is a run of ``python -m onetrainer_gradio.compare`` in float32 on the CPU: both engines start from the same adapter, and
train the denoiser and all text encoders (method VAE: the VAE's decoder) for some steps. The result is a table of the largest
differences: loss, gradient norm, weights of the final model, and whether both models have the same tensors. Each engine stays
loaded for all rows. With --combinations, the rows are the recorded combinations of settings instead
(tests/golden/combinations.py).
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from onetrainer_gradio.compare import Comparison, Request, compare_all  # noqa: E402
from onetrainer_gradio.config.enums import ModelType  # noqa: E402
from onetrainer_gradio.config.families.models import MODELS as TYPES  # noqa: E402
from onetrainer_gradio.config.files.documents import from_document  # noqa: E402
from onetrainer_gradio.engine import unsupported  # noqa: E402
from tests.golden.cases import MORE_STEPS, PEFTS, Case, cases, denoiser, encoders, write_data  # noqa: E402

ADAPTERS = {"LoRA": {}} | {
    title: PEFTS[name] for title, name in (("DoRA", "dora"), ("LoHa", "loha"), ("LoKr", "lokr"), ("OFT", "oft"))
}
LOSS = 1e-6
"""The largest difference of a loss that counts as equal."""


def methods(model_type: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the settings of each method that the type has, by title."""
    trained: dict[str, Any] = {f"{name}.train": True for name in (denoiser(model_type), *encoders(model_type))}
    lora = trained | {"training_method": "LORA", "output_model_format": "KOHYA_LORA", "learning_rate": 1e-3}
    words = {f"{name}.train_embedding": True for name in encoders(model_type)}
    found = {
        "LORA": {title: lora | changes for title, changes in ADAPTERS.items()},
        "EMBEDDING": {
            "embedding": words | {"training_method": "EMBEDDING", "output_model_format": "SAFETENSORS", "learning_rate": 1e-3}
        },
        "FINE_TUNE": {"full fine-tune": trained | {"training_method": "FINE_TUNE", "output_model_format": "DIFFUSERS"}},
        "FINE_TUNE_VAE": {"VAE": {"training_method": "FINE_TUNE_VAE", "output_model_format": "DIFFUSERS", "vae.train": True}},
    }
    return {title: changes for method in TYPES[ModelType(model_type)].methods for title, changes in found.get(method, {}).items()}


def rows(types: Iterable[str], wanted: str) -> list[tuple[str, str, Case]]:
    """Return the type, the title of the method, and the settings of each row."""
    found = []
    for model_type in types:
        for title, changes in methods(model_type).items():
            if fnmatch.fnmatch(f"{model_type}/{title}", wanted):
                folder = "plain" if title == "VAE" else "first"
                found.append((model_type, title, Case(model_type, title, changes, folder)))
    return found


def combinations(wanted: str) -> list[tuple[str, str, Case]]:
    """Return the same of each recorded combination of settings."""
    chosen = [case for case in cases() if case.steps == MORE_STEPS]
    return [(case.model_type, case.name, case) for case in chosen if fnmatch.fnmatch(case.id, wanted)]


def line(comparison: Comparison, model_type: str, title: str) -> list[str]:
    """Return the cells of a row."""
    for side in comparison.sides:
        if side.end != "completed":
            return [model_type, title, f"{side.engine}: {side.end}: {side.error}", "", "", ""]
    told = comparison.as_dict()
    norm, weights = told["grad_norm"]["largest_difference"], comparison.weights
    return [
        model_type,
        title,
        f"{told['loss']['largest_difference']:.1e}",
        "–" if norm is None else f"{norm:.1e}",
        "–" if weights is None else f"{weights.relative:.1e}, {weights.largest:.1e}",
        {True: "equal", False: "different", None: "–"}[comparison.same_keys],
    ]


def overview(losses: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the differences of the losses, a row per model type and a column per method."""
    titles = list(dict.fromkeys(title for cells in losses.values() for title in cells))
    lines = [f"| Model type | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for model_type, cells in losses.items():
        lines.append(f"| {model_type} | {' | '.join(cells.get(title, '') for title in titles)} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onetrainer", type=Path, required=True)
    parser.add_argument("--python", type=Path)
    parser.add_argument("--only", default="*", help="a pattern of TYPE/METHOD")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--combinations", action="store_true", help="compare the recorded combinations of settings")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    out = arguments.out or Path(tempfile.mkdtemp(prefix="fidelity-"))
    from tests.models.tiny import MODELS, write_model

    images = write_data(out / "images")
    wanted = combinations(arguments.only) if arguments.combinations else rows(MODELS, arguments.only)
    for model_type in {model_type for model_type, _, _ in wanted}:
        if not (out / "models" / model_type).exists():
            write_model(model_type, out / "models" / model_type)
    requests, trained = [], []
    for number, (model_type, title, case) in enumerate(wanted):
        place = out / f"{number:03d}"
        config, _ = from_document(case.document(out / "models" / model_type, images, place))
        if any(finding.severity == "error" for finding in unsupported.findings(config)):
            continue  # the built-in engine doesn't have it
        trained.append((model_type, title))
        name = f"{model_type}/{title}"
        requests.append(Request(name, config, arguments.steps, place, arguments.onetrainer, arguments.python))
    began, failed = time.time(), 0
    print("| Model type | Method | Loss | Gradient norm | Weights: relative, largest | Tensors |\n|---|---|---|---|---|---|")
    found = []
    losses: dict[str, dict[str, str]] = {}
    for (model_type, title), comparison in zip(trained, compare_all(requests, sys.stderr), strict=True):
        cells = line(comparison, model_type, title)
        losses.setdefault(model_type, {})[title] = cells[2] if cells[5] else "fails"
        largest = comparison.as_dict()["loss"]["largest_difference"]
        failed += largest is None or largest > LOSS or comparison.same_keys is not True
        found.append(comparison.as_dict())
        (out / "fidelity.json").write_text(json.dumps(found, indent=1))
        print("| " + " | ".join(cells) + " |", flush=True)
    print("\n" + "\n".join(overview(losses)))
    print(f"\n{len(found)} rows, {failed} with a difference, {time.time() - began:.0f} s. Everything is in {out}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
