"""Sets of pictures as one uint8 array that a model can learn from."""

from dataclasses import dataclass, field, replace

import numpy as np

SPLITS = ("hash", "first tenth")  # by pictures.split.held_out, or the first by name, as older models had it
MOST_VALUES = 16  # of a column of words that are kinds; more are names
LARGEST = 1e30  # a number from here on is a slip, and counts as a gap: its square would overflow


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
