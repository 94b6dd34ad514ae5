"""Whether a latent or an upload is like what a model has learnt: one verdict from density, reconstruction error and a critic.

A critic is a small network that has learnt to tell real from broken (outlier exposure: Hendrycks et al. 2019).
vae.measure.typical fits it; here it only answers, on the CPU.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vae.model import BATCH, to_tensor

FINE = 0.07  # a typicality from which on the verdict is fine: 93 % of held-out pictures
HIDDEN = 128  # units in each of a critic's two hidden layers
FIELDS, COLOURS = 4, 8  # rows and columns in which a picture's errors and edges, and its colours, are averaged
SEAMS = 3  # each way that a critic sees: edges as long as the whole picture, as where two were joined
FAR = 8.0  # standard deviations at which an input of a critic is cut
OTHERS = 5.0  # by how much less a measure counts than the critic, which tells the most


@dataclass(frozen=True)
class Critic:
    """(N, I) -> (N,): the log odds of real against broken, but for a constant.

    Inputs less center (I,), over scale (I,), are cut at FAR; then come linear layers with SiLU between, as weight (outputs,
    inputs) and bias (outputs,) in turn.
    """

    center: Tensor
    scale: Tensor
    layers: tuple[Tensor, ...]

    def __call__(self, inputs: Tensor) -> Tensor:
        x, (*inner, weight, bias) = self.standardized(inputs), self.layers
        for before, shift in zip(inner[::2], inner[1::2], strict=True):
            x = F.silu(F.linear(x, before, shift))
        return F.linear(x, weight, bias)[:, 0]

    def standardized(self, inputs: Tensor) -> Tensor:
        return ((inputs - self.center) / self.scale).clamp(-FAR, FAR)


@dataclass(frozen=True)
class Judge:
    """What an atlas knows of real and broken: a critic of latents (N, D) in principal axes, and one of upload_inputs.

    Quantiles are of held-out pictures, from the least to the greatest and in equal shares: (3, Q) of latents, by density, critic
    and the least of their shares; (4, Q) of uploads, by density, error, critic and the least.
    """

    latents: Critic
    uploads: Critic
    latent_quantiles: Tensor
    upload_quantiles: Tensor


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


def input_count(units: int, channels: int) -> int:
    """How many numbers upload_inputs gives of a picture."""
    return units + channels * COLOURS**2 + 3 * FIELDS**2 + 2 * (SEAMS + 1)


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
