"""A run's file: how it is put down, and taken up again on the same pictures by the same recipe."""

import hashlib
import json
from pathlib import Path

import numpy as np
import safetensors.torch
from safetensors import SafetensorError, safe_open

from vae.errors import BadInput
from vae.recipe import ENDS, TrainConfig, fields
from vae.runs.run import Run
from vae.storage.files import written_whole


def save(run: Run, path: Path, recipe: TrainConfig, pictures: str) -> None:
    """Writes the run to a file, whole or not at all. pictures: their fingerprint."""
    tensors, numbers = run.capture()
    numbers |= {"seconds": run.seconds, "rate_scale": run.rate_scale, "rollbacks": run.rollbacks}
    meta = {"numbers": json.dumps(numbers), "recipe": recipe.to_toml(), "pictures": pictures}
    with written_whole(path) as file:
        file.write(safetensors.torch.save({name: t.contiguous().cpu() for name, t in tensors.items()}, meta))


def load(run: Run, path: Path, recipe: TrainConfig, pictures: str) -> None:
    """Takes up what save wrote. BadInput where it cannot be read, or belongs to other pictures or another recipe.

    The end of the recipe may be another one: that is how a run is made longer.
    """
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        numbers, saved = json.loads(meta["numbers"]), TrainConfig.from_toml(meta["recipe"])
        seconds, rate_scale, rollbacks = (numbers[name] for name in ("seconds", "rate_scale", "rollbacks"))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BadInput(f"The run in {path} cannot be read; start again without resuming.") from error
    if differs := _differing(saved, recipe):
        raise BadInput(f"The run in {path} has another recipe: {differs}. Give it the same one, or another --out.")
    if meta.get("pictures") != pictures:
        raise BadInput(f"The run in {path} learnt from other pictures; give it the same ones, or another --out.")
    shapes, own = ({name: t.shape for name, t in some.items()} for some in (tensors, run.tensors()))
    if shapes != own or not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise BadInput(f"The run in {path} is of another network, or damaged; start again without resuming.")
    run.restore((tensors, numbers))
    run.seconds, run.rate_scale, run.rollbacks = seconds, rate_scale, rollbacks


def fingerprint(pictures: np.ndarray) -> str:
    """Which pictures these are: a hash of all their bytes and of their order."""
    return hashlib.blake2b(np.ascontiguousarray(pictures).data, digest_size=16).hexdigest()


def _differing(saved: TrainConfig, given: TrainConfig) -> str:
    """The entries in which two recipes differ, in words: "batch is 64, was 32"; what the weights do not hang on aside."""
    found = []
    for name, (table, field) in fields().items():
        was, now = (getattr(getattr(recipe, table) if table else recipe, field.name) for recipe in (saved, given))
        if was != now and name not in (*ENDS, "show_data", "start", "others"):
            found.append(f"{name} is {now}, was {was}")
    if saved.weights != given.weights:
        found.append(f"weights is {given.weights}, was {saved.weights}")
    return ", ".join(found)
