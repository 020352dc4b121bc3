from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.product.regex_lint import is_explosive, regex_problem

EXPLOSIVE = [
    r"(a+)+$",
    r"(a*)*b",
    r"(a|a)*b",
    r"(a|aa)+$",
    r"([a-z]+)*$",
    r"(.*a){12}x",
    r"(a|b|ab)*c",
    r"(\d+|\w+)*x",
    r"(a*b*)*c",
    r"(x+x+)+y",
    r"(\w+\s?)+$",
    r"([0-9]{1,3},?)+x",
    r"([a-z]{2,10})+$",
    r"(\.\d+|\d+)+$",
    r"(?=(a+)+$)",
    r"(?s)(?:.|\n)*x(?:.|\n)*(.+)+y",
    r"(?i)(?:a+|A+)*b",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
]
ORDINARY = [
    r"",
    r"ord_[a-z0-9]+",
    r"^ord_[a-z0-9]+$",
    r"[a-z]+(-[a-z]+)*",
    r"(\d+,)*",
    r"^\d{4}-\d{2}-\d{2}$",
    r"([a-z]{2})+",
    r"([a-f0-9]{8})+",
    r"[a-f0-9]{64}",
    r"(?:[a-z]{64})+x",
    r"\d{1,40}",
    r"([a-z]{1,30},)*",
    r"(\d{1,3}\.){3}\d{1,3}",
    r"^https?://[^\s/]+(/[^\s/]*)*$",
    r"[^@]+@[^@]+\.[a-z]+",
    r"(?>a+)+b",
    r"(?:a++)+b",
    r"(ab|cd)*",
    r"(a?)*b",
    r"(?i)(a|A)*b",
    r"^(?:.|\n)*$",
    r"(|a)x",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"^(?P<country>[A-Z]{2})\d{2}[A-Z0-9]{1,30}$",
    r'"[^"]*"(,"[^"]*")*',
    r"(['\"]).*?\1",
    r"(?<!x)a(?!y)",
    r"(a)?(?(1)b|c)",
    r"[^\W\d_]+",
    "a" * 500,
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*@([a-z0-9-]+\.)+[a-z]{2,}",
]


@pytest.mark.parametrize("pattern", EXPLOSIVE)
def test_an_expression_that_could_stall_a_worker_is_refused(pattern: str) -> None:
    assert is_explosive(pattern)
    problem = regex_problem(pattern)
    assert problem is not None
    assert "exponential" in problem[1]


@pytest.mark.parametrize("pattern", ORDINARY, ids=lambda pattern: pattern[:30])
def test_an_ordinary_expression_is_not(pattern: str) -> None:
    assert regex_problem(pattern) is None


@pytest.mark.parametrize(("pattern", "text"), [(r"(a+)+$", "a"), (r"(x+x+)+y", "x")])
def test_what_is_called_explosive_does_stall_the_engine(pattern: str, text: str) -> None:
    # In a process of its own: the engine cannot be interrupted.
    code = f"import re; re.match({pattern!r}, {text!r} * 60 + '!')"

    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", code], timeout=1, check=True)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("(", "the regular expression '('"),
        ("[z-a]", "the regular expression"),
        ("[[a]", "the regular expression"),
        ("a" * 1001, "a regular expression of 1001 characters"),
        (re.compile("a"), "Pattern as a regular expression"),
        (None, "NoneType as a regular expression"),
        ("a{99999999999}", "the regular expression"),
    ],
    ids=str,
)
def test_what_is_no_expression_is_a_fault(pattern: object, found: str) -> None:
    problem = regex_problem(pattern)

    assert problem is not None
    assert problem[0].startswith(found)


@given(st.text(alphabet=r"ab01.*+?()[]{},|\dws^$-:=!<>iP", max_size=16))
def test_any_text_is_judged_and_never_raises(pattern: str) -> None:
    regex_problem(pattern)
