"""Pictures from torchvision's sets, folders and zips, as one uint8 array that the model can learn from.

Everything about a file is checked before its bytes are unpacked, and nothing is ever unpacked to disk.
"""

import csv
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from vae import images
from vae.errors import BadInput
from vae.framing import fit
from vae.images import square

EMBEDDED = Path(__file__).parents[1] / "assets" / "digits-10k.npz"
TORCHVISION = {"digits": "MNIST", "fashion": "FashionMNIST"}
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
MAX_PICTURES = 300_000
MAX_FILE_BYTES = 30 * 2**20
MAX_ARRAY_BYTES = 6 * 2**30
MAX_RATIO = 200  # of unpacked to packed bytes; pictures hardly shrink, bombs shrink a thousandfold
DAMAGED = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    NotImplementedError,
    ValueError,
    IndexError,
    lzma.LZMAError,
    zlib.error,
)
MAX_COLUMNS = 100  # of a table of attributes
MAX_WORD = 60  # characters of an attribute: numpy gives every row of a column as much room as the longest needs


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
    root = Path(root or os.environ.get("VAE_DATA") or Path.home() / ".cache" / "latent-playground")
    if name in TORCHVISION:
        whole = _torchvision(name, root, train=part == "train")
    elif name == "digits-small":
        whole = _split(_embedded(), part)
    else:
        framing = (
            "square" if framing == "portrait" else framing
        )  # a set of portraits is framed already, an upload is not
        whole = _split(from_files(_locate(name, root), size=size, channels=channels, framing=framing), part)
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


def _locate(name: str, root: Path) -> Path:
    if root.suffix.lower() == ".zip" and root.is_file():
        return root
    for path in (root / f"{name}.zip", root / name, root):
        if path.is_file() or (path.is_dir() and next(_picture_files(path), None)):
            return path
    raise BadInput(
        f"No pictures at {root}: it should be a zip, a folder of pictures, or a folder that holds {name}.zip."
    )


def _picture_files(folder: Path) -> Iterator[Path]:
    return (
        path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def from_files(
    source: str | Path, *, size: int, channels: int, framing: str = "square", most: int = MAX_PICTURES
) -> Pictures:
    """All pictures of a folder or a zip, at most `most`, or one picture, in the order of their sorted names.

    attributes.csv beside them is read where there is one: a column `file`, then one for each attribute. Raises BadInput
    for a zip or folder without pictures, over a limit, damaged, encrypted, or with paths that climb out; and for a
    picture that cannot be read, by its name.
    """
    source = Path(source)
    if not source.exists():
        raise BadInput(f"There is nothing at {source}; give a picture, a folder of pictures or a zip.")
    is_archive = source.is_file() and source.suffix.lower() not in SUFFIXES
    files, table = (_zip_entries if is_archive else _folder_entries)(source, most)
    names, pictures = [], []
    for name, read in files:
        try:
            pictures.append(fit(images.load(read()), framing, size, channels))
        except BadInput as error:
            raise BadInput(f"{name}: {error}") from error
        names.append(name)
        if len(pictures) * size * size * channels > MAX_ARRAY_BYTES:
            raise BadInput(f"{source.name} holds more pictures than fit into memory; give fewer, or a smaller size.")
    if not pictures:
        raise BadInput(f"{source.name} holds no pictures; it should hold PNG, JPEG or WebP files.")
    return Pictures(np.stack(pictures), names, _attributes(table, names) if table is not None else None)


def _folder_entries(source: Path, most: int):
    paths = [source] if source.is_file() else list(_picture_files(source))
    if len(paths) > most:
        raise BadInput(f"{source.name} holds {len(paths):,} pictures; {most:,} is the limit.")
    table = source / "attributes.csv"
    text = table.read_text(encoding="utf-8-sig") if table.is_file() else None
    root = source.parent if source.is_file() else source
    return ((path.relative_to(root).as_posix(), lambda path=path: path) for path in paths), text


def _zip_entries(source: Path, most: int):
    try:
        archive = zipfile.ZipFile(source)
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except DAMAGED as error:
        raise BadInput(f"{source.name} is no zip that can be read; give a zip of PNG, JPEG or WebP files.") from error
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in str(path).partition("/")[0]:
            raise BadInput(f"{source.name} has a path that climbs out ({entry.filename[:60]!r}); make the zip again.")
        if entry.flag_bits & 1:
            raise BadInput(f"{source.name} is locked with a password; give one without.")
        if entry.file_size > MAX_FILE_BYTES or entry.file_size > MAX_RATIO * max(entry.compress_size, 1024):
            raise BadInput(
                f"{entry.filename[:60]} in {source.name} would unpack to {entry.file_size:,} bytes: too much."
            )
    pictures = sorted((entry for entry in entries if _is_picture(entry.filename)), key=lambda entry: entry.filename)
    if len(pictures) > most:
        raise BadInput(f"{source.name} holds {len(pictures):,} pictures; {most:,} is the limit.")

    def read(entry: zipfile.ZipInfo) -> bytes:
        try:
            with archive.open(entry) as file:
                return file.read(MAX_FILE_BYTES + 1)  # the header's size may lie
        except DAMAGED as error:
            raise BadInput("this part of the zip is damaged.") from error

    tables = [entry for entry in entries if PurePosixPath(entry.filename).name == "attributes.csv"]
    text = read(tables[0]).decode("utf-8-sig", errors="replace") if tables else None
    return ((entry.filename, lambda entry=entry: read(entry)) for entry in pictures), text


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts


def _attributes(text: str, names: list[str]) -> dict[str, np.ndarray]:
    wanted = {*names, *(PurePosixPath(name).name for name in names)}
    try:
        rows = {row["file"]: row for row in csv.DictReader(io.StringIO(text)) if row.get("file") in wanted}
    except csv.Error as error:
        raise BadInput(f"attributes.csv cannot be read: {error}.") from error
    missing = [name for name in names if name not in rows and PurePosixPath(name).name not in rows]
    if missing:
        raise BadInput(f"attributes.csv has no row for {missing[0]}; it needs a column named file and a row a picture.")
    ordered = [rows.get(name) or rows[PurePosixPath(name).name] for name in names]
    kept = [key for key in ordered[0] if key not in (None, "file")]
    if len(kept) > MAX_COLUMNS:
        raise BadInput(f"attributes.csv has {len(kept):,} columns of attributes; {MAX_COLUMNS} is the limit.")
    columns = {}
    for column in kept:
        values = [row[column] or "" for row in ordered]
        if max(map(len, values)) > MAX_WORD:
            raise BadInput(f"attributes.csv has text of over {MAX_WORD} characters in the column {column[:40]}.")
        try:
            columns[column] = np.array([value or "nan" for value in values], dtype=np.float64)
        except ValueError:
            columns[column] = np.array(values)
    return columns
