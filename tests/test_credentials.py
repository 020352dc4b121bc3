from __future__ import annotations

import base64
import io
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.credentials import (
    MASK,
    MAX_BYTES,
    MaskingFilter,
    UnresolvedError,
    mask,
    masks,
    resolve,
)

CANARY = "canary-7f3a9c"


def test_a_variable_is_referred_to() -> None:
    assert resolve("${env:PASSWORD}", {"PASSWORD": CANARY}) == CANARY


def test_a_file_is_referred_to_and_its_last_line_break_is_not_part_of_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for content, expected in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a ")]:
        secret.write_text(content, newline="")

        assert resolve(f"${{file:{secret}}}", {}) == expected


def test_other_text_is_itself() -> None:
    assert resolve("SASL_SSL", {}) == "SASL_SSL"


def test_what_a_reference_leads_to_is_not_read_again() -> None:
    env = {"OUTER": "${env:INNER}", "INNER": "reached"}

    assert resolve("${env:OUTER}", env) == "${env:INNER}"


@pytest.mark.parametrize("text", ["user:${env:P}", "${env:P} ", "${env:P}${env:P}", "${P}", "${"])
def test_a_reference_is_the_whole_value_or_a_fault(text: str) -> None:
    with pytest.raises(UnresolvedError, match="whole value"):
        resolve(text, {"P": CANARY})


@pytest.mark.parametrize("env", [{}, {"P": ""}])
def test_an_unset_or_empty_variable_is_a_fault_that_names_it(env: dict[str, str]) -> None:
    with pytest.raises(UnresolvedError, match="variable P"):
        resolve("${env:P}", env)


def test_a_file_that_cannot_be_a_credential_is_a_fault_without_its_content(tmp_path: Path) -> None:
    binary, large, empty = tmp_path / "binary", tmp_path / "large", tmp_path / "empty"
    binary.write_bytes(CANARY.encode() + b"\xff")
    large.write_text(CANARY * MAX_BYTES)
    empty.touch()
    for path in (binary, large, empty, tmp_path / "missing", tmp_path):
        with pytest.raises(UnresolvedError) as caught:
            resolve(f"${{file:{path}}}", {})

        assert str(path) in str(caught.value)
        assert CANARY not in str(caught.value)
        assert CANARY not in str(caught.value.__cause__)


def test_everything_that_gives_a_secret_away_is_masked() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END PRIVATE KEY-----"
    secrets = masks([f"mesh:{CANARY}", pem])
    given_away = [
        CANARY,
        base64.b64encode(f"mesh:{CANARY}".encode()).decode(),
        "MIIEvQIBADANBgkqhkiG9w0B",
        pem,
    ]
    for text in given_away:
        assert mask(f"before {text} after", secrets) == f"before {MASK} after"


def test_a_secret_inside_another_leaves_no_rest() -> None:
    assert mask("abcdef abc", masks(["abc", "abcdef"])) == f"{MASK} {MASK}"


def test_userinfo_of_any_url_is_masked() -> None:
    text = "GET https://mesh:hunter2@registry:8081/subjects and 'http://a@b'"

    expected = f"GET https://{MASK}@registry:8081/subjects and 'http://{MASK}@b'"
    assert mask(text) == expected


@given(st.lists(st.text(min_size=1)), st.text(), st.text())
def test_no_secret_survives_masking(secrets: list[str], before: str, after: str) -> None:
    hidden = masks(secrets)

    masked = mask(before + "".join(secrets) + after, hidden)

    for secret in secrets:
        # The mask's own asterisks are not somebody's secret.
        assert secret in MASK or secret not in masked.replace(MASK, "")


def test_logs_are_masked_in_messages_arguments_tracebacks_and_stacks() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(MaskingFilter(masks([CANARY])))
    logger = logging.Logger("masked")
    logger.addHandler(handler)

    logger.warning("plain %s", CANARY)
    logger.warning(f"inline {CANARY}")
    logger.warning("mapping %(p)s", {"p": CANARY})
    try:
        raise ValueError(CANARY)
    except ValueError:
        logger.exception("raised")
    logger.warning("stack", stack_info=True)

    written = stream.getvalue()
    assert CANARY not in written
    assert written.count(MASK) >= 4
    assert "ValueError" in written
