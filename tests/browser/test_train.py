"""The Train tab in a browser: a few seconds of training, a reload in the midst of it, and who sees the result."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
pytestmark = pytest.mark.browser

PATIENCE = 240_000  # milliseconds: a run starts a process that imports torch, learns for 15 s, and draws its map
MODELS, STATUS, DREAMS = ".lp-picker button", "#train-status [data-state]", "[data-row=samples] img"
LATENT, BETA, MINUTES = range(3)


def open_train(page, url: str) -> None:
    page.goto(url, wait_until="domcontentloaded")
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#train-dials input")).to_have_count(3, timeout=30_000)


def expect_state(page, *states: str) -> None:
    expect(page.locator(STATUS)).to_have_attribute("data-state", re.compile("|".join(states)), timeout=PATIENCE)


def test_a_run_outlives_a_reload_and_its_model_is_this_visitors_alone(page, browser, url, tmp_path, complaints):
    open_train(page, url)
    expect(page.locator(MODELS).first).to_be_visible()
    models = page.locator(MODELS).count()
    page.locator("#train-dials input").nth(MINUTES).fill("1")
    expect(page.locator("#train-dials output").nth(MINUTES)).to_have_text("15 s")
    page.locator("#train-start").click()
    expect(page.locator(DREAMS)).to_have_count(10, timeout=PATIENCE)

    page.reload(wait_until="domcontentloaded")
    page.get_by_role("tab", name="Train").click()
    expect_state(page, "learning", "finishing", "done")
    expect(page.locator(DREAMS)).to_have_count(10, timeout=30_000)

    with browser.new_context() as stranger:
        other = stranger.new_page()
        open_train(other, url)
        expect_state(other, "idle")
        if page.locator(STATUS).get_attribute("data-state") == "learning":
            other.locator("#train-start").click()
            expect(other.get_by_text("free in about")).to_be_visible(timeout=30_000)

        expect_state(page, "done")
        with page.expect_download(timeout=PATIENCE) as coming:
            page.locator("#train-take").click()
        coming.value.save_as(tmp_path / "mine.html")
        expect(page.locator(MODELS)).to_have_count(models + 1, timeout=30_000)
        page.locator("#train-explore").click()
        expect(page.get_by_role("tab", name="Explore")).to_have_attribute("aria-selected", "true", timeout=30_000)
        expect(page.locator(MODELS).last).to_have_attribute("aria-pressed", "true")

        other.reload(wait_until="domcontentloaded")
        expect(other.locator(MODELS)).to_have_count(models, timeout=30_000)
        own = page.locator(MODELS).last.get_attribute("data-id")
        assert own not in other.content()

    with browser.new_context(offline=True) as home:  # taken home, it needs nobody
        alone = home.new_page()
        alone.goto((tmp_path / "mine.html").as_uri())
        alone.wait_for_selector(".lp-explore[data-local=ready]", timeout=30_000)
        assert own not in alone.content()


def test_breaking_it_on_purpose_sets_the_dials_and_says_what_will_happen(page, url):
    open_train(page, url)
    said = page.locator("#train-dials output")
    page.get_by_role("button", name="far too strict").click()
    expect(said.nth(BETA)).to_have_text("10")
    expect(page.get_by_text("fall asleep")).to_be_visible()
    page.get_by_role("button", name="two knobs only").click()
    expect(said.nth(LATENT)).to_have_text("2")
    expect(said.nth(BETA)).to_have_text("1")


def test_your_pictures_are_asked_for_before_a_run_starts(page, url):
    open_train(page, url)
    expect(page.locator("#train-files")).to_be_hidden()
    page.get_by_text("Your pictures…").click()
    expect(page.locator("#train-files")).to_be_visible()
    page.locator("#train-start").click()
    expect(page.get_by_text("no pictures to learn from")).to_be_visible(timeout=30_000)
    expect_state(page, "idle")


def own_pictures(folder: Path, count: int) -> list[Path]:
    """Pictures of noise, every other one darker, a table that knows which, and two files that are no pictures."""
    rng = np.random.default_rng(0)
    files = [folder / f"my cat ({number}).png" for number in range(count)]
    for number, file in enumerate(files):
        Image.fromarray(rng.integers(0, 255 >> 2 * (number % 2), (48, 40, 3), dtype=np.uint8)).save(file)
    others = {
        "attributes.csv": "file;dark\n" + "".join(f"{file.name};{number % 2}\n" for number, file in enumerate(files)),
        "broken.jpg": "<html>404</html>",
        "notes.txt": "hello",
    }
    for name, text in others.items():
        (folder / name).write_text(text)
    return [*files, *(folder / name for name in others)]


def test_own_pictures_are_learnt_from_with_their_table_and_what_was_left_out_is_named(page, url, tmp_path):
    open_train(page, url)
    expect(page.locator(MODELS).first).to_be_visible()
    models = page.locator(MODELS).count()
    page.get_by_text("Your pictures…").click()
    page.locator("#train-dials input").nth(MINUTES).fill("1")  # a quarter of a minute: a knob needs to be learnt
    page.locator("#train-files input[type=file]").set_input_files(own_pictures(tmp_path, 140))
    expect(page.locator("#train-files .filename")).to_have_count(143, timeout=60_000)
    page.locator("#train-start").click()
    expect_state(page, "done", "failed")
    said = page.locator("#train-status [role=status]")
    expect(said).to_contain_text("notes.txt: This is no kind of picture")
    expect(said).to_contain_text("broken.jpg: ")
    expect(said).not_to_contain_text("dark")
    expect(page.locator(MODELS)).to_have_count(models + 1, timeout=30_000)
    page.locator("#train-explore").click()
    expect(page.locator(MODELS).last).to_have_attribute("aria-pressed", "true", timeout=30_000)
    expect(page.get_by_text("Dark", exact=True).first).to_be_visible(timeout=30_000)


def test_a_zip_that_is_not_alone_and_a_file_of_another_kind_are_named_before_a_run_starts(page, url, tmp_path):
    for name in ("a.zip", "b.zip", "c.rar"):
        (tmp_path / name).write_bytes(b"x")
    for names, told in ((["a.zip", "b.zip"], "a.zip came with other files"), (["c.rar"], "c.rar: This is no kind")):
        open_train(page, url)
        page.get_by_text("Your pictures…").click()
        page.locator("#train-files input[type=file]").set_input_files([tmp_path / name for name in names])
        expect(page.locator("#train-files .filename")).to_have_count(len(names), timeout=30_000)
        page.locator("#train-start").click()
        expect(page.get_by_text(told)).to_be_visible(timeout=30_000)
        expect_state(page, "idle")
