"""Files of visitors and programs: in as uploads only, out into Gradio's cache, which is emptied by the clock."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import gradio as gr
import numpy as np
from gradio.components.api_component import Api
from gradio.processing_utils import save_base64_to_cache, save_bytes_to_cache
from gradio.utils import get_upload_folder
from gradio_client.utils import is_file_obj_with_meta, traverse

from ui.edge import spoken
from ui.words import say
from vae.errors import BadInput
from vae.pictures import images


class UploadsOnly(gr.Blocks):
    """Blocks whose events take a file only as an upload: in its place Gradio itself would resolve and fetch an address."""

    async def preprocess_data(self, block_fn: Any, inputs: list, state: Any, explicit_call: bool = False) -> Any:
        traverse(inputs, spoken(uploaded), is_file_obj_with_meta)
        processed = await super().preprocess_data(block_fn, inputs, state, explicit_call)
        for block in block_fn.inputs if state else ():
            if isinstance(block, Api):  # else the caller's session keeps what was sent, data URLs and all, for hours
                state._update_value_in_config(block._id, None)
        return processed


def uploaded(file: object) -> Path:
    """A gr.FileData as JSON -> the file, which lies in Gradio's upload folder. BadInput for any other, or one that is gone."""
    return _inside(file.get("path") if isinstance(file, dict) else None)


@contextlib.contextmanager
def brought(*given: object) -> Iterator[list[Path]]:
    """What a program gives as files: uploads, which are gone at the end, data URLs, or addresses of what is here already.

    BadInput for anything else. No address is fetched: where one ends in a file of the upload folder, that is what it means.
    """
    files: list[Path] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            files += (_received(file, folder) for file in given)
            yield files
        finally:
            for file, path in zip(given, files, strict=False):
                if not isinstance(file, str):
                    path.unlink(missing_ok=True)


def read(*given: object) -> list[np.ndarray]:
    """What a program gives as files, as pictures: all together, for two may be one upload."""
    with brought(*given) as files:
        return [images.load(file) for file in files]


def _received(file: object, folder: str) -> Path:
    if not isinstance(file, str):
        return uploaded(file)
    if not file.startswith("data:"):
        return _inside(unquote(file.rpartition("/file=")[2]))
    with contextlib.suppress(OSError, ValueError):
        if len(file) <= images.MAX_BYTES * 4 // 3:
            return Path(save_base64_to_cache(file, folder))
    raise BadInput(say("page.bad_url"))


def _inside(given: object) -> Path:
    folder = Path(get_upload_folder()).resolve()
    with contextlib.suppress(OSError, ValueError):  # too long, or of characters that no path has
        path = Path(given).resolve() if isinstance(given, str) else folder
        if path.is_relative_to(folder) and path.is_file():
            return path
    raise BadInput(say("page.no_upload"))


def answer(content: bytes, name: str) -> gr.FileData:
    """A file for whoever asked; a plain dict, since within lists Gradio finds no other."""
    path = save_bytes_to_cache(content, name, get_upload_folder())
    return cast(gr.FileData, gr.FileData(path=path, orig_name=name).model_dump())
