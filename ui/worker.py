"""One training in a process of its own: `python -m ui.worker RUN`; `ui.jobs` starts it, and says what a run's folder holds.

Of low priority and with one core to spare, so that dragging stays smooth beside it. Ends with the server: its standard
input is a pipe that the server never writes to, and that closes when the server is gone.
"""

import dataclasses
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from ui import jobs
from ui.words import say
from vae import data
from vae.atlas import ACTIVE_NATS
from vae.errors import BadInput
from vae.measure.directions import why_not
from vae.model import VAEConfig
from vae.pictures import images, sets
from vae.pictures.folders import from_files
from vae.publish.folder import publish
from vae.recipe import TrainConfig
from vae.runs.report import Progress
from vae.training import train

PICTURES_AT_LEAST, PICTURES_AT_MOST = 20, 20_000
PREVIEWS = 10
POINTS = 240  # of the curve, at most

# Networks and batches small enough to show something after a minute on one core. Digits after 24 s on half a core, in
# nats a picture: 114 with widths 32, 64 and batches of 64; 122 with batches of 128; 127 with widths 64, 128.
_GREY = TrainConfig(
    data="digits-small", framing="digit", minutes=1, batch=64, learning_rate=2e-3, ema=0.99,
    model=VAEConfig(size=28, channels=1, widths=(32, 64), likelihood="bernoulli"),
)  # fmt: skip
_COLOUR = TrainConfig(
    data="pictures", minutes=1, batch=16, learning_rate=2e-3, ema=0.99,
    model=VAEConfig(size=64, channels=3, widths=(32, 64, 128)),
)  # fmt: skip
RECIPES = {"digits": _GREY, "avatars": _COLOUR.override(data="avatars", flip=True), "pictures": _COLOUR}

log = logging.getLogger(__name__)


def main(run: Path) -> int:
    """Train what config.json asks for into run/checkpoint, or put a sentence for the visitor into error.json -> exit code."""
    logging.basicConfig(level=logging.WARNING)
    threading.Thread(target=_end_with_server, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(10)
    torch.set_num_threads(jobs.threads())
    try:
        learn(run, json.loads((run / "config.json").read_text()))
    except BadInput as error:
        _write(run / "error.json", {"message": str(error)})
    except Exception:
        log.exception("a training broke")
        _write(run / "error.json", {"message": say("train.broke")})
        return 1
    return 0


def learn(run: Path, wish: dict) -> None:
    """Train as wish says, noting progress in the run's folder, then publish run/checkpoint; BadInput for unfit pictures."""
    values = {name: wish[name] for name in ("latent", "beta", "minutes", "seed")}
    recipe = RECIPES[wish["data"]].override(**values)
    if wish["data"] == "avatars":
        recipe = recipe.override(data=jobs.avatars())
    recipe = dataclasses.replace(recipe, card={"title": say(f"train.title_{wish['data']}")})
    try:
        seen, held = _pictures(recipe, wish.get("source"), wish.get("left_out", []))
    finally:
        shutil.rmtree(run / "pictures", ignore_errors=True)  # a visitor's own: read, and not kept
    columns = (seen.attributes or {}) if "source" in wish else {}  # a visitor's own
    left_out = _left_out(wish.get("left_out", []), seen.report, columns)
    shown = held.images[:PREVIEWS]
    pictures = {"shown": [images.data_url(picture) for picture in shown]}
    revision, steps, unit_kl = 0, 0, []
    for progress in train(recipe, seen.images, preview=shown, stop=(run / "stop").exists):
        if progress.reconstructions is not None and progress.samples is not None:
            pictures["reconstructions"] = [images.data_url(picture) for picture in progress.reconstructions]
            pictures["samples"] = [images.data_url(picture) for picture in progress.samples]
            _write(run / "previews.json", pictures)
            revision += 1
        if progress.step > steps:  # the last report may come without a new step, and then has no figures
            steps, unit_kl = progress.step, progress.unit_kl.tolist()
        _write(run / "progress.json", _note(progress, unit_kl, len(seen), revision, left_out))
    if not steps:
        raise BadInput(say("train.nothing_learnt"))
    publish(
        run / "checkpoint", progress.model, seen, held, recipe, progress.history,
        seconds=progress.seconds, figures=False,
    )  # fmt: skip


def _pictures(recipe: TrainConfig, source: str | None, dropped: list) -> tuple[data.Pictures, data.Pictures]:
    """What it learns from, and what is held out; BadInput for fewer than PICTURES_AT_LEAST, with what was left out."""
    form: Any = {"size": recipe.model.size, "channels": recipe.model.channels, "framing": recipe.framing}
    if source is None:
        return sets.load(recipe.data, **form)
    whole = from_files(source, **form, most=PICTURES_AT_MOST)
    if len(whole) < PICTURES_AT_LEAST:
        few = say("train.too_few", count=len(whole), least=PICTURES_AT_LEAST)
        raise BadInput(f"{few} {_left_out(dropped, whole.report, {})}".strip())
    return sets.divided(whole)


def _left_out(dropped: list, report: data.Report, columns: Mapping[str, np.ndarray]) -> str:
    """What the visitor reads of files, pictures, rows and columns of a table that come to nothing; "" where none do."""
    skipped = [(PurePosixPath(name).name, why) for name, why in report.skipped]
    knobless = [
        (say("train.column", name=name), f"{why}.") for name, column in columns.items() if (why := why_not(column))
    ]
    said = jobs.left_out_words([*dropped, *skipped, *knobless])
    if report.without_row or report.without_picture:
        said += " " + say("train.rows", pictures=report.without_row, rows=report.without_picture)
    return said.strip()


def _note(progress: Progress, unit_kl: list[float], count: int, revision: int, left_out: str) -> dict:
    """What the page shows of a Progress. revision counts the previews, so that unchanged pictures are not sent again."""
    every = -(-len(progress.history) // POINTS) or 1
    return {
        "step": progress.step,
        "epoch": int(progress.epoch) + 1,
        "seen": round(progress.epoch * count),
        "fraction": progress.fraction,
        "pictures_per_second": progress.pictures_per_second,
        "seconds_left": progress.seconds_left,
        "history": progress.history[::-every][::-1],  # thinned from the end, so that the newest stays
        "unit_kl": [round(value, 3) for value in unit_kl],
        "awake": sum(value > ACTIVE_NATS for value in unit_kl),
        "note": progress.note,
        "left_out": left_out,
        "revision": revision,
        "done": progress.done,
    }


def _end_with_server() -> None:
    os.read(0, 1)  # not sys.stdin: its buffer is locked while a thread waits, and Python cannot end then
    os._exit(1)


def _write(file: Path, content: dict) -> None:
    """Write beside and rename, so that nobody ever reads half a file."""
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(content))
    beside.replace(file)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
