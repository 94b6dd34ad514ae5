"""python -m vae train: by a recipe, or from nothing but pictures, to a published checkpoint."""

import argparse
import csv
import dataclasses
import math
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vae import device as devices
from vae import training
from vae.data import Pictures, Report
from vae.errors import BadInput
from vae.measure import evaluation
from vae.measure.regions import pixel_weights
from vae.model import VAEConfig
from vae.pictures import sets
from vae.pictures.folders import from_files
from vae.pictures.framing import Form
from vae.pictures.images import square
from vae.publish.folder import check, is_whole, publish
from vae.recipe import TrainConfig
from vae.runs.report import Progress
from vae.storage.files import claimed, read_text

SHOWN = 10  # names and labels in a report, at most
METRICS_SECONDS = 10  # between two rows of the table of figures, but for those with a held-out loss
# The network for pictures of a size: what a CPU trains in minutes.
SHAPES: dict[int, tuple[int, tuple[int, ...]]] = {64: (4, (64, 128, 256)), 32: (4, (64, 128)), 16: (2, (64, 128))}


def run(options: argparse.Namespace) -> None:
    """Trains and publishes as the flags say. BadInput for all that would fail later, before the first step."""
    out, run_file = options.out, options.out.with_name(f"{options.out.name}.run")
    may_replace = options.force or options.resume
    if is_whole(out) and not may_replace:
        question = f"{out} holds a finished checkpoint; replace it? [y/N] "
        if not (sys.stdin.isatty() and input(question).strip().lower() in ("y", "yes")):
            raise BadInput(
                f"{out} holds a finished checkpoint; add --force, or --resume and more --steps to go on with it."
            )
    with claimed(out.with_name(f"{out.name}.training")):  # a second run would write to the same state
        if run_file.exists() and not may_replace:
            raise BadInput(f"{run_file} holds a run; add --resume to go on with it, or --force to start anew.")
        devices.pick(options.device)
        flags = {name: value for name, value in vars(options).items() if name.startswith("recipe_")}
        given = {name.removeprefix("recipe_"): value for name, value in flags.items() if value is not None}
        words = {name: value for name in ("title", "license") if (value := getattr(options, name))}
        load = _by_recipe if options.source.suffix == ".toml" else _by_pictures
        recipe, pictures, heldout = load(options, given, words)
        training.check(recipe, pictures.images)
        check(out, recipe, pictures, heldout)
        size, channels = recipe.model.size, recipe.model.channels
        others = sets.others(recipe.others, options.data, size=size, channels=channels)
        print("\n".join(told(pictures.report)), file=sys.stderr)
        progress = _learn(recipe, pictures, heldout, options, run_file)
        numbers = publish(
            out, progress.model, pictures, heldout, recipe, progress.history, seconds=progress.seconds, others=others
        )
        print(evaluation.table(numbers))
        print(f"{run_file} keeps the run, for --resume and more --steps; delete it otherwise.", file=sys.stderr)


def _by_recipe(options: argparse.Namespace, given: dict, words: dict) -> tuple[TrainConfig, Pictures, Pictures]:
    recipe = TrainConfig.from_toml(read_text(options.source)).override(**given)
    form = Form(recipe.framing, recipe.model.size, recipe.model.channels)
    recipe = dataclasses.replace(recipe, card=recipe.card | words)
    return recipe, *sets.load(recipe.data, options.data, split=recipe.split, **vars(form))


def _by_pictures(options: argparse.Namespace, given: dict, words: dict) -> tuple[TrainConfig, Pictures, Pictures]:
    """A recipe for pictures that have none: 64 pixels, or less where they are smaller; grey where all are."""
    framing = given.get("framing", "square")
    whole = from_files(options.source, size=given.get("size", 64), channels=given.get("channels", 3), framing=framing)
    sides, channels = whole.report.sides or (64, 64, 64), given.get("channels", 3)
    if "channels" not in given and (whole.images == whole.images[..., :1]).all():
        channels = 1
    size = given.get("size") or next((size for size in SHAPES if size <= sides[1]), min(SHAPES))
    if whole.images.shape[1:] != (size, size, channels):
        fitted = np.stack([square(picture, size, channels) for picture in whole.images])
        whole = dataclasses.replace(whole, images=fitted)
    count, name = len(whole), options.source.stem
    batch = min(64, max(8, count // 10))
    stem, widths = SHAPES.get(size, SHAPES[64])
    recipe = TrainConfig(
        data=name, framing=framing, batch=batch, learning_rate=1.5e-3, kl_warmup=0.2, steps=max(1500, 40 * count // batch),
        model=VAEConfig(size, channels, 16 if count < 500 else 32 if count < 5000 else 64, widths, stem, sigma_floor=0.03),
    )  # fmt: skip
    words = {"title": name, "license": "other", "about": f"Trained on {count:,} pictures of {name}."} | words
    recipe = dataclasses.replace(recipe.override(**given), card=words)
    return recipe, *sets.divided(whole, recipe.split)


def _learn(
    recipe: TrainConfig, pictures: Pictures, heldout: Pictures, options: argparse.Namespace, run_file: Path
) -> Progress:
    """The last Progress of a run that reached its end. BadInput, with what to do, where it was stopped."""
    stopped: list[bool] = []
    noted = -math.inf
    with ExitStack() as after:
        for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl+C and a polite kill end the run at its next step
            after.callback(signal.signal, number, signal.signal(number, lambda *_: stopped.append(True)))
        bar = after.enter_context(tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {postfix}"))
        for progress in training.train(
            recipe, pictures.images, heldout=heldout.images, run_file=run_file, resume=options.resume,
            weight=pixel_weights(pictures, recipe.weights, recipe.flip),
            stop=lambda: bool(stopped), device=options.device, precision=options.precision,
        ):  # fmt: skip
            bar.n = round(100 * progress.fraction, 1)
            bar.set_postfix_str(
                f"step {progress.step}, reconstruction {progress.reconstruction:.1f} + KL {progress.kl:.1f} nats, "
                f"{progress.pictures_per_second:.0f} pictures/s, {tqdm.format_interval(progress.seconds_left)} left"
            )
            if progress.note:
                bar.write(progress.note, file=sys.stderr)
            if progress.heldout is not None or progress.seconds - noted >= METRICS_SECONDS:
                _note(progress, run_file.with_suffix(".metrics.csv"), noted < 0, options.resume)
                noted = progress.seconds
    if not progress.is_whole:
        raise BadInput(f"stopped at step {progress.step}; the same command with --resume goes on from there.")
    return progress


def _note(progress: Progress, table: Path, is_first: bool, is_resumed: bool) -> None:
    """Adds Progress.metrics to the table; the first of a resumed run drops what one that was killed told after its last save."""
    rows: list[dict] = [progress.metrics()]
    if is_first and is_resumed and table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if float(row["step"]) < progress.step] + rows
    with table.open("w" if is_first else "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*Progress.FIGURES, "heldout"])
        if is_first:
            writer.writeheader()
        writer.writerows(rows)


def told(report: Report) -> list[str]:
    """What happened when pictures were read, in sentences."""
    sides = "; shorter sides from {0:,} to {2:,} pixels, the median {1:,}".format(*report.sides) if report.sides else ""
    labels = [f"{label or '(none)'} {count:,}" for label, count in report.labels.items()]
    rows = f"{report.without_row:,} pictures have no row, {report.without_picture:,} rows have no picture"
    said = {
        f"{report.read:,} pictures read{sides}.": True,
        **{f"Left out: {name[-80:]}: {reason}": True for name, reason in report.skipped[:SHOWN]},
        f"Left out: {len(report.skipped) - SHOWN:,} more.": len(report.skipped) > SHOWN,
        f"attributes.csv: {rows}.": report.without_row + report.without_picture > 0,
        f"Labels: {', '.join(labels[:SHOWN])}{', ...' * (len(labels) > SHOWN)}.": labels,
        f"{report.near_duplicates:,} are nearly the same as another picture.": report.near_duplicates > 0,
        f"{report.held_out:,} are held out to measure on, {report.read - report.held_out:,} are learnt from.": True,
    }
    return [line for line, is_told in said.items() if is_told]
