"""Sets of pictures as one uint8 array that a model can learn from, and which of them are held out."""

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from vae.errors import BadInput

EMBEDDED = Path(__file__).parents[1] / "assets" / "digits-10k.npz"
TORCHVISION = {"digits": "MNIST", "fashion": "FashionMNIST"}
SPLITS = ("hash", "first tenth")  # what a recipe may say: held_out, or the first tenth by name, as older models had it
LEAST_DIVIDED = (
    5  # pictures of a label from which on it has some in both parts; fewer alike are copies, more are a kind
)
SHOWN = 10  # names and labels in a report, at most


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

    def lines(self) -> list[str]:
        """The report in sentences, one a line."""
        sides = "; shorter sides from {0:,} to {2:,} pixels, the median {1:,}".format(*self.sides) if self.sides else ""
        labels = [f"{label or '(none)'} {count:,}" for label, count in self.labels.items()]
        rows = f"{self.without_row:,} pictures have no row, {self.without_picture:,} rows have no picture"
        said = {
            f"{self.read:,} pictures read{sides}.": True,
            **{f"Left out: {name[-80:]}: {reason}": True for name, reason in self.skipped[:SHOWN]},
            f"Left out: {len(self.skipped) - SHOWN:,} more.": len(self.skipped) > SHOWN,
            f"attributes.csv: {rows}.": self.without_row + self.without_picture > 0,
            f"Labels: {', '.join(labels[:SHOWN])}{', ...' * (len(labels) > SHOWN)}.": labels,
            f"{self.near_duplicates:,} are nearly the same as another picture.": self.near_duplicates > 0,
            f"{self.held_out:,} are held out to measure on, {self.read - self.held_out:,} are learnt from.": True,
        }
        return [line for line, is_told in said.items() if is_told]


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


def load(
    name: str, root: str | Path | None = None, *, size: int, channels: int, framing: str = "square", split: str = "hash"
) -> tuple[Pictures, Pictures]:
    """The set's pictures to learn from and those held out, each brought to (size, size, channels); read once.

    name: "digits" or "fashion" (torchvision's layout under root, downloaded there if absent), whose official test pictures
    are held out; "digits-small" (10,000 digits that come with the project, no root needed); anything else is a folder or
    zip of pictures, which vae.pictures.folders.locate finds. Without root, $VAE_DATA. split: one of SPLITS.
    Raises BadInput for a set that is not there or cannot be read.
    """
    from vae.pictures.folders import from_files, locate
    from vae.pictures.images import square

    root = Path(root or os.environ.get("VAE_DATA") or Path.home() / ".cache" / "latent-playground")
    if name in TORCHVISION:
        parts = _torchvision(name, root)
    elif name == "digits-small":
        parts = _parts(_embedded(), split)  # ones look alike, and yet none is a copy
    else:
        # a set of portraits is framed already, an upload is not
        framing = "square" if framing == "portrait" else framing
        parts = divided(from_files(locate(name, root), size=size, channels=channels, framing=framing), split)
    if parts[0].images.shape[1:] == (size, size, channels):
        return parts
    fitted = [np.stack([square(picture, size, channels) for picture in part.images]) for part in parts]
    return replace(parts[0], images=fitted[0]), replace(parts[1], images=fitted[1])


def divided(whole: Pictures, split: str = "hash") -> tuple[Pictures, Pictures]:
    """-> what is learnt from and what is held out, with the report on both. BadInput for fewer than two pictures."""
    from vae.pictures.duplicates import near_duplicates

    return _parts(whole, split, near_duplicates(whole.images))


def _parts(whole: Pictures, split: str, groups: np.ndarray | None = None) -> tuple[Pictures, Pictures]:
    if split not in SPLITS:
        raise BadInput(f"The split {str(split)[:40]!r} is unknown; it is one of {', '.join(SPLITS)}.")
    if len(whole) < 2:
        raise BadInput("One picture is not enough: one part is held out to measure on; give at least two.")
    labels = (whole.attributes or {}).get("label")
    is_first = np.arange(len(whole)) < max(1, len(whole) // 10)
    is_held = held_out(whole.names, labels, groups) if split == "hash" else is_first
    report = replace(
        whole.report, read=len(whole), labels=dict(sorted(Counter([] if labels is None else map(str, labels)).items())),
        near_duplicates=0 if groups is None else len(groups) - len(set(groups.tolist())), held_out=int(is_held.sum()),
    )  # fmt: skip
    whole = replace(whole, report=report)
    return whole.take(~is_held), whole.take(is_held)


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


def _torchvision(name: str, root: Path) -> tuple[Pictures, Pictures]:
    from torchvision import datasets  # takes a second to import, and no other set needs it

    parts = []
    try:
        folder = root / "torchvision" if (root / "torchvision").is_dir() else root
        for is_train in (True, False):
            found = getattr(datasets, TORCHVISION[name])(folder, train=is_train, download=True)  # of what is not there
            labels = np.array([found.classes[target].split(" - ")[0] for target in found.targets.tolist()])
            names = [f"{i:05d}" for i in range(len(labels))]
            parts.append(Pictures(found.data.numpy()[..., None], names, {"label": labels}))
    except Exception as error:  # a login page in place of the files fails in a dozen ways; all of them mean the same
        where = str(root)[-200:]
        raise BadInput(
            f"The set {name} is not under {where}, or damaged there, and could not be downloaded."
        ) from error
    report = Report(sum(map(len, parts)), held_out=len(parts[1]))
    return replace(parts[0], report=report), replace(parts[1], report=report)


def _embedded() -> Pictures:
    if not EMBEDDED.is_file():  # `pip install` takes the package alone
        raise BadInput("digits-small comes with a checkout of the project, not with the package; take digits.")
    with np.load(EMBEDDED, allow_pickle=False) as file:
        array, labels = file["images"][..., None], file["labels"].astype(str)
    return Pictures(array, [f"{i:05d}" for i in range(len(array))], {"label": labels})
