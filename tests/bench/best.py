"""Does keeping the best help? The kept quarter's Frechet distance beside that of as many random draws, several seeds.

As on the page: of each 256 draws the best 64, until there are enough. Distances are to training pictures, in the features that
measure.distances names, and biased upwards alike, as the counts are the same; the reconstructions are what samples can hope for.
"""

import argparse
import statistics

import numpy as np

from tests.bench.report import table
from vae import checkpoints
from vae.checkpoints import Checkpoint
from vae.device import noise_generator
from vae.measure import distances
from vae.measure.best import DIFFERENCE, best_of
from vae.model import posterior_of
from vae.pictures import sets

DRAWN, KEPT, TIMES = 256, 64, 24  # so 1,536 are kept, of 6,144
COMPARED = 5000  # training pictures
DIFFERENCES = (0.0, DIFFERENCE, 1.0)


def measure(checkpoint: Checkpoint, args: argparse.Namespace) -> str:
    recipe, atlas, dice = checkpoint.recipe, checkpoint.atlas, np.random.default_rng(0)
    learnt, _ = sets.load(recipe.data, args.data, split=recipe.split, **vars(checkpoint.form))
    learnt = learnt.take(dice.permutation(len(learnt))[:COMPARED])
    aim = distances.features(learnt.images)
    drawn = posterior_of(checkpoint.model, learnt.images[: KEPT * TIMES]).sample(noise_generator(0))
    found: dict[str, list[float]] = {"the training pictures, made again": [far(checkpoint.decode(drawn), aim)]}
    for seed in range(args.rounds):
        z = atlas.prior("mixture", DRAWN * TIMES, seed)
        seen = distances.features(checkpoint.decode(z))
        parts = np.arange(len(z)).reshape(TIMES, DRAWN)
        chosen = {"random": dice.permuted(parts, axis=1)[:, :KEPT]}
        for difference in DIFFERENCES:
            best = [part[best_of(atlas, z[part], KEPT, difference)[0]] for part in parts]
            chosen[f"the best quarter, difference {difference}"] = np.stack(best)
        for name, places in chosen.items():
            found.setdefault(name, []).append(distances.frechet(seen[places.ravel()], aim))
    middle = {name: statistics.median(values) for name, values in found.items()}
    rows = []
    for name, values in found.items():
        against = f"{middle[name] / middle['random'] - 1:+.1%}"
        rows.append([name, f"{middle[name]:.1f}", f"{min(values):.1f} to {max(values):.1f}", against, str(len(values))])
    return table(["pictures", "Frechet distance", "least to greatest", "against random", "seeds"], rows)


def far(pictures: np.ndarray, aim: np.ndarray) -> float:
    return distances.frechet(distances.features(pictures), aim)


def run(args: argparse.Namespace) -> None:
    for name in args.checkpoint or checkpoints.names():
        checkpoint = checkpoints.load(name, "cpu")
        print(f"\n### The best {KEPT} of {DRAWN} draws of {name}, {KEPT * TIMES:,} in all\n")
        print(measure(checkpoint, args))
