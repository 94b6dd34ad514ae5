"""python -m tests.bench [BENCH ...]: the benches of the table below, all of them or those that are named."""

import argparse
import importlib
import os
from pathlib import Path

from tests.bench.report import machine

# bench -> where its run(args) lives
BENCHES = {
    "train": "train:run",
    "startup": "page:startup",
    "decode": "decode:run",
    "drag": "page:drag",
    "page": "live:run",
    "static": "static:run",
    "memory": "page:memory",
    "marks": "marks:run",
    "blur": "blur:run",
    "directions": "directions:run",
    "best": "best:run",
    "faces": "faces:run",
    "pictures": "pictures:run",
    "verdict": "verdict:run",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Prints the project's numbers.")
    parser.add_argument("bench", nargs="*", help=f"{', '.join(BENCHES)}; all of them when none is named")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("VAE_DATA", "~/data")).expanduser(),
        help="folder with torchvision/, avatars.zip (64 pixels), avatars128.zip and faces.zip (default: $VAE_DATA, else ~/data)",
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        help="marks, blur, decode, directions, best, verdict: a name, folder or hub id; may be repeated",
    )
    parser.add_argument("--set", action="append", help="train: digits or avatars; both when not given")
    parser.add_argument("--rounds", type=int, default=5, help="how often each measurement is repeated")
    parser.add_argument("--minutes", type=float, default=20.0, help="pictures: how long each contestant learns")
    parser.add_argument("--seconds", type=float, default=6.0, help="train, drag: how long each one lasts")
    args = parser.parse_args()
    if unknown := set(args.bench) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    print(machine())
    for name in args.bench or BENCHES:
        module, function = BENCHES[name].split(":")
        getattr(importlib.import_module(f"tests.bench.{module}"), function)(args)


if __name__ == "__main__":
    main()
