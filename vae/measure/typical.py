"""Fits what tells typical latents and uploads: two critics, taught on training pictures, and quantiles of held-out ones.

Broken latents and pictures are made here, of known kinds: outlier exposure (Hendrycks et al. 2019); real latents against the
mixture's is noise-contrastive estimation (Gutmann and Hyvarinen 2010; Aneja et al. 2021 for the prior of a VAE).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.atlas import SHARES, Atlas, Knob
from vae.device import noise_generator
from vae.measure.broken import broken, generated
from vae.model import VAE, Posterior, decoded, posterior_of
from vae.typicality import Critic, Judge, errors, shares, sureness, upload_inputs

FEWEST = 50  # held-out pictures without which a quantile says nothing
HIDDEN, DECAY, LEARNING_RATE = 128, 0.05, 1e-3
LATENT_DROPOUT, UPLOAD_DROPOUT = 0.2, 0.4  # a picture comes again and again, a latent is drawn anew
BATCH = 256
SMALL = 5000  # pictures of a set at which a visitor may wait
LONG, SHORT = (4000, 3), (600, 1)  # steps, and how often the pictures are broken anew
DRAWN = 60_000  # latents from the mixture
PICTURES = 8000  # of the training set that a critic of uploads sees
DRAWS = 4  # of each held-out posterior, beside its mean


def fit_judge(
    model: VAE, atlas: Atlas, pictures: np.ndarray, heldout: np.ndarray, *,
    others: Sequence[np.ndarray] = (), seed: int = 0, known: tuple[Posterior, Posterior] | None = None,
) -> Judge | None:  # fmt: skip
    """The judge of a model from uint8 training and held-out pictures (N, H, W, C); None for too few held-out ones.

    others: pictures of other sets, brought to the model's form, which count as broken. known: the posteriors of both, if they are
    at hand. Of a small set it is fitted in seconds: a visitor waits for it.
    """
    if len(heldout) < FEWEST:
        return None
    posterior, of_heldout = known or (posterior_of(model, pictures), posterior_of(model, heldout))
    (steps, turns), rng = LONG if len(pictures) > SMALL else SHORT, np.random.default_rng(seed)
    some = pictures[rng.permutation(len(pictures))[:PICTURES]]
    real, drawn = _seen(model, some), _seen(model, generated(len(some) // 2, some.shape[1:], rng))
    bad = [torch.cat([_seen(model, broken(some, rng)) for _ in range(turns)]), drawn]
    if others:
        bad.append(torch.cat([_seen(model, part) for part in others]))
    with torch.random.fork_rng(devices=[]):  # torch's layers and dropout know no other generator
        torch.manual_seed(seed)
        of_latents = latent_critic(atlas, posterior, seed, steps)
        of_uploads = _upload_critic(real, bad, steps)
    noise = noise_generator(seed)
    z = torch.cat([of_heldout.mean, *(of_heldout.sample(noise) for _ in range(DRAWS))])
    again = decoded(model, of_heldout.mean)
    looks = {"density": atlas.mixture.log_prob(z), "critic": sureness(of_latents(atlas.principal(z)))}
    seen = sureness(of_uploads(upload_inputs(heldout, again, of_heldout.mean)))
    uploads = {"density": atlas.mixture.log_prob(of_heldout.mean), "error": -errors(heldout, again), "critic": seen}
    return Judge(of_latents, of_uploads, _quantiles(looks), _quantiles(uploads))


def _quantiles(values: dict[str, Tensor]) -> dict[str, Tensor]:
    places = torch.linspace(0, 1, SHARES)
    found = {name: torch.quantile(value, places) for name, value in values.items()}
    return found | {"least": torch.quantile(shares(values, found).amin(dim=0), places)}


def _seen(model: VAE, pictures: np.ndarray) -> Tensor:
    z = posterior_of(model, pictures).mean
    return upload_inputs(pictures, decoded(model, z), z)


def latent_critic(atlas: Atlas, posterior: Posterior, seed: int, steps: int) -> Critic:
    """Real against drawn from the mixture against broken, on posterior samples of the training pictures."""
    named, plain = ([knob for knob in atlas.knobs if knob.kind == kind] for kind in ("named", "direction"))
    ways = plain + named * max(1, len(plain) // max(1, len(named)))  # about as often a named one
    drawn, std = atlas.mixture.sample(DRAWN, seed), posterior.std()

    def real(count: int) -> Tensor:
        rows = torch.randint(len(std), (count,))
        return posterior.mean[rows] + torch.randn(count, std.shape[1]) * std[rows]

    def draw() -> tuple[Tensor, Tensor]:
        parts = [real(BATCH), drawn[torch.randint(DRAWN, (BATCH // 2,))]]
        parts.append(torch.cat([make(real(BATCH // len(LATENTS)), ways) for make in LATENTS.values()]))
        answers = torch.arange(3).repeat_interleave(torch.tensor([len(part) for part in parts]))
        return atlas.principal(torch.cat(parts)), answers

    return _learnt(draw, atlas.principal(real(5000)), 3, steps, LATENT_DROPOUT)


def _upload_critic(real: Tensor, broken: list[Tensor], steps: int) -> Critic:
    """Real against broken, of which the first part comes three times as often as each other."""

    def draw() -> tuple[Tensor, Tensor]:
        each = BATCH // (2 + len(broken))
        counts = [3 * each, *[each] * (len(broken) - 1)]
        good = real[torch.randint(len(real), (BATCH,))]
        bad = [part[torch.randint(len(part), (count,))] for part, count in zip(broken, counts, strict=True)]
        answers = [torch.zeros(BATCH), torch.ones(sum(counts))]
        return torch.cat([good, *bad]), torch.cat(answers).long()

    return _learnt(draw, real, 2, steps, UPLOAD_DROPOUT)


def _learnt(
    draw: Callable[[], tuple[Tensor, Tensor]], some: Tensor, answers: int, steps: int, dropout: float
) -> Critic:
    """A critic taught by cross-entropy on (inputs (B, I), answers (B,)) of each draw; rounded to half precision."""
    center, scale = some.mean(dim=0), some.std(dim=0) + 1e-3
    plain = Critic(center.half().float(), scale.half().float(), ())
    widths = [some.shape[1], HIDDEN, HIDDEN, answers]
    linear = [nn.Linear(before, after) for before, after in zip(widths, widths[1:], strict=False)]
    network = nn.Sequential(
        *(part for one in linear[:-1] for part in (one, nn.SiLU(), nn.Dropout(dropout))), linear[-1]
    )
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps)
    for _ in range(steps):
        inputs, wanted = draw()
        loss = F.cross_entropy(network(plain.standardized(inputs)), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    layers = tuple((one.weight.detach().half().float(), one.bias.detach().half().float()) for one in linear)
    return Critic(plain.center, plain.scale, layers)


def turned(z: Tensor, ways: list[Knob], least: float = 1.3, most: float = 2.5) -> Tensor:
    """(N, D) -> the same, each with one knob turned to least to most times its travel, one way or the other."""
    if not ways:  # a model that says nothing
        return z
    chosen = torch.randint(len(ways), (len(z),)).tolist()
    probe, vector = (torch.stack([getattr(ways[row], name) for row in chosen]) for name in ("probe", "vector"))
    offset, high = (torch.tensor([getattr(ways[row], name) for row in chosen]) for name in ("offset", "high"))
    target = high * (least + (most - least) * torch.rand(len(z))) * torch.randn(len(z)).sign()
    return z + (target - ((z * probe).sum(dim=1) - offset))[:, None] * vector


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
