"""New or copied? How far a latent is from all that a model learnt from, beside how far pictures are that it never saw.

A checkpoint keeps a sketch of its training latents for that: each row's coordinates in steps of a 127th of the widest. Drawn
from them alone a face keeps its pose, colours and kind, and is somebody else. The pictures themselves are in no checkpoint;
where they are at hand, nearest finds those that a picture is most like.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from vae.atlas import COORDINATES, SHARES, Atlas
from vae.checkpoints import Checkpoint
from vae.data import Pictures
from vae.device import noise_generator
from vae.errors import BadInput
from vae.measure import distances, features
from vae.model import VAE, posterior_of
from vae.storage.tensors import Heads, read_tensors

MOST_ROWS = 20_000
LEAST_HELD = 10  # held-out pictures, or their distances say nothing
FILE = "training.safetensors"
COPY = 0.01  # nearer than all but so many pictures that the model never saw
BATCH = 256  # latents whose distances to all rows are asked for at once


@dataclass(frozen=True)
class Sketch:
    """rows int8 (R, K), coordinates (Atlas.coordinates) in steps of scale (K,); of: how many pictures were learnt from.

    heldout (SHARES,): how far latents drawn for held-out pictures are from the nearest row, least to greatest, in equal shares.
    """

    rows: Tensor
    scale: Tensor
    heldout: Tensor
    of: int

    @property
    def is_part(self) -> bool:
        """Whether there are fewer rows than pictures that were learnt from."""
        return len(self.rows) < self.of

    @cached_property
    def points(self) -> Tensor:
        """(R, K): the rows as coordinates."""
        return self.rows.float() * self.scale

    def distance(self, coordinates: Tensor) -> Tensor:
        """(N, K) -> (N,): to the nearest row."""
        found = [torch.cdist(some, self.points).amin(dim=1) for some in coordinates.split(BATCH)]
        return torch.cat(found or [coordinates.new_empty(0)])

    def novelty(self, coordinates: Tensor) -> Tensor:
        """(N, K) -> (N,) in [0, 1]: the share of held-out pictures that are nearer to what was learnt from."""
        shares = np.linspace(0, 1, SHARES)
        return torch.from_numpy(np.interp(self.distance(coordinates), self.heldout, shares)).float()


def sketch(model: VAE, atlas: Atlas, pictures: np.ndarray, heldout: np.ndarray, seed: int = 0) -> Sketch | None:
    """uint8 (N, H, W, C) twice -> the sketch of a model's training latents; None where too few pictures are held out.

    Rows are posterior means, of at most MOST_ROWS pictures by chance; held-out pictures are drawn from their posteriors, as
    samples are drawn from a mixture of such.
    """
    if len(heldout) < LEAST_HELD:
        return None
    chosen = np.sort(np.random.default_rng(seed).permutation(len(pictures))[:MOST_ROWS])
    points = atlas.coordinates(posterior_of(model, pictures[chosen]).mean)
    scale = (points.abs().amax(dim=0) / 127).clamp_min(1e-9)
    rows = (points / scale).round().to(torch.int8)
    bare = Sketch(rows, scale, torch.zeros(SHARES), len(pictures))
    drawn = posterior_of(model, heldout).sample(noise_generator(seed))
    distance = bare.distance(atlas.coordinates(drawn))
    return Sketch(rows, scale, torch.quantile(distance, torch.linspace(0, 1, SHARES)), len(pictures))


def save(found: Sketch, folder: Path) -> None:
    """Writes training.safetensors into the folder."""
    tensors = {"rows": found.rows, "scale": found.scale, "heldout": found.heldout, "of": torch.tensor([found.of])}
    safetensors.torch.save_file(tensors, folder / FILE)


def load(folder: Path) -> Sketch | None:
    """What save wrote, None where it wrote nothing. BadInput for a file that is damaged or no sketch."""
    if not (folder / FILE).is_file():
        return None
    tensors = read_tensors(folder / FILE, _check)
    if not (tensors["heldout"].diff() >= 0).all() or int(tensors["of"]) < len(tensors["rows"]):
        raise BadInput(f"{FILE} is damaged; train the model again.")
    return Sketch(tensors["rows"], tensors["scale"], tensors["heldout"], int(tensors["of"]))


def _check(found: Heads) -> None:
    kind, rows, width = found["rows"] if len(found.get("rows", ())) == 3 else ("", 0, 0)
    wanted: Heads = {"rows": ("I8", rows, width), "scale": ("F32", width), "heldout": ("F32", SHARES), "of": ("I64", 1)}
    if found != wanted or not 1 <= rows <= MOST_ROWS or not 1 <= width <= COORDINATES:
        raise BadInput(f"{FILE} is no sketch of training latents.")


def nearest(checkpoint: Checkpoint, z: Tensor, train: Pictures, count: int = 3) -> dict[str, np.ndarray]:
    """Latents (N, D) and the training pictures -> {"latents": (N, count) rows of train, "features": (N, count)}, nearest first.

    Latents by Atlas.coordinates of posterior means; features, those of the decoded pictures, where their network is installed.
    """
    known = {"latents": checkpoint.atlas.coordinates(checkpoint.encode(train.images))}
    asked = {"latents": checkpoint.atlas.coordinates(z)}
    if features.has_network():
        device = checkpoint.model.device
        known["features"], asked["features"] = (
            torch.from_numpy(distances.features(pictures, device)).float()
            for pictures in (train.images, checkpoint.decode(z))
        )
    most = min(count, len(train))
    return {how: torch.cdist(asked[how], known[how]).topk(most, largest=False).indices.numpy() for how in known}
