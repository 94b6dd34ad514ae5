"""A checkpoint: a folder with a model, its atlas, the recipe that made it and its card. Found, loaded, listed."""

import contextlib
import hashlib
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from torch import Tensor

from vae import device as devices
from vae import latents
from vae.atlas import Atlas, errors
from vae.errors import BadInput
from vae.model import VAE, Posterior, decoded, posterior_of, to_tensor
from vae.recipe import FRAMINGS

if TYPE_CHECKING:
    from vae.pictures.framing import Form

DEFAULT = "avatars"
BOUND = 8.0  # latents are clamped to +-BOUND: nothing a model learns lies further out
FILES = ("config.json", "model.safetensors", "atlas.json", "atlas.safetensors", "recipe.toml")


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with what is known about it. Pictures are uint8 (N, H, W, C), latents (N, D)."""

    folder: Path
    model: VAE
    atlas: Atlas
    recipe: dict

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def title(self) -> str:
        return self.recipe.get("card", {}).get("title") or self.name.capitalize()

    @cached_property
    def card(self) -> str:
        """The model card's text, Markdown with YAML in front; empty where there is none."""
        path = self.folder / "README.md"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    @cached_property
    def form(self) -> "Form":
        """What its pictures are, for framing.frame."""
        from vae.pictures.framing import Form

        return Form(self.recipe["framing"], self.model.config.size, self.model.config.channels)

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
        config = self.model.config
        wanted = (config.size, config.size, config.channels)
        if pictures.ndim != 4 or pictures.shape[1:] != wanted:
            raise BadInput(f"Pictures are {pictures.shape}; {self.name} wants N of {wanted}.")
        return posterior_of(self.model, pictures)

    def decode(self, z: Tensor | np.ndarray | list) -> np.ndarray:
        """(N, D), clamped to +-BOUND -> uint8 (N, H, W, C). BadInput for another shape or values that are no numbers."""
        return decoded(self.model, self._checked(z))

    def refine(
        self, z: Tensor | np.ndarray | list, pictures: np.ndarray, seconds: float = 2.0
    ) -> Iterator[latents.Refined]:
        """From (N, D) on towards N prepared pictures by latents.refine, with decode's checks and clamp.

        BadInput for a Bernoulli model, which has no sigma to weigh pixels against the prior with.
        """
        if self.model.config.likelihood != "gaussian":
            raise BadInput(f"{self.name} has no gaussian likelihood; only such models can refine a latent.")
        x = to_tensor(pictures, self.model.device)
        return latents.refine(self.model.decode, self._checked(z), x, sigma=float(self.model.sigma), seconds=seconds)

    def _checked(self, z: Tensor | np.ndarray | list) -> Tensor:
        try:
            z = torch.as_tensor(z, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInput("A latent is a list of numbers.") from error
        latent = self.model.config.latent
        if z.ndim != 2 or z.shape[1] != latent or not z.isfinite().all():
            raise BadInput(f"Latents of {self.name} are lists of {latent} finite numbers; these are {tuple(z.shape)}.")
        return z.clamp(-BOUND, BOUND).to(self.model.device)

    def is_familiar(self, picture: np.ndarray) -> bool:
        """Whether a prepared picture (H, W, C) comes back about as well as held-out pictures did."""
        pictures = picture[None]
        return float(errors(pictures, self.decode(self.encode(pictures)))) <= self.atlas.familiar_error


def root() -> Path:
    """The folder that names are looked up in: $VAE_CHECKPOINTS, else checkpoints/ beside the package."""
    return Path(os.environ.get("VAE_CHECKPOINTS") or Path(__file__).parents[1] / "checkpoints")


def names() -> list[str]:
    """The checkpoints at hand, the page's default first, then by name."""
    if not root().is_dir():
        return []
    found = [path.name for path in root().iterdir() if all((path / file).is_file() for file in FILES)]
    return sorted(found, key=lambda name: (name != DEFAULT, name))


def load(source: str | Path, device: str | None = None) -> Checkpoint:
    """A checkpoint by its name under checkpoints/, its folder, or its hub id ("owner/name").

    Raises BadInput where there is none, or where a file is missing, damaged or does not match the others.
    """
    target = devices.pick(device)
    folder = _find(source)
    missing = [file for file in FILES if not (folder / file).is_file()]
    if missing:
        raise BadInput(f"{folder} is no whole checkpoint: {missing[0]} is missing.")
    try:
        recipe = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
        model = VAE.from_pretrained(folder)
    except BadInput:
        raise
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:  # broken TOML, JSON or UTF-8; JSON that is no object
        raise BadInput(f"{folder} is damaged: its recipe or config cannot be read ({error}).") from error
    if recipe.get("framing") not in FRAMINGS:
        raise BadInput(f"The recipe in {folder} has no framing that is known: {', '.join(FRAMINGS)}.")
    atlas = Atlas.load(folder)
    config = model.config
    if atlas.kl.shape != (config.latent,) or atlas.examples.shape[1:] != (config.size, config.size, config.channels):
        raise BadInput(f"The atlas in {folder} belongs to another model than the one beside it.")
    return Checkpoint(folder, model.to(target), atlas, recipe)


def _find(source: str | Path) -> Path:
    text = str(source)
    if not re.fullmatch(r"[\w-][\w.-]*", text):
        if Path(source).is_dir():
            return Path(source)
    elif (root() / text).is_dir():
        return root() / text
    elif Path(source).is_dir():
        return Path(source)
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", text):
        with contextlib.suppress(OSError, HFValidationError):
            return Path(snapshot_download(text, allow_patterns=[*FILES, "README.md"]))
        raise BadInput(f"The checkpoint {text} is neither a folder here nor to be had from the hub.")
    raise BadInput(f"There is no checkpoint {text[:60]!r}; at hand are {', '.join(names()) or 'none'}.")


def refuse_foreign(folder: Path, mark: str = "config.json") -> None:
    """BadInput if the folder holds something without a file of that name, or a repository: both would go."""
    is_ours = (folder / mark).is_file() and not (folder / ".git").exists()
    if folder.exists() and not is_ours and (folder.is_file() or any(folder.iterdir())):
        what = "a checkpoint" if mark == "config.json" else "what stood there before"
        raise BadInput(f"{folder} holds something else than {what}; name another folder.")
