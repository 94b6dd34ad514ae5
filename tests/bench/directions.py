"""Do named directions do what they say? A reader trained on real pictures looks at people before and after one step.

People are held-out ones without the attribute, encoded; for numbers all of them, and "having it" is to be read a standard
deviation above the mean. A step is the atlas's own, added to where people are; half the travel and all of it are places of the
page's slider. Of people with the attribute, it's said how many are read so when they are made again.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from tests.bench import readers
from tests.bench.report import percent, table
from vae import checkpoints
from vae.checkpoints import Checkpoint
from vae.measure.directions import merged
from vae.measure.effects import with_effects
from vae.model import posterior_of
from vae.pictures import sets

PEOPLE = 300


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
    """The directions as they are saved; and where nobody looked at what they draw, as they are after measure.effects did."""
    recipe, atlas = checkpoint.recipe, checkpoint.atlas
    learnt, held = sets.load(recipe.data, args.data, split=recipe.split, **vars(checkpoint.form))
    attributes = [merged(part.attributes or {}, recipe.categories) for part in (learnt, held)]
    columns, truth = (columns_of(part) for part in attributes)
    reader = readers.attribute_reader(recipe.data, readers.small(learnt.images), columns)
    found = f"As saved:\n\n{judged(checkpoint, reader, held.images, truth)}"
    if any(row.effect is None for row in atlas.named):
        began, model = time.perf_counter(), checkpoint.model
        means = tuple(posterior_of(model, part.images).mean for part in (learnt, held))
        named = with_effects(atlas, model, (learnt.images, held.images), means, tuple(attributes), recipe.seed)
        seconds = time.perf_counter() - began
        again = replace(checkpoint, atlas=replace(atlas, named=named))
        found += f"\n\nLearnt by what comes out, in {seconds:.0f} s:\n\n{judged(again, reader, held.images, truth)}"
    return found


def judged(checkpoint: Checkpoint, reader: nn.Module, pictures: np.ndarray, truth: dict[str, np.ndarray]) -> str:
    """A line for each named direction: what a reader that had no part in its making sees."""
    atlas, names, rows = checkpoint.atlas, list(truth), []
    knobs = {knob.key: knob for knob in atlas.knobs}

    def read(z: torch.Tensor) -> torch.Tensor:
        return readers.logits(reader, readers.small(checkpoint.decode(z)))  # (N, A)

    everybody = checkpoint.encode(pictures)
    spread = read(everybody[:PEOPLE]).std(dim=0)  # (A,): each reading's own standard deviation
    for row in (row for row in atlas.named if row.name in names):
        place, knob = names.index(row.name), knobs.get(f"named:{row.name}")
        is_binary = bool(np.isin(truth[row.name], (0, 1)).all())
        without = truth[row.name] == 0 if is_binary else np.ones(len(pictures), dtype=bool)
        z = everybody[torch.from_numpy(without)][:PEOPLE]
        before, after = read(z), read(z + row.vector)
        moved = ((after - before) / spread).mean(dim=0).abs()  # (A,)
        kind = row.name.partition("=")[0]
        others = [i for i, name in enumerate(names) if name.partition("=")[0] != kind]
        most = max(others, key=lambda i: float(moved[i]))
        bar, seen = (0.0 if is_binary else 1.0), [after]
        if knob:
            at = z @ knob.probe - knob.offset
            seen += [read(z + (end - at)[:, None] * knob.vector) for end in (knob.high / 2, knob.high)]
        theirs = everybody[torch.from_numpy(truth[row.name] == 1)][:PEOPLE] if is_binary else z[:0]
        turned = [percent(float((part[:, place] > bar).float().mean())) for part in seen]
        rows.append([
            row.name, "" if row.effect is None else percent(row.effect), *turned, *[""] * (3 - len(turned)),
            percent(float((read(theirs)[:, place] > 0).float().mean())) if len(theirs) else "",
            f"{knob.low:.1f} to {knob.high:.1f}" if knob else "no knob",
            f"{float(atlas.typicality(z + row.vector).median()):.2f}",
            f"{float(moved[place]):.2f}", f"{names[most]} {float(moved[most] / moved[place].clamp_min(1e-6)):.2f}",
        ])  # fmt: skip
    ends = ["after one step", "half the travel", "all of it"]
    last = ["people with it, made again", "travel", "typicality after a step", "its reading moves", "drags"]
    return table(["read as having it", "effect", *ends, *last], rows)


def run(args: argparse.Namespace) -> None:
    for name in args.checkpoint or [name for name in checkpoints.names() if checkpoints.load(name).atlas.named]:
        print(f"\n### Named directions of {name}, readings in their own standard deviations\n")
        print(measure(checkpoints.load(name), args))
