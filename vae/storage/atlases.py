"""An atlas on disk: atlas.safetensors for its numbers, atlas.json for its words."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from vae.atlas import SHARES, Atlas, Named
from vae.errors import BadInput
from vae.priors import COMPONENTS, Mixture
from vae.storage import judges
from vae.storage.files import read_text
from vae.storage.tensors import Heads, read_tensors

PLAIN = ("kl", "mean", "covariance", "directions", "spreads", "likelihoods")  # saved under their own names
# Of a named direction; those of earlier versions have the first four.
KEYS = ("name", "measure", "score", "share", "effect", "low", "high", "trait", "drags")
MIXTURE = ("weights", "means", "factors")
# Saved as float16: of the shipped atlases typicality moves by under 0.005, a sample by under 0.003, its picture by a step of
# 255. Not the covariance, whose small eigenvalues a knob's reading divides by: readings moved by 0.8 of a step.
HALF = ("directions", "mixture.means", "mixture.factors")


def save(atlas: Atlas, folder: Path) -> None:
    """Writes atlas.safetensors and atlas.json into the folder."""
    count, side, _, channels = atlas.examples.shape
    strip, content = atlas.examples.reshape(count * side, side, channels), io.BytesIO()
    Image.fromarray(np.broadcast_to(strip, (*strip.shape[:2], 3))).save(
        content, "WEBP", lossless=True, quality=100, method=6
    )
    webp = torch.frombuffer(bytearray(content.getvalue()), dtype=torch.uint8)
    (folder / "atlas.safetensors").write_bytes(packed(atlas, examples=webp))
    rows = [{key: getattr(row, key) for key in KEYS} for row in atlas.named]
    words = {"familiar_error": atlas.familiar_error, "examples": atlas.examples.shape, "named": rows}
    (folder / "atlas.json").write_text(json.dumps(words, indent=1), encoding="utf-8")


def packed(atlas: Atlas, **others: torch.Tensor) -> bytes:
    """An atlas but for its words, as safetensors: what browsers get. others: in place of its own tensors.

    On the disk the examples are a lossless WebP, one below the other, which takes a quarter of the bytes.
    """
    tensors = {name: getattr(atlas, name) for name in PLAIN}
    tensors |= {f"mixture.{name}": getattr(atlas.mixture, name) for name in MIXTURE}
    tensors["examples"] = torch.from_numpy(atlas.examples)
    if atlas.named:
        tensors["named"] = torch.stack([row.vector for row in atlas.named])
    tensors |= judges.packed(atlas.judge) if atlas.judge else {}
    tensors |= {name: tensors[name].half() for name in HALF} | others
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})


def load(folder: Path) -> Atlas:
    """What save wrote. BadInput where a part is missing, damaged or of the wrong shape or type: nothing else is loaded."""
    try:
        words = json.loads(read_text(folder / "atlas.json"))
        rows = [Named(vector=torch.empty(0), **{key: row[key] for key in KEYS if key in row}) for row in words["named"]]
        _check_words(rows, words["familiar_error"])
        shape = words.get("examples")  # None where they are as they were in earlier versions, plain bytes
        tensors = read_tensors(folder / "atlas.safetensors", lambda heads: _check_heads(heads, len(rows), shape))
        if not (tensors["mixture.weights"] > 0).all():
            raise ValueError("it has weights that are not positive")
        judge = judges.unpacked(tensors) if judges.QUANTILES in tensors else None
        tensors |= {name: tensors[name].float() for name in HALF}
        examples = _unrolled(tensors["examples"].numpy().tobytes(), shape) if shape else tensors["examples"].numpy()
    except (LookupError, TypeError, ValueError, RecursionError, OSError) as error:
        why = f": {error}".removesuffix(".") if isinstance(error, ValueError) else ""
        raise BadInput(f"The atlas in {folder} is missing or damaged{why}.") from error
    named = zip(rows, tensors.get("named", ()), strict=True)
    return Atlas(
        **{name: tensors[name] for name in PLAIN},
        named=tuple(replace(row, vector=vector, drags=row.drags and (*row.drags,)) for row, vector in named),
        mixture=Mixture(*(tensors[f"mixture.{name}"] for name in MIXTURE)),
        examples=examples,
        familiar_error=float(words["familiar_error"]),
        judge=judge,
    )


def _unrolled(content: bytes, shape: list[int]) -> np.ndarray:
    """The bytes of a WebP of (count, side, side, channels) pictures -> these. ValueError or OSError where they are others."""
    count, side, _, channels = shape
    with Image.open(io.BytesIO(content), formats=["WEBP"]) as image:
        if image.size != (side, count * side):
            raise ValueError("its examples are of another size than it says")
        return np.array(image.convert("RGB"))[..., :channels].reshape(shape)


def _check_heads(found: Heads, named: int, shape: Any) -> None:
    """ValueError unless the tensors are those of an atlas, and of a size that one can have."""
    if "kl" in found and "likelihoods" not in found:
        raise ValueError("it was made by an earlier version; train the model again")
    units, parts = found["kl"][1], found["mixture.weights"][1]
    pictures, side, _, channels = shape or found["examples"][1:]
    plain = ("U8", pictures, side, side, channels)
    wanted: Heads = {"likelihoods": ("F32", SHARES), "examples": found["examples"] if shape else plain}
    wanted |= dict.fromkeys(("kl", "mean", "spreads"), ("F32", units))
    wanted |= dict.fromkeys(("covariance", "directions"), ("F32", units, units))
    wanted |= {"mixture.weights": ("F32", parts), "mixture.means": ("F32", parts, units)}
    wanted |= {"mixture.factors": ("F32", parts, units, units)} | ({"named": ("F32", named, units)} if named else {})
    halves = {name: ("F16", *shape) for name, (_, *shape) in wanted.items() if name in HALF}
    if judges.QUANTILES in found:
        wanted |= judges.heads(units, channels)
    if found not in (wanted | halves, wanted):  # all of an earlier version's are F32
        raise ValueError("its shapes or types are not an atlas's")
    if not (units and pictures) or units > 512 or parts > max(COMPONENTS) or pictures > 1000 or side > 256:
        raise ValueError(f"it is too large or empty, with {units} units, {parts} components and {pictures} pictures")
    is_webp = len(found["examples"]) == 2 and found["examples"][1] < 2**28
    if shape and not (is_webp and plain[1:] == tuple(shape) and channels in (1, 3)):
        raise ValueError("its examples are not an atlas's")


def _check_words(rows: list[Named], familiar_error: Any) -> None:
    """ValueError for a name twice or of no fit text, and for numbers that are none or out of their range."""
    names = {row.name for row in rows}
    if len(names) < len(rows):
        raise ValueError("it has a name twice")
    for row in rows:
        is_named = isinstance(row.name, str) and 0 < len(row.name) <= 100
        if not is_named or row.measure not in ("balanced accuracy", "correlation"):
            raise ValueError("it has a direction without a name or a measure")
    told = (value for row in rows for value in (row.score, row.share, row.effect))
    numbers = [familiar_error, *(value for value in told if value is not None)]
    if not all(type(value) in (int, float) and -1 <= value <= 1 for value in numbers):  # NaN is not
        raise ValueError("it has a score, share, effect or error that is no number in its range")
    for row in rows:
        other, *share = (row.name, 0.0) if row.drags is None else row.drags
        numbers = [row.low, row.high, row.trait, *share]
        if not all(type(value) in (int, float) and abs(value) <= 100 for value in numbers) or row.low >= row.high:
            raise ValueError("it has a travel, trait or drag that is no number in its range")
        if other not in names or len(share) != 1:
            raise ValueError("it has a direction that drags what is none")
