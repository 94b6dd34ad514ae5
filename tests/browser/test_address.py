"""Where a visitor is stands in the address: reload, Back and a copy of it find model, tab, latent and settings, on both pages."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.bench import page as bench
from tests.bench.static import served
from ui import static
from vae import checkpoints
from vae.pictures import images

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
expect.set_options(timeout=30_000)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not {"avatars", "digits"} <= set(checkpoints.names()), reason="needs avatars and digits"),
]
CANVAS, TILES = ".lp-explore .pic canvas", "#sample-gallery .tiles button"
PICTURES = f"{TILES} img"


@pytest.fixture(scope="module", params=["with a server", "without one"])
def url(request, browser, tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    if request.param == "without one":
        static.write(["avatars", "digits"], folder / "site")
        with served(folder / "site") as address:
            yield address
    else:
        own = {"GRADIO_TEMP_DIR": str(folder / "uploads"), "VAE_RUNS": str(folder / "runs")}
        with bench.server(bench.ROOT / "app.py", **own) as (process, address):
            bench.wait_for(process, address)
            yield address


def at_rest(page, what: str) -> object:
    """What the expression gives, once it has stayed the same for a while."""
    return page.evaluate(
        """async what => {
          const now = () => JSON.stringify(eval(what));
          for (let before = null; before !== now(); await new Promise(resolve => setTimeout(resolve, 700))) before = now();
          return eval(what);
        }""",
        what,
    )


def drawn(page, wanted: list[np.ndarray] | None = None, at: str = CANVAS) -> list[np.ndarray]:
    """The pictures that are shown there, at rest; with wanted it waits until they are those."""
    page.wait_for_selector(".lp-explore[data-local=ready]", state="attached")
    what = f"[...document.querySelectorAll('{at}')].map(one => one.src ?? one.toDataURL())"
    for _ in range(20):
        found = [images.from_data_url(url).astype(int) for url in at_rest(page, what)]
        if wanted is None or are_alike(found, wanted):
            break
    return found


def are_alike(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    """But for what a JPEG loses, as the server sends its pictures."""
    return len(a) == len(b) and all(
        one.shape == other.shape and np.abs(one - other).mean() <= 3 for one, other in zip(a, b, strict=True)
    )


def part_of_address(page, name: str) -> str | None:
    return page.evaluate("name => new URLSearchParams(location.hash.slice(1)).get(name)", name)


def wait_for_part(page, name: str, value: str) -> None:
    page.wait_for_function(
        "([name, value]) => new URLSearchParams(location.hash.slice(1)).get(name) === value", arg=[name, value]
    )


def test_a_reload_and_a_second_tab_find_what_was_shown(page, url):
    page.goto(url)
    first = drawn(page)
    page.locator(".lp-explore input[type=range]").first.press("End")
    turned = drawn(page)
    assert not are_alike(turned, first)
    page.wait_for_function("location.hash.includes('at=')")
    page.reload()
    assert are_alike(drawn(page, turned), turned)
    other = page.context.new_page()
    other.goto(page.url)
    assert are_alike(drawn(other, turned), turned)


def test_settings_of_sample_come_back_with_model_and_tab(page, url):
    page.goto(url)
    page.locator(".lp-picker [data-id=digits]").click()
    page.wait_for_selector(".lp-explore[data-local=ready][data-model=digits]")
    page.get_by_role("tab", name="Sample").click()
    page.locator("#sample-count input[type=range]").fill("5")
    page.locator("#sample-seed input").fill("77")
    page.keyboard.press("Enter")
    page.locator("#sample-only label").nth(3).click()
    expect(page.locator(TILES)).to_have_count(5)
    wait_for_part(page, "seed", "77")
    wait_for_part(page, "count", "5")
    page.wait_for_function("new URLSearchParams(location.hash.slice(1)).has('only')")
    before = drawn(page, at=PICTURES)
    page.reload()
    page.wait_for_selector(".lp-explore[data-local=ready][data-model=digits]", state="attached")
    expect(page.get_by_role("tab", name="Sample")).to_have_attribute("aria-selected", "true")
    expect(page.locator(TILES)).to_have_count(5)
    assert page.locator("#sample-seed input").input_value() == "77"
    assert page.locator("#sample-only input").nth(3).is_checked()
    assert are_alike(drawn(page, before, PICTURES), before)


def test_back_goes_to_the_tab_and_the_model_before(page, url):
    page.goto(url)
    start = drawn(page)
    page.get_by_role("tab", name="Morph").click()
    wait_for_part(page, "tab", "morph")
    page.locator("#morph-steps input[type=range]").fill("9")
    wait_for_part(page, "steps", "9")
    page.locator(".lp-picker [data-id=digits]").click()
    page.wait_for_function("decodeURIComponent(location.hash).includes('1.digits')")
    page.go_back()
    page.wait_for_selector(".lp-explore[data-model=avatars]", state="attached")
    wait_for_part(page, "steps", "9")
    expect(page.locator("#morph-steps input[type=range]")).to_have_value("9")
    expect(page.locator("#morph-film .strip img")).to_have_count(9)
    page.go_back()
    expect(page.get_by_role("tab", name="Explore")).to_have_attribute("aria-selected", "true")
    assert are_alike(drawn(page, start), start)
    page.go_forward()
    expect(page.get_by_role("tab", name="Morph")).to_have_attribute("aria-selected", "true")
    wait_for_part(page, "tab", "morph")


def test_an_address_of_strange_settings_is_taken_as_far_as_it_makes_sense(page, url):
    page.goto(url)
    page.wait_for_selector(".lp-explore[data-local=ready]")
    page.locator(".lp-explore input[type=range]").first.press("End")
    page.wait_for_function("location.hash.includes('at=')")
    at = part_of_address(page, "at")
    odd = (
        f"#at={at}&tab=sample&seed=-4&count=1e9&temperature=x&prior=near&look=%3Cscript%3E&only=nothing&around=1.2.3.4"
    )
    page.evaluate("odd => (location.hash = odd)", odd)
    expect(page.locator(TILES)).to_have_count(32)
    assert page.locator("#sample-seed input").input_value() == "2026"
    wait_for_part(page, "tab", "sample")
