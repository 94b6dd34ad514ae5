"""The page without a server, as `python -m vae page` writes it: under a sub-path of a poor file server, offline, from a disk."""

import functools
import http.server
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.distributions import MultivariateNormal

from ui import static
from vae import checkpoints
from vae.measure import novelty
from vae.measure.best import best_of
from vae.measure.novelty import Sketch
from vae.pictures import images

pytestmark = pytest.mark.browser
MODELS = [name for name in ("avatars", "digits", "faces") if name in checkpoints.names()] or checkpoints.names()[:1]
EXPLORE = ".lp-explore"
CANVAS = f"{EXPLORE} canvas"
READY = f"{EXPLORE}[data-local=ready]"
# What every body below can use: the model that is open, and a module of the page.
HANDS = """
    const site = JSON.parse(document.getElementById("lp-site").textContent);
    const url = address => Array.isArray(address) ? address.map(url) : new URL(address, document.baseURI).href;
    const all = addresses => Object.fromEntries(Object.entries(addresses).map(([name, address]) => [name, url(address)]));
    const whereOf = id => ({
        ...all(site.models.find(model => model.id === id).files), worker: url(site.worker), runtime: all(site.runtime),
    });
    const { Model } = await import(url("lp/model.js")), { Atlas } = await import(url("lp/atlas.js"));
    const { bytes } = await import(url("lp/bytes.js"));
"""


FORBID = """for (const name of ["localStorage", "sessionStorage", "caches", "indexedDB"])
    Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });"""


class Poor(http.server.SimpleHTTPRequestHandler):
    """Knows no type but those that browsers insist on, and lies under /some/where/."""

    def guess_type(self, path):
        known = {".html": "text/html", ".js": "text/javascript"}
        return known.get(Path(path).suffix, "text/plain")

    def translate_path(self, path):
        return (
            super().translate_path(path.removeprefix("/some/where")) if path.startswith("/some/where/") else "/nowhere"
        )

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("static") / "site"
    static.write(MODELS, folder)
    return folder


@pytest.fixture(scope="module")
def url(site) -> Iterator[str]:
    """Here it is the static page's address that conftest's `page` may ask, and no other."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Poor, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/some/where/"
        server.shutdown()


@pytest.fixture(scope="module")
def one_file(browser, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("single") / "page.html"
    static.write([MODELS[0]], path, single_file=True)
    return path


def shown(page) -> str:
    return page.evaluate(f"document.querySelector('{CANVAS}').toDataURL()")


def wait_for_another(page, before: str) -> None:
    page.wait_for_function(f"old => document.querySelector('{CANVAS}').toDataURL() !== old", arg=before)


def use_every_tab(page) -> None:
    """What a visitor would do in each of them."""
    page.wait_for_selector(READY)
    before = shown(page)
    page.locator(f"{EXPLORE} input[type=range]:visible").first.press("End")
    wait_for_another(page, before)
    page.wait_for_selector(".knob .end img[src^='data:image/png']")
    page.wait_for_selector(f"{EXPLORE}[data-atlas=known]")
    page.get_by_role("tab", name="Sample").click()
    page.wait_for_selector("#sample-gallery .tiles button:nth-child(32) img[src]")
    first = page.locator("#sample-gallery .tiles img").first.get_attribute("src")
    page.locator("#sample-again").click()
    page.wait_for_function("old => document.querySelector('#sample-gallery .tiles img').src !== old", arg=first)
    page.get_by_role("tab", name="Morph").click()
    page.wait_for_selector("#morph-film .strip img")
    page.get_by_role("tab", name="Train").click()
    page.get_by_text("A browser alone cannot train").wait_for()
    page.get_by_role("tab", name="Explore").click()


def test_every_tab_works_under_a_sub_path_of_a_server_that_knows_no_types(page, url):
    page.goto(url)
    use_every_tab(page)
    for name in MODELS[1:]:
        page.locator(f".lp-picker [data-id={name}]").click()
        page.wait_for_selector(f"{READY}[data-model={name}]")
        use_every_tab(page)


def test_after_the_first_visit_it_works_offline(page, url, complaints):
    page.goto(url)
    page.wait_for_selector(READY)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.context.set_offline(True)
    page.reload()
    use_every_tab(page)
    assert not [text for text in complaints if "morph" in text.lower()]


def test_one_file_opens_from_a_disk_and_asks_nobody(browser, one_file):
    assert one_file.stat().st_size < 20e6
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked, wrong = [], []
    page.on("request", lambda request: request.url.startswith(("http", "ws")) and asked.append(request.url))
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(repr(error)))
    page.goto(one_file.as_uri())
    use_every_tab(page)
    page.reload()
    page.wait_for_selector(READY, state="attached")  # under the tab that was in front
    context.close()
    assert not asked
    assert not wrong


@pytest.mark.parametrize("width", [360, 390])
def test_a_phone_shows_every_tab_without_scrolling_aside(page, url, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(url)
    for tab in ("Explore", "Sample", "Morph", "Train"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")


def evaluate(page, body: str, given: object):
    return page.evaluate(f"async given => {{ {HANDS} {body} }}", given)


@pytest.mark.parametrize("name", MODELS)
def test_pictures_and_readings_agree_with_the_model(page, url, name):
    model = checkpoints.load(name)
    z = torch.cat([model.atlas.prior("mixture", 3, 1), 2 * model.atlas.prior("normal", 1, 1)])
    size, channels = model.model.config.size, model.model.config.channels
    picture = model.atlas.examples[1]
    page.goto(url)
    body = """
        const model = new Model();
        await model.open(whereOf(given.name));
        const canvas = new OffscreenCanvas(given.size, given.size), brush = canvas.getContext("2d"), drawn = [];
        for (const z of given.z) {
            brush.drawImage(await model.decode(z), 0, 0);
            drawn.push([...brush.getImageData(0, 0, given.size, given.size).data]);
        }
        const { size, channels, picture } = given;
        return { drawn, ...await model.encode({ size, channels, data: Uint8Array.from(picture) }) };"""
    given = {"name": name, "z": z.tolist(), "size": size, "channels": channels, "picture": picture.ravel().tolist()}
    found = evaluate(page, body, given)
    drawn = np.array(found["drawn"]).reshape(len(z), size, size, 4)[..., :3]
    assert np.abs(drawn - model.decode(z).astype(int)).max() <= 3
    posterior = model.posterior(picture[None])
    np.testing.assert_allclose(found["z"], posterior.mode()[0], atol=5e-3)
    np.testing.assert_allclose(found["std"], posterior.std()[0], atol=5e-3)


def test_samples_of_given_dice_agree_with_the_mixture(page, url):
    mixture = checkpoints.load(MODELS[0]).atlas.mixture
    parts, noise = (
        len(mixture.weights),
        torch.randn(6, mixture.means.shape[1], generator=torch.Generator().manual_seed(2)),
    )
    chosen = [place % parts for place in range(len(noise))]
    wanted = [
        mixture.means[part] + 0.8 * mixture.factors[part] @ dice for part, dice in zip(chosen, noise, strict=True)
    ]
    page.goto(url)
    body = """
        const atlas = new Atlas(await bytes(whereOf(given.name).atlas));
        return given.chosen.map((part, i) => atlas.sample(part, given.noise[i], 0.8));"""
    found = evaluate(page, body, {"name": MODELS[0], "chosen": chosen, "noise": noise.tolist()})
    np.testing.assert_allclose(found, torch.stack(wanted), atol=1e-4)


def test_many_samples_lie_where_the_mixture_does_and_traits_hold(page, url):
    """Mean and covariance of 4,000 throws; one seed, one throw; with a trait every throw reads as having it."""
    model = checkpoints.load(MODELS[0])
    page.goto(url)
    body = """
        const { thrown } = await import(url("lp/dice.js")), { whole } = await import(url("lp/latent.js"));
        const atlas = new Atlas(await bytes(whereOf(given).atlas)), { view } = site;
        const ask = { prior: "mixture", count: 4000, seed: 5, temperature: 1 };
        const trait = whole(view.knobs, atlas.latent).find(knob => knob.trait);
        return { zs: await thrown(atlas, ask), again: await thrown(atlas, { ...ask, count: 2 }), key: trait.key,
                 only: await thrown(atlas, { ...ask, count: 20, only: [trait] }),
                 none: await thrown(atlas, { ...ask, only: [{ ...trait, trait: { reading: 99 } }] }) };"""
    found = evaluate(page, body, MODELS[0])
    z, atlas = torch.tensor(found["zs"]), model.atlas
    many = atlas.mixture.sample(20_000, 1)
    spread = many.std(dim=0)
    assert ((z.mean(dim=0) - many.mean(dim=0)).abs() < 5 * spread / len(z) ** 0.5).all()
    assert ((z.std(dim=0) / spread - 1).abs() < 0.1).all()
    assert found["again"] == found["zs"][:2]
    name = found["key"].partition(":")[2]
    probe = atlas.probes[[row.name for row in atlas.named].index(name)]
    assert ((torch.tensor(found["only"]) - atlas.mean) @ probe > atlas.traits[name] - 0.01).all()
    assert found["none"] is None


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("difference", [0, 0.5, 1])
def test_the_best_are_those_that_python_keeps(page, url, name, difference):
    atlas = checkpoints.load(name).atlas
    z = torch.cat([atlas.prior("mixture", 50, 1), 1.5 * atlas.prior("normal", 20, 1)])
    kept, left = best_of(atlas, z, 12, difference)
    page.goto(url)
    body = """
        const { bestOf } = await import(url("lp/best.js")), atlas = new Atlas(await bytes(whereOf(given.name).atlas));
        const places = ({ kept, left }) => [kept, left].map(zs => zs.map(z => given.z.indexOf(z)));
        const ask = { count: 12, difference: given.difference };
        return { places: places(await bestOf(atlas, given.z, ask)), over: await bestOf(atlas, given.z, ask, () => true) };"""
    found = evaluate(page, body, {"name": name, "z": z.tolist(), "difference": difference})
    assert found["places"][0] == kept
    realism = atlas.realism(z)  # of equals either may come first
    np.testing.assert_allclose(realism[found["places"][1]], realism[left], atol=0.05)
    assert found["over"] is None


def test_near_a_latent_the_same_noise_is_the_same_draw(page, url):
    """In the likeliest component by torch's own densities, in coordinates by its own inverse."""
    atlas = checkpoints.load(MODELS[0]).atlas
    (z, noise), mixture = atlas.prior("normal", 2, 1), atlas.mixture
    densities = MultivariateNormal(mixture.means, scale_tril=mixture.factors).log_prob(z) + mixture.weights.log()
    mean, factor = (values[int(densities.argmax())] for values in (mixture.means, mixture.factors))
    wanted = mean + factor @ (0.84**0.5 * (torch.linalg.inv(factor) @ (z - mean)) + 0.4 * noise)
    page.goto(url)
    body = """
        const atlas = new Atlas(await bytes(whereOf(given.name).atlas));
        return atlas.around(given.z, given.noise, 0.4);"""
    found = evaluate(page, body, {"name": MODELS[0], "z": z.tolist(), "noise": noise.tolist()})
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_the_sketch_says_what_python_says(page, url, tmp_path):
    dice = torch.Generator().manual_seed(0)
    rows = torch.randint(-127, 128, (300, 4), generator=dice, dtype=torch.int8)
    sketch = Sketch(rows, torch.tensor([0.05, 0.04, 0.03, 0.02]), torch.linspace(0.2, 1.5, 101), 900)
    novelty.save(sketch, tmp_path)
    points = torch.cat([3 * torch.randn(40, 4, generator=dice), sketch.points[:5]])
    page.goto(url)
    body = """
        const { Sketch } = await import(url("lp/novelty.js")), sketch = new Sketch(Uint8Array.from(given.data).buffer);
        return { shares: given.points.map(point => sketch.novelty(point)), count: sketch.count, of: sketch.of };"""
    found = evaluate(page, body, {"data": [*(tmp_path / novelty.FILE).read_bytes()], "points": points.tolist()})
    np.testing.assert_allclose(found["shares"], sketch.novelty(points), atol=1e-4)
    assert (found["count"], found["of"]) == (300, 900)


def test_the_best_are_shown_those_left_out_too_and_more_like_one(page, url):
    """One seed, one choice; what is shown is new or copied where the model knows."""
    page.goto(url)
    page.get_by_role("tab", name="Sample").click()
    tiles, heading = page.locator("#sample-gallery .tiles img"), page.locator("#sample-gallery h3")
    page.wait_for_selector("#sample-gallery .tiles button:nth-child(32) img[src]")
    best = tiles.first.get_attribute("src")
    assert "The best 32 of 256 throws" in heading.text_content()
    heading.get_by_role("button", name="224 left out").click()
    page.wait_for_selector("#sample-gallery .tiles button:nth-child(64) img[src]")
    heading.get_by_role("button", name="Back").click()
    same = "best => document.querySelector('#sample-gallery .tiles img').src === best"
    page.wait_for_function(same, arg=best)
    page.locator("[data-event=around]").click()
    page.wait_for_function(same.replace("===", "!=="), arg=best)
    assert page.get_by_label("near the one you picked").is_checked()
    page.get_by_label("where the data lives").click(force=True)
    page.wait_for_function(same, arg=best)
    says = "document.querySelector('#sample-gallery .closer p').textContent"
    if checkpoints.load(MODELS[0]).sketch:
        page.wait_for_function(f"/copied|copy/.test({says})")
    else:
        assert "copied" not in page.evaluate(says)


def test_pictures_come_in_and_films_go_out(page, url, tmp_path):
    """An upload is read in the browser, a latent goes from Sample to Morph, and the film is a GIF."""
    model = checkpoints.load(MODELS[0])
    images.save(model.atlas.examples[2:3], tmp_path / "own.png")
    page.goto(url)
    page.wait_for_selector(READY)
    before = shown(page)
    page.set_input_files(f"{EXPLORE} input[type=file]", tmp_path / "own.png")
    page.wait_for_selector(f"{EXPLORE} .original:not([hidden])")
    wait_for_another(page, before)
    page.get_by_role("tab", name="Sample").click()
    page.locator("#sample-gallery .tiles button").nth(3).click()
    page.locator("[data-event=morph]").click()
    page.wait_for_selector("#morph-film .strip img")
    page.set_input_files("#morph-b input[type=file]", tmp_path / "own.png")
    with page.expect_download() as coming:
        page.locator("#morph-download").click()
    film = Path(coming.value.path()).read_bytes()
    assert film[:6] == b"GIF89a"
    page.get_by_role("tab", name="Sample").click()
    pages = {}
    for look in ("drawn", "ink"):
        page.locator(f"#sample-look input[value={look}]").check(force=True)
        with page.expect_download() as coming:
            page.locator("#sample-download").click()
        with zipfile.ZipFile(coming.value.path()) as archive:
            assert archive.namelist() == [f"{place:02d}.png" for place in range(32)]
            pages[look] = [np.asarray(Image.open(archive.open(name)).convert("RGB")) for name in archive.namelist()]
    size = model.model.config.size
    assert {picture.shape for picture in pages["drawn"]} == {(size, size, 3)}
    for picture in pages["ink"]:
        assert picture.shape == (min(512, 4 * size), min(512, 4 * size), 3)
        assert np.ptp(picture.astype(int), axis=2).max() <= 2  # black and white


@pytest.mark.skipif("digits" not in MODELS, reason="needs the digits")
def test_a_digit_can_be_drawn(page, url):
    page.goto(url)
    page.locator(".lp-picker [data-id=digits]").click()
    page.wait_for_selector(f"{READY}[data-model=digits]")
    page.locator("[data-act=draw]").click()
    box = page.locator(".lp-explore .lp-draw canvas").first.bounding_box()
    page.mouse.move(box["x"] + 140, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 220, steps=8)
    page.mouse.up()
    page.get_by_role("button", name="Done").first.click()
    page.wait_for_selector(f"{EXPLORE} .original:not([hidden])")


def wait_until(page, is_true) -> None:
    for _ in range(600):
        if is_true():
            return
        page.wait_for_timeout(50)
    pytest.fail("it never came")


def says(page, text: str) -> None:
    page.get_by_text(text).first.wait_for()


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("1.nobody.000000000000.AAAAAAAA", "a model that is not here"),
        ("1.{model}.000000000000.{z}", "other weights"),
        ("1.{model}.{hash}.AAAAAAAA", "other weights"),
        ("nonsense", "does not say where it belongs"),
        ("x" * 100_000, "does not say where it belongs"),
    ],
)
def test_a_link_that_does_not_fit_is_told_in_a_sentence(page, url, place, sentence):
    model = checkpoints.load(MODELS[0])
    filled = place.format(model=MODELS[0], hash=model.digest, z="A" * 88) if "{" in place else place
    page.goto(f"{url}#at={filled}")
    says(page, sentence)
    use_every_tab(page)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken", b"<svg/>"])
def test_an_upload_of_anything_is_told_in_a_sentence(page, url, tmp_path, content):
    (tmp_path / "some.png").write_bytes(content)
    page.goto(url)
    page.wait_for_selector(READY)
    page.set_input_files(f"{EXPLORE} input[type=file]", tmp_path / "some.png")
    says(page, "no picture that this browser can read")


@pytest.mark.parametrize(
    "script", ["delete window.Worker;", "window.Worker = class { constructor() { throw Error('no'); } };"]
)
def test_without_workers_the_first_picture_stays_and_a_sentence_says_why(page, url, script, complaints):
    page.add_init_script(script)
    page.goto(url)
    page.wait_for_selector(CANVAS)
    page.locator(f"{EXPLORE} input[type=range]:visible").first.press("End")
    says(page, "cannot run the model")
    page.get_by_role("tab", name="Sample").click()
    page.locator(".lp-toast").get_by_text("cannot run the model").wait_for()
    complaints[:] = [text for text in complaints if "cannot run" not in text]


def test_without_webassembly_too(page, url, complaints):
    page.route("**/model_worker.js", lambda route: route.fulfill(
        content_type="text/javascript", body="delete self.WebAssembly;\n" + route.fetch().text()))  # fmt: skip
    page.goto(url)
    page.wait_for_selector(CANVAS)
    page.locator(f"{EXPLORE} input[type=range]:visible").first.press("End")
    says(page, "cannot run the model")


def test_where_nothing_may_be_kept_it_works_all_the_same(browser, url):
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.add_init_script(FORBID)
    page.goto(url)
    use_every_tab(page)
    context.close()


def test_the_folder_is_a_static_space_that_shows_nothing_it_may_not(site):
    front = (site / "README.md").read_text(encoding="utf-8").split("---")[1]
    assert re.search(r"^sdk: static$", front, re.MULTILINE)
    for path in site.rglob("*"):
        assert path.stat().st_size < 10 * 2**20
    needed = json.loads(re.search(r"NEEDED = (\[.*?\]);", (site / "sw.js").read_text()).group(1))
    for name in needed[1:]:
        assert (site / name.partition("?")[0]).is_file(), name


def test_a_new_version_never_meets_files_of_the_old_one(browser, tmp_path):
    """A page that is open gets no file of the new version, also not of a model that it has half fetched; the next visit gets

    all of them.
    """
    folder = tmp_path / "site"
    static.write([MODELS[0]], folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Poor, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/some/where/"
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector(READY)
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        page.reload()
        static.write(MODELS[-1:], folder)
        page.evaluate("navigator.serviceWorker.getRegistration().then(found => found.update())")
        page.reload()
        use_every_tab(page)
        assert page.locator(EXPLORE).get_attribute("data-model") == MODELS[0]
        # All of the new version is here; before that the old page's end would change nothing.
        page.wait_for_function("async () => (await navigator.serviceWorker.getRegistration()).waiting !== null")
        # Another page of the same server, which no worker of ours serves, sees when the old version is gone.
        onlooker = context.new_page()
        onlooker.goto(f"http://127.0.0.1:{server.server_port}/elsewhere")
        page.close()
        onlooker.wait_for_function(
            """async address => {
                const { active, waiting } = await navigator.serviceWorker.getRegistration(address);
                return waiting === null && active?.state === "activated";
            }""",
            arg=address,
        )
        page = context.new_page()
        page.goto(address)
        use_every_tab(page)
        assert page.locator(EXPLORE).get_attribute("data-model") == MODELS[-1]
        context.close()
        server.shutdown()


def test_models_with_other_weights_lie_at_other_addresses(site):
    """A query would not do: a host leaves it out of account and sends what is new under an old name."""
    folders = {path.name.rpartition("-")[0] for path in (site / "models").iterdir()}
    assert folders == set(MODELS)
    text = (site / "index.html").read_text(encoding="utf-8")
    assert all(path.name in text for path in (site / "models").iterdir())


@pytest.mark.skipif(len(MODELS) < 2, reason="needs two models")
def test_models_switched_while_things_are_under_way_say_nothing_wrong(page, url, tmp_path, complaints):
    """Before the first decoder has come, and while a picture is being read."""
    held = []
    page.route("**/draws.bin", lambda route: held.append(route))
    page.goto(url)
    page.wait_for_selector(CANVAS)
    for count, name in enumerate(MODELS[:2], 1):  # the second is chosen while the first is on its way
        page.locator(f".lp-picker [data-id={name}]").click()
        wait_until(page, lambda count=count: len(held) >= count)
    for route in held:
        route.continue_()
    page.unroute("**/draws.bin")  # else the next model's is held as well, where the service worker is not up yet
    page.wait_for_selector(f"{READY}[data-model={MODELS[1]}]")
    page.wait_for_selector(".knob .end img[src^='data:image/png']")
    assert page.locator(f"{EXPLORE} .note").is_hidden()
    images.save(checkpoints.load(MODELS[0]).atlas.examples[2:3], tmp_path / "own.png")
    for name in (*MODELS, *MODELS):
        page.locator(f".lp-picker [data-id={name}]").click()
        page.wait_for_selector(f"{READY}[data-model={name}]")
        page.set_input_files(f"{EXPLORE} input[type=file]", tmp_path / "own.png")
    page.wait_for_selector(f"{EXPLORE} .original:not([hidden])")
    use_every_tab(page)


@pytest.mark.skipif(len(MODELS) < 2, reason="needs two models")
def test_a_film_that_plays_ends_with_its_model(page, url):
    page.goto(url)
    use_every_tab(page)
    page.get_by_role("tab", name="Morph").click()
    page.locator("#morph-film .play").click()
    page.wait_for_function("document.querySelector('#morph-film').dataset.frame > 1")
    page.locator(f".lp-picker [data-id={MODELS[1]}]").click()
    page.wait_for_selector(f"{READY}[data-model={MODELS[1]}]", state="attached")
    page.wait_for_selector("#morph-film .strip img")
    assert page.locator("#morph-film .play").inner_text() == "▶ Play"


@pytest.mark.skipif(len(MODELS) < 2, reason="needs two models")
def test_a_line_that_breaks_is_told_and_tried_again(browser, url):
    context = browser.new_context(service_workers="block")  # which would not be asked to fail
    page = context.new_page()
    page.route("**/draws.bin", lambda route: route.fulfill(status=503))
    page.goto(url)
    page.wait_for_selector(CANVAS)
    says(page, "Is the connection still there")
    page.unroute("**/draws.bin")
    page.locator(f".lp-picker [data-id={MODELS[0]}]").click()
    use_every_tab(page)
    page.route("**/view.json", lambda route: route.fulfill(status=503))
    page.locator(f".lp-picker [data-id={MODELS[1]}]").click()
    page.locator(".lp-toast").get_by_text("could not be fetched").wait_for()
    page.wait_for_selector(f".lp-picker [data-id={MODELS[0]}][aria-pressed=true]")
    page.unroute("**/view.json")
    page.locator(f".lp-picker [data-id={MODELS[1]}]").click()
    page.wait_for_selector(f"{READY}[data-model={MODELS[1]}]")
    context.close()


@pytest.mark.skipif(len(MODELS) < 2, reason="needs two models")
def test_models_opened_at_the_first_visit_are_kept_as_well(page, url):
    page.goto(url)
    page.wait_for_selector(READY)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    page.locator(f".lp-picker [data-id={MODELS[1]}]").click()
    page.wait_for_selector(f"{READY}[data-model={MODELS[1]}]")
    page.context.set_offline(True)
    page.reload()
    page.wait_for_selector(READY)
    page.locator(f".lp-picker [data-id={MODELS[1]}]").click()
    page.wait_for_selector(f"{READY}[data-model={MODELS[1]}]")
