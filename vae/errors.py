"""The one error that a visitor may read."""


class BadInput(ValueError):
    """Something given from outside cannot be used. The message is one sentence: what was wrong, and what would be right.

    Every other exception is a bug in the project and is never shown as it is. Whatever a message quotes, it stays short.
    """

    def __init__(self, message: str):
        super().__init__(message if len(message) <= 600 else f"{message[:400]} ... {message[-180:]}")
