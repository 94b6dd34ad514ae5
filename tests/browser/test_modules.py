"""The page's own modules in a browser, against the Python that they repeat."""

import base64

import numpy as np
import pytest
import torch

from tests.browser.test_explore import BOARD, CANVAS, act, link, open_explore, settled, shown
from ui.theme import RUNTIME
from vae import checkpoints, latents
from vae.errors import BadInput
from vae.measure.fit import fit_atlas
from vae.measure.verdicts import of_latents, of_uploads, upload_inputs
from vae.model import VAE, VAEConfig, decoded, posterior_of
from vae.storage import atlases

pytestmark = pytest.mark.browser
NAMES = checkpoints.names()
IMPORT = """const address = name => document.querySelector(`link[href$="/${name}"]`).href;
const { %s } = await import(address("%s"));"""


def run(page, module: str, names: str, body: str, given: object = None):
    """What a JavaScript body returns that uses these names of a module of components/."""
    return page.evaluate(f"async given => {{ {IMPORT % (names, module)} {body} }}", given)


@pytest.fixture
def opened(page, url):
    """A page that also gets the files of the checkpoints as they lie on the disk; the server has them in pieces."""
    own = f"gradio_api/file={checkpoints.root().as_posix()}"
    page.route(f"**/{own}/**", lambda route: route.fulfill(path=route.request.url.partition("file=")[2]))
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_selector("link[href$='/atlas.js']", state="attached")
    return page


def atlas_of(name: str) -> dict:
    return {"path": (checkpoints.root() / name / "atlas.safetensors").as_posix()}


WHERE = """const where = ({ folder, runtime }) => {
    const file = path => new URL("gradio_api/file=" + path, document.baseURI).href;
    const [library, glue, machine] = ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.bin"].map(name =>
        file(runtime + "/" + name));
    const names = ["decoder.onnx", "encoder.onnx", "model.safetensors"];
    const [decoder, encoder, weights] = names.map(name => file(folder + "/" + name));
    const worker = address("model.js").replace("model.js", "model_worker.js");
    return { worker, decoder, encoder, draws: [weights], reads: [weights], runtime: { library, glue, machine } };
};
"""
FETCH = "const atlas = new Atlas(await (await fetch('gradio_api/file=' + given.path)).arrayBuffer());"


@pytest.mark.parametrize("name", NAMES)
def test_the_lamp_says_what_the_atlas_says(opened, name):
    atlas = checkpoints.load(name).atlas
    z = torch.cat([atlas.prior("mixture", 20, 1), atlas.prior("mixture", 20, 1, 0.6), atlas.prior("normal", 5, 1)])
    body = FETCH + "return given.z.map(z => [atlas.likelihood(z), atlas.verdict(z).typicality]);"
    likelihood, typicality = np.array(run(opened, "atlas.js", "Atlas", body, atlas_of(name) | {"z": z.tolist()})).T
    np.testing.assert_allclose(likelihood, atlas.mixture.log_prob(z), atol=0.05)
    np.testing.assert_allclose(typicality, atlas.typicality(z), atol=0.01)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A model of noise, its pictures, and an atlas that has a judge, with the bytes of its file."""
    torch.manual_seed(0)
    model = VAE(VAEConfig(size=13, channels=3, latent=5, widths=(8,), stem=2)).eval()
    with torch.no_grad():
        model.encoder.head.weight[:5] *= 20  # so that pictures lie apart
    pictures = np.random.default_rng(0).integers(0, 256, (400, 13, 13, 3), dtype=np.uint8)
    atlas = fit_atlas(model, pictures[:300], heldout=pictures[300:])
    folder = tmp_path_factory.mktemp("judged")
    atlases.save(atlas, folder)
    data = base64.b64encode((folder / "atlas.safetensors").read_bytes()).decode()
    return model, pictures, atlas, data


BYTES = "const atlas = new Atlas(Uint8Array.from(atob(given.data), c => c.charCodeAt(0)).buffer);"


def test_the_browsers_verdict_on_latents_is_the_librarys(opened, judged):
    _, _, atlas, data = judged
    z = torch.cat([atlas.prior("mixture", 40, 1), 2 * atlas.prior("normal", 20, 1), torch.full((1, 5), 8.0)])
    body = BYTES + "return given.z.map(z => atlas.verdict(z));"
    found = run(opened, "atlas.js", "Atlas", body, {"z": z.tolist(), "data": data})
    wanted = of_latents(atlas, z)
    np.testing.assert_allclose([one["typicality"] for one in found], wanted.typicality, atol=1e-3)
    assert [one["against"] for one in found] == wanted.against
    is_middle = atlas.mixture.log_prob(z) >= atlas.likelihoods[-1]
    assert [one["isMiddle"] for one in found] == is_middle.tolist()


def test_the_browsers_verdict_on_uploads_is_the_librarys(opened, judged):
    model, pictures, atlas, data = judged
    given = np.concatenate([pictures[:20], pictures[:5] // 2, np.full((1, 13, 13, 3), 90, np.uint8)])
    z = posterior_of(model, given).mean
    again = decoded(model, z)
    body = (
        BYTES
        + """const as = data => ({ size: 13, channels: 3, data: Uint8Array.from(data) });
        return given.uploads.map(([picture, again, z]) => {
            const inputs = uploadInputs(as(picture), as(again), z);
            return { inputs, ...atlas.verdictOfUpload(as(picture), as(again), z) };
        });"""
    )
    body = """const { uploadInputs } = await import(address("typicality.js"));""" + body
    parts = (given.reshape(len(given), -1), again.reshape(len(given), -1), z)
    uploads = [[part[row].tolist() for part in parts] for row in range(len(given))]
    found = run(opened, "atlas.js", "Atlas", body, {"uploads": uploads, "data": data})
    wanted = of_uploads(atlas, given, again, z)
    inputs = upload_inputs(given, again, z)
    np.testing.assert_allclose([one["inputs"] for one in found], inputs, atol=1e-3)
    np.testing.assert_allclose([one["typicality"] for one in found], wanted.typicality, atol=1e-3)
    assert [one["against"] for one in found] == wanted.against


@pytest.mark.parametrize(
    "share, is_middle, word",
    [(0, False, "0"), (0.005, False, "0"), (0.05, False, "1"), (0.05, True, "1"), (0.5, False, "2"), (1, False, "2"),
     (0.999, True, "3")],
)  # fmt: skip
def test_the_lamp_does_not_take_the_average_for_typical(opened, share, is_middle, word):
    body = """const lamp = new Lamp({ lamp_0: "0", lamp_1: "1", lamp_2: "2", lamp_3: "3" });
        lamp.open({ verdict: () => given });
        lamp.show([]);
        const said = () => lamp.bar.getAttribute("aria-valuetext");
        for (let i = 0; i < 100 && !said(); i++) await new Promise(requestAnimationFrame);
        return said();"""
    assert run(opened, "lamp.js", "Lamp", body, {"typicality": share, "isMiddle": is_middle}) == word


@pytest.mark.parametrize("name", [name for name in NAMES if len(checkpoints.load(name).atlas.named) > 3])
def test_a_locked_direction_is_the_one_that_the_atlas_keeps_still(opened, name):
    atlas = checkpoints.load(name).atlas
    others, wanted = [row.name for row in atlas.named[1:4]], atlas.named[0].vector
    given = atlas_of(name) | {"vector": wanted.tolist(), "probes": atlas.probes[1:4].tolist()}
    body = FETCH + "return atlas.still(given.vector, given.probes.map(probe => ({ probe })));"
    found = run(opened, "atlas.js", "Atlas", body, given)
    np.testing.assert_allclose(found, atlas.still(wanted, others), atol=1e-3 * float(wanted.norm()))
    given["probes"] = [atlas.probes[0].tolist(), atlas.probes[0].tolist()]  # itself, twice
    assert run(opened, "atlas.js", "Atlas", body, given) is None
    with pytest.raises(BadInput):
        atlas.still(wanted, [atlas.named[0].name])


@pytest.mark.parametrize("seed", range(3))
def test_the_way_of_a_walk_is_the_arc_of_latents(opened, seed):
    a, b = torch.randn(2, 24, generator=torch.Generator().manual_seed(seed))
    body = "return given.shares.map(share => arc(given.a, given.b, share));"
    given = {"a": a.tolist(), "b": b.tolist(), "shares": np.linspace(0, 1, 7).tolist()}
    np.testing.assert_allclose(run(opened, "latent.js", "arc", body, given), latents.arc(a, b, 7), atol=1e-5)


def test_a_place_comes_back_from_its_text(opened):
    place = {"model": "avatars", "hash": "0123456789ab", "z": np.linspace(-8, 8, 64).tolist()}
    found = run(opened, "place.js", "read, written", "return read(written(given));", place)
    assert found | {"z": 0} == place | {"z": 0}
    np.testing.assert_allclose(found["z"], place["z"], atol=8 / 32767)


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.avatars", "2.avatars.0123456789ab.AAAA", "1.../../etc.0123456789ab.AAAA", "1.avatars.0123456789aZ.AAAA",
     "1.avatars.0123456789ab.####", "1.avatars.0123456789ab.AAAA", "1.avatars.0123456789ab.AAAA.x", "A" * 1_000_000, None, 7],
)  # fmt: skip
def test_a_text_that_is_no_place_is_none(opened, text):
    assert run(opened, "place.js", "read", "return read(given);", text) is None


@pytest.mark.parametrize("name", NAMES)
def test_the_browser_draws_what_the_model_draws(opened, name):
    """Within three steps of 255, on latents from the middle to far out."""
    model = checkpoints.load(name)
    z = torch.cat([model.atlas.prior("mixture", 3, 1), 2 * model.atlas.prior("normal", 1, 1)])
    given = {"z": z.tolist(), "folder": (checkpoints.root() / name).as_posix(), "runtime": RUNTIME.as_posix()}
    body = (
        WHERE
        + """
        const model = new Model();
        if (!(await model.open(where(given)))) return null;
        const canvas = document.createElement("canvas"), brush = canvas.getContext("2d"), pictures = [];
        for (const z of given.z) {
            const bitmap = await model.decode(z);
            [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
            brush.drawImage(bitmap, 0, 0);
            pictures.push([...brush.getImageData(0, 0, bitmap.width, bitmap.height).data]);
        }
        return pictures;"""
    )
    found = np.array(run(opened, "model.js", "Model", body, given)).reshape(len(z), *[model.model.config.size] * 2, 4)
    drawn = model.decode(z).astype(int)
    assert (found[..., 3] == 255).all()
    assert np.abs(found[..., :3] - drawn).max() <= 3
    assert np.abs(found[..., :3] - drawn).mean() < 1


def drag_until(page, drawer: str) -> None:
    """Turns the first knob to and fro until this one draws."""
    knob = page.locator(f"{BOARD} input[type=range]:visible").first
    for i in range(200):
        knob.press("ArrowRight" if i % 4 < 2 else "ArrowLeft")
        page.wait_for_timeout(100)
        if page.locator(BOARD).get_attribute("data-drawer") == drawer:
            return
    pytest.fail(f"never drawn by the {drawer}")


def test_the_browser_takes_over_and_the_mark_says_so(page, url):
    open_explore(page, url)
    drag_until(page, "browser")
    page.wait_for_function("document.querySelector('.lp-explore .meta').innerText.includes('browser')")
    asked = []
    page.on(
        "request", lambda request: "component_server" in request.url and asked.append(request.post_data_json["fn_name"])
    )
    before = shown(page)
    page.locator(f"{BOARD} input[type=range]:visible").first.press("End")
    page.wait_for_function(f"old => document.querySelector('{CANVAS}').toDataURL() !== old", arg=before)
    assert "decode" not in asked


@pytest.mark.parametrize("broken", ["**/ort-wasm-simd-threaded.bin", "**/decoder.onnx*", "**/model_worker.js"])
def test_where_the_browser_cannot_draw_the_server_does(page, url, broken, complaints):
    page.route(broken, lambda route: route.fulfill(status=404, body="gone"))
    with page.expect_console_message(lambda message: "no model in this browser" in message.text):
        open_explore(page, url)
    before = shown(page)
    act(page, "surprise")
    page.wait_for_function(f"old => document.querySelector('{CANVAS}').toDataURL() !== old", arg=before)
    drag_until(page, "server")
    complaints[:] = [text for text in complaints if "404" not in text and "no decoder" not in text]


@pytest.mark.skipif(len(NAMES) < 3, reason="needs three models")
def test_models_that_are_switched_in_a_hurry_draw_with_their_own_weights(page, url):
    alike = [name for name in NAMES if checkpoints.load(name).model.config.latent == 128] or NAMES[-2:]
    open_explore(page, url)
    for name in (*alike, *alike[::-1], *alike):
        page.locator(f"#lp-header [data-id={name}]").click()
    page.wait_for_selector(f"{BOARD}[data-model={name}][data-local=ready]")
    before = shown(page)
    act(page, "surprise")
    page.wait_for_function(f"old => document.querySelector('{CANVAS}').toDataURL() !== old", arg=before)
    assert f"#at=1.{name}." in link(page)
    settled(page)
    assert page.locator(BOARD).get_attribute("data-drawer") == "browser"
