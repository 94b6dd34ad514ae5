"""Which pictures of a set are held out: by their names alone, so that it stays so when more are added."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256

import numpy as np

LEAST_DIVIDED = 5  # pictures of a label from which on some are in both parts; fewer alike are copies


def held_out(names: Sequence[str], labels: np.ndarray | None = None, groups: np.ndarray | None = None) -> np.ndarray:
    """N names, their labels and their group numbers (N,) -> (N,) bool: about a tenth, whatever the order of the names.

    Of each label the tenth (rounded) whose names have the smallest sha256, of five pictures or more at least one; labels of
    fewer pictures are taken together. A group, which is pictures nearly the same, stays whole and goes by its smallest hash,
    but one of more than a tenth of all is a kind, not copies, and is divided as a label is. Of two names or more at least
    one is held out.
    """
    count, numbers = len(names), range(len(names)) if groups is None else groups.tolist()
    order = sorted(range(count), key=lambda row: _hash(names[row]))
    kinds = {group for group, size in Counter(numbers).items() if size >= LEAST_DIVIDED and size > count / 10}
    copies: dict[tuple[int, int], list[int]] = {}  # in the order of each one's smallest hash
    for row in order:
        copies.setdefault((numbers[row], row if numbers[row] in kinds else -1), []).append(row)
    strata = [group if group in kinds else None for group in numbers] if labels is None else labels.tolist()
    sizes = Counter(strata[rows[0]] for rows in copies.values() for _ in rows)  # copies go with their first
    parts: dict[object, list[list[int]]] = {}
    for rows in copies.values():
        stratum = strata[rows[0]]
        parts.setdefault((stratum,) if sizes[stratum] >= LEAST_DIVIDED else "few", []).append(rows)
    is_held = np.zeros(count, bool)
    for part in parts.values():
        is_held[_tenth(part)] = True
    is_held[order[:1]] |= count > 1 and not is_held.any()
    return is_held


def _hash(name: str) -> str:
    tidy = unicodedata.normalize("NFC", name.replace("\\", "/"))
    return sha256(tidy.encode("utf-8", "surrogateescape")).hexdigest()


def _tenth(groups: list[list[int]]) -> list[int]:
    """Rows in groups -> those of about a tenth: the first groups that fit, none broken up unless it is nearly all there is."""
    count = sum(map(len, groups))
    wanted = max(round(count / 10), int(count >= LEAST_DIVIDED))
    taken: list[int] = []
    for rows in groups:
        taken += rows if len(taken) + len(rows) <= wanted else []
    smallest = min(groups, key=len)
    if wanted and not taken:  # every group is larger than that
        taken = smallest if len(smallest) < count / 2 else sum(groups, [])[:wanted]
    return taken
