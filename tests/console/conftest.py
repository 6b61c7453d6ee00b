"""What tests in a browser share: the browser, and pages that somebody has entered."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.browsing import BROWSER
from tests.console.building import TOKENS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, chromium_sandbox=os.getuid() != 0, timeout=600_000)
        yield started
        started.close()


@pytest.fixture
def wrong() -> list[str]:
    """What pages complained about: scripts that failed, and what the content policy kept away."""
    return []


@pytest.fixture
def enter(browser: Browser, wrong: list[str]) -> Iterator[Callable[..., Page]]:
    """Open a console as somebody who follows the address that `soar console` shows."""
    contexts = []

    def open_console(url: str, to: str = "", role: str = "operator", token: str = "", **how: Any) -> Page:
        context = browser.new_context(**how)
        context.set_default_timeout(600_000)  # a machine that is shared may be slow
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.accept()))
        page.goto(f"{url}/enter?to={to or '/'}#{token or TOKENS[role]}")
        page.wait_for_url(lambda address: "/enter" not in address)
        return page

    yield open_console
    for context in contexts:
        context.close()
