"""A real browser, and pages in it that may say nothing and ask nobody else."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("tornado", reason="tornado, which serves the page, is not installed")
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        # Chromium's own sandbox does not start for root, as in a container.
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """``open_page(url, **context)``: a page; at the end of the test none may have complained."""
    contexts, complaints = [], []

    def open_one(url: str, quiet: bool = True, **options: Any) -> Any:
        options.setdefault("viewport", {"width": 1280, "height": 860})
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(25000)
        if quiet:
            page.on("console", lambda message: complaints.append(f"console: {message.text}"))
            page.on("requestfailed", lambda one: complaints.append(f"failed: {one.url}"))
            page.on("request", lambda one: complaints.extend(elsewhere(one.url, url)))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


def elsewhere(asked: str, url: str) -> list[str]:
    """A complaint where a page asks another place than the one it came from."""
    origin = url.split("/?")[0].rstrip("/")
    return [] if asked.startswith(f"{origin}/") else [f"elsewhere: {asked}"]
