"""Sets of pictures as one uint8 array that a model can learn from, and which of them are held out."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np

SPLITS = ("hash", "first tenth")  # what a recipe may say: held_out, or the first tenth by name, as older models had it
MOST_VALUES = 16  # of a column of words that are kinds; more are names
LARGEST = 1e30  # a number from here on is a slip, and counts as a gap: its square would overflow
LEAST_DIVIDED = 5  # pictures of a label from which on some are in both parts; fewer alike are copies, more are a kind


@dataclass(frozen=True)
class Report:
    """What happened when a set was read and divided. Sides are the shorter ones, in pixels, of at most images.LOADED_SIDE."""

    read: int = 0
    skipped: tuple[tuple[str, str], ...] = ()  # names of what could not be read, and why
    sides: tuple[int, int, int] | None = None  # smallest, median, largest
    labels: dict[str, int] = field(default_factory=dict)  # pictures of each
    without_row: int = 0  # pictures that attributes.csv does not name
    without_picture: int = 0  # rows of it that name no picture
    near_duplicates: int = 0  # pictures that are nearly the same as one before
    held_out: int = 0


@dataclass(frozen=True)
class Pictures:
    """images (N, H, W, C) uint8; names, one each; attributes, columns of length N: float64 with NaN for a gap, else str."""

    images: np.ndarray
    names: list[str]
    attributes: dict[str, np.ndarray] | None = None
    report: Report = field(default_factory=Report)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: slice | np.ndarray) -> "Pictures":
        """The pictures of a slice, or of row numbers or a mask (N,)."""
        columns = self.attributes and {name: column[rows] for name, column in self.attributes.items()}
        names = [self.names[row] for row in np.arange(len(self))[rows]]
        return replace(self, images=self.images[rows], names=names, attributes=columns)


def held_out(names: Sequence[str], labels: np.ndarray | None = None, groups: np.ndarray | None = None) -> np.ndarray:
    """N names, their labels and their group numbers (N,) -> (N,) bool: about a tenth, whatever the order of the names.

    Of each label the tenth (rounded) whose names have the smallest sha256, of five pictures or more at least one; labels of
    fewer pictures are taken together. A group, which is pictures nearly the same, stays whole and goes by its smallest hash,
    but one of more than a tenth of all is a kind, not copies, and is divided as a label is. Of two names or more at least
    one is held out.
    """
    count, numbers = len(names), range(len(names)) if groups is None else groups.tolist()
    order = sorted(range(count), key=lambda row: _hash(names[row]))
    kinds = {group for group, size in Counter(numbers).items() if size >= LEAST_DIVIDED and size > count / 10}
    copies: dict[tuple[int, int], list[int]] = {}  # in the order of each one's smallest hash
    for row in order:
        copies.setdefault((numbers[row], row if numbers[row] in kinds else -1), []).append(row)
    strata = [group if group in kinds else None for group in numbers] if labels is None else labels.tolist()
    sizes = Counter(strata[rows[0]] for rows in copies.values() for _ in rows)  # copies go with their first
    parts: dict[object, list[list[int]]] = {}
    for rows in copies.values():
        stratum = strata[rows[0]]
        parts.setdefault((stratum,) if sizes[stratum] >= LEAST_DIVIDED else "few", []).append(rows)
    is_held = np.zeros(count, bool)
    for part in parts.values():
        is_held[_tenth(part)] = True
    is_held[order[:1]] |= count > 1 and not is_held.any()
    return is_held


def _hash(name: str) -> str:
    tidy = unicodedata.normalize("NFC", name.replace("\\", "/"))
    return sha256(tidy.encode("utf-8", "surrogateescape")).hexdigest()


def _tenth(groups: list[list[int]]) -> list[int]:
    """Rows in groups -> those of about a tenth: the first groups that fit, none broken up unless it is nearly all there is."""
    count = sum(map(len, groups))
    wanted = max(round(count / 10), int(count >= LEAST_DIVIDED))
    taken: list[int] = []
    for rows in groups:
        taken += rows if len(taken) + len(rows) <= wanted else []
    smallest = min(groups, key=len)
    if wanted and not taken:  # every group is larger than that
        taken = smallest if len(smallest) < count / 2 else sum(groups, [])[:wanted]
    return taken
