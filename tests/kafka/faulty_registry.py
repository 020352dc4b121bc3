"""A schema registry that misbehaves on demand, over real sockets on loopback."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Exchange(BaseHTTPRequestHandler):
    """One request, and the means to answer it well or badly."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    body: bytes

    def answer(self, status: int, data: Any, headers: dict[str, str] | None = None) -> None:
        """Answer in JSON."""
        self.answer_bytes(status, json.dumps(data).encode(), headers)

    def answer_bytes(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Answer with these bytes, in full."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def hang(self) -> None:
        """Say nothing until the test is over."""
        self.server.over.wait(30)
        self.close_connection = True

    def truncate(self, status: int, body: bytes) -> None:
        """Promise more than is sent, and hang up."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + 100))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def drip(self, every: float) -> None:
        """Send a thousand bytes, one at a time."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(b" ")
            if self.server.over.wait(every):
                break

    def hang_up(self) -> None:
        """End the connection without a word."""
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.requests.append(
            Request(self.command, self.path, self.body, dict(self.headers.items()))
        )
        try:
            self.server.seen.behaviour(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its signature
        """Tests say what they see themselves."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


@dataclass(slots=True)
class FaultyRegistry:
    """Where it listens, what it does next, and what it was asked."""

    url: str
    behaviour: Callable[[Exchange], None]
    requests: list[Request] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [f"{request.method} {request.path}" for request in self.requests]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    seen: FaultyRegistry

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.over = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what some tests are about."""


@contextmanager
def faulty_registry(
    behaviour: Callable[[Exchange], None], *, tls: ssl.SSLContext | None = None
) -> Iterator[FaultyRegistry]:
    """A registry that does as told, for as long as the block lasts."""
    server = _Server()
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "http" if tls is None else "https"
    server.seen = FaultyRegistry(f"{scheme}://127.0.0.1:{server.server_port}", behaviour)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.seen
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
