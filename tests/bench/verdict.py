"""How honest the verdict is: what share of held-out, other and broken pictures and latents of a checkpoint is called fine.

The judge is fitted anew on the weights as they are shipped, on LEARNT of the training pictures, calibrated on some of the
held-out ones and measured on others. Of other sets it knows other pictures; of the kinds called unseen nothing.
"""

import argparse
import dataclasses
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.bench.report import percent, table
from vae import checkpoints
from vae.atlas import Atlas
from vae.checkpoints import Checkpoint
from vae.data import Pictures
from vae.measure.broken import BREAKS, DRAWINGS, generated
from vae.measure.typical import LATENTS, fit_judge, turned
from vae.measure.verdicts import Verdict, errors, of_latents, of_uploads
from vae.model import posterior_of
from vae.pictures import images, sets
from vae.pictures.folders import locate

SETS = ("faces", "avatars128", "scenes", "digits", "fashion")
# Training pictures, and of held-out ones those that calibrate and those that measure, at most.
LEARNT, HELD = 12_000, 1500
SHOWN, LATENTS_SHOWN = 200, 500  # pictures and latents of each kind
SCREENSHOT = Path(__file__).parents[2] / "assets" / "screenshot.png"


def some_of(name: str, root: Path, model: Checkpoint, rng: np.random.Generator) -> np.ndarray:
    """SHOWN pictures of another set, as squares in the model's form: none of those that sets.others gives."""
    if name in sets.TORCHVISION:
        _, unseen = sets.load(name, root, size=28, channels=1)
        found = [*unseen.images[rng.permutation(len(unseen))[:SHOWN]]]
    else:
        with zipfile.ZipFile(locate(name, root)) as archive:
            files = sorted(entry for entry in archive.namelist() if not entry.endswith((".csv", "/")))
            known = files[:: max(1, len(files) // sets.OTHERS)][: sets.OTHERS]
            left = sorted({*files} - {*known})
            found = [images.load(archive.read(left[place])) for place in rng.permutation(len(left))[:SHOWN]]
    return np.stack([images.square(picture, model.form.size, model.form.channels) for picture in found])


def crops(picture: np.ndarray, model: Checkpoint, rng: np.random.Generator) -> np.ndarray:
    """100 squares of a picture, of a third of its shorter side or more."""
    found = []
    for _ in range(100):
        side = int(rng.integers(min(picture.shape[:2]) // 3, min(picture.shape[:2]) + 1))
        y, x = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
        found.append(images.square(picture[y : y + side, x : x + side], model.form.size, model.form.channels))
    return np.stack(found)


def waved(picture: np.ndarray) -> np.ndarray:
    """Each row pushed aside by a sine."""
    shifts = (len(picture) / 5 * np.sin(np.arange(len(picture)) * 12 / len(picture))).astype(int)
    return np.stack([np.roll(row, shift, axis=0) for row, shift in zip(picture, shifts, strict=True)])


def strange_pictures(model: Checkpoint, held: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    part, side = held[:SHOWN], held.shape[1]
    pairs = list(zip(part, part[::-1], strict=True))
    for name, way in BREAKS.items():
        yield f"broken: {name}", np.stack([way(*pair, rng) for pair in pairs])
    drawn = generated(SHOWN, held.shape[1:], rng)
    for place, name in enumerate(DRAWINGS):
        yield f"drawn: {name}", drawn[place :: len(DRAWINGS)]
    stripes = (np.arange(side) // 4 % 2 == 0)[:, None, None]
    yield "unseen kind: two in stripes", np.stack([np.where(stripes, *pair) for pair in pairs])
    yield "unseen kind: torn in waves", np.stack([waved(picture) for picture in part])
    yield "unseen kind: white noise", rng.integers(0, 256, part.shape, dtype=np.uint8)
    yield "crops of a screenshot", crops(images.load(SCREENSHOT), model, rng)
    try:
        from skimage.data import chelsea
    except ImportError:
        print("(without scikit-image there is no photograph of a cat)")
    else:
        yield "crops of a photograph of a cat", crops(chelsea(), model, rng)


def strange_latents(atlas: Atlas, z: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield "from the mixture, temperature 0.8", atlas.prior("mixture", 1000, 1, 0.8)
    yield "from the mixture, temperature 1", atlas.prior("mixture", 1000, 1)
    yield "from the normal prior", atlas.prior("normal", 1000, 1)
    ways = {kind: [knob for knob in atlas.knobs if knob.kind == kind] for kind in ("named", "direction")}
    ways |= {"Turn": [knob for knob in atlas.knobs if knob.key == "named:turn"], "direction": ways["direction"][:8]}
    for kind, knobs in ways.items():
        for travel in (0.5, 1.0, 1.5, 2.0, 2.5) if knobs else ():
            yield f"knobs ({kind}) at {travel:g} of their travel", turned(z, knobs, travel, travel)
    for name, make in LATENTS.items():
        yield f"broken: {name}", make(z, ways["named"] or ways["direction"])
    half = z.shape[1] // 2
    yield "unseen kind: half of another", torch.cat([z[:, :half], z.flip(0)[:, half:]], dim=1)
    wide = torch.linalg.cholesky(atlas.covariance + 1e-6 * torch.eye(z.shape[1]))
    yield "unseen kind: noise as wide as the data, 1.25 times", atlas.mean + 1.25 * torch.randn_like(z) @ wide.T


def tables(model: Checkpoint, learnt: Pictures, held: Pictures, root: Path) -> str:
    rng, old = np.random.default_rng(1), model.atlas
    order = rng.permutation(len(held))[: 2 * HELD]
    calibrating, rest = held.images[order[::2]], held.images[order[1::2]]
    some = learnt.images[rng.permutation(len(learnt))[:LEARNT]]
    posteriors = [posterior_of(model.model, part) for part in (some, calibrating)]
    others = [name for name in SETS if name != model.recipe.data]
    known = sets.others(", ".join(others), root, size=model.form.size, channels=model.form.channels)
    start = time.perf_counter()
    judge = fit_judge(model.model, old, some, posteriors[0], calibrating, posteriors[1], known)
    print(
        f"Fitted in {time.perf_counter() - start:.0f} s on {len(some):,} pictures and {len(calibrating):,} held-out ones.\n"
    )
    atlases = {
        "without a judge": dataclasses.replace(old, judge=None),
        "with one": dataclasses.replace(old, judge=judge),
    }
    posterior = posterior_of(model.model, rest)
    remade = errors(rest, model.decode(posterior.mean)).argsort()[: len(rest) // 4].numpy()
    rarest = old.mixture.log_prob(posterior.mean).argsort()[: len(rest) // 4].numpy()
    kinds = {"held-out": rest, "held-out: the quarter remade best": rest[remade]}
    kinds |= {"held-out: the rarest quarter, by density": rest[rarest]}
    others = [name for name in SETS if name != model.recipe.data]
    kinds |= {f"other set: {name}": some_of(name, root, model, rng) for name in others}
    kinds |= dict(strange_pictures(model, rest, rng))
    head = ["called fine", *atlases, "n", "no by density, error, critic"]
    pictures = []
    for name, part in kinds.items():
        z = model.encode(part)
        again = model.decode(z)
        pictures.append(row(name, [of_uploads(atlas, part, again, z) for atlas in atlases.values()]))
    torch.manual_seed(0)
    few = posterior.mean[:LATENTS_SHOWN]
    places = {"held-out: means": few, "held-out: samples": posterior.sample(torch.Generator().manual_seed(1))}
    places |= dict(strange_latents(old, few))
    latents = [row(name, [of_latents(atlas, z) for atlas in atlases.values()]) for name, z in places.items()]
    return f"{table(head, pictures)}\n\n{table(head, latents)}"


def row(name: str, verdicts: list[Verdict]) -> list[str]:
    """The share called fine by each, how many there were, and which measures said no, by the last one."""
    last = verdicts[-1]
    against = [measure for measure, fine in zip(last.against, last.fine.tolist(), strict=True) if not fine]
    said = ", ".join(str(against.count(measure)) for measure in ("density", "error", "critic"))
    return [name, *(percent(float(one.fine.float().mean())) for one in verdicts), str(len(last.against)), said]


def run(args: argparse.Namespace) -> None:
    for name in args.checkpoint or ["faces"]:
        model = checkpoints.load(name, "cpu")
        recipe = model.recipe
        learnt, held = sets.load(recipe.data, args.data, split=recipe.split, **vars(model.form))
        print(f"\n### Verdict of {name}\n", flush=True)
        print(tables(model, learnt, held, args.data), flush=True)
