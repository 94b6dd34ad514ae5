"""How fast the page is, in a real Chromium: from process start to the first picture, while dragging, and its memory.

Every new picture that the live view paints counts up its `data-drawn`; that counter is what is read here.
"""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.bench.report import Sample, table

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
PAINTED = "[data-drawn]"
PATIENCE = 120  # seconds


@contextlib.contextmanager
def server(script: Path, **env: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """Starts a page in a process of its own, with env -> (process, address), at once, before it answers.

    What it prints is part of the error when it does not answer.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "GRADIO_SERVER_PORT": str(port), "PYTHONPATH": str(ROOT), **env}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([sys.executable, str(script)], env=env, stdout=log, stderr=log)
        try:
            yield process, f"http://127.0.0.1:{port}"
        except TimeoutError as error:
            log.seek(0)
            raise TimeoutError(f"{error}: {log.read()[-2000:]}") from error
        finally:
            process.terminate()
            process.wait(30)


def wait_for(process: subprocess.Popen, address: str) -> None:
    """Returns as soon as the server answers. TimeoutError if it ends before, or takes too long."""
    end = time.perf_counter() + PATIENCE
    while process.poll() is None and time.perf_counter() < end:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address + "/config", timeout=5).read()
            return
        time.sleep(0.02)
    raise TimeoutError(f"{address} does not answer")


def installed_browser() -> str:
    """The path of the browser that is here, or that $CHROMIUM names. FileNotFoundError where there is none."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise FileNotFoundError(f"no browser here: install one of {', '.join(BROWSERS)}, or name one in $CHROMIUM")
    return path


@contextlib.contextmanager
def browser() -> Iterator:
    """-> Playwright's browser, driving the one that is installed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=installed_browser(), args=list(BROWSER_FLAGS))
        yield opened
        opened.close()


def open_page(opened, address: str, selector: str):
    """-> a page in a context of its own (empty cache), once `selector` is painted."""
    page = opened.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(selector, timeout=1000 * PATIENCE)
    return page


def first_paint(opened, script: Path, selector: str) -> float:
    """-> seconds from the process's start to `selector` on the screen."""
    began = time.perf_counter()
    with server(script) as (process, address):
        wait_for(process, address)
        page = open_page(opened, address, selector)
        taken = time.perf_counter() - began
        page.context.close()
    return taken


def startup(args: argparse.Namespace) -> None:
    ours, empty = [], []
    with browser() as opened:
        for _ in range(args.rounds):
            empty.append(first_paint(opened, Path(__file__).with_name("empty_page.py"), "#explore"))
            ours.append(first_paint(opened, ROOT / "app.py", PAINTED))
    beyond = [a - b for a, b in zip(ours, empty, strict=True)]
    rows = [
        ["this page, first picture", Sample(ours, "s", 1)],
        ["an empty page with four tabs", Sample(empty, "s", 1)],
        ["beyond the empty page", Sample(beyond, "s", 1)],
    ]
    print("\n### From process start to first paint\n")
    print(table(["page", "seconds"], rows))


# Frames of the screen that show another picture than the one before: two pictures within a frame are one to the eye.
COUNT_PAINTINGS = """selector => {
    const view = document.querySelector(selector);
    window.paintings = 0;
    if (window.isCounting) return;
    window.isCounting = true;
    let last = view.dataset.drawn;
    const frame = () => {
        if (view.dataset.drawn !== last) window.paintings++;
        last = view.dataset.drawn;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
}"""


def drag_for(page, seconds: float) -> float:
    """Drags the first knob to and fro, once in two seconds -> new pictures painted per second."""
    box = page.locator(f"{PAINTED} input[type=range]:visible").first.bounding_box()
    middle, reach, y = box["x"] + box["width"] / 2, 0.4 * box["width"], box["y"] + box["height"] / 2
    page.evaluate(COUNT_PAINTINGS, PAINTED)
    page.mouse.move(middle, y)
    page.mouse.down()
    began = time.perf_counter()
    while (now := time.perf_counter() - began) < seconds:
        page.mouse.move(middle + reach * (1 - 2 * abs(1 - now % 2)), y)
    painted = page.evaluate("window.paintings")
    page.mouse.up()
    return painted / now


def memory_of(process: subprocess.Popen) -> float:
    """-> resident megabytes of a process and its children (Linux)."""
    total = 0.0
    pids = [
        process.pid,
        *map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()),
    ]
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024
    return total


def drag(args: argparse.Namespace) -> None:
    script = ROOT / "app.py"
    alone, beside = [], []
    with browser() as opened, server(script) as (process, address):
        wait_for(process, address)
        page = open_page(opened, address, f"{PAINTED} input[type=range]")
        while not drag_for(page, 1.0):
            pass  # the first answer of a server that has only just started is not what is measured
        for _ in range(args.rounds):
            alone.append(drag_for(page, args.seconds))
        page.get_by_role("tab", name="Train").click()
        page.locator("#train-start").click()
        page.wait_for_selector("#train-status [data-state=learning]", timeout=1000 * PATIENCE)
        page.get_by_role("tab", name="Explore").click()
        for _ in range(args.rounds):
            beside.append(drag_for(page, args.seconds))
        page.get_by_role("tab", name="Train").click()
        page.locator("#train-stop").click()
        page.wait_for_selector("#train-status [data-state=done]", timeout=1000 * PATIENCE)
    rows = [
        ["alone", Sample(alone, "pictures/s")],
        ["while a training runs on the page", Sample(beside, "pictures/s")],
    ]
    print(f"\n### New pictures painted while a knob is dragged for {args.seconds:.0f} seconds\n")
    print(table(["the page", "new pictures painted"], rows))


def memory(args: argparse.Namespace) -> None:
    rows = []
    with browser() as opened, server(ROOT / "app.py") as (process, address):
        wait_for(process, address)
        page = open_page(opened, address, PAINTED)
        models = page.locator(".lp-picker button").evaluate_all("all => all.map(one => one.dataset.id)")
        for count, model in enumerate(models[:3], 1):
            page.locator(f".lp-picker button[data-id='{model}']").click()
            page.wait_for_selector(f"{PAINTED}[data-model='{model}']", timeout=1000 * PATIENCE)
            drag_for(page, 1.0)
            rows.append([f"{count} ({model})", f"{memory_of(process):,.0f} MB"])
    print("\n### Memory of the server's process (resident, Linux)\n")
    print(table(["models opened and dragged", "memory"], rows))
