"""The models that a visitor can reach: the checkpoints that ship, and those that this visitor trained, by unguessable token."""

import functools
import hashlib
import logging
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ui import jobs
from ui.words import say
from vae import checkpoints
from vae.checkpoints import Checkpoint
from vae.errors import BadInput
from vae.measure import novelty
from vae.pictures import images
from vae.publish.export import pieces
from vae.storage import atlases
from vae.storage.files import written_folder

KEPT_OPEN = 12  # models in memory at most, about 20 MB each; the one unused for longest goes first

log = logging.getLogger(__name__)
_door, _loading, _writing = threading.Lock(), threading.Lock(), threading.Lock()
_open: OrderedDict[str, Checkpoint] = OrderedDict()
_served = tempfile.TemporaryDirectory(prefix="latent-playground-")  # goes with this process


@dataclass(frozen=True)
class Page:
    """What the tabs share; each tab's build() gets it.

    model_id: component with the current model's id (str), for inputs, outputs and `.change`. tabs: the gr.Tabs;
    gr.Tabs(selected="explore") switches. runs: gr.BrowserState with this visitor's run tokens. tick: gr.Timer that Train
    owns; like runs it stands outside of any tab.
    """

    model_id: Any
    tabs: Any
    runs: Any
    tick: Any


def get(model_id: object) -> Checkpoint:
    """The checkpoint called model_id, a name or a run's token; opened on first use. BadInput if there is no such model."""
    if not isinstance(model_id, str):
        raise BadInput(say("page.no_model"))
    found = _open.get(model_id)
    # A visitor's own model goes after a day, opened or not.
    folder = _folder(model_id) if found is None or jobs.is_token(model_id) else found.folder
    if found is None:
        with _loading:  # apart from the door, so that nobody waits who drags a knob of another
            found = _open.get(model_id) or checkpoints.load(folder)
            assert found.digest  # read now, while the file is surely the one that was loaded
    with _door:
        _open[model_id] = found
        _open.move_to_end(model_id)
        while len(_open) > KEPT_OPEN:
            _open.popitem(last=False)
    return found


def default() -> str:
    """The id of the model that the page opens with. BadInput if no checkpoint is there at all."""
    names = checkpoints.names()
    if not names:
        raise BadInput(say("page.no_models", folder=checkpoints.root()))
    return names[0]


def ids(tokens: object = ()) -> list[str]:
    """The ids of the models to choose from: those that ship, then this visitor's own, as far as they are finished."""
    own = [token for token in tokens if isinstance(token, str)] if isinstance(tokens, list | tuple) else []
    return checkpoints.names() + [token for token in own[-20:] if jobs.find(token)]


def entries(tokens: object = ()) -> list[dict[str, str]]:
    """{"id", "title", "thumb"} for each of ids(tokens) that can be opened. Loads no weights."""
    found = []
    for model_id in ids(tokens):
        try:
            found.append(_entry(model_id, _folder(model_id)))
        except BadInput as error:
            log.warning("left out of the picker: %s", error)
    return found


def files(model_id: str) -> dict[str, str]:
    """{"atlas"}, {"training"} where there is one, and of a model that was exported {"decoder", "encoder", "draws", "reads"}.

    What a browser may fetch.

    Nothing of a visitor's own. They are copies, in a folder that is named by what is in them: whatever becomes of a checkpoint
    on the disk, no address ever gives anything else than at first, and no browser meets graphs and weights of two versions.
    """
    if model_id not in checkpoints.names():
        return {}
    digest = get(model_id).digest
    with _writing:
        return _files(model_id, digest)


@functools.cache  # every visitor asks for the same
def _files(model_id: str, weights: str) -> dict[str, str]:
    """weights: their digest, so that what is remembered is theirs."""
    model = get(model_id)
    found = pieces(model) | {"atlas.bin": atlases.packed(model.atlas)}
    if model.sketch is not None:
        found["training.bin"] = (model.folder / novelty.FILE).read_bytes()
    digest = hashlib.sha256(b"".join(found[name] for name in sorted(found))).hexdigest()[:12]
    folder = served() / f"{model_id}-{digest}"
    with written_folder(folder) as beside:
        for name, content in found.items():
            (beside / name).write_bytes(content)
    return {name.partition(".")[0]: (folder / name).as_posix() for name in found}


def served() -> Path:
    """The folder of all that files() names."""
    return Path(_served.name)


def _entry(model_id: str, folder: Path) -> dict[str, str]:
    title = checkpoints.title(checkpoints.read_recipe(folder), folder.name)
    return {"id": model_id, "title": title, "thumb": images.data_url(atlases.load(folder).examples[0])}


def _folder(model_id: str) -> Path:
    """Only names that ship and tokens of runs become part of a path."""
    if model_id in checkpoints.names():
        return checkpoints.root() / model_id
    folder = jobs.find(model_id)
    if folder is None:
        raise BadInput(say("page.no_model"))
    return folder
