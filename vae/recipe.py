"""A recipe: all that decides what a training makes, as a checked value and as the text of a recipe.toml."""

import dataclasses
import json
import logging
import tomllib
from dataclasses import dataclass, field
from typing import Any

from vae.data import SPLITS
from vae.errors import BadInput, check_choices, check_numbers
from vae.model import VAEConfig

FRAMINGS = ("square", "portrait", "digit", "garment")  # how vae.pictures.framing brings a picture to a model's form
UNPAIRED = ("blends", "mixture")
CARD_FIELDS = ("title", "license", "about", "credit", "failures")
ENDS = ("steps", "epochs", "minutes")
TABLES = ("model", "sharpen", "categories", "card")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sharpen:
    """How a run ends: with a critic that teaches the decoder, for a share of the run; 0 for a plain VAE.

    pixel, feature, adversarial, perceptual, jury: how strongly each loss pulls on a drawn pixel, relative to the others
    (sharpen.critic.judge). perceptual and jury need the packages of measure.features.TEACHER. critic_widths: the critic's
    channels, finest stage first. teacher_size: pixels that pictures are brought to before the teacher sees them, 0 for
    their own. unpaired: where pictures without an original come from, "blends" of the batch's latents or the fitted "mixture".
    """

    share: float = 0.0
    learning_rate: float = 8e-4
    critic_widths: tuple[int, ...] = (16, 32, 64, 128)
    pixel: float = 0.2
    feature: float = 0.2
    adversarial: float = 0.2
    perceptual: float = 0.0
    jury: float = 0.0
    teacher_size: int = 0
    unpaired: str = "blends"

    def __post_init__(self) -> None:
        pulls = ("pixel", "feature", "adversarial", "perceptual", "jury")
        limits: dict = {"share": (0, 0.95), "learning_rate": (1e-7, 10), "teacher_size": (0, 1024)}
        check_numbers(self, limits | dict.fromkeys(pulls, (0, 100)), "sharpen.")
        check_choices(self, {"unpaired": UNPAIRED}, "sharpen.")
        if isinstance(self.critic_widths, list):
            object.__setattr__(self, "critic_widths", tuple(self.critic_widths))
        widths = self.critic_widths
        is_list = isinstance(widths, tuple) and 1 <= len(widths) <= 8
        if not (is_list and all(type(width) is int and 1 <= width <= 1024 for width in widths)):
            raise BadInput(
                f"sharpen.critic_widths is {repr(widths)[:60]}; it must be 1 to 8 whole numbers from 1 to 1024."
            )


@dataclass(frozen=True)
class TrainConfig:
    """A recipe. Ends on exactly one of steps, epochs and minutes, the others being 0; every value is checked.

    data: a set's name for sets.load; split: how its held-out part is chosen there. framing: how pictures are brought to the
    model's form. learning_rate: after the warm-up, falling to 0 along a cosine. clip: the largest norm of a gradient.
    kl_warmup: the share of the run over which beta rises from 0. free_bits: nats per unit at no cost. perceptual: nats per
    value of a picture for one unit of teacher.perceptual_loss while the VAE learns. ema: decay of the averaged weights, which
    are what ships. flip: mirror half of the pictures. show_data: whether the set's pictures may be shown, as examples and on
    the card. start: the name of the held-out picture that a visitor starts from, else the most typical. categories: columns of
    0 and 1 that are the values of one, such as hair = ["black_hair", "fair_hair"]. card: words for the model card.
    """

    data: str
    framing: str = "square"
    split: str = "hash"
    steps: int = 0
    epochs: float = 0
    minutes: float = 0
    batch: int = 128
    learning_rate: float = 1e-3
    warmup: float = 0.02
    weight_decay: float = 1e-4
    clip: float = 1000.0
    beta: float = 1.0
    kl_warmup: float = 0.1
    free_bits: float = 0.0
    perceptual: float = 0.0
    ema: float = 0.999
    flip: bool = False
    show_data: bool = True
    start: str = ""
    seed: int = 0
    model: VAEConfig = field(default_factory=VAEConfig)
    sharpen: Sharpen = field(default_factory=Sharpen)
    categories: dict[str, list[str]] = field(default_factory=dict)
    card: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        limits: dict = {
            "steps": (0, 10**8), "epochs": (0, 10**5), "minutes": (0, 10**5), "batch": (1, 65536), "learning_rate": (1e-7, 10),
            "warmup": (0, 1), "weight_decay": (0, 10), "clip": (1e-6, 1e9), "beta": (0, 1000), "kl_warmup": (0, 1),
            "free_bits": (0, 100), "perceptual": (0, 100), "ema": (0, 0.999999), "seed": (0, 2**31),
        }  # fmt: skip
        check_numbers(self, limits)
        flags: dict[str, tuple] = dict.fromkeys(("flip", "show_data"), (False, True))
        check_choices(self, flags | {"framing": FRAMINGS, "split": SPLITS})
        if sum(getattr(self, end) > 0 for end in ENDS) != 1:
            raise BadInput("A recipe ends on exactly one of steps, epochs and minutes; set one of them above 0.")
        if not (isinstance(self.data, str) and self.data and isinstance(self.start, str)):
            given = ", ".join(repr(value)[:40] for value in (self.data, self.start))
            raise BadInput(f"data and start are {given}; they must be the names of a set and of a held-out picture.")
        for name, columns in self.categories.items():
            if not (isinstance(columns, list) and len(columns) > 1 and all(isinstance(c, str) for c in columns)):
                raise BadInput(
                    f"categories.{name:.40} is {repr(columns)[:40]}; it must be a list of two or more columns."
                )
        for name, words in self.card.items():
            if name not in CARD_FIELDS or not isinstance(words, str):
                raise BadInput(f"card.{name:.40} is {repr(words)[:40]}; a card has texts for {', '.join(CARD_FIELDS)}.")

    @classmethod
    def from_toml(cls, text: str) -> "TrainConfig":
        """From a recipe's text. BadInput for broken TOML and for every entry that is unknown or out of range.

        A recipe from before the table [sharpen] is still read, with a warning that says what it is taken for.
        """
        try:
            values = tomllib.loads(text.removeprefix("\ufeff"))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise BadInput(f"The recipe is no valid TOML: {str(error)[:80]}.") from error
        if "data" not in values:
            raise BadInput('The recipe names no data; add a line such as data = "digits".')
        _migrate(values)
        tables = {name: values.pop(name, {}) for name in TABLES}
        wrong = [name for name, table in tables.items() if not isinstance(table, dict)]
        if wrong:
            raise BadInput(f"In a recipe {wrong[0]} is a table, [{wrong[0]}], not {repr(tables[wrong[0]])[:40]}.")
        sharpen = {f"sharpen_{name}": value for name, value in tables["sharpen"].items()}
        nothing = cls(data="?", steps=1)
        config = nothing.override(**{"steps": 0, "minutes": 0, **values}, **tables["model"], **sharpen)
        return dataclasses.replace(config, categories=tables["categories"], card=tables["card"])

    def override(self, **values: Any) -> "TrainConfig":
        """The same recipe with other values, by the names of `fields`. An end replaces the end."""
        known = fields()
        for name in values:
            if name not in known:
                raise BadInput(f"{name:.40} is no entry of a recipe; those are {', '.join(sorted(known))}.")
        if any(values.get(end) for end in ENDS):
            values = {**dict.fromkeys(ENDS, 0), **values}
        own, model, sharpen = (
            {known[name][1].name: value for name, value in values.items() if known[name][0] == table}
            for table in ("", "model", "sharpen")
        )
        parts: dict[str, Any] = {
            "model": dataclasses.replace(self.model, **model),
            "sharpen": dataclasses.replace(self.sharpen, **sharpen),
        }
        return dataclasses.replace(self, **parts, **own)

    def to_toml(self) -> str:
        """The recipe as text that from_toml reads back to an equal recipe."""
        values = dataclasses.asdict(self)
        tables = {"": values, **{name: values.pop(name) for name in TABLES}}
        blocks = []
        for table, entries in tables.items():
            lines = [f"[{table}]"] if table else []
            # JSON's way to write texts, numbers, booleans and lists is also TOML's.
            lines += [f"{_key(name)} = {json.dumps(value, ensure_ascii=False)}" for name, value in entries.items()]
            blocks.append("\n".join(lines) + "\n")
        return "\n".join(blocks)


def fields() -> dict[str, tuple[str, dataclasses.Field]]:
    """Every entry that `override` and the command line know -> its table and its field; those of [sharpen] as sharpen_NAME."""
    own = {f.name: ("", f) for f in dataclasses.fields(TrainConfig) if f.name not in TABLES}
    model = {f.name: ("model", f) for f in dataclasses.fields(VAEConfig)}
    return own | model | {f"sharpen_{f.name}": ("sharpen", f) for f in dataclasses.fields(Sharpen)}


def _key(name: str) -> str:
    is_bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if is_bare else json.dumps(name, ensure_ascii=False)


OLD_NAMES = {
    "sharpen": "share", "sharpen_rate": "learning_rate", "critic_widths": "critic_widths", "pull_pixel": "pixel",
    "pull_feature": "feature", "pull_adversarial": "adversarial", "pull_perceptual": "perceptual", "pull_jury": "jury",
    "teacher_side": "teacher_size", "made_up": "unpaired",
}  # fmt: skip


def _migrate(values: dict[str, Any]) -> None:
    """A recipe of version 0.1 -> the same one as it is written now, in place."""
    old = [name for name in OLD_NAMES if name in values and not isinstance(values[name], dict)]
    if not old and "rate" not in values:
        return
    table = {OLD_NAMES[name]: values.pop(name) for name in old}
    if table:
        values["sharpen"] = table
    if "rate" in values:
        values["learning_rate"] = values.pop("rate")
    values.setdefault("split", "first tenth")
    if isinstance(values.setdefault("model", {}), dict):
        values["model"].setdefault("adaptive_norm", False)
    log.warning(
        "This recipe is of version 0.1: rate is now learning_rate, what only sharpening uses stands in [sharpen], the "
        'held-out part is taken to be its "first tenth", and its decoder to be one without adaptive_norm.'
    )
