"""Training: a recipe and pictures in, a stream of Progress out.

The set lives on the device as uint8; batches are cut, flipped and scaled there, so no worker process is needed. All
randomness of step s comes from a generator seeded with (seed, s) and goes in as tensors: a run that is stopped and resumed
draws what it would have drawn, and on the same machine and thread count ends with the same weights.
"""

import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vae import device as devices
from vae import latents
from vae.errors import BadInput
from vae.losses import negative_elbo
from vae.model import BATCH, VAE, to_pictures, to_tensor
from vae.priors import Mixture
from vae.recipe import TrainConfig
from vae.run import Recorded, Run, fingerprint, noise_of

SAVE_SECONDS = 60
SNAPSHOT_STEPS = 200
ROLLBACK = 0.3  # what the learning rate is multiplied with after a step that blew up
MAX_ROLLBACKS = 6
HELDOUT_PICTURES, HELDOUT_SHARE = 500, 20  # how many are measured while training, in at most a twentieth of the time


@dataclass
class Progress:
    """How far a run is. Losses are nats per picture, means over the steps since the last Progress."""

    step: int
    epoch: float
    fraction: float  # of the run that is done, 0 to 1
    reconstruction: float
    kl: float
    beta: float
    learning_rate: float
    pictures_per_second: float
    seconds_left: float
    seconds: float  # the run's time so far, over all its sittings
    unit_kl: np.ndarray  # (D,) nats
    model: VAE  # the averaged weights, in eval mode; they go on changing while the run does
    history: list[list[float]]  # [step, reconstruction, kl] of every Progress so far
    heldout: float | None = None  # the negative ELBO of held-out pictures, when due
    critic: nn.Module | None = None  # where the recipe has one
    critic_loss: float = 0.0  # near 0.69 where the critic cannot tell drawn from real
    note: str = ""  # what the reader should know, such as a step back after a loss that was no number
    reconstructions: np.ndarray | None = None  # uint8: the preview's pictures through the model, when due
    samples: np.ndarray | None = None  # uint8: pictures from as many fixed latents, when due
    done: bool = False  # the run is over; is_whole says whether it reached its end or was stopped
    is_whole: bool = False

    def metrics(self) -> dict[str, float]:
        """The figures of this Progress, by their names: for a table, or a listener such as trackio or TensorBoard."""
        names = ("step", "epoch", "seconds", "learning_rate", "beta", "reconstruction", "kl", "critic_loss")
        figures = {name: float(getattr(self, name)) for name in names}
        return figures if self.heldout is None else figures | {"heldout": self.heldout}


def train(
    recipe: TrainConfig,
    pictures: np.ndarray,
    *,
    heldout: np.ndarray | None = None,
    preview: np.ndarray | None = None,
    model: VAE | None = None,
    run_file: Path | None = None,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    device: str | None = None,
    precision: str | None = None,
    report_seconds: float = 0.5,
    preview_seconds: float = 2.0,
) -> Iterator[Progress]:
    """Trains on uint8 pictures (N, H, W, C) and yields Progress every report_seconds; the last has done=True.

    heldout: pictures whose loss is measured now and then. preview: pictures to show through the model. model: what learns, in
    place of the recipe's own. run_file: where the run's state is kept, every minute and at the end, so that resume=True goes on
    from it. stop is asked before each step. A loss or weight that is no finite number sets the run back to its last good state
    with a smaller rate; BadInput when that does not help, or when the pictures do not fit the recipe.
    """
    check(recipe, pictures)
    target = devices.pick(device)
    run = Run(recipe, target, model)
    steps = Steps(run, recipe, _on(pictures, target), devices.precision(precision))
    which = fingerprint(pictures) if run_file else ""
    is_found = run_file is not None and run_file.exists()
    if resume and run_file is not None and is_found:
        run.load(run_file, recipe, which)
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
        if preview is not None and (over or clock - report.previewed >= preview_seconds):
            report.show(progress)
        run.seconds += time.perf_counter() - clock
        if run_file is not None and is_saved:
            run.save(run_file, recipe, which)
            saved = time.perf_counter()
        yield progress
        if over:
            return
        sums, reported = report.empty(), time.perf_counter()
        clock = reported  # whoever reads the Progress may take their time: it is not the run's


def check(recipe: TrainConfig, pictures: np.ndarray) -> None:
    """BadInput where these pictures cannot be learnt from by this recipe, or a package that it wants is missing."""
    size, channels = recipe.model.size, recipe.model.channels
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1:] != (size, size, channels):
        raise BadInput(
            f"Pictures are {pictures.dtype} {pictures.shape}; the recipe wants uint8 (N, {size}, {size}, {channels})."
        )
    if len(pictures) < 2:
        raise BadInput(f"There are {len(pictures)} pictures to learn from; give at least two.")
    sharpen = recipe.sharpen
    if recipe.perceptual or (sharpen.share and (sharpen.perceptual or sharpen.jury)):
        from vae.measure import features

        features.require(features.TEACHER)


@dataclass(frozen=True)
class Schedule:
    """What a place in a run asks for. progress: of the phase that it lies in, 0 to 1."""

    is_sharpening: bool
    progress: float
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
    return Schedule(is_sharpening, progress, rate * share, recipe.beta * warm)


class Steps:
    """Takes a run's steps, one at a time, on batches of pictures (N, H, W, C) uint8 that lie on its device."""

    def __init__(self, run: Run, recipe: TrainConfig, pictures: Tensor, dtype: torch.dtype):
        self.run, self.recipe, self.pictures, self.dtype = run, recipe, pictures, dtype
        self.batch = min(recipe.batch, len(pictures))
        self.per_epoch = len(pictures) // self.batch
        self.epoch, self.order = -1, torch.empty(0)
        self.recorded: dict[tuple[bool, float], Recorded] = {}
        self.prior: Mixture | None = None  # what samples will come from; sharpening leaves the encoder as it is
        self.prior_step = 0  # when it was fitted

    def take(self, now: Schedule) -> Tensor:
        """One update -> [loss, reconstruction, kl, gradient norm, critic's loss, kl of each unit], in nats."""
        run, recipe = self.run, self.recipe
        generator = noise_of(recipe.seed, run.step)
        inputs = {
            "mirrored": torch.rand(self.batch, generator=generator) < 0.5,
            "noise": torch.randn(self.batch, recipe.model.latent, generator=generator),
            "learning_rate": torch.tensor(now.learning_rate * run.rate_scale),
            "beta": torch.tensor(now.beta),
            "decay": torch.tensor(min(recipe.ema, (1 + run.step) / (10 + run.step))),  # young averages follow closely
        }
        update, penalty = functools.partial(vae_step, run, recipe, self.dtype), 0.0
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
            key = (now.is_sharpening, penalty)
            if key not in self.recorded:
                self.recorded[key] = Recorded(run, update, inputs)
            figures = self.recorded[key](inputs)
        else:
            figures = update(inputs)
        run.step += 1
        return figures

    def _rows(self) -> Tensor:
        epoch, place = divmod(self.run.step, self.per_epoch)
        if epoch != self.epoch:
            order = torch.randperm(len(self.pictures), generator=noise_of(self.recipe.seed, -1 - epoch))
            self.epoch, self.order = epoch, order.to(self.pictures.device)
        return self.order[place * self.batch : (place + 1) * self.batch]

    def forget(self) -> None:
        """After the run went back: the prior of an encoder that is gone is fitted anew."""
        if self.run.step < self.prior_step:
            self.prior = None


def vae_step(run: Run, recipe: TrainConfig, dtype: torch.dtype, inputs: dict[str, Tensor]) -> Tensor:
    """One update of the VAE, as Steps.take says; arithmetic alone, so that it can be recorded on a GPU and replayed."""
    x = batch_of(recipe, inputs)
    with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
        logits, posterior = run.model(x, noise=inputs["noise"])
    terms = negative_elbo(
        logits.float(), x, posterior, likelihood=recipe.model.likelihood, sigma_floor=recipe.model.sigma_floor,
        beta=inputs["beta"], free_bits=recipe.free_bits,
    )  # fmt: skip
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
def follow(run: Run, decay: Tensor, sigma: Tensor | None) -> None:
    """The averaged weights go a little after the ones that learn; buffers, such as running statistics, are taken over."""
    average = list(run.average.parameters())
    ahead = torch._foreach_sub(list(run.model.parameters()), average)
    torch._foreach_mul_(ahead, 1 - decay)
    torch._foreach_add_(average, ahead)
    followed = run.average.sigma.clone()
    if sigma is not None:
        run.model.sigma.copy_(sigma)
        followed.lerp_(sigma, 1 - decay)
    for mine, theirs in zip(run.average.buffers(), run.model.buffers(), strict=True):
        mine.copy_(theirs)
    run.average.sigma.copy_(followed)


class Guard:
    """Remembers the last good state of a run, and takes it back there when a loss or a weight is no number."""

    def __init__(self, run: Run):
        self.run = run
        self.remember()

    def remember(self) -> None:
        """To be called for a state all of whose tensors are finite."""
        self.good = self.run.capture()

    def is_due(self) -> bool:
        return self.run.step - self.good[1]["step"] >= SNAPSHOT_STEPS

    def go_back(self, learning_rate: float) -> str:
        """-> a note that says so. BadInput after too many times."""
        run = self.run
        run.rollbacks += 1
        if run.rollbacks > MAX_ROLLBACKS:
            raise BadInput(
                f"The loss left all bounds {run.rollbacks} times; try a smaller learning_rate than {learning_rate}."
            )
        run.restore(self.good)
        run.rate_scale *= ROLLBACK
        return f"A loss was no number: back to step {run.step} with {run.rate_scale:.2g} of the learning rate."


class Report:
    """What a run tells about itself between two steps."""

    def __init__(
        self, run: Run, recipe: TrainConfig, steps: Steps, heldout: np.ndarray | None, preview: np.ndarray | None
    ):
        self.run, self.recipe, self.batch, self.epoch_share = run, recipe, steps.batch, 1 / steps.per_epoch
        device = run.model.device
        some = None if heldout is None else heldout[:: max(1, len(heldout) // HELDOUT_PICTURES)]
        self.heldout = None if some is None else _on(some, device)
        self.shown = None if preview is None else to_tensor(preview, device)
        count = 0 if preview is None else len(preview)
        self.z = latents.sample_normal(count, recipe.model.latent, recipe.seed).to(device)
        self.figures = [0.0] * len(self.empty())
        self.figures[1:3] = run.history[-1][1:] if run.history else (0.0, 0.0)
        self.step, self.note = run.step, ""
        self.reported = self.previewed = time.perf_counter()
        self.measured, self.cost = -math.inf, 0.0  # when the held-out loss was, and how many seconds it took

    def empty(self) -> Tensor:
        return torch.zeros(5 + self.recipe.model.latent, device=self.run.model.device)

    def progress(self, sums: Tensor, now: Schedule, fraction: float, seconds_left: float, over: bool) -> Progress:
        """sums: of what Steps.take gave since the last one."""
        run, clock = self.run, time.perf_counter()
        taken = run.step - self.step
        if taken > 0:
            self.figures = (sums / taken).tolist()
            run.history.append([run.step, self.figures[1], self.figures[2]])
        heldout = None
        if self.heldout is not None and (over or clock - self.measured >= HELDOUT_SHARE * self.cost):
            heldout = heldout_loss(run.average, self.recipe, self.heldout)
            self.measured, self.cost = time.perf_counter(), time.perf_counter() - clock
        progress = Progress(
            step=run.step,
            epoch=run.step * self.epoch_share,
            fraction=min(fraction, 1.0),
            reconstruction=self.figures[1],
            kl=self.figures[2],
            beta=now.beta,
            learning_rate=now.learning_rate * run.rate_scale,
            pictures_per_second=taken * self.batch / max(clock - self.reported, 1e-9),
            seconds_left=max(0.0, seconds_left),
            seconds=run.seconds,
            unit_kl=np.array(self.figures[5:]),
            model=run.average,
            history=run.history,
            heldout=heldout,
            critic=run.critics and run.critics.critic,
            critic_loss=self.figures[4],
            note=self.note,
            done=over,
            is_whole=fraction >= 1,
        )
        self.step, self.note, self.reported = run.step, "", clock
        return progress

    def show(self, progress: Progress) -> None:
        """Adds pictures."""
        with torch.inference_mode():
            average = self.run.average
            progress.reconstructions = to_pictures(average.decode(average.encode(self.shown).mode()))
            progress.samples = to_pictures(average.decode(self.z))
        self.previewed = time.perf_counter()


@torch.inference_mode()
def heldout_loss(model: VAE, recipe: TrainConfig, pictures: Tensor) -> float:
    """Pictures (N, H, W, C) uint8 -> their negative ELBO in nats per picture, always with the same noise."""
    generator, total = devices.noise_generator(recipe.seed), 0.0
    for part in pictures.split(BATCH):
        x = to_tensor(part, part.device)
        logits, posterior = model(x, generator)
        terms = negative_elbo(
            logits.float(), x, posterior, likelihood=recipe.model.likelihood, sigma_floor=recipe.model.sigma_floor
        )
        total += float(terms.loss) * len(part)
    return total / len(pictures)


def _on(pictures: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.require(pictures, requirements=("C", "W"))).to(device)
