"""Every word of the page stands in en.json, by tab; `say` finds it."""

import json
from pathlib import Path

_WORDS = json.loads(Path(__file__).with_name("en.json").read_text(encoding="utf-8"))


def say(key: str, **values: object) -> str:
    """The words called "section.name", with {value} filled in. KeyError for a key that is not there: a bug, not bad input."""
    section, _, name = key.partition(".")
    words = _WORDS[section][name]
    return words.format(**values) if values else words


def section(name: str) -> dict[str, str]:
    """All words of a section as they stand in the file, for a component that fills them in itself."""
    return dict(_WORDS[name])
