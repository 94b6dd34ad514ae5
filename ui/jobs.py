"""Trainings that visitors start from the page: at most one at a time on a machine, each in a process of its own (`ui.worker`).

A run is a folder named by an unguessable token, which only the browser that started it knows: config.json, pictures/
(a visitor's own, until they are read), progress.json, previews.json, then checkpoint/ or error.json. Whatever a run
is doing can be read from its folder, so a reloaded page finds its run. Runs live for a day.
"""

import json
import logging
import math
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ui.words import say
from vae.errors import BadInput
from vae.pictures.folders import SUFFIXES, TABLE

try:
    import fcntl
except ImportError:  # Windows: one run at a time for each server, instead of for each machine
    fcntl = None  # type: ignore[assignment]

DATA = ("digits", "avatars", "pictures")
LATENT, BETA, MINUTES = (2, 64), (0.0, 10.0), (0.1, 10.0)
PICTURES_AT_MOST = 5000  # loose files in one upload; more belong in a zip
LIFETIME_SECONDS = 24 * 3600
RUNS_AT_MOST = 60  # folders kept on disk, about 10 MB each
LEFT_OUT_SHOWN = 5  # names of files that are not learnt from
GRACE_SECONDS = 240  # to start, and to draw the map at the end; a run that takes longer is ended

_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
_HOUSE = Path(__file__).resolve().parents[1]
_door = threading.Lock()
_children: dict[str, subprocess.Popen] = {}
log = logging.getLogger(__name__)


def start(config: dict, pictures: Sequence[str | Path] = ()) -> str:
    """Start a training and return its token; BadInput if a value is out of range, or while another run has the machine.

    config: data (one of DATA), latent (2 to 64, whole), beta (0 to 10), minutes (0.1 to 10), seed (optional).
    pictures: the visitor's files, where data is "pictures": one zip, or some pictures, with an attributes.csv or without. The
    worker removes its copy once it has read it. BadInput if none of them is a picture, or a zip is not alone.
    """
    wish = _checked(config, pictures)
    with _door:
        tidy()
        lock = _take_lock()
        token = secrets.token_urlsafe(24)
        run = root() / token
        try:
            run.mkdir(mode=0o700)
            if wish["data"] == "pictures":
                source, wish["left_out"] = _copied(pictures, run / "pictures")
                wish["source"] = str(source)
            (run / "config.json").write_text(json.dumps(wish))
            (root() / "lock").write_text(token)  # for the sentence that says when the machine will be free
            child = subprocess.Popen(
                [sys.executable, "-m", "ui.worker", str(run)],
                cwd=_HOUSE,
                env={**os.environ, "OMP_NUM_THREADS": str(threads())},
                stdin=subprocess.PIPE,  # closes when this server ends, however it ends; the worker then ends too
                stdout=subprocess.DEVNULL,
                pass_fds=() if lock is None else (lock,),
            )
        except BaseException:
            shutil.rmtree(run, ignore_errors=True)
            raise
        finally:
            if lock is not None:
                os.close(lock)  # the worker holds it now, until it ends
        _children[token] = child
    seconds = wish["minutes"] * 60 * 1.2 + GRACE_SECONDS
    threading.Thread(target=_see_out, args=(token, child, seconds), daemon=True).start()
    return token


def poll(token: str) -> dict:
    """What the run is doing: {"state": ..., "message": ..., and what progress.json holds}; never raises for a strange token.

    state: "gone" (no such run, or too old), "waiting" (starting up), "learning", "finishing" (drawing the map of what it
    learnt), "done" (find() gives the model) or "failed" (message says why).
    """
    run = _folder(token)
    if run is None:
        return {"state": "gone"}
    progress = _read(run / "progress.json")
    if is_alive(token):
        state = "waiting" if not progress else "finishing" if progress["done"] else "learning"
        return {"state": state, "stopping": (run / "stop").exists(), **progress}
    if (run / "checkpoint").is_dir():
        return {"state": "done", **progress}
    message = _read(run / "error.json").get("message") or say("train.broke")
    return {"state": "failed", "message": message, **progress}


def previews(token: str) -> dict:
    """The run's newest pictures as data URLs: {"shown": [...], "reconstructions": [...], "samples": [...]}, or {} so far."""
    run = _folder(token)
    return _read(run / "previews.json") if run else {}


def available() -> list[str]:
    """The entries of DATA that this machine has: drawn faces only where VAE_DATA holds them."""
    return [name for name in DATA if name != "avatars" or avatars()]


def avatars() -> str:
    """What the set of drawn faces in VAE_DATA is called, drawn small or large; "" where there is none."""
    folder = Path(os.environ.get("VAE_DATA") or "/nowhere")
    return next((name for name in ("avatars", "avatars128") if (folder / f"{name}.zip").is_file()), "")


def stop(token: str) -> None:
    """Ask the run to end now and keep what it has learnt. A strange token is no error."""
    run = _folder(token)
    if run is not None:
        (run / "stop").touch()


def find(token: str) -> Path | None:
    """The checkpoint folder of a finished run, or None."""
    run = _folder(token)
    return run / "checkpoint" if run and (run / "checkpoint").is_dir() else None


def is_alive(token: str) -> bool:
    """Whether this server's run is still going. (A run of a server that has ended has ended with it.)"""
    child = _children.get(token)
    return child is not None and child.poll() is None


def is_token(text: object) -> bool:
    """Whether text has the form of a token; nothing else ever becomes part of a path."""
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def root() -> Path:
    """The folder that holds the runs: VAE_RUNS, or one beside the system's temporary files."""
    chosen = os.environ.get("VAE_RUNS")
    folder = Path(chosen) if chosen else Path(tempfile.gettempdir()) / "latent-playground-runs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder.resolve()


def threads() -> int:
    """Threads for a training: one core stays free for the visitors who drag knobs meanwhile."""
    return max(1, _cores() - 1)


def _cores() -> int:
    """Cores that this process may use: its affinity, and the container's quota, which affinity does not show."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores


def _checked(config: dict, pictures: Sequence[str | Path]) -> dict:
    """config with every value in its range, or BadInput: the API has no sliders that would see to it."""
    data = config.get("data")
    if data not in available():
        raise BadInput(say("train.bad_data", value=str(data)[:40], known=", ".join(available())))
    if data == "pictures" and not pictures:
        raise BadInput(say("train.no_pictures"))
    if len(pictures) > PICTURES_AT_MOST:
        raise BadInput(say("train.too_many_files", count=len(pictures), most=PICTURES_AT_MOST))
    seed = config.get("seed", 0)
    return {
        "data": data,
        "latent": int(_number(config, "latent", LATENT, whole=True)),
        "beta": _number(config, "beta", BETA),
        "minutes": _number(config, "minutes", MINUTES),
        "seed": seed if isinstance(seed, int) and 0 <= seed < 2**31 else 0,
    }


def _number(config: dict, name: str, limits: tuple[float, float], whole: bool = False) -> float:
    value: Any = config.get(name)
    low, high = limits
    fits = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and low <= value <= high  # NaN compares false
        and not (whole and value != int(value))
    )
    if not fits:
        key = "train.bad_whole" if whole else "train.bad_number"
        raise BadInput(say(key, name=say(f"train.{name}"), value=str(value)[:40], low=low, high=high))
    return value


def _copied(pictures: Sequence[str | Path], folder: Path) -> tuple[Path, list[tuple[str, str]]]:
    """The visitor's files inside the run, and the names of those left out, with why. vae.pictures checks what they hold.

    A lone zip stays as it is. Loose files lie in a folder under the names they came with, for a table's rows name them so.
    BadInput where a zip comes with anything else, or there is no picture among them.
    """
    folder.mkdir(mode=0o700)
    files = [Path(picture) for picture in pictures]
    zips = [file for file in files if file.suffix.lower() == ".zip"]
    if zips and len(files) > 1:
        raise BadInput(say("train.zip_not_alone", name=zips[0].name[-40:]))
    if zips:
        return Path(shutil.copyfile(files[0], folder / files[0].name)), []
    taken: set[str] = set()
    left_out = []
    for file in files:
        if why := _why_not(file, taken):
            left_out.append((file.name, say(f"train.{why}")))
        else:
            shutil.copyfile(file, folder / _free_name(file, taken))
    if not taken - {TABLE}:
        raise BadInput(f"{say('train.no_pictures')} {left_out_words(left_out)}".strip())
    return folder, left_out


def _why_not(file: Path, taken: set[str]) -> str:
    """The key of the words that say why a loose file is not read; "" for a picture and for the first table."""
    if file.name.lower() == TABLE:
        return "second_table" if TABLE in taken else ""
    if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
        return ""
    return "not_the_table" if file.suffix.lower() == ".csv" else "no_picture"


def _free_name(file: Path, taken: set[str]) -> str:
    """The file's name, or one with a number where another has it, on any system: some tell neither a from A nor é from é."""
    name, number = file.name, 1
    while (key := unicodedata.normalize("NFC", name).casefold()) in taken:
        number += 1
        name = f"{file.stem[:50]} ({number}){file.suffix}"
    taken.add(key)
    return name


def left_out_words(left_out: Sequence[tuple[str, str]]) -> str:
    """(name, why) of each thing that is not learnt from -> what the visitor reads, "" for none."""
    if not left_out:
        return ""
    names = [f"{name[-40:]}: {why}" for name, why in left_out[:LEFT_OUT_SHOWN]]
    more = say("train.left_out_more", count=len(left_out) - LEFT_OUT_SHOWN) if len(left_out) > LEFT_OUT_SHOWN else ""
    return say("train.left_out", names=" ".join([*names, more]).strip())


def _take_lock() -> int | None:
    """An open, locked file that goes to the worker (None on Windows); BadInput while another run has it.

    The kernel lets go of the lock when the worker ends, however it ends, so a crash never leaves the machine taken.
    """
    if fcntl is None:
        if any(is_alive(token) for token in _children):
            raise BadInput(_busy())
        return None
    lock = os.open(root() / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise BadInput(_busy()) from None
    return lock


def _busy() -> str:
    """The sentence for a visitor who comes while somebody else's model is learning."""
    token = (root() / "lock").read_text().strip() if (root() / "lock").exists() else ""
    run = _folder(token)
    seconds = 60.0
    if run is not None:
        progress, config = _read(run / "progress.json"), _read(run / "config.json")
        seconds = progress.get("seconds_left", 60 * config.get("minutes", 1)) + 15  # and the map at the end
    return say("train.busy", time=in_words(seconds))


def in_words(seconds: float) -> str:
    """A length of time as people say it: "40 s", "3 min"."""
    if seconds < 90:
        return say("train.seconds", count=max(1, round(seconds)))
    return say("train.minutes_long", count=round(seconds / 60))


def _see_out(token: str, child: subprocess.Popen, seconds: float) -> None:
    """Wait for the worker, so that it is no zombie; end it if it hangs; remove what the run no longer needs."""
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        log.error("training %s... ran past %d s and was ended", token[:6], seconds)
        child.kill()
        child.wait()
    if child.stdin is not None:
        child.stdin.close()
    shutil.rmtree(root() / token / "pictures", ignore_errors=True)
    if child.returncode:
        log.error("training %s... ended with code %s", token[:6], child.returncode)


def tidy() -> None:
    """Remove runs older than a day, the oldest beyond RUNS_AT_MOST, and pictures left by a server that ended in the midst."""
    runs = [folder for folder in root().iterdir() if is_token(folder.name) and not is_alive(folder.name)]
    runs.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    for place, run in enumerate(runs):
        if place >= RUNS_AT_MOST or _is_old(run):
            shutil.rmtree(run, ignore_errors=True)
            _children.pop(run.name, None)
        elif time.time() - run.stat().st_mtime > GRACE_SECONDS:
            shutil.rmtree(run / "pictures", ignore_errors=True)


def _folder(token: object) -> Path | None:
    """The run's folder, if the token has the right form and the run exists and is not too old."""
    if not is_token(token):
        return None
    run = root() / str(token)
    return run if run.is_dir() and not _is_old(run) else None


def _is_old(run: Path) -> bool:
    return time.time() - run.stat().st_mtime > LIFETIME_SECONDS


def _read(file: Path) -> dict:
    """The JSON object in file, or {} where there is none yet."""
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return {}
