"""The atlas of a trained model, from pictures: made once, saved beside the weights."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vae.atlas import SHARES, Atlas
from vae.device import noise_generator
from vae.measure.directions import fit_named
from vae.measure.typical import fit_judge
from vae.model import VAE, decoded, posterior_of
from vae.priors import fit_mixture
from vae.typicality import errors

EXAMPLES = 10
DRAWN_EXAMPLES, DRAWN_TEMPERATURE = 500, 0.7  # where examples are drawn: many, and none too bold


def fit_atlas(
    model: VAE,
    pictures: np.ndarray,
    attributes: dict[str, np.ndarray] | None = None,
    *,
    heldout: np.ndarray,
    labels: np.ndarray | None = None,
    first: int | None = None,
    may_show: bool = True,
    seed: int = 0,
    others: Sequence[np.ndarray] = (),
) -> Atlas:
    """The atlas of a model from uint8 pictures (N, H, W, C) and, where there are any, their attributes (N,).

    heldout: pictures that calibrate what is familiar and that a visitor may start from; labels (of heldout): their kinds;
    first: the row of the one to begin with; others: pictures of other sets in the model's form, which fit_judge learns from.
    Where may_show is false, a visitor starts from pictures that the model drew itself.
    """
    posterior, of_heldout = posterior_of(model, pictures), posterior_of(model, heldout)
    mean = posterior.mean
    center = mean.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov(mean.T.double()).reshape(len(center), len(center)))
    directions = vectors.T.flip(0).float()
    strongest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    directions = directions * strongest.sign()  # eigenvectors have no sign of their own: the largest entry is positive
    mixture = fit_mixture(posterior.sample(noise_generator(seed)), seed)
    if may_show:
        rows = typical(of_heldout.mean, labels, seed)
        examples = heldout[rows if first is None else [first, *(row for row in rows if row != first)][: len(rows)]]
    else:
        drawn = mixture.sample(DRAWN_EXAMPLES, seed, DRAWN_TEMPERATURE)
        examples = decoded(model, drawn[typical(drawn, seed=seed)])
    atlas = Atlas(
        kl=posterior.kl().mean(dim=0),
        mean=center,
        covariance=torch.cov(mean.T).reshape(len(center), len(center)),
        directions=directions.contiguous(),
        spreads=values.flip(0).clamp_min(0).sqrt().float(),
        named=fit_named(mean, attributes or {}),
        mixture=mixture,
        examples=np.ascontiguousarray(examples),
        familiar_error=float(torch.quantile(errors(heldout, decoded(model, of_heldout.mean)), 0.99)),
        likelihoods=torch.quantile(
            mixture.log_prob(of_heldout.sample(noise_generator(seed))), torch.linspace(0, 1, SHARES)
        ),
    )
    known = (posterior, of_heldout)
    return replace(atlas, judge=fit_judge(model, atlas, pictures, heldout, others=others, seed=seed, known=known))


def typical(mean: Tensor, labels: np.ndarray | None = None, seed: int = 0) -> list[int]:
    """(N, D) posterior means -> at most EXAMPLES rows that stand for all: of each kind the one nearest to its middle.

    Kinds are the labels (N,) where there are few and none is missing, in their order; else clusters (scikit-learn's k-means),
    the largest first.
    """
    from sklearn.cluster import KMeans

    count = min(EXAMPLES, len(mean))
    if labels is not None and len(set(labels)) <= count and (labels == labels).all():  # a gap is NaN, unlike itself
        kinds, order = labels, sorted(set(labels))
    else:
        kinds = KMeans(count, n_init=1, random_state=seed).fit_predict(mean.numpy())
        order = sorted(set(kinds), key=lambda kind: -(kinds == kind).sum())
    chosen = []
    for kind in order:
        rows = np.flatnonzero(kinds == kind)
        chosen.append(int(rows[(mean[rows] - mean[rows].mean(dim=0)).norm(dim=1).argmin()]))
    return chosen
