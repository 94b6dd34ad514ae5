"""The checkpoint folder that a training ends in: weights, atlas, recipe, card and figures, whole and at once."""

import tomllib
from pathlib import Path

from vae import checkpoints
from vae.data import Pictures
from vae.directions import merged
from vae.errors import BadInput
from vae.files import written_folder
from vae.measure.evaluation import SIGMA_PICTURES, compare, estimate_sigma, evaluate
from vae.measure.fit import fit_atlas
from vae.model import VAE
from vae.publish.card import card
from vae.publish.figures import draw_figures
from vae.sharpen import critic as critics
from vae.sharpen.critic import Critic


def publish(
    folder: str | Path,
    model: VAE,
    train: Pictures,
    heldout: Pictures,
    recipe: str,
    history: list[list[float]],
    *,
    seed: int = 0,
    seconds: float = 0.0,
    critic: Critic | None = None,
    figures: bool = True,
) -> dict[str, float]:
    """Writes the checkpoint folder, whole and at once; returns evaluate's figures on the held-out pictures.

    All that is measured is measured on the weights as they were saved, in half precision. recipe is a TOML text with
    framing and card; history is Progress.history; a critic is saved beside the weights. Without figures the card has none and
    the atlas is fitted on fewer pictures: a visitor waits for it.
    """
    if model.config.likelihood == "gaussian":
        some = train.images[:: max(1, len(train) // SIGMA_PICTURES)]
        model.sigma.fill_(estimate_sigma(model, some, seed))
    folder = Path(folder)
    checkpoints.refuse_foreign(folder)
    with written_folder(folder) as beside:
        model.save_pretrained(beside)
        (beside / "recipe.toml").write_text(recipe, encoding="utf-8")
        if critic is not None:
            critics.save(critic, beside / "critic.safetensors")
        shipped = VAE.from_pretrained(beside).to(model.device)
        known = train if figures else train.take(slice(0, 5000))
        settings = tomllib.loads(recipe)
        may_show, start = settings.get("show_data", True), settings.get("start")
        if start and start not in heldout.names:
            raise BadInput(f"The recipe's start is {start!r}; it must be the name of one of the held-out pictures.")
        fit_atlas(
            shipped,
            known.images,
            merged(known.attributes or {}, settings.get("categories", {})),
            heldout=heldout.images,
            labels=(heldout.attributes or {}).get("label"),
            first=heldout.names.index(start) if start else None,
            may_show=may_show,
            seed=seed,
        ).save(beside)
        result = evaluate(shipped, heldout.images, seed)
        checkpoint = checkpoints.load(beside, device=str(model.device))
        rows = compare(checkpoint, train, heldout, seed) if figures else {}
        if figures:
            draw_figures(beside / "figures", checkpoint, heldout if may_show else None, history, seed)
        text = card(checkpoint, folder.name, result, rows, train, history, seconds, figures)
        (beside / "README.md").write_text(text, encoding="utf-8")
    return result
