"""Whether a latent or an upload is like what a model has learnt: one verdict from density, reconstruction error and critics.

A critic is a small network that was taught real against broken (noise-contrastive estimation: Gutmann and Hyvarinen 2010;
outlier exposure: Hendrycks et al. 2019). vae.measure.typical fits it; here it only answers, on the CPU.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vae.model import BATCH, to_tensor

FINE = 0.07  # a typicality from which on the verdict is fine: 93 % of held-out pictures
FIELDS, COLOURS = 4, 8  # rows and columns in which a picture's errors and edges, and its colours, are averaged
FAR = 8.0  # standard deviations at which an input of a critic is cut
OTHERS = 5.0  # how much more a measure may say than the critic before it counts: the critic tells the most
# The rows of quantiles, for latents and for uploads.
LATENT_MEASURES, UPLOAD_MEASURES = ("density", "critic", "least"), ("density", "error", "critic", "least")


@dataclass(frozen=True)
class Critic:
    """(N, I) -> (N, O) logits: inputs less center (I,), over scale (I,), cut at FAR; then linear layers with SiLU between.

    layers: weight (outputs, inputs) and bias (outputs,) of each.
    """

    center: Tensor
    scale: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...]

    def __call__(self, inputs: Tensor) -> Tensor:
        x = self.standardized(inputs)
        for weight, bias in self.layers[:-1]:
            x = F.silu(F.linear(x, weight, bias))
        return F.linear(x, *self.layers[-1])

    def standardized(self, inputs: Tensor) -> Tensor:
        return ((inputs - self.center) / self.scale).clamp(-FAR, FAR)


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


@dataclass(frozen=True)
class Judge:
    """What tells typical latents and uploads of one model, against quantiles of its held-out pictures.

    latents: the critic of latents (N, D) in principal axes, with logits for real, drawn from the mixture, broken. uploads: the
    critic of upload_inputs, with logits for real, broken. Quantiles (Q,), from the least to the greatest and in equal shares, are
    of each measure by its name, and of the least share that they give ("least").
    """

    latents: Critic
    uploads: Critic
    latent_quantiles: dict[str, Tensor]
    upload_quantiles: dict[str, Tensor]

    def realism(self, z: Tensor) -> Tensor:
        """(N, D) -> (N,): log p(z | real) - log p(z | mixture), but for a constant."""
        logits = self.latents(z)
        return logits[:, 0] - logits[:, 1]

    def of(self, z: Tensor, density: Tensor) -> Verdict:
        """(N, D) and the mixture's log density (N,) there -> the verdict on latents."""
        return verdict({"density": density, "critic": sureness(self.latents(z))}, self.latent_quantiles)

    def of_uploads(self, inputs: Tensor, error: Tensor, density: Tensor) -> Verdict:
        """N uploads' upload_inputs (N, I), errors (N,) and log density (N,) of the posterior's mean -> the verdict on them."""
        found = {"density": density, "error": -error, "critic": sureness(self.uploads(inputs))}
        return verdict(found, self.upload_quantiles)


def sureness(logits: Tensor) -> Tensor:
    """(N, O) -> (N,): log p(real) - log p(broken), the first answer and the last."""
    return logits[:, 0] - logits[:, -1]


def verdict(values: dict[str, Tensor], quantiles: dict[str, Tensor]) -> Verdict:
    """Each measure's (N,) values and its quantiles of held-out ones -> how typical each is by the measure that says least."""
    least, place = shares(values, quantiles).min(dim=0)
    return Verdict(share_below(least, quantiles["least"]), [list(values)[row] for row in place.tolist()])


def shares(values: dict[str, Tensor], quantiles: dict[str, Tensor]) -> Tensor:
    """-> (measures, N): the share of held-out ones under each value, OTHERS times that where the measure is no critic."""
    found = {name: share_below(value, quantiles[name]) for name, value in values.items()}
    return torch.stack([share if name == "critic" else OTHERS * share for name, share in found.items()])


def share_below(values: Tensor, quantiles: Tensor) -> Tensor:
    """(N,) and quantiles (Q,) in equal shares -> (N,) in [0, 1]: the share under each value."""
    return torch.from_numpy(np.interp(values, quantiles, np.linspace(0, 1, len(quantiles)))).float()


def errors(pictures: np.ndarray, again: np.ndarray) -> Tensor:
    """uint8 (N, H, W, C) twice -> (N,): the mean squared error between each two, pixels in [0, 1]."""
    pairs = zip(pictures, again, strict=True)  # one by one: as floats all of them are large
    return torch.tensor([np.square((one.astype(np.float32) - other) / 255).mean() for one, other in pairs])


def upload_inputs(pictures: np.ndarray, again: np.ndarray, z: Tensor) -> Tensor:
    """uint8 (N, H, W, C), the same as it comes back, and its posterior's mean (N, D) -> (N, D + C COLOURS**2 + 3 FIELDS**2).

    What a critic of uploads sees: z, colours, and the logs of mean squares of errors and of steps across and down. With logvar,
    which says what was learnt by heart, more broken scenes passed (31 % of those upside down, else 22 %).
    """
    rows = [torch.empty(0, pictures.shape[3] * COLOURS**2 + 3 * FIELDS**2)]
    for some in range(0, len(pictures), BATCH):
        x, other = (to_tensor(part[some : some + BATCH]) for part in (pictures, again))
        grey = x.mean(dim=1, keepdim=True)
        squares = [(x - other).square().mean(dim=1, keepdim=True), grey.diff(dim=3).square(), grey.diff(dim=2).square()]
        logs = [(F.adaptive_avg_pool2d(part, FIELDS) + 1e-5).log().flatten(1) for part in squares]
        rows.append(torch.cat([F.adaptive_avg_pool2d(x, COLOURS).flatten(1), *logs], dim=1))
    return torch.cat([z, torch.cat(rows)], dim=1)
