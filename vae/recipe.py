"""A recipe: all that decides what a training makes, as a checked value and as the text of a recipe.toml."""

import dataclasses
import json
import tomllib
from dataclasses import dataclass, field
from typing import Any

from vae.data import SPLITS
from vae.errors import BadInput, check_fields, chosen, limited, several
from vae.model import VAEConfig

FRAMINGS = ("square", "portrait", "digit", "garment")  # how vae.pictures.framing brings a picture to a model's form
CARD_FIELDS = ("title", "license", "about", "credit", "failures")
ENDS = ("steps", "epochs", "minutes")
TABLES = ("model", "sharpen", "categories", "weights", "card")


@dataclass(frozen=True)
class Sharpen:
    """How a run ends: the decoder alone learns to draw sharply, for a share of the run; 0 for a plain VAE.

    pixel, edges, feature, adversarial, perceptual, jury: how strongly each loss pulls on a drawn pixel, relative to the others
    (sharpen.critic.judge); what is 0 costs no time. perceptual and jury need the packages of measure.features.TEACHER.
    critic_widths: the critic's channels, finest stage first. teacher_size: pixels that pictures are brought to before the
    teacher sees them, 0 for their own. unpaired: where pictures without an original come from, "blends" of the batch's
    latents or the fitted "mixture".
    """

    share: float = limited(0.0, 0, 0.95)
    learning_rate: float = limited(8e-4, 1e-7, 10)
    critic_widths: tuple[int, ...] = several((16, 32, 64, 128), 8, 1, 1024)
    pixel: float = limited(0.2, 0, 100)
    feature: float = limited(0.2, 0, 100)
    adversarial: float = limited(0.2, 0, 100)
    perceptual: float = limited(0.0, 0, 100)
    jury: float = limited(0.0, 0, 100)
    teacher_size: int = limited(0, 0, 1024)
    unpaired: str = chosen("blends", "blends", "mixture")
    edges: float = limited(0.0, 0, 100)

    def __post_init__(self) -> None:
        check_fields(self, "sharpen.")


@dataclass(frozen=True)
class TrainConfig:
    """A recipe. Ends on exactly one of steps, epochs and minutes, the others being 0; every value is checked.

    data: a set's name for sets.load; split: how its held-out part is chosen there. framing: how pictures are brought to the
    model's form. learning_rate: after the warm-up, falling to 0 along a cosine. clip: the largest norm of a gradient.
    kl_warmup: the share of the run over which beta rises from 0. free_bits: nats per unit at no cost. perceptual: nats per
    value of a picture for one unit of teacher.perceptual_loss while the VAE learns. ema: decay of the averaged weights, which
    are what ships. flip: mirror half of the pictures. show_data: whether the set's pictures may be shown, as examples and on
    the card. start: the name of the held-out picture that a visitor starts from, else a vivid one. others: names of sets,
    apart by commas, whose pictures are unlike the model's own (measure.typical). categories: columns of 0 and 1 that are the
    values of one, such as hair = ["black_hair", "fair_hair"]. weights: columns -> how much the pixels that tell them most
    weigh in the loss, 1 to 100 (measure.regions.pixel_weights). card: words for the model card.
    """

    data: str
    framing: str = chosen("square", *FRAMINGS)
    split: str = chosen("hash", *SPLITS)
    steps: int = limited(0, 0, 10**8)
    epochs: float = limited(0, 0, 10**5)
    minutes: float = limited(0, 0, 10**5)
    batch: int = limited(128, 1, 65536)
    learning_rate: float = limited(1e-3, 1e-7, 10)
    warmup: float = limited(0.02, 0, 1)
    weight_decay: float = limited(1e-4, 0, 10)
    clip: float = limited(1000.0, 1e-6, 1e9)
    beta: float = limited(1.0, 0, 1000)
    kl_warmup: float = limited(0.1, 0, 1)
    free_bits: float = limited(0.0, 0, 100)
    perceptual: float = limited(0.0, 0, 100)
    ema: float = limited(0.999, 0, 0.999999)
    flip: bool = chosen(False, False, True)
    show_data: bool = chosen(True, False, True)
    start: str = ""
    others: str = ""
    seed: int = limited(0, 0, 2**31)
    model: VAEConfig = field(default_factory=VAEConfig)
    sharpen: Sharpen = field(default_factory=Sharpen)
    categories: dict[str, list[str]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    card: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        if sum(getattr(self, end) > 0 for end in ENDS) != 1:
            raise BadInput("A recipe ends on exactly one of steps, epochs and minutes; set one of them above 0.")
        for name in ("data", "start", "others"):
            if not isinstance(value := getattr(self, name), str) or not (value or name != "data"):
                raise BadInput(
                    f"{name} is {value!r:.40}; it must be the name of a set, a held-out picture or other sets."
                )
        for name, columns in self.categories.items():
            if not (isinstance(columns, list) and len(columns) > 1 and all(isinstance(c, str) for c in columns)):
                raise BadInput(f"categories.{name:.40} is {columns!r:.40}; it must be a list of two or more columns.")
        for name, weight in self.weights.items():
            if not (type(weight) in (int, float) and 1 <= weight <= 100):
                raise BadInput(f"weights.{name:.40} is {weight!r:.40}; it must be a number from 1 to 100.")
        for name, words in self.card.items():
            if name not in CARD_FIELDS or not isinstance(words, str):
                raise BadInput(f"card.{name:.40} is {words!r:.40}; a card has texts for {', '.join(CARD_FIELDS)}.")

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
        from vae.storage.old import migrate

        migrate(values)
        tables = {name: values.pop(name, {}) for name in TABLES}
        for name, table in tables.items():
            if not isinstance(table, dict):
                raise BadInput(f"In a recipe {name} is a table, [{name}], not {table!r:.40}.")
        sharpen = {f"sharpen_{name}": value for name, value in tables["sharpen"].items()}
        config = cls(data="?", steps=1).override(**{"steps": 0, "minutes": 0, **values}, **tables["model"], **sharpen)
        return dataclasses.replace(config, **{name: tables[name] for name in ("categories", "weights", "card")})

    def override(self, **values: Any) -> "TrainConfig":
        """The same recipe with other values, by the names of `fields`. An end replaces the end."""
        known = fields()
        for name in values:
            if name not in known:
                raise BadInput(f"{name:.40} is no entry of a recipe; those are {', '.join(sorted(known))}.")
        if any(values.get(end) for end in ENDS):
            values = {**dict.fromkeys(ENDS, 0), **values}
        changed: dict[str, dict] = {"": {}, "model": {}, "sharpen": {}}
        for name, value in values.items():
            table, entry = known[name]
            changed[table][entry.name] = value
        for table in ("model", "sharpen"):
            changed[""][table] = dataclasses.replace(getattr(self, table), **changed[table])
        return dataclasses.replace(self, **changed[""])

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
