"""Serves the monitor over HTTP: its metrics, where the workers' are, and whether it is well.

    /metrics     for Prometheus
    /targets     the workers that have said where their metrics are (Prometheus' HTTP discovery)
    /-/healthy   200 while it looks, 503 when it has stopped; whatever it sees

Read-only, without credentials: it belongs on the operators' network, on loopback unless told.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from mesh_stream.errors import PlatformError
from mesh_stream.freshness.monitor import Monitor
from mesh_stream.freshness.monitor_metrics import MonitorMetrics
from mesh_stream.freshness.reading import Reading
from mesh_stream.runtime.report import WorkerState

FORGOTTEN_SECONDS = 3_600.0
"""A slot that has said nothing for so long is not looked for any more."""
HUNG_SECONDS = 60.0
"""A look that takes so long has hung."""

_ADDRESS = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}")

_App = Callable[[Mapping[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Quiet(WSGIRequestHandler):
    """One line a scrape is not what anybody asked for."""

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class _Server6(ThreadingWSGIServer):
    address_family = socket.AF_INET6


@contextmanager
def serving(monitor: Monitor, host: str, port: int) -> Iterator[str]:
    """Serve until the block ends; yields the address, `host:port`.

    Args:
        monitor: What is served.
        host: The address to listen on.
        port: The port; 0 for any.

    Raises:
        PlatformError: Nobody can listen there.
    """
    try:
        server = make_server(
            host,
            port,
            application(monitor),
            _Server6 if ":" in host else ThreadingWSGIServer,
            handler_class=_Quiet,
        )
    except OSError as error:
        raise PlatformError(
            f"cannot serve metrics on {host}:{port}: {error.strerror}; "
            f"free the port, or choose another with --metrics-port"
        ) from error
    with server:
        threading.Thread(target=server.serve_forever, name="serve", daemon=True).start()
        try:
            yield (
                f"[{host}]:{server.server_port}" if ":" in host else f"{host}:{server.server_port}"
            )
        finally:
            server.shutdown()


def application(monitor: Monitor) -> _App:
    """The three pages as a WSGI application."""
    exported = CollectorRegistry()
    MonitorMetrics(monitor, exported)
    metrics: _App = make_wsgi_app(exported)

    def answer(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        if path == "/targets":
            found = json.dumps(targets(monitor.readings()))
            return _answered(start_response, "200 OK", found, "application/json")
        if path == "/-/healthy":
            if time.monotonic() - monitor.looked > HUNG_SECONDS:
                return _answered(start_response, "503 Service Unavailable", "stopped looking\n")
            return _answered(start_response, "200 OK", "looking\n")
        return _answered(start_response, "404 Not Found", "/metrics, /targets, /-/healthy\n")

    return answer


def targets(readings: Mapping[str, Reading]) -> list[dict[str, Any]]:
    """Where the workers' metrics are, as Prometheus' `http_sd_config` reads it.

    A slot that was stopped is left out. One that was killed stays, to be seen that it is down,
    until it is forgotten.
    """
    return [
        {
            "targets": [status.metrics],
            "labels": {"product": name, "slot": str(slot)},
        }
        for name, reading in sorted(readings.items())
        for slot, status in sorted(reading.seen.statuses.items())
        if status.state not in (WorkerState.STOPPING, WorkerState.STOPPED)
        and reading.at - status.at / 1000 <= FORGOTTEN_SECONDS
        # Whoever may write to the topic may write anything.
        and _ADDRESS.fullmatch(status.metrics)
    ]


def _answered(
    start_response: Callable[..., Any], status: str, text: str, kind: str = "text/plain"
) -> list[bytes]:
    body = text.encode()
    headers = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]
