"""What the verbs of the command line do, but for train. Each takes the parsed flags."""

import argparse
import json
import sys

import numpy as np

from vae import checkpoints, latents
from vae.errors import BadInput
from vae.measure import evaluation
from vae.pictures import images, sets
from vae.pictures.folders import from_files
from vae.publish import export as exports

MAX_COUNT, MAX_STEPS = 100_000, 1000


def sample(options: argparse.Namespace) -> None:
    images.check_out(options.out)
    if not 1 <= options.count <= MAX_COUNT:
        raise BadInput(f"--count is {options.count}; it must be from 1 to {MAX_COUNT:,}.")
    checkpoint = checkpoints.load(options.checkpoint, options.device)
    z = checkpoint.atlas.prior(options.prior, options.count, options.seed, options.temperature)
    images.save(checkpoint.decode(z), options.out)


def reconstruct(options: argparse.Namespace) -> None:
    images.check_out(options.out)
    checkpoint = checkpoints.load(options.checkpoint, options.device)
    pictures = from_files(options.pictures, **vars(checkpoint.form))
    for name, reason in pictures.report.skipped:
        print(f"Left out: {name}: {reason}", file=sys.stderr)
    images.save(checkpoint.decode(checkpoint.encode(pictures.images)), options.out)


def morph(options: argparse.Namespace) -> None:
    images.check_out(options.out)
    if not 2 <= options.steps <= MAX_STEPS:
        raise BadInput(f"--steps is {options.steps}; it must be from 2 to {MAX_STEPS:,}.")
    checkpoint = checkpoints.load(options.checkpoint, options.device)
    ends = np.stack([checkpoint.prepare(images.load(path)) for path in (options.a, options.b)])
    a, b = checkpoint.encode(ends)
    images.save(checkpoint.decode(latents.PATHS[options.path](a, b, options.steps)), options.out)


def evaluate(options: argparse.Namespace) -> None:
    checkpoint = checkpoints.load(options.checkpoint, options.device)
    recipe = checkpoint.recipe
    pictures, heldout = sets.load(recipe.data, options.data, split=recipe.split, **vars(checkpoint.form))
    numbers = evaluation.evaluate(checkpoint.model, heldout.images, options.seed)
    rows = evaluation.compare(checkpoint, pictures, heldout, options.seed)
    if options.json:
        print(json.dumps({**numbers, "distances": rows}, indent=1))
    else:
        print(f"{evaluation.table(numbers)}\n\n{evaluation.distance_table(rows)}\n\n{evaluation.DISTANCES_NOTE}")


def export(options: argparse.Namespace) -> None:
    checkpoint = checkpoints.load(options.checkpoint, options.device)
    for path in exports.export(checkpoint, options.out):
        print(f"{path}  {path.stat().st_size:,} bytes, with the weights beside it")


def page(options: argparse.Namespace) -> None:
    written = options.write_page(options.checkpoints, options.out, options.single_file)
    print(f"{options.out}  {len(written)} files, {sum(path.stat().st_size for path in written):,} bytes")
