"""The Hugging Face hub, where a model is called "owner/name"."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from vae.errors import BadInput

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def folder_of(
    source: str | Path, files: Sequence[str], *, revision: str | None = None, token: str | None = None
) -> tuple[Path, str]:
    """A folder, or what else is no hub id -> itself and ""; a hub id -> the cache's folder with these files, and the id.

    revision: a branch, tag or commit. BadInput where the hub has no such thing, or cannot be reached.
    """
    if os.path.isdir(source) or not HUB_ID.fullmatch(str(source)):
        return Path(source), ""
    from huggingface_hub import snapshot_download  # a second to import
    from huggingface_hub.errors import HTTPError

    try:
        return Path(snapshot_download(str(source), revision=revision, token=token, allow_patterns=list(files))), str(
            source
        )
    except (OSError, ValueError, HTTPError) as error:
        at = f" at {revision}" if revision else ""
        raise BadInput(f"{source}{at} is neither a folder here nor to be had from the hub.") from error
