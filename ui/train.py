"""The Train tab: choose pictures, knobs and strictness, watch a model learn, keep it. `ui.jobs` does the work."""

import functools
import html
import json
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from ui import jobs, shelf, static
from ui.edge import spoken
from ui.shelf import Page
from ui.theme import COMPONENTS
from ui.words import say
from vae.errors import BadInput
from vae.pictures import images, sets

NORMAL = {"latent": 16, "beta": 1, "minutes": 1}
STOPS = {
    "latent": (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64),
    "beta": (0, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10),
    "minutes": (0.1, 0.25, 0.5, 1, 2, 3, 5, 10),
}
PRESETS = {  # what breaks, and how to mend it
    "strict": {"latent": 16, "beta": 10},
    "loose": {"latent": 16, "beta": 0},
    "two": {"latent": 2, "beta": 1},
    "normal": {"latent": 16, "beta": 1},
}
TILES = 10
LEFT, RIGHT, TOP, BOTTOM = 10, 230, 12, 110  # where the plots draw, in a box of 240 x 120
# On a phone what moves lies far below the button that starts it.
SCROLL = """() => {
  const status = document.querySelector("#train-status");
  if (status.getBoundingClientRect().top > innerHeight - 150) status.scrollIntoView({behavior: "smooth"});
}"""
GOING = ("waiting", "learning", "finishing")


# What is shown, as HTML. Everything that goes in is a number or goes through html.escape.


def status(run: dict) -> str:
    """The heading, the figures and the bar of a run as poll() describes it; {} before any run."""
    state = run.get("state", "idle")
    if state == "gone":
        state = "idle"
    fraction = {"idle": 0.0, "finishing": 1.0, "done": 1.0}.get(state, run.get("fraction", 0.0))
    if state == "learning":
        note = say(
            "train.figures",
            epoch=run["epoch"],
            speed=f"{run['pictures_per_second']:,.0f}",
            time=jobs.in_words(run["seconds_left"]),
        )
    elif state == "done":
        note = say("train.done_note", seen=f"{run.get('seen', 0):,}")
    else:
        note = "" if state in ("idle", "failed") else say(f"train.{state}_note")
    if state == "failed":
        below = run["message"]
    elif run.get("stopping") and state != "finishing":
        below = say("train.stopping")
    else:
        below = " ".join(filter(None, [run.get("note") or say(f"train.{state}_says"), run.get("left_out")]))
    kind = "bar waiting" if state in ("waiting", "finishing") else "bar"
    return (
        f'<div class="lp-train lp-status" data-state="{state}"><h3>{html.escape(say(f"train.{state}"))}'
        f"<em>{html.escape(note)}</em></h3>"
        f'<div class="{kind}" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{fraction * 100:.0f}"'
        f' aria-label="{html.escape(say("train.learning"))}"><i style="width:{fraction:.1%}"></i></div>'
        f'<p role="status">{html.escape(below)}</p></div>'
    )


def plots(run: dict) -> str:
    """The curves of both loss terms, and how much each knob says."""
    history, unit_kl = run.get("history", []), run.get("unit_kl", [])
    last = history[-1] if history else None
    value = (lambda number: f" <b>{number:,.0f}</b>") if last else (lambda number: "")
    _, wrong, cost = last or (0, 0, 0)
    awake = run.get("awake", 0)
    knobs = say("train.awake", awake=awake, count=len(unit_kl)) if unit_kl else say("train.knobs_empty")
    return (
        f'<div class="lp-train"><div class="plots"><figure>{curves(history)}<figcaption>'
        f'<span class="swatch wrong"></span>{html.escape(say("train.wrong"))}{value(wrong)} &ensp;'
        f'<span class="swatch cost"></span>{html.escape(say("train.cost"))}{value(cost)}<br>'
        f"{html.escape(say('train.nats'))}</figcaption></figure>"
        f"<figure>{bars(unit_kl, awake)}<figcaption>{html.escape(knobs)}</figcaption></figure></div></div>"
    )


def curves(history: list) -> str:
    """An SVG of [[step, reconstruction, kl], ...]: two lines, each on its own scale, for they may differ a hundredfold."""
    lines = ""
    if len(history) > 1:
        first, last = history[0][0], history[-1][0]
        for column, kind in ((1, "wrong"), (2, "cost")):
            values = [point[column] for point in history]
            settled = values[len(values) // 20 :]  # the first steps would flatten all that follows
            low, high = min(settled), max(settled)
            points = []
            for step, value in zip((point[0] for point in history), values, strict=True):
                share = (value - low) / max(high - low, 1e-9)
                x = LEFT + (RIGHT - LEFT) * (step - first) / max(last - first, 1e-9)
                points.append(f"{x:.1f},{BOTTOM - (BOTTOM - TOP) * min(max(share, 0), 1):.1f}")
            lines += f'<polyline class="{kind}" points="{" ".join(points)}"/>'
    return _svg("curve", say("train.curve"), lines)


def bars(unit_kl: list, awake: int) -> str:
    """An SVG with a bar for each knob's KL in nats, the one that says most first; the first `awake` of them in colour."""
    drawn, step = "", (RIGHT - LEFT) / max(len(unit_kl), 1)
    for place, value in enumerate(sorted(unit_kl, reverse=True)):
        height = max(2, (BOTTOM - TOP) * value / max(*unit_kl, 1e-9))
        drawn += (
            f'<rect class="{"awake" if place < awake else "asleep"}" x="{LEFT + step * place:.1f}"'
            f' y="{BOTTOM - height:.1f}" width="{0.72 * step:.1f}" height="{height:.1f}" rx="1.2"/>'
        )
    return _svg("bars", say("train.knobs"), drawn)


def _svg(kind: str, label: str, inside: str) -> str:
    return f'<svg class="{kind}" viewBox="0 0 240 120" role="img" aria-label="{html.escape(label)}">{inside}</svg>'


def rows(pictures: dict) -> str:
    """The rows Shown, Made again and Dreamt up, of data URLs; empty places while there are none."""
    drawn = ""
    for name in ("shown", "reconstructions", "samples"):
        urls = pictures.get(name, [])[:TILES]
        tiles = "".join(f'<img src="{html.escape(url)}" alt="">' for url in urls)
        tiles += "<i></i>" * (TILES - len(urls))
        title, note = html.escape(say(f"train.{name}")), html.escape(say(f"train.{name}_note"))
        drawn += f"<h3>{title}<em>{note}</em></h3>"
        drawn += f'<div class="live" data-row="{name}" role="img" aria-label="{title}">{tiles}</div>'
    return f'<div class="lp-train">{drawn}</div>'


@functools.cache
def first_digits() -> dict:
    """What stands in the rows before the first run: the digits that it will be tested on."""
    _, held = sets.load("digits-small", size=28, channels=1)
    return {"shown": [images.data_url(picture) for picture in held.images[:TILES]]}


# Handlers: plain values in, plain values or updates out.


def start(source: str, dials: dict, files: list[str] | None, tokens: list[str]) -> list[str]:
    """Start a training; the visitor's tokens with the new one at the end. BadInput for values out of range, or a busy machine."""
    numbers = dials if isinstance(dials, dict) else {}
    token = jobs.start({"data": source, **{name: numbers.get(name) for name in STOPS}}, files or [])
    return [*own(tokens), token]


def stop(tokens: list[str]) -> None:
    """Ask this visitor's newest run to end and keep what it has learnt."""
    for token in own(tokens)[-1:]:
        jobs.stop(token)


def watch(tokens: list[str], seen: str) -> tuple:
    """What the tab shows of the visitor's newest run: status, plots, rows, what is now seen, timer, and its four buttons.

    seen: names the previews that this page already shows; they are sent again only when there are newer ones.
    """
    token = (own(tokens) or [""])[-1]
    run = jobs.poll(token) if token else {}
    state = run.get("state")
    newest = f"{token} {run.get('revision', 0)} {state}"
    return (
        status(run),
        plots(run),
        gr.skip() if newest == seen else rows(jobs.previews(token) or first_digits()),
        newest,
        gr.Timer(active=state in GOING or newest != seen),  # once more at the end, when the picker finds the model
        gr.Button(interactive=state not in GOING, variant="secondary" if state == "done" else "primary"),
        gr.Button(interactive=state in ("waiting", "learning") and not run["stopping"]),
        gr.Button(interactive=state == "done", variant="primary" if state == "done" else "secondary"),
        gr.Button(interactive=state == "done"),
    )


def explore(tokens: list[str]) -> tuple:
    """The newest finished model of this visitor as the current one, and the Explore tab in front."""
    return newest(tokens), gr.Tabs(selected="explore")


def take_home(tokens: list[str]) -> str:
    """The newest finished model of this visitor as a page in one file, in Gradio's cache, which is emptied by the clock."""
    return save_bytes_to_cache(static.one_file(shelf.get(newest(tokens))), "my-model.html", get_upload_folder())


def newest(tokens: object) -> str:
    """The token of this visitor's newest finished model. BadInput where there is none."""
    done = [token for token in own(tokens) if jobs.find(token)]
    if not done:
        raise BadInput(say("train.gone"))
    return done[-1]


def own(tokens: object) -> list[str]:
    """What the browser kept, as a list of tokens; whatever else a stranger's request puts there is left out."""
    return [token for token in tokens if jobs.is_token(token)][-20:] if isinstance(tokens, list) else []


# Layout.


def sliders() -> gr.HTML:
    """Three sliders over STOPS; the component's value is {"latent": ..., "beta": ..., "minutes": ...}.

    A function, not a subclass: Gradio writes a .pyi file beside the code of each subclass.
    """
    template = ""
    for name, stops in STOPS.items():
        words = [
            say("train.seconds", count=round(60 * stop)) if stop < 1 else say("train.minutes_long", count=stop)
            for stop in stops
        ]
        labels = list(zip(stops, words if name == "minutes" else map(str, stops), strict=True))
        template += (
            f'<label class="lp-dial" data-name="{name}" data-stops="{html.escape(json.dumps(labels))}">'
            f"<span>{html.escape(say(f'train.{name}'))}<output>{dict(labels)[NORMAL[name]]}</output></span>"
            f'<input type="range" min="0" max="{len(stops) - 1}" step="1" value="{stops.index(NORMAL[name])}">'
            f"<small><span>{html.escape(say(f'train.{name}_low'))}</span>"
            f"<span>{html.escape(say(f'train.{name}_high'))}</span></small></label>"
        )
    script = (COMPONENTS / "dials.js").read_text()
    return gr.HTML(NORMAL, html_template=template, js_on_load=script, apply_default_css=False, elem_id="train-dials")


def build(page: Page) -> None:
    """The tab's contents; also drives page.tick while this visitor's run is going."""
    seen = gr.State("")
    with gr.Row(elem_classes="lp-train-grid"):
        with gr.Column(scale=1, min_width=280, elem_classes="lp-card"):
            source = gr.Radio(
                [(say(f"train.{name}"), name) for name in jobs.available()], value="digits", label=say("train.data"),
                elem_classes="lp-chips", elem_id="train-data",
            )  # fmt: skip
            with gr.Column(visible=False) as upload:
                files = gr.File(  # of any type: what is left out, and why, is said by ui.jobs
                    label=say("train.upload"), show_label=False, file_count="multiple", height=130, elem_id="train-files",
                )  # fmt: skip
                gr.HTML(f'<div class="lp-train"><p>{say("train.upload_promise")}</p></div>')
            dials = sliders()
            with gr.Row():
                go = gr.Button(say("train.start"), variant="primary", elem_id="train-start", min_width=70)
                end = gr.Button(say("train.stop"), interactive=False, elem_id="train-stop", min_width=70)
            leave = gr.Button(say("train.explore"), interactive=False, elem_id="train-explore")
            take = gr.Button(say("train.take_home"), interactive=False, elem_id="train-take")
            gr.HTML(f'<div class="lp-train"><h3>{say("train.break")}</h3></div>')
            with gr.Row(elem_classes="lp-presets"):
                presets = {name: gr.Button(say(f"train.{name}"), size="sm", min_width=0) for name in PRESETS}
            moral = gr.HTML('<div class="lp-train"><p></p></div>')
        with gr.Column(scale=3, min_width=320, elem_classes="lp-card"):
            shown_status = gr.HTML(status({}), elem_id="train-status")
            shown_plots = gr.HTML(plots({}), elem_id="train-plots")
            shown_rows = gr.HTML(rows(first_digits()), elem_id="train-rows")

    source.change(None, source, upload, js="(data) => ({visible: data === 'pictures', __type__: 'update'})")
    for name, button in presets.items():
        note = f'<div class="lp-train"><p>{html.escape(say(f"train.{name}_note"))}</p></div>'
        js = f"(dials) => [{{...dials, ...{json.dumps(PRESETS[name])}}}, {json.dumps(note)}]"
        button.click(None, dials, [dials, moral], js=js)

    file = gr.DownloadButton(visible="hidden", elem_id="train-file")
    shows = [shown_status, shown_plots, shown_rows, seen, page.tick, go, end, leave, take]
    quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    started = go.click(
        spoken(start), [source, dials, files, page.runs], page.runs, api_visibility="private", show_progress="hidden"
    )
    started.success(None, js=SCROLL)
    end.click(stop, page.runs, None, **quiet).then(watch, [page.runs, seen], shows, **quiet)
    # A page that opens gets its runs from the browser, which counts as a change.
    gr.on([page.runs.change, page.tick.tick], watch, [page.runs, seen], shows, **quiet)
    packing, packed = (
        lambda words=words: gr.Button(say(f"train.{words}"), interactive=words == "take_home")
        for words in ("packing", "take_home")
    )
    made = take.click(packing, None, take, **quiet).then(
        spoken(take_home), page.runs, file, show_progress="hidden", api_visibility="private"
    )
    made.success(None, js="() => document.querySelector('#train-file').click()")
    made.then(packed, None, take, **quiet)
    leave.click(spoken(explore), page.runs, [page.model_id, page.tabs], **quiet)
