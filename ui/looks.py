"""Looks: a decoded picture made to look well at display size. They show what the model did not make."""

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from vae.errors import BadInput
from vae.pictures.images import as_image

LOOKS = ("polished", "retro", "ink")
FINISH_SCALE = 4
SEPIA = (0.45, 0.50, 0.12, 12, 0.38, 0.46, 0.11, 6, 0.28, 0.36, 0.10, 2)  # RGB and a constant to R, G and B
PAPER = (236, 224, 200)


def finish(picture: np.ndarray, look: str = "polished") -> np.ndarray:
    """(H, W, C) -> (FINISH_SCALE * H, FINISH_SCALE * W, C or 3): a decoded picture made to look well at display size.

    "polished" is Lanczos with mild sharpening and contrast, "retro" that in sepia with grain and faded edges; "ink" draws edges
    as a difference of two blurs and bends it into black and white (Winnemoeller 2011, "XDoG"). It shows what the model did not
    make: never compare a finished picture with an original.
    """
    if look not in LOOKS:
        raise BadInput(f"There is no look {look!r}: {', '.join(LOOKS)} are known.")
    image = as_image(picture)
    image = image.resize((image.width * FINISH_SCALE, image.height * FINISH_SCALE), Image.Resampling.LANCZOS)
    if look == "ink":
        return _ink(image)
    image = image.filter(ImageFilter.UnsharpMask(radius=0.6 * FINISH_SCALE, percent=70, threshold=2))
    image = Image.blend(image, ImageOps.autocontrast(image, cutoff=1, preserve_tone=True), 0.35)
    if look == "retro":
        return _retro(image.convert("RGB"))
    return np.array(image).reshape(image.height, image.width, -1)


def _retro(image: Image.Image) -> np.ndarray:
    sepia = np.asarray(image.convert("RGB", SEPIA), dtype=np.float32)
    grain = np.random.default_rng(0).normal(0, 7, (image.height, image.width, 1))  # the same grain on every picture
    down, across = np.meshgrid(np.linspace(-1, 1, image.height), np.linspace(-1, 1, image.width), indexing="ij")
    faded = np.clip((down**4 + across**4) * 0.55, 0, 1)[..., None]
    return np.clip(sepia + grain + (PAPER - sepia) * faded, 0, 255).round().astype(np.uint8)


def _ink(image: Image.Image) -> np.ndarray:
    fine, coarse = (
        np.asarray(image.convert("L").filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255
        for radius in (0.5 * FINISH_SCALE, 0.8 * FINISH_SCALE)
    )
    line = fine + 12 * (fine - coarse)  # edges are pushed below and above the picture's own grey
    drawn = np.where(line > 0.45, 1, 1 + np.tanh(6 * (line - 0.45)))
    return np.clip(255 * drawn, 0, 255).round().astype(np.uint8)[..., None]
