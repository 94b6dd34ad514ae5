"""The one error that a visitor may read; and fields of configs that know what they may hold."""

import dataclasses
from typing import Any


class BadInput(ValueError):
    """Something given from outside cannot be used. The message is one sentence: what was wrong, and what would be right.

    Every other exception is a bug in the project and is never shown as it is. Whatever a message quotes, it stays short.
    """

    def __init__(self, message: str):
        super().__init__(message if len(message) <= 600 else f"{message[:400]} ... {message[-180:]}")


def limited(default: float, low: float, high: float) -> Any:
    """A dataclass's field: a number from low to high, a whole one where the field's type is int."""
    return dataclasses.field(default=default, metadata={"limits": (low, high)})


def chosen(default: Any, *choices: Any) -> Any:
    """A dataclass's field: one of the choices."""
    return dataclasses.field(default=default, metadata={"choices": choices})


def several(default: tuple[int, ...], most: int, low: int, high: int, step: int = 1) -> Any:
    """A dataclass's field: one to `most` multiples of step from low to high; a list becomes a tuple."""
    return dataclasses.field(default=default, metadata={"several": (most, low, high, step)})


def check_fields(config: Any, prefix: str = "") -> None:
    """BadInput for the first field of a dataclass that is not what limited, chosen or several say; types are compared too."""
    for field in dataclasses.fields(config):
        value, wanted = getattr(config, field.name), ""
        if limits := field.metadata.get("limits"):
            fits = type(value) in (int, field.type) and limits[0] <= value <= limits[1]  # NaN is refused here as well
            wanted = "" if fits else f"a {'whole ' * (field.type is int)}number from {limits[0]} to {limits[1]}"
        elif choices := field.metadata.get("choices"):
            fits = any(type(value) is type(choice) and value == choice for choice in choices)
            wanted = "" if fits else f"one of {', '.join(str(choice).lower() for choice in choices)}"
        elif several := field.metadata.get("several"):
            if isinstance(value, list):
                object.__setattr__(config, field.name, value := tuple(value))
            most, low, high, step = several
            fits = isinstance(value, tuple) and 1 <= len(value) <= most
            fits = fits and all(type(each) is int and low <= each <= high and each % step == 0 for each in value)
            wanted = "" if fits else f"1 to {most} multiples of {step} from {low} to {high}"
        if wanted:
            raise BadInput(f"{prefix}{field.name} is {repr(value)[:60]}; it must be {wanted}.")
