"""Where the command line and the page's own files meet: `page` is the one verb that the library alone cannot do."""

import importlib.util
from pathlib import Path

from vae.cli import main


def write_page(sources: list[str], out: Path, single_file: bool) -> list[Path]:
    from ui import static  # here, for it brings all of Gradio's page with it

    return static.write(sources, out, single_file)


if __name__ == "__main__":
    main(write_page=write_page if importlib.util.find_spec("ui") else None)  # installed alone, the library has no page
