"""Serves the pages: its library's application behind the guard, in a thread of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from nicegui import app, ui

from mesh_stream.console.guard import Guard
from mesh_stream.console.overview import overview
from mesh_stream.console.product_page import product_page
from mesh_stream.console.watch import Watch
from mesh_stream.errors import PlatformError

ASSETS = Path(__file__).parent / "assets"
_START_SECONDS = 20.0
_END_SECONDS = 4.0
_RETURN_SECONDS = 20.0


@contextmanager
def serving(watch: Watch, host: str, port: int) -> Iterator[str]:
    """Serve until the block ends; yields the address, `host:port`. Once in a process.

    Args:
        watch: What is shown.
        host: The address to listen on.
        port: The port; 0 for any.

    Raises:
        PlatformError: Nobody can listen there.
    """
    listening = _listen(host, port)
    server = uvicorn.Server(
        uvicorn.Config(
            Guard(_application(watch), [host]),
            log_level="warning",
            access_log=False,
            server_header=False,
            # Sockets stay open as long as pages do: nobody waits for them to be closed.
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listening]}, name="serve", daemon=True
    )
    thread.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise PlatformError(f"the console could not be served on {host}:{port}")
            thread.join(0.05)
        shown = f"[{host}]" if ":" in host else host
        yield f"{shown}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(_END_SECONDS)
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise PlatformError(
            f"cannot serve the console on {host}:{port}: {error.strerror}; "
            f"free the port, or choose another with --port"
        ) from error


def _application(watch: Watch) -> FastAPI:
    ui.page("/")(lambda: overview(watch))
    ui.page("/product/{name}")(lambda name: product_page(watch, name))
    app.add_static_files("/assets", ASSETS)
    # No polling: it would need requests that are not GET, and a socket is all that a page needs.
    app.config.socket_io_js_transports = ["websocket"]
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    ui.run_with(
        application,
        title="mesh",
        favicon=ASSETS / "icon.svg",
        dark=None,
        language="en-GB",
        tailwind=False,
        show_welcome_message=False,
        # A browser on a busy machine may take its time; one that comes back later loads anew.
        reconnect_timeout=_RETURN_SECONDS,
    )
    return application
