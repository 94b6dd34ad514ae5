"""How the Explore tab keeps up with the hand: pictures painted by the browser's decoder and by the server's, near and far,
for one visitor and for many, and what it leaves in memory.

Input events are made inside the page, sixty a second, so that the driver of the browser takes no part in it.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np

from tests.bench import page as bench
from tests.bench.report import table
from vae import checkpoints
from vae.pictures import images

BOARD = ".lp-explore"
DELAY = 0.03  # seconds each way of the simulated line
VISITORS = 32
UPDATES = 20_000
# Turns the first knob to and fro with so many input events a second -> the times at which another picture was on the screen.
DRAG = """async ({ seconds, perSecond, count }) => {
    const board = document.querySelector(".lp-explore"), knob = board.querySelector("input[type=range]");
    const [low, high] = [Number(knob.min), Number(knob.max)], painted = [];
    let last = board.dataset.drawn, isOn = true, made = 0;
    const frame = now => {
        if (board.dataset.drawn !== last) painted.push(now);
        last = board.dataset.drawn;
        if (isOn) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    const began = performance.now();
    while (performance.now() - began < 1000 * seconds && made < count) {
        const due = (performance.now() - began) / 1000 * perSecond;
        for (; made < due && made < count; made++) {
            const share = 1 - Math.abs(1 - (made / perSecond) % 2);
            knob.value = low + (0.1 + 0.8 * share) * (high - low) + 1e-3 * (made % 7);
            knob.dispatchEvent(new Event("input", { bubbles: true }));
        }
        await new Promise(resolve => setTimeout(resolve, 4));
    }
    isOn = false;
    return painted;
}"""


@contextlib.contextmanager
def far_away(address: str, delay: float) -> Iterator[str]:
    """Another address of the same server, every byte of which comes and goes `delay` seconds late."""
    host, port = address.removeprefix("http://").split(":")
    loop = asyncio.new_event_loop()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop_time = loop.time
        waiting: asyncio.Queue = asyncio.Queue()

        async def deliver() -> None:
            while (found := await waiting.get())[1]:
                await asyncio.sleep(max(0.0, found[0] - loop_time()))
                writer.write(found[1])
            writer.close()

        delivering = asyncio.ensure_future(deliver())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                waiting.put_nowait((loop_time() + delay, data))
        waiting.put_nowait((0, b""))
        await delivering

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(asyncio.CancelledError):  # the line is taken down while somebody waits
            await asyncio.gather(carry(reader, there[1]), carry(there[0], writer), return_exceptions=True)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        own = free.getsockname()[1]
    stands = threading.Event()

    def serve() -> None:
        loop.run_until_complete(asyncio.start_server(meet, "127.0.0.1", own))
        stands.set()
        loop.run_forever()

    thread = threading.Thread(target=serve, daemon=True)  # this one's loop belongs to Playwright
    thread.start()
    stands.wait()

    async def end() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0.1)

    try:
        yield f"http://127.0.0.1:{own}"
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def opened(browser, address: str, model: str, *, is_local: bool):
    """A page on a model, drawn by the browser or by the server, warm."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    if not is_local:
        page.add_init_script("delete window.Worker;")
    page.goto(address, wait_until="commit")
    page.wait_for_selector(f"{bench.PAINTED} input[type=range]", timeout=1000 * bench.PATIENCE)
    page.locator(f".lp-picker button[data-id='{model}']").click()
    page.wait_for_selector(f"{BOARD}[data-model='{model}']", timeout=1000 * bench.PATIENCE)
    page.wait_for_selector(
        f"{BOARD}[data-atlas]{'[data-local=ready]' if is_local else ''}", timeout=1000 * bench.PATIENCE
    )
    for _ in range(20):
        drag(page, 1.0)
        if page.locator(BOARD).get_attribute("data-drawer") == ("browser" if is_local else "server"):
            return page
    raise TimeoutError(f"{model} is never drawn by the {'browser' if is_local else 'server'}")


def drag(page, seconds: float, per_second: float = 60, count: float = 1e9) -> np.ndarray:
    """-> when another picture was on the screen, in seconds."""
    return np.array(page.evaluate(DRAG, {"seconds": seconds, "perSecond": per_second, "count": count})) / 1000


def cpu_of(process: subprocess.Popen) -> float:
    """-> seconds of processor time that a process has had so far (Linux)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def figures(page, seconds: float) -> list[str]:
    times = drag(page, seconds)
    between = 1000 * np.diff(times)
    return [
        f"{len(times) / seconds:.0f}/s",
        f"{np.percentile(between, 95):.0f} ms",
        page.locator(".meta b").inner_text(),
    ]


def ready(browser, address: str) -> tuple[float, float]:
    """-> seconds from opening the page to the first picture, and to the browser's decoder drawing."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(bench.PAINTED)
    first = time.perf_counter() - began
    page.wait_for_selector(f"{BOARD}[data-local=ready]", timeout=1000 * bench.PATIENCE)
    taken = time.perf_counter() - began
    page.context.close()
    return first, taken


async def visitors(address: str, model: str, seconds: float) -> tuple[list[float], list[float], int]:
    """VISITORS that each ask for their newest position as soon as the last answer is there.

    -> seconds of every answer, seconds from each visitor's last position to its picture, and how many got the wrong one.
    """
    config = httpx.get(f"{address}/config").json()
    board = next(part for part in config["components"] if part["props"].get("elem_id") == "explore-board")
    checkpoint = checkpoints.load(model)
    latent = checkpoint.model.config.latent
    answers, lasts, lost = [], [], 0
    wanted = [images.data_url(checkpoint.decode([row])[0]) for row in (1.5 * np.eye(latent)).tolist()]

    async def ask(client: httpx.AsyncClient, visitor: int, place: float) -> str:
        z = [0.0] * latent
        z[visitor % latent] = place
        asked = {
            "data": {"model": model, "z": z},
            "component_id": board["id"],
            "fn_name": "decode",
            "session_hash": f"v{visitor}",
        }
        began = time.perf_counter()
        found = (await client.post(f"{address}/gradio_api/component_server/", json=asked)).json()
        answers.append(time.perf_counter() - began)
        return found["picture"]

    async def visit(visitor: int) -> None:
        nonlocal lost
        async with httpx.AsyncClient(timeout=60) as client:
            began = time.perf_counter()
            while (now := time.perf_counter() - began) < seconds:
                await ask(client, visitor, 2 - 2 * abs(1 - now % 2))
            reached = time.perf_counter()
            found = await ask(client, visitor, 1.5)
            lasts.append(time.perf_counter() - reached)
            lost += found != wanted[visitor % latent]

    await asyncio.gather(*(visit(visitor) for visitor in range(VISITORS)))
    return answers, lasts, lost


def run(args: argparse.Namespace) -> None:
    names = args.checkpoint or checkpoints.names()
    rows = []
    with bench.browser() as browser, bench.server(bench.ROOT / "app.py") as (process, address):
        bench.wait_for(process, address)
        bench.open_page(browser, address, bench.PAINTED).context.close()
        first, taken = np.median([ready(browser, address) for _ in range(args.rounds)], axis=0)
        for name, is_local in itertools.product(names, (True, False)):
            page = opened(browser, address, name, is_local=is_local)
            size, before = checkpoints.load(name).model.config.size, cpu_of(process)
            found = figures(page, args.seconds)
            busy = (cpu_of(process) - before) / args.seconds
            rows.append([name, f"{size}", "the browser" if is_local else "the server", *found, f"{busy:.0%}"])
            page.context.close()
        with far_away(address, DELAY) as there:
            for name in names:
                page = opened(browser, there, name, is_local=False)
                size = checkpoints.load(name).model.config.size
                rows.append(
                    [name, f"{size}", f"the server, {2000 * DELAY:.0f} ms away", *figures(page, args.seconds), ""]
                )
                page.context.close()
        print(f"\n### A knob dragged for {args.seconds:.0f} seconds, 60 input events a second\n")
        head = ["model", "pixels", "drawn by", "new pictures", "p95 between two", "the page says", "server's processor"]
        print(table(head, rows))
        print(f"\nOpened anew: first picture after {first:.2f} s, the browser's decoder ready after {taken:.2f} s.")

        with ThreadPoolExecutor(1) as elsewhere:
            answers, lasts, lost = elsewhere.submit(asyncio.run, visitors(address, names[0], args.seconds)).result()
        middle, late = 1000 * np.percentile(answers, (50, 95))
        print(
            f"\n{VISITORS} visitors at once on {names[0]}, drawn by the server: {len(answers) / args.seconds:.0f} pictures/s in "
            f"all; an answer takes {middle:.0f} ms, p95 {late:.0f} ms; the picture of the last position "
            f"{1000 * np.percentile(lasts, 95):.0f} ms (p95); {lost} wrong."
        )
        rows = []
        for is_local in (True, False):
            page = opened(browser, address, names[0], is_local=is_local)
            session = page.context.new_cdp_session(page)

            def heap(page=page, session=session) -> float:
                session.send("HeapProfiler.collectGarbage")
                return page.evaluate("performance.memory.usedJSHeapSize") / 1e6

            drag(page, 60, 250, 2000)  # caches are full, all code is compiled
            before = heap(), bench.memory_of(process)
            drag(page, 600, 250, UPDATES)
            after = heap(), bench.memory_of(process)
            rows.append(
                [
                    "the browser" if is_local else "the server",
                    *(f"{a:.1f} -> {b:.1f} MB" for a, b in zip(before, after, strict=True)),
                ]
            )
            page.context.close()
        print(f"\n### Memory before and after {UPDATES:,} updates of {names[0]}\n")
        print(table(["drawn by", "the page's heap", "the server (resident)"], rows))
