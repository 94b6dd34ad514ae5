"""The page without a server: what it weighs on the wire, when its first picture and its model are there, how fast it draws."""

import argparse
import functools
import http.server
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.bench import live
from tests.bench import page as bench
from tests.bench.report import table
from ui import static
from vae import checkpoints

LINE = {"offline": False, "latency": 40, "downloadThroughput": 10e6 / 8, "uploadThroughput": 2e6 / 8}  # 10 Mbit/s


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A plain file server -> its address; it compresses nothing."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def visit(browser, address: str, line: dict | None) -> tuple[float, float, float]:
    """-> seconds to the first picture and to the browser's own one, megabytes on the wire until then, as an uncached visit."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    weight = []
    page.on("requestfinished", lambda request: weight.append(request.sizes()["responseBodySize"]))
    if line:
        session.send("Network.emulateNetworkConditions", line)
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_function(
        "document.querySelector('.lp-explore img, .lp-explore canvas')?.getBoundingClientRect().width"
    )
    first = time.perf_counter() - began
    page.wait_for_selector(f"{live.BOARD}[data-local=ready]", timeout=1000 * bench.PATIENCE)
    taken, fetched = time.perf_counter() - began, sum(weight)
    page.context.close()
    return first, taken, fetched / 1e6


def run(args: argparse.Namespace) -> None:
    names = args.checkpoint or checkpoints.names()
    rows = []
    with tempfile.TemporaryDirectory() as made, bench.browser() as browser:
        for name in names:
            folder, file = Path(made) / name, Path(made) / f"{name}.html"
            static.write([name], folder)
            static.write([name], file, single_file=True)
            with served(folder) as address:
                near = np.median([visit(browser, address, None) for _ in range(args.rounds)], axis=0)
                far = np.median([visit(browser, address, LINE) for _ in range(args.rounds)], axis=0)
                page = live.opened(browser, address, name, is_local=True)
                speed, p95, _ = live.figures(page, args.seconds)
                page.context.close()
            size = checkpoints.load(name).model.config.size
            whole = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
            rows.append([
                name, size, f"{near[2]:.1f} MB", f"{whole:.1f} MB", f"{file.stat().st_size / 1e6:.1f} MB",
                f"{near[0]:.2f} s, {near[1]:.1f} s", f"{far[0]:.2f} s, {far[1]:.1f} s", speed, p95,
            ])  # fmt: skip
        static.write(names, Path(made) / "all")
        whole = sum(path.stat().st_size for path in (Path(made) / "all").rglob("*") if path.is_file()) / 1e6
    head = ["model", "pixels", "fetched until it draws", "its folder", "one file",
            "first picture, own ones: here", "at 10 Mbit/s", "new pictures", "p95 between two"]  # fmt: skip
    print(f"\n### The page without a server, its knobs dragged for {args.seconds:.0f} seconds\n")
    print(table(head, rows))
    print(f"\nThe folder of all {len(names)}: {whole:.1f} MB.")
