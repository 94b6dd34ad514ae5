"""The model card: where a model comes from, what it is worth, what it cannot do. Its text is card.md, with gaps as $names."""

import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

import torch

from vae.atlas import Atlas
from vae.checkpoints import Checkpoint
from vae.data import Pictures
from vae.measure.directions import merged, why_not
from vae.measure.evaluation import DISTANCES_NOTE, REAL, distance_table, markdown, table
from vae.measure.features import TEACHER
from vae.pictures.sets import TORCHVISION

SPLIT_WORDS = {"hash": "a tenth by a hash of the file names", "first tenth": "the first tenth by file name"}
TEXT = Path(__file__).with_name("card.md")


def card(
    checkpoint: Checkpoint, name: str, numbers: dict[str, float], rows: dict[str, dict[str, float]], train: Pictures,
    history: list[list[float]], seconds: float, figures: bool,
) -> str:  # fmt: skip
    """evaluate's numbers, compare's rows and Progress.history -> the card, Markdown, of the checkpoint to be called name."""
    recipe, atlas, config = checkpoint.recipe, checkpoint.atlas, checkpoint.model.config
    words, device = recipe.card, checkpoint.model.device
    weights = sum(parameter.numel() for parameter in checkpoint.model.parameters())
    columns = merged(train.attributes or {}, recipe.categories)
    reasons = {column: why_not(values) for column, values in columns.items()}
    sharpen = recipe.sharpen
    is_taught = recipe.perceptual or (sharpen.share and (sharpen.perceptual or sharpen.jury))
    trained_on = rows[REAL]["trained_on"] if rows else 0.0
    values = {
        "name": name, "title": words.get("title") or name, "about": words.get("about"), "credit": words.get("credit"),
        "license": json.dumps(words.get("license") or "other"),  # which is YAML too
        "failures": words.get("failures") or "It knows nothing but the pictures it was trained on.",
        "size": config.size, "channels": counted(config.channels, "channel"), "latent": config.latent, "weights": f"{weights:,}",
        "data": recipe.data, "learnt": f"{len(train):,}", "heldout": f"{numbers['pictures']:,}",
        "split": "the set's own test pictures" if recipe.data in TORCHVISION else SPLIT_WORDS[recipe.split],
        "seed": str(recipe.seed), "steps": f"{int(history[-1][0]) if history else 0:,}", "batch": min(recipe.batch, len(train)),
        "minutes": f"{seconds / 60:.0f}", "machine": machine(device),
        "sharpened": sharpen.share and f"{sharpen.share:.0%}", "teacher": is_taught and TEACHER,
        "numbers": table(numbers), "bernoulli": config.likelihood == "bernoulli" and "Bernoulli",
        "parts": counted(len(atlas.mixture.weights), "component"),
        "distances": rows and distance_table(rows), "distances_note": rows and DISTANCES_NOTE,
        "trained_on": trained_on and f"{trained_on:.0%}",
        "named": len(atlas.named), "directions": named_table(atlas),
        "left_out": ", ".join(f"{column} ({reason})" for column, reason in reasons.items() if reason),
        "figures": figures and "figures", "shown": figures and recipe.show_data and "figures",
        "hidden": figures and not recipe.show_data and "below",
    }  # fmt: skip
    return filled(TEXT.read_text(encoding="utf-8"), values)


def filled(text: str, values: Mapping[str, object]) -> str:
    """The text with its gaps filled; without the paragraphs of which one is empty, and headings that have nothing left."""
    blocks = text.split("\n\n")
    blocks = [block for block in blocks if all(values[name] for name in Template(block).get_identifiers())]
    pairs = zip(blocks, [*blocks[1:], "## "], strict=True)
    blocks = [block for block, after in pairs if not (block.startswith("## ") and after.startswith("## "))]
    return Template("\n\n".join(blocks)).substitute(values)


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}"


def named_table(atlas: Atlas) -> str:
    """Each named direction with its score, its effect where a reader looked, and what it drags along most; "" without any."""
    rows = []
    for row in atlas.named:
        drags = atlas.dragged(row.name)
        effect = "" if row.effect is None else f"{row.effect:.0%}"
        rows.append((row.name, f"{row.measure} {row.score:.2f}", effect, f"{drags[0]} {drags[1]:.2f}" if drags else ""))
    return markdown(("direction", "told", "effect", "drags"), rows) if rows else ""


def machine(device: torch.device) -> str:
    """The machine in words, "AMD EPYC, 2 threads" or "NVIDIA H100"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")  # Linux's: elsewhere the platform module's shorter word stands
    found = re.search(r"model name\s*:(.+)", info.read_text()) if info.is_file() else None
    model = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{model}, {counted(torch.get_num_threads(), 'thread')}"
