from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from mesh_stream.console.guard import HEADERS, Guard, Receive, Scope, Send

Messages = list[MutableMapping[str, Any]]


async def page(scope: Scope, _receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    headers = [(b"X-Frame-Options", b"ALLOWALL"), (b"content-type", b"text/html")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"page"})


def ask(kind: str = "http", method: str = "GET", names: tuple[str, ...] = (), **headers: str) -> (
    Messages
):  # fmt: skip
    sent: Messages = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {}

    scope = {
        "type": kind,
        "method": method,
        "headers": [(name.encode(), text.encode()) for name, text in headers.items()],
    }
    asyncio.run(Guard(page, names)(scope, receive, send))
    return sent


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9380", "127.0.0.1:9380", "[::1]:9380", "LOCALHOST:1"]
)
def test_this_machine_s_own_names_are_answered(host: str) -> None:
    assert ask(host=host)[0]["status"] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:9380", "localhost.evil.example", "127.0.0.1.evil.example",
        "", "[::1", "10.0.0.1", "localhost@evil.example", "0.0.0.0",
    ],
)  # fmt: skip
def test_any_other_name_is_refused(host: str) -> None:
    assert ask(host=host)[0]["status"] == 421


def test_a_name_that_was_given_is_answered_and_its_neighbour_is_not() -> None:
    assert ask(host="mesh.example:9380", names=("mesh.example",))[0]["status"] == 200
    assert ask(host="other.example:9380", names=("mesh.example",))[0]["status"] == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_only_reading_is_allowed(method: str) -> None:
    assert ask(method=method, host="localhost")[0]["status"] == 405


def test_every_answer_has_the_security_headers_once() -> None:
    for messages in (ask(host="localhost"), ask(host="evil.example")):
        names = [name.decode().lower() for name, _ in messages[0]["headers"]]
        for header in HEADERS:
            assert names.count(header) == 1
    assert dict(ask(host="localhost")[0]["headers"])[b"x-frame-options"] == b"DENY"


def test_a_socket_from_another_origin_is_closed() -> None:
    host = "127.0.0.1:9380"
    accepted, closed = "websocket.accept", "websocket.close"
    assert ask("websocket", host=host, origin=f"http://{host}")[0]["type"] == accepted
    assert ask("websocket", host=host)[0]["type"] == accepted
    for origin in ("http://evil.example", "http://127.0.0.1:8080", "null"):
        assert ask("websocket", host=host, origin=origin)[0]["type"] == closed
    assert ask("websocket", host="evil.example", origin="http://evil.example")[0]["type"] == closed
