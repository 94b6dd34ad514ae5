"""Pictures from folders and zips, as one uint8 array.

Everything about a file is checked before its bytes are unpacked, and nothing is ever unpacked to disk.
"""

import os
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from unicodedata import normalize

import numpy as np

from vae.data import Pictures, Report
from vae.errors import BadInput
from vae.pictures import images
from vae.pictures.framing import Form, frame
from vae.pictures.tables import MAX_WORD, read_table

SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif",
}  # fmt: skip
SYSTEM = {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN"}  # folders that machines put beside people's pictures
TABLE = "attributes.csv"
MAX_PICTURES = 300_000
MAX_FILE_BYTES = 30 * 2**20
MAX_ARRAY_BYTES = 6 * 2**30
MAX_UNPACKED = 64 * 2**30  # of a zip, counting what is read: pictures and the table
MAX_RATIO = 200  # of these bytes to the zip's own, which flat drawings exceed as well, so it counts only
FLOOR = 2 * 2**30  # from here on
SKIPPED, SKIPPED_SHARE = 5, 0.05  # pictures that may be unreadable: so many or such a share, but never more than half
DAMAGED = (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError, IndexError, LZMAError, zlib.error)
# What a source holds: how to read each picture, by its path with "/" in Unicode's NFC; its table's bytes, and their folder.
Found = tuple[Mapping[str, Callable[[], Path | bytes]], bytes | None, str]


def locate(name: str, root: Path) -> Path:
    """The file or folder of the set `name`: root where that is a file; else NAME.zip or NAME in the folder root; else root.

    Root itself is a set if it bears that name, or if pictures lie in it and neither zips nor folders of pictures beside them:
    a folder of several sets is never read as one. Raises BadInput that names what is there.
    """
    shown, where = repr(name[:60]), str(root)[-200:]
    try:
        if root.is_file():
            return root
        for path in (root / f"{name}.zip", root / name):
            if path.exists():
                return path
        entries = sorted(root.iterdir()) if root.is_dir() else []
        zips = [path.stem for path in entries if path.suffix.lower() == ".zip" and path.is_file()]
        folders = [path.name for path in entries if path.is_dir() and _is_read(path.name) and any(_pictures_in(path))]
        is_set = bool(folders) or any(_is_picture(path.name) and path.is_file() for path in entries)
    except OSError as error:
        raise BadInput(f"The set {shown} in {where} cannot be read: {error.strerror}.") from error
    own = root.resolve().name
    if is_set and (own == name or not zips + folders):
        return root
    there = list(dict.fromkeys([*zips, *folders, *[own] * is_set]))
    if not there:
        raise BadInput(f"No pictures at {where}: it should be a zip or a folder of pictures, or hold {name[:60]}.zip.")
    more = f" and {len(there) - 12} more" * (len(there) > 12)
    raise BadInput(f"There is no set {shown} in {where}; there are {', '.join(there[:12])}{more}.")


def from_files(
    source: str | Path, *, size: int, channels: int, framing: str = "square", most: int = MAX_PICTURES,
    few: int | None = None,
) -> Pictures:  # fmt: skip
    """All pictures of a folder or a zip, at most `most`, or one picture, in the order of their names; or `few` of them all.

    Not read: what is hidden, the system's own, a link to a folder, or in a folder named like a picture. attributes.csv beside
    the pictures is read where there is one; where two or more subfolders hold them and it has no column `label`, they
    are the labels. A picture that cannot be read is left out, and the report names it. Raises BadInput for a zip or folder
    without pictures, over a limit, damaged, encrypted, or with paths that climb out; and if too many are left out.
    """
    source, where = Path(source), str(source)[-200:]
    try:
        if not source.exists():
            raise BadInput(f"There is nothing at {where}; give a picture, a folder of pictures or a zip.")
        is_archive = source.is_file() and source.suffix.lower() not in SUFFIXES
        files, table, beside = _in_zip(source) if is_archive else _in_folder(source)
    except OSError as error:
        raise BadInput(f"{where} cannot be read: {error.strerror}.") from error
    count = len(files)
    if count > most:
        raise BadInput(f"{source.name} holds {count:,} pictures; {most:,} is the limit.")
    form = Form(framing, size, channels)
    names, pictures, sides, skipped = [], [], [], []
    for name, read in sorted(files.items())[:: max(1, count // few) if few else 1][:few]:
        try:
            picture = images.load(read())
            pictures.append(frame(picture, form).picture)
        except BadInput as error:
            skipped.append((name, str(error)))
            if len(skipped) > min(max(SKIPPED, SKIPPED_SHARE * count), count / 2):
                others = f" {len(skipped):,} or more of {count:,} pictures cannot be read." if len(skipped) > 1 else ""
                raise BadInput(f"{skipped[0][0][-80:]}: {skipped[0][1]}{others}") from error
            continue
        names.append(name)
        sides.append(min(picture.shape[:2]))
        if len(pictures) * size * size * channels > MAX_ARRAY_BYTES:
            raise BadInput(f"{source.name} holds more pictures than fit into memory; give fewer, or a smaller size.")
    if not pictures:
        raise BadInput(f"{source.name} holds no pictures; it should hold PNG, JPEG or WebP files.")
    report = Report(len(names), tuple(skipped), (min(sides), int(np.median(sides)), max(sides)))
    columns: dict[str, np.ndarray] = {}
    if table is not None:
        columns, no_row, no_picture = read_table(table, [name.removeprefix(beside) for name in names])
        report = replace(report, without_row=no_row, without_picture=no_picture)
    labels = _subfolders(names)
    if labels is not None:
        columns.setdefault("label", labels)
    return Pictures(np.stack(pictures), names, columns or None, report)


def _subfolders(names: list[str]) -> np.ndarray | None:
    """N names -> (N,): the folder that each lies in, below those that all lie in; None where there are not two."""
    shared = posixpath.commonpath([posixpath.dirname(name) for name in names])
    inner = [PurePosixPath(name).relative_to(shared).parts for name in names]
    words = [parts[0][:MAX_WORD] if len(parts) > 1 else "" for parts in inner]
    return np.array(words) if len({*words} - {""}) > 1 else None


def _in_folder(source: Path) -> Found:
    if source.is_file():
        return {source.name: partial(Path, source)}, None, ""
    tables = [path for path in sorted(source.iterdir()) if path.name.lower() == TABLE and path.is_file()]
    if tables and tables[0].stat().st_size > MAX_FILE_BYTES:
        raise BadInput(f"{TABLE} has {tables[0].stat().st_size:,} bytes; {MAX_FILE_BYTES:,} is the limit.")
    names = {normalize("NFC", path.relative_to(source).as_posix()): path for path in _pictures_in(source)}
    return {name: partial(Path, path) for name, path in names.items()}, tables[0].read_bytes() if tables else None, ""


def _pictures_in(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if _is_read(name) and not _is_picture(name)]
        yield from (path for name in files if _is_picture(name) and (path := Path(place, name)).is_file())


def _in_zip(source: Path) -> Found:
    try:
        try:
            # As Macs write names, without the flag that says so.
            archive = zipfile.ZipFile(source, metadata_encoding="utf-8")
        except UnicodeDecodeError:
            archive = zipfile.ZipFile(source)
        files = [(PureWindowsPath(entry.filename), entry) for entry in archive.infolist() if not entry.is_dir()]
    except DAMAGED as error:
        raise BadInput(f"{source.name} is no zip that can be read; give a zip of PNG, JPEG or WebP files.") from error
    entries = {}
    for path, entry in files:  # Windows' paths know both separators, and drives
        if path.anchor or ".." in path.parts:
            raise BadInput(f"{source.name} has a path that climbs out ({str(path)[:60]!r}); make the zip again.")
        if path.parts and all(map(_is_read, path.parts)) and not any(map(_is_picture, path.parts[:-1])):
            entries[normalize("NFC", "/".join(path.parts))] = entry
    pictures = [name for name in entries if _is_picture(name)]
    tables = sorted((name for name in entries if posixpath.basename(name).lower() == TABLE), key=len)[:1]
    wanted = [entries[name] for name in [*pictures, *tables]]
    unpacked = sum(entry.file_size for entry in wanted)
    if unpacked > MAX_UNPACKED or unpacked > max(FLOOR, MAX_RATIO * source.stat().st_size):
        raise BadInput(f"The pictures in {source.name} would unpack to {unpacked:,} bytes: too much.")
    if any(entry.flag_bits & 1 for entry in wanted):
        raise BadInput(f"{source.name} is locked with a password; give one without.")

    def read(name: str) -> bytes:
        which = f"{TABLE}: " if name in tables else ""  # a picture's name stands before it already
        if entries[name].file_size > MAX_FILE_BYTES:
            raise BadInput(f"{which}This would unpack to {entries[name].file_size:,} bytes: too much.")
        try:
            with archive.open(entries[name]) as file:
                return file.read(MAX_FILE_BYTES + 1)  # the header's size may lie
        except DAMAGED as error:
            raise BadInput(f"{which}This part of the zip is damaged.") from error

    readers = {name: partial(read, name) for name in pictures}
    return (readers, read(tables[0]), tables[0][: -len(TABLE)]) if tables else (readers, None, "")


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES and _is_read(PurePosixPath(name).name)


def _is_read(name: str) -> bool:
    return not name.startswith(".") and name not in SYSTEM
