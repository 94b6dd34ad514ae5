"""The Sample and Morph tabs in a browser: throw, pick, send on, take home; two pictures, a film between them."""

import zipfile

import pytest
from PIL import Image

from vae import checkpoints

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
expect.set_options(timeout=30_000)
pytestmark = pytest.mark.browser

TILES, CLOSER = "#sample-gallery .tiles img", "#sample-gallery .closer img"
PORTRAITS = next((name for name in checkpoints.names() if checkpoints.load(name).recipe.framing == "portrait"), None)
GREY = next((name for name in checkpoints.names() if checkpoints.load(name).model.config.channels == 1), None)


def open_tab(page, url: str, name: str) -> None:
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_selector(".lp-explore[data-local=ready]")  # then one decoder draws all pictures, to the same bytes
    page.get_by_role("tab", name=name).click()
    page.wait_for_selector({"Sample": TILES, "Morph": "#morph-film .strip img"}[name])


def source(page, at: str) -> str:
    return page.locator(at).first.get_attribute("src")


def another(page, at: str, before: str) -> str:
    """Waits until the first picture there is another one than before, and gives it."""
    page.wait_for_function(
        "([at, before]) => document.querySelector(at)?.getAttribute('src') !== before", arg=[at, before]
    )
    return source(page, at)


def wait_for_picture(page, at: str, wanted: str) -> None:
    """Waits until the picture there looks like the one of the URL: decoded in another batch, a pixel may be one level off."""
    page.wait_for_selector(at)  # a tab that was never open is not on the page yet
    page.wait_for_function(
        """async ([at, wanted]) => {
          const [a, b] = await Promise.all([document.querySelector(at).src, wanted].map(async url => {
            const picture = Object.assign(new Image(), { src: url });
            await picture.decode();
            const canvas = new OffscreenCanvas(32, 32).getContext("2d");
            canvas.drawImage(picture, 0, 0, 32, 32);
            return canvas.getImageData(0, 0, 32, 32).data;
          }));
          return a.reduce((sum, value, place) => sum + Math.abs(value - b[place]), 0) / a.length < 1;
        }""",
        arg=[at, wanted],
    )


def test_a_seed_that_is_typed_in_again_throws_the_same_pictures(page, url):
    open_tab(page, url, "Sample")
    expect(page.locator(TILES)).to_have_count(32)
    first = source(page, TILES)
    page.locator("#sample-again").click()
    second = another(page, TILES, first)
    expect(page.locator("#sample-seed input")).not_to_have_value("2026")
    page.locator("#sample-seed input").fill("2026")
    page.keyboard.press("Enter")
    assert another(page, TILES, second) == first


def test_how_many_how_adventurous_and_where_change_the_pictures(page, url):
    open_tab(page, url, "Sample")
    before = source(page, TILES)
    page.locator("#sample-temperature input[type=range]").fill("0")
    before = another(page, TILES, before)
    page.get_by_label("bell curve").click(force=True)
    another(page, TILES, before)
    page.locator("#sample-count input[type=range]").fill("3")
    expect(page.locator(TILES)).to_have_count(3)


def test_the_left_out_can_be_looked_at_and_more_like_one_be_thrown(page, url):
    open_tab(page, url, "Sample")
    best, heading = source(page, TILES), page.locator("#sample-gallery h3")
    expect(heading).to_contain_text("The best 32 of 256 throws")
    heading.get_by_role("button", name="224 left out").click()
    expect(page.locator(TILES)).to_have_count(64)
    odd = another(page, TILES, best)
    heading.get_by_role("button", name="next").click()
    another(page, TILES, odd)
    heading.get_by_role("button", name="Back").click()
    expect(page.locator(TILES)).to_have_count(32)
    page.wait_for_function("([at, best]) => document.querySelector(at).src === best", arg=[TILES, best])
    expect(page.locator("#sample-spread")).to_be_hidden()
    page.locator(TILES).nth(3).click()
    page.locator("#sample-gallery [data-event=around]").click()
    near = another(page, TILES, best)
    expect(page.get_by_label("near the one you picked")).to_be_checked()
    page.locator("#sample-spread input[type=range]").fill("0.9")
    another(page, TILES, near)
    page.locator("#sample-draw input[type=range]").fill("32")
    expect(heading).to_contain_text("32 throws")
    expect(heading.get_by_role("button")).to_have_count(0)
    page.get_by_label("where the data lives").click(force=True)
    expect(page.locator("#sample-spread")).to_be_hidden()


def test_a_picked_picture_goes_to_morph_again_and_again_and_to_explore(page, url):
    open_tab(page, url, "Sample")
    page.locator(TILES).nth(4).click()
    picked = page.locator(TILES).nth(4).get_attribute("src")
    assert source(page, CLOSER) == picked
    page.locator("#sample-gallery [data-event=morph]").click()
    wait_for_picture(page, "#morph-a .given", picked)
    page.wait_for_selector("#morph-film .strip img")
    page.locator("#morph-film input").fill("0")
    wait_for_picture(page, "#morph-film .large", picked)
    before = source(page, "#morph-a .given")
    page.locator("#morph-a .starts button").nth(1).click()
    another(page, "#morph-a .given", before)
    page.get_by_role("tab", name="Sample").click()
    page.locator("#sample-gallery [data-event=morph]").click()  # the same one: A must follow once more
    wait_for_picture(page, "#morph-a .given", picked)

    page.get_by_role("tab", name="Sample").click()
    page.locator("#sample-gallery [data-event=explore]").click()
    expect(page.get_by_role("tab", name="Explore")).to_have_attribute("aria-selected", "true")


def test_all_pictures_can_be_taken_home(page, url, tmp_path):
    open_tab(page, url, "Sample")
    with page.expect_download() as waiting:
        page.locator("#sample-download").click()
    waiting.value.save_as(tmp_path / "throw.zip")
    with zipfile.ZipFile(tmp_path / "throw.zip") as archive:
        assert len(archive.namelist()) == 32


def test_two_uploads_are_morphed_scrubbed_and_taken_home(page, url, tmp_path):
    colour = Image.linear_gradient("L").convert("RGB")
    colour.save(tmp_path / "a.png")
    colour.rotate(90).resize((900, 600)).save(tmp_path / "b.jpg")
    open_tab(page, url, "Morph")
    for side, name in (("a", "a.png"), ("b", "b.jpg")):
        before = source(page, f"#morph-{side} .given")
        page.locator(f"#morph-{side} input[type=file]").set_input_files(tmp_path / name)
        another(page, f"#morph-{side} .given", before)
        expect(page.locator(f"#morph-{side} p")).not_to_be_empty()  # no model was trained on gradients
    for share, side in (("0", "a"), ("16", "b")):
        page.locator("#morph-film input").fill(share)
        wait_for_picture(page, "#morph-film .large", source(page, f"#morph-{side} .seen"))
    with page.expect_download() as waiting:
        page.locator("#morph-download").click()
    waiting.value.save_as(tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 32  # 17 steps, there and back


def test_steps_way_strip_and_play_move_the_film(page, url):
    open_tab(page, url, "Morph")
    page.locator("#morph-steps input[type=range]").fill("9")
    expect(page.locator("#morph-film input")).to_have_attribute("max", "8")
    expect(page.locator("#morph-film .strip img")).to_have_count(9)
    middle = source(page, "#morph-film .large")
    page.get_by_label("arc").click(force=True)
    another(page, "#morph-film .large", middle)
    page.locator("#morph-film .strip img").last.click()
    expect(page.locator("#morph-film output")).to_have_text("100 % B")
    page.locator("#morph-film .play").click()
    expect(page.locator("#morph-film output")).not_to_have_text("100 % B")


def test_a_number_between_two_is_rounded(page, url):
    open_tab(page, url, "Sample")
    count = page.locator("#sample-count input[type=number]")
    count.fill("3.7")
    count.press("Enter")
    expect(page.locator(TILES)).to_have_count(4)


def test_a_file_that_is_no_picture_is_answered_and_nothing_is_lost(page, url, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    open_tab(page, url, "Morph")
    given, frame = source(page, "#morph-b .given"), source(page, "#morph-film .large")
    page.locator("#morph-b input[type=file]").set_input_files(tmp_path / "text.png")
    expect(page.locator(".lp-toast")).to_contain_text("no picture that can be read")
    assert (source(page, "#morph-b .given"), source(page, "#morph-film .large")) == (given, frame)


@pytest.mark.skipif(GREY is None, reason="no grey model here")
@pytest.mark.skipif(PORTRAITS is None, reason="no checkpoint of portraits")
def test_a_portrait_without_a_face_says_so_and_its_eyes_can_be_set_again_and_again(page, url, tmp_path):
    Image.new("RGB", (300, 200), (60, 120, 180)).save(tmp_path / "scene.png")
    open_tab(page, url, "Morph")
    before = source(page, "#morph-a .given")
    page.locator(f"#lp-header [data-id={PORTRAITS}]").click()
    before = another(page, "#morph-a .given", before)
    eyes = page.locator("#morph-a [data-way=eyes]")
    expect(eyes).to_be_hidden()
    page.locator("#morph-a input[type=file]").set_input_files(tmp_path / "scene.png")
    expect(page.locator("#morph-a [role=status]")).to_contain_text("the middle of the picture was taken")
    before = source(page, "#morph-a .given")
    for _ in range(2):
        eyes.click()
        dialog = page.locator("#morph-a .lp-eyes")
        dialog.get_by_role("button", name="eye 1").press("ArrowDown")
        dialog.get_by_role("button", name="Done").click()
        expect(page.locator("#morph-a [role=status]")).not_to_contain_text("the middle of the picture was taken")
    page.locator("#morph-a .starts button").first.click()
    expect(eyes).to_be_hidden()


def test_another_model_fills_both_tabs_and_takes_a_drawing(page, url):
    open_tab(page, url, "Sample")
    before = source(page, TILES)
    page.locator(f".lp-picker [data-id={GREY}]").click()
    another(page, TILES, before)
    page.get_by_role("tab", name="Morph").click()
    drawing = page.locator("#morph-a [data-way=draw]")
    expect(drawing).to_be_visible()
    side = checkpoints.load(GREY).model.config.size  # the film of the model before is larger
    page.wait_for_function(f"document.querySelector('#morph-film .large').naturalWidth === {side}")
    before, frame = source(page, "#morph-a .given"), source(page, "#morph-film .large")
    drawing.click()
    box = page.locator("dialog[open] canvas").bounding_box()
    page.mouse.move(box["x"] + 140, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 130, box["y"] + 230, steps=6)
    page.mouse.up()
    page.locator("dialog[open] .main").click()
    another(page, "#morph-a .given", before)
    another(page, "#morph-film .large", frame)
