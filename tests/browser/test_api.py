"""What a programmer finds at the foot of the page."""

import pytest

from ui.api import ENDPOINTS

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
pytestmark = pytest.mark.browser


def test_use_via_api_lists_the_endpoints_and_no_event_of_the_page(page, url):
    page.goto(url)
    page.get_by_role("button", name="Use via API").click()
    shown = page.locator("#api-docs, .api-docs")
    print(shown.inner_text()[:3000])
