"""A checkpoint: a folder with a model, its atlas, the recipe that made it and its card. Found, loaded, listed."""

import hashlib
import os
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vae import device as devices
from vae.atlas import Atlas
from vae.errors import BadInput
from vae.model import VAE, Posterior, decoded, posterior_of, to_tensor
from vae.recipe import TrainConfig

if TYPE_CHECKING:
    from vae.measure.novelty import Sketch
    from vae.measure.verdicts import Verdict
    from vae.pictures.framing import Form

DEFAULT = "avatars"
BOUND = 8.0  # latents are clamped to +-BOUND: nothing a model learns lies further out
FILES = ("config.json", "model.safetensors", "atlas.json", "atlas.safetensors", "recipe.toml")
# What a checkpoint may hold beside FILES, as patterns; a folder with anything else in it is never replaced. Earlier versions
# left their critic and figures as PNG there.
MORE = (
    "README.md",
    "critic.safetensors",
    "training.safetensors",
    "decoder.onnx",
    "encoder.onnx",
    "figures/",
    "figures/*.webp",
    "figures/*.png",
)


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with what is known about it. Pictures are uint8 (N, H, W, C), latents (N, D)."""

    folder: Path
    model: VAE
    atlas: Atlas
    recipe: TrainConfig
    hub_id: str = ""  # "owner/name" of one from the hub, whose folder is in the hub's cache and not ours to write to
    sketch: "Sketch | None" = None  # of the training latents; earlier versions kept none

    @property
    def name(self) -> str:
        return self.hub_id.rpartition("/")[2] or self.folder.absolute().name

    @property
    def title(self) -> str:
        return title(self.recipe, self.name)

    @cached_property
    def card(self) -> str:
        """The model card's text, Markdown with YAML in front; empty where there is none."""
        from vae.storage.files import read_text

        path = self.folder / "README.md"
        return read_text(path) if path.is_file() else ""

    @cached_property
    def form(self) -> "Form":
        """What its pictures are, for framing.frame."""
        from vae.pictures.framing import Form

        return Form(self.recipe.framing, self.model.config.size, self.model.config.channels)

    def prepare(self, picture: np.ndarray) -> np.ndarray:
        """uint8 (H, W, C) of any size, or what else images.as_pictures takes -> uint8 in the model's form."""
        from vae.pictures.framing import frame

        return frame(picture, self.form).picture

    @cached_property
    def digest(self) -> str:
        """The start of the weights' SHA-256, 12 hexadecimal digits: what a place in latent space belongs to."""
        return hashlib.sha256((self.folder / "model.safetensors").read_bytes()).hexdigest()[:12]

    def encode(self, pictures: np.ndarray) -> Tensor:
        """Prepared pictures -> (N, D) float32 on the CPU: the means of their posteriors."""
        return self.posterior(pictures).mode()

    def posterior(self, pictures: np.ndarray) -> Posterior:
        """Prepared pictures -> their posteriors, float32 on the CPU. BadInput for another size or other colours."""
        return posterior_of(self.model, pictures)

    def decode(self, z: Tensor | np.ndarray | list) -> np.ndarray:
        """(N, D), clamped to +-BOUND -> uint8 (N, H, W, C). BadInput for another shape or values that are no numbers."""
        return decoded(self.model, self.checked(z))

    def optimize(self, z: Tensor | np.ndarray | list, pictures: np.ndarray, seconds: float = 2.0) -> Tensor:
        """(N, D) -> nearer to N prepared pictures, by measure.search. BadInput for a model without a gaussian's sigma."""
        from vae.measure import search

        if self.model.config.likelihood != "gaussian":
            raise BadInput(f"{self.name} has no gaussian likelihood; only for such models can a latent be optimised.")
        x = to_tensor(pictures, self.model.device)
        return search.optimize(self.model.decode, self.checked(z), x, sigma=float(self.model.sigma), seconds=seconds)

    def checked(self, z: Tensor | np.ndarray | list) -> Tensor:
        """(N, D) -> float32 on the model's device, clamped to +-BOUND. BadInput for another shape or what is no number."""
        try:
            z = torch.as_tensor(z, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInput("A latent is a list of numbers.") from error
        latent = self.model.config.latent
        if z.ndim != 2 or z.shape[1] != latent or not z.isfinite().all():
            raise BadInput(f"Latents of {self.name} are lists of {latent} finite numbers; these are {tuple(z.shape)}.")
        return z.clamp(-BOUND, BOUND).to(self.model.device)

    def novelty(self, z: Tensor) -> Tensor | None:
        """(N, D) -> (N,) in [0, 1]: the share of held-out pictures that are nearer to what was learnt from; None if unknown."""
        return None if self.sketch is None else self.sketch.novelty(self.atlas.coordinates(z))

    def verdict(self, pictures: np.ndarray) -> "Verdict":
        """Prepared pictures -> how typical each is: as it is read and as it comes back."""
        from vae.measure import verdicts

        z = self.encode(pictures)
        return verdicts.of_uploads(self.atlas, pictures, self.decode(z), z)


def root() -> Path:
    """The folder that names are looked up in: $VAE_CHECKPOINTS, else checkpoints/ beside the package."""
    return Path(os.environ.get("VAE_CHECKPOINTS") or Path(__file__).parents[1] / "checkpoints")


def names() -> list[str]:
    """The checkpoints at hand, the page's default first, then by name."""
    places = root().iterdir() if root().is_dir() else ()
    found = [path.name for path in places if all((path / file).is_file() for file in FILES)]
    return sorted(found, key=lambda name: (name != DEFAULT, name))


def load(source: str | Path, device: str | None = None, **hub: str | None) -> Checkpoint:
    """A checkpoint by its name under checkpoints/, its folder, or its hub id ("owner/name").

    hub: revision (a branch, tag or commit) and token. Raises BadInput where there is no such checkpoint, or where a file is
    missing, damaged or does not match the others.
    """
    from vae.measure import novelty
    from vae.storage import atlases
    from vae.storage.hub import folder_of

    target, text = devices.pick(device), str(source)
    is_name = re.fullmatch(r"[\w-][\w.-]*", text) is not None and os.path.isdir(root() / text)
    folder, hub_id = folder_of(root() / text if is_name else text, [*FILES, "README.md", novelty.FILE], **hub)
    if not (text and os.path.isdir(folder)):
        raise BadInput(f"There is no checkpoint {text[:60]!r}; at hand are {', '.join(names()) or 'none'}.")
    for file in FILES:
        if not (folder / file).is_file():
            raise BadInput(f"{folder} is no whole checkpoint: {file} is missing.")
    recipe, model, atlas = read_recipe(folder), VAE.from_pretrained(folder), atlases.load(folder)
    config = model.config
    if atlas.kl.shape != (config.latent,) or atlas.examples.shape[1:] != (config.size, config.size, config.channels):
        raise BadInput(f"The atlas in {folder} belongs to another model than the one beside it.")
    recipe = replace(recipe, model=config)  # an older recipe does not say what its model had not yet
    return Checkpoint(folder, model.to(target), atlas, recipe, hub_id, novelty.load(folder))


def read_recipe(folder: Path) -> TrainConfig:
    """The recipe in a checkpoint's folder. BadInput where there is none, or one that is damaged or absurdly long."""
    from vae.storage.files import read_text

    return TrainConfig.from_toml(read_text(folder / "recipe.toml", most=2**16))


def title(recipe: TrainConfig, name: str) -> str:
    """What a checkpoint is called on a page, in at most 100 characters: its recipe's title, else its name."""
    return (recipe.card.get("title") or name.capitalize())[:100]
