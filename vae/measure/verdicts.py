"""Whether a latent or an upload is like what a model has learnt: one verdict from density, reconstruction error and a critic."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vae.atlas import Atlas
from vae.model import BATCH, to_tensor
from vae.storage.judges import COLOURS, FIELDS, SEAMS, input_count

FINE = 0.07  # a typicality from which on the verdict is fine: 93 % of held-out pictures
OTHERS = 5.0  # by how much less a measure counts than the critic, which tells the most


@dataclass(frozen=True)
class Verdict:
    """typicality (N,) in [0, 1]: the share of held-out ones that are less typical; against: of each the measure that says least.

    A verdict is fine where the typicality is at least FINE.
    """

    typicality: Tensor
    against: list[str]

    @property
    def fine(self) -> Tensor:
        return self.typicality >= FINE


def of_latents(atlas: Atlas, z: Tensor) -> Verdict:
    """(N, D) on the CPU -> the verdict on latents, wherever they come from."""
    density, judge = atlas.mixture.log_prob(z), atlas.judge
    if judge is None:
        return Verdict(share_below(density, atlas.likelihoods), ["density"] * len(z))
    return verdict({"density": density, "critic": judge.latents(atlas.principal(z))}, judge.latent_quantiles)


def of_uploads(atlas: Atlas, pictures: np.ndarray, again: np.ndarray, z: Tensor) -> Verdict:
    """uint8 (N, H, W, C), the same as it comes back, and its posterior's mean (N, D) -> the verdict on uploads."""
    error, judge = errors(pictures, again), atlas.judge
    if judge is None:
        return Verdict((error <= atlas.familiar_error).float(), ["error"] * len(error))
    critic = judge.uploads(upload_inputs(pictures, again, z))
    values = {"density": atlas.mixture.log_prob(z), "error": -error, "critic": critic}
    return verdict(values, judge.upload_quantiles)


def verdict(values: dict[str, Tensor], quantiles: Tensor) -> Verdict:
    """M measures' values (N,) and a judge's quantiles (M + 1, Q) -> how typical each is, by the measure that says least."""
    least, place = shares(values, quantiles[:-1]).min(dim=0)
    return Verdict(share_below(least, quantiles[-1]), [list(values)[row] for row in place.tolist()])


def shares(values: dict[str, Tensor], quantiles: Tensor) -> Tensor:
    """-> (M, N): the share of held-out ones under each value, OTHERS times that where the measure is no critic."""
    rows = zip(values.items(), quantiles, strict=True)
    return torch.stack([share_below(value, row) * (1 if name == "critic" else OTHERS) for (name, value), row in rows])


def share_below(values: Tensor, quantiles: Tensor) -> Tensor:
    """(N,) and quantiles (Q,) in equal shares -> (N,) in [0, 1]: the share under each value."""
    return torch.from_numpy(np.interp(values, quantiles, np.linspace(0, 1, len(quantiles)))).float()


def errors(pictures: np.ndarray, again: np.ndarray) -> Tensor:
    """uint8 (N, H, W, C) twice -> (N,): the mean squared error between each two, pixels in [0, 1]."""
    pairs = zip(pictures, again, strict=True)  # one by one: as floats all of them are large
    return torch.tensor([np.square((one.astype(np.float32) - other) / 255).mean() for one, other in pairs])


def upload_inputs(pictures: np.ndarray, again: np.ndarray, z: Tensor) -> Tensor:
    """uint8 (N, H, W, C), the same as it comes back, and its posterior's mean (N, D) -> (N, input_count): what a critic sees.

    That is z, grey and the differences of colours in COLOURS by COLOURS fields, the logs of the mean squares of errors and of
    steps across and down in FIELDS by FIELDS, and the seams both ways. Logvar is left out: it says what was learnt by heart.
    """
    rows = [torch.empty(0, input_count(0, pictures.shape[3]))]
    for some in range(0, len(pictures), BATCH):
        x, other = (to_tensor(part[some : some + BATCH]) for part in (pictures, again))
        grey = x.mean(dim=1, keepdim=True)
        colours = torch.cat([grey, x[:, :-1] - x[:, 1:]], dim=1)
        squares = [(x - other).square().mean(dim=1, keepdim=True), grey.diff(dim=3).square(), grey.diff(dim=2).square()]
        logs = [(F.adaptive_avg_pool2d(part, FIELDS) + 1e-5).log().flatten(1) for part in squares]
        both = [_seams(grey[:, 0]), _seams(grey[:, 0].mT)]
        rows.append(torch.cat([F.adaptive_avg_pool2d(colours, COLOURS).flatten(1), *logs, *both], dim=1))
    return torch.cat([z, torch.cat(rows)], dim=1)


def _seams(grey: Tensor) -> Tensor:
    """(N, H, W) -> (N, SEAMS + 1): how far the strongest seams between rows stand out, and the step from the last to the first.

    All are logs, and a seam's is less the mean of its two neighbours'. The last step is small where a picture was rolled.
    """
    steps = ((grey - grey.roll(1, dims=1)).abs().mean(dim=2) + 1e-3).log()  # (N, H), the first from the last row
    peaks = steps[:, 2:-1] - (steps[:, 1:-2] + steps[:, 3:]) / 2
    return torch.cat([peaks.topk(SEAMS, dim=1).values, steps[:, :1]], dim=1)
