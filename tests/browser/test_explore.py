"""The Explore tab in a browser: what a visitor does there, and what they see of it."""

import re

import numpy as np
import pytest
import torch

from vae import checkpoints, images

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
pytestmark = pytest.mark.browser

BOARD, CANVAS = ".lp-explore", ".lp-explore .pic canvas"
GREY = next((name for name in checkpoints.names() if checkpoints.load(name).model.config.channels == 1), None)

PORTRAITS = next((name for name in checkpoints.names() if checkpoints.load(name).recipe["framing"] == "portrait"), None)


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
    return page.locator(f"{BOARD} .knob output").all_text_contents()


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
    assert readings(page)[0] != read[0]
    act(page, "undo")
    assert wait_for_another(page, after)
    expect(page.locator(f"{BOARD} .knob output").first).to_have_text(read[0])
    act(page, "redo")
    expect(page.locator(f"{BOARD} .knob output").first).not_to_have_text(read[0])
    act(page, "reset")
    expect(page.locator(f"{BOARD} .knob output").first).to_have_text(read[0])


def test_the_picture_at_the_end_of_a_drag_is_the_one_that_the_model_draws_there(page, url):
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
    knob = next(
        k for k in model.atlas.knobs() if k.key == page.locator(f"{BOARD} .knob").first.get_attribute("data-key")
    )
    (z,) = [question["data"]["z"] for question in asked if question["fn_name"] == "decode"][-1:]
    assert torch.tensor(z) @ knob.probe - knob.offset == pytest.approx(value, abs=1e-2)
    page.wait_for_function(IS_ALIKE, arg=images.data_url(model.decode([z])[0]))


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
    page.get_by_role("button", name="example 2").click()
    before = wait_for_another(page, shown(page))
    act(page, "closer")
    wait_for_another(page, before)
    expect(page.locator(f"{BOARD} [data-act=closer]")).to_be_enabled(timeout=60_000)
    act(page, "undo")  # the whole search is one step
    page.wait_for_function(f"old => document.querySelector('{CANVAS}').toDataURL() === old", arg=before)


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
    box = page.locator(".lp-draw canvas").bounding_box()
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
    card = checkpoints.load(checkpoints.names()[0]).recipe["card"]
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
