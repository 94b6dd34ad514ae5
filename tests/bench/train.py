"""How fast we train: the same network and batch in our loop, in a plain PyTorch loop and in pythae's trainer.

The contestants take turns in one process, some seconds each, several rounds; start-up is not counted. Ours pays for what
its peers do not do (averaged weights, clipping, a schedule, per-unit KL). pythae's pictures are
read and scaled beforehand, as its users do, and are so many that on a CPU no epoch, at whose end it saves, is over.
"""

import argparse
import contextlib
import itertools
import logging
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from tests.bench.report import Sample, ratios, table
from vae import checkpoints, device, training
from vae.model import VAE
from vae.pictures import sets
from vae.recipe import TrainConfig

WARM_UP_STEPS = 4
PYTHAE_BYTES = 3e8  # it wants its pictures as floats in memory; the speed does not depend on how many


class Clock:
    """Counts pictures once the first steps are over; `tick` says when the time is up."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.steps, self.pictures, self.began = seconds, 0, 0, 0.0

    def tick(self, pictures: int) -> bool:
        self.steps += 1
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self.steps == WARM_UP_STEPS:
            self.began = now
        elif self.steps > WARM_UP_STEPS:
            self.pictures += pictures
            self.ended = now
            return now - self.began > self.seconds
        return False

    @property
    def speed(self) -> float:
        return self.pictures / (self.ended - self.began)


def ours(config: TrainConfig, pictures: np.ndarray, seconds: float) -> float:
    """-> pictures/s of vae.training."""
    clock = Clock(seconds)
    batch = min(config.batch, len(pictures))
    over = False

    def stop() -> bool:  # asked before every step
        nonlocal over
        over = over or clock.tick(batch)
        return over

    for _ in training.train(config, pictures, stop=stop):
        pass
    return clock.speed


def plain_loss(model: VAE, x: Tensor) -> Tensor:
    """The negative ELBO as a tutorial writes it, in nats per picture."""
    posterior = model.encode(x)
    z = posterior.mean + torch.randn_like(posterior.mean) * torch.exp(0.5 * posterior.logvar)
    made = model.decode(z)
    if model.config.likelihood == "bernoulli":
        reconstruction = F.binary_cross_entropy(made, x, reduction="sum")
    else:
        reconstruction = F.mse_loss(made, x, reduction="sum") / (2 * model.config.sigma_floor**2)
    kl = -0.5 * torch.sum(1 + posterior.logvar - posterior.mean.pow(2) - posterior.logvar.exp())
    return (reconstruction + kl) / len(x)


def plain(config: TrainConfig, dataset: torch.utils.data.Dataset, workers: int, seconds: float) -> float:
    """-> pictures/s of a plain fp32 loop: torchvision's data set, DataLoader, Adam."""
    where = device.pick()
    model = VAE(config.model).to(where).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    loader = DataLoader(dataset, config.batch, shuffle=True, num_workers=workers, drop_last=True)
    clock = Clock(seconds)
    while True:
        for x, _ in loader:
            loss = plain_loss(model, x.to(where))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if clock.tick(config.batch):
                return clock.speed


class _Enough(Exception):
    """The time is up; there is no gentler way out of pythae's loop."""


def pythae_trainer(config: TrainConfig, pictures: Tensor, seconds: float) -> float:
    """-> pictures/s of pythae's BaseTrainer around the same encoder and decoder; pictures (N, C, H, W) in [0, 1]."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig as PythaeConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    network = VAE(config.model)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> ModelOutput:
            posterior = self.network.encode(x)
            return ModelOutput(embedding=posterior.mean, log_covariance=posterior.logvar)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.network.decode(z))

    clock = Clock(seconds)

    class Stopwatch(TrainingCallback):
        def on_train_step_end(self, training_config, **_) -> None:
            if clock.tick(config.batch):
                raise _Enough

    kind = "bce" if config.model.likelihood == "bernoulli" else "mse"
    model = PythaeVAE(
        PythaeConfig(input_dim=tuple(pictures.shape[1:]), latent_dim=config.model.latent, reconstruction_loss=kind),
        Encoder(),
        Decoder(),
    )
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_Enough):
        settings = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=config.batch,
            num_epochs=10_000,
            learning_rate=config.learning_rate,
        )
        BaseTrainer(model, BaseDataset(pictures, torch.zeros(len(pictures))), None, settings, [Stopwatch()]).train()
    logging.disable(logging.NOTSET)
    return clock.speed


@contextlib.contextmanager
def peers_data(name: str, root: Path) -> Iterator[torch.utils.data.Dataset]:
    """The set as a plain loop would read it: MNIST by torchvision, a zip unpacked into torchvision's ImageFolder."""
    if name == "digits":
        yield datasets.MNIST(str(root / "torchvision"), train=True, transform=transforms.ToTensor())
        return
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(root / f"{name}.zip") as archive:
            pictures = [n for n in archive.namelist() if n.endswith(".png")]
            archive.extractall(Path(folder) / "all", pictures)
        yield datasets.ImageFolder(folder, transforms.ToTensor())


def measure(name: str, args: argparse.Namespace) -> str:
    recipe = checkpoints.root() / name / "recipe.toml"
    config = TrainConfig.from_toml(recipe.read_text()).override(steps=10**6)
    model = config.model
    form = {"size": model.size, "channels": model.channels, "framing": config.framing}
    pictures = sets.load(config.data, args.data, **form)[0].images
    few = int(PYTHAE_BYTES / (4 * model.size**2 * model.channels))
    floats = torch.from_numpy(pictures[:few]).permute(0, 3, 1, 2).float() / 255
    with peers_data(name, args.data) as dataset:
        contestants: dict[str, Callable[[], float]] = {
            "ours": lambda: ours(config, pictures, args.seconds),
            "plain loop": lambda: plain(config, dataset, 0, args.seconds),
            "plain loop, 2 workers": lambda: plain(config, dataset, 2, args.seconds),
        }
        try:
            import pythae  # noqa: F401

            contestants["pythae's trainer"] = lambda: pythae_trainer(config, floats, args.seconds)
        except ImportError:
            print("(pythae is not installed: tests/bench/requirements.txt)")
        speeds: dict[str, list[float]] = {who: [] for who in contestants}
        for _, (who, run) in itertools.product(range(args.rounds), contestants.items()):
            speeds[who].append(run())
    rows = [[who, Sample(found, "pictures/s"), ratios(speeds["ours"], found)] for who, found in speeds.items()]
    weights = sum(p.numel() for p in VAE(model).parameters())
    return f"{name}: {model.size}x{model.size}x{model.channels}, {weights:,} weights, batch {config.batch}\n\n" + table(
        ["training", "speed", "ours against it"], rows
    )


def run(args: argparse.Namespace) -> None:
    for name in args.set or ["digits", "avatars"]:
        print(f"\n### Training on {measure(name, args)}")
