"""The Explore tab in a browser: what a visitor does there, and what they see of it."""

import base64
import re

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from tests.bench import page as bench
from vae import checkpoints
from vae.pictures import images

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
pytestmark = pytest.mark.browser

BOARD, CANVAS = ".lp-explore", ".lp-explore .pic canvas"
GREY = next((name for name in checkpoints.names() if checkpoints.load(name).model.config.channels == 1), None)

PORTRAITS = next((name for name in checkpoints.names() if checkpoints.load(name).recipe.framing == "portrait"), None)


def open_explore(page, url: str) -> None:
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_selector(f"{BOARD} .knob .end img[src^='data:image/jpeg']")


def wait_for_another(page, before: str) -> str:
    """What the canvas shows, as a data URL, once that is something else than before."""
    page.wait_for_function(f"old => document.querySelector('{CANVAS}').toDataURL() !== old", arg=before)
    return shown(page)


def shown(page) -> str:
    return page.evaluate(f"document.querySelector('{CANVAS}').toDataURL()")


def readings(page) -> list[str]:
    return [field.input_value() for field in page.locator(f"{BOARD} .knob .value").all()]


def act(page, name: str) -> None:
    page.locator(f"{BOARD} [data-act={name}]").click()


def test_the_first_picture_comes_with_the_page_itself(page, url):
    page.route("**/component_server/**", lambda route: None)  # the server answers nothing
    page.route("**/gradio_api/run/**", lambda route: None)
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_selector("[data-drawn]")
    model = checkpoints.load(checkpoints.names()[0])
    page.wait_for_selector(CANVAS)
    start = model.encode(model.atlas.examples[:1])
    page.wait_for_function(IS_ALIKE, arg=images.data_url(model.decode(start)[0]))


def test_the_picture_follows_a_knob_and_comes_back(page, url):
    open_explore(page, url)
    before, read = shown(page), readings(page)
    page.locator(f"{BOARD} input[type=range]").first.press("End")
    after = wait_for_another(page, before)
    expect(page.locator(f"{BOARD} .knob .value").first).not_to_have_value(read[0])
    act(page, "undo")
    assert wait_for_another(page, after)
    expect(page.locator(f"{BOARD} .knob .value").first).to_have_value(read[0])
    act(page, "redo")
    expect(page.locator(f"{BOARD} .knob .value").first).not_to_have_value(read[0])
    act(page, "reset")
    expect(page.locator(f"{BOARD} .knob .value").first).to_have_value(read[0])


def test_the_picture_at_the_end_of_a_drag_is_the_one_that_the_server_draws_there(page, url):
    page.add_init_script("delete window.Worker;")  # so that the server draws
    asked = []
    page.on("request", lambda request: "component_server" in request.url and asked.append(request.post_data_json))
    open_explore(page, url)
    slider = page.locator(f"{BOARD} input[type=range]").first
    box = slider.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    for step in range(40):
        page.mouse.move(box["x"] + (step * 37) % box["width"], y)
    page.mouse.move(box["x"] + 0.25 * box["width"], y)
    page.mouse.up()
    value = float(slider.input_value())
    model = checkpoints.load(checkpoints.names()[0])
    knob = next(k for k in model.atlas.knobs if k.key == page.locator(f"{BOARD} .knob").first.get_attribute("data-key"))

    def last() -> torch.Tensor:
        return torch.tensor([question["data"]["z"] for question in asked if question["fn_name"] == "decode"][-1])

    for _ in range(300):  # the last position waits its turn while others are under way
        if abs(float(last() @ knob.probe) - knob.offset - value) < 1e-2:
            break
        page.wait_for_timeout(100)
    assert last() @ knob.probe - knob.offset == pytest.approx(value, abs=1e-2)
    page.wait_for_function(IS_ALIKE, arg=images.data_url(model.decode(last()[None])[0]))


# Whether the canvas shows this picture, but for rounding.
IS_ALIKE = f"""async url => {{
    const [shown, image] = [document.querySelector("{CANVAS}"), new Image()];
    image.src = url;
    await image.decode();
    const other = Object.assign(document.createElement("canvas"), {{width: shown.width, height: shown.height}});
    other.getContext("2d").drawImage(image, 0, 0);
    const pixels = canvas => canvas.getContext("2d").getImageData(0, 0, shown.width, shown.height).data;
    const [a, b] = [pixels(shown), pixels(other)];
    return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length < 1;
}}"""


def link(page) -> str:
    """The link that Share offers, as it is shown where the clipboard is out of reach."""
    page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject())")
    act(page, "share")
    page.wait_for_function(f"document.querySelector('{BOARD} .note').innerText.includes('#at=')")
    return page.locator(f"{BOARD} .note").inner_text().split()[-1]


def latent_of(text: str) -> np.ndarray:
    numbers = text.split("#at=")[1].split(".")[3]
    return np.frombuffer(base64.urlsafe_b64decode(numbers + "=" * (-len(numbers) % 4)), "<i2") / 32767 * 8


def settled(page) -> str:
    """What the model draws where the page is, once the canvas shows it: a data URL. The latent arrives before its picture."""
    at = link(page)
    model = checkpoints.load(at.split("#at=1.")[1].split(".")[0])
    drawn = images.data_url(model.decode(latent_of(at)[None])[0])
    page.wait_for_function(IS_ALIKE, arg=drawn)
    return drawn


def test_a_link_reopens_the_same_picture_and_another_model_on_the_way(page, url):
    open_explore(page, url)
    name = checkpoints.names()[-1]
    before = shown(page)
    page.locator(f"#lp-header [data-id={name}]").click()
    page.wait_for_selector(f"{BOARD}[data-model={name}]")
    before = wait_for_another(page, before)
    act(page, "surprise")
    wait_for_another(page, before)
    there, at = settled(page), link(page)
    page.goto("about:blank")
    page.goto(at, wait_until="domcontentloaded")
    page.wait_for_selector(f"{BOARD}[data-model={name}]")
    page.wait_for_function(IS_ALIKE, arg=there)


WRONG = "A" * 16
STRANGE = {
    "#at=": "does not say where it belongs",
    "#at=1.avatars": "does not say where it belongs",
    "#at=" + "A" * 1_000_000: "does not say where it belongs",
    f"#at=1.nobody.0123456789ab.{WRONG}": "a model that is not here",
    f"#at=1.{checkpoints.names()[0]}.0123456789ab.{WRONG}": "other weights",
    f"#at=1.{checkpoints.names()[0]}.{checkpoints.load(checkpoints.names()[0]).digest}.{WRONG}": "other weights",
}


@pytest.mark.parametrize("at", STRANGE, ids=range(len(STRANGE)))
def test_a_strange_link_gets_a_sentence_and_the_page_as_it_is(page, url, at):
    page.goto(url + "/" + at, wait_until="domcontentloaded")
    expect(page.locator(f"{BOARD} .note")).to_contain_text(STRANGE[at])
    page.wait_for_selector(f"{BOARD} .knob .end img[src^='data:image/jpeg']")
    before = shown(page)
    act(page, "surprise")
    wait_for_another(page, before)


def test_a_kept_picture_knows_its_place(page, url, tmp_path):
    open_explore(page, url)
    before = shown(page)
    act(page, "surprise")
    wait_for_another(page, before)
    there = settled(page)
    with page.expect_download() as kept:
        act(page, "keep")
    kept.value.save_as(tmp_path / "kept.png")
    with Image.open(tmp_path / "kept.png") as picture:
        picture.load()
        assert picture.size == (512, 512)
        assert picture.text["latent-playground"].startswith(f"1.{checkpoints.names()[0]}.")
    before = shown(page)
    act(page, "reset")
    wait_for_another(page, before)
    page.locator(f"{BOARD} input[type=file]").set_input_files(tmp_path / "kept.png")
    page.wait_for_function(IS_ALIKE, arg=there)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "1.avatars.0123456789ab.AAAAAAAA", "1.nobody.0123456789ab.AAAA", "x" * 100_000]
)
def test_a_picture_with_a_forged_place_is_a_picture_like_others(page, url, tmp_path, text):
    info = PngImagePlugin.PngInfo()
    info.add_text("latent-playground", text)
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "forged.png", pnginfo=info)
    open_explore(page, url)
    before = shown(page)
    page.locator(f"{BOARD} input[type=file]").set_input_files(tmp_path / "forged.png")
    wait_for_another(page, before)
    expect(page.locator(f"{BOARD} .original")).to_be_visible()
    box, small = page.locator(CANVAS).bounding_box(), page.locator(f"{BOARD} .original").bounding_box()
    assert small["width"] < 0.4 * box["width"]


def test_a_locked_knob_stays_while_another_moves(page, url):
    open_explore(page, url)
    page.wait_for_selector(f"{BOARD}[data-atlas]")
    atlas = checkpoints.load(checkpoints.names()[0]).atlas
    rows = page.locator(f"{BOARD} .knob")
    keys = [row.get_attribute("data-key") for row in rows.all()]
    places = [[row.name for row in atlas.named].index(key.partition(":")[2]) for key in keys]
    tangle = (atlas.entanglement[places][:, places] - torch.eye(len(keys))).abs()
    mover, held = divmod(int(tangle.argmax()), len(keys))  # the two that pull at each other most

    def reading() -> float:
        return float(readings(page)[held].replace("−", "-"))

    slider, lock = rows.nth(mover).locator("input[type=range]"), rows.nth(held).locator(".lock")
    values, at_rest, before = rows.locator(".value"), readings(page), reading()
    slider.press("End")
    expect(values.nth(held)).not_to_have_value(at_rest[held])
    assert abs(reading() - before) > 0.2
    at_end = readings(page)[mover]
    act(page, "reset")
    expect(values.nth(mover)).to_have_value(at_rest[mover])
    lock.click()
    expect(lock).to_have_attribute("aria-pressed", "true")
    slider.press("End")
    expect(values.nth(mover)).to_have_value(at_end)
    assert reading() == pytest.approx(before, abs=0.11)
    assert float(slider.input_value()) == pytest.approx(float(slider.get_attribute("max")), abs=0.1)


def test_a_value_can_be_typed_and_a_double_click_returns(page, url):
    open_explore(page, url)
    field, before = page.locator(f"{BOARD} .knob .value").first, readings(page)[0]
    field.fill("1.3")
    field.press("Enter")
    expect(field).to_have_value("+1.3")
    field.fill("no number")
    field.press("Tab")
    expect(field).to_have_value("+1.3")
    page.locator(f"{BOARD} .knob input[type=range]").first.dblclick()
    expect(field).to_have_value(before)


def test_the_lamp_tells_the_likely_from_the_made_up(page, url):
    open_explore(page, url)
    lamp = page.get_by_role("meter", name="how typical this picture is")
    expect(lamp).to_have_attribute("aria-valuetext", "like what it has seen")
    for knob in page.locator(f"{BOARD} .knob input[type=range]").all()[:4]:
        knob.press("End")
    expect(lamp).to_have_attribute("aria-valuetext", "making it up")
    assert int(lamp.get_attribute("aria-valuenow")) <= 1


def test_the_dot_on_the_map_goes_where_it_is_dragged_and_by_keys(page, url):
    open_explore(page, url)
    field, dot = page.locator(f"{BOARD} .field"), page.locator(f"{BOARD} .field .dot")
    field.scroll_into_view_if_needed()
    before, box = shown(page), field.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.3 * box["height"], steps=5)
    page.mouse.up()
    moved = wait_for_another(page, before)
    page.wait_for_function(f"Math.abs(parseFloat(document.querySelector('{BOARD} .dot').style.left) - 70) < 0.5")
    place = dot.bounding_box()
    assert place["x"] + place["width"] / 2 == pytest.approx(box["x"] + 0.7 * box["width"], abs=2)
    assert place["y"] + place["height"] / 2 == pytest.approx(box["y"] + 0.3 * box["height"], abs=2)
    said = dot.get_attribute("aria-valuetext")
    dot.press("ArrowLeft")
    wait_for_another(page, moved)
    expect(dot).not_to_have_attribute("aria-valuetext", said)
    page.get_by_label("from left to right").select_option(index=0)
    name = page.locator(f"{BOARD} .knob label").first.inner_text()
    expect(dot).to_have_attribute("aria-valuetext", re.compile(f"^{name}"))


def test_wandering_goes_on_until_it_is_stopped_and_is_one_step_to_undo(page, url):
    open_explore(page, url)
    start = shown(page)
    act(page, "wander")
    first = wait_for_another(page, start)
    second = wait_for_another(page, first)
    wait_for_another(page, second)
    act(page, "wander")
    expect(page.locator(f"{BOARD} [data-act=wander]")).to_have_text("Wander")
    settled(page)
    rest = link(page)
    page.evaluate(
        "new Promise(done => { let n = 0; const next = () => (++n > 30 ? done() : requestAnimationFrame(next)); next(); })"
    )
    assert link(page) == rest
    act(page, "undo")
    page.wait_for_function(IS_ALIKE, arg=start)
    act(page, "wander")
    wait_for_another(page, shown(page))
    act(page, "reset")  # another hand ends the walk
    expect(page.locator(f"{BOARD} [data-act=wander]")).to_have_text("Wander")


def test_doubts_are_shown_and_end_where_they_began(page, url):
    open_explore(page, url)
    expect(page.locator(f"{BOARD} [data-act=blink]")).to_be_hidden()
    before = shown(page)
    page.get_by_role("button", name="example 2").click()
    wait_for_another(page, before)
    expect(page.locator(f"{BOARD} .ring")).to_be_visible()
    encoded, at, picture = settled(page), link(page), shown(page)
    act(page, "blink")
    wait_for_another(page, picture)
    expect(page.locator(f"{BOARD} [data-act=blink]")).to_be_enabled()
    assert link(page) == at
    page.wait_for_function(IS_ALIKE, arg=encoded)
    act(page, "undo")  # one step, to where the example came from
    page.wait_for_function(IS_ALIKE, arg=before)


def test_two_knobs_against_each_other_are_one_picture_to_keep(page, url, tmp_path):
    open_explore(page, url)
    act(page, "grid")
    canvas = page.locator(".lp-grid canvas")
    page.wait_for_function("""() => {
        const canvas = document.querySelector(".lp-grid canvas");
        return canvas.getContext("2d").getImageData(canvas.width - 5, canvas.height - 5, 1, 1).data[3] === 255;
    }""")
    expect(canvas).to_have_attribute("aria-label", re.compile("from left to right"))
    with page.expect_download() as kept:
        page.locator(".lp-grid").get_by_role("button", name="Keep").click()
    kept.value.save_as(tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        tiles = np.asarray(picture.convert("RGB")).reshape(7, 96, 7, 96, 3).swapaxes(1, 2).reshape(49, -1)
    assert len({tile.tobytes() for tile in tiles}) == 49
    page.get_by_role("button", name="Close").click()
    expect(canvas).to_be_hidden()


def test_without_a_camera_there_is_a_sentence(page, url):
    page.add_init_script("navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('none'))")
    open_explore(page, url)
    act(page, "webcam")
    expect(page.locator(f"{BOARD} .note")).to_contain_text("no camera")


def test_a_picture_from_the_camera_is_encoded(page, url):
    page.add_init_script("""
        const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
        canvas.getContext("2d").fillRect(40, 40, 90, 90);
        navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(10);
        setInterval(() => canvas.getContext("2d").fillRect(200 * Math.random(), 40, 20, 90), 100);""")
    open_explore(page, url)
    before = shown(page)
    act(page, "webcam")
    page.wait_for_function("document.querySelector('.lp-webcam video').videoWidth > 0")
    page.get_by_role("button", name="Take the picture").click()
    wait_for_another(page, before)


def test_surprises_differ_and_buttons_say_what_they_do(page, url):
    open_explore(page, url)
    first = shown(page)
    act(page, "surprise")
    second = wait_for_another(page, first)
    act(page, "surprise")
    wait_for_another(page, second)


def test_an_example_is_a_starting_point(page, url):
    open_explore(page, url)
    before = shown(page)
    page.get_by_role("button", name="example 2").click()
    wait_for_another(page, before)


def test_a_later_choice_is_not_undone_by_the_answer_to_an_earlier_one(page, url):
    page.add_init_script("delete window.Worker;")  # so that the server answers
    held = []

    def answer(route):
        question = route.request.post_data_json
        held.append(route) if question["data"].get("example") == 1 else route.continue_()

    page.route("**/component_server/**", answer)
    open_explore(page, url)
    page.get_by_role("button", name="example 2").click()
    page.get_by_role("button", name="example 3").click()
    model = checkpoints.load(checkpoints.names()[0])
    drawn = images.data_url(model.decode(model.encode(model.atlas.examples[2:3]))[0])
    page.wait_for_function(IS_ALIKE, arg=drawn)
    with page.expect_response("**/component_server/**"):
        held[0].continue_()
    page.evaluate("new Promise(done => setTimeout(done, 300))")  # nothing is to happen, so there is nothing to wait for
    assert page.evaluate(IS_ALIKE, drawn)


def test_reset_takes_away_what_was_brought(page, url):
    open_explore(page, url)
    page.get_by_role("button", name="example 2").click()
    brought = page.locator(f"{BOARD} .original, {BOARD} [data-act=closer], {BOARD} [data-act=blink]")
    for one in brought.all():
        expect(one).to_be_visible()
    act(page, "reset")
    for one in brought.all():
        expect(one).to_be_hidden()


def test_what_was_said_of_a_picture_goes_with_it(page, url):
    open_explore(page, url)
    link(page)
    page.locator(f"{BOARD} input[type=range]").first.press("End")
    expect(page.locator(f"{BOARD} .note")).to_be_hidden()


def test_a_walk_that_nobody_sees_ends(page, url):
    open_explore(page, url)
    act(page, "wander")
    wait_for_another(page, shown(page))
    page.get_by_role("tab", name="Sample").click()
    expect(page.locator(f"{BOARD} [data-act=wander]")).to_have_text("Wander")


def test_the_page_says_that_it_is_english(browser, url):
    page = browser.new_context(locale="ar-EG").new_page()
    open_explore(page, url)
    page.get_by_text("Settings").or_(page.locator("footer")).first.wait_for()
    assert page.evaluate("document.documentElement.lang") == "en"
    page.context.close()


def test_a_photograph_of_something_else_gets_a_friendly_sentence(page, url, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    (tmp_path / "photo.jpg").write_bytes(images.encode(noise, "jpeg"))
    open_explore(page, url)
    before = shown(page)
    page.locator(f"{BOARD} input[type=file]").set_input_files(tmp_path / "photo.jpg")
    wait_for_another(page, before)
    expect(page.locator(f"{BOARD} .note")).to_contain_text("never saw a picture like that")


def test_a_search_brings_the_picture_nearer_to_what_was_brought(page, url):
    open_explore(page, url)
    expect(page.locator(f"{BOARD} [data-act=closer]")).to_be_hidden()
    before = shown(page)
    page.get_by_role("button", name="example 2").click()
    wait_for_another(page, before)
    before = settled(page)
    encoded = shown(page)
    act(page, "closer")
    wait_for_another(page, encoded)
    expect(page.locator(f"{BOARD} [data-act=closer]")).to_be_enabled(timeout=60_000)
    act(page, "undo")  # the whole search is one step
    page.wait_for_function(IS_ALIKE, arg=before)


@pytest.mark.skipif(PORTRAITS is None, reason="no checkpoint of portraits")
def test_eyes_can_be_set_by_hand(page, url, tmp_path):
    noise = np.full((200, 300, 3), 128, dtype=np.uint8)
    noise[80:120, 100:200] = (200, 150, 120)
    (tmp_path / "photo.png").write_bytes(images.encode(noise))
    open_explore(page, url)
    page.locator(f"#lp-header [data-id={PORTRAITS}]").click()
    page.wait_for_selector(f"{BOARD}[data-model={PORTRAITS}]")
    page.wait_for_selector(f"{BOARD} .knob .end img[src^='data:image/jpeg']")
    expect(page.locator(f"{BOARD} [data-act=eyes]")).to_be_hidden()
    before = shown(page)
    page.locator(f"{BOARD} input[type=file]").set_input_files(tmp_path / "photo.png")
    before = wait_for_another(page, before)
    expect(page.locator(f"{BOARD} .note")).to_contain_text("the middle of the picture was taken")
    act(page, "eyes")
    photo, cross = page.locator(".lp-eyes img").bounding_box(), page.get_by_role("button", name="eye 1")
    at = cross.bounding_box()
    page.mouse.move(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
    page.mouse.down()
    page.mouse.move(photo["x"] + 0.4 * photo["width"], photo["y"] + 0.5 * photo["height"], steps=4)
    page.mouse.up()
    moved = cross.bounding_box()
    assert moved["x"] + moved["width"] / 2 == pytest.approx(photo["x"] + 0.4 * photo["width"], abs=2)
    other = page.get_by_role("button", name="eye 2")
    other.focus()
    for _ in range(10):
        page.keyboard.press("ArrowDown")
    page.locator(".lp-eyes").get_by_role("button", name="Done").click()
    wait_for_another(page, before)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken"])
def test_a_file_that_is_no_picture_gets_a_sentence_and_changes_nothing(page, url, tmp_path, content):
    (tmp_path / "picture.png").write_bytes(content)
    open_explore(page, url)
    before = shown(page)
    page.locator(f"{BOARD} input[type=file]").set_input_files(tmp_path / "picture.png")
    expect(page.locator(f"{BOARD} .note.error")).to_contain_text(re.compile(r"\w.*\."))
    assert shown(page) == before


@pytest.mark.skipif(GREY is None, reason="no grey checkpoint")
def test_a_drawn_digit_becomes_a_picture(page, url):
    open_explore(page, url)
    page.locator(f"#lp-header [data-id={GREY}]").click()
    page.wait_for_selector(f"{BOARD}[data-model={GREY}]")
    act(page, "draw")
    expect(page.get_by_role("button", name="Done")).to_be_disabled()
    box = page.get_by_role("img", name="the board to draw on").bounding_box()
    page.wait_for_selector(f"{BOARD} .knob .end img[src^='data:image/jpeg']")
    before = shown(page)
    page.mouse.move(box["x"] + 140, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 230, steps=8)
    page.mouse.up()
    page.get_by_role("button", name="Done").click()
    wait_for_another(page, before)
    expect(page.locator(f"{BOARD} .note")).to_be_hidden()


def test_every_model_opens(page, url):
    open_explore(page, url)
    for name in checkpoints.names()[1:]:
        before = shown(page)
        page.locator(f"#lp-header [data-id={name}]").click()
        page.wait_for_selector(f"{BOARD}[data-model={name}]")
        wait_for_another(page, before)


def test_two_tabs_of_one_visitor_do_not_mix(page, url):
    open_explore(page, url)
    other, name = page.context.new_page(), checkpoints.names()[-1]
    open_explore(other, url)
    before = shown(other)
    other.locator(f"#lp-header [data-id={name}]").click()
    other.wait_for_selector(f"{BOARD}[data-model={name}]")
    wait_for_another(other, before)
    for tab, model in ((page, checkpoints.names()[0]), (other, name)):
        tab.bring_to_front()
        before = shown(tab)
        act(tab, "surprise")
        wait_for_another(tab, before)
        assert f"#at=1.{model}." in link(tab)
        settled(tab)


@pytest.mark.skipif(len(checkpoints.names()) < 2, reason="needs two models")
def test_a_visitor_who_stayed_through_a_restart_goes_on(browser, tmp_path):
    script, own = bench.ROOT / "app.py", {"GRADIO_TEMP_DIR": str(tmp_path)}
    first, other = checkpoints.names()[:2]
    page = browser.new_context().new_page()
    page.route(
        "**/app_id", lambda route: route.abort()
    )  # else Gradio sees the server come back, and loads the page anew
    with bench.server(script, **own) as (process, address):
        bench.wait_for(process, address)
        open_explore(page, address)
        page.wait_for_selector(f"{BOARD}[data-local=ready][data-atlas=known]")
    before = shown(page)
    # Not by the mouse: Gradio's own word on the lost connection lies over the models until somebody closes it.
    page.locator(f".lp-picker [data-id={other}]").evaluate("button => button.click()")
    expect(page.locator(".lp-toast")).to_contain_text("did not come through")
    expect(page.locator(f".lp-picker [data-id={first}]")).to_have_attribute("aria-pressed", "true")
    act(page, "surprise")  # this browser draws and knows the atlas
    wait_for_another(page, before)
    with bench.server(script, GRADIO_SERVER_PORT=address.rpartition(":")[2], **own) as (process, _):
        bench.wait_for(process, address)
        page.locator(f".lp-picker [data-id={other}]").evaluate("button => button.click()")
        page.wait_for_selector(f"{BOARD}[data-model={other}]")
    page.context.close()


@pytest.mark.parametrize("width", [360, 390])
def test_nothing_is_wider_than_a_phone(page, url, width):
    page.set_viewport_size({"width": width, "height": 780})
    open_explore(page, url)
    page.get_by_role("button", name="example 2").click()
    page.wait_for_selector(f"{BOARD} .original:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_control_has_a_name(page, url):
    open_explore(page, url)
    page.get_by_text("The raw numbers z").click()
    nameless = page.evaluate("""() => {
        const label = one => one.getAttribute("aria-label") || one.innerText || one.labels?.[0]?.innerText || "";
        const all = [...document.querySelectorAll(".lp-explore :is(button, input, select, [role])")];
        return all.filter(one => one.getAttribute("role") !== "status" && !label(one).trim()).map(one => one.outerHTML);
    }""")
    assert nameless == []


def test_knobs_work_by_keyboard_and_say_what_they_are(page, url):
    open_explore(page, url)
    slider = page.locator(f"{BOARD} input[type=range]").first
    name = page.locator(f"{BOARD} .knob label").first.inner_text()
    expect(page.get_by_role("slider", name=name, exact=True)).to_be_visible()
    before = shown(page)
    slider.focus()
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    wait_for_another(page, before)


def test_the_model_says_where_it_comes_from_and_what_it_cannot_do(page, url):
    open_explore(page, url)
    page.get_by_text("About this model").click()
    card = checkpoints.load(checkpoints.names()[0]).recipe.card
    for part in ("about", "credit", "failures"):
        expect(page.get_by_text(card[part])).to_be_visible()


def test_folds_hold_the_rest_of_the_knobs(page, url):
    open_explore(page, url)
    count = page.locator(f"{BOARD} .knob").count()
    page.get_by_text("The raw numbers z").click()
    page.wait_for_function(f"document.querySelectorAll('{BOARD} .knob').length > {count}")


def test_nothing_jumps_after_the_first_picture(page, url):
    page.add_init_script("""
        window.shift = 0;
        new PerformanceObserver(list => { for (const e of list.getEntries()) if (!e.hadRecentInput) window.shift += e.value; })
            .observe({type: "layout-shift", buffered: true});""")
    open_explore(page, url)
    assert page.evaluate("window.shift") < 0.02


def test_on_a_phone_the_picture_stays_in_view(page, url):
    page.set_viewport_size({"width": 390, "height": 844})
    open_explore(page, url)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(f"{BOARD} .knob").nth(7).scroll_into_view_if_needed()
    page.mouse.wheel(0, 400)
    expect(page.locator(CANVAS)).to_be_in_viewport(ratio=1)
