"""What a trained model is worth on pictures it never saw, and the checkpoint that says so: atlas, card and figures."""

import os
import tomllib
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import ModelCardData

from vae import checkpoints, distances, images, latents
from vae import critic as critics
from vae import device as devices
from vae.atlas import PRIORS, Atlas, chart
from vae.checkpoints import Checkpoint
from vae.critic import Critic
from vae.data import Pictures
from vae.directions import why_not
from vae.errors import BadInput
from vae.losses import bernoulli, gaussian
from vae.model import VAE, to_tensor

BATCH = 250
SIGMA_PICTURES = 5000
COMPARED = 5000  # pictures on each side of a distance between sets
FEWEST = 1500  # with fewer pictures than features a covariance says nothing
NEAREST = 1000  # pictures whose nearest neighbour in the training set is looked for

# key -> unit and how the number is made
NUMBERS = {
    "pictures": ("", "held-out pictures, none of which the model was trained on"),
    "elbo": ("nats per picture", "evidence lower bound, one posterior sample a picture; higher is better"),
    "reconstruction": ("nats per picture", "-log p(x|z) summed over pixels and channels, z a posterior sample"),
    "kl": ("nats per picture", "KL(q(z|x) || N(0, I)) in closed form, summed over units"),
    "rmse": ("of the range 0 to 1", "root mean squared error between a picture and the decoded posterior mean"),
    "psnr": ("dB", "-20 log10 of that error"),
    "active_units": ("", "units that say more than 0.01 nats on average"),
    "units": ("", "numbers in a latent"),
    "sigma": ("of the range 0 to 1", "noise of the gaussian likelihood, estimated on training pictures"),
}
BERNOULLI_NOTE = (
    "The Bernoulli term takes grey values for probabilities: it ranks models of this kind, but it is no density of "
    "grey pictures, and must not be compared with one."
)


def evaluate(model: VAE, pictures: np.ndarray, seed: int = 0) -> dict[str, float]:
    """uint8 (N, H, W, C) -> the figures that NUMBERS explains; the noise of the posterior samples comes from the seed."""
    config = model.config
    if len(pictures) == 0 or pictures.shape[1:] != (config.size, config.size, config.channels):
        raise BadInput(
            f"Pictures are {pictures.shape}; the model wants (N, {config.size}, {config.size}, {config.channels})."
        )
    generator = devices.noise_generator(seed)
    reconstruction, squared, unit_kl = 0.0, 0.0, torch.zeros(config.latent, dtype=torch.float64)
    with torch.inference_mode():
        for start in range(0, len(pictures), BATCH):
            x = to_tensor(pictures[start : start + BATCH], model.device)
            posterior = model.encode(x)
            logits = model.decode_logits(posterior.sample(generator)).float()
            if config.likelihood == "bernoulli":
                reconstruction += float(bernoulli(logits, x).sum())
            else:
                reconstruction += float(gaussian(torch.sigmoid(logits), x, model.sigma).sum())
            unit_kl += posterior.kl().sum(dim=0).double().cpu()
            squared += float((model.decode(posterior.mode()) - x).square().mean(dim=(1, 2, 3)).sum())
    count = len(pictures)
    kl, rmse = float(unit_kl.sum()) / count, (squared / count) ** 0.5
    numbers = {
        "pictures": count,
        "elbo": -(reconstruction / count + kl),
        "reconstruction": reconstruction / count,
        "kl": kl,
        "rmse": rmse,
        "psnr": -20 * float(np.log10(max(rmse, 1e-9))),
        "active_units": int((unit_kl / count > 0.01).sum()),
        "units": config.latent,
    }
    return numbers if config.likelihood == "bernoulli" else {**numbers, "sigma": float(model.sigma)}


def table(numbers: dict[str, float]) -> str:
    """The figures as a Markdown table, each with its unit and how it was made."""
    rows = ["| number | value | unit | how |", "|---|---|---|---|"]
    for key, value in numbers.items():
        unit, how = NUMBERS[key]
        digits = ",.0f" if abs(value) >= 1000 else ".4g"
        escaped = how.replace("|", r"\|")  # as in p(x|z)
        rows.append(f"| {key} | {value:{digits}} | {unit} | {escaped} |")
    return "\n".join(rows)


def compare(checkpoint: Checkpoint, train: Pictures, heldout: Pictures, seed: int = 0) -> dict[str, dict[str, float]]:
    """Sets of pictures (real ones, reconstructions, samples of every prior) -> their distances to real training pictures.

    frechet and kernel (times 1,000) between COMPARED pictures and as many training pictures, where the features' network is
    installed and the pictures suffice; nearest, the mean distance to the nearest of all training pictures: samples much
    nearer than held-out pictures would be copies. ssim and perceptual, of reconstructions against their originals. The real
    ones are held-out pictures, filled up with training pictures on neither side; their row is the floor.
    """
    order = np.random.default_rng(seed).permutation(len(train))
    count = min(COMPARED, (len(train) + len(heldout)) // 2, len(train))
    reference, spare = train.images[order[:count]], train.images[order[count:]]
    real = np.concatenate([heldout.images, spare])[:count]
    again = checkpoint.decode(checkpoint.encode(real))
    sets = {"other real pictures": real, "reconstructions of those": again}
    for prior in PRIORS:
        z = checkpoint.atlas.prior(prior, count, seed, 1.0)
        sets[f"samples, {prior} prior"] = checkpoint.decode(z)
    device = checkpoint.model.device
    rows: dict[str, dict[str, float]] = {name: {} for name in sets}
    if distances.has_network() and count >= FEWEST:
        aim = distances.features(reference, device)
        for name, pictures in sets.items():
            found = distances.features(pictures, device)
            rows[name] = {"frechet": distances.frechet(found, aim), "kernel": 1000 * distances.kernel(found, aim)}
    known = train.images if len(heldout) >= NEAREST else reference
    for name, pictures in sets.items():
        if name != "reconstructions of those":
            rows[name]["nearest"] = float(distances.nearest(pictures[:NEAREST], known).mean())
    shown = slice(0, min(len(heldout), COMPARED))
    rows["reconstructions of those"]["ssim"] = distances.ssim(real[shown], again[shown])
    if distances.has_network():
        rows["reconstructions of those"]["perceptual"] = distances.perceptual(real[shown], again[shown], device)
    return rows


def distance_table(rows: dict[str, dict[str, float]]) -> str:
    """What compare found as a Markdown table."""
    columns = ("frechet", "kernel", "nearest", "ssim", "perceptual")
    lines = ["| pictures | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for name, found in rows.items():
        cells = [f"{found[column]:.4g}" if column in found else "" for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


DISTANCES_NOTE = (
    f"frechet and kernel: Frechet distance and 1,000 times the kernel distance between {COMPARED:,} pictures (or half of a "
    f"smaller set) and as many training pictures, in features of {distances.NETWORK}; no FID, and not to be compared with "
    "one. Samples at temperature 1. nearest: root mean squared distance to the nearest training picture. ssim and "
    "perceptual: reconstructions against their originals, 1 and 0 being the same."
)


def estimate_sigma(model: VAE, pictures: np.ndarray, seed: int = 0) -> float:
    """The analytically optimal sigma of the gaussian likelihood on uint8 pictures, for posterior samples; not under the floor."""
    generator = devices.noise_generator(seed)
    squared = 0.0
    with torch.inference_mode():
        for start in range(0, len(pictures), BATCH):
            x = to_tensor(pictures[start : start + BATCH], model.device)
            squared += float((model.decode(model.encode(x).sample(generator)) - x).square().mean(dim=(1, 2, 3)).sum())
    return max((squared / len(pictures)) ** 0.5, model.config.sigma_floor)


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
    with images.written_folder(folder) as beside:
        model.save_pretrained(beside)
        (beside / "README.md").unlink(missing_ok=True)  # the mixin's empty card
        (beside / "recipe.toml").write_text(recipe, encoding="utf-8")
        if critic is not None:
            critics.save(critic, beside / "critic.safetensors")
        shipped = VAE.from_pretrained(beside, map_location=str(model.device))
        known = train if figures else train.take(slice(0, 5000))
        settings = tomllib.loads(recipe)
        may_show, start = settings.get("show_data", True), settings.get("start")
        if start and start not in heldout.names:
            raise BadInput(f"The recipe's start is {start!r}; it must be the name of one of the held-out pictures.")
        chart(
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
            _draw_figures(beside / "figures", checkpoint, heldout if may_show else None, history, seed)
        card = _card(checkpoint, folder.name, result, rows, train, history, seconds, figures)
        (beside / "README.md").write_text(card, encoding="utf-8")
    return result


def merged(attributes: dict[str, np.ndarray], categories: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """Attributes (N,) with some columns of 0 and 1 made into one column of words, by the recipe's table of categories.

    {"hair": ["black_hair", "fair_hair"]} makes a column hair of "black", "fair" (what the names have in common goes) and ""
    where none or several are 1. BadInput for a column that is not there.
    """
    found = dict(attributes)
    for name, columns in categories.items():
        missing = [column for column in columns if column not in found]
        if missing:
            raise BadInput(f"The category {name} wants a column {missing[0]}, which the attributes lack.")
        table = np.stack([found.pop(column) == 1 for column in columns])  # (V, N)
        common = os.path.commonprefix([column[::-1] for column in columns])[::-1]
        words = np.array([column.removesuffix(common) for column in columns])
        found[name] = np.where(table.sum(axis=0) == 1, words[table.argmax(axis=0)], "")
    return found


def _draw_figures(
    folder: Path, checkpoint: Checkpoint, heldout: Pictures | None, history: list[list[float]], seed: int
) -> None:
    import matplotlib.figure  # half a second to import, and needed only here

    folder.mkdir()
    atlas = checkpoint.atlas

    def save(figure: matplotlib.figure.Figure, name: str) -> None:
        figure.savefig(folder / f"{name}.png", dpi=80, bbox_inches="tight")

    def picture_figure(pictures: np.ndarray, columns: int, name: str, labels: list[str]) -> None:
        rows = -(-len(pictures) // columns)
        figure = matplotlib.figure.Figure(figsize=(0.75 * columns, 0.75 * rows))
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis, picture in zip(axes.flat, pictures, strict=False):
            axis.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[], frame_on=False)
        for axis, label in zip(axes[:, 0], labels, strict=False):
            axis.set_ylabel(label, rotation=0, ha="right", va="center")
        figure.subplots_adjust(wspace=0.04, hspace=0.04)
        save(figure, name)

    steps, reconstruction, kl = np.array(history).T if history else np.zeros((3, 1))
    figure = matplotlib.figure.Figure(figsize=(9, 3))
    for axis, values, label in zip(figure.subplots(1, 2), (reconstruction, kl), ("-log p(x|z)", "KL"), strict=True):
        axis.plot(steps, values, color="#c43f26", linewidth=1.5)
        axis.set(xlabel="step", ylabel="nats per picture", title=label)
        axis.set_ylim(top=np.percentile(values, 97))  # the first steps are far above all others
    save(figure, "loss")

    figure = matplotlib.figure.Figure(figsize=(9, 2.5))
    axis = figure.subplots()
    axis.bar(range(len(atlas.kl)), atlas.kl.sort(descending=True).values.numpy(), color="#c43f26")
    axis.set(xlabel="unit, most informative first", ylabel="KL in nats")
    save(figure, "kl")

    if heldout is not None:
        shown = heldout.images[10:20] if len(heldout) >= 20 else heldout.images[:10]
        again = checkpoint.decode(checkpoint.encode(shown))
        picture_figure(np.concatenate([shown, again]), len(shown), "reconstructions", ["shown", "made again"])
    drawn = [checkpoint.decode(atlas.prior(prior, 20, seed, 1.0)) for prior in ("mixture", "normal")]
    picture_figure(np.concatenate(drawn), 10, "samples", ["mixture", "", "normal", ""])
    start = checkpoint.encode(checkpoint.atlas.examples[:1])[0]
    knobs = atlas.knobs()[:8]
    films = [
        checkpoint.decode(
            latents.traverse(
                start, knob.vector, torch.linspace(knob.low, knob.high, 9) - (start @ knob.probe - knob.offset)
            )
        )
        for knob in knobs
    ]
    picture_figure(np.concatenate(films), 9, "traversals", [knob.label for knob in knobs])


def _card(
    checkpoint: Checkpoint,
    name: str,
    numbers: dict[str, float],
    rows: dict[str, dict[str, float]],
    train: Pictures,
    history: list[list[float]],
    seconds: float,
    figures: bool,
) -> str:
    recipe, card, config = checkpoint.recipe, checkpoint.recipe.get("card", {}), checkpoint.model.config
    front = ModelCardData(
        license=card.get("license", "apache-2.0"),
        library_name="pytorch",
        pipeline_tag="unconditional-image-generation",
        tags=["vae", "variational-autoencoder", "latent-space", "image-generation"],
    )
    weights = sum(parameter.numel() for parameter in checkpoint.model.parameters())
    knowing, parts = checkpoint.atlas, len(checkpoint.atlas.mixture.weights)
    sharpened = f" (the last {recipe['sharpen']:.0%} of the run with a critic)" if recipe.get("sharpen") else ""
    is_taught = recipe.get("perceptual") or (recipe.get("sharpen") and recipe.get("pull_perceptual"))
    taught = f" {distances.TEACHER}, which knows photographs of everyday things, was its teacher." if is_taught else ""
    lines = [
        f"---\n{front.to_yaml()}\n---\n",
        f"# {card.get('title') or name}\n",
        f"{card.get('about', '')}\n",
        f"A variational autoencoder: {config.size} x {config.size} pixels, {config.channels} "
        f"channel{'s' if config.channels > 1 else ''}, squeezed into {config.latent} numbers. {weights:,} weights, "
        f"saved as fp16.\n",
        "## How it was made\n",
        f"- Data: {recipe['data']}, {len(train):,} pictures to learn from. {card.get('credit', '')}",
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
    if knowing.named:
        lines += ["## Named directions\n", _named_table(knowing)]
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
        card.get("failures") or "It knows nothing but the pictures it was trained on.",
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
