"""An atlas on disk: atlas.safetensors for its numbers, atlas.json for its words."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from vae.atlas import SHARES, Atlas, Named
from vae.errors import BadInput
from vae.priors import COMPONENTS, Mixture
from vae.storage.files import read_text
from vae.storage.tensors import Heads, read_tensors

PLAIN = ("kl", "mean", "covariance", "directions", "spreads", "likelihoods")  # saved under their own names
KEYS = ("name", "measure", "score", "share")  # of a named direction
EFFECT = ("effect", "low", "high", "trait", "drags")  # of one whose effect was looked at
MIXTURE = ("weights", "means", "factors")


def save(atlas: Atlas, folder: Path) -> None:
    """Writes atlas.safetensors and atlas.json into the folder."""
    tensors = {name: getattr(atlas, name) for name in PLAIN}
    tensors |= {f"mixture.{name}": getattr(atlas.mixture, name) for name in MIXTURE}
    tensors["examples"] = torch.from_numpy(atlas.examples)
    if atlas.named:
        tensors["named"] = torch.stack([row.vector for row in atlas.named])
    safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "atlas.safetensors")
    keys = [KEYS if row.effect is None else KEYS + EFFECT for row in atlas.named]
    rows = [{key: getattr(row, key) for key in of_row} for row, of_row in zip(atlas.named, keys, strict=True)]
    words = {"familiar_error": atlas.familiar_error, "named": rows}
    (folder / "atlas.json").write_text(json.dumps(words, indent=1), encoding="utf-8")


def load(folder: Path) -> Atlas:
    """What save wrote. BadInput where a part is missing, damaged or of the wrong shape or type: nothing else is loaded."""
    try:
        words = json.loads(read_text(folder / "atlas.json"))
        rows = [_named(row) for row in words["named"]]
        _check_words(rows, words["familiar_error"])
        tensors = read_tensors(folder / "atlas.safetensors", lambda heads: _check_heads(heads, len(rows)))
        if not (tensors["mixture.weights"] > 0).all():
            raise ValueError("it has weights that are not positive")
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        why = f": {error}".removesuffix(".") if isinstance(error, ValueError) else ""
        raise BadInput(f"The atlas in {folder} is missing or damaged{why}.") from error
    named = zip(rows, tensors.get("named", ()), strict=True)
    return Atlas(
        **{name: tensors[name] for name in PLAIN},
        named=tuple(replace(row, vector=vector) for row, vector in named),
        mixture=Mixture(*(tensors[f"mixture.{name}"] for name in MIXTURE)),
        examples=tensors["examples"].numpy(),
        familiar_error=float(words["familiar_error"]),
    )


def _named(row: dict[str, Any]) -> Named:
    """A row of atlas.json -> the direction, but for its vector. LookupError, TypeError or ValueError for what is none."""
    found = {key: row[key] for key in (KEYS + EFFECT if "effect" in row else KEYS)}
    if found.get("drags") is not None:
        other, share = found["drags"]
        found["drags"] = (str(other)[:100], float(share))
    return Named(vector=torch.empty(0), **found)


def _check_heads(found: Heads, named: int) -> None:
    """ValueError unless the tensors are those of an atlas, and of a size that one can have."""
    if "kl" in found and "likelihoods" not in found:
        raise ValueError("it was made by an earlier version; train the model again")
    units, parts = found["kl"][1], found["mixture.weights"][1]
    pictures, side, _, channels = found["examples"][1:]
    wanted: Heads = {"likelihoods": ("F32", SHARES), "examples": ("U8", pictures, side, side, channels)}
    wanted |= dict.fromkeys(("kl", "mean", "spreads"), ("F32", units))
    wanted |= dict.fromkeys(("covariance", "directions"), ("F32", units, units))
    wanted |= {"mixture.weights": ("F32", parts), "mixture.means": ("F32", parts, units)}
    wanted |= {"mixture.factors": ("F32", parts, units, units)} | ({"named": ("F32", named, units)} if named else {})
    if found != wanted:
        raise ValueError("its shapes or types are not an atlas's")
    if not (units and pictures) or units > 512 or parts > max(COMPONENTS) or pictures > 1000 or side > 256:
        raise ValueError(f"it is too large or empty, with {units} units, {parts} components and {pictures} pictures")


def _check_words(rows: list[Named], familiar_error: Any) -> None:
    """ValueError for a name twice or of no fit text, and for numbers that are none or out of their range."""
    if len({row.name for row in rows}) < len(rows):
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
        numbers = [row.low, row.high, row.trait, row.drags[1] if row.drags else 0.0]
        if not all(type(value) in (int, float) and abs(value) <= 100 for value in numbers) or row.low >= row.high:
            raise ValueError("it has a travel, trait or drag that is no number in its range")
