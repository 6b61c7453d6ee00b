"""A real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
in_browser = pytest.mark.skipif(not BROWSER, reason="no browser is installed: apt-get install chromium")


def until(page: Page, script: str, arg: object = None, most_s: float = 600.0) -> None:
    """Wait until a script says so; pages themselves may evaluate nothing, as their content policy says."""
    deadline_s = time.monotonic() + most_s
    while not page.evaluate(script, arg):
        assert time.monotonic() < deadline_s, script
        page.wait_for_timeout(40)
