"""Pure arithmetic on latents, float32 tensors (N, D): dice, lines and arcs, traversals, planes, mixtures of pictures."""

import math

import torch
from torch import Tensor

from vae.device import noise_generator
from vae.errors import BadInput


def check_temperature(temperature: float) -> float:
    """The temperature itself. BadInput unless it is a number from 0 to 2."""
    if not (isinstance(temperature, (int, float)) and 0 <= temperature <= 2):
        raise BadInput(f"The temperature is {temperature}; it must be a number from 0 to 2.")
    return float(temperature)


def sample_normal(count: int, latent: int, seed: int, temperature: float = 1.0) -> Tensor:
    """-> (count, latent) from N(0, temperature^2 I), the prior that training pulls towards; one seed, one answer."""
    return torch.randn(count, latent, generator=noise_generator(seed)) * check_temperature(temperature)


def _fractions(steps: int) -> Tensor:
    if not (isinstance(steps, int) and steps >= 2):
        raise BadInput(f"A path of {steps} steps has no two ends; give 2 or more.")
    return torch.linspace(0, 1, steps)[:, None]  # (steps, 1)


def line(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """(D,), (D,) -> (steps, D): evenly along the straight line, both ends included. BadInput if steps < 2."""
    t = _fractions(steps)
    return (1 - t) * a + t * b


def arc(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """(D,), (D,) -> (steps, D): from a to b around the origin, both ends included. BadInput if steps < 2.

    Draws from a Gaussian in many dimensions have nearly the same norm, and a straight line cuts through the ball where
    none of them lie (White 2016, "Sampling Generative Networks"). Here the direction turns evenly and the norm goes
    evenly from one end's to the other's. Where the ends point the same or opposite ways, or one is the origin, there is
    no one arc, and the path is the straight line.
    """
    t = _fractions(steps)
    norm_a, norm_b = a.norm(), b.norm()
    if norm_a * norm_b < 1e-12:
        return line(a, b, steps)
    unit_a, unit_b = a / norm_a, b / norm_b
    # Exact at all angles (Kahan 2006); acos of the cosine was 16 % off in the norm between nearly opposite ends.
    angle = 2 * torch.atan2((unit_a - unit_b).norm(), (unit_a + unit_b).norm())
    if angle < 1e-3 or angle > math.pi - 1e-3:
        return line(a, b, steps)
    turned = (torch.sin((1 - t) * angle) * unit_a + torch.sin(t * angle) * unit_b) / torch.sin(angle)
    path = turned * ((1 - t) * norm_a + t * norm_b)
    path[0], path[-1] = a, b  # exactly, not up to rounding
    return path


PATHS = {"line": line, "arc": arc}


def traverse(z: Tensor, direction: Tensor, values: Tensor) -> Tensor:
    """(D,), (D,), (S,) -> (S, D): z moved along the direction by each value."""
    return z + values[:, None] * direction


def plane(z: Tensor, u: Tensor, v: Tensor, us: Tensor, vs: Tensor) -> Tensor:
    """(D,), (D,), (D,), (U,), (V,) -> (V, U, D): the rectangle around z that u and v span, v down the rows."""
    return z + us[None, :, None] * u + vs[:, None, None] * v


def combine(latents: Tensor, weights: Tensor) -> Tensor:
    """(N, D), (N,) -> (D,): the weighted sum, such as 1, -1, 1 for "a without b, with c"."""
    return weights @ latents
