"""A real browser, and what goes wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with sync.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., tuple[Any, list[str]]]]:
    """Open a page and note what goes wrong, and what it asks for from elsewhere; it is closed afterwards."""
    pages = []

    def opened(path: Path, width: int = 1280, height: int = 900) -> tuple[Any, list[str]]:
        page = browser.new_page(viewport={"width": width, "height": height})
        pages.append(page)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        page.on(
            "request", lambda each: wrong.append(each.url) if each.url.startswith(("http", "ws")) else None
        )
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-shown]", timeout=60_000)
        return page, wrong

    yield opened
    for page in pages:
        page.close()
