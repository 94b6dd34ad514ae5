"""Numbers and choices that programs give by name, and what each may be: as the page and the library have it."""

from typing import TYPE_CHECKING, Any, Literal

from ui import jobs
from ui.choices import CHOICES, STEPS
from ui.choices import LIMITS as OF_SAMPLES
from ui.words import say
from vae.atlas import PRIORS
from vae.errors import BadInput
from vae.latents import PATHS

if TYPE_CHECKING:  # a type checker wants choices spelt out
    Prior = str
    Way = str
    Data = str
else:
    Prior, Way, Data = Literal[PRIORS], Literal[tuple(PATHS)], Literal[jobs.DATA]

DRAWN, FILMED = (CHOICES[tab]["first"] for tab in ("sample", "morph"))  # what the page begins with
LIMITS: dict[str, tuple[float, float]] = {
    **OF_SAMPLES, "steps": STEPS, "latent": jobs.LATENT, "beta": jobs.BETA, "minutes": jobs.MINUTES
}  # fmt: skip
WHOLE = ("count", "draw", "seed", "steps", "latent")


def check(**values: Any) -> None:
    """BadInput for the first that is no number within its LIMITS, or no whole one where it is to be."""
    for name, value in values.items():
        check_number(name, value, *LIMITS[name], whole=name in WHOLE)


def check_number(name: str, value: Any, low: float, high: float, whole: bool = False) -> None:
    """BadInput where value, called by this name, is no number from low to high, or no whole one."""
    if type(value) not in ((int,) if whole else (int, float)) or not low <= value <= high:  # NaN compares false
        key = "api.bad_whole" if whole else "api.bad_number"
        raise BadInput(say(key, name=name, value=str(value)[:40], low=f"{low:.10g}", high=f"{high:.10g}"))
