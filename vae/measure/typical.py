"""Fits what tells typical latents and uploads: two critics, taught on training pictures, and quantiles of held-out ones.

Broken latents and pictures are made here, of known kinds: outlier exposure (Hendrycks et al. 2019); real latents against the
mixture's is noise-contrastive estimation (Gutmann and Hyvarinen 2010; Aneja et al. 2021 for the prior of a VAE).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.atlas import SHARES, Atlas
from vae.device import noise_generator
from vae.measure.broken import broken, generated
from vae.model import VAE, Posterior, decoded, posterior_of
from vae.typicality import Critic, Judge, error_grid, share_below, sureness, upload_inputs

FEWEST = 50  # held-out pictures without which a quantile says nothing
HIDDEN, DROPOUT, DECAY, LEARNING_RATE = 128, 0.2, 0.05, 1e-3
STEPS, BATCH = 3000, 256
DREAMT = 60_000  # latents from the mixture
PICTURES = 6000  # of the training set, and as many broken ones
DRAWS = 4  # of each held-out posterior, beside its mean


def fit_judge(
    model: VAE, atlas: Atlas, pictures: np.ndarray, heldout: np.ndarray, *,
    others: Sequence[np.ndarray] = (), seed: int = 0, known: tuple[Posterior, Posterior] | None = None,
) -> Judge | None:  # fmt: skip
    """The judge of a model from uint8 training and held-out pictures (N, H, W, C); None for too few held-out ones.

    others: pictures of other sets, brought to the model's form, which count as broken. known: the posteriors of both, if they are
    at hand. As many steps as pictures, at most STEPS: nobody waits long for a small set.
    """
    if len(heldout) < FEWEST:
        return None
    posterior, of_heldout = known or (posterior_of(model, pictures), posterior_of(model, heldout))
    steps = min(STEPS, max(500, len(pictures)))
    with torch.random.fork_rng(devices=[]):  # torch's layers and dropout know no other generator
        torch.manual_seed(seed)
        critic = _latent_critic(atlas, posterior, seed, steps)
    rng = np.random.default_rng(seed)
    some = pictures[rng.permutation(len(pictures))[:PICTURES]]
    bad = [broken(some, rng), generated(len(some) // 2, some.shape[1:], rng), *others]
    real, *fake = (_seen(model, part) for part in (some, *bad))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        of_pictures = _upload_critic(real, fake, steps)
    noise = noise_generator(seed)
    z = torch.cat([of_heldout.mean, *(of_heldout.sample(noise) for _ in range(DRAWS))])
    grid = error_grid(heldout, decoded(model, of_heldout.mean))
    with torch.inference_mode():
        looks = {"density": atlas.mixture.log_prob(z), "critic": sureness(critic(z))}
        seen = sureness(of_pictures(upload_inputs(of_heldout, grid)))
    uploads = {"density": atlas.mixture.log_prob(of_heldout.mean), "error": -grid.mean(dim=1), "critic": seen}
    return Judge(critic, of_pictures, _quantiles(looks), _quantiles(uploads))


def _quantiles(values: dict[str, Tensor]) -> dict[str, Tensor]:
    shares = torch.linspace(0, 1, SHARES)
    found = {name: torch.quantile(value, shares) for name, value in values.items()}
    least = torch.stack([share_below(value, found[name]) for name, value in values.items()]).amin(dim=0)
    return found | {"least": torch.quantile(least, shares)}


def _seen(model: VAE, pictures: np.ndarray) -> Tensor:
    posterior = posterior_of(model, pictures)
    return upload_inputs(posterior, error_grid(pictures, decoded(model, posterior.mean)))


def _latent_critic(atlas: Atlas, posterior: Posterior, seed: int, steps: int) -> Critic:
    """Real against drawn from the mixture against broken, on posterior samples of the training pictures."""
    ways = [knob for knob in atlas.knobs if knob.kind != "unit"]
    dreamt = atlas.mixture.sample(DREAMT, seed)

    std = posterior.std()

    def real(count: int) -> Tensor:
        rows = torch.randint(len(std), (count,))
        return posterior.mean[rows] + torch.randn(count, std.shape[1]) * std[rows]

    def draw() -> tuple[Tensor, Tensor]:
        parts = [real(BATCH), dreamt[torch.randint(DREAMT, (BATCH // 2,))]]
        bad = [make(real(BATCH // 4), ways) for make in LATENTS.values()]
        parts.append(torch.cat(bad))
        return torch.cat(parts), torch.cat([torch.full((len(part),), row) for row, part in enumerate(parts)])

    return _learnt(draw, real(5000), 3, steps)


def _upload_critic(real: Tensor, broken: list[Tensor], steps: int) -> Critic:
    """Pictures of the training set against broken and other ones; a part of broken counts by the root of its size."""

    def draw() -> tuple[Tensor, Tensor]:
        share = BATCH // len(broken)
        good = real[torch.randint(len(real), (BATCH,))]
        bad = torch.cat([part[torch.randint(len(part), (share,))] for part in broken])
        return torch.cat([good, bad]), torch.cat([torch.zeros(len(good)), torch.ones(len(bad))]).long()

    return _learnt(draw, real, 2, steps)


def _learnt(draw: Callable[[], tuple[Tensor, Tensor]], some: Tensor, answers: int, steps: int) -> Critic:
    """A critic taught by cross-entropy on (inputs (B, I), answers (B,)) of each draw; rounded as it is stored, in half precision."""
    center, scale = some.mean(dim=0), some.std(dim=0) + 1e-3
    plain = Critic(center.half().float(), scale.half().float().clamp_min(1e-3), ())
    widths = [some.shape[1], HIDDEN, HIDDEN, answers]
    linear = [nn.Linear(before, after) for before, after in zip(widths, widths[1:], strict=False)]
    network = nn.Sequential(
        *(part for one in linear[:-1] for part in (one, nn.SiLU(), nn.Dropout(DROPOUT))), linear[-1]
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


def turned(z: Tensor, ways: list) -> Tensor:
    """(N, D) -> the same, each with one knob turned to 1.3 to 2.5 times its travel."""
    chosen = torch.randint(len(ways), (len(z),)).tolist()
    probe, vector = (torch.stack([getattr(ways[row], name) for row in chosen]) for name in ("probe", "vector"))
    offset, high = (torch.tensor([getattr(ways[row], name) for row in chosen]) for name in ("offset", "high"))
    target = high * (1.3 + 1.2 * torch.rand(len(z))) * torch.randn(len(z)).sign()
    return z + (target - ((z * probe).sum(dim=1) - offset))[:, None] * vector


def beyond(z: Tensor, ways: list) -> Tensor:
    """(N, D) -> the same, each once or twice as far again from another of them."""
    return z + (1 + torch.rand(len(z), 1)) * (z - z[torch.randperm(len(z))])


def shuffled(z: Tensor, ways: list) -> Tensor:
    """(N, D) -> the same numbers, each unit's dealt anew."""
    return torch.stack([unit[torch.randperm(len(z))] for unit in z.T], dim=1)


def noisy(z: Tensor, ways: list) -> Tensor:
    """(N, D) -> N(0, 1) to N(0, 1.5**2) in their place."""
    return torch.randn_like(z) * (1 + 0.5 * torch.rand(len(z), 1))


LATENTS: dict[str, Callable[[Tensor, list], Tensor]] = {
    "a knob turned to 1.3 to 2.5 times its travel": turned,
    "beyond another": beyond,
    "numbers shuffled": shuffled,
    "noise": noisy,
}
