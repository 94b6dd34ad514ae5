"""What the verbs of the command line do, but for train. Each takes the parsed flags."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vae import checkpoints, latents
from vae.checkpoints import Checkpoint
from vae.data import Pictures
from vae.errors import BadInput
from vae.measure import evaluation
from vae.measure.best import MOST_KEPT, best_of
from vae.measure.novelty import COPY, nearest
from vae.pictures import images, sets
from vae.pictures.folders import from_files
from vae.publish import export as exports

MAX_COUNT, MAX_STEPS = 100_000, 1000


def sample(options: argparse.Namespace) -> None:
    images.check_out(options.out)
    draw = options.count if options.best_of is None else options.best_of
    if not 1 <= options.count <= MAX_COUNT:
        raise BadInput(f"--count is {options.count}; it must be from 1 to {MAX_COUNT:,}.")
    if not options.count <= draw <= MAX_COUNT:
        raise BadInput(f"--best-of is {draw}; it must be from --count, {options.count:,}, to {MAX_COUNT:,}.")
    checkpoint = checkpoints.load(options.checkpoint, options.device)
    known = _known(checkpoint, options) if options.nearest else None
    near: dict[str, Any] = {}
    if options.around:
        picture = checkpoint.prepare(images.load(options.around))
        near = {"around": checkpoint.encode(picture[None])[0], "spread": options.spread}
    settings = (options.seed, options.temperature, options.only)
    z = checkpoint.atlas.prior(options.prior, draw, *settings, least=options.count, **near)
    rows, _ = best_of(checkpoint.atlas, z, options.count, options.difference)
    pictures = checkpoint.decode(z[rows])
    images.save(pictures, options.out)
    if options.nearest:
        _tell_nearest(checkpoint, z[rows][:MOST_KEPT], pictures[:MOST_KEPT], known, options.out)


def _known(checkpoint: Checkpoint, options: argparse.Namespace) -> Pictures | None:
    """The pictures that the model learnt from, or None where they are not asked for and its sketch has to do."""
    if options.data is None and checkpoint.sketch is not None:
        return None
    recipe = checkpoint.recipe
    return sets.load(recipe.data, options.data, split=recipe.split, **vars(checkpoint.form))[0]


def _tell_nearest(checkpoint: Checkpoint, z: Tensor, pictures: np.ndarray, known: Pictures | None, out: Path) -> None:
    """Prints how new each picture is, and writes OUT-nearest.png: a row each, beside it the nearest that were learnt from."""
    shares = checkpoint.novelty(z)
    for row, share in enumerate([] if shares is None else shares.tolist()):
        kind = "nearly a copy" if share < COPY else "new"
        print(f"{row:05d}: {kind}; farther from all it learnt from than {100 * share:.0f} % of pictures it never saw")
    if known is None:
        return
    print(f"Looking through {len(known):,} pictures.", file=sys.stderr)
    found = nearest(checkpoint, z, known)
    beside = [known.images[rows] for rows in np.concatenate(list(found.values()), axis=1).T]  # each (N, H, W, C)
    sheet = np.concatenate([pictures, *beside], axis=2)  # (N, H, W', C)
    path = out.with_name(f"{out.stem}-nearest.png")
    images.save(sheet.reshape(1, -1, *sheet.shape[2:]), path)
    print(f"{path}: each picture, then the nearest that were learnt from by their {', then by their '.join(found)}")


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
