"""Stands before the page: who may ask for it, and what a browser may do with it.

The page has no log-in; that it listens on loopback is its lock. So a site that is open in the same
browser must not get in by giving its own name that address (DNS rebinding), nor by a socket of its
own: names other than the ones that were agreed are refused, and so is every other origin. Nothing
is ever changed by a request: methods other than GET and HEAD are refused as well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    # Its library compiles templates in the browser, and sets styles: without these two it is blank.
    "content-security-policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application before another.

    Args:
        app: The other.
        names: Under which names it may be asked for, besides this machine's own.
    """

    def __init__(self, app: App, names: Iterable[str] = ()) -> None:
        self.app = app
        self._names = LOOPBACK | {name.lower().strip("[]") for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if scope["type"] == "websocket":
            if refused:
                await send({"type": "websocket.close", "code": 1008, "reason": refused[1]})
            else:
                await self.app(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                told = [pair for pair in message.get("headers", ()) if _name(pair) not in HEADERS]
                message["headers"] = [
                    *told, *((name.encode(), text.encode()) for name, text in HEADERS.items()),
                ]  # fmt: skip
            await send(message)

        if refused:
            status, text = refused
            body = f"{text}\n".encode()
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
            ]
            start = {"type": "http.response.start", "status": status, "headers": headers}
            await send_with_headers(start)
            await send({"type": "http.response.body", "body": body})
            return
        await self.app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Why not, as status and text; None: it may."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if _host(host) not in self._names:
            return 421, "this page answers to localhost, 127.0.0.1, [::1] and its --host only"
        if scope["type"] == "websocket":
            origin = headers.get(b"origin", "")
            # Only browsers send one, and those always do.
            if origin and urlsplit(origin).netloc.lower() != host.lower():
                return 403, "another origin"
        elif scope["method"] not in {"GET", "HEAD"}:
            return 405, "read-only: GET and HEAD"
        return None


def _host(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def _name(header: tuple[bytes, bytes]) -> str:
    return header[0].decode("latin-1").lower()
