"""Train the demo model from scratch: ``python -m onetrainer_gradio.demo.build``.

On the same machine with the same versions, the same seed produces the same files (each stage sets its number of threads).
Another machine adds numbers in another order and produces an equivalent model with other bytes.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from onetrainer_gradio.demo import DEMO_FOLDER, IMAGES_FOLDER, MODEL_FOLDER, REGULARIZATION_FOLDER, layout, toy_dataset
from onetrainer_gradio.demo.evaluate import Evaluation, evaluate
from onetrainer_gradio.demo.generate import contact_sheet, open_pipeline
from onetrainer_gradio.demo.initialization import zero_residuals
from onetrainer_gradio.demo.train_denoiser import WordTest, encode_scenes, train_denoiser
from onetrainer_gradio.demo.train_vae import Log, polish_decoder, train_vae
from onetrainer_gradio.demo.vocabulary import write_tokenizer

IMAGE_COUNT = 24
IMAGE_SEED = 7
REGULARIZATION_COUNT = 72
REGULARIZATION_SEED = 11


@dataclass(frozen=True)
class Round:
    """One round of denoiser training: optimizer steps on scenes of ``size`` px with objects ``zoom`` times as large.

    The learning rate schedule has ``arc`` steps unless that is 0: such a round ends before the schedule does.
    """

    steps: int
    size: int
    zoom: float
    scenes: int
    learning_rate: float
    arc: int = 0


@dataclass(frozen=True)
class Plan:
    """The duration of each stage.

    The denoiser learns the words with small images, where a step takes a quarter of the time, and then the full size.
    """

    vae_crop_steps: int = 700
    vae_whole_steps: int = 250
    rounds: tuple[Round, ...] = (
        Round(3000, 64, 1.35, 4096, 1.2e-3),
        Round(600, toy_dataset.SIZE, 1.0, 4096, 6e-4),
        Round(900, toy_dataset.SIZE, 1.0, 3072, 6e-4),
        Round(601, toy_dataset.SIZE, 1.0, 4096, 6e-4, arc=1000),
    )
    polish_steps: int = 400

    def divided(self, by: int) -> Plan:
        """Return the same plan with a fraction of its steps and scenes."""
        rounds = tuple(
            replace(stage, steps=stage.steps // by, scenes=max(stage.scenes // by, 32), arc=stage.arc // by)
            for stage in self.rounds
        )
        return Plan(self.vae_crop_steps // by, self.vae_whole_steps // by, rounds, self.polish_steps // by)


def save_model(folder: Path, *, vae: Any, unet: Any, text_encoder: Any, scheduler: Any) -> None:
    """Write a diffusers folder with the layout of Stable Diffusion 1.5, weights as float16.

    Half precision halves the package size; samples in float32 look the same.
    """
    write_tokenizer(folder / "tokenizer")
    scheduler.save_pretrained(folder / "scheduler")
    for name, part in (("vae", vae), ("unet", unet), ("text_encoder", text_encoder)):
        copy.deepcopy(part).half().save_pretrained(folder / name, safe_serialization=True)
    name_as_elsewhere(folder / "text_encoder" / "model.safetensors")
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files that only their owner can read
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.30.0",
        "requires_safety_checker": False,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def name_as_elsewhere(weights: Path) -> None:
    """Rename a text encoder's tensors as in published models, which other programs expect.

    Newer transformers read both and write them without their first part.
    """
    tensors = load_file(weights)
    save_file(
        {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in tensors.items()}, weights, {"format": "pt"}
    )


def write_images(folder: Path, scenes: list[toy_dataset.Scene]) -> None:
    """Render scenes to a folder, each with its caption in a text file of the same name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(scenes):
        words = [str(number).zfill(2), scene.color, scene.thing, scene.place.split()[-1], scene.background]
        path = folder / ("_".join(filter(None, words)) + ".png")
        Image.fromarray(toy_dataset.render(scene)).save(path, optimize=True)
        path.with_suffix(".txt").write_text(scene.caption + "\n", encoding="utf-8", newline="\n")


def report_evaluation(evaluation: Evaluation, sheet: Path, moment: str, log: Log) -> None:
    """Save the images of the evaluation as one sheet and print its results."""
    Image.fromarray(contact_sheet(list(evaluation.images), 8)).save(sheet)
    old, new = evaluation.old, evaluation.new
    log(f"{moment}: {sum(old)}/{len(old)} known prompts correct, {sum(new)}/{len(new)} show the trigger word")


def build_vae(folder: Path, *, seed: int, plan: Plan, log: Log) -> Any:
    """Train the autoencoder (first stage); reuse a finished one in ``folder``."""
    if (folder / "config.json").exists():
        return AutoencoderKL.from_pretrained(folder)
    torch.set_num_threads(2)
    vae = layout.new_vae(seed)
    zero_residuals(vae)
    train_vae(vae, seed=seed, crop_steps=plan.vae_crop_steps, whole_steps=plan.vae_whole_steps, log=log)
    vae.save_pretrained(folder)
    return vae


def build_denoiser(folder: Path, vae: Any, *, seed: int, plan: Plan, log: Log) -> tuple[Any, Any, Any]:
    """Train UNet and text encoder in rounds (second stage); reuse finished rounds in ``folder``.

    Each round starts from the averages of the last one (in half precision), with a new optimizer and new scenes.
    """
    scheduler = layout.new_scheduler()
    unet, text_encoder = layout.new_unet(seed), layout.new_text_encoder(seed)
    zero_residuals(unet)
    for number, stage in enumerate(plan.rounds):
        done = folder / f"round-{number}"
        if not (done / "model_index.json").exists():
            torch.set_num_threads(1)  # steps this small do not gain from a second one
            write_tokenizer(folder / "tokenizer")
            tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
            dataset = encode_scenes(
                vae,
                tokenizer,
                seed=seed + 1 + 10 * number,
                count=stage.scenes,
                size=stage.size,
                zoom=stage.zoom,
                log=log,
            )

            test = WordTest(vae, tokenizer, seed=seed + 5, size=stage.size, zoom=stage.zoom)

            def watch(step: int, unet: Any, text_encoder: Any, number: int = number, test: WordTest = test) -> None:
                log(f"denoiser: error by wrong word: {test(unet, text_encoder, scheduler)}")
                checkpoint = folder / f"glance-{number}-{step}"
                save_model(checkpoint, vae=vae, unet=unet, text_encoder=text_encoder, scheduler=scheduler)

            train_denoiser(
                unet,
                text_encoder,
                scheduler,
                dataset,
                seed=seed + 2 + 10 * number,
                steps=stage.steps,
                arc=stage.arc or stage.steps,
                learning_rate=stage.learning_rate,
                log=log,
                watch=watch,
            )
            save_model(done, vae=vae, unet=unet, text_encoder=text_encoder, scheduler=scheduler)
        pipeline = open_pipeline(done)
        unet, text_encoder = pipeline.unet, pipeline.text_encoder
    return unet, text_encoder, scheduler


def build_decoder(folder: Path, vae: Any, *, seed: int, plan: Plan, log: Log) -> Any:
    """Improve the decoder of the autoencoder (third stage); reuse a finished one in ``folder``."""
    if not (folder / "config.json").exists():
        torch.set_num_threads(1)
        polish_decoder(vae, seed=seed + 3, steps=plan.polish_steps, log=log)
        vae.save_pretrained(folder)
    return AutoencoderKL.from_pretrained(folder)


def build(folder: Path, *, seed: int, plan: Plan, work: Path, log: Log) -> None:
    """Train and write the complete model; reuse finished stages in ``work``."""
    start = time.monotonic()
    vae = build_vae(work / "vae", seed=seed, plan=plan, log=log)
    log(f"autoencoder ready after {time.monotonic() - start:.0f} s")
    unet, text_encoder, scheduler = build_denoiser(work / "denoiser", vae, seed=seed, plan=plan, log=log)
    log(f"denoiser ready after {time.monotonic() - start:.0f} s")
    vae = build_decoder(work / "polished", vae, seed=seed, plan=plan, log=log)
    if (folder / "model_index.json").exists():  # only ever a model is replaced
        shutil.rmtree(folder)
    save_model(folder, vae=vae, unet=unet, text_encoder=text_encoder, scheduler=scheduler)
    report_evaluation(evaluate(open_pipeline(folder)), work / "final.png", f"done after {time.monotonic() - start:.0f} s", log)


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and build. Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m onetrainer_gradio.demo.build",
        description="Train the demo model from scratch and render the images of the trigger word.",
    )
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER, help="folder of the model (default: in the package)")
    parser.add_argument("--images", type=Path, default=DEMO_FOLDER, help="destination of the two image folders")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--divide", type=int, default=1, help="divide all steps by this, for a quick try")
    parser.add_argument("--work", type=Path, help="folder for finished stages and contact sheets (default: a temporary one)")
    parser.add_argument("--only-images", action="store_true", help="render the images and train nothing")
    options = parser.parse_args(arguments)
    write_images(options.images / IMAGES_FOLDER.name, toy_dataset.new_scenes(IMAGE_COUNT, IMAGE_SEED))
    write_images(
        options.images / REGULARIZATION_FOLDER.name, toy_dataset.regularization_scenes(REGULARIZATION_COUNT, REGULARIZATION_SEED)
    )
    if options.only_images:
        return 0
    plan = Plan().divided(options.divide)
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        build(options.out, seed=options.seed, plan=plan, work=work, log=lambda line: print(line, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
