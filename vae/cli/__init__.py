"""The command line: python -m vae train | sample | reconstruct | morph | evaluate | export | page."""

import argparse
import dataclasses
import json
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vae import checkpoints, data, latents
from vae.errors import BadInput
from vae.files import claimed
from vae.measure import evaluation
from vae.pictures import images
from vae.pictures.folders import from_files
from vae.publish import export
from vae.publish.folder import check, is_whole, publish
from vae.recipe import TrainConfig
from vae.recipe import fields as recipe_entries
from vae.training import train

CHECKPOINT_HELP = "a name under checkpoints/, a folder, or a hub id such as owner/name"
OUT_HELP = "*.npy: (N, H, W, C) uint8; *.png, *.jpg, *.webp: one grid; *.gif: a film; no ending: a folder of PNGs"
MAX_COUNT = 100_000


def main(arguments: list[str] | None = None, write_page: Callable[..., list[Path]] | None = None) -> None:
    """Runs one verb. Ends the process with 1 and one sentence for input that cannot be used, with 2 for wrong usage.

    write_page(checkpoints, out, single_file): what the verb `page` calls; it stands above this library, and without it there
    is no such verb.
    """
    parser = _parser(write_page)
    options = parser.parse_args(arguments)
    # The hub's client explains missing files at length; our own sentence follows.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        options.run(options)
    except BadInput as error:
        sys.exit(f"vae {options.verb}: {error}")


def _parser(write_page: Callable[..., list[Path]] | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vae", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(run, summary: str, example: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(
            run.__name__.strip("_"), help=summary, description=summary, epilog=f"example:\n  python -m vae {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        added.set_defaults(run=run)
        added.add_argument("--device", help="cpu, cuda, mps (default: the best there is, or $VAE_DEVICE)")
        return added

    added = verb(_train, "Train a model by a recipe and publish it as a checkpoint.",
                 "train checkpoints/digits/recipe.toml --out my/digits --minutes 2 --latent 8")  # fmt: skip
    added.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    added.add_argument("--out", type=Path, required=True, metavar="DIR", help="the checkpoint's folder")
    added.add_argument("--data", metavar="ROOT_OR_ZIP", help="where the pictures are (default: $VAE_DATA)")
    added.add_argument(
        "--resume", action="store_true", help="go on with the run that was stopped (its state is DIR.run)"
    )
    added.add_argument("--force", action="store_true", help="replace the finished checkpoint in DIR without asking")
    added.add_argument("--precision", help="fp32 (default) or bf16")
    recipe_flags = added.add_argument_group("recipe fields", "each overrides the recipe's own value")
    for name, (_, field) in recipe_entries().items():
        flag = "--dataset" if name == "data" else f"--{name.replace('_', '-')}"
        recipe_flags.add_argument(flag, dest=f"recipe_{name}", type=_reader(field), metavar="VALUE")

    added = verb(_sample, "Draw pictures that nobody took.",
                 "sample digits --count 64 --seed 7 --prior mixture --temperature 0.9 --out digits.png")  # fmt: skip
    added.add_argument("checkpoint", metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    added.add_argument("--count", type=int, default=64, metavar="N")
    added.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed, the same pictures")
    added.add_argument("--prior", default="mixture", choices=("normal", "mixture"))
    added.add_argument(
        "--temperature", type=float, default=1.0, metavar="T", help="0 to 2; lower is safer, higher is bolder"
    )
    added.add_argument("--out", type=Path, required=True, metavar="OUT", help=OUT_HELP)

    added = verb(_reconstruct, "Send pictures through the model: encode, then decode the posterior mean.",
                 "reconstruct avatars my-pictures.zip --out again")  # fmt: skip
    added.add_argument("checkpoint", metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    added.add_argument(
        "pictures", metavar="ZIP_OR_FOLDER_OR_PICTURE", help="taken in the order of the sorted file names"
    )
    added.add_argument("--out", type=Path, required=True, metavar="OUT", help=OUT_HELP)

    added = verb(_morph, "Film the way from one picture to another.",
                 "morph avatars a.png b.png --steps 24 --path arc --out morph.gif")  # fmt: skip
    added.add_argument("checkpoint", metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    added.add_argument("a", metavar="A.png")
    added.add_argument("b", metavar="B.png")
    added.add_argument("--steps", type=int, default=16, metavar="N", help="pictures, both ends included")
    added.add_argument("--path", default="line", choices=sorted(latents.PATHS))
    added.add_argument("--out", type=Path, required=True, metavar="OUT", help=OUT_HELP)

    added = verb(_evaluate, "Measure a checkpoint on pictures it never saw.", "evaluate digits --data ~/data --json")
    added.add_argument("checkpoint", metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    added.add_argument("--data", metavar="ROOT_OR_ZIP", help="where the checkpoint's data set is (default: $VAE_DATA)")
    added.add_argument("--seed", type=int, default=0, metavar="S")
    added.add_argument("--json", action="store_true", help="for programs")

    added = verb(
        _export, "Write decoder.onnx and encoder.onnx, with which a browser draws by itself.", "export avatars"
    )
    added.add_argument("checkpoint", metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    added.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="a folder (default: the checkpoint's own; NAME-onnx of one from the hub)",
    )

    if write_page:

        def _page(options: argparse.Namespace) -> None:
            written = write_page(options.checkpoints, options.out, options.single_file)
            print(f"{options.out}  {len(written)} files, {sum(path.stat().st_size for path in written):,} bytes")

        added = verb(_page, "Write the playground, all but training, as static files that need no server.",
                     "page avatars digits --out site\n  python -m vae page digits --single-file --out digits.html")  # fmt: skip
        added.add_argument(
            "checkpoints", nargs="+", metavar="CHECKPOINT", help=f"{CHECKPOINT_HELP}; the first is shown first"
        )
        added.add_argument(
            "--out", type=Path, required=True, metavar="OUT", help="a folder, or with --single-file a file"
        )
        added.add_argument("--single-file", action="store_true", help="all in one HTML file, for one checkpoint")
    return parser


def _reader(field: dataclasses.Field):
    """What turns a flag's text into the field's type."""
    if field.name in ("widths", "critic_widths"):
        return lambda text: tuple(int(part) for part in text.split(","))
    if field.type is bool:
        return lambda text: bool(("false", "true").index(text.lower()))
    return field.type


def _train(options: argparse.Namespace) -> None:
    try:
        text = options.recipe.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"The recipe {options.recipe} cannot be read; give a TOML file such as checkpoints/digits/recipe.toml."
        ) from error
    given = {name.removeprefix("recipe_"): value for name, value in vars(options).items() if name.startswith("recipe_")}
    config = TrainConfig.from_toml(text).override(**{name: value for name, value in given.items() if value is not None})
    out = options.out
    if is_whole(out) and not options.force:
        _ask(f"{out} holds a finished checkpoint; replace it?", "add --force to replace it.")
    with claimed(out.with_name(f"{out.name}.training")):  # a second run would write to the same state
        _learn(config, options, out)


def _learn(config: TrainConfig, options: argparse.Namespace, out: Path) -> None:
    run_file = out.with_name(out.name + ".run")
    if run_file.exists() and not options.resume:
        raise BadInput(f"{run_file} holds a run that was stopped; add --resume to go on with it, or delete it.")
    form: dict[str, Any] = {"size": config.model.size, "channels": config.model.channels, "framing": config.framing}
    learn, held = data.load(config.data, options.data, split=config.split, **form)
    check(out, config, learn, held)

    stopped = []
    handlers = {
        number: signal.signal(number, lambda *_: stopped.append(True)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    steps = train(
        config, learn.images, run_file=run_file, resume=options.resume, stop=lambda: bool(stopped),
        device=options.device, precision=options.precision,
    )  # fmt: skip
    try:
        with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {postfix}") as bar:
            for progress in steps:
                bar.n = round(100 * progress.fraction, 1)
                left = tqdm.format_interval(progress.seconds_left)
                bar.set_postfix_str(
                    f"step {progress.step}, reconstruction {progress.reconstruction:.1f} + KL {progress.kl:.1f} nats, "
                    f"{progress.pictures_per_second:.0f} pictures/s, {left} left"
                )
                if progress.note:
                    bar.write(progress.note)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if not progress.is_whole:
        raise BadInput(f"stopped at step {progress.step}; the same command with --resume goes on from there.")
    numbers = publish(
        out,
        progress.model,
        learn,
        held,
        config,
        progress.history,
        seconds=progress.seconds,
        critic=progress.critic,
    )
    run_file.unlink(missing_ok=True)
    print(evaluation.table(numbers))


def _ask(question: str, else_do: str) -> None:
    """BadInput, which says what else to do, unless somebody at a terminal says yes."""
    if not (sys.stdin.isatty() and input(f"{question} [y/N] ").strip().lower() in ("y", "yes")):
        raise BadInput(f"{question.partition(';')[0]}; {else_do}")


def _sample(options: argparse.Namespace) -> None:
    if not 1 <= options.count <= MAX_COUNT:
        raise BadInput(f"--count is {options.count}; it must be from 1 to {MAX_COUNT:,}.")
    checkpoint = checkpoints.load(options.checkpoint, options.device)
    z = checkpoint.atlas.prior(options.prior, options.count, options.seed, options.temperature)
    images.save(checkpoint.decode(z), options.out)


def _reconstruct(options: argparse.Namespace) -> None:
    checkpoint = checkpoints.load(options.checkpoint, options.device)
    config = checkpoint.model.config
    pictures = from_files(
        options.pictures, size=config.size, channels=config.channels, framing=checkpoint.recipe.framing
    )
    images.save(checkpoint.decode(checkpoint.encode(pictures.images)), options.out)


def _morph(options: argparse.Namespace) -> None:
    if not 2 <= options.steps <= 1000:
        raise BadInput(f"--steps is {options.steps}; it must be from 2 to 1,000.")
    checkpoint = checkpoints.load(options.checkpoint, options.device)
    ends = np.stack([checkpoint.prepare(images.load(path)) for path in (options.a, options.b)])
    a, b = checkpoint.encode(ends)
    images.save(checkpoint.decode(latents.PATHS[options.path](a, b, options.steps)), options.out)


def _evaluate(options: argparse.Namespace) -> None:
    checkpoint = checkpoints.load(options.checkpoint, options.device)
    config, recipe = checkpoint.model.config, checkpoint.recipe
    form: dict[str, Any] = {"size": config.size, "channels": config.channels, "framing": recipe.framing}
    learnt, held = data.load(recipe.data, options.data, split=recipe.split, **form)
    numbers = evaluation.evaluate(checkpoint.model, held.images, options.seed)
    rows = evaluation.compare(checkpoint, learnt, held, options.seed)
    if options.json:
        print(json.dumps({**numbers, "distances": rows}, indent=1))
    else:
        print(f"{evaluation.table(numbers)}\n\n{evaluation.distance_table(rows)}\n\n{evaluation.DISTANCES_NOTE}")


def _export(options: argparse.Namespace) -> None:
    checkpoint = checkpoints.load(options.checkpoint, options.device)
    for path in export.export(checkpoint, options.out):
        print(f"{path}  {path.stat().st_size:,} bytes, with the weights beside it")
