"""`mesh-stream run`: products' workers; and `worker`, one slot, which `run` starts."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import click

from mesh_stream.cli.options import load, log_to_stderr, products_option

if TYPE_CHECKING:
    from mesh_stream.runtime.supervisor import Supervisor
    from mesh_stream.settings import Settings

log = logging.getLogger(__name__)


@click.command()
@click.argument("products_named", metavar="[PRODUCT...]", nargs=-1)
@click.option("--domain", metavar="DOMAIN", help="Only the products of this domain.")
@click.option(
    "--slots", type=click.IntRange(1, 256), default=1, show_default=True,
    help="Workers of each product; more than it has input partitions are idle spares.",
)  # fmt: skip
@click.option(
    "--first-slot", type=click.IntRange(0), default=0, show_default=True,
    help="Number of the first slot. Processes that run the same product on several machines need "
    "different slots: machine 2 of 3 with four slots each starts at 4.",
)  # fmt: skip
@click.option(
    "--metrics-host", default="127.0.0.1", show_default=True,
    help="Address that metrics are served on. They are for the operators' network only.",
)  # fmt: skip
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), default=9400, show_default=True,
    help="Port of the first worker's metrics; each further one takes the next free port.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Log warnings only.")
@products_option
def run(
    products_named: tuple[str, ...],
    domain: str | None,
    slots: int,
    first_slot: int,
    metrics_host: str,
    metrics_port: int,
    quiet: bool,
    products: str | None,
) -> int:
    """Run products' workers until stopped; all products where none is named.

    One process for each product and slot; a worker that crashes is restarted with back-off. SIGTERM
    or Ctrl-C commits what is open and ends within 10 seconds; a second one ends at once.
    """
    log_to_stderr(verbose=not quiet)
    chosen, settings = load(products, products_named, domain)
    supervisor = supervisor_of(
        [product.name for product in chosen],
        numbers=range(first_slot, first_slot + slots),
        metrics=(metrics_host, metrics_port),
        settings=settings,
        quiet=quiet,
    )
    supervisor.stop_on_signals()
    for slot in supervisor.slots:
        click.echo(f"{slot}: http://{slot.metrics}/metrics", err=True)
    return supervisor.run()


@click.command(hidden=True)
@click.argument("name", metavar="PRODUCT")
@click.option("--slot", type=click.IntRange(0), required=True)
@click.option("--metrics", metavar="HOST:PORT")
@click.option("--tied", is_flag=True, help="Stop when standard input ends.")
@click.option("-q", "--quiet", is_flag=True)
@products_option
def worker(
    name: str,
    slot: int,
    metrics: str | None,
    tied: bool,
    quiet: bool,
    products: str | None,
) -> int:
    """Run one slot of one product."""
    from mesh_stream.errors import MeshError
    from mesh_stream.runtime.supervisor import CRASHED

    log_to_stderr(verbose=not quiet)
    if tied:
        stop_with_parent()
    try:
        _work(name, slot, metrics, products)
    except (MeshError, click.ClickException):
        raise
    except Exception:
        log.exception("%s slot %d: this should not happen", name, slot)
        return CRASHED
    return 0


def _work(name: str, slot: int, metrics: str | None, products: str | None) -> None:
    from prometheus_client import CollectorRegistry, start_http_server

    from mesh_stream.errors import PlatformError
    from mesh_stream.freshness.metrics import ProductMetrics
    from mesh_stream.kafka.registry import SchemaRegistry
    from mesh_stream.runtime.pace import Pace
    from mesh_stream.runtime.slot import run_slot

    (product,), settings = load(products, [name])
    exported = CollectorRegistry()
    witness = ProductMetrics(product, exported)
    if metrics:
        host, _, port = metrics.rpartition(":")
        try:
            start_http_server(int(port), addr=host, registry=exported)
        except OSError as error:
            raise PlatformError(
                f"cannot serve metrics on {metrics}: {error.strerror}; "
                f"free the port, or choose others with --metrics-port"
            ) from error
    with SchemaRegistry(settings, observe=witness.registry_request) as registry:
        run_slot(
            product,
            slot=slot,
            settings=settings,
            registry=registry,
            witness=witness,
            pace=Pace(),
            metrics=metrics or "",
        )


def supervisor_of(
    names: Sequence[str],
    *,
    numbers: range,
    metrics: tuple[str, int],
    settings: Settings,
    stderr: IO[bytes] | None = None,
    quiet: bool = False,
) -> Supervisor:
    """Plan the processes of products' workers; nothing is started yet.

    Args:
        names: The products.
        numbers: The slots of each.
        metrics: Host, and the port of the first; 0 takes any free ones.
        settings: Where they run; handed to them through the environment.
        stderr: Where their logs go; None: where ours go.
        quiet: Whether they log warnings only.
    """
    from mesh_stream.runtime.supervisor import Slot, Supervisor, free_address

    host, first = metrics
    taken: set[int] = set()
    slots = [
        Slot(name, number, free_address(host, first, taken)) for name in names for number in numbers
    ]
    environment = {
        "MESH_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "MESH_REGISTRY_URL": settings.registry_url,
        # Last, so that credentials inside the environment's own addresses stay in force.
        **os.environ,
        "MESH_PRODUCTS": str(settings.products.absolute()),
        "MESH_STATE": str(settings.state.absolute()),
    }
    flags = ["--tied", *(["--quiet"] if quiet else [])]

    def command(slot: Slot) -> list[str]:
        place = ["--slot", str(slot.number), "--metrics", slot.metrics]
        return [sys.executable, "-m", "mesh_stream.cli", "worker", slot.product, *place, *flags]

    return Supervisor(slots, command, environment, stderr)


def stop_with_parent() -> None:
    """Stop as on SIGTERM when the supervisor is gone: it holds the other end of standard input."""

    def wait() -> None:
        # Not through `sys.stdin`: its lock would be held when the interpreter ends.
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
