"""A critic that tells drawn pictures from real ones, and how a decoder learns from it: sharpness after the VAE stands.

The mean of many plausible pictures is blurred. Their median is less so: absolute differences teach it (edge_loss). A critic sees
blur (Goodfellow et al. 2014), and its own features are a better ruler than pixels (Larsen et al. 2016), a network that has seen
the world a steadier one (Johnson et al. 2016). The encoder stays as it is, so latents keep their meaning; only the decoder
learns to draw what belongs to them. The critic compares each drawn picture with its original (a relativistic loss,
Jolicoeur-Martineau 2018) under a penalty on its slope at real and at drawn ones (R1 and R2, Mescheder et al. 2018; both, as in
Huang et al. 2024, "The GAN is dead; long live the GAN").
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.measure.features import cosine_distance
from vae.recipe import Sharpen
from vae.sharpen import teacher

SHIFT = 4  # pixels that pictures are rolled by before the critic looks, at most
LEAK = 0.2
JURY_WIDTH = 64
JURY_PENALTY = 0.5  # on the slope of the jury's scores at the teacher's maps of real pictures


class Critic(nn.Module):
    """(N, C, S, S) in [0, 1] -> scores (N, H, W), one for each patch, higher for real; and features, finest first.

    widths: channels of each stage, each after the first at half the grid. It steps by one pixel and halves by averaging: what
    takes pixels in blocks has a slope with a lattice in it, and teaches the decoder to draw that lattice.
    """

    def __init__(self, channels: int, widths: tuple[int, ...]):
        super().__init__()
        before = (channels, *widths)
        self.stages = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in zip(before, widths, strict=False)
        )
        self.verdict = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = 2 * x - 1
        features: list[Tensor] = []
        for stage in self.stages:
            x = F.leaky_relu(stage(F.avg_pool2d(x, 2) if features else x), LEAK)
            features.append(x)
        return self.verdict(x).squeeze(1), features


class Jury(nn.Module):
    """The teacher's maps (N, C, H, W) of pictures -> scores (N, H, W) for each map, higher for real.

    A critic that learns to see from ten thousand pictures sees little; small heads on a network that has seen a million see
    more, and sooner (Sauer et al. 2021, "Projected GANs").
    """

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, JURY_WIDTH, 1),
                nn.LeakyReLU(LEAK),
                nn.Conv2d(JURY_WIDTH, JURY_WIDTH, 3, padding=1),
                nn.LeakyReLU(LEAK),
                nn.Conv2d(JURY_WIDTH, 1, 1),
            )
            for channels in teacher.CHANNELS
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [head(seen).squeeze(1) for head, seen in zip(self.heads, maps, strict=True)]


class Critics(nn.Module):
    """Those who judge while a decoder is sharpened: a critic and a jury, each where the recipe asks for it."""

    def __init__(self, channels: int, sharpen: Sharpen):
        super().__init__()
        self.critic = Critic(channels, sharpen.critic_widths) if sharpen.feature or sharpen.adversarial else None
        self.jury = Jury() if sharpen.jury else None


def shifted(pictures: list[Tensor], shift: Tensor) -> list[Tensor]:
    """Sets of pictures (N, C, S, S), all rolled down and across by shift (2,), in whole pixels.

    Differentiable augmentation (Zhao et al. 2020): the grids in which any critic sees fall elsewhere with every step, and none
    of them settles in the pictures. Changes of colour and covered squares, which that paper adds, blind a small critic.
    """
    # By index, not by roll: a shift that is a tensor can change from one replay of a recorded step to the next.
    places = torch.arange(pictures[0].shape[-1], device=shift.device)
    down, across = ((places - by) % len(places) for by in shift)
    return [shown.index_select(2, down).index_select(3, across) for shown in pictures]


@dataclass(frozen=True)
class Judged:
    """What one look at a batch gave."""

    critic_loss: Tensor  # a scalar
    critics_gradients: tuple[Tensor, ...]  # of the parameters of Critics, in their order
    pull: Tensor  # (N, C, H, W): a gradient for the drawn pictures, to be descended


def judge(
    critics: Critics, real: Tensor, drawn: Tensor, shift: Tensor, sharpen: Sharpen, penalty: float = 0.0,
    weight: Tensor | None = None,
) -> Judged:  # fmt: skip
    """real (R, C, H, W) and drawn (N, C, H, W), R <= N <= 2 R, whose first R rows are reconstructions of real.

    The critic is to score a real picture above the drawn one beside it, the decoder the other way round. Pixels, edges, the
    critic's features and verdict, the teacher's features and the jury's verdict each pull on every drawn pixel; sharpen says
    how strongly, each being scaled to the same root mean square first: otherwise their units would decide, and they change
    while the critic learns. What comes from critic or jury counts by how well it tells the two apart, from nothing at chance
    (a loss of log 2) to all at a loss of 0: else it would teach its noise. Rows beyond R have no original: only verdicts pull.
    shift: as in shifted. penalty: the weight of R1 and R2, half of the squared slope of a picture's mean score, pixels in [0, 1],
    at real and at drawn pictures. weight (H, W): how much each pixel's squared difference pulls, and edges by its root.
    """
    rows, count = len(real), len(drawn)
    drawn = drawn.detach().requires_grad_(True)
    seen_drawn, seen_real = shifted([drawn, real], shift)

    def pull_of(loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss, drawn, retain_graph=True)[0]

    pulls: list[tuple[float | Tensor, Tensor, int]] = []  # how strongly, the gradient, the rows that it concerns
    if sharpen.pixel:
        apart = drawn[:rows] - real
        pulls.append((sharpen.pixel, pull_of((apart.square() * (1 if weight is None else weight)).sum()), rows))
    if sharpen.edges:
        pulls.append((sharpen.edges, pull_of(edge_loss(drawn[:rows], real, weight)), rows))
    total = critic_loss = torch.zeros((), device=drawn.device)
    if critics.critic is not None:
        # Two looks, not one at all pictures: the gradients for the drawn ones then need not pass through the real ones.
        (scores, features), (real_scores, real_features) = critics.critic(seen_drawn), critics.critic(seen_real)
        total, verdict_loss = _paired(real_scores, scores)
        critic_loss = total.detach()
        pairs = zip(features, [one.detach() for one in real_features], strict=True)
        far = [(mine[:rows] - aim).square().mean() / aim.square().mean().clamp_min(1e-6) for mine, aim in pairs]
        pulls.append((_trust(total) * sharpen.adversarial, pull_of(verdict_loss), count))
        pulls.append((_trust(total) * sharpen.feature, pull_of(torch.stack(far).sum()), rows))
        if penalty:
            total = total + penalty * (_slope(critics.critic, seen_real) + _slope(critics.critic, seen_drawn[:rows]))
    is_whole = critics.jury is not None
    if sharpen.perceptual or is_whole:
        maps = teacher.feature_maps(seen_drawn if is_whole else seen_drawn[:rows], sharpen.teacher_size, is_whole)
        with torch.no_grad():
            real_maps = teacher.feature_maps(seen_real, sharpen.teacher_size, is_whole)
    if sharpen.perceptual:
        known = len(teacher.PLACES)
        loss = cosine_distance([one[:rows] for one in maps[:known]], real_maps[:known])
        pulls.append((sharpen.perceptual, pull_of(loss), rows))
    if critics.jury is not None:
        jury_loss, jury_verdict, slope = _jury_losses(critics.jury, maps, real_maps)
        pulls.append((_trust(jury_loss) * sharpen.jury, pull_of(jury_verdict), count))
        total = total + jury_loss + JURY_PENALTY * slope
    pull = torch.zeros_like(drawn)
    for share, gradient, concerned in pulls:
        pull += share * gradient / gradient[:concerned].square().mean().sqrt().clamp_min(1e-12)
    parameters = list(critics.parameters())
    gradients = torch.autograd.grad(total, parameters) if parameters else ()
    return Judged(critic_loss, gradients, pull / drawn[0].numel())


def edge_loss(drawn: Tensor, real: Tensor, weight: Tensor | None = None) -> Tensor:
    """(N, C, H, W) twice -> the absolute differences of pixels and of the steps between neighbours, summed: a scalar.

    Where an outline may lie here or there, the mean of both is a blur and the median one of them; and a step that is drawn
    at all is to be as steep as the real one (Mathieu et al. 2016, "gradient difference loss"). weight (H, W): of a pixel's
    variance as in losses.gaussian, so its root weighs here.
    """
    root = torch.ones_like(real[0, 0]) if weight is None else weight.sqrt()
    apart = drawn - real
    down, across = (root[1:] * apart.diff(dim=2).abs()).sum(), (root[:, 1:] * apart.diff(dim=3).abs()).sum()
    return (root * apart.abs()).sum() + down + across


def _paired(real: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (R, H, W) and (N, H, W), R <= N <= 2 R -> the critic's loss and the decoder's (Jolicoeur-Martineau 2018)."""
    margin = torch.cat([real, real[: len(drawn) - len(real)]]) - drawn  # (N, H, W)
    return F.softplus(-margin).mean(), F.softplus(margin).mean()


def _trust(loss: Tensor) -> Tensor:
    return (1 - loss.detach() / math.log(2)).clamp(0, 1)


def _jury_losses(jury: Jury, maps: list[Tensor], real_maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The teacher's maps of drawn pictures and of real ones -> the jury's loss, the decoder's, and the penalty.

    Compared in pairs as in judge, each map having the same say. The penalty is half of the squared slope of the scores with
    respect to the maps of real pictures, for each place.
    """
    sizes = [one.square().mean().sqrt().clamp_min(1e-6) for one in real_maps]
    real_maps = [(one / size).requires_grad_(True) for one, size in zip(real_maps, sizes, strict=True)]
    real_scores = jury(real_maps)
    scores = jury([one / size for one, size in zip(maps, sizes, strict=True)])
    losses, verdicts = zip(*(_paired(*pair) for pair in zip(real_scores, scores, strict=True)), strict=True)
    slopes = torch.autograd.grad([score.sum() for score in real_scores], real_maps, create_graph=True)
    slope = 0.5 * torch.stack([part.square().sum(dim=1).mean() for part in slopes]).mean()
    return torch.stack(losses).mean(), torch.stack(verdicts).mean(), slope


def _slope(critic: Critic, x: Tensor) -> Tensor:
    """Half of the squared gradient of each picture's mean score with respect to its pixels, averaged over pictures."""
    x = x.detach().requires_grad_(True)
    score = critic(x)[0].mean(dim=(1, 2)).sum()
    (gradient,) = torch.autograd.grad(score, x, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()
