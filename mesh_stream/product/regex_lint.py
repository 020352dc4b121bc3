"""Checks a regular expression before it is applied to every record."""

from __future__ import annotations

import re

MAX_LENGTH = 1_000


def regex_problem(pattern: object) -> tuple[str, str, str] | None:
    """Returns what is wrong with an expression, as found, expected and remedy; None if nothing.

    Args:
        pattern: What an author gave as an expression.
    """
    if not isinstance(pattern, str):
        found = f"{type(pattern).__name__} as a regular expression"
        return found, "text; flags go inside it, as in (?i)", ""
    if len(pattern) > MAX_LENGTH:
        found = f"a regular expression of {len(pattern)} characters"
        return found, f"at most {MAX_LENGTH}", ""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as cause:
        return f"the regular expression {pattern!r}", f"one that compiles ({cause})", ""
    return None
