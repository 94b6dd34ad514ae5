"""The Train tab in a browser: ten seconds of training, a reload, and who sees the result."""

import re

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
MINUTE = 60_000  # milliseconds; a run starts a process that imports torch, and draws a map at its end


def open_train(page: Page, url: str) -> None:
    page.goto(url, wait_until="domcontentloaded")
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#train-dials input")).to_have_count(3)
