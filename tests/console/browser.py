"""The system's Chromium, driven by Playwright; nothing is downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
READY_MILLIS = 30_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """A fresh browser; skips the test where there is none."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on this machine: `make chromium` gets it where apt-get can")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """One page, and what the browser said about it.

    Attributes:
        page: The page.
        origin: Where it came from.
        foreign: Requests to anywhere else.
        complaints: Errors and warnings on the browser's console.
    """

    page: Page
    origin: str
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def visiting(
    browser: Browser, url: str, path: str = "/", *, width: int = 1280, scheme: str = "light"
) -> Iterator[Visit]:
    """Open a page of the console, and wait until its heart beats."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    visit = Visit(context.new_page(), url)
    page = visit.page

    def asked(address: str) -> None:
        if not address.startswith((url, url.replace("http", "ws", 1), "data:")):
            visit.foreign.append(address)

    page.on("request", lambda request: asked(request.url))
    page.on("websocket", lambda socket: asked(socket.url))
    page.on(
        "console",
        lambda said: (
            visit.complaints.append(said.text) if said.type in {"error", "warning"} else None
        ),
    )
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.set_default_timeout(READY_MILLIS)
    page.goto(f"{url}{path}", wait_until="commit")
    page.wait_for_selector("#beat[data-beat]", state="attached")
    try:
        yield visit
    finally:
        context.close()
