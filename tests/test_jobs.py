"""Trainings started from the page: real processes, the embedded digits, a few seconds each."""

import io
import os
import re
import signal
import subprocess
import sys
import time
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ui import jobs, page
from vae import checkpoints
from vae.errors import BadInput

WISH = {"data": "digits", "latent": 8, "beta": 1, "minutes": 0.1}
PATIENCE = 120  # seconds, for a busy machine


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder of its own for the runs of one test, all of them over when the test is."""
    monkeypatch.setenv("VAE_RUNS", str(tmp_path / "runs"))
    yield tmp_path / "runs"
    for token in [token for token in jobs._children if jobs.is_alive(token)]:
        jobs._children[token].kill()
        jobs._children[token].wait()


def wait_for(token: str, *states: str) -> dict:
    deadline = time.monotonic() + PATIENCE
    while (run := jobs.poll(token))["state"] not in states:
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {states}, found {run}"
        time.sleep(0.1)
    return run


def zipped(path: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(file, "png")
            archive.writestr(f"{number:03d}.png", file.getvalue())
    return path


def test_a_run_reports_ends_and_leaves_a_model_that_only_its_token_finds(runs, monkeypatch):
    monkeypatch.setattr(jobs, "MINUTES", (0.03, 10))
    token = jobs.start({**WISH, "minutes": 0.03})
    assert jobs.find(token) is None
    with pytest.raises(BadInput, match="free in about"):
        jobs.start(WISH)
    learning = wait_for(token, "learning")
    assert 0 <= learning["fraction"] <= 1
    assert learning["pictures_per_second"] > 0
    assert learning["seconds_left"] <= 6
    done = wait_for(token, "done", "failed")
    assert done["state"] == "done", done
    assert len(done["unit_kl"]) == 8
    assert 0 < done["awake"] <= 8
    assert done["history"][-1][1] < done["history"][0][1], "what it gets wrong has not become less"
    pictures = jobs.previews(token)
    assert [len(pictures[name]) for name in ("shown", "reconstructions", "samples")] == [10, 10, 10]
    model = checkpoints.load(jobs.find(token))
    assert model.decode(np.zeros((3, 8), dtype=np.float32)).shape == (3, 28, 28, 1)
    assert jobs.find(token[:-1] + ("a" if token[-1] != "a" else "b")) is None


def loose(folder: Path, count: int, name: str = "photo {} (é).png") -> list[Path]:
    """Files as Gradio keeps uploads: each in a folder of its own, under the visitor's name."""
    rng = np.random.default_rng(0)
    files = [folder / f"{number:03d}" / name.format(number) for number in range(count)]
    for file in files:
        file.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(file, "png")
    return files


def test_a_stopped_run_keeps_its_model_and_its_table_but_no_picture_of_the_visitor(runs, tmp_path):
    files = loose(tmp_path / "up", 130)
    table = tmp_path / "up" / "Attributes.CSV"
    rows = [f"photo {n} (é).png;{n % 2};{n < 9:d}" for n in range(129)]
    table.write_text("\n".join(["file;hat;few", *rows, "gone.png;1;1"]))
    notes = tmp_path / "up" / "notes.txt"
    notes.write_text("hello")
    broken = tmp_path / "up" / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff")
    token = jobs.start({**WISH, "data": "pictures", "minutes": 10}, [*files, table, notes, broken])
    assert (runs / token / "pictures").exists()
    rows = "Pictures without a row in attributes.csv: 1; rows without a picture: 1."
    left_out = wait_for(token, "learning")["left_out"]
    for told in ("notes.txt: This is no kind", "broken.jpg: ", "column few: only ", rows):
        assert told in left_out
    jobs.stop(token)
    run = wait_for(token, "done", "failed")
    assert run["state"] == "done", run
    model = checkpoints.load(jobs.find(token))
    assert model.model.config.channels == 3
    assert [named.name for named in model.atlas.named] == ["hat"]
    deadline = time.monotonic() + PATIENCE
    while (runs / token / "pictures").exists():
        assert time.monotonic() < deadline, "the visitor's pictures are still there"
        time.sleep(0.05)


def test_loose_files_keep_their_names_and_none_takes_the_place_of_another(tmp_path):
    names = [
        "a.png",
        "A.PNG",
        "a.png",
        "caf\u00e9.png",
        "cafe\u0301.png",
        "a (2).png",
        "attributes.csv",
        "attributes.csv",
    ]
    files = [tmp_path / str(number) / name for number, name in enumerate(names)]
    for number, file in enumerate(files):
        file.parent.mkdir()
        file.write_text(str(number))
    folder, left_out = jobs._copied(files, tmp_path / "run")
    found = {file.name: file.read_text() for file in folder.iterdir()}
    assert sorted(found.values()) == list("0123456"), "a file was lost"
    assert (found["a.png"], found["attributes.csv"]) == ("0", "6")
    folded = {unicodedata.normalize("NFC", name).casefold() for name in found}
    assert len(folded) == len(found), "a system that folds case would lose one"
    assert [name for name, _ in left_out] == ["attributes.csv"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["x.rar"], "x.rar: "), (["attributes.csv"], "no pictures"), (["labels.csv"], "called attributes.csv"),
        (["._a.png"], "._a.png"), (["a.zip", "b.zip"], "a.zip"), (["a.png", "b.ZIP"], "b.ZIP"),
        (["a.zip", "attributes.csv"], "in the zip"),
    ],
    ids=str,
)  # fmt: skip
def test_files_that_cannot_be_learnt_from_are_named_before_anything_starts(runs, tmp_path, names, told):
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BadInput, match=re.escape(told)):
        jobs.start({**WISH, "data": "pictures"}, [tmp_path / name for name in names])
    assert not [folder for folder in runs.iterdir() if folder.is_dir()]


def test_of_many_files_left_out_only_some_are_named():
    said = jobs.left_out_words([(f"{n}.txt", "no.") for n in range(500)])
    assert "0.txt: no." in said and "495 more" in said and len(said) < 200


def test_too_few_pictures_are_answered_with_how_many_it_needs(runs, tmp_path):
    token = jobs.start({**WISH, "data": "pictures"}, [zipped(tmp_path / "few.zip", 3)])
    run = wait_for(token, "done", "failed")
    assert run["state"] == "failed"
    assert "3 pictures" in run["message"]
    assert "20" in run["message"]


def test_a_crash_says_so_and_frees_the_machine(runs):
    token = jobs.start(WISH)
    os.kill(jobs._children[token].pid, signal.SIGKILL)
    run = wait_for(token, "failed")
    assert "our fault" in run["message"]
    assert jobs.find(token) is None
    again = jobs.start(WISH)
    assert jobs.poll(again)["state"] == "waiting"


def test_a_run_ends_with_its_server(runs):
    server = (
        f"import os; from ui import jobs; token = jobs.start({WISH!r});"
        "print(jobs._children[token].pid, flush=True); os._exit(0)"
    )
    command = [sys.executable, "-c", server]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=jobs._HOUSE).stdout
    pid, deadline = int(printed), time.monotonic() + PATIENCE
    while is_running(pid):
        assert time.monotonic() < deadline, "the worker outlived its server"
        time.sleep(0.1)
    assert not list(runs.glob("*/checkpoint"))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")  # where nobody collects orphans they stay as zombies
    return not (status.exists() and "State:\tZ" in status.read_text())


@pytest.mark.parametrize(
    "wrong",
    [
        {"latent": 1}, {"latent": 65}, {"latent": 8.5}, {"latent": "8"}, {"latent": True}, {"latent": None},
        {"beta": -0.1}, {"beta": 10.1}, {"beta": float("nan")}, {"beta": float("inf")},
        {"minutes": 0}, {"minutes": 600}, {"minutes": float("nan")}, {"minutes": [1]},
        {"data": "faces"}, {"data": "../../etc"}, {"data": None}, {"data": "pictures"},
    ],
    ids=str,
)  # fmt: skip
def test_values_out_of_range_are_refused_before_anything_starts(runs, wrong):
    with pytest.raises(BadInput):
        jobs.start({**WISH, **wrong})
    assert not runs.exists() or not [folder for folder in runs.iterdir() if folder.is_dir()]


@pytest.mark.parametrize("token", ["", "..", "../../etc", "/etc", "a" * 32, "a" * 31 + "\n", None, 7, ["x"], "é" * 32])
def test_a_strange_token_finds_nothing(runs, token):
    assert jobs.find(token) is None
    assert jobs.poll(token) == {"state": "gone"}
    assert jobs.previews(token) == {}
    jobs.stop(token)


def test_runs_live_for_a_day_and_there_are_never_too_many(runs):
    now = time.time()
    folders = [jobs.root() / f"{number:032d}" for number in range(jobs.RUNS_AT_MOST + 3)]
    for number, folder in enumerate(folders):
        (folder / "checkpoint").mkdir(parents=True)
        age = jobs.LIFETIME_SECONDS + 60 if number == 0 else number
        os.utime(folder, (now - age, now - age))
    assert jobs.find(folders[0].name) is None, "too old, though not yet removed"
    assert jobs.find(folders[1].name) is not None
    jobs.tidy()
    assert [folder.exists() for folder in folders] == [False] + [True] * jobs.RUNS_AT_MOST + [False] * 2


def test_pictures_that_a_dead_server_left_go_when_the_next_one_starts(runs):
    left, fresh = (jobs.root() / (32 * letter) for letter in "ab")
    for folder in (left, fresh):
        (folder / "pictures").mkdir(parents=True)
    os.utime(left, (time.time() - jobs.GRACE_SECONDS - 60,) * 2)
    page.build()
    assert [(folder / "pictures").exists() for folder in (left, fresh)] == [False, True]


@pytest.mark.parametrize("name", ["avatars", "avatars128"])
def test_drawn_faces_can_be_learnt_from_where_they_are(tmp_path, monkeypatch, name):
    monkeypatch.setenv("VAE_DATA", str(tmp_path))
    assert "avatars" not in jobs.available()
    (tmp_path / f"{name}.zip").touch()
    assert "avatars" in jobs.available()
    assert jobs.avatars() == name
