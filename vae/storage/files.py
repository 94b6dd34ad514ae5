"""Files and folders that are there whole or not at all: written beside their place, then renamed; and strangers' texts."""

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from vae.errors import BadInput

HERE, EXCHANGE = -100, 2  # Linux's AT_FDCWD and RENAME_EXCHANGE


@contextmanager
def claimed(path: Path) -> Iterator[Path]:
    """The empty folder .NAME.writing beside `path`, under a lock: nobody else can claim `path` until the block ends.

    What a killed writer left there is swept, or takes its old place where that is empty. BadInput while another process has it.
    """
    aside, lock = (path.parent / f".{path.name}.{ending}" for ending in ("writing", "lock"))
    with ExitStack() as after:
        with _said(path):
            try:
                after.enter_context(FileLock(lock, blocking=False))
            except Timeout as error:
                raise BadInput(f"Another process is writing {path}; wait for it, or name another place.") from error
            after.callback(_unlinked, lock)  # while it is held: whoever comes by now sees that its file is gone
            aside.mkdir(exist_ok=True)
            after.callback(aside.rmdir)
        _settle(path, aside)
        after.callback(_settle, path, aside)
        yield aside


def _unlinked(lock: Path) -> None:
    with suppress(PermissionError):  # Windows does it by itself
        lock.unlink()


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(f"{str(path)!r} cannot be written: {error.strerror or error}.") from error


def _settle(path: Path, aside: Path) -> None:
    with _said(path):
        if (aside / "old").exists() and not os.path.lexists(path):
            (aside / "old").replace(path)  # it was moved away, and nothing came into its place
        for leftover in (aside / "new", aside / "old"):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the name `path` when the block ends well, and vanishes when it does not."""
    with claimed(path) as aside, _said(path):
        with (aside / "new").open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        (aside / "new").replace(path)


@contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """A folder that takes the name `path`, and the place of what stood there, when the block ends well; else it vanishes."""
    with claimed(path) as aside, _said(path):
        new = aside / "new"
        new.mkdir()
        yield new
        for found in new.rglob("*"):
            if found.is_file():
                found.chmod(0o644)  # safetensors leaves its files to their owner alone
                with found.open("r+b") as file:  # Windows syncs only what may be written to
                    os.fsync(file.fileno())
        if not _exchanged(new, path):
            if os.path.lexists(path):
                path.replace(aside / "old")  # Windows renames to no name that is taken, not even by an empty folder
            new.replace(path)


def _exchanged(a: Path, b: Path) -> bool:
    """Whether a and b have changed places in one step, as Linux can where both are there."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return rename is not None and rename(HERE, os.fsencode(a), HERE, os.fsencode(b), EXCHANGE) == 0


def read_text(path: Path, most: int = 2**20) -> str:
    """A stranger's text, UTF-8 with or without a BOM. BadInput where there is none, or one of more than `most` bytes."""
    if not os.path.isfile(path):  # a pipe would never end
        raise BadInput(f"{path} is missing, or no file.")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) <= most:
            return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as UTF-8.") from error
    raise BadInput(f"{path} is longer than {most:,} bytes.")
