"""Pictures from folders and zips, as one uint8 array.

Everything about a file is checked before its bytes are unpacked, and nothing is ever unpacked to disk.
"""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from vae.data import Pictures
from vae.errors import BadInput
from vae.pictures import images
from vae.pictures.framing import fit
from vae.pictures.tables import attributes_of

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


def locate(name: str, root: Path) -> Path:
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
    return Pictures(np.stack(pictures), names, attributes_of(table, names) if table is not None else None)


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
