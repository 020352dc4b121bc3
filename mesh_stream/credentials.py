"""Credentials are referred to, never written: `${env:NAME}` or `${file:/path}`, as a whole value.

And what they resolve to is masked wherever text leaves the process: `mask` for messages,
`MaskingFilter` for logs.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

MAX_BYTES = 65_536
"""A credential file larger than this is something else, named by mistake."""

_REFERENCE = re.compile(r"\$\{(env|file):([^{}]+)\}")
_USERINFO = re.compile(r"(?<=://)[^/@\s'\"]+@")
MASK = "*****"


class UnresolvedError(ValueError):
    """A reference does not resolve.

    Attributes:
        found: What it led to; never a value.
        expected: What it should have led to.
    """

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"found {found}; expected {expected}")
        self.found = found
        self.expected = expected


def is_reference(text: str) -> bool:
    """Whether the text is, as a whole, `${env:NAME}` or `${file:/path}`."""
    return _REFERENCE.fullmatch(text) is not None


def resolve(text: str, env: Mapping[str, str]) -> str:
    """Returns what a reference leads to, or the text itself where it is none.

    What comes out is never read again: a secret that looks like a reference, or like YAML, is
    just a secret. A file's final line break is not part of its secret.

    Raises:
        UnresolvedError: The variable is unset or empty, the file cannot be read, or the reference
            is only a part of the text.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        if "${" in text:
            raise UnresolvedError(
                "a reference inside other text",
                "the reference alone, as the whole value: ${env:NAME} or ${file:/path}",
            )
        return text
    kind, name = match.groups()
    value = env.get(name, "") if kind == "env" else _read(Path(name))
    if not value:
        what = f"the variable {name}, unset or empty" if kind == "env" else f"{name}, empty"
        raise UnresolvedError(what, f"a value for {text}")
    return value


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode()
    except OSError as cause:
        reason = (cause.strerror or type(cause).__name__).lower()
        raise UnresolvedError(f"{path}: {reason}", "a readable file") from cause
    except UnicodeDecodeError:
        # Not chained: the cause carries the bytes.
        raise UnresolvedError(f"{path}, which is not UTF-8", "a text file") from None
    if len(raw) > MAX_BYTES:
        raise UnresolvedError(f"{path}, larger than {MAX_BYTES:,} bytes", "a credential")
    return text.removesuffix("\n").removesuffix("\r")


def masks(secrets: Iterable[str]) -> tuple[str, ...]:
    """Returns every text that gives a secret away, longest first.

    That is the secret; each long line of one that spans lines (a PEM key is logged line by line);
    and its base64, which is how HTTP carries `user:password`.
    """
    found: set[str] = set()
    for secret in secrets:
        found.add(secret)
        found.add(base64.b64encode(secret.encode()).decode())
        lines = secret.splitlines()
        if len(lines) > 1:
            found.update(line for line in lines if len(line) >= 16)
        user, colon, password = secret.partition(":")
        if colon and user and password and len(lines) == 1:
            found.add(password)
    found.discard("")
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """Returns the text with every one of `secrets` (from `masks`) and any URL's userinfo hidden."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _USERINFO.sub(f"{MASK}@", text)


class MaskingFilter(logging.Filter):
    """Hides secrets in whatever a handler writes, tracebacks included.

    Belongs on handlers: a filter on a logger does not see what its children log.

    Args:
        secrets: From `masks`.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrites the record in place; drops none."""
        record.msg = mask(record.getMessage(), self._secrets)
        record.args = None
        if record.exc_info:
            # A formatter uses exc_text where it is set, and formats exc_info only where it is not.
            text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            record.exc_text = mask(text, self._secrets)
        if record.stack_info:
            record.stack_info = mask(record.stack_info, self._secrets)
        return True
