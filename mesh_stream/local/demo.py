"""The whole mesh on this machine: stack, topics, schemas, workers, a feed, and what comes of it.

Everything is the real thing: the broker and registry that `up` starts, the provisioning of `apply`,
the workers that `run` starts. What the demo adds is the feed, and a look from outside. Only the
embedded stack is ever fed: records that are dirty on purpose have no place anywhere else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from rich.console import Console

from mesh_stream.errors import MeshError
from mesh_stream.kafka.client import Admin, admin
from mesh_stream.kafka.groups import members
from mesh_stream.kafka.reader import Reader
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.local import feed, process, stack
from mesh_stream.local.books import Summary
from mesh_stream.local.crew import Crew, Feeding
from mesh_stream.local.interrupts import Interrupts
from mesh_stream.local.page import Page
from mesh_stream.local.play import Outlook, Play
from mesh_stream.local.screen import in_words, line, live_screen
from mesh_stream.local.stack import Stack
from mesh_stream.mesh.apply import apply
from mesh_stream.mesh.plan import plan
from mesh_stream.product.product import Mesh
from mesh_stream.runtime.supervisor import Supervisor
from mesh_stream.settings import Settings

LOG = "demo.log"
# A plan's second round sees what new topics got from the broker's defaults.
_ROUNDS = 3
# A worker that was killed is a member of its group until its session ends.
_MEMBER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of a demo.

    Attributes:
        seconds: How long it is fed; None: until it is interrupted.
        rate: Events a second.
        seed: Of the events.
        command: How the user calls mesh-stream, for hints.
    """

    seconds: float | None
    rate: float
    seed: int
    command: str


Workers = Callable[[Settings, Sequence[str], IO[bytes]], Supervisor]
"""Plans the processes of products' workers, with their logs in a file."""
Pages = Callable[[Settings, IO[bytes]], Page]
"""Plans the process of the web page, with its log in a file."""


def run(
    mesh: Mesh,
    options: Options,
    *,
    workers: Workers,
    page: Pages | None = None,
    console: Console,
) -> Summary | None:
    """Run the demo until its time is over, or it is interrupted; leave nothing behind.

    A stack that ran before goes on running; one that was started here is stopped.

    Args:
        mesh: Every product; all of them run.
        options: What is asked of the demo.
        workers: Plans the workers.
        page: Plans the web page; None: there is none.
        console: The terminal.

    Returns:
        The checked books; None where it was interrupted, so that they were not checked.

    Raises:
        MeshError: It could not be started, or something failed on the way.
    """
    interrupts = Interrupts()
    with interrupts.heard(), ExitStack() as cleanup:
        try:
            running = _stack(interrupts, cleanup, console)
        except KeyboardInterrupt:
            return None
        settings = Settings.load(
            {"MESH_STATE": str(running.state)},
            products=str(mesh.root),
            bootstrap_servers=running.bootstrap_servers,
            registry_url=running.registry_url,
        )
        registry = cleanup.enter_context(SchemaRegistry(settings))
        asking = admin(settings)
        _provision(mesh, asking, registry, console)
        _refuse_company(mesh, asking, interrupts, console)
        log = running.data / "logs" / LOG
        log_file = _logs_to(log, cleanup)
        supervisor = workers(settings, sorted(mesh.products), log_file)
        outlook = Outlook(
            settings,
            registry,
            asker=cleanup.enter_context(Reader(settings, client_id="mesh.demo.asker")),
            follower=cleanup.enter_context(Reader(settings, client_id="mesh.demo")),
        )
        play = Play(
            mesh,
            outlook=outlook,
            crew=Crew(supervisor),
            feeding=_feeding(mesh, settings, options, console),
            interrupts=interrupts,
        )
        cleanup.callback(play.end)
        interrupts.hurry.append(play.hurry)
        if page is not None:
            _show_page(page(settings, log_file), cleanup, console)
        _say_where_to_look(mesh, supervisor, options, log, console)
        try:
            with live_screen(console) as screen:
                play.start(screen)
                rows = play.watch(screen, seconds=options.seconds)
                if options.seconds is not None and not interrupts.requested.is_set():
                    return play.close(screen)
        except MeshError:
            _say(console, "log", f"the end of {log}:\n{process.tail(log)}")
            raise
        for row in rows.values():
            text = line(row, "stopping", now=time.time())
            console.print(text, soft_wrap=not console.is_terminal, highlight=False)
        return None


def _stack(interrupts: Interrupts, cleanup: ExitStack, console: Console) -> Stack:
    running = stack.running()
    if running is not None:
        _say(console, "stack", f"uses the one that runs: {_addresses(running)}")
        return running
    _say(console, "stack", "starting a Kafka broker and a schema registry on this machine ...")
    # Before the start, so that one that is interrupted leaves nothing either.
    data = stack.data_folder()
    cleanup.callback(stack.stop, data)
    with interrupts.abruptly():
        running = stack.start(data)
    interrupts.hurry.append(lambda: process.end(process.parts_alive(running.data), gently=False))
    _say(console, "", _addresses(running))
    return running


def _addresses(running: Stack) -> str:
    return f"broker {running.bootstrap_servers}, registry {running.registry_url}"


def _provision(mesh: Mesh, asking: Admin, registry: SchemaRegistry, console: Console) -> None:
    """Create topics and register schemas, as `apply --create-inputs` does."""
    products = list(mesh.products.values())
    changes = 0
    for _ in range(_ROUNDS):
        planned = plan(mesh, products, admin=asking, registry=registry, create_inputs=True)
        if planned.problems:
            problems = "".join(f"\n  - {problem}" for problem in planned.problems)
            raise MeshError(f"the products cannot be provisioned:{problems}")
        if not planned.actions:
            break
        applied = apply(planned.actions, admin=asking, registry=registry)
        for action in applied.done:
            _say(console, "" if changes else "apply", str(action).partition(":")[0])
            changes += 1
        for failure in applied.failed:
            raise failure.error
    if not changes:
        _say(console, "apply", "topics and schemas are there as declared")


def _refuse_company(mesh: Mesh, asking: Admin, interrupts: Interrupts, console: Console) -> None:
    """Two processes on one worker slot fence each other: see that there is no other.

    Raises:
        MeshError: Somebody else runs one of the products.
    """
    deadline = time.monotonic() + _MEMBER_SECONDS
    told = False
    while company := [
        f"{product.name} ({', '.join(there)})"
        for product in mesh.products.values()
        if (there := members(asking, product.group))
    ]:
        if time.monotonic() > deadline:
            raise MeshError(
                f"another process runs {'; '.join(company)}, and the demo runs workers of its own: "
                f"stop that one first"
            )
        if not told:
            _say(console, "workers", "waiting for those of an earlier run to be missed ...")
            told = True
        if interrupts.requested.wait(0.5):
            return


def _feeding(mesh: Mesh, settings: Settings, options: Options, console: Console) -> Feeding | None:
    read = {port.topic for product in mesh.products.values() for port in product.inputs}
    topics = [topic for topic in feed.TOPICS if topic in read]
    if not topics:
        _say(
            console,
            "feed",
            f"no product reads {in_words(feed.TOPICS, 'or')}, which is all the demo can feed; put "
            f"records on another raw topic with `{options.command} replay TOPIC FILE`",
        )
        return None
    _say(
        console,
        "feed",
        f"{options.rate:g} events a second onto {in_words(topics)}, about {feed.DIRT:.0%} of them "
        f"dirty; the same again with --seed {options.seed}",
    )
    events = feed.shop_events(options.seed, topics, clock=lambda: datetime.now(UTC))
    return Feeding(settings, topics, events, rate=options.rate)


def _logs_to(log: Path, cleanup: ExitStack) -> IO[bytes]:
    """Send our log lines, and those of the workers, to a file: the screen shows figures."""
    log.parent.mkdir(exist_ok=True)
    log.write_bytes(b"")
    root = logging.getLogger()
    before = list(root.handlers)
    handler = logging.FileHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    root.handlers[:] = [handler]

    def restore() -> None:
        root.handlers[:] = before
        handler.close()

    cleanup.callback(restore)
    return cleanup.enter_context(log.open("ab"))


def _show_page(page: Page, cleanup: ExitStack, console: Console) -> None:
    """Start the web page; what becomes of it is no concern of the demo's."""
    try:
        page.start()
    except OSError as error:
        _say(console, "page", f"cannot be started: {error.strerror}")
        return
    cleanup.callback(page.end)
    _say(console, "page", page.url)


def _say_where_to_look(
    mesh: Mesh, supervisor: Supervisor, options: Options, log: Path, console: Console
) -> None:
    for position, slot in enumerate(supervisor.slots):
        _say(console, "" if position else "workers", f"{slot}: http://{slot.metrics}/metrics")
    _say(console, "logs", str(log))
    for position, name in enumerate(sorted(mesh.products)):
        _say(console, "" if position else "look", f"{options.command} tail {name}")
    _say(console, "", f"{options.command} tail {name} --dead-letters")
    _say(console, "end", f"after {options.seconds:g} s" if options.seconds else "with Ctrl-C")


def _say(console: Console, what: str, text: str) -> None:
    console.print(f"[bold]{what:<9}[/bold]", end="", highlight=False)
    console.print(text, soft_wrap=True, highlight=False, markup=False)
