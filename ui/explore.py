"""The Explore tab: what the numbers mean. The page's part is components/explore.js; here is what all tabs ask the server.

The server functions take one JSON object and can be called by anybody with anything: each checks all that it is given. The page
adds the "hash" of its view, so that a latent of weights that are no longer here is drawn by no others.
"""

import base64
import dataclasses
import functools
import html
import math
import threading
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder

from ui import shelf
from ui.choices import CHOICES, MEGABYTES
from ui.edge import answered
from ui.theme import COMPONENTS, PAGE, RUNTIME, mounted
from ui.words import say, section
from vae.atlas import Atlas, Knob
from vae.checkpoints import Checkpoint
from vae.errors import BadInput
from vae.measure import novelty
from vae.pictures import faces, images
from vae.pictures.framing import Framed, frame
from vae.storage import atlases

EXAMPLE_SIDE = 64  # pixels, at most: they are shown small, and all of them come with the page
LABELS = section("knobs")  # for knobs whose name in the data is not what people would say
TRAITS = section("traits")  # where what a picture can have is called otherwise than the knob
FIRST = (
    "smile", "glasses", "turn", "beard", "hat", "long_hair", "hair_lightness", "skin_lightness", "roll", "hair=blond",
    "young", "hair=gray", "background_light", "blue_sky", "kind=sea", "kind=forest", "kind=street", "kind=mountain",
    *(f"label={digit}" for digit in range(10)),
)  # fmt: skip
DIRECTIONS = 12  # shown of those that the model found by itself
AT_ONCE = 32  # latents in one call
PHOTO_SIDE = 640  # pixels of the photograph that a visitor sets the eyes on
CLOSER_SECONDS = 0.5  # of one call; the page calls again and shows each answer
BOARD = (
    '<div class="lp-explore"><section class="lp-card pic"><img src="{picture}" alt="{label}">'
    '<div class="side"></div></section></div>'
)

_search = threading.Lock()


@answered
def view(asked: dict) -> dict:
    """{"model"} -> all that the page needs to open it, as view_of says, and "files": where its own lie for the browser."""
    shelf.get(asked.get("model"))  # BadInput for a strange one
    return _opened(asked["model"])


def _opened(model_id: str) -> dict:
    return view_of(shelf.get(model_id), model_id) | {"files": shelf.files(model_id)}


def view_of(model: Checkpoint, model_id: str) -> dict:
    """Of a model its start latent with its picture, knobs, examples and its card's words, as JSON."""
    card = model.recipe.card
    places = model.encode(model.atlas.examples)
    start = _short(places[0].tolist())
    return {
        "model": model_id,
        "form": dataclasses.asdict(model.form) | {"familiar_error": model.atlas.familiar_error},
        "about": [card[part] for part in ("about", "credit", "failures") if card.get(part)],
        "can_optimize": model.model.config.likelihood == "gaussian",
        "start": start,
        "picture": images.data_url(model.decode([start])[0]),
        "hash": model.digest,
        "knobs": [_plain(knob, model.atlas) for knob in _in_order(model.atlas.knobs)],
        "examples": [images.data_url(small(picture), "webp") for picture in model.atlas.examples],
        "places": [_short(place, 3) for place in places.tolist()],
    }


def small(picture: np.ndarray) -> np.ndarray:
    """A picture as it is shown among others."""
    return images.square(picture, min(EXAMPLE_SIDE, len(picture)), picture.shape[2])


def _in_order(knobs: list[Knob]) -> list[Knob]:
    """The knobs that everybody has a word for first, then the others as they come; not all directions."""
    rank = {f"named:{name}": place for place, name in enumerate(FIRST)}
    left_out = [knob.key for knob in knobs if knob.kind == "direction"][DIRECTIONS:]
    kept = [knob for knob in knobs if knob.key not in left_out]
    return sorted(kept, key=lambda knob: rank.get(knob.key, len(FIRST)))


def _plain(knob: Knob, atlas: Atlas) -> dict:
    """A knob as JSON; of a raw unit only its number, for its arrays are 0 but for one place, of a direction no probe, which is
    its vector but for the length."""
    name = knob.key.partition(":")[2]
    plain = {
        "key": knob.key,
        "kind": knob.kind,
        "label": _label(knob.key, knob.label),
        "low": knob.low,
        "high": knob.high,
    }
    plain["offset"] = _short([knob.offset])[0]
    if knob.kind == "unit":
        return plain | {"unit": int(name)}
    if knob.kind == "named" and name in atlas.traits:
        plain["trait"] = {"label": _trait(knob), "reading": round(atlas.traits[name], 3)}  # what has it reads more
    dragged = atlas.dragged(name) if knob.kind == "named" else None
    if dragged:
        other, amount = dragged
        plain["drags"] = [_label(f"named:{other}", other.replace("_", " ").replace("=", ": ")), round(amount, 2)]
    plain["vector"] = _short(knob.vector.tolist(), 4)
    return plain if knob.kind == "direction" else plain | {"probe": _short(knob.probe.tolist(), 4)}


def _trait(knob: Knob) -> str:
    return TRAITS.get(knob.key, _label(knob.key, knob.label))


def _label(key: str, otherwise: str) -> str:
    return LABELS.get(key, otherwise)


def _short(numbers: list[float], digits: int = 5) -> list[float]:
    """So many significant digits: a fifth of the bytes."""
    return [float(f"{number:.{digits}g}") for number in numbers]


@answered
def decode(asked: dict) -> dict:
    """{"model", "z": [D]} -> {"picture": URL}"""
    model = _asked_of(asked)
    return {"picture": images.data_url(model.decode([_latent(asked.get("z"), model)])[0])}


@answered
def decode_many(asked: dict) -> dict:
    """{"model", "zs": [N][D]}, N at most AT_ONCE -> {"pictures": [URL, ...]}"""
    model, zs = _asked_of(asked), asked.get("zs")
    if not isinstance(zs, list) or not 1 <= len(zs) <= AT_ONCE:
        raise BadInput(say("explore.bad_latents", most=AT_ONCE, latent=model.model.config.latent))
    pictures = model.decode([_latent(z, model) for z in zs])
    return {"pictures": [images.data_url(picture) for picture in pictures]}


@answered
def ends(asked: dict) -> dict:
    """{"model", "keys": of at most AT_ONCE / 2 knobs} -> {"pictures": [URL, ...]}: the start, each knob low, then high"""
    model, keys = _asked_of(asked), asked.get("keys")
    known = {knob.key for knob in model.atlas.knobs}
    if (
        not isinstance(keys, list)
        or not 1 <= len(keys) <= AT_ONCE // 2
        or not all(isinstance(key, str) and key in known for key in keys)
    ):
        raise BadInput(say("explore.bad_keys", most=AT_ONCE // 2))
    return {"pictures": _ends(asked["model"], model.digest, tuple(keys))}


@functools.lru_cache(maxsize=128)  # every visitor asks for the same
def _ends(model_id: str, digest: str, keys: tuple[str, ...]) -> list[str]:
    """digest: of the weights, so that what is remembered is theirs."""
    model = shelf.get(model_id)
    knobs = {knob.key: knob for knob in model.atlas.knobs}
    start = model.encode(model.atlas.examples[:1])[0]
    chosen = [knobs[key] for key in keys]
    zs = [
        start + (end - (start @ knob.probe - knob.offset)) * knob.vector
        for knob in chosen
        for end in (knob.low, knob.high)
    ]
    return [images.data_url(picture) for picture in model.decode([z.tolist() for z in zs])]


@answered
def atlas(asked: dict) -> dict:
    """{"model"} -> {"data": URL}: atlas.safetensors, for a model whose files are not public."""
    return {"data": _as_url(atlases.packed(_asked_of(asked).atlas))}


@answered
def training(asked: dict) -> dict:
    """{"model"} -> {"data": URL or null}: the same of what it knows of the pictures that it learnt from."""
    file = _asked_of(asked).folder / novelty.FILE
    return {"data": _as_url(file.read_bytes()) if file.is_file() else None}


def _as_url(content: bytes) -> str:
    return f"data:application/octet-stream;base64,{base64.b64encode(content).decode()}"


@answered
def closer(asked: dict) -> dict:
    """{"model", "z": [D], "seen": URL as encode gave it} -> {"z"}: after CLOSER_SECONDS of search, nearer to what was seen.

    One visitor at a time: the search takes a core for as long as it lasts.
    """
    model = _asked_of(asked)
    z, seen = _latent(asked.get("z"), model), images.from_data_url(asked.get("seen"))
    seen = images.square(seen, model.form.size, model.form.channels)  # framed already: only the URL has three colours
    if not _search.acquire(blocking=False):
        raise BadInput(say("explore.searching"))
    try:
        (found,) = model.optimize([z], seen[None], CLOSER_SECONDS)
    finally:
        _search.release()
    return {"z": _short(found.tolist())}


@answered
def encode(asked: dict) -> dict:
    """{"model", and one of "example": number, "path": of an upload, "drawing": URL, "photo": URL with "eyes" and "turn"}

    -> {"z": [D], "std": [D], "seen": URL, "note": text}. std: the posterior's standard deviations; seen is the picture in
    the model's form; note is empty unless there is something to say. For a model of portraits also
    {"photo": URL, "eyes": [2][x, y], "turn"}: the upload made small, and where its eyes are, in shares of its sides, to be sent
    back with better ones. An upload is deleted.
    """
    model = _asked_of(asked)
    if "example" in asked:
        framed = Framed(_example(asked["example"], model), "example")
    else:
        brought, by_hand = given(asked)
        framed = frame(brought, model.form, **by_hand)
    posterior = model.posterior(framed.picture[None])
    answer = {
        "z": _short(posterior.mode()[0].tolist()),
        "std": _short(posterior.std()[0].tolist(), 3),
        "seen": images.data_url(framed.picture),
        "note": note(framed, None if {"example", "drawing"} & asked.keys() else model),
    }
    return answer if framed.eyes is None or by_hand else answer | for_eyes(brought, framed)


def note(framed: Framed, model: Checkpoint | None) -> str:
    """What there is to say about a framed picture, also that the model, if one is given, never saw its like; or ""."""
    notes = [f"face_{code}" for code in framed.notes]
    if model and not model.verdict(framed.picture[None]).fine.all():
        notes.append("unfamiliar")
    return " ".join(say(f"explore.{key}") for key in notes)


def given(asked: dict) -> tuple[np.ndarray, dict]:
    """The picture that a visitor brought, and what they say about its eyes."""
    if "drawing" in asked:
        return images.from_data_url(asked["drawing"]), {}
    if "photo" in asked:
        photo = images.from_data_url(asked["photo"])
        eyes, turn = _eyes(asked.get("eyes"), asked.get("turn"))
        return photo, {"eyes": eyes * photo.shape[1::-1], "turn": turn}
    if "path" in asked:
        return _upload(asked["path"]), {}
    raise BadInput(say("explore.bad_source"))


def for_eyes(brought: np.ndarray, framed: Framed) -> dict:
    """What the page needs to let a visitor set a portrait's eyes: {"photo": URL, "eyes": shares of its sides, "turn"}."""
    eyes = np.clip(framed.eyes / np.array(brought.shape[1::-1]), 0, 1).round(4).tolist()
    return {"photo": images.data_url(images.shrunk(brought, PHOTO_SIDE)), "eyes": eyes, "turn": round(framed.turn, 3)}


def _eyes(eyes: Any, turn: Any) -> tuple[np.ndarray, float]:
    try:
        points, turn = np.array(eyes, dtype=float), float(turn)
    except (TypeError, ValueError, OverflowError):
        points = np.empty(0)
    if points.shape != (2, 2) or not (np.abs(points - 0.5) <= 0.5).all() or not abs(turn) <= 1:
        raise BadInput(say("explore.bad_eyes"))
    return points, turn


def _asked_of(asked: dict) -> Checkpoint:
    """The model of a question. BadInput where the page that asks was opened on other weights than are here now."""
    model = shelf.get(asked.get("model"))
    if asked.get("hash", model.digest) != model.digest:
        raise BadInput(say("explore.replaced"))
    return model


def _latent(z: object, model: Checkpoint) -> list[float]:
    latent = model.model.config.latent
    if (
        not isinstance(z, list)
        or len(z) != latent
        or not all(type(value) in (int, float) and abs(value) < 1e9 and math.isfinite(value) for value in z)
    ):
        raise BadInput(say("explore.bad_latent", latent=latent))
    return z


def _example(number: object, model: Checkpoint) -> np.ndarray:
    if type(number) is not int or not 0 <= number < len(model.atlas.examples):
        raise BadInput(say("explore.bad_example", count=len(model.atlas.examples)))
    return model.atlas.examples[number]


def _upload(path: object) -> np.ndarray:
    """The picture in a file that was uploaded a moment ago, and the file is gone. Never a file from elsewhere."""
    folder = Path(get_upload_folder()).resolve()
    try:
        file = Path(path).resolve() if isinstance(path, str) else folder
        is_there = file.is_relative_to(folder) and file.is_file()
    except (OSError, ValueError):  # too long, or of characters that no path has
        is_there = False
    if not is_there:
        raise BadInput(say("explore.bad_path"))
    try:
        return images.load(file)
    finally:
        file.unlink(missing_ok=True)


def build() -> None:
    """The tab's contents, and what all tabs go by. The first picture travels with the page: it is there at first paint."""
    first = _opened(shelf.default())
    gr.HTML(
        html_template=BOARD.format(picture=first["picture"], label=html.escape(say("explore.picture"))),
        js_on_load=mounted(PAGE),
        apply_default_css=False,
        server_functions=[view, decode, decode_many, ends, atlas, training, closer, encode],
        elem_id="explore-board",
        folder=COMPONENTS.as_posix(),
        runtime=RUNTIME.as_posix(),
        finder=faces.FINDER.as_posix(),
        words={name: section(name) for name in ("explore", "sample", "morph")},
        choices=CHOICES,
        view=first,
        at_once=AT_ONCE,
        largest=MEGABYTES,
    )
