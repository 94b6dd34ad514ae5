"""How well faces are found and framed: held-out faces, turned, scaled and shifted, with the eyes' places known from their making.

The error is an eye's distance from its place in per cent of the training frame's side, as it lies in the picture; the training
frames know their eyes from another network's 468 landmarks, so a part of it is theirs. A face counts as found if both eyes are
closer to their places than half the eyes' distance.
"""

import argparse
import csv
import io
import time
import zipfile
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tests.bench.report import percent, table
from vae.pictures.framing import Form, frame

COUNT = 300
FOLLOW, FORWARD = 21.2, 47.96  # pixels: the eyes' middle in a training frame is FORWARD + FOLLOW * turn


@dataclass(frozen=True)
class Setting:
    """The face's frame fills between 1 / farthest and 1 / nearest of the picture's side, turned by up to so many degrees."""

    name: str
    nearest: float
    farthest: float
    degrees: float


SETTINGS = (
    Setting("training frames as they are", 1, 1, 0),
    Setting("in a picture 1.3 to 3.5 times their side, turned", 1.3, 3.5, 30),
    Setting("in a picture 3.5 to 8 times their side, turned", 3.5, 8, 30),
)


def placed(face: Image.Image, setting: Setting, dice: np.random.Generator) -> tuple[np.ndarray, complex, complex]:
    """-> the picture on a motley ground, and scale, offset: the frame's z lies at scale * z + offset in it."""
    times = dice.uniform(setting.nearest, setting.farthest)
    size = dice.uniform(1, 4) if times > 1 else 1
    angle = np.deg2rad(dice.uniform(-setting.degrees, setting.degrees))
    side = round(face.width * size * times)
    scale = size * np.exp(1j * angle)
    shift = dice.uniform(-0.5, 0.5, 2) * (side - size * face.width)
    offset = complex(side / 2 * (1 + 1j) + complex(*shift) - scale * face.width / 2 * (1 + 1j))
    back, start = 1 / scale, -offset / scale
    matrix = (back.real, -back.imag, start.real, back.imag, back.real, start.imag)
    ground = Image.fromarray(dice.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    to = ((side, side), Image.Transform.AFFINE, matrix)
    mask = Image.new("L", face.size, 255).transform(*to)
    ground.paste(face.transform(*to, Image.Resampling.BICUBIC), mask=mask)
    return np.array(ground), scale, offset


def measure(pictures: list[tuple[Image.Image, float]], setting: Setting) -> list[object]:
    """(frame, turn) pairs -> a line of the table."""
    dice, errors, seconds, found, fallbacks = np.random.default_rng(0), [], [], 0, 0
    for face, turn in pictures:
        picture, scale, offset = placed(face, setting, dice)
        began = time.process_time()
        framed = frame(picture, Form("portrait", 96, 3))
        seconds.append(time.process_time() - began)
        fallbacks += framed.how != "eyes"
        truth = FORWARD + FOLLOW * turn + np.array([-12, 12]) + 45.1j
        error = abs((framed.eyes @ [1, 1j] - offset) / scale - truth)
        is_found = framed.how != "square" and error.max() < 12
        found += is_found
        if is_found and framed.how == "eyes":
            errors.extend(100 / 96 * error)
    median, most = (f"{np.percentile(errors, q):.2f} %" for q in (50, 95))
    share = (percent(count / len(pictures)) for count in (found, fallbacks))
    return [setting.name, *share, median, most, f"{np.median(seconds):.3f}"]


def run(args: argparse.Namespace) -> None:
    archive = args.data / "faces.zip"
    print("\n### Finding faces\n")
    if not archive.is_file():
        print(f"Left out: there is no {archive}.")
        return
    with zipfile.ZipFile(archive) as opened:
        rows = sorted(csv.DictReader(io.TextIOWrapper(opened.open("attributes.csv"))), key=lambda row: row["file"])
        held_out = rows[: len(rows) // 10]
        pictures = []
        for index in np.random.default_rng(0).choice(len(held_out), COUNT, replace=False):
            with opened.open(held_out[index]["file"]) as file:
                pictures.append((Image.open(file).convert("RGB"), float(held_out[index]["turn"])))
    head = ["held-out faces", "found", "not framed by the eyes", "median eye error", "95th percentile", "CPU seconds"]
    print(table(head, [measure(pictures, setting) for setting in SETTINGS]))
    print(f"\n{COUNT} faces a line. Errors are of those framed by the eyes, in per cent of the training frame's side.")
