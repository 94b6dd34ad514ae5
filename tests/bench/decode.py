"""How fast the shipped models decode: latents in, uint8 pictures out, through Checkpoint.decode as the page calls it."""

import argparse
import time

import torch

from tests.bench.report import Sample, table
from vae import checkpoints

WARM_UP = 3


def times(checkpoint: checkpoints.Checkpoint, count: int, rounds: int) -> list[float]:
    """-> seconds of each of `rounds` decodings of `count` latents."""
    z = checkpoint.atlas.prior("normal", count, seed=0, temperature=1.0)
    taken = []
    for _ in range(WARM_UP + rounds):
        began = time.perf_counter()
        checkpoint.decode(z)
        taken.append(time.perf_counter() - began)
    return taken[WARM_UP:]


def run(args: argparse.Namespace) -> None:
    rows = []
    for name in args.checkpoint or checkpoints.names():
        checkpoint = checkpoints.load(name)
        one = Sample([1000 * t for t in times(checkpoint, 1, 200)], "ms", 1)
        many = Sample([256 / t for t in times(checkpoint, 256, max(5, args.rounds))], "pictures/s")
        rows.append([name, one, many])
    print(f"\n### Decoding ({torch.get_num_threads()} thread(s))\n")
    print(table(["model", "one picture", "256 at once"], rows))
