"""The negative evidence lower bound, in nats per picture: summed over pixels and channels, averaged over the batch only."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vae.errors import BadInput
from vae.model import Posterior, VAEConfig


@dataclass(frozen=True)
class Terms:
    """A batch's loss and its parts, each a scalar tensor in nats per picture; sigma is None for a bernoulli."""

    loss: Tensor  # what is minimised: reconstruction + beta * kl, kl held up by free bits
    reconstruction: Tensor  # -log p(x|z)
    kl: Tensor  # KL(q(z|x) || N(0, I)), all of it, whatever beta and free bits say
    unit_kl: Tensor  # (D,): the same for each unit
    sigma: Tensor | None


def bernoulli(logits: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """(N, C, H, W) twice -> (N,): -log p(x|z) in nats when each value is the probability of a coin.

    For grey values between 0 and 1 this is a cross-entropy, not the logarithm of a density: it compares models, but it
    is no likelihood (Loaiza-Ganem and Cunningham 2019).
    """
    return F.binary_cross_entropy_with_logits(logits, x, weight, reduction="none").sum(dim=(1, 2, 3))


def gaussian(mean: Tensor, x: Tensor, sigma: Tensor, weight: Tensor | None = None) -> Tensor:
    """(N, C, H, W) twice and a scalar -> (N,): -log N(x; mean, sigma^2) in nats, a density over values in [0, 1].

    With weight (H, W), all above 0, each pixel has a variance of its own, sigma^2 / weight.
    """
    log_sigma = sigma.log().expand(x.shape[1:])
    squared = (x - mean).square()
    if weight is not None:
        squared, log_sigma = weight * squared, log_sigma - weight.log() / 2
    return squared.sum(dim=(1, 2, 3)) / (2 * sigma**2) + (log_sigma + 0.5 * math.log(2 * math.pi)).sum()


def optimal_sigma(mean: Tensor, x: Tensor, floor: float, weight: Tensor | None = None) -> Tensor:
    """The sigma under which x is likeliest, a scalar: the root mean (weighted) squared error, but not under the floor.

    Rybkin, Daniilidis and Levine 2021, "Simple and Effective VAE Training with Calibrated Decoders", equation 5. The
    floor is ours: drawn pictures can be copied almost without error, and sigma and the ELBO would run away.
    """
    squared = (x - mean).square()
    return (squared if weight is None else weight * squared).mean().sqrt().clamp_min(floor)


def negative_elbo(
    logits: Tensor,
    x: Tensor,
    posterior: Posterior,
    config: VAEConfig,
    beta: float | Tensor = 1.0,
    free_bits: float = 0.0,
    weight: Tensor | None = None,
) -> Terms:
    """What a training step minimises; logits and x are (N, C, H, W), x in [0, 1], by config's likelihood.

    beta weighs the KL (Higgins et al. 2017). free_bits, in nats per unit, is what each unit may say at no cost (Kingma et
    al. 2016). weight (H, W): as in gaussian; of a bernoulli it weighs each pixel's nats. Raises BadInput for a negative or
    infinite beta or free_bits, given as a number.
    """
    for name, value in {"beta": beta, "free_bits": free_bits}.items():
        # A tensor is taken as it is: a step that is recorded for a GPU cannot look at values.
        if not (isinstance(value, Tensor) or (math.isfinite(value) and value >= 0)):
            raise BadInput(f"{name} is {value}; it must be 0 or more.")
    if config.likelihood == "bernoulli":
        sigma = None
        reconstruction = bernoulli(logits, x, weight).mean()
    else:
        mean = torch.sigmoid(logits)
        sigma = optimal_sigma(mean.detach(), x, config.sigma_floor, weight)  # at its optimum it has no gradient
        reconstruction = gaussian(mean, x, sigma, weight).mean()
    unit_kl = posterior.kl().mean(dim=0)  # (D,)
    loss = reconstruction + beta * unit_kl.clamp_min(free_bits).sum()
    return Terms(loss, reconstruction, unit_kl.sum(), unit_kl, sigma)
