"""Knobs by what comes out: a reader that learnt from real pictures looks at what walking along a direction draws.

A linear score says how well latents can be read, not what they draw: of people who took a step towards "glasses" one in seven
wore some. So directions learn from the reader, and their travel, effect and side effects are what it saw.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vae.atlas import Atlas, Named
from vae.data import LARGEST
from vae.device import noise_generator
from vae.measure.reader import Reader, fit_reader
from vae.measure.verdicts import errors
from vae.model import VAE, decoded, posterior_of

POOL, RARE = 3000, 100  # latents that directions are learnt from, and of each column at least so many that have it
STEPS, LEAST_STEPS, BATCH, LEARNING_RATE = 12, 200, 64, 0.03  # STEPS: for each direction
STILL = 0.1  # what moving the other readings costs, beside nats of the own one
SHORT = 0.02  # what a direction's length costs
TURNED = 0.9  # of those without who are read as with after one step, so that another reader sees it on eight in ten
ENOUGH = 0.9  # from this effect on a direction is preferred for what it leaves alone
STRANGE = 2  # times the error that 99 % are drawn again with: above it a picture is broken,
LOST = 1 / 6  # where the error is also more than this of what changed
HOME, FARTHEST, GRID = 2.0, 6.0, 1.0  # standard deviations: where nearly all lie, the longest travel, between two looks
CHOOSING, REPORTING = 60, 200  # people that are moved
AGAIN, FEWEST = 20, 10  # of them that are drawn again, and fewer that say nothing
MOST_DRAGGED = 10.0  # a share that says enough
SURE_ACCURACY, SURE_CORRELATION = 0.6, 0.5  # of a reader on held-out pictures, or what it reads is no judgement


@dataclass(frozen=True)
class Judge:
    """A model's decoder with a reader of what it draws; columns (A,) names with which of them are of 0 and 1."""

    model: VAE
    reader: Reader
    names: list[str]
    is_binary: Tensor  # (A,) bool
    is_sure: Tensor  # (A,) bool: which of them it tells in held-out pictures
    nested: set[tuple[int, int]]  # as nested says

    @property
    def bars(self) -> Tensor:
        """(A,): the reading from which on a picture has it: even odds, or a standard deviation above the mean."""
        return torch.where(self.is_binary, 0.0, 1.0)

    def others(self, place: int) -> list[int]:
        """The columns that one may drag along, of those that can be told: no values of its own column of words, none nested."""
        kinds = [name.partition("=")[0] for name in self.names]
        apart = [j for j, kind in enumerate(kinds) if kind != kinds[place] and (place, j) not in self.nested]
        return [j for j in apart if self.is_sure[j]]


def table_of(attributes: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    """Columns (N,) -> (N, A), what each named direction is about: numbers with NaN for a gap, 0 and 1 for a value of words."""
    found = []
    for name in names:
        if name in attributes:
            column = attributes[name].astype(np.float64)
            found.append(np.where(np.abs(column) < LARGEST, column, np.nan))
        else:
            key = next(key for key in attributes if name.startswith(f"{key}="))
            found.append((attributes[key] == name[len(key) + 1 :]).astype(np.float64))
    return np.stack(found, axis=1)


def nested(table: np.ndarray, is_binary: np.ndarray) -> set[tuple[int, int]]:
    """Columns (N, A) -> pairs of those of 0 and 1 where all that have one have the other, as trapper hats are hats."""
    has = ((table == 1) & is_binary).astype(np.float64)
    both = has.T @ has  # (A, A)
    same = (both == np.minimum(both.diagonal(), both.diagonal()[:, None])) & (both > 0) & ~np.eye(len(both), dtype=bool)
    return {(int(i), int(j)) for i, j in zip(*same.nonzero(), strict=True)}


def steer(judge: Judge, atlas: Atlas, table: np.ndarray, mean: Tensor, seed: int = 0) -> Tensor:
    """-> (A, D): the atlas's named directions, learnt on by what the reader sees of one step along each, up and down.

    mean (N, D): latents to start from, table (N, A) their columns. A step is to be short, in terms of the covariance, to turn
    the own reading and to leave the others, but for what goes along with it in the data (Jahanian et al. 2020, "On the
    steerability of generative adversarial networks").
    """
    generator, count = noise_generator(seed), len(atlas.named)
    factor = torch.linalg.cholesky(atlas.covariance + 1e-6 * torch.eye(len(atlas.mean)))
    apart = 1 - torch.from_numpy(np.corrcoef(table.T).reshape(count, count)).float().square()  # (A, A)
    still = torch.zeros(count, count)
    for place in range(count):
        still[place, judge.others(place)] = apart[place, judge.others(place)]
    order = torch.randperm(len(mean), generator=generator)
    rare = [order[torch.from_numpy(table[order, a] == 1)][:RARE] for a in range(count) if judge.is_binary[a]]
    pool = mean[torch.cat([order[:POOL], *rare]).unique()]
    before = judge.reader.read(decoded(judge.model, pool))  # (P, A)
    spread = before.std(dim=0).clamp_min(1e-6)
    # Who is to be turned: up those who are read without it, down those with it. Anybody where there are none, and for numbers.
    starts = [[_some(~judge.is_binary[a] | (sign * before[:, a] < 0)) for sign in (1, -1)] for a in range(count)]
    white = (
        torch.linalg.solve_triangular(factor, atlas.vectors.T, upper=False).T.contiguous().requires_grad_()
    )  # (A, D)
    steps, optimizer = max(LEAST_STEPS, STEPS * count), torch.optim.Adam([white], LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        own = torch.randint(count, (BATCH,), generator=generator)
        is_down = torch.randint(2, (BATCH,), generator=generator)
        dice = torch.rand(BATCH, generator=generator).tolist()
        chosen = [starts[a][d] for a, d in zip(own.tolist(), is_down.tolist(), strict=True)]
        rows = torch.stack([rows[int(at * len(rows))] for rows, at in zip(chosen, dice, strict=True)])
        sign = 1.0 - 2.0 * is_down
        z = pool[rows] + sign[:, None] * (white[own] @ factor.T)
        after = judge.reader(judge.model.decode(z.to(judge.model.device))).cpu()  # (B, A)
        moved = (after - before[rows]) / spread
        read, change = (part.gather(1, own[:, None])[:, 0] for part in (after, moved))
        goal = torch.where(judge.is_binary[own], F.softplus(1 - sign * read), (change - sign).square())
        dragged, length = (moved.square() * still[own]).sum(dim=1), white[own].square().sum(dim=1)
        loss = (goal + STILL * dragged + SHORT * length).mean()
        (white.grad,) = torch.autograd.grad(loss, white)  # and none of the networks' weights
        optimizer.step()
        schedule.step()
    return white.detach() @ factor.T


def _some(mask: Tensor) -> Tensor:
    """(P,) bool -> the rows where it holds; all rows where it holds nowhere."""
    return torch.nonzero(mask if mask.any() else ~mask).flatten()


@dataclass(frozen=True)
class Walk:
    """A direction of unit length and how far to go on it; lengths in standard deviations of all pictures along it.

    low, high: the ends of the travel, from the mean. step: the distance that turns TURNED of those without it, or as many as can
    be. shares: of those who are read without it, how many are turned at the high end, and the reverse at the low end. drags: as
    Named's.
    """

    vector: Tensor  # (D,)
    probe: Tensor  # (D,): (z - atlas.mean) @ probe says where z lies
    low: float
    high: float
    step: float
    shares: tuple[float, float]
    drags: tuple[str, float] | None

    @property
    def cost(self) -> float:
        """What is to be small where effects are equal: what one step drags along, and how far from home it leads."""
        return (self.drags[1] if self.drags else 0.0) + 0.5 * self.step / FARTHEST


class Walker:
    """Held-out latents (N, D) of which some people are moved along directions, to see what comes out."""

    def __init__(self, judge: Judge, atlas: Atlas, z: Tensor, people: int = CHOOSING):
        self.judge, self.atlas, self.z, self.people = judge, atlas, z, people
        self.pictures = decoded(judge.model, z)
        self.readings = judge.reader.read(self.pictures)  # (N, A)
        self.spread = self.readings.std(dim=0).clamp_min(1e-6)
        self.strange = STRANGE * float(torch.quantile(self._lost(self.pictures[:REPORTING]), 0.99))

    def walk(self, place: int, vector: Tensor) -> Walk:
        """How far one may go along the vector (D,) of a column, and what comes out.

        Each way ends where a quarter of the pictures break, or beyond HOME twice as far as TURNED of them took to turn; what
        breaks at once is left with a GRID either way, and little effect. Between two kinds lies what is neither, half of a hat:
        while fewer than TURNED have turned, a stretch of broken pictures is passed over where whole ones come after it.
        """
        probe = torch.linalg.solve(self.atlas.covariance + 1e-6 * torch.eye(len(vector)), vector)
        length = (probe @ vector).sqrt()
        walk = Walk(vector / length, probe / length, -FARTHEST, FARTHEST, FARTHEST, (0.0, 0.0), None)
        (high, step), (low, _) = self._end(place, walk, 1), self._end(place, walk, -1)
        return self.told(place, replace(walk, low=min(-low, -GRID), high=max(high, GRID), step=step))

    def told(self, place: int, walk: Walk) -> Walk:
        """The walk with what these latents say of it: shares and drags."""
        up = self._without(place, 1)
        shares = []
        for sign, end in ((1, walk.high), (-1, walk.low)):
            rows = self._without(place, sign)
            at = (self.z[rows] - self.atlas.mean) @ walk.probe  # the page's sliders bring all to one position
            shares.append(self._share(place, sign, self._drawn(rows, walk, end - at)))
        moved = (self.judge.reader.read(self._drawn(up, walk, walk.step)) - self.readings[up]) / self.spread
        size = moved.mean(dim=0).abs().tolist()  # (A,)
        most = max(self.judge.others(place), key=lambda j: size[j], default=place)
        drags = self.judge.names[most], min(size[most] / max(size[place], 1e-6), MOST_DRAGGED)
        return replace(walk, shares=(shares[0], shares[1]), drags=None if most == place else drags)

    def _without(self, place: int, sign: int) -> Tensor:
        """The rows of those who are read without it (sign 1) or with it (-1); of anybody where these are too few."""
        rows = torch.nonzero(sign * self.readings[:, place] < self.judge.bars[place]).flatten()
        return (rows if len(rows) >= FEWEST else torch.arange(len(self.z)))[: self.people]

    def _drawn(self, rows: Tensor, walk: Walk, by: Tensor | float) -> np.ndarray:
        """uint8 (M, H, W, C): what is drawn of the rows' latents, moved along the walk, each by its number of `by` (M,)."""
        return decoded(self.judge.model, self.z[rows] + torch.as_tensor(by).reshape(-1, 1) * walk.vector)

    def _share(self, place: int, sign: int, pictures: np.ndarray) -> float:
        """Of pictures (M, H, W, C) the share that is read with it (sign 1) or without it (-1)."""
        return float((sign * self.judge.reader.read(pictures)[:, place] > self.judge.bars[place]).float().mean())

    def _end(self, place: int, walk: Walk, sign: int) -> tuple[float, float]:
        """-> how far from the mean the travel goes that way, and the distance after which TURNED of those without it turn."""
        rows = self._without(place, sign)
        start = sign * float(((self.z[rows] - self.atlas.mean) @ walk.probe).mean())
        whole, before, best, step, enough = 0.0, (0.0, 0.0), (0.0, GRID), 0.0, math.inf
        far = max(FARTHEST - start, GRID)
        for distance in np.linspace(0, far, math.ceil(far / GRID) + 1)[1:].tolist():
            drawn = self._drawn(rows, walk, sign * distance)
            share = self._share(place, sign, drawn)
            is_whole = not whole or self._is_whole(rows, drawn)
            if not is_whole and (step or share >= TURNED):
                break
            if share >= TURNED and not step:
                step = before[1] + (TURNED - before[0]) / (share - before[0]) * (distance - before[1])
                enough = max(2 * step, HOME - start)
            if is_whole:
                whole, best = distance, max(best, (share, distance))
            before = (share, distance)
            if distance >= enough:
                break
        if step:
            return start + max(min(enough, whole), step), step
        return start + best[1], best[1]  # further brings no more of it

    def _is_whole(self, rows: Tensor, drawn: np.ndarray) -> bool:
        """Whether three quarters of what is drawn (M, H, W, C) of the rows' latents, once moved, can be drawn again.

        What a model has not learnt to draw comes out as something that it cannot read. Density is no judge of that: of turned
        heads that break, half keep a typicality of 0.2, and of drawn faces with a whole hat half have 0.003. And where much
        changes, as by a hat on a drawn face, more may be lost.
        """
        lost, changed = self._lost(drawn[:AGAIN]), errors(self.pictures[rows[:AGAIN]], drawn[:AGAIN])
        return float(((lost > self.strange) & (lost > LOST * changed)).float().mean()) <= 0.25

    def _lost(self, drawn: np.ndarray) -> Tensor:
        """(M, H, W, C) -> (M,): the mean squared errors when pictures are drawn again."""
        return errors(drawn, decoded(self.judge.model, posterior_of(self.judge.model, drawn).mean))


def with_effects(
    atlas: Atlas, model: VAE, pictures: tuple[np.ndarray, np.ndarray], means: tuple[Tensor, Tensor],
    attributes: tuple[dict[str, np.ndarray], dict[str, np.ndarray]], seed: int = 0,
) -> tuple[Named, ...]:  # fmt: skip
    """The atlas's named directions, learnt on by what comes out, with their effects, travels and what they drag.

    pictures, means (their latents (N, D)) and attributes: of the training set and of the held-out one.
    """
    if not atlas.named:
        return ()
    names = [row.name for row in atlas.named]
    table, truth = (table_of(columns, names) for columns in attributes)
    is_binary = np.array([row.measure != "correlation" for row in atlas.named])
    table = np.where(is_binary, table, (table - np.nanmean(table, axis=0)) / np.nanstd(table, axis=0))
    reader = fit_reader(pictures[0], table, seed, model.device)
    readings = reader.read(pictures[1]).T.numpy()
    is_sure = [_is_told(*columns) for columns in zip(readings, truth.T, is_binary, strict=True)]
    judge = Judge(model, reader, names, torch.from_numpy(is_binary), torch.tensor(is_sure), nested(table, is_binary))
    return judged(judge, atlas, np.where(np.isnan(table), np.nanmean(table, axis=0), table), *means, seed)


def _is_told(readings: np.ndarray, truth: np.ndarray, is_binary: bool) -> bool:
    """Whether readings (N,) of held-out pictures tell the truth (N,) well enough to judge by them."""
    readings, truth = readings[~np.isnan(truth)], truth[~np.isnan(truth)]
    if len(set(truth.tolist())) < 2:
        return False
    if not is_binary:
        return bool(np.corrcoef(readings, truth)[0, 1] >= SURE_CORRELATION)
    return float(np.mean([((readings > 0) == side)[truth == side].mean() for side in (0, 1)])) >= SURE_ACCURACY


def judged(judge: Judge, atlas: Atlas, table: np.ndarray, mean: Tensor, held: Tensor, seed: int) -> tuple[Named, ...]:
    """The named directions learnt on latents mean (N, D) with their columns (N, A), no gaps, and judged on held-out ones (M, D).

    Every other held-out latent decides which way and how far a knob goes; the rest say what it does there. What the reader
    cannot tell has no effect.
    """
    away = torch.from_numpy((table - table.mean(axis=0)) / table.var(axis=0)).float()
    bare = away.T @ (mean - mean.mean(dim=0)) / len(mean)  # (A, D): between the means of the two groups, nothing equal
    candidates = bare, steer(judge, atlas, table, mean, seed)
    choosing, reporting = Walker(judge, atlas, held[::2]), Walker(judge, atlas, held[1::2], REPORTING)
    found = []
    for place, row in enumerate(atlas.named):
        if not judge.is_sure[place]:
            found.append(replace(row, effect=0.0))
            continue
        walks = [choosing.walk(place, vectors[place]) for vectors in candidates]
        best = max(walks, key=lambda walk: (round(min(ENOUGH, *walk.shares), 1), -walk.cost))
        found.append(_named(row, reporting.told(place, best), (mean - atlas.mean) @ best.probe))
    return tuple(found)


def _named(row: Named, walk: Walk, at: Tensor) -> Named:
    """The direction of a walk, a step as its unit. at (N,): where pictures lie along it.

    Of as many as have it, those half that lie farthest are said to: a way that draws well is no sharp reading. Of blond ones
    that are drawn so on faces 59 % are blond, of those beyond three quarters of the way from mean to mean 32 %.
    """
    return replace(
        row,
        vector=walk.step * walk.vector,
        effect=round(min(walk.shares), 3),
        low=round(walk.low / walk.step, 2),
        high=round(walk.high / walk.step, 2),
        trait=round(float(at.quantile(1 - row.share / 2)) / walk.step, 3),
        drags=walk.drags and (walk.drags[0], round(walk.drags[1], 2)),
    )
