"""The checkpoint folder that a training ends in: weights, atlas, recipe, card and figures, whole and at once; and its upload."""

import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Collection
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch

from vae import checkpoints
from vae.checkpoints import FILES, MORE
from vae.data import Pictures
from vae.errors import BadInput
from vae.measure import novelty
from vae.measure.directions import merged
from vae.measure.evaluation import SIGMA_PICTURES, compare, estimate_sigma, evaluate
from vae.measure.fit import fit_atlas
from vae.model import VAE, VAEConfig
from vae.publish.card import card
from vae.publish.figures import draw_figures
from vae.recipe import TrainConfig
from vae.storage import atlases
from vae.storage.files import claimed, read_text, written_folder

KEPT_PICTURES = 5000  # that the atlas of a visitor's model is fitted on


def check(folder: Path, recipe: TrainConfig, train: Pictures, heldout: Pictures, figures: bool = True) -> None:
    """BadInput for whatever publish would stumble over: asked before a training's first step, not after its last.

    The start is held out, the categories have their columns, the figures their package, the folder is free or holds a whole
    checkpoint and nothing else, and the disk has room.
    """
    if recipe.start and recipe.start not in heldout.names:
        raise BadInput(f"The recipe's start is {recipe.start!r}; it must be the name of one of the held-out pictures.")
    merged(train.attributes or {}, recipe.categories)
    if figures and not importlib.util.find_spec("matplotlib"):
        raise BadInput("The card's figures need the package matplotlib: pip install matplotlib.")
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in VAE(recipe.model).parameters())
    with claimed(folder) as aside:
        refuse_foreign(folder)
        free, wanted = shutil.disk_usage(aside).free, 20 * weights + 50 * 2**20  # a run's state is 16 bytes a weight
    if free < wanted:
        raise BadInput(f"{folder} has {free / 2**20:,.0f} MB of room; a run wants {wanted / 2**20:,.0f} MB there.")


def publish(
    folder: str | Path, model: VAE, train: Pictures, heldout: Pictures, recipe: TrainConfig, history: list[list[float]],
    *, seconds: float = 0.0, figures: bool = True, others: np.ndarray | None = None,
) -> dict[str, float]:  # fmt: skip
    """Writes the checkpoint folder, whole and at once; returns evaluate's figures on the held-out pictures.

    All that is measured is measured on the weights as they were saved, in half precision. history is Progress.history.
    Without figures the card has none, and the atlas is fitted on fewer pictures and no reader looks at what its directions
    draw: a visitor waits for it. others: pictures of other sets, as fit_judge takes them. BadInput as check says.
    """
    folder = Path(folder)
    check(folder, recipe, train, heldout, figures)
    if model.config.likelihood == "gaussian":
        some = train.images[:: max(1, len(train) // SIGMA_PICTURES)]
        model.sigma.fill_(estimate_sigma(model, some, recipe.seed))
    with written_folder(folder) as beside:
        model.save_pretrained(beside)
        (beside / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
        shipped = VAE.from_pretrained(beside).to(model.device)
        known = train if figures else train.take(slice(0, KEPT_PICTURES))
        atlas = fit_atlas(
            shipped, known.images, merged(known.attributes or {}, recipe.categories), heldout=heldout.images, others=others,
            labels=(heldout.attributes or {}).get("label"),
            told=merged(heldout.attributes or {}, recipe.categories) if figures else None,
            may_show=recipe.show_data, seed=recipe.seed,
            first=heldout.names.index(recipe.start) if recipe.start else None,
        )  # fmt: skip
        atlases.save(atlas, beside)
        sketch = novelty.sketch(shipped, atlas, known.images, heldout.images, recipe.seed)
        if sketch is not None:
            novelty.save(sketch, beside)
        result = evaluate(shipped, heldout.images, recipe.seed)
        checkpoint = checkpoints.load(beside, device=str(model.device))
        rows = compare(checkpoint, train, heldout, recipe.seed) if figures else {}
        if figures:
            draw_figures(beside / "figures", checkpoint, heldout if recipe.show_data else None, history)
        text = card(checkpoint, folder.absolute().name, result, rows, train, history, seconds, figures)
        (beside / "README.md").write_text(text, encoding="utf-8")
        refuse_foreign(folder)  # once more: hours may have passed
    return result


def is_whole(folder: Path) -> bool:
    """Whether the folder holds all of checkpoints.FILES, with a recipe and a config.json of ours."""
    try:
        VAEConfig.from_dict(json.loads(read_text(folder / "config.json")))
        return bool(checkpoints.read_recipe(folder)) and all((folder / file).is_file() for file in FILES)
    except (ValueError, TypeError, RecursionError):
        return False


def refuse_foreign(
    folder: Path, ours: Collection[str] = (*FILES, *MORE), whole: Callable[[Path], bool] = is_whole, what: str = "a checkpoint"
) -> None:  # fmt: skip
    """BadInput unless the folder is absent, empty, or `whole` with nothing in it but paths that fit the patterns of `ours`.

    For whatever is in it goes when `what` takes its place. Names of folders end in "/".
    """
    if os.path.islink(folder) or os.path.isfile(folder):
        raise BadInput(f"{folder} is no folder; name another place.")
    if not os.path.isdir(folder):  # Path.is_dir fails for a name that is too long
        return
    for found in folder.rglob("*"):
        name = found.relative_to(folder).as_posix() + "/" * found.is_dir()
        fits = (name.count("/") == pattern.count("/") and fnmatchcase(name, pattern) for pattern in ours)
        if found.is_symlink() or not any(fits):
            raise BadInput(f"{folder} holds something else than {what}: {name}; name another folder.")
    if any(folder.iterdir()) and not whole(folder):
        raise BadInput(f"{folder} holds something else than {what}; name another folder.")


def push(folder: str | Path, hub_id: str, *, private: bool = False, token: str | None = None) -> str:
    """Uploads a whole checkpoint, its card included, to the hub as "owner/name" -> its address there.

    Files of an older one on the hub go. BadInput for what is no whole checkpoint or holds more, and where the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    checkpoint, api = checkpoints.load(folder, "cpu"), HfApi(token=token)
    refuse_foreign(checkpoint.folder)
    if not checkpoint.card:
        raise BadInput(f"{folder} has no card; a README.md is to say where its model comes from.")
    try:
        api.create_repo(hub_id, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=hub_id, folder_path=checkpoint.folder, delete_patterns=[*FILES, *MORE]))
    except (OSError, ValueError, HTTPError) as error:
        raise BadInput(f"{hub_id} could not be uploaded: {str(error).strip().partition(chr(10))[0]}") from error
