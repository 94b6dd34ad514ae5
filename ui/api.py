"""What programs may ask, each by its name and with named values: Gradio's API, and the same as MCP tools.

Gradio shows the docstrings to callers, and checks neither types nor choices: strangers call these with any JSON, so each checks
all that it is given. A file that is sent is read and deleted; one that is answered stays for an hour.
"""

import io
import logging
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from ui import jobs, shelf
from ui.edge import spoken
from ui.explore import note
from ui.files import answer, brought, read
from ui.limits import DRAWN, FILMED, Data, Prior, Way, check, check_number
from ui.train import NORMAL
from ui.words import say
from vae.checkpoints import DEFAULT, Checkpoint
from vae.errors import BadInput
from vae.latents import PATHS
from vae.measure.best import MOST_KEPT, best_of
from vae.pictures import images
from vae.pictures.framing import frame

File = str | gr.FileData  # the first: a data URL, or the address of a file that was answered
TRACE = 0.2  # of a knob's own step that must be left of it beside those turned before: as on the page
log = logging.getLogger(__name__)


def models() -> list[dict[str, Any]]:
    """The models that are here: name, title, size in pixels, channels, numbers in a latent, and traits for sample's "only".

    Where a tool takes a model, the token of your own training is a name as well, once its status says "done".
    """
    found = []
    for name in shelf.ids():
        try:
            checkpoint = shelf.get(name)
        except BadInput as error:
            log.warning("left out of the models: %s", error)
            continue
        config, traits = checkpoint.model.config, list(checkpoint.atlas.traits)
        form = {"size": config.size, "channels": config.channels, "latent": config.latent}
        found.append({"name": name, "title": checkpoint.title, **form, "traits": traits})
    return found


def encode(picture: File, model: str = DEFAULT) -> tuple[list[float], list[float], str]:
    """A picture of any size as a latent: its posterior's mean, the standard deviations, and a note if there is one to make.

    Args:
        picture: An upload, a data URL, or the address of a file that was answered.
    """
    (given,), checkpoint = read(picture), shelf.get(model)
    framed = frame(given, checkpoint.form)
    posterior = checkpoint.posterior(framed.picture[None])
    return posterior.mode()[0].tolist(), posterior.std()[0].tolist(), note(framed, checkpoint)


def decode(latents: list[list[float]], model: str = DEFAULT) -> list[gr.FileData]:
    """The pictures of latents, as encode and sample give them: a PNG each."""
    checkpoint = shelf.get(model)
    if not (isinstance(latents, list) and 1 <= len(latents) <= MOST_KEPT):
        raise BadInput(say("explore.bad_latents", most=MOST_KEPT, latent=checkpoint.model.config.latent))
    return _pictures(checkpoint, latents)


def knobs(model: str = DEFAULT) -> dict[str, list[float]]:
    """What turn can turn: the key of each knob, with its lowest and its highest value; the average picture reads 0."""
    return {knob.key: [knob.low, knob.high] for knob in shelf.get(model).atlas.knobs}


def turn(picture: File, values: dict[str, float], model: str = DEFAULT) -> gr.FileData:
    """A picture of any size with some of its knobs turned to other values, as a PNG.

    Values go by the keys that knobs lists, such as {"named:glasses": 1.0}; named ones stay where they were turned to.

    Args:
        picture: An upload, a data URL, or the address of a file that was answered.
    """
    (given,), checkpoint = read(picture), shelf.get(model)
    known, still = {knob.key: knob for knob in checkpoint.atlas.knobs}, list[str]()
    if not isinstance(values, dict):
        raise BadInput(say("api.bad_values"))
    for key, value in values.items():
        if key not in known:
            raise BadInput(say("api.no_knob", value=key[:40]))
        check_number(key, value, known[key].low, known[key].high)
    z = checkpoint.encode(checkpoint.prepare(given)[None])[0]
    for key, value in values.items():
        knob = known[key]
        way = checkpoint.atlas.still(knob.vector, still)
        if (left := float(way @ knob.probe)) < TRACE:
            raise BadInput(say("api.contrary", name=key))
        z = z + (value - (z @ knob.probe - knob.offset)) / left * way
        still += [key.partition(":")[2]] if knob.kind == "named" else []
    return _pictures(checkpoint, z[None])[0]


def sample(
    model: str = DEFAULT,
    count: int = DRAWN["count"],
    seed: int = DRAWN["seed"],
    temperature: float = DRAWN["temperature"],
    prior: Prior = DRAWN["prior"],
    only: list[str] | None = None,
    draw: int = DRAWN["draw"],
    difference: float = DRAWN["difference"],
    around: list[float] | None = None,
    spread: float = DRAWN["spread"],
) -> tuple[list[gr.FileData], list[list[float]]]:
    """Pictures that nobody took, a PNG each, and their latents. The same values give the same pictures.

    Args:
        temperature: How daring; 1 draws as the prior does.
        prior: Where to draw from: a mixture of Gaussians fitted to the latents of real pictures, or the standard normal.
        only: Traits, as models lists them, that each picture is to have; of values of one column ("label=3") any one.
        draw: Of so many the best are kept.
        difference: How much they are to differ, 0 to 1; at 0 the most realistic are the best.
        around: A latent to draw near, in place of the prior.
        spread: How far from it: 0 the same picture, 1 its whole kind.
    """
    check(count=count, seed=seed, temperature=temperature, draw=draw, difference=difference, spread=spread)
    if only is not None and not (isinstance(only, list) and all(isinstance(name, str) for name in only)):
        raise BadInput(say("api.bad_only"))
    checkpoint = shelf.get(model)
    near: dict = {} if around is None else {"around": checkpoint.checked([around])[0].cpu(), "spread": spread}
    z = checkpoint.atlas.prior(prior, max(count, draw), seed, temperature, only or (), least=count, **near)
    rows, _ = best_of(checkpoint.atlas, z, count, difference)
    return _pictures(checkpoint, z[rows]), z[rows].tolist()


def morph(
    first: File, second: File, model: str = DEFAULT, steps: int = FILMED["steps"], path: Way = FILMED["path"]
) -> gr.FileData:
    """A film from one picture of any size to another and back, as a GIF. Its ends are what the model makes of the two.

    Args:
        first: An upload, a data URL, or the address of a file that was answered; so is the second.
    """
    given = read(first, second)
    check(steps=steps)
    if not (isinstance(path, str) and path in PATHS):
        raise BadInput(say("api.bad_path", value=str(path)[:40], known=", ".join(PATHS)))
    checkpoint = shelf.get(model)
    a, b = checkpoint.encode(np.stack([checkpoint.prepare(picture) for picture in given]))
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.gif"
        images.save_film(checkpoint.decode(PATHS[path](a, b, steps)), film)
        return answer(film.read_bytes(), f"{checkpoint.name}-morph.gif")


def train(
    data: Data = "digits",
    pictures: list[File] | None = None,
    latent: int = NORMAL["latent"],
    beta: float = NORMAL["beta"],
    minutes: float = NORMAL["minutes"],
    seed: int = 0,
) -> str:
    """Start a training and answer its token, for status, stop and download. One at a time runs on this server.

    Args:
        pictures: Your own, where data is "pictures": one zip, or some pictures, with an attributes.csv or without.
        latent: How many numbers a picture becomes.
        beta: How strict it is: the weight of the KL divergence.
    """
    with brought(*(pictures if isinstance(pictures, list) else [pictures] if pictures else [])) as files:
        check(latent=latent, beta=beta, minutes=minutes, seed=seed)
        return jobs.start({"data": data, "latent": latent, "beta": beta, "minutes": minutes, "seed": seed}, files)


def status(token: str) -> dict[str, Any]:
    """What a training is doing: its state (waiting, learning, finishing, done, or failed with a message) and its figures."""
    run = jobs.poll(token)
    if run["state"] == "gone":
        raise BadInput(say("train.gone"))
    return run


def stop(token: str) -> dict[str, Any]:
    """Ask a training to end now and keep what it has learnt; answers its status."""
    jobs.stop(token)
    return status(token)


def download(token: str) -> gr.FileData:
    """The model of a finished training as a zip: a folder that vae.checkpoints.load opens."""
    state, folder = status(token)["state"], jobs.find(token)
    if folder is None:
        raise BadInput(say("api.not_done", state=say(f"train.{state}")))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder))
    return answer(packed.getvalue(), "my-model.zip")


ENDPOINTS = (models, encode, decode, knobs, turn, sample, morph, train, status, stop, download)


def build() -> None:
    """The endpoints, within gr.Blocks and before all other events: of those with one name the first has it."""
    for function in ENDPOINTS:
        gr.api(spoken(function, escape=str), api_name=function.__name__)


def _pictures(checkpoint: Checkpoint, z: Any) -> list[gr.FileData]:
    pictures = checkpoint.decode(z)
    return [answer(images.encode(picture), f"{checkpoint.name}-{row:02d}.png") for row, picture in enumerate(pictures)]
