"""Training: a recipe and pictures in, a stream of Progress out.

The set lives on the device as uint8; batches are cut, flipped and scaled there, so no worker process is needed. All
randomness of step s comes from a generator seeded with (seed, s): a run that is stopped and resumed draws what it would
have drawn, and on the same machine and thread count ends with the same weights.
"""

import copy
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vae import device as devices
from vae import distances, images, latents
from vae.critic import Critic, judge
from vae.errors import BadInput
from vae.losses import negative_elbo
from vae.model import VAE, to_pictures, to_tensor
from vae.recipe import TrainConfig

SAVE_SECONDS = 60
SNAPSHOT_STEPS = 200
ROLLBACK = 0.3  # what the rate is multiplied with after a step that blew up
MAX_ROLLBACKS = 6
PENALTY = 0.02  # on the critic's slope, every PENALTY_STEPS steps as many times as strong (Karras et al. 2020, "lazy")
PENALTY_STEPS = 8
CRITIC_HASTE = 2.0  # times the decoder's rate (Heusel et al. 2017, "two time-scale update rule")


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
    critic: Critic | None = None  # where the recipe has one; its loss is near 0.69 where it cannot tell drawn from real
    critic_loss: float = 0.0
    note: str = ""  # what the reader should know, such as a step back after a loss that was no number
    made_again: np.ndarray | None = None  # uint8: the preview's pictures through the model, when due
    dreamt: np.ndarray | None = None  # uint8: pictures from as many fixed latents, when due
    done: bool = False  # the run is over; is_whole says whether it reached its end or was stopped
    is_whole: bool = False


class _Run:
    """All that changes while a model learns, and how it is put down and taken up again."""

    def __init__(self, config: TrainConfig, device: torch.device):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = VAE(config.model)
            critic = Critic(config.model.channels, config.critic_widths) if config.sharpen else None
        self.model = model.to(device).to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.parameters: list[Tensor] = list(self.model.parameters())
        self.averaged: list[Tensor] = list(self.average.parameters())
        self.optimizer = _adam(self.parameters, config.rate, (0.9, 0.99), config.weight_decay)
        self.critic = None if critic is None else critic.to(device).to(memory_format=torch.channels_last).train()
        self.critic_parameters: list[Tensor] = [] if critic is None else list(critic.parameters())
        # Little momentum: the decoder it judges is another one with every step.
        self.critic_optimizer = (
            None if critic is None else _adam(self.critic_parameters, config.sharpen_rate, (0.5, 0.99), 0.0)
        )
        self.step = 0
        self.seconds = 0.0
        self.rate_scale = 1.0
        self.rollbacks = 0
        self.history: list[list[float]] = []

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"average.{name}": t for name, t in self.average.state_dict().items()}
        for i, parameter in enumerate(self.parameters):
            tensors |= {f"adam.{i}.{name}": t for name, t in self.optimizer.state[parameter].items()}
        if self.critic is not None and self.critic_optimizer is not None:
            tensors |= {f"critic.{name}": t for name, t in self.critic.state_dict().items()}
            for i, parameter in enumerate(self.critic_parameters):
                tensors |= {f"critic_adam.{i}.{name}": t for name, t in self.critic_optimizer.state[parameter].items()}
        return tensors

    def capture(self) -> tuple[dict[str, Tensor], dict]:
        tensors = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}
        return tensors, {"step": self.step, "history": list(self.history)}

    def restore(self, state: tuple[dict[str, Tensor], dict]) -> None:
        tensors, numbers = state
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(tensors[name])
        self.step, self.history = numbers["step"], list(numbers["history"])

    def save(self, path: Path, config: TrainConfig, count: int) -> None:
        tensors, numbers = self.capture()
        numbers |= {"seconds": self.seconds, "rate_scale": self.rate_scale, "rollbacks": self.rollbacks}
        meta = {"numbers": json.dumps(numbers), "recipe": _essence(config), "count": str(count)}
        data = safetensors.torch.save({name: t.contiguous().cpu() for name, t in tensors.items()}, meta)
        with images.written_whole(path) as file:
            file.write(data)

    def load(self, path: Path, config: TrainConfig, count: int) -> None:
        try:
            with safe_open(path, "pt") as file:
                meta = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            numbers = json.loads(meta["numbers"])
        except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise BadInput(f"The run state {path} cannot be read; start again without resuming.") from error
        if meta["recipe"] != _essence(config) or meta["count"] != str(count):
            raise BadInput(f"The run state {path} belongs to another recipe or other pictures; give it the same ones.")
        self.restore((tensors, numbers))
        self.seconds, self.rate_scale = numbers["seconds"], numbers["rate_scale"]
        self.rollbacks = numbers["rollbacks"]


def _adam(parameters: list, rate: float, betas: tuple[float, float], weight_decay: float) -> torch.optim.AdamW:
    """An AdamW whose state is there from the start, so that it can be restored before its first step."""
    device = parameters[0].device
    fused = device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=weight_decay, fused=fused)
    for parameter in parameters:
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=device if device.type == "cuda" else "cpu"),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        }
    return optimizer


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
    size, channels = config.model.size, config.model.channels
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1:] != (size, size, channels):
        raise BadInput(
            f"Pictures are {pictures.dtype} {pictures.shape}; the recipe wants uint8 (N, {size}, {size}, {channels})."
        )
    count = len(pictures)
    if count < 2:
        raise BadInput(f"There are {count} pictures to learn from; give at least two.")
    if config.sharpen and config.pull_perceptual and not distances.has_network(distances.TEACHER):
        packages = " and ".join(distances.PACKAGES[distances.TEACHER])
        raise BadInput(f"pull_perceptual needs the packages {packages}; install them, or set it to 0.")
    target = devices.pick(device)
    dtype = devices.precision(target, precision)
    batch = min(config.batch, count)
    per_epoch = count // batch
    steps = config.steps or round(config.epochs * per_epoch)
    run = _Run(config, target)
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
    note = ""
    while True:
        run.seconds = time.perf_counter() - started
        fraction = run.step / steps if steps else run.seconds / (60 * config.minutes)
        is_whole = fraction >= 1
        over = is_whole or stop()
        is_sharpening = config.sharpen > 0 and fraction >= 1 - config.sharpen
        learnt = fraction / (1 - config.sharpen)  # of the VAE's own part
        beta = config.beta * min(1.0, learnt / config.kl_warmup) if config.kl_warmup else config.beta
        if not over:
            epoch, place = divmod(run.step, per_epoch)
            if epoch != order_of:
                order_of, order = epoch, torch.randperm(count, generator=_noise(config.seed, -1 - epoch)).to(target)
            rows = order[place * batch : (place + 1) * batch]
            if is_sharpening:
                phase = (fraction - 1 + config.sharpen) / config.sharpen
                rate = config.sharpen_rate * run.rate_scale * _schedule(phase, config.warmup)
                sums += _sharpening_step(run, config, held[rows], rate, dtype)
            else:
                rate = config.rate * run.rate_scale * _schedule(learnt, config.warmup)
                sums += _step(run, config, held[rows], beta, rate, dtype)
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
            seconds_left=max(0.0, pace * (steps - run.step) if steps else 60 * config.minutes - run.seconds),
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


def _essence(config: TrainConfig) -> str:
    """The part of a recipe that the weights hang on: what only the card and the atlas use may change while a run rests."""
    return dataclasses.replace(config, card={}, categories={}, show_data=True, start="").to_toml()


def _noise(seed: int, step: int) -> torch.Generator:
    """The generator of one step (0 and up) or of one epoch's order (-1 and down)."""
    return devices.noise_generator((seed * 1_000_000_007 + 2 * abs(step) + (step < 0)) % 2**63)


def _schedule(fraction: float, warmup: float) -> float:
    """The share of the full rate: a straight rise over the warm-up, then half a cosine down to 0."""
    if fraction < warmup:
        return (fraction + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (fraction - warmup) / max(1 - warmup, 1e-9)))


def _step(run: _Run, config: TrainConfig, rows: Tensor, beta: float, rate: float, dtype: torch.dtype) -> Tensor:
    """One update from rows (B, H, W, C) uint8 -> [loss, reconstruction, kl, gradient norm, 0, kl of each unit]."""
    generator = _noise(config.seed, run.step)
    x = _batch(rows, config.flip, generator)
    with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
        posterior = run.model.encode(x)
        logits = run.model.decode_logits(posterior.sample(generator))
    terms = negative_elbo(
        logits.float(), x, posterior, likelihood=config.model.likelihood, sigma_floor=config.model.sigma_floor,
        beta=beta, free_bits=config.free_bits,
    )  # fmt: skip
    run.optimizer.zero_grad(set_to_none=True)
    terms.loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(run.parameters, config.clip)
    run.optimizer.param_groups[0]["lr"] = rate
    run.optimizer.step()
    _follow(run, config, terms.sigma)
    none = torch.zeros_like(norm)
    return torch.cat([torch.stack([terms.loss, terms.reconstruction, terms.kl, norm, none]), terms.unit_kl]).detach()


def _sharpening_step(run: _Run, config: TrainConfig, rows: Tensor, rate: float, dtype: torch.dtype) -> Tensor:
    """One update of the decoder and one of the critic from rows (B, H, W, C) uint8; returns what _step does, and the critic's

    loss in place of 0. Beside the reconstructions the critic sees half as many pictures from between two of them, turned in
    latent space so that the variance stays: what is sampled and morphed later must look real as well.
    """
    assert run.critic is not None and run.critic_optimizer is not None
    generator = _noise(config.seed, run.step)
    x = _batch(rows, config.flip, generator)
    with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
        with torch.no_grad():
            posterior = run.model.encode(x)
            z = posterior.sample(generator)
            half = len(z) // 2
            angle = (torch.rand(half, 1, generator=generator) * math.pi / 2).to(z.device)
            between = torch.cos(angle) * z[:half] + torch.sin(angle) * z[half : 2 * half]
        logits = run.model.decode_logits(torch.cat([z, between])).float()
        made = torch.sigmoid(logits)
        judged = judge(
            run.critic, x, made, generator, pixel=config.pull_pixel, feature=config.pull_feature,
            adversarial=config.pull_adversarial, perceptual=config.pull_perceptual,
            penalty=0.0 if run.step % PENALTY_STEPS else PENALTY_STEPS * PENALTY,
        )  # fmt: skip
    run.optimizer.zero_grad(set_to_none=True)
    made.backward(judged.pull / len(made))
    norm = torch.nn.utils.clip_grad_norm_(run.model.decoder.parameters(), config.clip)
    for parameter, gradient in zip(run.critic_parameters, judged.critic_gradients, strict=True):
        parameter.grad = gradient
    run.optimizer.param_groups[0]["lr"] = rate
    run.critic_optimizer.param_groups[0]["lr"] = CRITIC_HASTE * rate
    run.optimizer.step()  # leaves the encoder alone: it has no gradients
    run.critic_optimizer.step()
    terms = negative_elbo(
        logits.detach()[: len(x)], x, posterior, likelihood=config.model.likelihood,
        sigma_floor=config.model.sigma_floor, beta=config.beta, free_bits=config.free_bits,
    )  # fmt: skip
    _follow(run, config, terms.sigma)
    first = [terms.loss, terms.reconstruction, terms.kl, norm, judged.critic_loss]
    return torch.cat([torch.stack(first), terms.unit_kl]).detach()


def _batch(rows: Tensor, flip: bool, generator: torch.Generator) -> Tensor:
    """(B, H, W, C) uint8 -> (B, C, H, W) in [0, 1], half of them mirrored where flip is set."""
    x = to_tensor(rows, rows.device)
    if not flip:
        return x
    mirrored = torch.rand(len(x), generator=generator) < 0.5
    return torch.where(mirrored.to(x.device)[:, None, None, None], x.flip(3), x)


@torch.no_grad()
def _follow(run: _Run, config: TrainConfig, sigma: Tensor | None) -> None:
    """The averaged weights go a little after the ones that learn."""
    decay = min(config.ema, (1 + run.step) / (10 + run.step))  # young averages follow closely
    torch._foreach_lerp_(run.averaged, run.parameters, 1 - decay)
    if sigma is not None:
        run.model.sigma.copy_(sigma)
        run.average.sigma.lerp_(sigma, 1 - decay)
