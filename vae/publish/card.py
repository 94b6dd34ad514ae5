"""The model card: where a model comes from, what it is worth, what it cannot do."""

from huggingface_hub import ModelCardData

from vae import device as devices
from vae.atlas import Atlas
from vae.checkpoints import Checkpoint
from vae.data import Pictures
from vae.directions import merged, why_not
from vae.measure.evaluation import BERNOULLI_NOTE, DISTANCES_NOTE, distance_table, table
from vae.measure.features import TEACHER


def card(
    checkpoint: Checkpoint,
    name: str,
    numbers: dict[str, float],
    rows: dict[str, dict[str, float]],
    train: Pictures,
    history: list[list[float]],
    seconds: float,
    figures: bool,
) -> str:
    recipe, words, config = checkpoint.recipe, checkpoint.recipe.get("card", {}), checkpoint.model.config
    front = ModelCardData(
        license=words.get("license", "apache-2.0"),
        library_name="pytorch",
        pipeline_tag="unconditional-image-generation",
        tags=["vae", "variational-autoencoder", "latent-space", "image-generation"],
    )
    weights = sum(parameter.numel() for parameter in checkpoint.model.parameters())
    atlas, parts = checkpoint.atlas, len(checkpoint.atlas.mixture.weights)
    sharpened = (
        f" (the last {recipe['sharpen']['share']:.0%} of the run with a critic)" if recipe["sharpen"]["share"] else ""
    )
    is_taught = recipe["perceptual"] or (recipe["sharpen"]["share"] and recipe["sharpen"]["perceptual"])
    taught = f" {TEACHER}, which knows photographs of everyday things, was its teacher." if is_taught else ""
    lines = [
        f"---\n{front.to_yaml()}\n---\n",
        f"# {words.get('title') or name}\n",
        f"{words.get('about', '')}\n",
        f"A variational autoencoder: {config.size} x {config.size} pixels, {config.channels} "
        f"channel{'s' if config.channels > 1 else ''}, squeezed into {config.latent} numbers. {weights:,} weights, "
        f"saved as fp16.\n",
        "## How it was made\n",
        f"- Data: {recipe['data']}, {len(train):,} pictures to learn from. {words.get('credit', '')}",
        f"- Seed {recipe['seed']}, {int(history[-1][0]) if history else 0:,} steps of {min(recipe['batch'], len(train))} pictures"
        f"{sharpened}, "
        f"{seconds / 60:.0f} minutes on {devices.describe(checkpoint.model.device)}.{taught}",
        f"- The same again: `python -m vae train checkpoints/{name}/recipe.toml --out checkpoints/{name}`\n",
        "## On held-out pictures\n",
        table(numbers),
        f"\nPrinted by `python -m vae evaluate {name}`.",
        f"\n{BERNOULLI_NOTE}" if config.likelihood == "bernoulli" else "",
        f"\nThe mixture prior has {parts} component{'s' if parts > 1 else ''}, chosen by held-out likelihood.\n",
    ]
    if rows:
        lines += [distance_table(rows), f"\n{DISTANCES_NOTE}\n"]
    if atlas.named:
        lines += ["## Named directions\n", _named_table(atlas)]
    columns = merged(train.attributes or {}, recipe.get("categories", {}))
    left_out = [f"{column} ({reason})" for column in columns if (reason := why_not(columns[column]))]
    if left_out:
        lines.append(f"\nNo direction was made of {', '.join(left_out)}.")
    if figures:
        may_show = recipe.get("show_data", True)
        lines += [
            "\n## Figures\n",
            "Loss terms while learning:\n\n![loss](figures/loss.png)\n",
            "What each unit says:\n\n![KL per unit](figures/kl.png)\n",
            "Held-out pictures, and what the model makes of them:\n\n![reconstructions](figures/reconstructions.png)\n"
            if may_show
            else "The pictures that it learnt from may not be shown here: all below are the model's own.\n",
            "Pictures nobody drew, from both priors at temperature 1:\n\n![samples](figures/samples.png)\n",
            "The first knobs, from low to high:\n\n![traversals](figures/traversals.png)\n",
        ]
    lines += [
        "\n## What it cannot do\n",
        words.get("failures") or "It knows nothing but the pictures it was trained on.",
    ]
    return "\n".join(lines) + "\n"


def _named_table(atlas: Atlas) -> str:
    """Each named direction with its score and the column of numbers that it drags along most."""
    lines = [
        "One step goes from the mean of the pictures without to the mean of those with, all other attributes being equal, or is",
        "one standard deviation. Told: how well latents left out of the fit tell it. Drags: which other column of numbers moves",
        "most along with one step, in its own steps.\n",
        "| direction | told | drags |",
        "|---|---|---|",
    ]
    for row in atlas.named:
        drags = "{} {:.2f}".format(*atlas.dragged(row.name)) if atlas.dragged(row.name) else ""
        lines.append(f"| {row.name} | {row.measure} {row.score:.2f} | {drags} |")
    return "\n".join(lines)
