"""What a run tells about itself between two steps: figures, pictures, the loss on held-out ones."""

import math
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vae import latents
from vae.losses import negative_elbo
from vae.measure.evaluation import passes
from vae.model import VAE, to_pictures, to_tensor
from vae.recipe import TrainConfig
from vae.runs.run import Run
from vae.training import Schedule, Steps, on_device

HELDOUT_PICTURES, HELDOUT_SHARE = 500, 20  # how many are measured while training, in at most a twentieth of the time


@dataclass
class Progress:
    """How far a run is. Losses are nats per picture, means over the steps since the last Progress."""

    FIGURES: ClassVar = ("step", "epoch", "seconds", "learning_rate", "beta", "reconstruction", "kl", "critic_loss")

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
    critic_loss: float = 0.0  # near 0.69 where the critic cannot tell drawn from real
    note: str = ""  # what the reader should know, such as a step back after a loss that was no number
    reconstructions: np.ndarray | None = None  # uint8: the preview's pictures through the model, when due
    samples: np.ndarray | None = None  # uint8: pictures from as many fixed latents, when due
    done: bool = False  # the run is over; is_whole says whether it reached its end or was stopped
    is_whole: bool = False

    def metrics(self) -> dict[str, float]:
        """The figures of this Progress, by their names: for a table, or a listener such as trackio or TensorBoard."""
        figures = {name: float(getattr(self, name)) for name in self.FIGURES}
        return figures if self.heldout is None else figures | {"heldout": self.heldout}


class Report:
    """What a run tells about itself between two steps."""

    def __init__(
        self, run: Run, recipe: TrainConfig, steps: Steps, heldout: np.ndarray | None, preview: np.ndarray | None
    ):
        self.run, self.recipe, self.batch, self.epoch_share = run, recipe, steps.batch, 1 / steps.per_epoch
        device = run.model.device
        self.heldout = self.shown = None
        if heldout is not None:
            self.heldout = on_device(heldout[:: max(1, len(heldout) // HELDOUT_PICTURES)], device)
        if preview is not None:
            self.shown = to_tensor(preview, device)
            self.z = latents.sample_normal(len(preview), recipe.model.latent, recipe.seed).to(device)
        self.figures = [0.0] * len(self.empty())
        self.figures[1:3] = run.history[-1][1:] if run.history else (0.0, 0.0)
        self.step, self.seconds, self.note = run.step, run.seconds, ""
        self.previewed = time.perf_counter()
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
            pictures_per_second=taken * self.batch / max(run.seconds - self.seconds, 1e-9),
            seconds_left=max(0.0, seconds_left),
            seconds=run.seconds,
            unit_kl=np.array(self.figures[5:]),
            model=run.average,
            history=run.history,
            heldout=heldout,
            critic_loss=self.figures[4],
            note=self.note,
            done=over,
            is_whole=fraction >= 1,
        )
        self.step, self.seconds, self.note = run.step, run.seconds, ""
        return progress

    def show(self, progress: Progress) -> None:
        """Adds pictures, where there are some to show."""
        if self.shown is None:
            return
        with torch.inference_mode():
            average = self.run.average
            progress.reconstructions = to_pictures(average.decode(average.encode(self.shown).mode()))
            progress.samples = to_pictures(average.decode(self.z))
        self.previewed = time.perf_counter()


@torch.inference_mode()
def heldout_loss(model: VAE, recipe: TrainConfig, pictures: Tensor) -> float:
    """Pictures (N, H, W, C) uint8 -> their negative ELBO in nats per picture, always with the same noise."""
    total = 0.0
    for x, logits, posterior in passes(model, pictures, recipe.seed):
        total += float(negative_elbo(logits, x, posterior, recipe.model).loss) * len(x)
    return total / len(pictures)
