"""The Train tab in a browser: a few seconds of training, a reload in the midst of it, and who sees the result."""

import re

import pytest

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
