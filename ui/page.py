"""The frame: title, the models as a row of pictures, four tabs with a sentence each, and what the tabs share."""

import html
import os
from typing import Any

import gradio as gr
import torch

from ui import api, explore, jobs, shelf, theme, train
from ui.choices import MEGABYTES
from ui.edge import spoken
from ui.files import UploadsOnly
from ui.shelf import Page
from ui.theme import COMPONENTS, PAGE, RUNTIME, mounted
from ui.words import say
from vae.pictures import faces

TABS = ("explore", "sample", "morph", "train")
TICK_SECONDS = 1.0
LAUNCH: dict[str, Any] = {
    "theme": theme.theme,
    "css": theme.css,
    "css_paths": theme.css_paths,
    "head": theme.head,
    "ssr_mode": False,
    "show_error": False,
    "max_file_size": f"{MEGABYTES}mb",
    "run_history": False,
    "enable_monitoring": False,
    "footer_links": ["api", "settings"],
    "mcp_server": os.environ.get("GRADIO_MCP_SERVER", "").lower() in ("1", "true"),
}
HEADER = """<header class="lp-header"><h1>{title}<small>{subtitle}</small></h1>
<div class="lp-picker" role="group" aria-label="{models}">{{{{#each entries}}}}
<button type="button" data-id="{{{{this.id}}}}"><img src="{{{{this.thumb}}}}" alt="" width="56" height="56">
<span>{{{{this.title}}}}</span></button>{{{{/each}}}}</div></header>"""


def build() -> gr.Blocks:
    """The whole page, ready to launch with LAUNCH."""
    # A picture takes a few ms on one core; the others are for other requests, and for a training.
    torch.set_num_threads(1)
    jobs.tidy()
    gr.set_static_paths([COMPONENTS, RUNTIME, faces.FINDER, shelf.served()])
    with UploadsOnly(title=say("page.title"), analytics_enabled=False, delete_cache=(600, 3600)) as demo:
        api.build()
        # Outside of the tabs: a closed tab would not load them, and a reloaded page would lose its run.
        runs = gr.BrowserState([], storage_key="latent-playground-runs")
        tick = gr.Timer(TICK_SECONDS, active=False)
        shown = gr.State(shelf.ids())
        picker = _picker(shelf.default())
        with gr.Tabs(selected="explore", elem_id="lp-tabs") as tabs:
            page = Page(model_id=picker, tabs=tabs, runs=runs, tick=tick)
            for name in TABS:
                with gr.Tab(say(f"page.{name}"), id=name):
                    says = f"<p>{html.escape(say(f'page.{name}_says'))}</p>"
                    gr.HTML(says, apply_default_css=False, elem_classes="lp-says")
                    if name == "explore":
                        explore.build()
                    elif name == "train":
                        train.build(page)
                    else:
                        _part(name)
        quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
        gr.on([demo.load, runs.change, tick.tick], spoken(choices), [runs, shown], [picker, shown], **quiet)
    return demo


def _picker(model_id: str) -> gr.HTML:
    """Its value is the id of the chosen model, for everything on the page that asks."""
    words = {name: html.escape(say(f"page.{name}")) for name in ("title", "subtitle", "models")}
    return gr.HTML(
        model_id,
        html_template=HEADER.format(**words),
        js_on_load=mounted(PAGE),
        apply_default_css=False,
        elem_id="lp-header",
        entries=shelf.entries(),
    )


def _part(name: str) -> None:
    """A tab that is all JavaScript."""
    gr.HTML(html_template=f'<div class="lp-{name}"></div>', js_on_load=mounted(PAGE), apply_default_css=False)


def choices(tokens: list[str], shown: list[str]) -> tuple:
    """The picker's pictures with this visitor's own models, and their ids; nothing new if those are the ids shown."""
    ids = shelf.ids(tokens)
    return (gr.skip(), gr.skip()) if ids == shown else (gr.HTML(entries=shelf.entries(tokens)), ids)
