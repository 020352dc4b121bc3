"""The schema registry, by its Confluent API: which schema an id means, and what is registered.

A registry's failure must never look like a bad record. "There is no such schema" is believed only
in the registry's own words; everything else is a platform error, for the caller to wait out.

The schema of an id never changes: what was seen once is kept for ever, and works on while the
registry is down. That an id is unknown is kept for a minute, so that a flood of bad records is no
flood of requests.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote
from uuid import UUID

from mesh_stream.errors import PayloadError, RegistryError
from mesh_stream.kafka.references import inline
from mesh_stream.kafka.registry_http import (
    MAX_LIST_BYTES,
    Observe,
    StrangeNotFoundError,
    Transport,
    field,
)
from mesh_stream.settings import Settings

UNKNOWN_SECONDS = 60.0
"""How long "no such schema" is believed."""
CONFIRM_SECONDS = 0.5
"""A replica of the registry may lag behind the one that a producer has just registered with: "no
such schema" is asked again after this long. Only once in `CONFIRM_EVERY_SECONDS`: corrupted
records make ids up, and must not slow the good ones down."""
CONFIRM_EVERY_SECONDS = 10.0
MAX_UNKNOWN = 10_000
SLOW_SECONDS = 1.0
"""A failure that took longer is not asked for again right away."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One version of one subject; the schema is JSON text, as the registry has it."""

    subject: str
    version: int
    schema_id: int
    schema: str


@dataclass(frozen=True, slots=True)
class _Unusable:
    """An id without a usable schema: why, or empty where there is none; and until when."""

    refusal: str
    until: float


class SchemaRegistry:
    """A client of one registry; threads may share it.

    Args:
        settings: Where the registry is, and its credentials.
        observe: Counts the answers, by status code.
        clock: Monotonic seconds.
        pause: Waits for some seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        observe: Observe = lambda _code: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = settings.registry_url
        self._transport = Transport(settings, observe=observe, clock=clock, pause=pause)
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._schemas: dict[int | UUID, Any] = {}
        self._unusable: dict[int | UUID, _Unusable] = {}
        self._confirm_from = float("-inf")
        self._failure: RegistryError | None = None
        self._rests_until = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._transport.close()

    def writer_schema(self, schema_id: int | UUID) -> Any | None:
        """Returns the schema of an id as JSON data, references inlined; None if there is none.

        Args:
            schema_id: The id in a record's first bytes, or the GUID in its header.

        Raises:
            PayloadError: What the id names is no Avro schema, or too large to be trusted.
            PlatformError: The registry could not be asked, or refused the credentials; that says
                nothing about the record.
        """
        if schema_id in self._schemas:
            return self._schemas[schema_id]
        # One thread asks, the others wait for what it learns.
        with self._lock:
            unusable = self._unusable.get(schema_id)
            if schema_id not in self._schemas and (
                unusable is None or unusable.until <= self._clock()
            ):
                unusable = self._learn_unless_resting(schema_id)
        if unusable is None or schema_id in self._schemas:
            return self._schemas[schema_id]
        if unusable.refusal:
            raise PayloadError(unusable.refusal, rule="unsafe_schema")
        return None

    def lookup(self, subject: str, schema: str) -> Registered | None:
        """Returns where a schema is registered under a subject; None if it is not.

        Raises:
            SchemaRefusedError: The registry takes it for no schema.
            PlatformError: The registry could not be asked, or refused the credentials.
        """
        path = f"{_subject(subject)}?normalize=true"
        return _registered(subject, self._transport.ask("POST", path, _avro(schema)))

    def latest(self, subject: str) -> Registered | None:
        """Returns the newest version of a subject; None if it has none.

        Raises:
            PlatformError: The registry could not be asked, or refused the credentials.
        """
        answer = self._transport.ask("GET", f"{_subject(subject)}/versions/latest")
        return _registered(subject, answer)

    def history(self, subject: str) -> list[Registered]:
        """Returns every version of a subject, oldest first; empty if it has none.

        Raises:
            PlatformError: The registry could not be asked, or refused the credentials.
        """
        numbers = self._transport.ask("GET", f"{_subject(subject)}/versions")
        if numbers is None:
            return []
        if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
            raise RegistryError(f"schema registry {self.url}: {subject} has no list of versions")
        found = (self._reference(subject, number) for number in sorted(numbers))
        versions = (_registered(subject, answer) for answer in found)
        # One that was deleted since it was listed is no version any more.
        return [version for version in versions if version is not None]

    def register(self, subject: str, schema: str) -> int:
        """Registers a schema under a subject, unless it is there already; returns its id.

        Raises:
            SchemaRefusedError: It is incompatible with an earlier version, or no schema.
            PlatformError: The registry could not be asked, or refused the credentials.
        """
        path = f"{_subject(subject)}/versions?normalize=true"
        return int(field(self._transport.must("POST", path, _avro(schema)), "id", int))

    def incompatibilities(self, subject: str, schema: str) -> list[str]:
        """Returns why a schema may not follow the subject's versions, by the subject's own level.

        Empty: it may. Some registries judge without reasons; then the one sentence says so.

        Raises:
            SchemaRefusedError: The registry takes it for no schema.
            PlatformError: The registry could not be asked, or refused the credentials.
        """
        path = f"/compatibility{_subject(subject)}/versions?verbose=true"
        answer = self._transport.ask("POST", path, _avro(schema))
        if answer is None or field(answer, "is_compatible", bool):
            return []
        messages = answer.get("messages")
        reasons = messages if isinstance(messages, list) else []
        return [str(reason)[:500] for reason in reasons] or ["it gives no reason"]

    def compatibility(self, subject: str) -> str | None:
        """Returns the level set for the subject itself; None where the registry's default applies.

        Raises:
            PlatformError: The registry could not be asked, or refused the credentials.
        """
        answer = self._transport.ask("GET", f"/config/{quote(subject, safe='')}")
        return None if answer is None else str(field(answer, "compatibilityLevel", str))

    def set_compatibility(self, subject: str, level: str) -> None:
        """Sets a subject's level, such as `BACKWARD`; the subject need not exist yet.

        Raises:
            SchemaRefusedError: There is no such level.
            PlatformError: The registry could not be asked, or refused the credentials.
        """
        path = f"/config/{quote(subject, safe='')}"
        self._transport.must("PUT", path, {"compatibility": level})

    def subjects(self) -> list[str]:
        """Returns every subject's name.

        Raises:
            PlatformError: The registry could not be asked, or refused the credentials.
        """
        answer = self._transport.must("GET", "/subjects", limit=MAX_LIST_BYTES)
        if not isinstance(answer, list):
            raise RegistryError(f"schema registry {self.url}: GET /subjects gave no list")
        return [str(subject) for subject in answer]

    def _learn_unless_resting(self, schema_id: int | UUID) -> _Unusable | None:
        """Leaves a registry that was slow to fail alone for as long as that took.

        Whoever asks meanwhile is told so at once. Otherwise the partitions of a worker would wait
        for a registry that hangs one after the other, and those that need nothing of it as well.
        """
        began = self._clock()
        if self._failure is not None and began < self._rests_until:
            raise RegistryError(str(self._failure)) from self._failure
        try:
            return self._learn(schema_id)
        except RegistryError as failure:
            now = self._clock()
            if now - began > SLOW_SECONDS:
                self._failure, self._rests_until = failure, now + (now - began)
            raise

    def _learn(self, schema_id: int | UUID) -> _Unusable | None:
        """Asks for a schema and remembers what came of it; None: it is known now."""
        answer = self._by_id(schema_id)
        if answer is None and self._clock() >= self._confirm_from:
            self._pause(CONFIRM_SECONDS)
            self._confirm_from = self._clock() + CONFIRM_EVERY_SECONDS
            answer = self._by_id(schema_id)
        refusal = ""
        if answer is not None:
            try:
                self._schemas[schema_id] = inline(answer, self._reference)
            except ValueError as cause:
                refusal = f"schema {schema_id} cannot be used: {cause}"
            else:
                self._unusable.pop(schema_id, None)
                return None
        if len(self._unusable) >= MAX_UNKNOWN:
            # The oldest is the closest to being forgotten anyway.
            self._unusable.pop(next(iter(self._unusable)))
        self._unusable[schema_id] = _Unusable(refusal, self._clock() + UNKNOWN_SECONDS)
        return self._unusable[schema_id]

    def _by_id(self, schema_id: int | UUID) -> Any | None:
        if isinstance(schema_id, int):
            return self._transport.ask("GET", f"/schemas/ids/{schema_id}")
        try:
            return self._transport.ask("GET", f"/schemas/guids/{schema_id}")
        except StrangeNotFoundError:
            # Many registries (Apicurio among them) serve no schemas by GUID, and so know none.
            # That is not concluded from a proxy's 404: the registry has to show itself first.
            if isinstance(self._transport.ask("GET", "/schemas/types"), list):
                return None
            raise

    def _reference(self, subject: str, version: int) -> Any | None:
        return self._transport.ask("GET", f"{_subject(subject)}/versions/{version}")


def _avro(schema: str) -> dict[str, str]:
    # The type is said although it is the default: some registries guess it from the content.
    return {"schema": schema, "schemaType": "AVRO"}


def _subject(subject: str) -> str:
    return f"/subjects/{quote(subject, safe='')}"


def _registered(subject: str, answer: Any | None) -> Registered | None:
    if answer is None:
        return None
    version, schema_id = field(answer, "version", int), field(answer, "id", int)
    return Registered(subject, version, schema_id, field(answer, "schema", str))
