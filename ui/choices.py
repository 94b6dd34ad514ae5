"""What a visitor may choose, within which limits, and what a page begins with: for both pages, and for programs."""

from typing import Any

from vae.atlas import SPREAD
from vae.measure.best import DIFFERENCE, MOST_DRAWN, MOST_KEPT
from vae.measure.novelty import COPY

MEGABYTES = 30  # of one picture that is brought
LIMITS: dict[str, tuple[float, float]] = {
    "count": (1, MOST_KEPT), "draw": (1, MOST_DRAWN), "difference": (0, 1), "temperature": (0, 1.5), "spread": (0, 1),
    "seed": (0, 2**31 - 1),
}  # fmt: skip
STEPS = (2, 33)  # of a film
CHOICES: dict[str, dict[str, Any]] = {
    "sample": {
        "first": {
            "count": 32, "seed": 2026, "temperature": 0.9, "prior": "mixture", "look": "drawn", "only": [], "draw": 256,
            "difference": DIFFERENCE, "spread": SPREAD, "around": None,
        },
        "limits": LIMITS,
        "copy": COPY,
    },
    "morph": {"first": {"steps": 17, "path": "line"}, "steps": STEPS},
}  # fmt: skip
