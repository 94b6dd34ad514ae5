"""What a trained latent space looks like: made once from the pictures, saved beside the weights, opened in no time.

Where the pictures lie (mean, covariance, a mixture of Gaussians), what each unit says (its KL), and which ways are worth
walking: named ones where the pictures have attributes, principal ones always.
"""

import json
import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from vae import latents
from vae.device import noise_generator
from vae.errors import BadInput
from vae.model import VAE, to_tensor

PRIORS = ("normal", "mixture")
ACTIVE_NATS = 0.01  # a unit that says less than this on average is asleep
COMPONENTS = (1, 2, 4, 8, 16, 32, 64, 128)
MIN_GAIN = 0.01  # nats per latent that more components must bring: less is chance
FIT_LATENTS = 30_000
MIN_SCORE = 0.6  # of a named direction that is worth a knob
MIN_EXAMPLES = 50  # of each side of an attribute, or no knob is made of it
EXAMPLES = 10
BATCH = 250


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture with full covariances: weights (K,), means (K, D), factors (K, D, D), lower Cholesky."""

    weights: Tensor
    means: Tensor
    factors: Tensor

    def sample(self, count: int, seed: int, temperature: float = 1.0) -> Tensor:
        """-> (count, D). The temperature scales the spread within each component, not the choice among them."""
        temperature = latents.check_temperature(temperature)
        generator = noise_generator(seed)
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator)
        return self.means[chosen] + temperature * torch.einsum("nij,nj->ni", self.factors[chosen], noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """(N, D) -> (N,): log density in nats."""
        residual = z[None] - self.means[:, None]  # (K, N, D)
        whitened = torch.linalg.solve_triangular(self.factors, residual.transpose(1, 2), upper=False)  # (K, D, N)
        log_det = self.factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)  # (K,)
        constant = 0.5 * z.shape[1] * math.log(2 * math.pi)
        each = -0.5 * whitened.square().sum(dim=1) - log_det[:, None] - constant  # (K, N)
        return torch.logsumexp(each + self.weights.log()[:, None], dim=0)


@dataclass(frozen=True)
class Knob:
    """A way to walk, and how to read where one stands: z reads z @ probe - offset, and moving by d adds d * vector.

    vector @ probe is 1; the average picture reads 0. low and high bound what is worth showing.
    """

    key: str  # "named:glasses", "direction:0" or "unit:17"
    label: str
    vector: Tensor  # (D,)
    probe: Tensor  # (D,)
    offset: float
    low: float
    high: float

    @property
    def kind(self) -> str:
        return self.key.partition(":")[0]


@dataclass(frozen=True)
class Named:
    """An attribute's direction: adding vector (D,) goes from without to with, or up by one standard deviation."""

    name: str
    vector: Tensor
    measure: str  # "balanced accuracy" or "correlation", on latents left out of the fit
    score: float


@dataclass(frozen=True)
class Atlas:
    """kl (D,) nats; mean (D,) and covariance (D, D) of the aggregate posterior; directions (D, D), a row each, unit

    length, widest first, with spreads (D,), the standard deviations along them; examples uint8 (E, H, W, C);
    familiar_error: the mean squared error, pixels in [0, 1], that 99 % of held-out reconstructions stay under.
    """

    kl: Tensor
    mean: Tensor
    covariance: Tensor
    directions: Tensor
    spreads: Tensor
    named: tuple[Named, ...]
    mixture: Mixture
    examples: np.ndarray
    familiar_error: float

    @property
    def active(self) -> Tensor:
        """(D,) bool: the units that say more than ACTIVE_NATS on average."""
        return self.kl > ACTIVE_NATS

    def prior(self, name: str, count: int, seed: int, temperature: float = 1.0) -> Tensor:
        """-> (count, D) from the prior called "normal" or "mixture". BadInput for another name."""
        if name == "normal":
            return latents.sample_normal(count, len(self.kl), seed, temperature)
        if name == "mixture":
            return self.mixture.sample(count, seed, temperature)
        raise BadInput(f"The prior {name!r} is unknown; choose one of {', '.join(PRIORS)}.")

    def knobs(self) -> list[Knob]:
        """Named knobs, the best told first; then principal directions; then the active units by what they say."""
        return self._knobs

    @cached_property
    def _knobs(self) -> list[Knob]:
        found = []
        for row in sorted((row for row in self.named if row.score >= MIN_SCORE), key=lambda row: -row.score):
            # The best linear reading under correlated latents: the direction seen through the inverse covariance.
            probe = torch.linalg.solve(self.covariance + 1e-6 * torch.eye(len(self.kl)), row.vector)
            probe = probe / (probe @ row.vector)
            found.append(
                self._knob(f"named:{row.name}", row.name.replace("_", " ").capitalize(), row.vector, probe, 1.0)
            )
        kept = int((self.spreads > 0.1 * self.spreads[0]).sum())
        for i, (direction, spread) in enumerate(zip(self.directions[:kept], self.spreads, strict=False)):
            found.append(
                self._knob(f"direction:{i}", f"Direction {i + 1}", direction * spread, direction / spread, 3.0)
            )
        for unit in self.kl.argsort(descending=True).tolist():
            if self.active[unit]:
                axis = torch.eye(len(self.kl))[unit]
                found.append(Knob(f"unit:{unit}", f"z{unit}", axis, axis, 0.0, -3.0, 3.0))
        return found

    def _knob(self, key: str, label: str, vector: Tensor, probe: Tensor, reach: float) -> Knob:
        spread = float((probe @ self.covariance @ probe).clamp_min(0).sqrt())
        reach = max(reach, round(3 * spread * 2) / 2)  # as far as nearly all pictures go, in half steps
        return Knob(key, label, vector, probe, float(self.mean @ probe), -reach, reach)

    def save(self, folder: Path) -> None:
        """Writes atlas.safetensors and atlas.json into the folder."""
        tensors = {name: getattr(self, name) for name in ("kl", "mean", "covariance", "directions", "spreads")}
        tensors |= {f"mixture.{name}": getattr(self.mixture, name) for name in ("weights", "means", "factors")}
        tensors["examples"] = torch.from_numpy(self.examples)
        if self.named:
            tensors["named"] = torch.stack([row.vector for row in self.named])
        safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "atlas.safetensors")
        words = {
            "familiar_error": self.familiar_error,
            "named": [{"name": row.name, "measure": row.measure, "score": row.score} for row in self.named],
        }
        (folder / "atlas.json").write_text(json.dumps(words, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Atlas":
        """From a folder that save wrote to. BadInput where a part is missing, damaged or of the wrong shape."""
        try:
            words = json.loads((folder / "atlas.json").read_text(encoding="utf-8"))
            tensors = safetensors.torch.load_file(folder / "atlas.safetensors")
            units, parts = len(tensors["kl"]), len(tensors["mixture.weights"])
            shapes = {
                "kl": (units,), "mean": (units,), "covariance": (units, units), "directions": (units, units),
                "spreads": (units,), "mixture.weights": (parts,), "mixture.means": (parts, units),
                "mixture.factors": (parts, units, units), "examples": tuple(tensors["examples"].shape),
            }  # fmt: skip
            if words["named"]:
                shapes["named"] = (len(words["named"]), units)
            if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != shapes:
                raise ValueError("shapes differ")
            if len(shapes["examples"]) != 4 or tensors["examples"].dtype != torch.uint8 or not shapes["examples"][0]:
                raise ValueError("examples are no pictures")
            if not all(tensor.isfinite().all() for tensor in tensors.values()):
                raise ValueError("values that are no numbers")
            if not (tensors["mixture.weights"] > 0).all():
                raise ValueError("weights that are not positive")
            named = tuple(
                Named(str(row["name"]), vector, str(row["measure"]), float(row["score"]))
                for row, vector in zip(words["named"], tensors.get("named", ()), strict=True)
            )
            rest = {name: tensors[name].float() for name in ("kl", "mean", "covariance", "directions", "spreads")}
            mixture = Mixture(*(tensors[f"mixture.{name}"].float() for name in ("weights", "means", "factors")))
            return cls(
                **rest, named=named, mixture=mixture, examples=tensors["examples"].numpy(),
                familiar_error=float(words["familiar_error"]),
            )  # fmt: skip
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"The atlas in {folder} is missing or damaged.") from error


def chart(
    model: VAE,
    pictures: np.ndarray,
    attributes: dict[str, np.ndarray] | None = None,
    *,
    heldout: np.ndarray,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> Atlas:
    """The atlas of a model from uint8 pictures (N, H, W, C) and, where there are any, their attributes (N,).

    heldout: pictures that calibrate what is familiar and that a visitor may start from; labels (of heldout): their kinds.
    """
    mean, spread = _encode(model, pictures)  # (N, D) twice
    kl = 0.5 * (mean.square() + spread.square() - 1 - 2 * spread.log()).mean(dim=0)
    center = mean.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov(mean.T.double()).reshape(len(center), len(center)))
    directions = vectors.T.flip(0).float()
    strongest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    directions = directions * strongest.sign()  # eigenvectors have no sign of their own: the largest entry is positive
    z = mean + spread * torch.randn(mean.shape, generator=noise_generator(seed))
    return Atlas(
        kl=kl,
        mean=center,
        covariance=torch.cov(mean.T).reshape(len(center), len(center)),
        directions=directions.contiguous(),
        spreads=values.flip(0).clamp_min(0).sqrt().float(),
        named=fit_named(mean, attributes or {}),
        mixture=fit_mixture(z, seed),
        examples=np.ascontiguousarray(heldout[typical(_encode(model, heldout)[0], labels, seed)]),
        familiar_error=float(torch.quantile(_errors(model, heldout), 0.99)),
    )


def _encode(model: VAE, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        found = [model.encode(to_tensor(part, model.device)) for part in _batches(pictures)]
    return torch.cat([p.mean for p in found]).cpu(), torch.cat([(0.5 * p.logvar).exp() for p in found]).cpu()


def _errors(model: VAE, pictures: np.ndarray) -> Tensor:
    """uint8 (N, H, W, C) -> (N,): mean squared error of each reconstruction, pixels in [0, 1]."""
    with torch.inference_mode():
        batches = (to_tensor(part, model.device) for part in _batches(pictures))
        return torch.cat(
            [(model.decode(model.encode(x).mode()) - x).square().mean(dim=(1, 2, 3)).cpu() for x in batches]
        )


def _batches(pictures: np.ndarray):
    return (pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH))


def typical(mean: Tensor, labels: np.ndarray | None = None, seed: int = 0) -> list[int]:
    """(N, D) posterior means -> at most EXAMPLES rows that stand for all: of each kind the one nearest to its middle.

    Kinds are the labels (N,) where there are few, in their order; else clusters (scikit-learn's k-means), and the one nearest
    to the middle of everything comes first.
    """
    from sklearn.cluster import KMeans

    count = min(EXAMPLES, len(mean))
    has_labels = labels is not None and len(set(labels)) <= count
    kinds = labels if has_labels else KMeans(count, n_init=1, random_state=seed).fit_predict(mean.numpy())
    chosen = []
    for kind in sorted(set(kinds)):
        rows = np.flatnonzero(kinds == kind)
        chosen.append(int(rows[(mean[rows] - mean[rows].mean(dim=0)).norm(dim=1).argmin()]))
    return chosen if has_labels else sorted(chosen, key=lambda row: float((mean[row] - mean.mean(dim=0)).norm()))


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
    return Mixture(torch.from_numpy(fitted.weights_).float(), means.float(), factors.float())


def fit_named(mean: Tensor, attributes: dict[str, np.ndarray]) -> tuple[Named, ...]:
    """(N, D) posterior means and columns (N,) -> a direction for each column of numbers that varies enough.

    One ridge regression of the latents on all columns at once: a difference of means for "smile" would carry along
    whatever goes with smiling in the data. A column of 0 and 1 moves from 0 to 1, any other by a standard deviation.
    Each is scored on a tenth of the rows that the fit did not see.
    """
    columns = {name: values.astype(np.float64) for name, values in attributes.items() if _is_usable(values)}
    if not columns:
        return ()
    table = np.stack(list(columns.values()), axis=1)  # (N, A)
    steps = np.array([1.0 if _is_binary(column) else column.std() for column in table.T])
    held = len(table) // 10
    design = (table - table.mean(axis=0)) / table.std(axis=0)
    z = mean.double().numpy() - mean.double().numpy().mean(axis=0)

    def ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.linalg.solve(x.T @ x + 1e-3 * len(x) * np.eye(x.shape[1]), x.T @ y)

    vectors = ridge(design[held:], z[held:]) / table.std(axis=0)[:, None] * steps[:, None]  # (A, D)
    readings = z @ ridge(z[held:], design[held:])  # (N, A)
    named = []
    for i, name in enumerate(columns):
        truth, reading, learnt = table[:held, i], readings[:held, i], readings[held:, i]
        if _is_binary(table[:, i]):
            is_one = table[held:, i] > 0.5
            above = reading > 0.5 * (learnt[is_one].mean() + learnt[~is_one].mean())
            parts = [np.mean(above[truth == side] == bool(side)) for side in (0, 1) if (truth == side).any()]
            measure, score = "balanced accuracy", float(np.mean(parts))
        else:
            measure, score = "correlation", float(np.corrcoef(truth, reading)[0, 1])
        named.append(Named(name, torch.from_numpy(vectors[i]).float(), measure, score))
    return tuple(named)


def _is_binary(column: np.ndarray) -> bool:
    return bool(np.isin(column, (0, 1)).all())


def _is_usable(values: np.ndarray) -> bool:
    if values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        return False
    if _is_binary(values):
        return min((values == 0).sum(), (values == 1).sum()) >= MIN_EXAMPLES
    return len(values) >= 2 * MIN_EXAMPLES and values.std() > 0
