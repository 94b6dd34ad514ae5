"""The one error that a visitor may read, and the checks of configs that raise it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


class BadInput(ValueError):
    """Something given from outside cannot be used. The message is one sentence: what was wrong, and what would be right.

    Every other exception is a bug in the project and is never shown as it is. Whatever a message quotes, it stays short.
    """

    def __init__(self, message: str):
        super().__init__(message if len(message) <= 600 else f"{message[:400]} ... {message[-180:]}")


def check_numbers(config: Any, limits: Mapping[str, tuple[float, float]], prefix: str = "") -> None:
    """BadInput for a field of a dataclass that is no number, no whole one where its type is int, or outside its limits."""
    types = {field.name: field.type for field in dataclasses.fields(config)}
    for name, (low, high) in limits.items():
        value, is_whole = getattr(config, name), types[name] is int
        fits = isinstance(value, int if is_whole else (int, float)) and not isinstance(value, bool)
        if not (fits and low <= value <= high):  # NaN is refused here as well
            what = f"a {'whole ' if is_whole else ''}number from {low} to {high}"
            raise BadInput(f"{prefix}{name} is {repr(value)[:40]}; it must be {what}.")


def check_choices(config: Any, choices: Mapping[str, Sequence], prefix: str = "") -> None:
    """BadInput for a field of a dataclass that is none of its choices, compared with their types."""
    for name, allowed in choices.items():
        value = getattr(config, name)
        if not any(type(value) is type(choice) and value == choice for choice in allowed):
            words = ", ".join(str(choice).lower() for choice in allowed)
            raise BadInput(f"{prefix}{name} is {repr(value)[:40]}; it must be one of {words}.")
