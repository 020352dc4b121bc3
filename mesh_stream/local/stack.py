"""Starts, finds and stops the embedded stack of a data folder: brokers and a registry.

One stack is shared by every command that names its folder. The folder holds:

    stack.json     what runs now: addresses and process ids; there while the stack is
    layout.json    what the folder is: how many brokers, the cluster's id
    broker-1/ ...  each broker's configuration and records
    registry/      schemas
    state/         what workers remember, where a command says that they keep it here
    logs/          what they said
    tmp/           what they unpack; emptied at every start

Invariants: who changes any of it holds the folder; nothing but these names is ever deleted; a
stack in `stack.json` was answering when it was written there.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec

from mesh_stream.errors import BrokerError, MeshError, PlatformError, RegistryError
from mesh_stream.local import broker, ports, process, registry
from mesh_stream.local.artifacts import Installation, install
from mesh_stream.local.broker import Node
from mesh_stream.local.folder import locked, replace_file

STATE = "stack.json"
LAYOUT = "layout.json"
WORKERS = "state"
READY_SECONDS = 90.0
# A part that is alive and says nothing is busy, or hangs; on a busy machine the former for seconds.
ANSWER_SECONDS = 10.0
# Another command may be downloading before it starts the stack.
LOCK_SECONDS = 1800.0
ATTEMPTS = 3
MOST_BROKERS = 9
_PORT_TAKEN = ("Address already in use", "seems to be in use by another process")


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack: `broker-1` and so on, or `registry`."""

    name: str
    pid: Annotated[int, msgspec.Meta(ge=1)]
    port: int

    def answers(self) -> bool:
        """Whether it serves its clients now: itself, and not who was quicker to have its port."""
        probe = registry.answers if self.name == registry.NAME else broker.answers
        return process.listens(self.pid, self.port) and probe(self.port)


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack. Addresses stay true when a part is restarted; process ids do not."""

    data: Path
    brokers: tuple[Part, ...]
    registry: Part

    @property
    def bootstrap_servers(self) -> str:
        """For Kafka clients: `127.0.0.1:9092`, separated by commas."""
        return ",".join(f"{ports.HOST}:{part.port}" for part in self.brokers)

    @property
    def registry_url(self) -> str:
        """For clients of the Confluent schema registry API."""
        return f"http://{ports.HOST}:{self.registry.port}{registry.API}"

    @property
    def state(self) -> Path:
        """Where workers may keep what they remember: it goes when the brokers' records go."""
        return self.data / WORKERS

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every process."""
        return (*self.brokers, self.registry)

    def part(self, name: str) -> Part:
        """The part of that name."""
        return next(part for part in self.parts if part.name == name)

    def log(self, part: Part) -> Path:
        """Where the part writes its log; what its runtime says is in `.out` beside it."""
        return self.data / "logs" / f"{part.name}.log"


@dataclass(frozen=True, slots=True)
class State:
    """What is written down about a running stack."""

    brokers: tuple[Part, ...]
    registry: Part


@dataclass(frozen=True, slots=True)
class Layout:
    """What a data folder was made for, for as long as its data is kept."""

    brokers: int
    cluster_id: str


def data_folder() -> Path:
    """`$MESH_DATA`, else `mesh-stream/stack` in the user's data folder (XDG base directories)."""
    if chosen := os.environ.get("MESH_DATA"):
        return Path(chosen)
    xdg = Path(os.environ.get("XDG_DATA_HOME", ""))
    base = xdg if xdg.is_absolute() else Path.home() / ".local" / "share"
    return base / "mesh-stream" / "stack"


def start(
    data: Path | None = None,
    *,
    brokers: int | None = None,
    fresh: bool = False,
    usual_ports: bool = True,
) -> Stack:
    """Start the stack of the folder and wait until it serves; where it runs already, return it.

    Args:
        data: The folder; None means the default one.
        brokers: How many; None means as many as the folder has, one in a new folder.
        fresh: Forget what the folder holds, stopping the stack that uses it.
        usual_ports: Try 9092 and 8081 first.

    Raises:
        MeshError: The folder holds something else, or another number of brokers.
        PlatformError: Something could not be downloaded, or did not start; the end of its log is in
            the message.
    """
    data = _absolute(data)
    if brokers is not None and not 1 <= brokers <= MOST_BROKERS:
        raise MeshError(f"{brokers} brokers: expected 1 to {MOST_BROKERS}")
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MeshError(
            f"{data} cannot be the stack's data folder: {error}; choose another with --data or "
            f"MESH_DATA"
        ) from error
    with locked(data, within=LOCK_SECONDS):
        if not fresh and (stack := _running(data)):
            _check_brokers(len(stack.brokers), brokers, data)
            return stack
        layout = _layout(data)
        process.end(process.parts_alive(data), gently=not fresh)
        (data / STATE).unlink(missing_ok=True)
        if fresh and layout:
            _wipe(data)
            layout = None
        if layout is None:
            layout = Layout(brokers or 1, _cluster_id())
            replace_file(data / LAYOUT, msgspec.json.encode(layout))
        _check_brokers(layout.brokers, brokers, data)
        installation = install()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                stack = _launch(data, layout, installation, usual_ports and attempt == 1)
            except _PortTakenError as error:
                if attempt == ATTEMPTS:
                    raise PlatformError(str(error)) from error
                continue
            _remember(stack)
            return stack
    raise AssertionError("the last attempt returns or raises")


def running(data: Path | None = None) -> Stack | None:
    """The stack of the folder, if all of it is alive and answers."""
    return _running(_absolute(data))


def stop(data: Path | None = None) -> bool:
    """Stop whatever runs of the folder's stack; its data stays.

    Returns:
        Whether anything ran.
    """
    data = _absolute(data)
    if not data.is_dir():
        return False
    with locked(data, within=LOCK_SECONDS):
        alive = process.parts_alive(data)
        process.end(alive)
        (data / STATE).unlink(missing_ok=True)
        return bool(alive)


def kill(stack: Stack, name: str, signum: signal.Signals = signal.SIGKILL) -> None:
    """Send a part of the stack a signal, for tests; after SIGKILL and SIGTERM it is gone."""
    pid = _recorded(stack, name).pid
    if signum in (signal.SIGKILL, signal.SIGTERM):
        process.end([pid], gently=signum is signal.SIGTERM)
    else:
        os.kill(pid, signum)


def restart(stack: Stack, name: str) -> Stack:
    """Start a part of the stack again, with its data, on its port; end it first if it lives.

    Returns:
        The stack with the part's new process id, when the part serves again.
    """
    with locked(stack.data, within=LOCK_SECONDS):
        old = _recorded(stack, name)
        if process.is_part(old.pid, stack.data, name):
            process.end([old.pid])
        new = replace(old, pid=_spawn(name, stack.data, old.port, install()))
        stack = _stored(stack.data) or stack
        stack = Stack(
            stack.data,
            tuple(new if part.name == name else part for part in stack.brokers),
            new if stack.registry.name == name else stack.registry,
        )
        _await([new], stack)
        _remember(stack)
        return stack


@contextmanager
def ephemeral(data: Path, *, brokers: int = 1) -> Iterator[Stack]:
    """A stack for as long as the block lasts, on free ports; then it is killed."""
    stack = start(data, brokers=brokers, fresh=True, usual_ports=False)
    try:
        yield stack
    finally:
        with locked(stack.data, within=LOCK_SECONDS):
            process.end(process.parts_alive(stack.data), gently=False)
            (stack.data / STATE).unlink(missing_ok=True)


class _PortTakenError(Exception):
    """Another process was quicker to listen on a port that had been free."""


def _absolute(data: Path | None) -> Path:
    data = (data_folder() if data is None else data).expanduser().resolve()
    if found := set(str(data)) & set(",;:\n"):
        # Kafka splits a list of folders at commas, H2 an address at semicolons.
        raise MeshError(
            f"{data}: the stack's data folder may not have {' '.join(map(repr, sorted(found)))} "
            f"in its path; choose another with --data or MESH_DATA"
        )
    return data


def _running(data: Path) -> Stack | None:
    stack = _stored(data)
    if stack is None:
        return None
    deadline = time.monotonic() + ANSWER_SECONDS
    while all(process.is_part(part.pid, data, part.name) for part in stack.parts):
        if all(part.answers() for part in stack.parts):
            return stack
        if time.monotonic() > deadline:
            break
        threading.Event().wait(0.05)
    return None


def _stored(data: Path) -> Stack | None:
    try:
        state = msgspec.json.decode((data / STATE).read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError):
        return None
    return Stack(data, state.brokers, state.registry)


def _recorded(stack: Stack, name: str) -> Part:
    """The part as it was last started; the caller's stack may be older than a restart."""
    return (_stored(stack.data) or stack).part(name)


def _remember(stack: Stack) -> None:
    replace_file(stack.data / STATE, msgspec.json.encode(State(stack.brokers, stack.registry)))


def _layout(data: Path) -> Layout | None:
    """What the folder was made for; None where it is empty.

    Raises:
        MeshError: It holds what no stack put there.
    """
    file = data / LAYOUT
    if not file.exists():
        if any(data.iterdir()):
            raise MeshError(
                f"{data} holds other files and no stack; expected an empty or a new folder: "
                f"choose another with --data or MESH_DATA"
            )
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=Layout)
    except msgspec.MsgspecError as error:
        raise MeshError(
            f"{file} does not say what the stack's data is ({error}); delete {data} to begin anew"
        ) from error


def _check_brokers(found: int, asked: int | None, data: Path) -> None:
    if asked not in (None, found):
        raise MeshError(
            f"{data} holds the data of {found} broker(s), and {asked} were asked for; "
            f"--fresh deletes that data and begins anew, --data names another folder"
        )


def _wipe(data: Path) -> None:
    """Delete what a stack leaves in its folder, and nothing else."""
    (data / LAYOUT).unlink(missing_ok=True)
    names = (registry.NAME, WORKERS, "logs", "tmp")
    for folder in (*data.glob("broker-[1-9]"), *(data / name for name in names)):
        shutil.rmtree(folder, ignore_errors=True)


def _launch(data: Path, layout: Layout, installed: Installation, usual_ports: bool) -> Stack:
    numbers = range(1, layout.brokers + 1)
    usual = [*(ports.BROKER + number - 1 for number in numbers), ports.REGISTRY]
    wanted = usual if usual_ports else [None] * len(usual)
    chosen = ports.choose([*wanted, *(None for _ in numbers)])
    registry_port, controllers = chosen[layout.brokers], chosen[layout.brokers + 1 :]
    nodes = [Node(*place) for place in zip(numbers, chosen, controllers, strict=False)]
    (data / registry.NAME).mkdir(exist_ok=True)
    shutil.rmtree(data / "tmp", ignore_errors=True)
    for node in nodes:
        broker.prepare(node, nodes, data)

    def run_broker(node: Node) -> Part:
        broker.format_storage(node, data, layout.cluster_id, installed)
        return Part(node.name, _spawn(node.name, data, node.port, installed), node.port)

    try:
        # First, because it takes longest to be ready.
        pid = _spawn(registry.NAME, data, registry_port, installed)
        with ThreadPoolExecutor(len(nodes)) as pool:
            parts = tuple(pool.map(run_broker, nodes))
        stack = Stack(data, parts, Part(registry.NAME, pid, registry_port))
        _await(stack.parts, stack)
    except BaseException:
        process.end(process.parts_alive(data))
        raise
    return stack


def _spawn(name: str, data: Path, port: int, installed: Installation) -> int:
    if name == registry.NAME:
        command = registry.command(port, data, installed)
    else:
        command = broker.command(name, data, installed)
    return process.spawn(command, data / "logs" / f"{name}.out")


def _await(parts: Sequence[Part], stack: Stack) -> None:
    """Wait until every part serves.

    Raises:
        _PortTakenError: One ended because of its port.
        PlatformError: One ended, or does not serve in time.
    """
    deadline = time.monotonic() + READY_SECONDS
    waiting = list(parts)
    while waiting := [part for part in waiting if not part.answers()]:
        for part in waiting:
            if process.ended(part.pid):
                raise _failure(part, stack, "ended while it was starting")
        if time.monotonic() > deadline:
            raise _failure(waiting[0], stack, f"did not serve within {READY_SECONDS:.0f} s")
        threading.Event().wait(0.05)


def _failure(part: Part, stack: Stack, what: str) -> Exception:
    log = stack.log(part)
    said = "\n".join(filter(None, (process.tail(log), process.tail(log.with_suffix(".out")))))
    text = f"the embedded {part.name} {what}; the end of {log}:\n{said}"
    if any(words in said for words in _PORT_TAKEN):
        return _PortTakenError(text)
    return RegistryError(text) if part.name == registry.NAME else BrokerError(text)


def _cluster_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
