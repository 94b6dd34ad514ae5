"""Fits what tells typical latents and uploads: two critics, taught on training pictures, and quantiles of held-out ones.

Broken latents and pictures are made here, of known kinds: outlier exposure (Hendrycks et al. 2019).
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.atlas import SHARES, Atlas, Knob
from vae.device import noise_generator
from vae.measure.broken import broken, generated
from vae.measure.verdicts import errors, shares, upload_inputs
from vae.model import VAE, Posterior, decoded, posterior_of
from vae.storage.judges import HIDDEN, Critic, Judge

FEWEST = 50  # held-out pictures without which a quantile says nothing
DECAY, LEARNING_RATE, BATCH = 0.05, 1e-3, 256
LATENT_DROPOUT, UPLOAD_DROPOUT = 0.2, 0.4  # a picture comes again and again, a latent is drawn anew
SMALL = 5000  # pictures of a set at which a visitor may wait
# Steps; pictures that a critic of uploads sees, and how often broken anew.
LONG, SHORT = (4000, 8000, 3), (600, 2000, 1)
DRAWS = 4  # of each held-out posterior, beside its mean


def fit_judge(
    model: VAE, atlas: Atlas, pictures: np.ndarray, posterior: Posterior, heldout: np.ndarray, of_heldout: Posterior,
    others: np.ndarray | None = None, seed: int = 0,
) -> Judge | None:  # fmt: skip
    """The judge of a model from uint8 training and held-out pictures (N, H, W, C) and the posteriors of both.

    others: pictures of other sets, brought to the model's form, which count as broken. None for too few held-out ones. Of a
    small set it is fitted in seconds: a visitor waits for it.
    """
    if len(heldout) < FEWEST:
        return None
    (steps, count, turns), rng = LONG if len(pictures) > SMALL else SHORT, np.random.default_rng(seed)
    some = pictures[rng.permutation(len(pictures))[:count]]
    real, drawn = _seen(model, some), _seen(model, generated(len(some) // 2, some.shape[1:], rng))
    bad = [torch.cat([_seen(model, broken(some, rng)) for _ in range(turns)]), drawn]
    if others is not None and len(others):
        bad.append(_seen(model, others))
    with torch.random.fork_rng(devices=[]):  # torch's layers and dropout know no other generator
        torch.manual_seed(seed)
        latents = _latent_critic(atlas, posterior, steps)
        uploads = _upload_critic(real, bad, steps)
    noise = noise_generator(seed)
    z = torch.cat([of_heldout.mean, *(of_heldout.sample(noise) for _ in range(DRAWS))])
    of_latents = {"density": atlas.mixture.log_prob(z), "critic": latents(atlas.principal(z))}
    again = decoded(model, of_heldout.mean)
    of_uploads = {
        "density": atlas.mixture.log_prob(of_heldout.mean),
        "error": -errors(heldout, again),
        "critic": uploads(upload_inputs(heldout, again, of_heldout.mean)),
    }
    return Judge(latents, uploads, _quantiles(of_latents), _quantiles(of_uploads))


def _quantiles(values: dict[str, Tensor]) -> Tensor:
    """Measures' values (N,) -> (M + 1, SHARES): the quantiles of each, and of the least of their shares."""
    places = torch.linspace(0, 1, SHARES)
    found = torch.stack([torch.quantile(value, places) for value in values.values()])
    return torch.cat([found, torch.quantile(shares(values, found).amin(dim=0), places)[None]])


def _seen(model: VAE, pictures: np.ndarray) -> Tensor:
    z = posterior_of(model, pictures).mean
    return upload_inputs(pictures, decoded(model, z), z)


def _latent_critic(atlas: Atlas, posterior: Posterior, steps: int) -> Critic:
    """On samples of the training pictures' posteriors, and on what LATENTS makes of them."""
    named, plain = ([knob for knob in atlas.knobs if knob.kind == kind] for kind in ("named", "direction"))
    ways = plain + named * max(1, len(plain) // max(1, len(named)))  # about as often a named one
    std = posterior.std()

    def real(count: int) -> Tensor:
        rows = torch.randint(len(std), (count,))
        return posterior.mean[rows] + torch.randn(count, std.shape[1]) * std[rows]

    def draw() -> tuple[Tensor, Tensor]:
        bad = [make(real(BATCH // len(LATENTS)), ways) for make in LATENTS.values()]
        return atlas.principal(real(BATCH)), atlas.principal(torch.cat(bad))

    return _learnt(draw, atlas.principal(real(5000)), steps, LATENT_DROPOUT)


def _upload_critic(real: Tensor, bad: list[Tensor], steps: int) -> Critic:
    """On inputs of real pictures and several kinds of bad ones, of which the first comes three times as often as each other."""
    each = BATCH // (len(bad) + 2)
    counts = [3 * each, *[each] * (len(bad) - 1)]

    def some(rows: Tensor, count: int) -> Tensor:
        return rows[torch.randint(len(rows), (count,))]

    def draw() -> tuple[Tensor, Tensor]:
        return some(real, BATCH), torch.cat([some(part, count) for part, count in zip(bad, counts, strict=True)])

    return _learnt(draw, real, steps, UPLOAD_DROPOUT)


def _learnt(draw: Callable[[], tuple[Tensor, Tensor]], some: Tensor, steps: int, dropout: float) -> Critic:
    """A critic taught by cross-entropy on each draw's real and broken inputs (B, I); rounded to half precision."""
    plain = Critic(some.mean(dim=0).half().float(), (some.std(dim=0) + 1e-3).half().float(), ())
    widths = [some.shape[1], HIDDEN, HIDDEN, 1]
    linear = [nn.Linear(before, after) for before, after in zip(widths, widths[1:], strict=False)]
    inner = [part for one in linear[:-1] for part in (one, nn.SiLU(), nn.Dropout(dropout))]
    network = nn.Sequential(*inner, linear[-1])
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps)
    for _ in range(steps):
        real, bad = draw()
        logits = network(plain.standardized(torch.cat([real, bad])))[:, 0]
        loss = F.softplus(-logits[: len(real)]).mean() + F.softplus(logits[len(real) :]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return Critic(plain.center, plain.scale, tuple(part.detach().half().float() for part in network.parameters()))


def turned(z: Tensor, ways: list[Knob], least: float = 1.3, most: float = 2.5) -> Tensor:
    """(N, D) -> the same, each with one knob turned to least to most times its travel, one way or the other."""
    if not ways:  # a model that says nothing
        return z
    chosen = [ways[row] for row in torch.randint(len(ways), (len(z),)).tolist()]
    vector, probe = (torch.stack([getattr(knob, name) for knob in chosen]) for name in ("vector", "probe"))
    ends = torch.tensor([[knob.low, knob.high] for knob in chosen])
    end = ends.gather(1, torch.randint(2, (len(z), 1)))[:, 0] * (least + (most - least) * torch.rand(len(z)))
    reading = (z * probe).sum(dim=1) - torch.tensor([knob.offset for knob in chosen])
    return z + (end - reading)[:, None] * vector


def beyond(z: Tensor, ways: list[Knob]) -> Tensor:
    """(N, D) -> the same, each once or twice as far again from another of them."""
    return z + (1 + torch.rand(len(z), 1)) * (z - z[torch.randperm(len(z))])


def shuffled(z: Tensor, ways: list[Knob]) -> Tensor:
    """(N, D) -> the same numbers, each unit's dealt anew."""
    return torch.stack([unit[torch.randperm(len(z))] for unit in z.T], dim=1)


def noisy(z: Tensor, ways: list[Knob]) -> Tensor:
    """(N, D) -> N(0, 1) to N(0, 1.5**2) in their place."""
    return torch.randn_like(z) * (1 + 0.5 * torch.rand(len(z), 1))


LATENTS: dict[str, Callable[[Tensor, list[Knob]], Tensor]] = {
    "a knob turned to 1.3 to 2.5 times its travel": turned,
    "beyond another": beyond,
    "numbers shuffled": shuffled,
    "noise": noisy,
}
