"""Sets of pictures by their names: torchvision's, the digits that come with the project, folders and zips; in two parts."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from vae.data import SPLITS, Pictures, Report
from vae.errors import BadInput
from vae.pictures.duplicates import near_duplicates
from vae.pictures.folders import from_files, locate
from vae.pictures.images import square
from vae.pictures.split import held_out

EMBEDDED = Path(__file__).parents[2] / "assets" / "digits-10k.npz"
TORCHVISION = {"digits": "MNIST", "fashion": "FashionMNIST"}
# Pictures of another set; 100 teach a critic of scenes to know it, and less of what it has never seen passes.
OTHERS = 300


def load(
    name: str, root: str | Path | None = None, *, size: int, channels: int, framing: str = "square", split: str = "hash"
) -> tuple[Pictures, Pictures]:
    """The set's pictures to learn from and those held out, each brought to (size, size, channels); read once.

    name: "digits" or "fashion" (torchvision's layout under root, downloaded there if absent), whose official test pictures
    are held out; "digits-small" (10,000 digits that come with the project, no root needed); anything else is a folder or
    zip of pictures, which vae.pictures.folders.locate finds. Without root, $VAE_DATA. split: one of SPLITS.
    Raises BadInput for a set that is not there or cannot be read.
    """
    root = _data(root)
    if name in TORCHVISION:
        parts = _torchvision(name, root)
    elif name == "digits-small":
        parts = [*_parts(_embedded(), split)]  # ones look alike, and yet none is a copy
    else:
        form = "square" if framing == "portrait" else framing  # a set of portraits is framed already, an upload is not
        return divided(from_files(locate(name, root), size=size, channels=channels, framing=form), split)
    if parts[0].images.shape[1:] != (size, size, channels):
        parts = [replace(part, images=np.stack([square(one, size, channels) for one in part.images])) for part in parts]
    return parts[0], parts[1]


def others(names: str, root: str | Path | None = None, *, size: int, channels: int) -> np.ndarray:
    """uint8 (N, size, size, channels): OTHERS pictures of each of the sets that are named, apart by commas, as squares.

    Names are as in load, but for those of what comes with the project. BadInput as there.
    """
    found = [np.empty((0, size, size, channels), np.uint8)]
    for name in filter(None, map(str.strip, names.split(","))):
        if name in TORCHVISION:
            greys = _torchvision(name, _data(root))[0].images[:OTHERS]
            found.append(np.stack([square(one, size, channels) for one in greys]))
        else:
            found.append(from_files(locate(name, _data(root)), size=size, channels=channels, few=OTHERS).images)
    return np.concatenate(found)


def _data(root: str | Path | None) -> Path:
    return Path(root or os.environ.get("VAE_DATA") or Path.home() / ".cache" / "latent-playground")


def divided(whole: Pictures, split: str = "hash") -> tuple[Pictures, Pictures]:
    """-> what is learnt from and what is held out, with the report on both. BadInput for fewer than two pictures."""
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


def _torchvision(name: str, root: Path) -> list[Pictures]:
    from torchvision import datasets  # takes a second to import, and no other set needs it

    parts = []
    try:
        folder = root / "torchvision" if (root / "torchvision").is_dir() else root
        for is_train in (True, False):
            found = getattr(datasets, TORCHVISION[name])(folder, train=is_train, download=True)  # of what is not there
            words = np.array([word.split(" - ")[0] for word in found.classes])
            parts.append(_numbered(found.data.numpy(), words[found.targets.numpy()]))
    except Exception as error:  # a login page in place of the files fails in a dozen ways; all of them mean the same
        raise BadInput(f"The set {name} is not under {str(root)[-200:]}, or damaged; the download failed.") from error
    report = Report(sum(map(len, parts)), held_out=len(parts[1]))
    return [replace(part, report=report) for part in parts]


def _embedded() -> Pictures:
    if not EMBEDDED.is_file():  # `pip install` takes the package alone
        raise BadInput("digits-small comes with a checkout of the project, not with the package; take digits.")
    with np.load(EMBEDDED, allow_pickle=False) as file:
        return _numbered(file["images"], file["labels"].astype(str))


def _numbered(greys: np.ndarray, labels: np.ndarray) -> Pictures:
    return Pictures(greys[..., None], [f"{i:05d}" for i in range(len(greys))], {"label": labels})
