"""A schema registry that fails when told to: an HTTP proxy in front of the real one."""

from __future__ import annotations

import enum
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx


class Mood(enum.Enum):
    """What the proxy does with a request."""

    WELL = "passes it on"
    DOWN = "hangs up"
    HUNG = "says nothing"
    BROKEN = "answers 503"
    BUSY = "answers 429"


_STATUS = {Mood.BROKEN: 503, Mood.BUSY: 429}


class RegistryProxy(ThreadingHTTPServer):
    """Answers for a registry on a port of its own.

    Args:
        upstream: The real registry's URL.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mood = Mood.WELL
        self.asked: Counter[str] = Counter()
        """Path -> requests."""
        self.over = threading.Event()
        self.parts = urlsplit(upstream)
        self.real = httpx.Client(base_url=f"{self.parts.scheme}://{self.parts.netloc}", timeout=30)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Workers that end in the middle of a request are part of the tests."""

    @property
    def url(self) -> str:
        """What a worker is told."""
        return f"http://127.0.0.1:{self.server_port}{self.parts.path}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RegistryProxy

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked[self.path] += 1
        mood = self.server.mood
        if mood is Mood.HUNG:
            self.server.over.wait(60)
        if mood in (Mood.HUNG, Mood.DOWN):
            self.close_connection = True
            return
        if mood in _STATUS:
            self._send(_STATUS[mood], b"{}")
            return
        kind = self.headers.get("Content-Type", "application/json")
        answer = self.server.real.request(
            self.command, self.path, content=body, headers={"Content-Type": kind}
        )
        self._send(answer.status_code, answer.content)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def registry_proxy(upstream: str) -> Iterator[RegistryProxy]:
    """A proxy for as long as the block lasts."""
    proxy = RegistryProxy(upstream)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.over.set()
        proxy.shutdown()
        thread.join(10)
        proxy.server_close()
        proxy.real.close()
