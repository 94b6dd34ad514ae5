"""The Sample tab: throw dice into a model's latent space, look closer at one picture, take them all home."""

import html
import io
import secrets
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from ui import explore, looks, shelf
from ui.edge import spoken
from ui.shelf import Page
from ui.theme import mounted
from ui.words import say
from vae.errors import BadInput
from vae.pictures import images

COUNT, SEED, TEMPERATURE = (1, 64), (0, 2**31 - 1), (0, 1.5)
PRIORS = ("mixture", "normal")
AS_DRAWN = "drawn"
LOOKS = (AS_DRAWN, "polished", "retro", "ink")
FIRST: dict[str, Any] = {"count": 32, "seed": 2026, "temperature": 0.9, "prior": "mixture", "look": AS_DRAWN}
TRAITS = 10  # chips at most: as many as there are digits
NEW_SEEDS = 10_000  # what "Throw again" chooses among: numbers that can be told to a friend


# Handlers: plain values in, plain values or updates out.


def throw(
    model_id: str, count: int, seed: int, temperature: float, prior: str, look: str = AS_DRAWN, only: Sequence[str] = ()
) -> tuple[dict, dict]:
    """What the gallery shows, and the throw {"model", "seed", "latents", "look"} that the buttons go by. BadInput out of range.

    The same values always give the same pictures. only: names of the atlas' traits that all of them should have.
    """
    count, seed = int(_number("count", count, COUNT)), int(_number("seed", seed, SEED))
    temperature = _number("temperature", temperature, TEMPERATURE)
    if prior not in PRIORS:
        raise BadInput(say("sample.bad_prior", value=str(prior)[:40], known=", ".join(PRIORS)))
    if look not in LOOKS:
        raise BadInput(say("sample.bad_look", value=str(look)[:40], known=", ".join(LOOKS)))
    checkpoint = shelf.get(model_id)
    if not isinstance(only, list | tuple) or not all(isinstance(name, str) for name in only):
        raise BadInput(say("sample.bad_only"))
    z = checkpoint.atlas.prior(prior, count, seed, temperature, only)
    shown = {
        "pictures": [images.data_url(_in_look(picture, look)) for picture in checkpoint.decode(z)],
        "title": say("sample.title" if count > 1 else "sample.title_one", count=count),
        "story": say("sample.story", latent=z.shape[1]),
    }
    return shown, {"model": model_id, "seed": seed, "latents": z.tolist(), "look": look}


def _in_look(picture: np.ndarray, look: str) -> np.ndarray:
    return picture if look == AS_DRAWN else looks.finish(picture, look)


def throw_again(
    model_id: str, count: int, temperature: float, prior: str, look: str = AS_DRAWN, only: Sequence[str] = ()
) -> tuple[int, dict, dict]:
    """A new seed, and what it throws."""
    seed = secrets.randbelow(NEW_SEEDS)
    return seed, *throw(model_id, count, seed, temperature, prior, look, only)


def throw_seed(thrown: dict, model_id: str, count: int, seed: int, *settings: Any) -> tuple:
    """What a typed seed throws; nothing new where it lies there already: a field that is left tells its value once more."""
    if (thrown["model"], thrown["seed"]) == (model_id, seed):
        return gr.skip(), gr.skip()
    return throw(model_id, count, seed, *settings)


def open_model(
    model_id: str, count: int, seed: int, temperature: float, prior: str, look: str = AS_DRAWN
) -> tuple[gr.CheckboxGroup, dict, dict]:
    """What another model's pictures can have or not, none of it chosen, and its first throw."""
    choices = explore.traits(shelf.get(model_id).atlas)[:TRAITS]
    chips = gr.CheckboxGroup(choices=choices, value=[], visible=bool(choices))
    return chips, *throw(model_id, count, seed, temperature, prior, look)


def send(thrown: dict, model_id: str, index: int, tab: str) -> tuple[list[float], gr.Tabs]:
    """The latent of one thrown picture, and the tab to go to. BadInput if there is no such picture, or of another model."""
    if thrown["model"] != model_id:
        raise BadInput(say("sample.other_model"))
    latents = thrown["latents"]
    if not (isinstance(index, int) and 0 <= index < len(latents)):
        raise BadInput(say("sample.no_picture", value=str(index)[:40], count=len(latents)))
    return latents[index], gr.Tabs(selected=tab)


def keep(thrown: dict) -> str:
    """A zip of all thrown pictures as PNGs, in Gradio's cache, which is emptied by the clock."""
    checkpoint = shelf.get(thrown["model"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for place, picture in enumerate(checkpoint.decode(thrown["latents"])):
            archive.writestr(f"{place:02d}.png", images.encode(_in_look(picture, thrown["look"])))
    return save_bytes_to_cache(packed.getvalue(), f"{checkpoint.name}-{thrown['seed']}.zip", get_upload_folder())


def _number(name: str, value: object, limits: tuple[float, float]) -> float:
    """value, if it is a number within the limits, and a whole one unless they are those of the temperature."""
    whole = limits is not TEMPERATURE
    if (
        not isinstance(value, int | float)
        or not limits[0] <= value <= limits[1]  # NaN compares false
        or (whole and value != int(value))
    ):
        key = "sample.bad_whole" if whole else "sample.bad_number"
        name, low, high = say(f"sample.{name}"), *limits
        raise BadInput(say(key, name=name, value=str(value)[:40], low=low, high=f"{high:,}"))
    return value


# Layout.


def gallery_html() -> str:
    """The gallery before components/gallery.js fills it."""
    words = {name: html.escape(say(f"sample.{name}")) for name in ("hint", "explore", "morph")}
    return (
        f"<h3><span></span><em>{words['hint']}</em></h3>"
        '<div class="tiles"></div>'
        '<div class="closer"><img alt=""><div><p></p>'
        f'<button class="lp-btn" data-event="explore">{words["explore"]}</button>'
        f'<button class="lp-btn" data-event="morph">{words["morph"]}</button></div></div>'
    )


def gallery(shown: dict) -> gr.HTML:
    """The pictures, one of them large; its value is what throw() shows. Events "explore" and "morph" carry an index."""
    return gr.HTML(
        shown, html_template=gallery_html(), js_on_load=mounted("gallery.js", "explore", "morph"), apply_default_css=False,
        elem_id="sample-gallery", elem_classes="lp-gallery",
    )  # fmt: skip


def build(page: Page) -> None:
    """The tab's contents, filled for the model that the page opens with."""
    shown, first = throw(shelf.default(), **FIRST)
    thrown = gr.State(first)
    with gr.Row(elem_classes="lp-sample"):
        with gr.Column(elem_classes="lp-card lp-throw", min_width=0):
            count = gr.Slider(
                *COUNT, FIRST["count"], step=1, precision=0, label=say("sample.count"), buttons=[],
                elem_classes="lp-slider", elem_id="sample-count",
            )  # fmt: skip
            temperature = gr.Slider(
                *TEMPERATURE, FIRST["temperature"], step=0.05, label=say("sample.temperature"), buttons=[],
                elem_classes="lp-slider", elem_id="sample-temperature",
            )  # fmt: skip
            prior = gr.Radio(
                [(say(f"sample.{name}"), name) for name in PRIORS], value=FIRST["prior"], label=say("sample.prior"),
                info=say("sample.prior_note"), elem_classes="lp-chips", elem_id="sample-prior",
            )  # fmt: skip
            only = gr.CheckboxGroup(
                explore.traits(shelf.get(shelf.default()).atlas)[:TRAITS], label=say("sample.only"),
                info=say("sample.only_note"), elem_classes="lp-chips", elem_id="sample-only",
            )  # fmt: skip
            look = gr.Radio(
                [(say(f"sample.{name}"), name) for name in LOOKS], value=FIRST["look"], label=say("sample.look"),
                info=say("sample.look_note"), elem_classes="lp-chips", elem_id="sample-look",
            )  # fmt: skip
            seed = gr.Number(
                FIRST["seed"], label=say("sample.seed"), info=say("sample.seed_note"), elem_id="sample-seed"
            )
        with gr.Row(elem_classes="lp-dice"):
            again = gr.Button(say("sample.again"), variant="primary", elem_id="sample-again", min_width=110)
            take = gr.Button(say("sample.download"), elem_id="sample-download", min_width=90)
        with gr.Column(elem_classes="lp-card", min_width=0):
            tiles = gallery(shown)
    file = gr.DownloadButton(visible="hidden", elem_id="sample-file")

    settings = [page.model_id, count, seed, temperature, prior, look, only]
    quiet: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}
    private: dict[str, Any] = {"api_visibility": "private"}
    changes = [count.input, temperature.input, prior.input, look.input, only.input]
    gr.on(changes, spoken(throw), settings, [tiles, thrown], api_name="sample", **quiet)
    gr.on([seed.submit, seed.blur], spoken(throw_seed), [thrown, *settings], [tiles, thrown], **quiet, **private)
    page.model_id.change(spoken(open_model), settings[:-1], [only, tiles, thrown], **quiet, **private)
    again.click(
        spoken(throw_again),
        [page.model_id, count, temperature, prior, look, only],
        [seed, tiles, thrown],
        **quiet,
        **private,
    )

    tiles.explore(spoken(_on_explore), [thrown, page.model_id], [page.sent, page.tabs], **quiet, **private)
    tiles.morph(spoken(_on_morph), [thrown, page.model_id], [page.picked, page.tabs], **quiet, **private)
    take.click(spoken(keep), thrown, file, **quiet, **private).success(
        None, js="() => document.querySelector('#sample-file').click()"
    )


def _on_explore(thrown: dict, model_id: str, event: gr.EventData) -> Iterator[tuple]:
    yield None, gr.skip()  # else the same latent, sent twice, would be no change, and nobody would look
    yield send(thrown, model_id, event.index, "explore")


def _on_morph(thrown: dict, model_id: str, event: gr.EventData) -> Iterator[tuple]:
    yield None, gr.skip()
    yield send(thrown, model_id, event.index, "morph")
