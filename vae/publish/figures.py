"""The figures of a model card."""

from pathlib import Path

import numpy as np
import torch

from vae.checkpoints import Checkpoint
from vae.data import Pictures


def draw_figures(folder: Path, checkpoint: Checkpoint, heldout: Pictures | None, history: list[list[float]]) -> None:
    """Draws figures into folder, as WebP: loss, kl, samples, traversals and, of held-out pictures if any, reconstructions."""
    import matplotlib.figure  # half a second to import, and needed only here

    folder.mkdir()
    atlas = checkpoint.atlas

    def save(figure: matplotlib.figure.Figure, name: str) -> None:
        # A sixth of a PNG's bytes, and to the eye the same.
        figure.savefig(folder / f"{name}.webp", dpi=80, bbox_inches="tight", pil_kwargs={"quality": 80, "method": 6})

    def picture_figure(pictures: np.ndarray, columns: int, name: str, labels: list[str]) -> None:
        rows = -(-len(pictures) // columns)
        figure = matplotlib.figure.Figure(figsize=(0.75 * columns, 0.75 * rows))
        bare, narrow = {"xticks": [], "yticks": [], "frame_on": False}, {"wspace": 0.04, "hspace": 0.04}
        axes = figure.subplots(rows, columns, squeeze=False, subplot_kw=bare, gridspec_kw=narrow)
        for axis, picture in zip(axes.flat, pictures, strict=False):
            axis.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
        for axis, label in zip(axes[:, 0], labels, strict=False):
            axis.set_ylabel(label, rotation=0, ha="right", va="center")
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
    drawn = [checkpoint.decode(atlas.prior(prior, 20, checkpoint.recipe.seed)) for prior in ("mixture", "normal")]
    picture_figure(np.concatenate(drawn), 10, "samples", ["mixture", "", "normal", ""])
    start, knobs, films = checkpoint.encode(atlas.examples[:1])[0], atlas.knobs[:8], []
    for knob in knobs:
        moves = torch.linspace(knob.low, knob.high, 9) - (start @ knob.probe - knob.offset)
        films.append(checkpoint.decode(start + moves[:, None] * knob.vector))
    picture_figure(np.concatenate(films), 9, "traversals", [knob.label for knob in knobs])
