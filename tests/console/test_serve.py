"""The page as an SRE sees it: real workers, a real broker, a real browser."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from confluent_kafka import Producer
from playwright.sync_api import Browser, expect

from mesh_stream.local.stack import Stack
from mesh_stream.pipeline.deadletter import ORIGIN, OURS
from tests.console.browser import READY_MILLIS, chromium, visiting
from tests.deadline import eventually
from tests.kafka.harness.nursery import ROOT
from tests.kafka.harness.scene import Scene, scene

pytestmark = pytest.mark.kafka

HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
FRESHNESS = 5
ENOUGH = 60_000


@dataclass
class Console:
    """A console in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str

    def get(self, path: str = "/", **headers: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=20, trust_env=False)


@contextmanager
def console(played: Scene, *arguments: str) -> Iterator[Console]:
    log = played.folder / f"console-{len(list(played.folder.glob('console-*')))}.log"
    environment = {
        "MESH_BOOTSTRAP_SERVERS": played.stack.bootstrap_servers,
        "MESH_REGISTRY_URL": played.stack.registry_url,
        "MESH_PRODUCTS": str(played.products),
    }
    command = [sys.executable, "-m", "mesh_stream.cli", "console", "--port", "0", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environment, stderr=output,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def address() -> str:
        assert process.poll() is None, log.read_text()
        said = log.read_text()
        return said.partition("console: ")[2].partition("/\n")[0] if "/\n" in said else ""

    try:
        yield Console(process, eventually(address, within=40, what="the console says where it is"))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


@pytest.fixture(scope="module")
def played(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A product that promises seconds, fed and worked on, with a text that would be obeyed."""
    with scene(
        stack,
        tmp_path_factory.mktemp("console"),
        seed=5,
        partitions=1,
        description=HOSTILE,
        documentation="https://data.example.com/facts",
        sla={"freshness": f"{FRESHNESS}_seconds", "availability": "99%"},
    ) as built:
        slot = built.slot(0)
        slot.start()
        built.feed.start(4)
        eventually(slot.is_reading, within=40, what="the worker reads")
        yield built


def reject(played: Scene) -> None:
    """Somebody writes a dead letter whose reason would be obeyed."""
    writer = Producer({"bootstrap.servers": played.stack.bootstrap_servers})
    said = {"class": b"payload", "rule": b"type"}
    headers: list[tuple[str, str | bytes | None]] = [
        (f"{OURS}{name}", text) for name, text in said.items()
    ]
    headers.append((f"{ORIGIN}message", HOSTILE.encode()))
    value = b'{"mail": "secret@example.com"}'
    writer.produce(played.product.dead_letter_topic, value, b"secret-key", headers=headers)
    assert writer.flush(20) == 0


@pytest.fixture(scope="module")
def served(played: Scene) -> Iterator[Console]:
    with console(played) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def test_the_overview_shows_every_product_and_asks_nobody_else(
    served: Console, played: Scene, browser: Browser
) -> None:
    with visiting(browser, served.url) as visit:
        card = visit.page.locator("article")
        expect(card).to_have_count(1)
        expect(card.locator(".said .word")).to_have_text("fresh", timeout=ENOUGH)
        expect(card).to_contain_text(played.product.name)
        expect(card).to_contain_text("1 running")
        expect(card.locator("svg")).to_be_visible()
        expect(visit.page).to_have_title("all up to date - mesh")
        read = card.locator(".figure", has_text="Read / s").locator(".value")
        expect(read).not_to_have_text("\N{EN DASH}", timeout=ENOUGH)
        assert visit.foreign == []
        assert visit.complaints == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
@pytest.mark.parametrize("which", ["overview", "product"])
def test_everybody_can_use_the_page_in_both_schemes_and_none_moves_sideways(
    served: Console, played: Scene, browser: Browser, which: str, scheme: str, width: int
) -> None:
    path = "/" if which == "overview" else f"/product/{played.product.name}"
    with visiting(browser, served.url, path, scheme=scheme, width=width) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width
        ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        red = int(ground.removeprefix("rgb(").partition(",")[0])
        assert (red < 128) == (scheme == "dark")
        found = Axe().run(visit.page).response["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
        visit.page.locator("#theme").click()
        visit.page.locator("#theme").click()
        expect(visit.page.locator("#theme")).to_have_text("Dark")
        ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert int(ground.removeprefix("rgb(").partition(",")[0]) < 128


def test_the_keyboard_reaches_everything_and_shows_where_it_is(
    served: Console, played: Scene, browser: Browser
) -> None:
    with visiting(browser, served.url) as visit:
        page, reached = visit.page, []
        for _ in range(5):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.innerText.trim().split('\\n')[0]"))
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none" or len(reached) == 1
        assert reached[:3] == ["Skip to the products", "mesh-stream", "Auto"]
        assert played.product.name in reached[3:]
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text(played.product.name)


def test_a_product_s_page_shows_what_it_declares_and_obeys_nothing_of_it(
    served: Console, played: Scene, browser: Browser
) -> None:
    reject(played)
    path = f"/product/{played.product.name}"
    with visiting(browser, served.url, path) as visit:
        page = visit.page
        expect(page.locator(".lead")).to_have_text(HOSTILE)
        letters = page.locator("section", has=page.locator("#letters"))
        expect(letters).to_contain_text(HOSTILE, timeout=ENOUGH)
        row = letters.locator("tr", has_text=HOSTILE)
        expect(row).to_contain_text("mail")
        expect(row).to_contain_text("30 B")
        assert "secret" not in page.content()
        for text in ("fault-team", "seq_counts_up", "seq is at least 0", "5 s", "99%"):
            expect(page.locator("body")).to_contain_text(text)
        for heading in ("Schema", "Quality rules", "Workers", "Inputs and outputs"):
            expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        link = page.get_by_role("link", name="https://data.example.com/facts")
        expect(link).to_have_attribute("rel", "noopener noreferrer")
        assert "owned" not in page.title()
        assert page.locator("img[src=x], .lead script").count() == 0
        assert visit.foreign == []
        assert visit.complaints == []


def test_requests_that_are_none_of_its_business_are_refused(served: Console) -> None:
    answer = served.get()
    assert answer.status_code == 200
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert served.get(host="evil.example.com").status_code == 421
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert httpx.request(method, served.url, trust_env=False).status_code == 405
    assert served.get("/product/none-such").text.count("No product is called none-such.") == 1


def test_a_killed_worker_s_product_is_stale_without_a_reload(
    served: Console, played: Scene, browser: Browser
) -> None:
    with visiting(browser, served.url) as visit:
        word = visit.page.locator("article .said .word")
        expect(word).to_have_text("fresh", timeout=ENOUGH)
        visit.page.evaluate("window.stillHere = true")
        played.slots[0].kill()
        expect(word).to_have_text("stale", timeout=ENOUGH)
        expect(visit.page.locator("article .fault")).to_have_text("its own fault")
        expect(visit.page).to_have_title("1 stale - mesh")
        expect(visit.page.locator("article")).to_contain_text("does not answer")
        assert visit.page.evaluate("window.stillHere") is True
        if shots := os.environ.get("MESH_SHOTS"):
            visit.page.screenshot(path=Path(shots) / "overview-stale.png", full_page=True)
        played.slots[0].start()
        expect(word).to_have_text("fresh", timeout=ENOUGH)


def test_a_page_that_lost_its_console_says_so_and_shows_nothing_as_known(
    played: Scene, browser: Browser
) -> None:
    with console(played) as own, visiting(browser, own.url) as visit:
        page = visit.page
        word = page.locator("article .said .word")
        for how in (signal.SIGSTOP, signal.SIGKILL):
            expect(word).to_have_text("fresh", timeout=ENOUGH)
            expect(word).to_be_visible(timeout=ENOUGH)
            own.process.send_signal(how)
            expect(page.locator("#lost")).to_contain_text("does not answer", timeout=READY_MILLIS)
            expect(page.locator("article .said")).to_be_hidden()
            expect(page.get_by_text("fresh", exact=False).locator("visible=true")).to_have_count(0)
            expect(page.locator("article .lost-word")).to_be_visible()
            expect(page).to_have_title("unknown - mesh")
            colour = "getComputedStyle(document.querySelector('article .state')).color"
            assert page.evaluate(colour) == "rgb(90, 100, 112)"
            if shots := os.environ.get("MESH_SHOTS"):
                page.screenshot(path=Path(shots) / "overview-lost.png", full_page=True)
            own.process.send_signal(signal.SIGCONT)


def test_a_console_that_is_told_to_end_does_so_with_pages_open(
    served: Console, browser: Browser
) -> None:
    """The last here, for it is the others' console."""
    with visiting(browser, served.url):
        served.process.terminate()
        assert served.process.wait(10) == 0
