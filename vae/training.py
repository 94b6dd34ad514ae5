"""Training: a recipe and pictures in, a stream of Progress out.

The set lives on the device as uint8; batches are cut, flipped and scaled there, so no worker process is needed. All
randomness of step s comes from a generator seeded with (seed, s): a run that is stopped and resumed draws what it would
have drawn, and on the same machine and thread count ends with the same weights.
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
from vae import run as runs
from vae.errors import BadInput
from vae.model import VAE, to_pictures, to_tensor
from vae.recipe import TrainConfig

SAVE_SECONDS = 60
SNAPSHOT_STEPS = 200
ROLLBACK = 0.3  # what the rate is multiplied with after a step that blew up
MAX_ROLLBACKS = 6


@dataclass
class Progress:
    """How far a run is. Losses are nats per picture, means over the steps since the last Progress."""

    step: int
    epoch: float
    fraction: float  # of the run that is done, 0 to 1
    reconstruction: float
    kl: float
    beta: float
    pictures_per_second: float
    seconds_left: float
    unit_kl: np.ndarray  # (D,) nats
    model: VAE  # the averaged weights, in eval mode; they go on changing while the run does
    history: list[list[float]]  # [step, reconstruction, kl] of every Progress so far
    seconds: float  # the run's time so far, over all its sittings
    critic: nn.Module | None = (
        None  # where the recipe has one; its loss is near 0.69 where it cannot tell drawn from real
    )
    critic_loss: float = 0.0
    note: str = ""  # what the reader should know, such as a step back after a loss that was no number
    made_again: np.ndarray | None = None  # uint8: the preview's pictures through the model, when due
    dreamt: np.ndarray | None = None  # uint8: pictures from as many fixed latents, when due
    done: bool = False  # the run is over; is_whole says whether it reached its end or was stopped
    is_whole: bool = False


def train(
    config: TrainConfig,
    pictures: np.ndarray,
    *,
    preview: np.ndarray | None = None,
    run_file: Path | None = None,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    device: str | None = None,
    precision: str | None = None,
    report_seconds: float = 0.5,
    preview_seconds: float = 2.0,
) -> Iterator[Progress]:
    """Trains on uint8 pictures (N, H, W, C) and yields Progress every report_seconds; the last has done=True.

    preview: uint8 pictures to show through the model now and then. run_file: where the run's state is kept, every minute
    and at the end, so that resume=True goes on from it. stop is asked before each step. A loss or gradient that is no
    finite number sets the run back to its last good state with a smaller rate; BadInput when that does not help, or when
    the pictures do not fit the recipe.
    """
    from vae.measure import features
    from vae.sharpen import step

    size, channels = config.model.size, config.model.channels
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1:] != (size, size, channels):
        raise BadInput(
            f"Pictures are {pictures.dtype} {pictures.shape}; the recipe wants uint8 (N, {size}, {size}, {channels})."
        )
    count = len(pictures)
    if count < 2:
        raise BadInput(f"There are {count} pictures to learn from; give at least two.")
    is_taught = config.perceptual or (config.sharpen and (config.pull_perceptual or config.pull_jury))
    if is_taught and not features.has_network(features.TEACHER):
        packages = " and ".join(features.PACKAGES[features.TEACHER])
        raise BadInput(f"A perceptual term needs the packages {packages}; install them, or set it to 0.")
    target = devices.pick(device)
    dtype = devices.precision(precision)
    batch = min(config.batch, count)
    per_epoch = count // batch
    length = config.steps or (max(1, round(config.epochs * per_epoch)) if config.epochs else 0)
    run = runs.Run(config, target)
    if resume and run_file is not None and run_file.exists():
        run.load(run_file, config, count)
    held = torch.as_tensor(pictures).to(target)  # (N, H, W, C) uint8
    shown = None if preview is None else to_tensor(preview, target)
    dreams = (
        None if preview is None else latents.sample_normal(len(preview), config.model.latent, config.seed).to(target)
    )

    started = time.perf_counter() - run.seconds
    reported = previewed = saved = time.perf_counter()
    first_step = reported_step = run.step
    good = run.capture()
    sums = torch.zeros(5 + config.model.latent, device=target)
    means = [0.0, *(run.history[-1][1:] if run.history else (0.0, 0.0)), 0.0, 0.0] + [0.0] * config.model.latent
    order_of, order = -1, torch.empty(0)
    recorded: dict[tuple, runs.Recorded] = {}
    prior = None
    note = ""
    while True:
        run.seconds = time.perf_counter() - started
        fraction = run.step / length if length else run.seconds / (60 * config.minutes)
        is_whole = fraction >= 1
        over = is_whole or stop()
        is_sharpening = config.sharpen > 0 and fraction >= 1 - config.sharpen
        learnt = fraction / (1 - config.sharpen)  # of the VAE's own part
        beta = config.beta * min(1.0, learnt / config.kl_warmup) if config.kl_warmup else config.beta
        if not over:
            epoch, place = divmod(run.step, per_epoch)
            if epoch != order_of:
                order_of, shuffle = epoch, runs.noise_of(config.seed, -1 - epoch)
                order = torch.randperm(count, generator=shuffle).to(target)
            rows = order[place * batch : (place + 1) * batch]
            penalty = 0.0
            update: Callable[[dict[str, Tensor]], Tensor] = functools.partial(runs.learn, run, config, dtype)
            if is_sharpening:
                rate = config.sharpen_rate * _schedule((fraction - 1 + config.sharpen) / config.sharpen, config.warmup)
                penalty = 0.0 if run.step % step.PENALTY_STEPS else step.PENALTY_STEPS * step.PENALTY
                update = functools.partial(step.sharpen, run, config, dtype, penalty)
                if config.made_up == "mixture" and prior is None:
                    prior = step.prior_of(run, config, held)
            else:
                rate = config.rate * _schedule(learnt, config.warmup)
            inputs = runs.inputs_of(config, run.step, batch, rate * run.rate_scale, beta, prior)
            is_gpu = target.type == "cuda"
            inputs = {name: tensor.to(target, non_blocking=is_gpu) for name, tensor in inputs.items()}
            inputs["rows"] = held[rows]
            if is_gpu:
                key = (is_sharpening, penalty)
                if key not in recorded:
                    recorded[key] = runs.Recorded(run, update, inputs)
                update = recorded[key]
            sums += update(inputs)
            run.step += 1

        now = time.perf_counter()
        due = over or now - reported >= report_seconds
        if not (due or run.step - good[1]["step"] >= SNAPSHOT_STEPS):
            continue
        if not sums.isfinite().all():
            run.rollbacks += 1
            if run.rollbacks > MAX_ROLLBACKS:
                raise BadInput(
                    f"The loss left all bounds {run.rollbacks} times; try a smaller rate than {config.rate}."
                )
            run.restore(good)
            run.rate_scale *= ROLLBACK
            note = f"A loss was no number: back to step {run.step} with {run.rate_scale:.2g} of the rate."
            sums.zero_()
            reported_step = run.step
            continue
        if run.step - good[1]["step"] >= SNAPSHOT_STEPS:
            good = run.capture()
        if not due:
            continue
        taken = run.step - reported_step
        if taken:
            means = (sums / taken).tolist()
            run.history.append([run.step, means[1], means[2]])
        speed = taken * batch / max(now - reported, 1e-9)
        pace = (run.seconds / run.step) if run.step > first_step else 0.0
        progress = Progress(
            step=run.step,
            epoch=run.step / per_epoch,
            fraction=min(fraction, 1.0),
            reconstruction=means[1],
            kl=means[2],
            beta=beta,
            pictures_per_second=speed,
            seconds_left=max(0.0, pace * (length - run.step) if length else 60 * config.minutes - run.seconds),
            unit_kl=np.array(means[5:]),
            model=run.average,
            history=run.history,
            seconds=run.seconds,
            critic=run.critic,
            critic_loss=means[4],
            note=note,
            done=over,
            is_whole=is_whole,
        )
        if shown is not None and dreams is not None and (over or now - previewed >= preview_seconds):
            with torch.inference_mode():
                progress.made_again = to_pictures(run.average.decode(run.average.encode(shown).mode()))
                progress.dreamt = to_pictures(run.average.decode(dreams))
            previewed = time.perf_counter()
        if run_file is not None and (over or now - saved >= SAVE_SECONDS):
            run.save(run_file, config, count)
            saved = time.perf_counter()
        sums.zero_()
        note = ""
        yield progress
        reported, reported_step = time.perf_counter(), run.step
        if over:
            return


def _schedule(fraction: float, warmup: float) -> float:
    """The share of the full rate: a straight rise over the warm-up, then half a cosine down to 0."""
    if fraction < warmup:
        return (fraction + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (fraction - warmup) / max(1 - warmup, 1e-9)))
