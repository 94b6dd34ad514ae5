"""Where errors become words on the page: BadInput is shown as it is, anything else is a bug, logged and apologised for."""

import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from ui.words import say
from vae.errors import BadInput

log = logging.getLogger(__name__)


def spoken(handler: Callable, escape: Callable[[str], str] = html.escape) -> Callable:
    """A handler, plain or a generator, whose errors reach the visitor as gr.Error, which the page shows as a toast of HTML.

    escape: str for what only programs call.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def stepwise(*args: Any, **kwargs: Any) -> Iterator:
            try:
                yield from handler(*args, **kwargs)
            except Exception as error:
                raise _spoken(error, escape) from error

        return stepwise

    @functools.wraps(handler)
    def once(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except Exception as error:
            raise _spoken(error, escape) from error

    return once


def answered(handler: Callable[[dict], dict]) -> Callable[[dict], dict]:
    """A server function, JSON object in and out, whose errors come back as {"error": sentence}: Gradio would hide them.

    Strangers can call it with any JSON; what is no object is refused here.
    """

    @functools.wraps(handler)
    def answer(asked: object) -> dict:
        try:
            if not isinstance(asked, dict):
                raise BadInput(say("page.no_object"))
            return handler(asked)
        except BadInput as error:
            return {"error": str(error)}
        except Exception:
            log.exception("%s broke", handler.__name__)
            return {"error": say("page.bug")}

    return answer


def _spoken(error: Exception, escape: Callable[[str], str]) -> gr.Error:
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, BadInput):
        return gr.Error(escape(str(error)), duration=12, print_exception=False)
    log.error("a handler broke", exc_info=error)
    return gr.Error(say("page.bug"), print_exception=False)
