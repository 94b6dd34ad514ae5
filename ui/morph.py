"""The Morph tab: two pictures, each a point among the latents, and the film of the way from one to the other."""

import html
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from ui import explore, shelf
from ui.edge import spoken
from ui.shelf import Page
from ui.theme import mounted
from ui.words import say, section
from vae.checkpoints import Checkpoint
from vae.errors import BadInput
from vae.latents import PATHS
from vae.pictures import images
from vae.pictures.framing import Framed, frame

SIDES = ("a", "b")
STEPS = (2, 33)
FIRST: dict[str, Any] = {"steps": 17, "path": "line"}


# Handlers: plain values in, plain values or updates out. A side is (z, view): its latent, and what its component shows.


def example(model_id: str, index: int) -> tuple[list[float], dict]:
    """The side that shows the model's example number `index`."""
    checkpoint = shelf.get(model_id)
    examples = checkpoint.atlas.examples
    if not (isinstance(index, int) and 0 <= index < len(examples)):
        raise BadInput(say("morph.no_example", value=str(index)[:40], count=len(examples)))
    return _side(checkpoint, Framed(examples[index], "example"))


def upload(model_id: str, file: str) -> tuple[list[float], dict]:
    """The side that shows a visitor's picture, brought to the model's form. BadInput for what is no picture."""
    if not isinstance(file, str):
        raise BadInput(say("morph.no_file"))
    checkpoint, brought = shelf.get(model_id), images.load(file)
    framed = frame(brought, checkpoint.form)
    z, view = _side(checkpoint, framed)
    return z, view if framed.eyes is None else view | explore.for_eyes(brought, framed)


def eyes(model_id: str, portrait: dict) -> tuple[list[float], dict]:
    """The side that shows an upload anew, cut by the eyes that a visitor set. portrait: explore.for_eyes' answer, mended."""
    checkpoint = shelf.get(model_id)
    brought, by_hand = explore.given(portrait)
    z, view = _side(checkpoint, frame(brought, checkpoint.form, **by_hand))
    return z, view | portrait


def drawing(model_id: str, png: str) -> tuple[list[float], dict]:
    """The side that shows what was drawn by hand: a PNG as a data URL. BadInput for anything else, or an empty sheet."""
    checkpoint = shelf.get(model_id)
    return _side(checkpoint, frame(images.from_data_url(png), checkpoint.form))


def picked(model_id: str, z: list[float] | None) -> tuple:
    """The side that shows a latent which came without a picture, from the Sample tab; None changes nothing."""
    if z is None:
        return gr.skip(), gr.skip()
    checkpoint = shelf.get(model_id)
    (seen,) = checkpoint.decode([z])
    return z, _view(checkpoint, seen, seen)


def start(model_id: str) -> tuple:
    """Both sides with two examples of the model: what the tab shows before anything was chosen."""
    count = len(shelf.get(model_id).atlas.examples)
    return *example(model_id, 0), *example(model_id, min(count - 1, 3))


def film(model_id: str, a: list[float], b: list[float], steps: int, path: str) -> dict:
    """{"frames": data URLs} from a to b, both included."""
    return {"frames": [images.data_url(picture) for picture in _frames(model_id, a, b, steps, path)]}


def keep(model_id: str, a: list[float], b: list[float], steps: int, path: str) -> str:
    """The film, there and back, as a GIF in Gradio's cache, which is emptied by the clock."""
    with tempfile.TemporaryDirectory() as folder:
        images.save_film(_frames(model_id, a, b, steps, path), Path(folder) / "film.gif")
        gif = (Path(folder) / "film.gif").read_bytes()
    return save_bytes_to_cache(gif, f"{shelf.get(model_id).name}-morph.gif", get_upload_folder())


def _side(checkpoint: Checkpoint, framed: Framed) -> tuple[list[float], dict]:
    z = checkpoint.encode(framed.picture[None])
    view = _view(checkpoint, framed.picture, checkpoint.decode(z)[0])
    return z[0].tolist(), view | {"note": explore.note(framed, checkpoint)}


def _view(checkpoint: Checkpoint, given: np.ndarray, seen: np.ndarray) -> dict:
    return {
        "given": images.data_url(given),
        "seen": images.data_url(seen),
        "note": "",
        "examples": [images.data_url(picture) for picture in checkpoint.atlas.examples],
        "draws": given.shape[2] == 1,  # a pen of one colour is enough for grey models only
    }


def _frames(model_id: str, a: list[float], b: list[float], steps: int, path: str) -> np.ndarray:
    if not (isinstance(steps, int | float) and STEPS[0] <= steps <= STEPS[1] and steps == int(steps)):
        raise BadInput(say("morph.bad_steps", value=str(steps)[:40], low=STEPS[0], high=STEPS[1]))
    if path not in PATHS:
        raise BadInput(say("morph.bad_path", value=str(path)[:40], known=", ".join(PATHS)))
    checkpoint = shelf.get(model_id)
    first, last = checkpoint.atlas.mean.new_tensor([a, b])
    return checkpoint.decode(PATHS[path](first, last, int(steps)))


# Layout.


def side_html(name: str) -> str:
    """Side "a" or "b" before components/side.js fills it."""
    words = {
        key: html.escape(say(f"morph.{key}", side=name.upper()))
        for key in ("given", "seen", "upload", "draw", "example")
    } | {"eyes": html.escape(say("explore.eyes"))}
    return (
        f'<figure><img class="given" alt=""><figcaption>{words["given"]}</figcaption></figure>'
        f'<figure><img class="seen" alt=""><figcaption>{words["seen"]}</figcaption></figure>'
        f'<p role="status"></p><div class="starts" data-label="{words["example"]}"></div>'
        f'<div class="ways"><button class="lp-btn" data-way="upload">{words["upload"]}</button>'
        f'<button class="lp-btn" data-way="draw" hidden>{words["draw"]}</button>'
        f'<button class="lp-btn" data-way="eyes" hidden>{words["eyes"]}</button></div>'
    )


def side(name: str, view: dict) -> gr.HTML:
    """Picture and reconstruction of side "a" or "b", and where to get another. Events: "example", "drawing", "eyes"."""
    return gr.HTML(
        view, html_template=side_html(name), js_on_load=mounted("side.js", "example", "drawing", "eyes"), apply_default_css=False,
        elem_id=f"morph-{name}", elem_classes="lp-side", input=f"#morph-{name}-file input", words=section("explore"),
    )  # fmt: skip


def film_html() -> str:
    """The film before components/film.js fills it."""
    words = {key: html.escape(say(f"morph.{key}")) for key in ("between", "scrub", "play", "pause")}
    return (
        f'<img class="large" alt="{words["between"]}"><label><output></output>'
        f'<input class="lp-range" type="range" min="0" step="1" aria-label="{words["scrub"]}"></label>'
        f'<div class="strip"></div><button class="lp-btn play" data-words="{words["play"]}|{words["pause"]}"></button>'
    )


def screen(shown: dict) -> gr.HTML:
    """The film: one large picture, a scrubber, a strip. All of it moves in the browser."""
    return gr.HTML(
        shown, html_template=film_html(), js_on_load=mounted("film.js"), apply_default_css=False,
        elem_id="morph-film", elem_classes="lp-film", share=say("morph.share"),
    )  # fmt: skip


def build(page: Page) -> None:
    """The tab's contents, filled for the model that the page opens with."""
    first = shelf.default()
    z_a, view_a, z_b, view_b = start(first)
    points = gr.State(z_a), gr.State(z_b)
    with gr.Column(elem_classes="lp-card"):
        with gr.Row(elem_classes="lp-morph"):
            a = side("a", view_a)
            with gr.Column(elem_classes="lp-stage", min_width=0):
                shown = screen(film(first, z_a, z_b, **FIRST))
                with gr.Row(elem_classes="lp-film-settings"):
                    path = gr.Radio(
                        [(say(f"morph.{name}"), name) for name in PATHS], value=FIRST["path"], label=say("morph.path"),
                        elem_classes="lp-chips", elem_id="morph-path",
                    )  # fmt: skip
                    steps = gr.Slider(
                        *STEPS, FIRST["steps"], step=1, precision=0, label=say("morph.steps"), buttons=[],
                        elem_classes="lp-slider", elem_id="morph-steps",
                    )  # fmt: skip
                    take = gr.Button(say("morph.download"), variant="primary", elem_id="morph-download", min_width=0)
            b = side("b", view_b)
        gr.HTML(f'<p class="lp-promise">{html.escape(say("page.promise"))}</p>', apply_default_css=False)
    file = gr.DownloadButton(visible="hidden", elem_id="morph-file")

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    settings = [page.model_id, *points, steps, path]
    for name, point, component in zip(SIDES, points, (a, b), strict=True):
        with gr.Column(elem_id=f"morph-{name}-file", elem_classes="lp-unseen"):
            drop = gr.UploadButton(say("morph.upload"))  # of any type: vae.images says best what is wrong with a file
        drop.upload(spoken(_on_upload), [page.model_id, drop], [point, component], **quiet)
        component.example(spoken(_on_example), page.model_id, [point, component], **quiet)
        component.drawing(spoken(_on_drawing), page.model_id, [point, component], **quiet)
        component.eyes(spoken(_on_eyes), page.model_id, [point, component], **quiet)
    page.picked.change(spoken(picked), [page.model_id, page.picked], [points[0], a], **quiet)
    page.model_id.change(spoken(start), page.model_id, [points[0], a, points[1], b], **quiet)
    gr.on(
        [points[0].change, points[1].change, steps.change, path.change],
        spoken(film), settings, shown, trigger_mode="always_last", **quiet,
    )  # fmt: skip
    take.click(spoken(keep), settings, file, **quiet).success(
        None, js="() => document.querySelector('#morph-file').click()"
    )


def _on_upload(model_id: str, file: str) -> tuple:
    """file: in Gradio's cache, as gr.UploadButton has seen to; nothing is kept, so it goes at once."""
    try:
        return upload(model_id, file)
    finally:
        Path(file).unlink(missing_ok=True)


def _on_example(model_id: str, event: gr.EventData) -> tuple:
    return example(model_id, event.index)


def _on_drawing(model_id: str, event: gr.EventData) -> tuple:
    return drawing(model_id, event.png)


def _on_eyes(model_id: str, event: gr.EventData) -> tuple:
    return eyes(model_id, {name: getattr(event, name, None) for name in ("photo", "eyes", "turn")})
