"""Writers that are killed, that meet, or that are asked for the impossible; and strangers' texts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vae.errors import BadInput
from vae.storage import files

ROOT = Path(__file__).parents[1]
# Replaces the folder argv[1] by one with new files, and is killed at the step argv[2].
KILLED = """
import os, signal, sys
from pathlib import Path
from vae.storage import files

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

out, step, replace = Path(sys.argv[1]), sys.argv[2], Path.replace
if step == "exchanging":
    files._exchanged = die
elif step == "sweeping":
    files.shutil.rmtree = die
elif step == "between two renames":
    files._exchanged = lambda a, b: False
    Path.replace = lambda self, target: die() if self.name == "new" else replace(self, target)
with files.written_folder(out) as folder:
    (folder / "a").write_text("new")
    if step == "writing":
        die()
    (folder / "b").write_text("new")
"""
# Says that it has begun to write argv[1], then waits.
WAITING = """
import sys
from pathlib import Path
from vae.storage import files
with files.written_folder(Path(sys.argv[1])) as folder:
    (folder / "a").write_text("mine")
    print("begun", flush=True)
    sys.stdin.read()
"""
# Writes argv[1] again and again, in two files that must agree.
BUSY = """
import os, sys
from pathlib import Path
from vae.storage import files
from vae.errors import BadInput
out, refused = Path(sys.argv[1]), 0
for turn in range(60):
    try:
        with files.written_folder(out) as folder:
            for name in ("a", "b"):
                (folder / name).write_text(f"{os.getpid()} {turn}")
    except BadInput as error:
        assert "Another process" in str(error), error
        refused += 1
print(60 - refused)
"""


def child(script: str, *arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, **options,
    )  # fmt: skip


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def out(tmp_path) -> Path:
    """A folder that is written already."""
    with files.written_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("old")
        (folder / "b").write_text("old")
    return tmp_path / "out"


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
@pytest.mark.parametrize("step", ["writing", "exchanging", "sweeping", "between two renames"])
def test_whoever_is_killed_loses_nothing_and_leaves_nothing_for_long(out, step):
    assert child(KILLED, out, step).wait(60) == -signal.SIGKILL
    assert (out.parent / ".out.writing").exists()
    wanted = "new" if step == "sweeping" else "old"
    assert out.exists() == (step != "between two renames")
    with files.claimed(out):
        assert contents(out) == {"a": wanted, "b": wanted}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_what_was_moved_aside_comes_back_when_nothing_can_take_its_place(out, monkeypatch):
    replace = Path.replace

    def failing(self, target):
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(files, "_exchanged", lambda a, b: False)
    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(BadInput, match="No space left"), files.written_folder(out) as folder:
        (folder / "a").write_text("new")
    assert contents(out) == {"a": "old", "b": "old"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_takes_a_place_that_is_free_empty_or_taken(tmp_path, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr(files, "_exchanged", lambda a, b: False)
    (tmp_path / "empty").mkdir()
    for name in ("free", "empty", "free"):
        with files.written_folder(tmp_path / name) as folder:
            (folder / "a").write_text(name)
        assert contents(tmp_path / name) == {"a": name}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "free"]


def test_while_one_writes_another_is_refused_until_the_first_is_gone(out):
    first = child(WAITING, out)
    assert first.stdout.readline() == "begun\n"
    with pytest.raises(BadInput, match="Another process is writing"), files.written_folder(out):
        pass
    with files.written_folder(out.parent / "another"):
        pass
    first.kill()
    first.communicate()
    assert contents(out) == {"a": "old", "b": "old"}
    with files.written_folder(out) as folder:
        (folder / "a").write_text("second")
    assert contents(out) == {"a": "second"}


def test_many_writers_of_one_place_never_mix(out):
    writers = [child(BUSY, out) for _ in range(3)]
    written = [int(writer.communicate(timeout=120)[0]) for writer in writers]
    assert all(writer.returncode == 0 for writer in writers)
    assert sum(written) > 0
    found = contents(out)
    assert sorted(found) == ["a", "b"]
    assert found["a"] == found["b"] != "old"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_name_that_is_too_long_gets_a_sentence(tmp_path):
    for write in (files.written_folder, files.written_whole):
        with pytest.raises(BadInput, match="cannot be written: File name too long"), write(tmp_path / ("x" * 300)):
            pass
    assert not list(tmp_path.iterdir())


def test_strangers_texts_are_read_with_or_without_a_bom_and_never_by_the_megabyte(tmp_path):
    file = tmp_path / "text"
    file.write_bytes("\ufeffé".encode())
    assert files.read_text(file) == "é"
    for content, reason in ((b"\xff", "UTF-8"), (b"x" * 11, "longer than 10 bytes")):
        file.write_bytes(content)
        with pytest.raises(BadInput, match=reason):
            files.read_text(file, most=10)
    for missing in (tmp_path, tmp_path / "gone", tmp_path / ("x" * 300)):
        with pytest.raises(BadInput, match="missing"):
            files.read_text(missing)


def test_a_message_is_short_whatever_it_quotes():
    value = "x" * 2**20
    assert len(str(BadInput(f"title is {value!r}; it must be shorter."))) < 700
    assert str(BadInput(f"title is {value!r}; it must be shorter.")).endswith("it must be shorter.")
    assert str(BadInput("n is 3; it must be 4.")) == "n is 3; it must be 4."
