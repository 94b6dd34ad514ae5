"""Named directions: which way to walk in latent space for glasses, a smile or fair hair, learnt from a table of attributes.

Attributes are columns of length N: numbers, where NaN is a gap, or words.
"""

import os

import numpy as np
import torch
from torch import Tensor

from vae.atlas import Named
from vae.data import LARGEST, MOST_VALUES
from vae.errors import BadInput
from vae.pictures.split import held_out

MIN_EXAMPLES = 50  # of each side of an attribute, or no knob is made of it
TOLD = 0.5  # the share of a column's variance from which on a column of words says the same


def fit_named(mean: Tensor, attributes: dict[str, np.ndarray]) -> tuple[Named, ...]:
    """(N, D) posterior means and columns (N,) -> a direction for each column of numbers and each value of a column of words.

    One ridge regression of the latents on all columns of numbers at once: a difference of means for "smile" would carry along
    whatever goes with smiling in the data. A column of 0 and 1 moves from 0 to 1, any other by a standard deviation. The
    values of a column of words ("hair=bun") are told apart beside all columns that the words do not tell already; each
    moves there from the mean of the other values. Columns that hardly vary, or have too many gaps or values, are left out, as
    why_not says; where a column that stays has a gap, it counts as its mean for the other columns and not for its own
    score. Each direction is scored on the tenth of the rows that held_out takes by their numbers, unseen by the fit.
    """
    kept = {
        name: np.where(_is_given(column), column, np.nan).astype(np.float64)
        for name, column in attributes.items()
        if _is_number(column) and not why_not(column)
    }
    numbers = {name: np.where(np.isnan(column), np.nanmean(column), column) for name, column in kept.items()}
    steps = {name: 1.0 if _is_binary(column) else np.nanstd(column) for name, column in kept.items()}
    latents_ = mean.double().numpy()
    z = latents_ - latents_.mean(axis=0)
    held = held_out([str(row) for row in range(len(z))])
    named = [
        _named(name, vector * steps[name], kept[name], z, held)
        for name, vector in zip(kept, _effects(numbers, z, held), strict=True)
    ]
    for name, words in attributes.items():
        values = _values(words)
        others = {key: column for key, column in numbers.items() if _share_told(words, column) < TOLD}
        columns = {f"{name}={value}": (words == value).astype(np.float64) for value in values}
        shares = np.array([column.mean() for column in columns.values()])
        effects = _effects({**columns, **others}, z, held)[: len(values)]  # (V, D)
        for (key, column), effect, share in zip(columns.items(), effects, shares, strict=True):
            rest = (shares @ effects - share * effect) / max(shares.sum() - share, 1e-9)
            named.append(_named(key, effect - rest, column, z, held))
    return tuple(named)


def _effects(columns: dict[str, np.ndarray], z: np.ndarray, held: np.ndarray) -> np.ndarray:
    """-> (A, D): what one more of each column adds to z (N, D), the other columns staying as they are; held rows unseen."""
    if not columns:
        return np.empty((0, z.shape[1]))
    table = np.stack(list(columns.values()), axis=1)  # (N, A)
    design = (table[~held] - table.mean(axis=0)) / table.std(axis=0)
    return _ridge(design, z[~held]) / table.std(axis=0)[:, None]


def _ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.solve(x.T @ x + 1e-3 * len(x) * np.eye(x.shape[1]), x.T @ y)


def _named(name: str, vector: np.ndarray, column: np.ndarray, z: np.ndarray, held: np.ndarray) -> Named:
    """The direction with its score: how well a linear reading of latents it has not seen tells the column."""
    given = ~np.isnan(column)
    column, z, held = column[given], z[given], held[given]
    reading = z @ _ridge(z[~held], column[~held] - column.mean())  # (N,)
    truth, seen = column[held], reading[held]
    if _is_binary(column):
        is_one = column[~held] > 0.5
        above = seen > 0.5 * (reading[~held][is_one].mean() + reading[~held][~is_one].mean())
        parts = [np.mean(above[truth == side] == bool(side)) for side in (0, 1) if (truth == side).any()]
        measure, score = "balanced accuracy", float(np.mean(parts)) if parts else 0.5
    else:
        varies = len(truth) > 1 and truth.std() > 0 and seen.std() > 0
        measure, score = "correlation", float(np.corrcoef(truth, seen)[0, 1]) if varies else 0.0
    share = float(column.mean()) if _is_binary(column) else 0.5
    return Named(name, torch.from_numpy(vector).float(), measure, score, share)


def _is_number(column: np.ndarray) -> bool:
    return column.dtype.kind in "fiub"


def _is_given(column: np.ndarray) -> np.ndarray:
    """(N,) numbers -> (N,) bool: False where there is a gap."""
    return np.abs(column.astype(np.float64)) < LARGEST


def _is_binary(column: np.ndarray) -> bool:
    return bool(np.isin(column[~np.isnan(column)], (0, 1)).all())


def why_not(column: np.ndarray) -> str:
    """Why no direction is made of a column; "" where one is."""
    if not _is_number(column):
        return "" if _values(column) else f"not 2 to {MOST_VALUES} values with {MIN_EXAMPLES} pictures each"
    given = column[_is_given(column)].astype(np.float64)
    if len(given) < min(2 * MIN_EXAMPLES, len(column)):
        return f"gaps in {len(column) - len(given):,} of {len(column):,} pictures"
    if given.std() == 0:
        return "the same for all"
    if _is_binary(given):
        fewest = min((given == 0).sum(), (given == 1).sum())
        return "" if fewest >= MIN_EXAMPLES else f"only {fewest} pictures on one side"
    return "" if len(given) >= 2 * MIN_EXAMPLES else f"only {len(given)} pictures"


def _values(words: np.ndarray) -> list[str]:
    """The values of a column of words that are worth a direction each; none of a column of names or of free text."""
    if _is_number(words):
        return []
    found, counts = np.unique(words, return_counts=True)
    kept = [str(value) for value, count in zip(found, counts, strict=True) if value and count >= MIN_EXAMPLES]
    return kept if 2 <= len(kept) <= MOST_VALUES else []


def _share_told(words: np.ndarray, column: np.ndarray) -> float:
    """How much of the column's variance the words tell (the correlation ratio, eta squared): 0 to 1."""
    _, rows = np.unique(words, return_inverse=True)
    means = np.bincount(rows, column) / np.bincount(rows)
    return float(means[rows].var() / column.var())


def merged(attributes: dict[str, np.ndarray], categories: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """Attributes (N,) with some columns of 0 and 1 made into one column of words, by the recipe's table of categories.

    {"hair": ["black_hair", "fair_hair"]} makes a column hair of "black", "fair" (what the names have in common goes) and ""
    where none or several are 1. BadInput for a column that is not there.
    """
    found = dict(attributes)
    for name, columns in categories.items():
        missing = [column for column in columns if column not in found]
        if missing:
            raise BadInput(f"The category {name} wants a column {missing[0]}, which the attributes lack.")
        table = np.stack([found.pop(column) == 1 for column in columns])  # (V, N)
        common = os.path.commonprefix([column[::-1] for column in columns])[::-1]
        words = np.array([column.removesuffix(common) for column in columns])
        found[name] = np.where(table.sum(axis=0) == 1, words[table.argmax(axis=0)], "")
    return found
