"""A critic that tells drawn pictures from real ones, and how a decoder learns from it: sharpness after the VAE stands.

The mean of many plausible pictures is blurred. A critic sees that (Goodfellow et al. 2014), and its own features are a
better ruler than pixels (Larsen et al. 2016). The encoder stays as it is, so latents keep their meaning; only the decoder
learns to draw what belongs to them. Hinge loss with spectral norm (Miyato et al. 2018); real and drawn pictures are changed
alike before they are looked at, so that small sets are not learnt by heart (Zhao et al. 2020).
"""

from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

SHIFT = 0.125  # of the side, at most
HOLE = 0.5  # side of the square that is covered, as a share of the picture's
SLOPE = 0.2


class Critic(nn.Module):
    """(N, C, S, S) in [0, 1] -> scores (N, H, W), one for each patch, above 0 for real; and features, finest first.

    stem: side of the pixel block that becomes a cell, as in the VAE. widths: channels of each stage, each after the first at
    half the grid.
    """

    def __init__(self, channels: int, stem: int, widths: tuple[int, ...]):
        super().__init__()
        self.cells = nn.PixelUnshuffle(stem)
        before = (channels * stem**2, *widths)
        self.stages = nn.ModuleList(
            parametrizations.spectral_norm(nn.Conv2d(inputs, outputs, 3, stride=1 if place == 0 else 2, padding=1))
            for place, (inputs, outputs) in enumerate(zip(before, widths, strict=False))
        )
        self.verdict = parametrizations.spectral_norm(nn.Conv2d(widths[-1], 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.cells(2 * x - 1)
        features = []
        for stage in self.stages:
            x = F.leaky_relu(stage(x), SLOPE)
            features.append(x)
        return self.verdict(x).squeeze(1), features


def save(critic: Critic, path: Path) -> None:
    """Writes the weights in half precision, the spectral norm worked into them."""
    state = {}
    for name, module in critic.named_modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            state[f"{name}.weight"] = module.weight.detach().half().contiguous().cpu()
            state[f"{name}.bias"] = module.bias.detach().half().contiguous().cpu()
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
) -> Judged:
    """real (R, C, H, W) and drawn (N, C, H, W), N >= R, whose first R rows are reconstructions of real.

    Pixels, features and the critic's verdict each pull on every drawn pixel; pixel, feature and adversarial are the shares of
    the three, each scaled to the same root mean square first. Otherwise their units would decide, and they change while the
    critic learns. Rows beyond R have no original: only the verdict pulls.
    """
    rows = len(real)
    drawn = drawn.detach().requires_grad_(True)
    verdict, features = critic(torch.cat(augment([drawn, real], generator)))
    verdict_drawn, verdict_real = verdict.split([len(drawn), rows])
    critic_loss = F.relu(1 - verdict_real).mean() + F.relu(1 + verdict_drawn).mean()
    verdict_loss = -verdict_drawn.mean()
    feature_loss = torch.zeros((), device=drawn.device)
    for maps in features:
        aim = maps[len(drawn) :].detach()
        feature_loss = feature_loss + (maps[:rows] - aim).square().mean() / aim.square().mean().clamp_min(1e-6)
    gradients = torch.autograd.grad(critic_loss, list(critic.parameters()), retain_graph=True)
    pulls = [
        (adversarial, torch.autograd.grad(verdict_loss, drawn, retain_graph=True)[0], len(drawn)),
        (feature, torch.autograd.grad(feature_loss, drawn)[0], rows),
        (pixel, torch.cat([drawn[:rows].detach() - real, torch.zeros_like(drawn[rows:])]), rows),
    ]
    pull = torch.zeros_like(drawn)
    for share, gradient, concerned in pulls:
        pull += share * gradient / gradient[:concerned].square().mean().sqrt().clamp_min(1e-12)
    return Judged(
        critic_loss.detach(), gradients, verdict_loss.detach(), feature_loss.detach(), pull / drawn[0].numel()
    )
