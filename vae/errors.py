"""The one error that a visitor may read."""


class BadInput(ValueError):
    """Something given from outside cannot be used. The message is one sentence: what was wrong, and what would be right.

    Every other exception is a bug in the project and is never shown as it is.
    """
