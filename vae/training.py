"""Training: a recipe and pictures in, a stream of Progress out.

The set lives on the device as uint8; batches are cut, flipped and scaled there, so no worker process is needed. All
randomness of step s comes from a generator seeded with (seed, s) and goes in as tensors: a run that is stopped and resumed
draws what it would have drawn, and on the same machine and thread count ends with the same weights.
"""

import functools
import math
import time
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae import device as devices
from vae.errors import BadInput
from vae.losses import negative_elbo
from vae.model import VAE, to_tensor
from vae.priors import Mixture
from vae.recipe import TrainConfig

if typing.TYPE_CHECKING:
    from vae.runs.report import Progress
    from vae.runs.run import Run

SAVE_SECONDS = 60


def train(
    recipe: TrainConfig,
    pictures: np.ndarray,
    *,
    heldout: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    preview: np.ndarray | None = None,
    model: VAE | None = None,
    run_file: Path | None = None,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    device: str | None = None,
    precision: str | None = None,
    report_seconds: float = 0.5,
    preview_seconds: float = 2.0,
) -> "Iterator[Progress]":
    """Trains on uint8 pictures (N, H, W, C) and yields Progress every report_seconds; the last has done=True.

    heldout: pictures whose loss is measured now and then. weight (H, W): how much each pixel weighs, as in losses.gaussian.
    preview: pictures to show through the model. model: what learns, in place of the recipe's own. run_file: where the run's
    state is kept, every minute and at the end, so that resume=True goes on from it. stop is asked before each step. A loss or
    weight that is no finite number sets the run back to its last good state with a smaller rate; BadInput when that does not
    help, or when the pictures do not fit the recipe.
    """
    from vae.runs import state
    from vae.runs.report import Report
    from vae.runs.run import Guard, Run

    check(recipe, pictures)
    target = devices.pick(device)
    run = Run(recipe, target, model)
    steps = Steps(run, recipe, on_device(pictures, target), devices.precision(precision), weight)
    which = state.fingerprint(pictures) if run_file else ""
    is_found = run_file is not None and run_file.exists()
    if resume and run_file is not None and is_found:
        state.load(run, run_file, recipe, which)
    guard, report = Guard(run), Report(run, recipe, steps, heldout, preview)
    if resume and not is_found:
        report.note = f"There is nothing to resume at {run_file}: the run starts anew."
    length = recipe.steps or (max(1, round(recipe.epochs * steps.per_epoch)) if recipe.epochs else 0)
    saved = reported = clock = time.perf_counter()
    sums = report.empty()
    while True:
        fraction = run.step / length if length else run.seconds / (60 * recipe.minutes)
        over = fraction >= 1 or stop()
        now = schedule(recipe, fraction)
        if not over:
            sums += steps.take(now)
        spent, clock = time.perf_counter() - clock, time.perf_counter()
        run.seconds += spent
        is_due, is_saved = over or clock - reported >= report_seconds, over or clock - saved >= SAVE_SECONDS
        if not (is_due or guard.is_due()):
            continue
        if not sums.isfinite().all() or ((is_saved or guard.is_due()) and not run.is_finite()):
            report.note = guard.go_back(recipe.learning_rate)
            steps.forget()
            sums, report.step = report.empty(), run.step
            continue
        if guard.is_due():
            guard.remember()
        if not is_due:
            continue
        seconds_left = (
            run.seconds / max(run.step, 1) * (length - run.step) if length else 60 * recipe.minutes - run.seconds
        )
        progress = report.progress(sums, now, fraction, seconds_left, over)
        if over or clock - report.previewed >= preview_seconds:
            report.show(progress)
        run.seconds += time.perf_counter() - clock
        if run_file is not None and is_saved:
            state.save(run, run_file, recipe, which)
            saved = time.perf_counter()
        yield progress
        if over:
            return
        sums, reported = report.empty(), time.perf_counter()
        clock = reported  # whoever reads the Progress may take their time: it is not the run's


def check(recipe: TrainConfig, pictures: np.ndarray) -> None:
    """BadInput where these pictures cannot be learnt from by this recipe, or a package that it wants is missing."""
    recipe.model.check(pictures)
    if len(pictures) < 2:
        raise BadInput(f"There are {len(pictures)} pictures to learn from; give at least two.")
    sharpen = recipe.sharpen
    if recipe.perceptual or (sharpen.share and (sharpen.perceptual or sharpen.jury)):
        from vae.measure import features

        features.require(features.TEACHER)


@dataclass(frozen=True)
class Schedule:
    """What a place in a run asks for."""

    is_sharpening: bool
    learning_rate: float
    beta: float


def schedule(recipe: TrainConfig, fraction: float) -> Schedule:
    """The share of the run that is done -> what the next step asks for.

    In each of both phases, the VAE's and sharpening's, the learning rate rises in a straight line over the warm-up and falls
    along half a cosine to 0 (Loshchilov and Hutter 2017). beta rises from 0 over kl_warmup of the VAE's phase.
    """
    begin = 1 - recipe.sharpen.share
    is_sharpening = recipe.sharpen.share > 0 and fraction >= begin
    progress = (fraction - begin) / recipe.sharpen.share if is_sharpening else fraction / begin
    share = (progress + 1e-3) / (recipe.warmup + 1e-3)
    if progress >= recipe.warmup:
        share = 0.5 * (1 + math.cos(math.pi * (progress - recipe.warmup) / max(1 - recipe.warmup, 1e-9)))
    rate = recipe.sharpen.learning_rate if is_sharpening else recipe.learning_rate
    warm = 1.0 if is_sharpening or not recipe.kl_warmup else min(1.0, progress / recipe.kl_warmup)
    return Schedule(is_sharpening, rate * share, recipe.beta * warm)


class Steps:
    """Takes a run's steps, one at a time, on batches of pictures (N, H, W, C) uint8 that lie on its device."""

    def __init__(
        self, run: "Run", recipe: TrainConfig, pictures: Tensor, dtype: torch.dtype, weight: np.ndarray | None = None
    ):
        self.run, self.recipe, self.pictures, self.dtype = run, recipe, pictures, dtype
        self.weight = torch.ones(pictures.shape[1:3]) if weight is None else torch.from_numpy(weight).float()
        self.batch = min(recipe.batch, len(pictures))
        self.per_epoch = len(pictures) // self.batch
        self.epoch, self.order = -1, torch.empty(0)
        self.recorded: dict[tuple[bool, float], Callable[[dict[str, Tensor]], Tensor]] = {}
        self.prior: Mixture | None = None  # what samples will come from; sharpening leaves the encoder as it is
        self.prior_step = 0  # when it was fitted

    def take(self, now: Schedule) -> Tensor:
        """One update -> [loss, reconstruction, kl, gradient norm, critic's loss, kl of each unit], in nats."""
        run, recipe = self.run, self.recipe
        generator = devices.noise_of(recipe.seed, run.step)
        inputs = {
            "mirrored": torch.rand(self.batch, generator=generator) < 0.5,
            "noise": torch.randn(self.batch, recipe.model.latent, generator=generator),
            "learning_rate": torch.tensor(now.learning_rate * run.rate_scale),
            "beta": torch.tensor(now.beta),
            "weight": self.weight,
            "decay": torch.tensor(min(recipe.ema, (1 + run.step) / (10 + run.step))),  # young averages follow closely
        }
        update: Callable[[dict[str, Tensor]], Tensor] = functools.partial(vae_step, run, recipe, self.dtype)
        penalty = 0.0
        if now.is_sharpening:
            from vae.sharpen import step

            if recipe.sharpen.unpaired == "mixture" and self.prior is None:
                self.prior, self.prior_step = step.prior_of(run, recipe, self.pictures), run.step
            inputs |= step.inputs_of(recipe, generator, self.batch, self.prior)
            penalty = step.penalty_at(run.step)
            update = functools.partial(step.sharpen_step, run, recipe, self.dtype, penalty)
        is_gpu = self.pictures.device.type == "cuda"
        inputs = {name: tensor.to(self.pictures.device, non_blocking=is_gpu) for name, tensor in inputs.items()}
        inputs["rows"] = self.pictures[self._rows()]
        if is_gpu:
            from vae.runs.recorded import Recorded

            key = now.is_sharpening, penalty
            if key not in self.recorded:
                self.recorded[key] = Recorded(run, update, inputs)
            update = self.recorded[key]
        figures = update(inputs)
        run.step += 1
        return figures

    def _rows(self) -> Tensor:
        epoch, place = divmod(self.run.step, self.per_epoch)
        if epoch != self.epoch:
            order = torch.randperm(len(self.pictures), generator=devices.noise_of(self.recipe.seed, -1 - epoch))
            self.epoch, self.order = epoch, order.to(self.pictures.device)
        return self.order[place * self.batch : (place + 1) * self.batch]

    def forget(self) -> None:
        """After the run went back: the prior of an encoder that is gone is fitted anew."""
        if self.run.step < self.prior_step:
            self.prior = None


def vae_step(run: "Run", recipe: TrainConfig, dtype: torch.dtype, inputs: dict[str, Tensor]) -> Tensor:
    """One update of the VAE, as Steps.take says; arithmetic alone, so that it can be recorded on a GPU and replayed."""
    x = batch_of(recipe, inputs)
    with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
        logits, posterior = run.model(x, noise=inputs["noise"])
    terms = negative_elbo(
        logits.float(), x, posterior, recipe.model, inputs["beta"], recipe.free_bits, inputs["weight"]
    )
    loss = terms.loss
    if recipe.perceptual:
        from vae.sharpen.teacher import perceptual_loss

        loss = loss + recipe.perceptual * x[0].numel() * perceptual_loss(torch.sigmoid(logits.float()), x)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip)
    set_learning_rate(run.optimizer, inputs["learning_rate"])
    run.optimizer.step()
    follow(run, inputs["decay"], terms.sigma)
    zero = torch.zeros_like(norm)
    return torch.cat([torch.stack([terms.loss, terms.reconstruction, terms.kl, norm, zero]), terms.unit_kl]).detach()


def batch_of(recipe: TrainConfig, inputs: dict[str, Tensor]) -> Tensor:
    """rows (B, H, W, C) uint8 -> (B, C, H, W) in [0, 1], half of them mirrored where the recipe says so."""
    x = to_tensor(inputs["rows"], inputs["rows"].device)
    return torch.where(inputs["mirrored"][:, None, None, None], x.flip(3), x) if recipe.flip else x


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: Tensor) -> None:
    group = optimizer.param_groups[0]
    if isinstance(group["lr"], Tensor):
        group["lr"].copy_(rate)
    else:
        group["lr"] = float(rate)


@torch.no_grad()
def follow(run: "Run", decay: Tensor, sigma: Tensor | None) -> None:
    """The averaged weights go a little after the ones that learn; buffers, such as running statistics, are taken over."""
    average: list[Tensor] = list(run.average.parameters())
    learning: list[Tensor] = list(run.model.parameters())
    ahead = list(torch._foreach_sub(learning, average))
    torch._foreach_mul_(ahead, 1 - decay)
    torch._foreach_add_(average, ahead)
    followed = run.average.sigma.clone()
    if sigma is not None:
        run.model.sigma.copy_(sigma)
        followed.lerp_(sigma, 1 - decay)
    for mine, theirs in zip(run.average.buffers(), run.model.buffers(), strict=True):
        mine.copy_(theirs)
    run.average.sigma.copy_(followed)


def on_device(pictures: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.require(pictures, requirements=("C", "W"))).to(device)
