"""A critic that tells drawn pictures from real ones, and how a decoder learns from it: sharpness after the VAE stands.

The mean of many plausible pictures is blurred. A critic sees that (Goodfellow et al. 2014), and its own features are a
better ruler than pixels (Larsen et al. 2016). The encoder stays as it is, so latents keep their meaning; only the decoder
learns to draw what belongs to them. The critic compares each drawn picture with its original (a relativistic loss,
Jolicoeur-Martineau 2018) under a penalty on its slope at real ones (R1, Mescheder et al. 2018); both are changed alike before
it looks, so that small sets are not learnt by heart (Zhao et al. 2020).
"""

from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHIFT = 0.125  # of the side, at most
HOLE = 0.5  # side of the square that is covered, as a share of the picture's
SLOPE = 0.2


class Critic(nn.Module):
    """(N, C, S, S) in [0, 1] -> scores (N, H, W), one for each patch, higher for real; and features, finest first.

    stem: side of the pixel block that becomes a cell, as in the VAE. widths: channels of each stage, each after the first at
    half the grid.
    """

    def __init__(self, channels: int, stem: int, widths: tuple[int, ...]):
        super().__init__()
        self.cells = nn.PixelUnshuffle(stem)
        before = (channels * stem**2, *widths)
        self.stages = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride=1 if place == 0 else 2, padding=1)
            for place, (inputs, outputs) in enumerate(zip(before, widths, strict=False))
        )
        self.verdict = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.cells(2 * x - 1)
        features = []
        for stage in self.stages:
            x = F.leaky_relu(stage(x), SLOPE)
            features.append(x)
        return self.verdict(x).squeeze(1), features


def save(critic: Critic, path: Path) -> None:
    """Writes the weights in half precision."""
    state = {name: tensor.detach().half().contiguous().cpu() for name, tensor in critic.state_dict().items()}
    safetensors.torch.save_file(state, path)


def augment(pictures: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Sets of pictures (N, C, H, W), none larger than the first, changed alike: row i of each in the same way. Differentiable.

    Brightness, contrast and (of colours) saturation, a shift with the edge drawn out, and a grey square laid over it.
    """
    rows, _, height, width = pictures[0].shape
    device = pictures[0].device

    def uniform(low: float, high: float) -> Tensor:  # (N, 1, 1, 1)
        return (low + (high - low) * torch.rand(rows, generator=generator)).to(device).view(-1, 1, 1, 1)

    brighter, contrast, colour = uniform(-0.25, 0.25), uniform(0.6, 1.4), uniform(0.3, 1.7)
    down, across = uniform(-SHIFT, SHIFT).flatten(), uniform(-SHIFT, SHIFT).flatten()
    moved = torch.eye(2, 3, device=device).repeat(rows, 1, 1)
    moved[:, 0, 2], moved[:, 1, 2] = 2 * across, 2 * down
    y = torch.arange(height, device=device).view(1, 1, -1, 1) / height - uniform(0, 1)
    x = torch.arange(width, device=device).view(1, 1, 1, -1) / width - uniform(0, 1)
    is_seen = (torch.maximum(x.abs(), y.abs()) > HOLE / 2).float()  # (N, 1, H, W)

    def changed(shown: Tensor) -> Tensor:
        count = len(shown)
        shown = shown + brighter[:count]
        shown = shown.mean(dim=1, keepdim=True) * (1 - colour[:count]) + shown * colour[:count]
        middle = shown.mean(dim=(1, 2, 3), keepdim=True)
        shown = middle + (shown - middle) * contrast[:count]
        grid = F.affine_grid(moved[:count], list(shown.shape), align_corners=False)
        shown = F.grid_sample(shown, grid, mode="nearest", padding_mode="border", align_corners=False)
        return 0.5 + (shown - 0.5) * is_seen[:count]

    return [changed(shown) for shown in pictures]


@dataclass(frozen=True)
class Judged:
    """What one look at a batch gave: losses (scalars), and the pull on the drawn pictures (N, C, H, W)."""

    critic_loss: Tensor
    critic_gradients: tuple[Tensor, ...]  # of the critic's parameters, in their order
    adversarial: Tensor
    feature: Tensor
    pull: Tensor  # a gradient for the drawn pictures, to be descended


def judge(
    critic: Critic,
    real: Tensor,
    drawn: Tensor,
    generator: torch.Generator,
    *,
    pixel: float,
    feature: float,
    adversarial: float,
    penalty: float = 0.0,
) -> Judged:
    """real (R, C, H, W) and drawn (N, C, H, W), R <= N <= 2 R, whose first R rows are reconstructions of real.

    The critic is to score a real picture above the drawn one beside it, the decoder the other way round. Pixels, features and
    the critic's verdict each pull on every drawn pixel; pixel, feature and adversarial are the shares of the three, each
    scaled to the same root mean square first: otherwise their units would decide, and they change while the critic learns.
    Rows beyond R have no original: only the verdict pulls. penalty: the weight of R1, half of the squared slope of a
    picture's mean score, pixels in [0, 1].
    """
    rows, count = len(real), len(drawn)
    drawn = drawn.detach().requires_grad_(True)
    seen_drawn, seen_real = augment([drawn, real], generator)
    # Two looks, not one at all pictures: the gradients for the drawn ones then need not pass through the real ones.
    (on_drawn, features), (on_real, aims) = critic(seen_drawn), critic(seen_real)
    margin = torch.cat([on_real, on_real[: count - rows]]) - on_drawn  # (N, H, W)
    critic_loss, verdict_loss = F.softplus(-margin).mean(), F.softplus(margin).mean()
    feature_loss = torch.zeros((), device=drawn.device)
    for maps, of_real in zip(features, aims, strict=True):
        aim = of_real.detach()
        feature_loss = feature_loss + (maps[:rows] - aim).square().mean() / aim.square().mean().clamp_min(1e-6)
    pulls = [
        (adversarial, torch.autograd.grad(verdict_loss, drawn, retain_graph=True)[0], count),
        (feature, torch.autograd.grad(feature_loss, drawn, retain_graph=True)[0], rows),
        (pixel, torch.cat([drawn[:rows].detach() - real, torch.zeros_like(drawn[rows:])]), rows),
    ]
    pull = torch.zeros_like(drawn)
    for share, gradient, concerned in pulls:
        pull += share * gradient / gradient[:concerned].square().mean().sqrt().clamp_min(1e-12)
    total = critic_loss
    if penalty:
        total = total + penalty * _slope(critic, seen_real)
    gradients = torch.autograd.grad(total, list(critic.parameters()))
    return Judged(
        critic_loss.detach(), gradients, verdict_loss.detach(), feature_loss.detach(), pull / drawn[0].numel()
    )


def _slope(critic: Critic, real: Tensor) -> Tensor:
    """Half of the squared gradient of each picture's mean score with respect to its pixels, averaged over pictures."""
    real = real.detach().requires_grad_(True)
    score = critic(real)[0].mean(dim=(1, 2)).sum()
    (gradient,) = torch.autograd.grad(score, real, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()
