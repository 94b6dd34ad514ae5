"""What a trained latent space looks like: made once from the pictures, saved beside the weights, opened in no time.

Where the pictures lie (mean, covariance, a mixture of Gaussians), what each unit says (its KL), and which ways are worth
walking: named ones where the pictures have attributes, principal ones always.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vae import latents
from vae.errors import BadInput
from vae.priors import Mixture

if TYPE_CHECKING:
    from vae.storage.judges import Judge

PRIORS = ("normal", "mixture")
ACTIVE_NATS = 0.01  # a unit that says less than this on average is asleep
MIN_EFFECT = 0.6  # of a named direction that is worth a knob
MIN_SCORE = 0.7  # the same where nobody looked at what comes out
SHARES = 101
TRAIT = 0.75  # of a knob's step; at half of it a third of the bearded had no beard to be seen
TRIES = 10_000  # draws among which those with a trait are looked for
COORDINATES = 16  # by which pictures are told apart: along further directions there is more noise than difference
SPREAD = 0.3  # of what is drawn around a latent


@dataclass(frozen=True)
class Named:
    """An attribute's direction: adding vector (D,) goes from without to with, or up by one standard deviation.

    A value of a column of words is called "column=value". Where a reader looked at what comes out (measure.effects), a step turns
    nine in ten held-out pictures, or as many as can be; else effect is None, as in earlier versions, and a step is the distance
    between the means of the two groups, all other attributes being equal. effect: the share of those without it who have it at
    the high end, or the reverse if that is less. low, high: the travel, and trait: from where on a picture has it, as readings.
    drags: the other reading that a step moves most, as a share of the own one's move.
    """

    name: str
    vector: Tensor
    measure: str  # "balanced accuracy" or "correlation", on latents left out of the fit
    score: float
    share: float  # of the pictures that have it, 0 to 1; 0.5 for numbers
    effect: float | None = None
    low: float = -1.0
    high: float = 1.0
    trait: float = 0.0
    drags: tuple[str, float] | None = None

    @property
    def is_knob(self) -> bool:
        return self.score >= MIN_SCORE if self.effect is None else self.effect >= MIN_EFFECT


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
class Atlas:
    """What is known of a latent space of D units.

    kl (D,): nats. mean (D,), covariance (D, D): of the posteriors' means. directions (D, D): principal ones, a row each, of unit
    length, widest first; spreads (D,): the standard deviations along them. examples: uint8 (E, H, W, C). familiar_error: the
    mean squared error, pixels in [0, 1], that 99 % of held-out reconstructions stay under. likelihoods (Q,): the mixture's log
    density at held-out latents, from the least to the greatest, in equal shares. judge: of latents and uploads; None in older
    atlases and where few pictures are held out: then latents are judged by their density alone, uploads by their error alone.
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
    likelihoods: Tensor
    judge: "Judge | None" = None

    def typicality(self, z: Tensor) -> Tensor:
        """(N, D) -> (N,) in [0, 1]: the share of held-out latents that are less typical, as measure.verdicts says."""
        from vae.measure import verdicts

        return verdicts.of_latents(self, z.cpu()).typicality

    def principal(self, z: Tensor) -> Tensor:
        """(N, D) -> (N, D): along the principal directions, from the mean."""
        return (z - self.mean) @ self.directions.T

    def realism(self, z: Tensor) -> Tensor:
        """(N, D) -> (N,): higher for latents that are more like those of real pictures.

        The log density, up to what a tenth of the held-out latents stay under: beyond it, denser is plainer and not more real.
        """
        return self.mixture.log_prob(z.cpu()).clamp(max=float(self.likelihoods[SHARES // 10]))

    def coordinates(self, z: Tensor) -> Tensor:
        """(N, D) -> (N, at most COORDINATES): along the widest principal directions, in which pictures differ most."""
        return self.principal(z.cpu())[:, :COORDINATES]

    @property
    def active(self) -> Tensor:
        """(D,) bool: the units that say more than ACTIVE_NATS on average."""
        return self.kl > ACTIVE_NATS

    def prior(
        self,
        name: str,
        count: int,
        seed: int,
        temperature: float = 1.0,
        only: Sequence[str] = (),
        *,
        around: Tensor | None = None,
        spread: float = SPREAD,
        least: int | None = None,
    ) -> Tensor:
        """-> (count, D) from the prior called "normal" or "mixture", of those that have every trait in `only`.

        Values of one column ("label=3", "label=5") are kinds, of which one will do. around (D,): near this latent instead, as
        Mixture.around says. Of TRIES draws the traits may leave as few as `least` (by default `count`). BadInput for another
        name, for what is no trait, and where they leave fewer.
        """
        unknown = [trait for trait in only if trait not in self.traits]
        if unknown:
            raise BadInput(f"There is no trait {unknown[0]!r} here; choose of {', '.join(self.traits) or 'none'}.")
        if name not in PRIORS:
            raise BadInput(f"The prior {name!r} is unknown; choose one of {', '.join(PRIORS)}.")
        tries = TRIES if only else count
        if around is not None:
            z = self.mixture.around(around, tries, seed, spread)
        elif name == "mixture":
            z = self.mixture.sample(tries, seed, temperature)
        else:
            z = latents.sample_normal(tries, len(self.kl), seed, temperature)
        names = [row.name for row in self.named]
        for column in dict.fromkeys(trait.partition("=")[0] for trait in only):
            wanted = [trait for trait in only if trait.partition("=")[0] == column]
            readings = (z - self.mean) @ self.probes[[names.index(trait) for trait in wanted]].T
            z = z[(readings > torch.tensor([self.traits[trait] for trait in wanted])).any(dim=1)]
        if len(z) < (count if least is None else least):
            raise BadInput(f"Only {len(z)} of {TRIES:,} throws have all of that; ask for fewer pictures or traits.")
        return z[:count]

    @cached_property
    def traits(self) -> dict[str, float]:
        """The named directions of yes or no that are worth a knob, each with the reading from which on a picture has it.

        That is Named's trait, or TRAIT of the way from the mean of those without it to that of those with it.
        """
        chosen = [row for row in self.named if row.is_knob and row.measure != "correlation"]
        return {row.name: TRAIT - row.share if row.effect is None else row.trait for row in chosen}

    @cached_property
    def vectors(self) -> Tensor:
        """(A, D): the named directions."""
        return torch.stack([row.vector for row in self.named]) if self.named else torch.empty(0, len(self.kl))

    @cached_property
    def probes(self) -> Tensor:
        """(A, D): how to read each named direction, so that probes[i] @ named[i].vector is 1.

        The best linear reading under correlated latents: the direction seen through the inverse covariance (Fisher 1936).
        """
        probes = torch.linalg.solve(self.covariance + 1e-6 * torch.eye(len(self.kl)), self.vectors.T).T
        return probes / (probes * self.vectors).sum(dim=1, keepdim=True)

    @cached_property
    def entanglement(self) -> Tensor:
        """(A, A): by how many of its own steps named direction j moves when direction i moves one step; 1 for itself."""
        return self.vectors @ self.probes.T

    def dragged(self, name: str) -> tuple[str, float] | None:
        """Named.drags; where nobody looked, by the latents: another column of numbers, and how many of its own steps."""
        names = [row.name for row in self.named]
        row = self.named[names.index(name)]
        if row.effect is not None:
            return row.drags
        moved = self.entanglement[names.index(name)].abs().tolist()
        others = [pair for pair in zip(moved, names, strict=True) if pair[1] != name and "=" not in pair[1]]
        return max(others)[::-1] if others else None

    def still(self, vector: Tensor, others: list[str]) -> Tensor:
        """The vector (D,), changed as little as possible (in Mahalanobis distance) so that the readings of the others stay still.

        Others are names of named directions. Orthogonal in whitened space (Shen et al. 2020, "conditional manipulation").
        BadInput for a name that is not there, or when nothing of the vector is left.
        """
        places = {row.name: place for place, row in enumerate(self.named)}
        unknown = [name for name in others if name not in places]
        if unknown:
            raise BadInput(f"There is no named direction {unknown[0]!r} to keep still.")
        if not others:
            return vector
        probes = self.probes[[places[name] for name in others]].double()  # (L, D)
        moved = self.covariance.double() @ probes.T  # (D, L)
        kept = vector.double() - moved @ (torch.linalg.pinv(probes @ moved, rtol=1e-6) @ (probes @ vector.double()))
        if kept.norm() < 0.05 * vector.norm():
            raise BadInput("Nothing is left of this direction once the others are kept still; unlock one of them.")
        return kept.float()

    @cached_property
    def knobs(self) -> list[Knob]:
        """Named knobs, the best first; then principal directions; then the active units by what they say."""
        found = []
        chosen = [(row, probe) for row, probe in zip(self.named, self.probes, strict=True) if row.is_knob]
        # Numbers first, then the values of columns of words; of each kind the best first.
        for row, probe in sorted(chosen, key=lambda both: ("=" in both[0].name, -(both[0].effect or both[0].score))):
            label = row.name.replace("_", " ").replace("=", ": ").capitalize()
            knob = self._knob(f"named:{row.name}", label, row.vector, probe, 1.0)
            found.append(knob if row.effect is None else replace(knob, low=row.low, high=row.high))
        kept = int((self.spreads > 0.1 * self.spreads[0]).sum())
        for i, (direction, std) in enumerate(zip(self.directions[:kept], self.spreads, strict=False)):
            found.append(self._knob(f"direction:{i}", f"Direction {i + 1}", direction * std, direction / std, 3.0))
        for unit in self.kl.argsort(descending=True).tolist():
            if self.active[unit]:
                axis = torch.eye(len(self.kl))[unit]
                found.append(Knob(f"unit:{unit}", f"z{unit}", axis, axis, 0.0, -3.0, 3.0))
        return found

    def _knob(self, key: str, label: str, vector: Tensor, probe: Tensor, reach: float) -> Knob:
        std = float((probe @ self.covariance @ probe).clamp_min(0).sqrt())
        reach = max(reach, round(3 * std * 2) / 2)  # as far as nearly all pictures go, in half steps
        return Knob(key, label, vector, probe, float(self.mean @ probe), -reach, reach)
