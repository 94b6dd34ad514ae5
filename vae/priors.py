"""Where new latents come from: a mixture of Gaussians fitted on the latents of the training pictures.

Every VAE in the literature samples better from a fitted density than from N(0, I), which its posteriors only lean towards
(Ghosh et al. 2020, Dai and Wipf 2019). scikit-learn fits (measure.fit), torch samples.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vae import latents
from vae.device import noise_generator
from vae.errors import BadInput

COMPONENTS = (1, 2, 4, 8, 16, 32, 64, 128)  # as many as a mixture may have
BATCH = 1000  # latents whose densities are asked for at once: K x N x D numbers lie in memory


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture with full covariances: weights (K,), means (K, D), factors (K, D, D), lower Cholesky."""

    weights: Tensor
    means: Tensor
    factors: Tensor

    def sample(self, count: int, seed: int, temperature: float = 1.0) -> Tensor:
        """-> (count, D). The temperature scales the spread within each component, not the choice among them."""
        temperature = latents.check_temperature(temperature)
        generator, latent = noise_generator(seed), self.means.shape[1]

        def draw(rows: int) -> Tensor:  # (rows, 1 + D): a place among the components, and noise
            place = torch.rand(rows, 1, generator=generator)
            return torch.cat([place, torch.randn(rows, latent, generator=generator)], dim=1)

        place, noise = latents.draw_rows(draw, count).split([1, latent], dim=1)
        chosen = torch.searchsorted(self.weights.cumsum(0)[:-1], place.flatten().contiguous())
        z = self.means[chosen]
        for part in chosen.unique().tolist():  # a factor for each row would fill the memory
            rows = chosen == part
            z[rows] += temperature * noise[rows] @ self.factors[part].T
        return z

    def around(self, z: Tensor, count: int, seed: int, spread: float) -> Tensor:
        """(D,) -> (count, D) near it: spread 0 is z itself, 1 a draw from its component that has forgotten it.

        White coordinates w of z in the likeliest component become sqrt(1 - spread^2) w + spread * noise, which leaves the
        component as it is (Neal 1998, the later "preconditioned Crank-Nicolson"): what is drawn near a typical latent is
        typical, and varies most where the pictures do. z's own posterior would give one picture again and again.
        BadInput for a spread that is no number from 0 to 1.
        """
        if not (isinstance(spread, (int, float)) and 0 <= spread <= 1):
            raise BadInput(f"The spread is {spread!r:.40}; it must be a number from 0 to 1.")
        part = int(self._each(z[None]).argmax())
        mean, factor = self.means[part], self.factors[part]
        white = torch.linalg.solve_triangular(factor, (z - mean)[:, None], upper=False)[:, 0]  # (D,)
        noise = latents.sample_normal(count, len(z), seed)
        return mean + (math.sqrt(1 - spread**2) * white + spread * noise) @ factor.T

    def log_prob(self, z: Tensor) -> Tensor:
        """(N, D) -> (N,): log density in nats."""
        return torch.cat([z.new_empty(0), *(torch.logsumexp(self._each(part), dim=0) for part in z.split(BATCH))])

    def _each(self, z: Tensor) -> Tensor:
        """(N, D) -> (K, N): log density of each component, its weight included."""
        log_det = self.factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)  # (K,)
        constant = 0.5 * z.shape[1] * math.log(2 * math.pi)
        residual = z[None] - self.means[:, None]  # (K, N, D)
        whitened = torch.linalg.solve_triangular(self.factors, residual.transpose(1, 2), upper=False)  # (K, D, N)
        each = -0.5 * whitened.square().sum(dim=1) - log_det[:, None] - constant  # (K, N)
        return each + self.weights.log()[:, None]
