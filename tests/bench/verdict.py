"""How honest the verdict is: what share of held-out, other and broken pictures and latents of a checkpoint is called fine.

The judge is fitted anew on the weights as they are shipped, calibrated on one half of the held-out pictures and measured on the
other. Other sets that it learns from are seen by their own training pictures, and measured by their held-out ones.
"""

import argparse
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.bench.report import percent, table
from vae import checkpoints
from vae.checkpoints import Checkpoint
from vae.measure.broken import BREAKS, DRAWINGS
from vae.measure.typical import LATENTS, fit_judge
from vae.model import posterior_of
from vae.pictures import images, sets
from vae.pictures.folders import locate

SETS = ("faces", "avatars128", "scenes", "digits", "fashion")
SHOWN = 400
LEARNT = 1500  # pictures of each other set


def crops(picture: np.ndarray, checkpoint: Checkpoint, rng: np.random.Generator, count: int = 100) -> np.ndarray:
    """Squares of a picture, at least a third of its shorter side, as the model's door frames them."""
    found = []
    for _ in range(count):
        side = int(rng.integers(min(picture.shape[:2]) // 3, min(picture.shape[:2]) + 1))
        y, x = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
        found.append(images.square(picture[y : y + side, x : x + side, :3], checkpoint.form.size, checkpoint.form.channels))
    return np.stack(found)


def some_of(
    name: str, root: Path, checkpoint: Checkpoint, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two parts of another set, as squares in the model's form: LEARNT pictures to learn from and SHOWN to measure on."""
    if name in sets.TORCHVISION:
        seen, unseen = (part.images for part in sets.load(name, root, size=28, channels=1, framing="square"))
        found = [*seen[rng.permutation(len(seen))[:LEARNT]], *unseen[rng.permutation(len(unseen))[:SHOWN]]]
    else:
        with zipfile.ZipFile(locate(name, root)) as archive:
            files = [entry for entry in archive.namelist() if entry.endswith((".png", ".jpg", ".webp"))]
            chosen = rng.permutation(len(files))[: LEARNT + SHOWN]
            found = [images.load(archive.read(files[place])) for place in chosen]
    form = checkpoint.form
    fitted = np.stack([images.square(picture, form.size, form.channels) for picture in found])
    return fitted[:LEARNT], fitted[LEARNT:]


def photographs(checkpoint: Checkpoint, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    yield "crops of a screenshot", crops(images.load(Path("assets/screenshot.png")), checkpoint, rng)
    try:
        from skimage import data
    except ImportError:
        return
    yield "crops of a photograph of a cat", crops(data.chelsea(), checkpoint, rng)


def pictures_of(checkpoint: Checkpoint, held: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    part = held[:SHOWN]
    for name, way in BREAKS.items():
        yield f"broken: {name}", np.stack([way(one, two, rng) for one, two in zip(part, part[::-1], strict=True)])
    side, channels = held.shape[1], held.shape[3]
    for name, draw in DRAWINGS.items():
        drawn = np.stack([draw(side, rng).clip(0, 255).astype(np.uint8) for _ in range(SHOWN)])
        yield f"drawn: {name}", drawn if channels == 3 else drawn.mean(axis=3, keepdims=True).astype(np.uint8)
    yield "drawn: white noise", rng.integers(0, 256, part.shape, dtype=np.uint8)
    yield "unseen kind: three mixed in stripes", np.stack(
        [np.where((np.arange(side) // 4 % 2 == 0)[:, None, None], one, two) for one, two in zip(part, part[::-1], strict=True)]
    )
    yield "unseen kind: torn in waves", np.stack([waved(one) for one in part])
    yield from photographs(checkpoint, rng)


def waved(picture: np.ndarray) -> np.ndarray:
    """Each row pushed aside by a sine."""
    shifts = (len(picture) / 5 * np.sin(np.arange(len(picture)) * 12 / len(picture))).astype(int)
    return np.stack([np.roll(row, shift, axis=0) for row, shift in zip(picture, shifts, strict=True)])


def latents_of(checkpoint: Checkpoint, z: Tensor) -> Iterator[tuple[str, Tensor]]:
    atlas = checkpoint.atlas
    ways = [knob for knob in atlas.knobs if knob.kind != "unit"]
    yield "from the mixture, temperature 0.8", atlas.prior("mixture", 1000, 1, 0.8)
    yield "from the mixture, temperature 1", atlas.prior("mixture", 1000, 1)
    yield "from the normal prior", atlas.prior("normal", 1000, 1)
    for kind in ("named", "direction"):
        for travel in (0.5, 1.0, 1.5, 2.0, 2.5):
            some = [knob for knob in ways if knob.kind == kind]
            if some:
                yield f"a {kind} knob at {travel} of its travel", torch.stack(
                    [
                        one + (sign * travel * knob.high - (one @ knob.probe - knob.offset)) * knob.vector
                        for place, one in enumerate(z)
                        for knob, sign in [(some[place % len(some)], (-1) ** (place // len(some)))]
                    ]
                )
    turn = next((knob for knob in ways if knob.key == "named:turn"), None)
    if turn:
        for travel in (1.0, 1.5, 2.0):
            yield f"Turn at {travel} of its travel", z + (travel * turn.high - (z @ turn.probe - turn.offset))[:, None] * turn.vector
    for name, make in LATENTS.items():
        yield f"broken: {name}", make(z, ways)
    other = z[torch.randperm(len(z))]
    half = z.shape[1] // 2
    yield "unseen kind: half of another", torch.cat([z[:, :half], other[:, half:]], dim=1)
    yield "unseen kind: whitened noise, 1.25 as wide", atlas.mean + 1.25 * torch.randn_like(z) @ torch.linalg.cholesky(atlas.covariance + 1e-6 * torch.eye(z.shape[1])).T


def told(checkpoint: Checkpoint, root: Path) -> str:
    recipe, atlas, model = checkpoint.recipe, checkpoint.atlas, checkpoint.model
    import pickle
    cache = Path(f"/root/work/vcache_{checkpoint.name}.pkl")
    learnt, held = pickle.load(cache.open("rb")) if cache.exists() else sets.load(recipe.data, root, split=recipe.split, **vars(checkpoint.form))
    if not cache.exists(): pickle.dump((learnt, held), cache.open("wb"), protocol=4)
    print("loaded", flush=True)
    rng, form = np.random.default_rng(1), vars(checkpoint.form)
    others = {name: some_of(name, root, checkpoint, rng) for name in SETS if name != recipe.data}
    shuffle = rng.permutation(len(held))
    calibrating, rest = held.images[shuffle[::2]], held.images[shuffle[1::2]]
    seen = learnt.images[rng.permutation(len(learnt))[:10_000]]
    known = posterior_of(model, seen), posterior_of(model, calibrating)
    judges = {}
    for what, given in (("", []), (", other sets", [mine for mine, _ in others.values()])):
        start = time.perf_counter()
        judges[what] = fit_judge(model, atlas, seen, calibrating, others=given, seed=0, known=known)
        print(f"{checkpoint.name}{what}: fitted in {time.perf_counter() - start:.0f} s")
    rows = []

    def add(what: str, pictures: np.ndarray) -> None:
        posterior = posterior_of(model, pictures)
        from vae.typicality import error_grid
        grid = error_grid(pictures, checkpoint.decode(posterior.mean))
        density = atlas.mixture.log_prob(posterior.mean)
        today = float((grid.mean(dim=1) <= atlas.familiar_error).float().mean())
        found = [judge.of_uploads(posterior, grid, density) for judge in judges.values()]
        c = [float((found_ >= 0.05).float().mean()) for found_ in ()]
        rows.append([what, percent(today), *(percent(float(one.fine.float().mean())) for one in found), " ".join(f"{m}{found[-1].against.count(m)*100//len(pictures)}" for m in ("density","error","critic"))])

    add("held-out", rest)
    p = posterior_of(model, rest); d = atlas.mixture.log_prob(p.mean)
    add("held-out: the rarest quarter by density", rest[d.argsort()[: len(rest) // 4].numpy()])
    for name, (_, unseen) in others.items():
        add(f"other set: {name}", unseen[:SHOWN])
    for name, part in pictures_of(checkpoint, rest, rng):
        add(name, part)
    text = table(["pictures called fine", "today", *(f"now{what}" for what in judges), "against"], rows)
    rows = []
    torch.manual_seed(0)
    sample = p.sample(torch.Generator().manual_seed(5))
    likelihoods = atlas.likelihoods
    def look(what, z):
        v = judges[""].of(z, atlas.mixture.log_prob(z))
        rows.append([what, percent(float((atlas.typicality(z) >= 0.07).float().mean())), percent(float(v.fine.float().mean())), f"density {v.against.count('density')*100//len(z)}"])
    look("held-out posterior means", p.mean)
    look("held-out posterior samples", sample)
    for name, z in latents_of(checkpoint, p.mean): look(f"{name}", z)
    for name, z in list(latents_of(checkpoint, sample)): look(f"(samples) {name}", z)
    return text + "\n\n" + table(["latents called fine", "today", "now", "against"], rows)


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    for name in args.checkpoint or ["faces"]:
        print(f"\n### Verdict of {name}\n", flush=True)
        print(told(checkpoints.load(name, "cpu"), args.data), flush=True)
