"""The page in a real browser: app.py on a free port, and a Playwright page that must see no error and no third party."""

from collections.abc import Iterator

import pytest

from tests.bench import page as bench
from vae import checkpoints

LEFT = ("AbortError: signal is aborted", "Unexpected error Connection errored out")


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """The browser that is installed; without one the tests skip."""
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    try:
        bench.installed_browser()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with bench.browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def url(browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the running app, which keeps its runs and uploads to itself."""
    if not checkpoints.names():
        pytest.skip(f"no checkpoint in {checkpoints.root()}")
    folder = tmp_path_factory.mktemp("app")
    own = {"GRADIO_TEMP_DIR": str(folder / "uploads"), "VAE_RUNS": str(folder / "runs")}
    with bench.server(bench.ROOT / "app.py", **own) as (process, address):
        bench.wait_for(process, address)
        yield address


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
    visits: list[str] = []
    page.on("framenavigated", lambda frame: frame.parent_frame is None and visits.append(frame.url))
    yield page
    context.close()
    if len(visits) > 1:  # a page that was left had its requests broken off, which Gradio's own code says aloud
        complaints[:] = [text for text in complaints if not text.startswith(LEFT)]
    assert not complaints
