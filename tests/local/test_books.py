from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.freshness.figures import Figures
from mesh_stream.local.arrivals import Arrived
from mesh_stream.local.books import Account, Fed, Summary
from mesh_stream.product.loader import load_product

PRODUCT = load_product(Path(__file__).parents[2] / "products/orders/orders-completed")
RULE = ("payload", "malformed")

# Eleven in: three became four facts (one of them two), five were filtered, three rejected.
TOLD = Figures(
    consumed=Counter({"raw.orders": 11}),
    produced=Counter({PRODUCT.output.topic: 4, PRODUCT.dead_letter_topic: 3}),
    sources=3,
    filtered=Counter({"not_completed": 5}),
    rejected=Counter({RULE: 3}),
)


def read() -> Arrived:
    return Arrived(inputs=11, facts=4, letters=Counter({RULE: 3}))


def account(told: Figures = TOLD, restarts: int = 0, **changed: Any) -> Account:
    found = read()
    for name, value in changed.items():
        setattr(found, name, value)
    return Account(PRODUCT, told, found, restarts)


def test_books_that_balance_have_no_differences() -> None:
    assert list(account().differences()) == []


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"inputs": 12}, "input records: the workers counted 11, read were 12"),
        ({"facts": 3}, "facts on orders.orders-completed.v1: the workers counted 4, read were 3"),
        (
            {"letters": Counter({RULE: 2})},
            "rejected by payload/malformed: the workers counted 3, dead letters were 2",
        ),
        (
            {"letters": Counter({("payload", "type"): 3})},
            "rejected by payload/type: the workers counted 0, dead letters were 3",
        ),
        ({"strange": 1}, "1 records on orders.orders-completed.v1 are no facts"),
    ],
)
def test_what_the_topics_say_otherwise_is_a_difference(
    changed: dict[str, Any], difference: str
) -> None:
    assert difference in list(account(**changed).differences())


@pytest.mark.parametrize(
    "told",
    [
        replace(TOLD, sources=2),
        replace(TOLD, filtered=Counter({"not_completed": 4})),
        replace(TOLD, filtered=Counter({"not_completed": 6})),
    ],
)
def test_a_record_without_a_fate_is_a_difference(told: Figures) -> None:
    (only,) = account(told).differences()
    assert only.endswith("input records are neither a fact's source, filtered nor rejected")


def test_dead_letters_of_another_number_than_were_counted_are_a_difference() -> None:
    told = replace(TOLD, produced=Counter({PRODUCT.output.topic: 4, PRODUCT.dead_letter_topic: 9}))
    (only,) = account(told).differences()
    assert only == (
        "dead letters on dlq.orders.orders-completed: the workers counted 9, read were 3"
    )


def test_a_window_that_became_a_dead_letter_was_no_input_record() -> None:
    windows = Counter({RULE: 2})
    told = replace(TOLD, produced=Counter({PRODUCT.output.topic: 4, PRODUCT.dead_letter_topic: 5}))
    assert list(account(told, windows=windows).differences()) == []
    (only,) = account(windows=windows).differences()
    assert only == (
        "dead letters on dlq.orders.orders-completed: the workers counted 3, read were 5"
    )


def test_a_restart_explains_counters_that_are_short_and_excuses_nothing() -> None:
    differences = list(account(restarts=2, inputs=20).differences())
    assert len(differences) == 3
    assert differences[-1].startswith("its workers were restarted 2 times")
    assert list(account(restarts=2).differences()) == []


def test_records_that_were_fed_and_not_found_are_a_difference() -> None:
    fed = Summary({"orders-completed": account()}, Fed(("raw.orders", "raw.users"), 11), 10, ())
    assert fed.differences() == ["raw.orders, raw.users: 11 records were fed, read were 10"]
    assert fed.document()["balanced"] is False


def test_others_may_have_fed_the_topic_too() -> None:
    assert Summary({"p": account()}, Fed(("raw.orders",), 11), 12, ()).differences() == []


def test_a_problem_is_no_balance() -> None:
    summary = Summary({"p": account()}, None, 0, ("nothing moves any more",))
    assert summary.document()["balanced"] is False


def test_the_document_has_every_figure() -> None:
    told = replace(
        TOLD,
        produced=Counter({PRODUCT.output.topic: 4, PRODUCT.dead_letter_topic: 5}),
        tolerated=Counter({"amount_usual": 1}),
    )
    books = account(told, windows=Counter({("contract", "total_between"): 2}))
    for age in (10, 20, 30, 1_000_000):
        books.read.ages.add(age)
    document = Summary({"orders-completed": books}, Fed(("raw.orders",), 11), 11, ()).document()
    assert document == {
        "balanced": True,
        "published": 4,
        "fed": {"topics": ["raw.orders"], "records": 11},
        "products": {
            "orders-completed": {
                "in": 11,
                "sources": 3,
                "facts": 4,
                "filtered": {"not_completed": 5},
                "rejected": {"payload/malformed": 3},
                "rejected_windows": {"contract/total_between": 2},
                "tolerated": {"amount_usual": 1},
                "fresh": {
                    "objective_seconds": 900,
                    "within_ratio": 0.75,
                    "p50_ms": 20,
                    "p99_ms": 1_000_000,
                },
                "restarts": 0,
                "differences": [],
            }
        },
        "differences": [],
    }
