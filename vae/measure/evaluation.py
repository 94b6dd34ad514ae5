"""What a trained model is worth on pictures it never saw."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from vae.atlas import PRIORS
from vae.checkpoints import Checkpoint
from vae.data import Pictures
from vae.device import noise_generator
from vae.errors import BadInput
from vae.losses import bernoulli, gaussian
from vae.measure import distances, features
from vae.model import BATCH, VAE, Posterior, to_tensor

SIGMA_PICTURES = 5000
COMPARED = 5000  # pictures on each side of a distance between sets
FEWEST = 1500  # with fewer pictures than features a covariance says nothing
REAL, AGAIN = "other real pictures", "reconstructions of those"  # compare's first rows
NEAREST = 1000  # pictures whose nearest neighbour in the training set is looked for

# key -> unit and how the number is made
NUMBERS = {
    "pictures": ("", "held-out pictures, none of which the model was trained on"),
    "elbo": ("nats per picture", "evidence lower bound, one posterior sample a picture; higher is better"),
    "reconstruction": ("nats per picture", "-log p(x|z) summed over pixels and channels, z a posterior sample"),
    "kl": ("nats per picture", "KL(q(z|x) || N(0, I)) in closed form, summed over units"),
    "rmse": ("of the range 0 to 1", "root mean squared error between a picture and the decoded posterior mean"),
    "psnr": ("dB", "-20 log10 of that error"),
    "active_units": ("", "units that say more than 0.01 nats on average"),
    "units": ("", "numbers in a latent"),
    "sigma": ("of the range 0 to 1", "noise of the gaussian likelihood, estimated on training pictures"),
}


@torch.inference_mode()
def passes(model: VAE, pictures: np.ndarray | Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor, Posterior]]:
    """uint8 (N, H, W, C) -> BATCH at a time: x (B, C, H, W) in [0, 1], logits of posterior samples, and the posterior."""
    generator = noise_generator(seed)
    for start in range(0, len(pictures), BATCH):
        x = to_tensor(pictures[start : start + BATCH], model.device)
        logits, posterior = model(x, generator)
        yield x, logits.float(), posterior


@torch.inference_mode()
def evaluate(model: VAE, pictures: np.ndarray, seed: int = 0) -> dict[str, float]:
    """uint8 (N, H, W, C) -> the figures that NUMBERS explains, with the seed's noise. BadInput for none, or of another form."""
    config, count = model.config, len(pictures)
    config.check(pictures)
    if not count:
        raise BadInput("There are no pictures to measure on; give at least one.")
    reconstruction, squared, unit_kl = 0.0, 0.0, torch.zeros(config.latent, dtype=torch.float64)
    for x, logits, posterior in passes(model, pictures, seed):
        if config.likelihood == "bernoulli":
            reconstruction += float(bernoulli(logits, x).sum())
        else:
            reconstruction += float(gaussian(torch.sigmoid(logits), x, model.sigma).sum())
        unit_kl += posterior.kl().sum(dim=0).double().cpu()
        squared += _squared(model.decode(posterior.mode()), x)
    kl, rmse = float(unit_kl.sum()) / count, (squared / count) ** 0.5
    numbers = {
        "pictures": count,
        "elbo": -(reconstruction / count + kl),
        "reconstruction": reconstruction / count,
        "kl": kl,
        "rmse": rmse,
        "psnr": -20 * float(np.log10(max(rmse, 1e-9))),
        "active_units": int((unit_kl / count > 0.01).sum()),
        "units": config.latent,
    }
    return numbers if config.likelihood == "bernoulli" else {**numbers, "sigma": float(model.sigma)}


def _squared(mean: Tensor, x: Tensor) -> float:
    return float((mean - x).square().mean(dim=(1, 2, 3)).sum())


def estimate_sigma(model: VAE, pictures: np.ndarray, seed: int = 0) -> float:
    """The analytically optimal sigma of the gaussian likelihood on uint8 pictures, for posterior samples; not under the floor."""
    squared = sum(_squared(torch.sigmoid(logits), x) for x, logits, _ in passes(model, pictures, seed))
    return max((squared / len(pictures)) ** 0.5, model.config.sigma_floor)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a | within a cell, as in p(x|z), is no border."""
    lines = (" | ".join(cell.replace("|", r"\|") for cell in cells) for cells in (head, ["---"] * len(head), *rows))
    return "\n".join(f"| {line} |" for line in lines)


def table(numbers: dict[str, float]) -> str:
    """The figures as a Markdown table, each with its unit and how it was made."""
    texts = {key: f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" for key, value in numbers.items()}
    return markdown(("number", "value", "unit", "how"), [(key, text, *NUMBERS[key]) for key, text in texts.items()])


def compare(checkpoint: Checkpoint, train: Pictures, heldout: Pictures, seed: int = 0) -> dict[str, dict[str, float]]:
    """Sets of pictures (real ones, reconstructions, samples of every prior) -> their distances to real training pictures.

    frechet and kernel (times 1,000) between COMPARED pictures and as many training pictures, where the features' network is
    installed and the pictures suffice; nearest, the mean distance to the nearest of all training pictures: samples much
    nearer than held-out pictures would be copies. ssim and perceptual, of reconstructions against their originals. The real
    ones are held-out pictures, filled up with training pictures that are not on the other side: trained_on is their share. Their
    row is the floor.
    """
    order = np.random.default_rng(seed).permutation(len(train))
    count = min(COMPARED, (len(train) + len(heldout)) // 2, len(train))
    reference, spare = train.images[order[:count]], train.images[order[count:]]
    real = np.concatenate([heldout.images, spare])[:count]
    again = checkpoint.decode(checkpoint.encode(real))
    sets = {REAL: real, AGAIN: again}
    for prior in PRIORS:
        sets[f"samples, {prior} prior"] = checkpoint.decode(checkpoint.atlas.prior(prior, count, seed))
    rows: dict[str, dict[str, float]] = {name: {} for name in sets}
    device, has_network = checkpoint.model.device, features.has_network()
    if has_network and count >= FEWEST:
        aim = distances.features(reference, device)
        for name, pictures in sets.items():
            found = distances.features(pictures, device)
            rows[name] = {"frechet": distances.frechet(found, aim), "kernel": 1000 * distances.kernel(found, aim)}
    known = train.images if len(heldout) >= NEAREST else reference
    for name in sets.keys() - {AGAIN}:
        rows[name]["nearest"] = float(distances.nearest(sets[name][:NEAREST], known).mean())
    shown = min(len(heldout), count)
    rows[REAL]["trained_on"] = rows[AGAIN]["trained_on"] = 1 - shown / count
    rows[AGAIN]["ssim"] = distances.ssim(real[:shown], again[:shown])
    if has_network:
        rows[AGAIN]["perceptual"] = distances.perceptual(real[:shown], again[:shown], device)
    return rows


def distance_table(rows: dict[str, dict[str, float]]) -> str:
    """What compare found as a Markdown table."""
    columns = ("trained_on", "frechet", "kernel", "nearest", "ssim", "perceptual")
    texts = {name: {column: f"{value:.4g}" for column, value in found.items()} for name, found in rows.items()}
    cells = [(name, *(found.get(column, "") for column in columns)) for name, found in texts.items()]
    return markdown(("pictures", *columns), cells)


DISTANCES_NOTE = (
    f"frechet and kernel: Frechet distance and 1,000 times the kernel distance between {COMPARED:,} pictures (or half of a "
    f"smaller set) and as many training pictures, in features of {features.NETWORK}; no FID, and not to be compared with "
    "one. Samples at temperature 1. nearest: root mean squared distance to the nearest training picture. ssim and "
    "perceptual: reconstructions of held-out pictures against their originals, 1 and 0 being the same. trained_on: the share "
    "of a row's pictures that the model was trained on."
)
