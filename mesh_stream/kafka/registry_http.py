"""One question to the schema registry: bounded in time and size, retried once, failures sorted.

Sorted into: an answer; "not found" in the registry's own words (None); refused credentials; a
refused schema; and everything else, which says nothing about what was asked.
"""

from __future__ import annotations

import json
import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx

from mesh_stream import credentials
from mesh_stream.errors import AccessDeniedError, RegistryError, SchemaRefusedError
from mesh_stream.settings import Settings

CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0
BUDGET_SECONDS = 6.0
"""For one question, its second try included: well below a transaction's timeout, because the
question may be asked with one open."""
MAX_ANSWER_BYTES = 1_048_576
MAX_LIST_BYTES = 33_554_432
"""The subjects of a very large registry."""

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
# The Confluent API's own codes of "not found": subject, version, schema, a subject's settings.
# A 404 without one comes from something else: a proxy, or a path that is no registry's.
_NOT_FOUND = frozenset({40401, 40402, 40403, 40408})

Observe = Callable[[str], None]
"""Is told of every try: the answer's status code, or `timeout`, or `unreachable`."""


class StrangeNotFoundError(RegistryError):
    """A 404 that is not in the registry's own words."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    retry_after: str
    message: str = ""
    """The registry's own words where it refuses: one line, bounded, credentials masked."""
    code: int = 0
    """Its error code; 0 where it gives none."""

    @property
    def said(self) -> str:
        """What to tell of it."""
        return f"{self.status}: {self.message}" if self.message else f"{self.status}"


class Transport:
    """Asks one registry; threads may share it.

    Args:
        settings: Where the registry is, and its credentials.
        observe: Counts the tries.
        clock: Monotonic seconds.
        pause: Waits for some seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        observe: Observe,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = settings.registry_url
        self._observe = observe
        self._clock = clock
        self._pause = pause
        self._http = _client(settings)
        self._masks = settings.masks()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def must(
        self, method: str, path: str, body: Any = None, *, limit: int = MAX_ANSWER_BYTES
    ) -> Any:
        """Asks what a registry always has an answer to; see `ask`."""
        answer = self.ask(method, path, body, limit=limit)
        if answer is None:
            raise RegistryError(f"{self._asked(method, path)} found nothing there")
        return answer

    def ask(
        self, method: str, path: str, body: Any = None, *, limit: int = MAX_ANSWER_BYTES
    ) -> Any | None:
        """Asks once, and once more where that may help.

        Args:
            method: The HTTP method.
            path: The path below the registry's URL, quoted.
            body: What is sent, as JSON data.
            limit: Largest answer, in bytes.

        Returns:
            The answer's JSON data; None for "not found" in the registry's own words.

        Raises:
            AccessDeniedError: The credentials were refused.
            SchemaRefusedError: The schema or the level that was sent was refused.
            StrangeNotFoundError: Something that is no registry says that it found nothing.
            RegistryError: No usable answer; nothing is known about what was asked.
        """
        deadline = self._clock() + BUDGET_SECONDS
        asked = self._asked(method, path)
        for last in (False, True):
            retry_after = ""
            try:
                answer = self._exchange(method, path, body, limit=limit, deadline=deadline)
            except httpx.HTTPError as cause:
                timeout = isinstance(cause, httpx.TimeoutException)
                self._observe("timeout" if timeout else "unreachable")
                reason = str(cause) or type(cause).__name__
                failure = RegistryError(f"{asked} had no answer: {reason}")
                failure.__cause__ = cause
            else:
                self._observe(str(answer.status))
                if answer.status < 500 and answer.status not in {408, 429}:
                    return _sorted(answer, asked)
                retry_after = answer.retry_after
                failure = RegistryError(f"{asked} was answered {answer.said}")
            wait = _back_off(retry_after)
            # Half the budget must be left, or a registry that hangs is waited for twice.
            if last or self._clock() + wait > deadline - BUDGET_SECONDS / 2:
                raise failure
            self._pause(wait)
        raise AssertionError("the last try raises or returns")

    def _exchange(
        self, method: str, path: str, body: Any, *, limit: int, deadline: float
    ) -> _Answer:
        with self._http.stream(method, path, json=body) as response:
            raw = bytearray()
            # Raw: a compressed answer was not asked for, and could unpack to any size.
            for chunk in response.iter_raw():
                raw += chunk
                if len(raw) > limit:
                    raise httpx.ReadError(f"more than {limit:,} bytes")
                if self._clock() > deadline:
                    raise httpx.ReadTimeout("it was sent too slowly")
            retry_after = response.headers.get("retry-after", "")
        answer = _Answer(response.status_code, bytes(raw), retry_after)
        return answer if response.is_success else self._refusal(answer)

    def _refusal(self, answer: _Answer) -> _Answer:
        try:
            data = json.loads(answer.body)
        except (ValueError, RecursionError):
            return answer
        if not isinstance(data, dict):
            return answer
        # Masked: a registry, or what poses as one, may repeat what it was sent.
        message = credentials.mask(str(data.get("message", "")), self._masks)
        code = data.get("error_code")
        return replace(
            answer,
            message=" ".join(message.split())[:500],
            code=code if type(code) is int else 0,
        )

    def _asked(self, method: str, path: str) -> str:
        return f"schema registry {self._url}: {method} {path.partition('?')[0]}"


def field(answer: Any, name: str, kind: type[Any]) -> Any:
    """Returns one field of an answer.

    Raises:
        RegistryError: It is not there, or of another type.
    """
    value = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise RegistryError(f"the schema registry's answer has no {kind.__name__} `{name}`")
    return value


def _client(settings: Settings) -> httpx.Client:
    auth = None
    if settings.registry_auth is not None:
        user, _, password = settings.registry_auth.get_secret_value().partition(":")
        auth = httpx.BasicAuth(user, password)
    ca = settings.registry_ca
    return httpx.Client(
        base_url=settings.registry_url,
        auth=auth,
        headers={
            "Accept": f"{_CONTENT_TYPE}, application/json",
            "Accept-Encoding": "identity",
            "Content-Type": _CONTENT_TYPE,
        },
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        verify=True if ca is None else ssl.create_default_context(cafile=ca),
        # A proxy for the outside world must not stand between a worker and its registry, and
        # credentials come from the settings alone, not from a .netrc.
        trust_env=False,
    )


def _sorted(answer: _Answer, asked: str) -> Any | None:
    """Returns an answer's data, or None for "not found"; raises what it means otherwise."""
    if 200 <= answer.status < 300:
        try:
            data = json.loads(answer.body)
        except (ValueError, RecursionError) as cause:
            raise RegistryError(f"{asked} was not answered in JSON") from cause
        if data is None:
            # None means "not found" here, which a registry says otherwise.
            raise RegistryError(f"{asked} was answered with null")
        return data
    said = f"{asked} was answered {answer.said}"
    if answer.status in {401, 403}:
        raise AccessDeniedError(
            f"{said}; check MESH_REGISTRY_AUTH, and what the registry grants its user"
        )
    if answer.status in {409, 422}:
        raise SchemaRefusedError(said)
    if answer.status == 404:
        if answer.code in _NOT_FOUND:
            return None
        raise StrangeNotFoundError(
            f"{said}, not in a registry's own words; check the path in MESH_REGISTRY_URL "
            "(Apicurio serves the Confluent API under /apis/ccompat/v7)"
        )
    raise RegistryError(said)


def _back_off(retry_after: str) -> float:
    """How long to wait before the second try, in seconds."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    # Jitter spreads the workers that one restart of the registry has met.
    return random.uniform(0.1, 0.4)  # noqa: S311 - nothing hangs on its being guessed
