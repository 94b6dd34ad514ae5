"""The atlas of a trained model, from pictures: made once, saved beside the weights."""

import math
import warnings
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vae.atlas import SHARES, Atlas
from vae.device import noise_generator
from vae.measure.directions import fit_named
from vae.measure.effects import with_effects
from vae.measure.typical import fit_judge
from vae.measure.verdicts import errors
from vae.model import VAE, decoded, posterior_of
from vae.priors import COMPONENTS, Mixture

MIN_GAIN = 0.01  # nats per latent that more components must bring: less is chance
FIT_LATENTS = 30_000
EXAMPLES = 10
DRAWN_EXAMPLES, DRAWN_TEMPERATURE = 500, 0.7  # where examples are drawn: many, and none too bold


def fit_atlas(
    model: VAE,
    pictures: np.ndarray,
    attributes: dict[str, np.ndarray] | None = None,
    *,
    heldout: np.ndarray,
    labels: np.ndarray | None = None,
    told: dict[str, np.ndarray] | None = None,
    first: int | None = None,
    may_show: bool = True,
    seed: int = 0,
    others: np.ndarray | None = None,
) -> Atlas:
    """The atlas of a model from uint8 pictures (N, H, W, C) and, where there are any, their attributes (N,).

    heldout: pictures that calibrate what is familiar and that a visitor may start from; labels (of heldout): their kinds; told:
    their attributes, where a reader is to look at what the named directions draw (minutes for 20,000 pictures); first: the row
    of the one to begin with; others: pictures of other sets, as fit_judge takes them. Where may_show is false, a visitor starts
    from pictures that the model drew itself.
    """
    posterior, of_heldout = posterior_of(model, pictures), posterior_of(model, heldout)
    mean = posterior.mean
    center = mean.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov(mean.T.double()).reshape(len(center), len(center)))
    directions = vectors.T.flip(0).float()
    strongest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    directions = directions * strongest.sign()  # eigenvectors have no sign of their own: the largest entry is positive
    mixture = fit_mixture(posterior.sample(noise_generator(seed)), seed)
    again = decoded(model, of_heldout.mean)
    if may_show:
        examples = heldout[telling(mixture, of_heldout.mean, heldout, again, labels, first)]
    else:
        drawn = mixture.sample(DRAWN_EXAMPLES, seed, DRAWN_TEMPERATURE)
        shown = decoded(model, drawn)
        examples = shown[telling(mixture, drawn, shown, decoded(model, posterior_of(model, shown).mean))]
    atlas = Atlas(
        kl=posterior.kl().mean(dim=0),
        mean=center,
        covariance=torch.cov(mean.T).reshape(len(center), len(center)),
        directions=directions.contiguous(),
        spreads=values.flip(0).clamp_min(0).sqrt().float(),
        named=fit_named(mean, attributes or {}),
        mixture=mixture,
        examples=np.ascontiguousarray(examples),
        familiar_error=float(torch.quantile(errors(heldout, again), 0.99)),
        likelihoods=torch.quantile(
            mixture.log_prob(of_heldout.sample(noise_generator(seed))), torch.linspace(0, 1, SHARES)
        ),
    )
    if told is not None:
        parts = (pictures, heldout), (mean, of_heldout.mean), (attributes or {}, told)
        atlas = replace(atlas, named=with_effects(atlas, model, *parts, seed))
    return replace(atlas, judge=fit_judge(model, atlas, pictures, posterior, heldout, of_heldout, others, seed))


def telling(
    mixture: Mixture,
    z: Tensor,
    pictures: np.ndarray,
    again: np.ndarray,
    labels: np.ndarray | None = None,
    first: int | None = None,
) -> list[int]:
    """Latents (N, D), their uint8 pictures (N, H, W, C) and those remade -> at most EXAMPLES rows that show what a model can do.

    They are of the half that is remade best for its contrast, of this the half that is likeliest under the mixture, of this the
    half with most colour, contrast and light. Where the labels (N,) are few and none is missing: of each the most vivid, in
    their order. Else the most vivid, then always the one that is farthest from those chosen, in whitened latents. first: a row
    to begin with.
    """
    vivid = np.array([p.std((0, 1)).mean() + np.ptp(p, 2).mean() + p.mean() / 2 for p in pictures])
    blur = errors(pictures, again).numpy() / [p.var() + 1 for p in pictures]
    qualities = (-blur, mixture.log_prob(z).numpy(), vivid)

    def best(rows: np.ndarray, least: int) -> np.ndarray:
        for quality in qualities:
            rows = rows[np.argsort(-quality[rows], kind="stable")[: max(least, len(rows) // 2)]]
        return rows  # the most vivid first

    chosen = [] if first is None else [first]
    if labels is not None and len(set(labels)) <= EXAMPLES and (labels == labels).all():  # a gap is NaN, unlike itself
        left = sorted(set(labels) - set(labels[chosen]))
        return chosen + [int(best(np.flatnonzero(labels == label), 1)[0]) for label in left]
    rows = best(np.arange(len(z)), EXAMPLES)
    rows = np.array([*chosen, *rows[rows != first]])
    spread = torch.cov(z.T.double(), correction=0).reshape(z.shape[1], -1)
    spread += (1e-3 * spread.trace() / len(spread) + 1e-9) * torch.eye(len(spread))
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(spread), z[rows].T.double(), upper=False).T
    apart, places = torch.full((len(rows),), torch.inf, dtype=torch.float64), [0]
    while len(places) < min(EXAMPLES, len(rows)):
        apart = apart.minimum((white - white[places[-1]]).norm(dim=1))
        apart[places] = -1  # also where others are the same
        places.append(int(apart.argmax()))
    return rows[places].tolist()


def fit_mixture(z: Tensor, seed: int = 0) -> Mixture:
    """(N, D) posterior samples -> a mixture fitted by scikit-learn on whitened data, taken back to latent space.

    Samples, not means: the decoder has learnt to read latents with their noise. As many components as the likelihood of a
    held-out fifth wants, trying ever more until it twice fails to rise.
    """
    from sklearn.exceptions import ConvergenceWarning  # sklearn takes a second to import, and only fitting needs it
    from sklearn.mixture import GaussianMixture

    z = z.double()
    center, covariance = z.mean(dim=0), torch.cov(z.T).reshape(z.shape[1], z.shape[1])
    whitener = torch.linalg.cholesky(covariance + 1e-9 * torch.eye(len(center)))
    white = torch.linalg.solve_triangular(whitener, (z - center).T, upper=False).T.numpy()
    white = white[np.random.default_rng(seed).permutation(len(white))[:FIT_LATENTS]]
    judged, learnt = np.split(white, [len(white) // 5])

    def fit(count: int, rows: np.ndarray) -> GaussianMixture:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # where EM stops short, the held-out likelihood says so
            return GaussianMixture(count, reg_covar=1e-3, max_iter=60, tol=1e-3, random_state=seed).fit(rows)

    best, best_score, falls = 1, -math.inf, 0
    for count in COMPONENTS:
        if count * (len(center) + 2) > len(learnt):  # fewer rows than a component needs to have a covariance at all
            break
        score = fit(count, learnt).score(judged)
        is_better = score > best_score + MIN_GAIN
        falls = 0 if is_better else falls + 1
        if is_better:
            best, best_score = count, score
        if falls == 2:
            break
    fitted = fit(best, white)
    means = torch.from_numpy(fitted.means_) @ whitener.T + center
    factors = torch.linalg.cholesky(whitener @ torch.from_numpy(fitted.covariances_) @ whitener.T)
    return Mixture(torch.from_numpy(fitted.weights_).float(), means.float(), factors.float().contiguous())
