"""Pure arithmetic on latents, float32 tensors (N, D): dice, lines and arcs."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vae.device import noise_generator
from vae.errors import BadInput


def check_temperature(temperature: float) -> float:
    """The temperature itself. BadInput unless it is a number from 0 to 2."""
    if not (isinstance(temperature, (int, float)) and 0 <= temperature <= 2):
        raise BadInput(f"The temperature is {temperature}; it must be a number from 0 to 2.")
    return float(temperature)


ROWS = 16  # torch fills a tensor's tail in another way than its body: blocks of 16 rows have no tail


def draw_rows(draw: Callable[[int], Tensor], count: int) -> Tensor:
    """draw(ROWS) again and again -> (count, ...), whose first rows are the same for every larger count."""
    return torch.cat([draw(ROWS) for _ in range(-(-count // ROWS))] or [draw(ROWS)])[:count]


def sample_normal(count: int, latent: int, seed: int, temperature: float = 1.0) -> Tensor:
    """-> (count, latent) from N(0, temperature^2 I), the prior that training pulls towards.

    One seed, one answer, and the first rows of a larger count are those of a smaller one.
    """
    generator, temperature = noise_generator(seed), check_temperature(temperature)
    return temperature * draw_rows(lambda rows: torch.randn(rows, latent, generator=generator), count)


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
