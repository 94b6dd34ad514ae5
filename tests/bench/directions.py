"""Do named directions do what they say? A reader trained on real pictures looks at people before and after one step.

People are held-out ones without the attribute, encoded; the step is the atlas's own. For numbers, all of them. How many
reconstructions of people with the attribute are read as having it is the most that a step from mean to mean can hope for.
"""

import argparse

import numpy as np
import torch

from tests.bench import readers
from tests.bench.report import percent, table
from vae import checkpoints
from vae.checkpoints import Checkpoint
from vae.measure.directions import merged
from vae.pictures import sets

PEOPLE = 500


def columns_of(attributes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every column as the reader learns it: words as one column of 0 and 1 a value, numbers standardised."""
    found = {}
    for name, column in attributes.items():
        if column.dtype.kind in "US":
            found |= {f"{name}={value}": (column == value).astype(float) for value in sorted(set(column)) if value}
        elif np.isin(column, (0, 1)).all():
            found[name] = column
        else:
            found[name] = (column - column.mean()) / column.std()
    return found


def measure(checkpoint: Checkpoint, args: argparse.Namespace) -> str:
    config, recipe, atlas = checkpoint.model.config, checkpoint.recipe, checkpoint.atlas
    form = {"size": config.size, "channels": config.channels, "framing": recipe.framing, "split": recipe.split}
    learnt, held = sets.load(recipe.data, args.data, **form)
    columns, truth = (columns_of(merged(part.attributes or {}, recipe.categories)) for part in (learnt, held))
    names = list(columns)
    reader = readers.attribute_reader(recipe.data, readers.small(learnt.images), columns)

    def read(pictures: np.ndarray) -> torch.Tensor:
        return readers.logits(reader, readers.small(pictures))  # (N, A)

    spread = read(held.images).std(dim=0)  # (A,): each reading's own standard deviation
    rows = []
    for row in (row for row in atlas.named if row.name in names):
        place = names.index(row.name)
        is_binary = bool(np.isin(columns[row.name], (0, 1)).all())
        without = truth[row.name] == 0 if is_binary else np.ones(len(held), dtype=bool)
        z = checkpoint.encode(held.images[without][:PEOPLE])
        before = read(checkpoint.decode(z))
        after = read(checkpoint.decode(z + row.vector))
        moved = ((after - before) / spread).mean(dim=0)  # (A,)
        same = row.name.partition("=")[0]
        others = [i for i, name in enumerate(names) if name.partition("=")[0] != same]
        most = max(others, key=lambda i: abs(float(moved[i])))
        crossed = ["", "", ""]
        if is_binary:
            further = read(checkpoint.decode(z + 2 * row.vector))
            theirs = checkpoint.encode(held.images[truth[row.name] == 1][:PEOPLE])
            real = read(checkpoint.decode(theirs))
            crossed = [percent(float((seen[:, place] > 0).float().mean())) for seen in (after, further, real)]
        rows.append(
            [row.name, f"{len(z)}", *crossed, f"{float(moved[place]):.2f}", f"{names[most]} {float(moved[most]):+.2f}",
             f"{abs(float(moved[most])) / max(abs(float(moved[place])), 1e-6):.2f}"]
        )  # fmt: skip
    crossings = ["read as having it", "after two", "people with it, made again"]
    head = ["one step of", "people", *crossings, "its reading moves", "the other that moves most", "ratio"]
    return table(head, rows)


def run(args: argparse.Namespace) -> None:
    for name in args.checkpoint or [name for name in checkpoints.names() if checkpoints.load(name).atlas.named]:
        print(f"\n### Named directions of {name}, readings in their own standard deviations\n")
        print(measure(checkpoints.load(name), args))
