"""Files of earlier versions, read as they are written now."""

import logging
from typing import Any

log = logging.getLogger(__name__)
OLD_NAMES = {
    "sharpen": "share", "sharpen_rate": "learning_rate", "critic_widths": "critic_widths", "pull_pixel": "pixel",
    "pull_feature": "feature", "pull_adversarial": "adversarial", "pull_perceptual": "perceptual", "pull_jury": "jury",
    "teacher_side": "teacher_size", "made_up": "unpaired",
}  # fmt: skip


def migrate(values: dict[str, Any]) -> None:
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
