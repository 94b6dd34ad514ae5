"""Sets of pictures as one uint8 array that a model can learn from, and which of them are held out."""

import os
import unicodedata
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
TOLD = 10  # names and labels in a report, at most


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
        said = [f"{self.read:,} pictures read{sides}."]
        said += [f"Left out: {name[-80:]}: {reason}" for name, reason in self.skipped[:TOLD]]
        said += [f"Left out: {len(self.skipped) - TOLD:,} more."] * (len(self.skipped) > TOLD)
        if self.without_row or self.without_picture:
            rows = f"{self.without_row:,} pictures have no row, {self.without_picture:,} rows have no picture."
            said.append(f"attributes.csv: {rows}")
        if self.labels:
            shown = ", ".join(f"{label or '(none)'} {count:,}" for label, count in list(self.labels.items())[:TOLD])
            said.append(f"Labels: {shown}{f' and {len(self.labels) - TOLD:,} more' * (len(self.labels) > TOLD)}.")
        if self.near_duplicates:
            said.append(f"{self.near_duplicates:,} are nearly the same as another picture.")
        return [*said, f"{self.held_out:,} are held out to measure on, {self.read - self.held_out:,} are learnt from."]


@dataclass(frozen=True)
class Pictures:
    """images (N, H, W, C) uint8; names, one each; attributes, columns of length N: float64 with NaN for a gap, else str."""

    images: np.ndarray
    names: list[str]
    attributes: dict[str, np.ndarray] | None = None
    report: Report = field(default_factory=Report)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def labels(self) -> np.ndarray | None:
        return (self.attributes or {}).get("label")

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
        learnt, held = _torchvision(name, root, train=True), _torchvision(name, root, train=False)
        report = Report(len(learnt) + len(held), held_out=len(held))
        parts = replace(learnt, report=report), replace(held, report=report)
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
    is_held = np.arange(len(whole)) < max(1, len(whole) // 10)
    if split == "hash":
        is_held = held_out(whole.names, whole.labels, groups)
    kinds, counts = np.unique([] if whole.labels is None else whole.labels.astype(str), return_counts=True)
    report = replace(
        whole.report, read=len(whole), labels=dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
        near_duplicates=0 if groups is None else len(groups) - len(np.unique(groups)), held_out=int(is_held.sum()),
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
    count = len(names)
    tidy = (unicodedata.normalize("NFC", name.replace("\\", "/")) for name in names)
    order = np.argsort([sha256(name.encode("utf-8", "surrogateescape")).hexdigest() for name in tidy], kind="stable")
    numbers, group, sizes = np.unique(
        np.arange(count) if groups is None else groups, return_inverse=True, return_counts=True
    )
    is_kind = (sizes >= LEAST_DIVIDED) & (sizes > count / 10)
    stratum = np.unique(np.where(is_kind[group], group, -1) if labels is None else labels, return_inverse=True)[1]
    group = np.where(is_kind[group], len(numbers) + np.arange(count), group)
    first, place = np.unique(group[order], return_index=True)  # where each group's smallest hash comes in the order
    lead = place[np.searchsorted(first, group)]  # (N,)
    stratum = stratum[order[lead]]  # copies under two labels stay together
    stratum = np.where(np.bincount(stratum)[stratum] < LEAST_DIVIDED, -1, stratum)
    sorted_ = order[np.lexsort((lead[order], stratum[order]))]
    is_held = np.zeros(count, bool)
    for rows in np.split(sorted_, np.flatnonzero(np.diff(stratum[sorted_])) + 1):
        is_held[_tenth(np.split(rows, np.flatnonzero(np.diff(lead[rows])) + 1), len(rows))] = True
    if count > 1 and not is_held.any():
        is_held[order[0]] = True
    return is_held


def _tenth(groups: list[np.ndarray], count: int) -> np.ndarray:
    """Row numbers of `count` pictures in groups -> those of a tenth: the first groups that fit, none of them broken up."""
    wanted = max(round(count / 10), int(count >= LEAST_DIVIDED))
    taken: list[int] = []
    for rows in groups:
        if len(taken) + len(rows) <= wanted:
            taken.extend(rows)
    if wanted and not taken:  # every group is larger than that
        smallest = min(groups, key=len)
        taken.extend(smallest if len(smallest) < count / 2 else np.concatenate(groups)[:wanted])
    return np.array(taken, dtype=int)


def _torchvision(name: str, root: Path, train: bool) -> Pictures:
    from torchvision import datasets  # takes a second to import, and no other set needs it

    kind = getattr(datasets, TORCHVISION[name])
    try:
        folder = root / "torchvision" if (root / "torchvision").is_dir() else root
        found = kind(folder, train=train, download=True)  # downloads only what is not there
        array = found.data.numpy()[..., None]
        labels = np.array([found.classes[target].split(" - ")[0] for target in found.targets.tolist()])
    except Exception as error:  # a login page in place of the files fails in a dozen ways; all of them mean the same
        raise BadInput(
            f"The set {name} is not under {str(root)[-200:]}, or damaged there, and could not be downloaded."
        ) from error
    return Pictures(array, [f"{i:05d}" for i in range(len(array))], {"label": labels})


def _embedded() -> Pictures:
    if not EMBEDDED.is_file():  # `pip install` takes the package alone
        raise BadInput(
            "digits-small comes with a checkout of the project, not with the installed package; take digits."
        )
    with np.load(EMBEDDED, allow_pickle=False) as file:
        array, labels = file["images"][..., None], file["labels"].astype(str)
    return Pictures(array, [f"{i:05d}" for i in range(len(array))], {"label": labels})
