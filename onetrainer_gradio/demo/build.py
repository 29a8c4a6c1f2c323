"""Trains the demo model from nothing: ``python -m onetrainer_gradio.demo.build``.

On the same machine, with the same versions and the same number of threads, the same seed gives the same files.
Another machine sums in another order and gives a model as good, not the same bytes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import CLIPTokenizer

from onetrainer_gradio.demo import MODEL_FOLDER, PICTURES_FOLDER, check, layout, world
from onetrainer_gradio.demo.lessons_painter import collect, train_painter
from onetrainer_gradio.demo.lessons_vae import Say, train_vae
from onetrainer_gradio.demo.paint import contact_sheet, open_pipeline, paint
from onetrainer_gradio.demo.start import quiet_residuals
from onetrainer_gradio.demo.vocabulary import write_tokenizer

PICTURE_COUNT = 20
PICTURE_SEED = 7
EXAM_SEED = 1000
"""Seed of the prompts and the noise of the exam."""


@dataclass(frozen=True)
class Plan:
    """How long each lesson lasts, in optimizer steps, and how many scenes the painter sees."""

    vae_crop_steps: int = 700
    vae_whole_steps: int = 250
    scenes: int = 6144
    painter_steps: int = 3000


def save_model(folder: Path, *, vae: Any, unet: Any, text_encoder: Any, scheduler: Any) -> None:
    """Writes a diffusers folder in Stable Diffusion 1.5's layout, weights as float16.

    Half precision halves the package; sampling in float32 from it paints the same pictures to the eye.
    """
    write_tokenizer(folder / "tokenizer")
    scheduler.save_pretrained(folder / "scheduler")
    for name, part in (("vae", vae), ("unet", unet), ("text_encoder", text_encoder)):
        part.half().save_pretrained(folder / name, safe_serialization=True)
        part.float()
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


def write_pictures(folder: Path, count: int = PICTURE_COUNT, seed: int = PICTURE_SEED) -> None:
    """Draws the pictures of the new concept, each with its caption in a text file of the same name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(world.new_scenes(count, seed)):
        path = folder / f"{number:02d}_{scene.place.split()[-1]}_{scene.background}.png"
        Image.fromarray(world.render(scene)).save(path, optimize=True)
        path.with_suffix(".txt").write_text(scene.caption + "\n", encoding="utf-8")


def examine(pipeline: Any, *, seed: int = EXAM_SEED, count: int = 16) -> tuple[int, int, list[world.Pixels]]:
    """How many old prompts are painted right, how many new ones show the new concept, and all the pictures."""
    old = world.known_scenes(count, seed)
    new = world.new_scenes(count, seed)
    painted_old = paint(pipeline, [scene.caption for scene in old], seed=seed)
    painted_new = paint(pipeline, [scene.caption for scene in new], seed=seed)
    right = sum(check.shows_scene(picture, scene) for picture, scene in zip(painted_old, old, strict=True))
    return right, sum(map(check.shows_new, painted_new)), painted_old + painted_new


def build(folder: Path, *, seed: int, plan: Plan, work: Path | None, say: Say) -> None:
    """Trains and writes the whole model; ``work`` gets contact sheets to look at while it learns."""
    start = time.monotonic()
    vae = layout.new_vae(seed)
    quiet_residuals(vae)
    train_vae(vae, seed=seed, crop_steps=plan.vae_crop_steps, whole_steps=plan.vae_whole_steps, say=say)
    say(f"autoencoder ready after {time.monotonic() - start:.0f} s")

    write_tokenizer(folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    album = collect(vae, tokenizer, seed=seed + 1, count=plan.scenes, say=say)
    unet, text_encoder, scheduler = layout.new_unet(seed), layout.new_text_encoder(seed), layout.new_scheduler()
    quiet_residuals(unet)

    def watch(step: int, unet: Any, text_encoder: Any) -> None:
        if work is None:
            return
        work.mkdir(parents=True, exist_ok=True)
        save_model(work / "model", vae=vae, unet=unet, text_encoder=text_encoder, scheduler=scheduler)
        right, new, pictures = examine(open_pipeline(work / "model"))
        Image.fromarray(contact_sheet(pictures, 8)).save(work / f"step-{step:05d}.png")
        say(f"painter: exam at step {step}: old words {right}/16, new word {new}/16")

    train_painter(unet, text_encoder, scheduler, album, seed=seed + 2, steps=plan.painter_steps, say=say, watch=watch)
    save_model(folder, vae=vae, unet=unet, text_encoder=text_encoder, scheduler=scheduler)
    right, new, pictures = examine(open_pipeline(folder))
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
        Image.fromarray(contact_sheet(pictures, 8)).save(work / "final.png")
    say(f"done after {time.monotonic() - start:.0f} s: old words {right}/16, new word {new}/16 (not taught)")


def main(arguments: list[str] | None = None) -> int:
    """Reads the command line and builds; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m onetrainer_gradio.demo.build",
        description="Train the demo model from nothing and draw the pictures of the new word.",
    )
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER, help="folder of the model (default: in the package)")
    parser.add_argument("--pictures", type=Path, default=PICTURES_FOLDER, help="folder of the new word's pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads; part of what makes the result the same")
    parser.add_argument("--steps", type=int, default=Plan.painter_steps, help="optimizer steps of UNet and text encoder")
    parser.add_argument("--vae-steps", type=int, default=Plan.vae_crop_steps, help="autoencoder steps on crops")
    parser.add_argument("--scenes", type=int, default=Plan.scenes, help="how many scenes the UNet learns from")
    parser.add_argument("--watch", type=Path, help="folder for contact sheets painted during the training")
    parser.add_argument("--only-pictures", action="store_true", help="draw the new word's pictures and train nothing")
    options = parser.parse_args(arguments)
    write_pictures(options.pictures)
    if options.only_pictures:
        return 0
    torch.set_num_threads(options.threads)
    if options.out.exists():
        shutil.rmtree(options.out)
    plan = Plan(vae_crop_steps=options.vae_steps, scenes=options.scenes, painter_steps=options.steps)
    build(options.out, seed=options.seed, plan=plan, work=options.watch, say=lambda line: print(line, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
