"""The Sample tab: throw dice into a model's latent space, look closer at one picture, take them all home."""

import html
import io
import secrets
import zipfile
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from torch import Tensor

from ui import explore, looks, shelf
from ui.edge import spoken
from ui.shelf import Page
from ui.theme import mounted
from ui.words import say
from vae.atlas import SPREAD
from vae.checkpoints import Checkpoint
from vae.errors import BadInput
from vae.measure.best import DIFFERENCE, MOST_DRAWN, MOST_KEPT, best_of
from vae.measure.novelty import COPY
from vae.pictures import images

LIMITS: dict[str, tuple[float, float]] = {
    "count": (1, MOST_KEPT), "draw": (1, MOST_DRAWN), "difference": (0, 1), "temperature": (0, 1.5), "spread": (0, 1),
    "seed": (0, 2**31 - 1),
}  # fmt: skip
WHOLE = ("count", "draw", "seed")
PRIORS = ("mixture", "normal")
NEAR = "near"  # in place of a prior: around a picture that was picked
EVENTS = ("explore", "morph", "around", "left")  # of the gallery; the last from its heading
AS_DRAWN = "drawn"
LOOKS = (AS_DRAWN, "polished", "retro", "ink")
FIRST: dict[str, Any] = {
    "count": 32, "seed": 2026, "temperature": 0.9, "prior": "mixture", "look": AS_DRAWN, "only": (), "draw": 256,
    "difference": DIFFERENCE, "spread": SPREAD, "around": None,
}  # fmt: skip
TRAITS = 10  # chips at most: as many as there are digits
NEW_SEEDS = 10_000  # what "Throw again" chooses among: numbers that can be told to a friend


# Handlers: plain values in, plain values or updates out.


def throw(model_id: str, *settings: Any) -> tuple[dict, dict]:
    """What the gallery shows, and the throw {"model", "seed", "latents", "look", "settings"} that the buttons go by.

    settings: values in the order of FIRST, of which the last may be left out. The same values always give the same pictures:
    of `draw` latents the best `count`, as best_of says, all with the traits named in `only`. around: the latent that NEAR
    draws around. BadInput out of range.
    """
    return _shown(model_id, dict(zip(FIRST, (*settings, *list(FIRST.values())[len(settings) :]), strict=True)))


def _shown(model_id: str, asked: dict[str, Any], first: int = -1) -> tuple[dict, dict]:
    """The best; or of those that are left out as many as are kept at most, from that one on, the least likely first."""
    checkpoint, z = _drawn(model_id, asked)
    kept, left = best_of(checkpoint.atlas, z, int(asked["count"]), asked["difference"])
    rows = kept if first < 0 else left[first : first + MOST_KEPT]
    after = first + len(rows)
    if first < 0:
        name = "best" if left else "title" if len(rows) > 1 else "title_one"
        title = say(f"sample.{name}", count=len(rows), draw=f"{len(z):,}")
        ways = [(say("sample.left", count=f"{len(left):,}"), 0)] if left else []
    elif not rows:
        raise BadInput(say("sample.no_left", value=str(first)[:40]))
    else:
        title = say("sample.left_title", first=f"{first + 1:,}", last=f"{after:,}", count=f"{len(left):,}")
        ways = [(say("sample.left_next"), after)] if after < len(left) else []
        ways.append((say("sample.left_back"), -1))
    shown = {
        "pictures": [images.data_url(_in_look(picture, asked["look"])) for picture in checkpoint.decode(z[rows])],
        "title": title,
        "ways": ways,
        "story": say("sample.story", latent=z.shape[1]),
        "news": _news(checkpoint, z[rows]),
    }
    thrown = {"model": model_id, "seed": asked["seed"], "latents": z[rows].tolist(), "look": asked["look"]}
    return shown, thrown | {"settings": asked}


def _drawn(model_id: str, asked: dict[str, Any]) -> tuple[Checkpoint, Tensor]:
    """The model and its latents (N, D) for these settings, at least as many as are kept. BadInput for one out of range."""
    count, draw, seed = (int(_number(name, asked[name])) for name in WHOLE)
    temperature, spread, _ = (_number(name, asked[name]) for name in ("temperature", "spread", "difference"))
    prior, look = asked["prior"], asked["look"]
    if prior not in (*PRIORS, NEAR):
        raise BadInput(say("sample.bad_prior", value=str(prior)[:40], known=", ".join(PRIORS)))
    if look not in LOOKS:
        raise BadInput(say("sample.bad_look", value=str(look)[:40], known=", ".join(LOOKS)))
    checkpoint, only = shelf.get(model_id), asked["only"]
    if not isinstance(only, list | tuple) or not all(isinstance(name, str) for name in only):
        raise BadInput(say("sample.bad_only"))
    near: dict[str, Any] = {}
    if prior == NEAR:
        if asked["around"] is None:
            raise BadInput(say("sample.no_near"))
        near = {"around": checkpoint.checked([asked["around"]])[0].cpu(), "spread": spread}
    name, many = PRIORS[0] if near else prior, max(count, draw)
    return checkpoint, checkpoint.atlas.prior(name, many, seed, temperature, only, least=count, **near)


def _news(checkpoint: Checkpoint, z: Tensor) -> list[str]:
    """Of each latent whether it is new or copied, in words; empty where the model does not know."""
    novelty, sketch = checkpoint.novelty(z), checkpoint.sketch
    if novelty is None or sketch is None:
        return []
    part = say("sample.part", count=f"{len(sketch.rows):,}", of=f"{sketch.of:,}") if sketch.is_part else ""
    names = ("copied" if share < COPY else "new" for share in novelty.tolist())
    return [
        f"{say(f'sample.{name}', share=f'{100 * share:.0f} %')} {part}".strip()
        for name, share in zip(names, novelty.tolist(), strict=True)
    ]


def _in_look(picture: np.ndarray, look: str) -> np.ndarray:
    return picture if look == AS_DRAWN else looks.finish(picture, look)


def throw_again(model_id: str, count: int, seed: int, *settings: Any) -> tuple[int, dict, dict]:
    """A new seed in place of the old one, and what it throws."""
    seed = secrets.randbelow(NEW_SEEDS)
    return seed, *throw(model_id, count, seed, *settings)


def throw_seed(thrown: dict, model_id: str, count: int, seed: int, *settings: Any) -> tuple:
    """What a typed seed throws; nothing new where it lies there already: a field that is left tells its value once more."""
    if (thrown["model"], thrown["seed"]) == (model_id, seed):
        return gr.skip(), gr.skip()
    return throw(model_id, count, seed, *settings)


def open_model(model_id: str, *settings: Any) -> tuple:
    """What another model's pictures can have or not, none of it chosen, no picture to be near to, and its first throw."""
    choices = explore.traits(shelf.get(model_id).atlas)[:TRAITS]
    chips = gr.CheckboxGroup(choices=choices, value=[], visible=bool(choices))
    asked = dict(zip(FIRST, settings, strict=True)) | {"only": (), "around": None}
    if asked["prior"] == NEAR:
        asked["prior"] = PRIORS[0]
    return chips, gr.Radio(_priors(), value=asked["prior"]), None, *_shown(model_id, asked)


def look_at(thrown: dict, model_id: str, first: int) -> tuple[dict, dict]:
    """Those that were left out, from that one on, counted from 0; with -1 the best again. BadInput if there are none."""
    if thrown["model"] != model_id:
        raise BadInput(say("sample.other_model"))
    if type(first) is not int or first < -1:
        raise BadInput(say("sample.no_left", value=str(first)[:40]))
    return _shown(model_id, thrown["settings"], first)


def go_near(thrown: dict, model_id: str, index: int) -> tuple:
    """The prior's chips with NEAR chosen, the latent that was picked, and what is thrown around it by the same settings."""
    latent, _ = send(thrown, model_id, index, "sample")
    asked = thrown["settings"] | {"prior": NEAR, "around": latent}
    return gr.Radio(_priors(NEAR), value=NEAR), latent, *_shown(model_id, asked)


def _priors(*more: str) -> list[tuple[str, str]]:
    return [(say(f"sample.{name}"), name) for name in (*PRIORS, *more)]


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


def _number(name: str, value: object) -> float:
    """value, if it is a number within its LIMITS, and a whole one where it is to be."""
    low, high = LIMITS[name]
    if (
        not isinstance(value, int | float)
        or not low <= value <= high  # NaN compares false
        or (name in WHOLE and value != int(value))
    ):
        key = "sample.bad_whole" if name in WHOLE else "sample.bad_number"
        raise BadInput(say(key, name=say(f"sample.{name}"), value=str(value)[:40], low=low, high=f"{high:,}"))
    return value


# Layout.


def gallery_html() -> str:
    """The gallery before components/gallery.js fills it."""
    buttons = (
        f'<button class="lp-btn" data-event="{name}">{html.escape(say(f"sample.{name}"))}</button>'
        for name in EVENTS[:3]
    )
    return (
        f"<h3><span></span><b></b><em>{html.escape(say('sample.hint'))}</em></h3>"
        '<div class="tiles"></div>'
        f'<div class="closer"><img alt=""><div><p></p>{"".join(buttons)}</div></div>'
    )


def gallery(shown: dict) -> gr.HTML:
    """The pictures, one of them large; its value is what throw() shows. EVENTS carry an index."""
    return gr.HTML(
        shown, html_template=gallery_html(), js_on_load=mounted("gallery.js", *EVENTS), apply_default_css=False,
        elem_id="sample-gallery", elem_classes="lp-gallery",
    )  # fmt: skip


def _slider(name: str, step: float, visible: bool = True) -> gr.Slider:
    return gr.Slider(
        *LIMITS[name], FIRST[name], step=step, precision=0 if name in WHOLE else None, label=say(f"sample.{name}"), buttons=[],
        elem_classes="lp-slider", elem_id=f"sample-{name}", visible=visible,
    )  # fmt: skip


def build(page: Page) -> None:
    """The tab's contents, filled for the model that the page opens with."""
    shown, first = throw(shelf.default(), *FIRST.values())
    thrown, around = gr.State(first), gr.State(None)
    with gr.Row(elem_classes="lp-sample"):
        with gr.Column(elem_classes="lp-card lp-throw", min_width=0):
            draw = _slider("draw", 1)
            count = _slider("count", 1)
            difference = _slider("difference", 0.05)
            temperature = _slider("temperature", 0.05)
            prior = gr.Radio(
                _priors(), value=FIRST["prior"], label=say("sample.prior"),
                info=say("sample.prior_note"), elem_classes="lp-chips", elem_id="sample-prior",
            )  # fmt: skip
            spread = _slider("spread", 0.05, visible=False)
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

    settings = [page.model_id, count, seed, temperature, prior, look, only, draw, difference, spread, around]
    quiet: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}
    private: dict[str, Any] = {"api_visibility": "private"}
    moved = [
        count.input,
        temperature.input,
        prior.input,
        look.input,
        only.input,
        draw.input,
        difference.input,
        spread.input,
    ]
    gr.on(moved, spoken(throw), settings, [tiles, thrown], **quiet, **private)
    gr.on([seed.submit, seed.blur], spoken(throw_seed), [thrown, *settings], [tiles, thrown], **quiet, **private)
    page.model_id.change(spoken(open_model), settings, [only, prior, around, tiles, thrown], **quiet, **private)
    again.click(spoken(throw_again), settings, [seed, tiles, thrown], **quiet, **private)
    prior.change(lambda name: gr.Slider(visible=name == NEAR), prior, spread, queue=False, **quiet, **private)

    tiles.explore(spoken(_on_explore), [thrown, page.model_id], [page.sent, page.tabs], **quiet, **private)
    tiles.morph(spoken(_on_morph), [thrown, page.model_id], [page.picked, page.tabs], **quiet, **private)
    tiles.around(spoken(_on_around), [thrown, page.model_id], [prior, around, tiles, thrown], **quiet, **private)
    tiles.left(spoken(_on_left), [thrown, page.model_id], [tiles, thrown], **quiet, **private)
    take.click(spoken(keep), thrown, file, **quiet, **private).success(
        None, js="() => document.querySelector('#sample-file').click()"
    )


def _on_explore(thrown: dict, model_id: str, event: gr.EventData) -> Iterator[tuple]:
    yield None, gr.skip()  # else the same latent, sent twice, would be no change, and nobody would look
    yield send(thrown, model_id, event.index, "explore")


def _on_morph(thrown: dict, model_id: str, event: gr.EventData) -> Iterator[tuple]:
    yield None, gr.skip()
    yield send(thrown, model_id, event.index, "morph")


def _on_around(thrown: dict, model_id: str, event: gr.EventData) -> tuple:
    return go_near(thrown, model_id, event.index)


def _on_left(thrown: dict, model_id: str, event: gr.EventData) -> tuple:
    return look_at(thrown, model_id, event.index)
