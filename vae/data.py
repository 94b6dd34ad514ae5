"""Sets of pictures as one uint8 array that a model can learn from, and which of them are held out."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae.errors import BadInput

EMBEDDED = Path(__file__).parents[1] / "assets" / "digits-10k.npz"
TORCHVISION = {"digits": "MNIST", "fashion": "FashionMNIST"}


@dataclass(frozen=True)
class Pictures:
    """images (N, H, W, C) uint8; names, one each; attributes, columns of length N: float64 for numbers

    (a gap is NaN), else str.
    """

    images: np.ndarray
    names: list[str]
    attributes: dict[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: slice) -> "Pictures":
        columns = self.attributes and {name: column[rows] for name, column in self.attributes.items()}
        return Pictures(self.images[rows], self.names[rows], columns)


def load(
    name: str, root: str | Path | None = None, *, size: int, channels: int, framing: str = "square", part: str = "train"
) -> Pictures:
    """The part ("train" or "heldout") of a set, each picture brought to (size, size, channels).

    name: "digits" or "fashion" (torchvision's layout under root, downloaded there if absent); "digits-small" (10,000
    digits that come with the project, no root needed); anything else is a folder or zip of pictures, which is root
    itself, or NAME.zip or NAME in the folder root. Without root, $VAE_DATA. Held out are the official test pictures where
    there are any, else the first tenth by file name.
    """
    if part not in ("train", "heldout"):
        raise BadInput(f"The part {part!r} is unknown; it is train or heldout.")
    from vae.pictures.folders import from_files, locate
    from vae.pictures.images import square

    root = Path(root or os.environ.get("VAE_DATA") or Path.home() / ".cache" / "latent-playground")
    if name in TORCHVISION:
        whole = _torchvision(name, root, train=part == "train")
    elif name == "digits-small":
        whole = _split(_embedded(), part)
    else:
        framing = (
            "square" if framing == "portrait" else framing
        )  # a set of portraits is framed already, an upload is not
        whole = _split(from_files(locate(name, root), size=size, channels=channels, framing=framing), part)
    if whole.images.shape[1:] != (size, size, channels):
        fitted = np.stack([square(picture, size, channels) for picture in whole.images])
        whole = Pictures(fitted, whole.names, whole.attributes)
    return whole


def _split(whole: Pictures, part: str) -> Pictures:
    held = max(1, len(whole) // 10)
    if len(whole) < 2:
        raise BadInput("One picture is not enough: one part is held out to measure on; give at least two.")
    return whole.take(slice(held, None) if part == "train" else slice(None, held))


def _torchvision(name: str, root: Path, train: bool) -> Pictures:
    from torchvision import datasets  # takes a second to import, and no other set needs it

    folder = root / "torchvision" if (root / "torchvision").is_dir() else root
    kind = getattr(datasets, TORCHVISION[name])
    try:
        found = kind(folder, train=train, download=True)  # downloads only what is not there
    except (OSError, RuntimeError) as error:
        raise BadInput(f"The set {name} is not under {folder} and could not be downloaded there.") from error
    array = found.data.numpy()[..., None]
    labels = np.array([found.classes[target].split(" - ")[0] for target in found.targets.tolist()])
    return Pictures(array, [f"{i:05d}" for i in range(len(array))], {"label": labels})


def _embedded() -> Pictures:
    if not EMBEDDED.is_file():  # `pip install` takes the package alone
        raise BadInput(
            "digits-small comes with a checkout of the project, not with the installed package; take digits."
        )
    with np.load(EMBEDDED, allow_pickle=False) as file:
        array, labels = file["images"][..., None], file["labels"].astype(str)
    return Pictures(array, [f"{i:05d}" for i in range(len(array))], {"label": labels})
