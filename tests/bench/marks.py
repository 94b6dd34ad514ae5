"""Marks of a checkpoint as it is shipped: do readers trained on real pictures find in its pictures what should be there?

Reconstructions are of held-out pictures, from posterior means. Samples are drawn at temperature 1 with seed 0.
"""

import argparse
from pathlib import Path

import numpy as np

from tests.bench import readers
from tests.bench.report import percent, table
from vae import checkpoints
from vae.checkpoints import Checkpoint
from vae.pictures import sets

SAMPLES = 10_000
CONFIDENT = 0.9


def reconstruct(checkpoint: Checkpoint, pictures: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, C) -> the same from posterior means."""
    return checkpoint.decode(checkpoint.encode(pictures))


def sample(checkpoint: Checkpoint, prior: str) -> np.ndarray:
    return checkpoint.decode(checkpoint.atlas.prior(prior, SAMPLES, seed=0, temperature=1.0))


def digits(checkpoint: Checkpoint, data: Path) -> str:
    root = data / "torchvision"
    pictures, labels = readers.digits(root, train=False)
    shown = {
        "the test set itself": (pictures, labels),
        "its reconstructions": (reconstruct(checkpoint, pictures), labels),
        f"{SAMPLES:,} samples, mixture": (sample(checkpoint, "mixture"), None),
        f"{SAMPLES:,} samples, normal": (sample(checkpoint, "normal"), None),
    }
    rows = []
    for what, (seen, truth) in shown.items():
        read = readers.read_digits(seen, root)
        right = "" if truth is None else percent((read.argmax(1) == truth).mean())
        rows.append([what, right, percent((read.max(1) >= CONFIDENT).mean())])
    return table(["a digit reader looks at", "read rightly", f"read with confidence {CONFIDENT} or more"], rows)


def avatars(checkpoint: Checkpoint, data: Path) -> str:
    recipe, form = checkpoint.recipe, vars(checkpoint.form)
    learnt, held = sets.load(recipe.data, data, split=recipe.split, **form)
    labels = readers.avatar_labels(held.attributes or {})
    reader = readers.avatar_reader(f"{recipe.data}-{recipe.split.replace(' ', '-')}", learnt)
    real, again = (readers.read_avatars(reader, seen) for seen in (held.images, reconstruct(checkpoint, held.images)))
    rows = []
    for i, (head, answers) in enumerate(readers.AVATAR_HEADS.items()):
        known = labels[:, i] != readers.UNKNOWN
        # Neighbouring hair colours pass into each other: at the border no name is right, not even on the original.
        clear = known & (real[head].max(1) >= CONFIDENT)
        scores = [
            f"{percent(readers.balanced_accuracy(labels[part, i], read[head][part].argmax(1)))} (n = {part.sum()})"
            for read, part in ((real, known), (again, known), (again, clear))
        ]
        rows.append([f"{head} ({', '.join(answers)})", *scores])
    head = ["balanced accuracy of", "on held-out originals", "on their reconstructions"]
    return table([*head, f"on those whose original is read with confidence {CONFIDENT} or more"], rows)


MARKS = {"digits": digits, "avatars128": avatars}


def run(args: argparse.Namespace) -> None:
    for name in args.checkpoint or ["digits", "avatars"]:
        checkpoint = checkpoints.load(name)
        data = checkpoint.recipe.data
        print(f"\n### Marks of {name}\n")
        print(MARKS[data](checkpoint, args.data) if data in MARKS else f"(no reader for the set {data})")
