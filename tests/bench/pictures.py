"""How good pictures get in the same wall-clock time: ours against pythae's VAE, VAE-GAN and RAE, on faces.

The same network, latent size and batch for all; each peer with its library's losses, trainer and defaults, and with the better
of its two samplers (N(0, I), a mixture of ten Gaussians on its latents). Distances are those of the cards (vae.distances).
Ours ends with its critic, once without the recipe's teacher and once with it: that one is a sister of the network that
measures, a help that the peers do not have.
"""

import argparse
import contextlib
import functools
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tests.bench.report import table
from vae import checkpoints, training
from vae.measure import distances, features
from vae.measure.evaluation import COMPARED
from vae.measure.fit import fit_atlas
from vae.model import VAE, to_pictures, to_tensor
from vae.pictures import sets
from vae.recipe import TrainConfig

BATCH = 250
# What of the checkpoint's recipe is changed: a network, the same for all, and a critic that a CPU can train in that time.
SMALLER = {
    "size": 64,
    "stem": 4,
    "widths": (64, 128, 256),
    "perceptual": 0.0,
    "sharpen_perceptual": 0.0,
    "sharpen_share": 0.2,
    "sharpen_critic_widths": (16, 32, 64, 128),
}
# With the teacher a step takes longer, and its verdict may weigh less.
TAUGHT = {"sharpen_share": 0.4, "sharpen_perceptual": 1.0, "sharpen_adversarial": 0.2}
FIT_ON = 10_000  # latents that a peer's mixture is fitted on


@dataclass
class Result:
    """What a contestant came to: how it makes pictures again, and its samples by the name of the sampler."""

    again: Callable[[Tensor], Tensor]
    samples: dict[str, np.ndarray]
    pictures_seen: int


def ours(config: TrainConfig, pictures: np.ndarray, minutes: float, count: int) -> Result:
    config = config.override(minutes=minutes)
    *_, last = training.train(config, pictures, report_seconds=10)
    model = last.model
    atlas = fit_atlas(model, pictures, heldout=pictures[:500])
    samples = {}
    with torch.inference_mode():
        for prior in ("normal", "mixture"):
            z = atlas.prior(prior, count, seed=0)
            samples[prior] = np.concatenate([to_pictures(model.decode(part)) for part in z.split(BATCH)])
    return Result(lambda x: model.decode(model.encode(x).mode()), samples, last.step * config.batch)


class _Enough(Exception):
    """The time is up; there is no gentler way out of pythae's loop."""


def peer(kind: str, config: TrainConfig, pictures: np.ndarray, minutes: float, count: int) -> Result:
    """kind: VAE, VAEGAN or RAE_L2, as pythae calls them."""
    from pythae import models, samplers, trainers
    from pythae.data.datasets import BaseDataset
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers.training_callbacks import TrainingCallback

    torch.manual_seed(0)
    network = VAE(config.model)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.encoder

        def forward(self, x: Tensor) -> ModelOutput:
            posterior = self.network(x)
            return ModelOutput(embedding=posterior.mean, log_covariance=posterior.logvar)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))

    began, steps = time.perf_counter(), 0

    class Stopwatch(TrainingCallback):
        def on_train_step_end(self, training_config, **_) -> None:
            nonlocal steps
            steps += 1
            if time.perf_counter() - began > 60 * minutes:
                raise _Enough

    trainer = {
        "VAE": trainers.BaseTrainer,
        "RAE_L2": trainers.CoupledOptimizerTrainer,
        "VAEGAN": trainers.CoupledOptimizerAdversarialTrainer,
    }[kind]
    settings = getattr(trainers, f"{trainer.__name__}Config")
    shape = (config.model.channels, config.model.size, config.model.size)
    model_config = getattr(models, f"{kind}Config" if kind != "RAE_L2" else "RAE_L2_Config")
    model = getattr(models, kind)(model_config(input_dim=shape, latent_dim=config.model.latent), Encoder(), Decoder())
    floats = to_tensor(pictures)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_Enough):
        chosen = settings(output_dir=folder, per_device_train_batch_size=config.batch, num_epochs=10_000)
        trainer(model, BaseDataset(floats, torch.zeros(len(floats))), None, chosen, [Stopwatch()]).train()
    model.eval()
    found = {
        "normal": samplers.NormalSampler(model),
        "mixture": samplers.GaussianMixtureSampler(model, samplers.GaussianMixtureSamplerConfig(n_components=10)),
    }
    found["mixture"].fit(floats[:FIT_ON])
    with torch.no_grad():
        samples = {name: to_pictures(sampler.sample(count, BATCH).cpu()) for name, sampler in found.items()}
    logging.disable(logging.NOTSET)

    def again(x: Tensor) -> Tensor:
        return model.decoder(model.encoder(x).embedding).reconstruction

    return Result(again, samples, steps * config.batch)


def run(args: argparse.Namespace) -> None:
    if not features.has_network():
        sys.exit(f"the features need {' and '.join(features.PACKAGES[features.NETWORK])}: tests/requirements.txt")
    recipe = checkpoints.root() / "faces" / "recipe.toml"
    config = TrainConfig.from_toml(recipe.read_text(encoding="utf-8")).override(**SMALLER)
    form = {"size": config.model.size, "channels": config.model.channels, "framing": config.framing}
    learnt, held = sets.load(config.data, args.data, **form)
    count = min(COMPARED, len(learnt))
    aim = distances.features(learnt.images[np.random.default_rng(0).permutation(len(learnt))[:count]])
    rows = []
    contestants = {
        "ours": lambda *rest: ours(config, *rest),
        "ours, with its teacher": lambda *rest: ours(config.override(**TAUGHT), *rest),
        **{f"pythae's {kind}": functools.partial(peer, kind, config) for kind in ("VAE", "VAEGAN", "RAE_L2")},
    }
    for name, make in contestants.items():
        result = make(learnt.images, args.minutes, count)
        with torch.no_grad():
            again = np.concatenate(
                [to_pictures(result.again(to_tensor(held.images[i : i + BATCH]))) for i in range(0, len(held), BATCH)]
            )
        scores = {}
        for sampler, drawn in result.samples.items():
            found = distances.features(drawn)
            scores[sampler] = (distances.frechet(found, aim), 1000 * distances.kernel(found, aim))
        best = min(scores, key=lambda sampler: scores[sampler][0])
        error = float(np.square((again.astype(np.float32) - held.images) / 255).mean())
        rows.append(
            [name, f"{result.pictures_seen:,}", best, f"{scores[best][0]:.1f}",
             f"{scores[best][1]:.1f}", f"{error:.5f}", f"{distances.perceptual(held.images, again):.4f}"]
        )  # fmt: skip
        print(table(["", *[""] * 6], rows[-1:]), flush=True)
    head = ["model", "pictures seen", "best sampler", "frechet of samples", "kernel of samples", "MSE", "perceptual"]
    print(f"\n### Faces after {args.minutes:g} minutes each\n")
    print(table(head, rows))
