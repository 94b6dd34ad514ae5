"""A recipe: all that decides what a training makes, as a checked value and as the text of a recipe.toml."""

import dataclasses
import json
import tomllib
from dataclasses import dataclass, field

from vae.errors import BadInput
from vae.model import VAEConfig

FRAMINGS = ("square", "portrait", "digit", "garment")  # how vae.pictures.framing brings pictures to a model's form
MADE_UP = ("blends", "mixture")
CARD_FIELDS = ("title", "license", "about", "credit", "failures")


@dataclass(frozen=True)
class TrainConfig:
    """A recipe. Ends on exactly one of steps, epochs and minutes, the others being 0; every value is checked.

    data: a set's name for data.load. framing: how pictures are brought to the model's form, for framing.fit.
    rate: the learning rate after the warm-up, falling to 0 along a cosine. kl_warmup: the share of the run over which
    beta rises from 0. free_bits: nats per unit at no cost. perceptual: nats per value of a picture that one unit of
    teacher.lesson costs while the VAE learns. ema: decay of the averaged weights, which are what ships.
    flip: mirror half of the pictures. sharpen: the share of the run, at its end, in which a critic teaches the decoder, at
    sharpen_rate; critic_widths: the critic's channels; pull_*: the shares of the forces on a drawn pixel (critic.judge). What is
    perceptual, or asks a jury, needs the packages of features.TEACHER. teacher_side: pixels that pictures are brought to
    before critic and decoder are taught by it, 0 for their own. made_up: where the pictures without an original come from,
    "blends" of the batch's latents or the "mixture" that samples will come from.
    show_data: whether the set's pictures may be shown, as examples and on the card. start: the name of the held-out picture
    that a visitor starts from, else the most typical. categories: columns of 0 and 1 that are the values of one, such as
    hair = ["black_hair", "fair_hair"]. card: words for the model card: title, license, about, credit, failures.
    """

    data: str
    framing: str = "square"
    steps: int = 0
    epochs: float = 0
    minutes: float = 0
    batch: int = 128
    rate: float = 1e-3
    warmup: float = 0.02
    weight_decay: float = 1e-4
    clip: float = 1000.0
    beta: float = 1.0
    kl_warmup: float = 0.1
    free_bits: float = 0.0
    perceptual: float = 0.0
    ema: float = 0.999
    flip: bool = False
    sharpen: float = 0.0
    sharpen_rate: float = 8e-4
    critic_widths: tuple[int, ...] = (16, 32, 64, 128)
    pull_pixel: float = 0.2
    pull_feature: float = 0.2
    pull_adversarial: float = 0.2
    pull_perceptual: float = 0.0
    pull_jury: float = 0.0
    teacher_side: int = 0
    made_up: str = "blends"
    show_data: bool = True
    start: str = ""
    seed: int = 0
    model: VAEConfig = field(default_factory=VAEConfig)
    categories: dict[str, list[str]] = field(default_factory=dict)
    card: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        limits = {
            "steps": (0, 10**8), "epochs": (0, 10**5), "minutes": (0, 10**5), "batch": (1, 65536), "rate": (1e-7, 10),
            "warmup": (0, 1), "weight_decay": (0, 10), "clip": (1e-6, 1e9), "beta": (0, 1000), "kl_warmup": (0, 1),
            "free_bits": (0, 100), "ema": (0, 0.999999), "seed": (0, 2**31), "sharpen": (0, 0.95),
            "sharpen_rate": (1e-7, 10), "pull_pixel": (0, 100), "pull_feature": (0, 100), "pull_adversarial": (0, 100),
            "pull_perceptual": (0, 100), "pull_jury": (0, 100), "teacher_side": (0, 1024), "perceptual": (0, 100),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            value, kind = getattr(self, name), TrainConfig.__dataclass_fields__[name].type
            if isinstance(value, bool) or not isinstance(value, (int,) if kind is int else (int, float)):
                raise BadInput(f"{name} is {value!r}; it must be a {'whole ' if kind is int else ''}number.")
            if not low <= value <= high:  # NaN is refused here as well
                raise BadInput(f"{name} is {value}; it must be from {low} to {high}.")
        if sum(value > 0 for value in (self.steps, self.epochs, self.minutes)) != 1:
            raise BadInput("A recipe ends on exactly one of steps, epochs and minutes; set one of them above 0.")
        if isinstance(self.critic_widths, list):
            object.__setattr__(self, "critic_widths", tuple(self.critic_widths))
        widths = self.critic_widths
        if not (isinstance(widths, tuple) and widths and all(type(w) is int and 1 <= w <= 1024 for w in widths)):
            raise BadInput(f"critic_widths is {widths!r}; it must be a list of whole numbers from 1 to 1024.")
        if not (isinstance(self.data, str) and self.data):
            raise BadInput(f"data is {self.data!r}; it must be the name of a set.")
        if self.framing not in FRAMINGS:
            raise BadInput(f"framing is {self.framing!r}; it must be one of {', '.join(FRAMINGS)}.")
        if self.made_up not in MADE_UP:
            raise BadInput(f"made_up is {self.made_up!r}; it must be one of {', '.join(MADE_UP)}.")
        if not isinstance(self.start, str):
            raise BadInput(f"start is {self.start!r}; it must be the name of a held-out picture.")
        for name in ("flip", "show_data"):
            if not isinstance(getattr(self, name), bool):
                raise BadInput(f"{name} is {getattr(self, name)!r}; it must be true or false.")
        for name, columns in self.categories.items():
            if not (isinstance(columns, list) and len(columns) > 1 and all(isinstance(c, str) for c in columns)):
                raise BadInput(f"categories.{name} is {columns!r}; it must be a list of two or more columns' names.")
        strange = [key for key, words in self.card.items() if key not in CARD_FIELDS or not isinstance(words, str)]
        if strange:
            raise BadInput(f"card.{strange[0]} is not known; a card has texts for {', '.join(CARD_FIELDS)}.")

    @classmethod
    def from_toml(cls, text: str) -> "TrainConfig":
        """From a recipe's text. BadInput for broken TOML and for every entry that is unknown or out of range."""
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise BadInput(f"The recipe is no valid TOML: {error}.") from error
        if "data" not in values:
            raise BadInput('The recipe names no data; add a line such as data = "digits".')
        tables = {name: values.pop(name, {}) for name in ("model", "categories", "card")}
        if not all(isinstance(table, dict) for table in tables.values()):
            raise BadInput("In a recipe [model], [categories] and [card] are tables.")
        empty = cls(data="?", steps=1)
        config = empty.override(**{"steps": 0, "minutes": 0, **values}, **tables["model"])
        return dataclasses.replace(config, categories=tables["categories"], card=tables["card"])

    def override(self, **values) -> "TrainConfig":
        """The same recipe with other values, by the names of its fields or its model's. An end replaces the end."""
        model_fields = {f.name for f in dataclasses.fields(VAEConfig)}
        own_fields = {f.name for f in dataclasses.fields(TrainConfig)} - {"model", "categories", "card"}
        for name in values:
            if name not in model_fields | own_fields:
                raise BadInput(
                    f"{name} is no entry of a recipe; those are {', '.join(sorted(own_fields | model_fields))}."
                )
        ends = {"steps", "epochs", "minutes"}
        if ends & {name for name, value in values.items() if value}:
            values = {**dict.fromkeys(ends, 0), **values}
        model = dataclasses.replace(self.model, **{k: v for k, v in values.items() if k in model_fields})
        return dataclasses.replace(self, model=model, **{k: v for k, v in values.items() if k in own_fields})

    def to_toml(self) -> str:
        """The recipe as text that from_toml reads back to an equal recipe."""
        values = dataclasses.asdict(self)
        tables = {"": values, **{name: values.pop(name) for name in ("model", "categories", "card")}}
        blocks = []
        for table, entries in tables.items():
            lines = [f"[{table}]"] if table else []
            # JSON's way to write texts, numbers, booleans and lists is also TOML's.
            lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in entries.items()]
            blocks.append("\n".join(lines) + "\n")
        return "\n".join(blocks)
