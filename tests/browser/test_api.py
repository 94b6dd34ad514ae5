"""What a programmer finds at the foot of the page."""

import pytest

from ui.api import ENDPOINTS

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
pytestmark = pytest.mark.browser


def test_use_via_api_lists_what_programs_may_ask_and_no_event_of_the_page(page, url, complaints):
    page.goto(url)
    page.get_by_role("button", name="Use via API").click()
    names = page.locator(".api-docs .api-name")
    expect(names.first).to_be_visible()
    listed = dict.fromkeys(text.strip('"') for text in names.all_inner_texts())
    assert list(listed) == [f"/{function.__name__}" for function in ENDPOINTS]
    page.goto("about:blank")
    # Gradio's panel asks whether this is an MCP server and is monitored, and is told no. What remains is third parties.
    complaints[:] = [text for text in complaints if text.startswith("http")]
