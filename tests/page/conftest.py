"""One browser for all tests, and pages opened in it."""

import pytest

from icshift.page.write import html
from tests.page.browser import CHROMIUM


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page and gives it as it is when ready; in the end nothing may have been asked for or complained of."""
    asked, complaints, contexts = [], [], []

    def open_page(page, *, width=1280, height=900, scheme="light", fragment=""):
        file = tmp_path / "page.html"
        file.write_bytes(html(page))
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        shown = context.new_page()
        shown.on("request", lambda request: asked.append(request.url))
        shown.on("console", lambda message: complaints.append(message.text))
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.goto(f"{file.as_uri()}{fragment}")
        shown.wait_for_selector("html[data-ready]")
        return shown

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert all(url.startswith(("file://", "blob:")) for url in asked)
    assert len([url for url in asked if url.startswith("file://")]) == len(contexts)
