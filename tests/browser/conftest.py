"""The page in a real browser: app.py on a free port, and a Playwright page that must see no error and no third party."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from vae import checkpoints

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
PATIENCE_SECONDS = 120


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """The browser that is installed, or the one that $CHROMIUM names; without one the tests skip."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser here: install one of {', '.join(BROWSERS)}, or name one in $CHROMIUM")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def url(browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the running app, which keeps its runs and uploads to itself."""
    if not checkpoints.names():
        pytest.skip(f"no checkpoint in {checkpoints.root()}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("app")
    own = {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "VAE_RUNS": str(folder / "runs"),
    }
    with open(folder / "log", "w+") as log:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env={**os.environ, **own}, stdout=log, stderr=log
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(process, address, folder / "log")
            yield address
        finally:
            process.terminate()
            process.wait(30)


def _wait(process: subprocess.Popen, address: str, log: Path) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address + "/config", timeout=5).read()
            return
        time.sleep(0.1)
    raise RuntimeError(f"app.py does not answer: {log.read_text()[-2000:]}")


@pytest.fixture
def complaints() -> list[str]:
    """What the browser found wrong; a test that provokes an error takes it out again."""
    return []


@pytest.fixture
def page(browser, url: str, complaints: list[str]) -> Iterator:
    """A page of a visitor of its own, on no address yet. At the end nothing may have gone wrong in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(repr(error)))
    page.on("response", lambda answer: answer.status >= 400 and complaints.append(f"{answer.status} {answer.url}"))
    page.on("request", lambda asked: asked.url.startswith((url, "data:", "blob:")) or complaints.append(asked.url))
    yield page
    context.close()
    assert not complaints
