"""A browser for the pages: the system's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.conftest import need

# The machine's own, not one that Playwright would download; the sandbox needs rights that containers rarely have.
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A browser of this test process."""
    path = os.environ.get("HELIOGRAPH_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    need("Chromium", None if path else f"none of {', '.join(_NAMES)} is on PATH")
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=path, args=_OPTIONS)
        try:
            yield opened
        finally:
            await opened.close()
