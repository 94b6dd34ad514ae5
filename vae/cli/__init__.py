"""The command line: python -m vae train | sample | reconstruct | morph | evaluate | export | page."""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vae import latents
from vae.atlas import PRIORS, SPREAD
from vae.cli import train, verbs
from vae.errors import BadInput
from vae.measure.best import DIFFERENCE
from vae.recipe import fields

CHECKPOINT = {"metavar": "CHECKPOINT", "help": "a name under checkpoints/, a folder, or a hub id such as owner/name"}
DIR: dict[str, Any] = {"type": Path, "metavar": "DIR"}
OUT: dict[str, Any] = {
    "type": Path, "required": True, "metavar": "OUT",
    "help": "*.npy: (N, H, W, C) uint8; *.png, *.jpg, *.webp: one grid; *.gif: a film; no ending: a folder of PNGs",
}  # fmt: skip
SEED = {"type": int, "default": 0, "metavar": "S", "help": "the same seed, the same pictures"}
DATA = {"metavar": "ROOT_OR_ZIP", "help": "where the recipe's pictures are (default: $VAE_DATA)"}
SHARE: dict[str, Any] = {"type": float, "metavar": "S"}
# What turns a flag's text into a recipe's value, where its type does not.
READERS: dict[Any, Callable[[str], Any]] = {
    bool: lambda text: bool(("false", "true").index(text.lower())),
    tuple[int, ...]: lambda text: tuple(int(part) for part in text.split(",")),
}

# A verb: what it runs, what it does, an example (or two), and its arguments for argparse.
VERBS: dict[str, tuple[Callable[[argparse.Namespace], None], str, str, dict[str, dict[str, Any]]]] = {
    "train": (
        train.run,
        "Train a model by a recipe, or on pictures of your own, and publish it as a checkpoint.",
        "train checkpoints/digits/recipe.toml --out my/digits --minutes 2 --latent 8\n"
        "  python -m vae train holiday.zip --out my/holiday --title Holiday",
        {
            "source": {"type": Path, "metavar": "RECIPE.toml_OR_FOLDER_OR_ZIP"},
            "--out": DIR | {"required": True, "help": "the checkpoint's folder"},
            "--data": DATA,
            "--title": {"metavar": "WORDS", "help": "what the model is called on its card and on the page"},
            "--license": {"metavar": "WORDS", "help": "on its card (for pictures without a recipe: other)"},
            "--resume": {"action": "store_true", "help": "go on with the run in DIR.run, or make it longer"},
            "--force": {"action": "store_true", "help": "replace a finished checkpoint or a run without asking"},
            "--precision": {"help": "fp32 (default) or bf16"},
        },
    ),
    "sample": (
        verbs.sample,
        "Draw pictures that nobody took.",
        "sample digits --count 64 --seed 7 --prior mixture --temperature 0.9 --out digits.png\n"
        "  python -m vae sample digits --count 16 --best-of 256 --difference 0.5 --only label=7 --out sevens.png\n"
        "  python -m vae sample avatars --count 9 --around me.png --spread 0.3 --out like-me.png",
        {
            "checkpoint": CHECKPOINT,
            "--count": {"type": int, "default": 64, "metavar": "N"},
            "--seed": SEED,
            "--prior": {"default": "mixture", "choices": PRIORS},
            "--temperature": {"type": float, "default": 1.0, "metavar": "T", "help": "0 to 2; lower is safer, higher bolder"},
            "--best-of": {"type": int, "metavar": "M", "help": "draw so many and keep the best --count"},
            "--difference": SHARE | {"default": DIFFERENCE, "help": "how different the kept ones are, 0 to 1"},
            "--only": {"action": "append", "default": [], "metavar": "TRAIT", "help": "glasses or label=7; may be repeated"},
            "--around": {"type": Path, "metavar": "PICTURE", "help": "draw near this one"},
            "--spread": SHARE | {"default": SPREAD, "help": "how near: 0 the same, 1 its whole kind"},
            "--nearest": {"action": "store_true", "help": "new or copied: also compare with what the model learnt from"},
            "--data": DATA,
            "--out": OUT,
        },
    ),
    "reconstruct": (
        verbs.reconstruct,
        "Send pictures through the model: encode, then decode the posterior mean.",
        "reconstruct avatars my-pictures.zip --out again",
        {
            "checkpoint": CHECKPOINT,
            "pictures": {"metavar": "ZIP_OR_FOLDER_OR_PICTURE", "help": "taken in the order of the sorted file names"},
            "--out": OUT,
        },
    ),
    "morph": (
        verbs.morph,
        "Film the way from one picture to another.",
        "morph avatars a.png b.png --steps 24 --path arc --out morph.gif",
        {
            "checkpoint": CHECKPOINT,
            "a": {"metavar": "A.png"},
            "b": {"metavar": "B.png"},
            "--steps": {"type": int, "default": 16, "metavar": "N", "help": "pictures, both ends included"},
            "--path": {"default": "line", "choices": sorted(latents.PATHS)},
            "--out": OUT,
        },
    ),
    "evaluate": (
        verbs.evaluate,
        "Measure a checkpoint on pictures it never saw.",
        "evaluate digits --data ~/data --json",
        {"checkpoint": CHECKPOINT, "--data": DATA, "--seed": SEED, "--json": {"action": "store_true", "help": "for programs"}},
    ),
    "export": (
        verbs.export,
        "Write decoder.onnx and encoder.onnx, with which a browser draws by itself.",
        "export avatars",
        {"checkpoint": CHECKPOINT, "--out": DIR | {"help": "default: the checkpoint's own; of one from the hub NAME-onnx"}},
    ),
    "page": (
        verbs.page,
        "Write the playground, all but training, as static files that need no server.",
        "page avatars digits --out site\n  python -m vae page digits --single-file --out digits.html",
        {
            "checkpoints": CHECKPOINT | {"nargs": "+", "help": f"{CHECKPOINT['help']}; the first is shown first"},
            "--out": OUT | {"help": "a folder, or with --single-file a file"},
            "--single-file": {"action": "store_true", "help": "all in one HTML file, for one checkpoint"},
        },
    ),
}  # fmt: skip


def main(arguments: list[str] | None = None, write_page: Callable[..., list[Path]] | None = None) -> None:
    """Runs one verb. Ends the process with 1 and one sentence for input that cannot be used, with 2 for wrong usage.

    write_page(checkpoints, out, single_file): what the verb `page` calls; it stands above this library, and without it there
    is no such verb.
    """
    options = _parser([verb for verb in VERBS if verb != "page" or write_page]).parse_args(arguments)
    options.write_page = write_page
    # The hub's client explains missing files at length; our own sentence follows.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        options.run(options)
    except BadInput as error:
        sys.exit(f"vae {options.verb}: {error}")


def _parser(known: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vae", description=__doc__)
    places = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in known:
        run, summary, example, arguments = VERBS[verb]
        added = places.add_parser(
            verb, help=summary, description=summary, epilog=f"example:\n  python -m vae {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        added.set_defaults(run=run)
        added.add_argument("--device", help="cpu, cuda, mps (default: the best there is, or $VAE_DEVICE)")
        for name, how in arguments.items():
            added.add_argument(name, **how)
        if verb == "train":
            group = added.add_argument_group("recipe fields", "each overrides the recipe's own value")
            for name, (_, field) in fields().items():
                flag = "--dataset" if name == "data" else f"--{name.replace('_', '-')}"
                read: Any = READERS.get(field.type, field.type)
                group.add_argument(flag, dest=f"recipe_{name}", type=read, metavar="VALUE")
    return parser
