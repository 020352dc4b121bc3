"""A product's examples: data beside the product that say what becomes of which record.

Each file `tests/*.yaml` of a product is a list:

    - name: a completed order is a fact
      given: {order_id: ord_1, status: completed, items: [{sku: a, qty: 2, unit_price: 9.99}]}
      facts:
        - {order_id: ord_1, total_amount: 19.98, completed_at: "2026-01-01T12:00:00Z"}
    - name: any other order is left out
      given: {order_id: ord_1, status: cancelled}
      filtered: not_completed
    - name: an order id is one of ours
      given: {order_id: "17", status: completed}
      rejected: {class: contract, rule: order_id_match_regex}

Where the product remembers, time may pass after the records, and more come `then`:

    - name: an order after the grace is refused
      given: {order_id: ord_1, completed_at: "2026-01-01T09:30:00Z"}
      advance: "2026-01-01T10:15:00Z"
      then: {order_id: ord_2, completed_at: "2026-01-01T09:59:00Z"}
      facts:
        - {hour_start: "2026-01-01T09:00:00Z", orders: 1}
      rejected: {class: contract, rule: late}

What an example says of its records is all that may become of them. Values are written as in JSON; a
decimal of more than 15 digits is put in quotes, since YAML reads a number as a float.
"""

from __future__ import annotations

import base64
import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import BeforeValidator, Field, model_validator

from mesh_stream.errors import DeclarationError, Fault, HaltError, PlatformError
from mesh_stream.product.product import Action, Product, Rule
from mesh_stream.product.sla import UnreadableError
from mesh_stream.product.validation import Declared, Faults, validated
from mesh_stream.product.yaml_source import Document, read_yaml
from mesh_stream.testing import ProductDriver, Rejection


class ExpectedRejection(Declared):
    """One dead letter."""

    fault_class: Literal["payload", "contract", "code"] = Field(
        alias="class", description="Whose fault it is.", examples=["contract"]
    )
    rule: str = Field(
        description="The quality rule, or the path's own word for it.", examples=["malformed"]
    )


_json = msgspec.json.Encoder(decimal_format="number")


def _moment(text: object) -> object:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UnreadableError("a moment with its time zone, such as 2026-01-01T12:00:00Z")
    return moment


Moment = Annotated[datetime, BeforeValidator(_moment)]
Counts = dict[str, Annotated[int, Field(ge=1)]]


class Example(Declared):
    """Records, and all that becomes of them."""

    name: str = Field(
        min_length=1,
        description="What it shows, as a sentence.",
        examples=["a completed order is a fact"],
    )
    given: Any = Field(
        description=(
            "The record, or a list of records sent in order; text is sent as the bytes it is, and "
            "null is a tombstone."
        ),
        examples=[{"order_id": "ord_1"}],
    )
    topic: str | None = Field(
        default=None, description="The input; left out: the product's first.", examples=["raw.a"]
    )
    key: str | None = Field(default=None, description="The records' key.", examples=["ord_1"])
    headers: dict[str, str] | None = Field(
        default=None, description="The records' headers.", examples=[{"source": "shop"}]
    )
    timestamp: int | None = Field(
        default=None,
        description="Their timestamp, milliseconds since the epoch.",
        examples=[1767225600000],
    )
    advance: Moment | None = Field(
        default=None,
        description="How far the event time of every input comes then, so that windows close.",
        examples=["2026-01-01T12:00:00Z"],
    )
    then: Any = Field(
        default=None,
        description="The record, or a list of records, that come after `advance`.",
        examples=[{"order_id": "ord_1"}],
    )
    facts: tuple[dict[str, Any], ...] = Field(
        default=(), description="The facts, whole and in order.", examples=[[{"id": "ord_1"}]]
    )
    filtered: Counts = Field(
        default_factory=dict,
        description="Why records make no fact: a reason, or reasons and how many records.",
        examples=["not_completed", {"not_completed": 2}],
    )
    rejected: tuple[ExpectedRejection, ...] = Field(
        default=(),
        description="The dead letter, or a list of them in order.",
        examples=[{"class": "contract", "rule": "order_id_not_null"}],
    )
    tolerated: Counts = Field(
        default_factory=dict,
        description="Rules with the action observe or warn that the facts break.",
        examples=["amount_usual"],
    )
    halted: str | None = Field(
        default=None,
        description="The rule with the action fail at which the product stops.",
        examples=["ledger_balanced"],
    )

    @model_validator(mode="after")
    def _says_something(self) -> Example:
        if not self.model_fields_set & _EXPECTATIONS:
            expected = "at least one of facts, filtered, rejected, tolerated and halted"
            raise UnreadableError(expected, "an example without one proves nothing", found="none")
        if "then" in self.model_fields_set and self.advance is None:
            found = "then without advance"
            raise UnreadableError("both: then comes after the time that advance says", found=found)
        return self

    def steps(self) -> Iterator[datetime | list[Any]]:
        """Yields records that are sent, and moments that time comes to, in order."""
        yield self.given if isinstance(self.given, list) else [self.given]
        if self.advance is not None:
            yield self.advance
        if "then" in self.model_fields_set:
            yield self.then if isinstance(self.then, list) else [self.then]


_EXPECTATIONS = {"facts", "filtered", "rejected", "tolerated", "halted"}


class _ExampleFile(Declared):
    examples: tuple[Example, ...] = Field(description="The examples.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an example went.

    Attributes:
        path: The file it stands in.
        line: Its line there.
        name: Its name.
        differences: What became of its records, where that is not what it says; empty if it holds.
    """

    path: Path
    line: int
    name: str
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Examined:
    """How all examples of a product went.

    Attributes:
        verdicts: One for each example, in order.
        unproven: Rules with the action dlq or fail whose absence no example would notice.
    """

    verdicts: tuple[Verdict, ...]
    unproven: tuple[Rule, ...]


def examine(product: Product) -> Examined:
    """Runs every example of a product, and once more without each rule that stops records.

    A rule without which all examples still hold is proven by none: it could be wrong, or gone.

    Raises:
        DeclarationError: An example file is wrong; with every fault of all of them.
    """
    placed = _read(product)
    verdicts = tuple(
        Verdict(path, line, example.name, tuple(_differences(product, example)))
        for path, line, example in placed
    )
    holding = [
        example
        for (_, _, example), verdict in zip(placed, verdicts, strict=True)
        if not verdict.differences and (example.rejected or example.halted)
    ]
    return Examined(verdicts, tuple(_unproven(product, holding)))


def _read(product: Product) -> list[tuple[Path, int, Example]]:
    faults = Faults()
    found: list[tuple[Path, int, Example]] = []
    for path in sorted((product.folder / "tests").glob("*.y*ml")):
        try:
            found += _read_file(path, product)
        except DeclarationError as error:
            faults.found += error.faults
    faults.raise_any()
    return found


def _read_file(path: Path, product: Product) -> Iterator[tuple[Path, int, Example]]:
    document = read_yaml(path)
    if not isinstance(document.data, list):
        found = "a mapping" if isinstance(document.data, dict) else "no list"
        raise DeclarationError([Fault(path, 1, "", found, "a list of examples")])
    # The models describe mappings, in their long form: the list gets a name for a moment.
    lines = {("examples", *place): line for place, line in document.lines.items()}
    examples = [_long_form(example) for example in document.data]
    whole = Document(path, {"examples": examples}, lines)
    topics = [port.topic for port in product.inputs]
    for index, example in enumerate(validated(whole, _ExampleFile).examples):
        if example.topic is not None and example.topic not in topics:
            where = ("examples", index, "topic")
            fault = whole.fault(where, repr(example.topic), f"one of {', '.join(topics)}")
            raise DeclarationError([fault])
        yield path, whole.line(("examples", index)), example


def _long_form(example: Any) -> Any:
    """One rejection as a list of one, a reason alone as one record of it."""
    if not isinstance(example, dict):
        return example
    whole = dict(example)
    if isinstance(whole.get("rejected"), dict):
        whole["rejected"] = [whole["rejected"]]
    for counted in ("filtered", "tolerated"):
        if isinstance(whole.get(counted), str):
            whole[counted] = {whole[counted]: 1}
    return whole


def _differences(product: Product, example: Example) -> Iterator[str]:
    driver = ProductDriver(product)
    halted: str | None = None
    try:
        _play(driver, example)
    except HaltError as halt:
        halted = halt.rule
    except (PlatformError, ValueError) as error:
        yield f"{type(error).__name__}: {error}"
        return
    yield from differences(list(example.facts), driver.facts, "facts")
    yield from _count_differences("filtered", example.filtered, driver.filtered)
    yield from _rejection_differences(example.rejected, driver.rejected)
    yield from _count_differences("tolerated", example.tolerated, driver.tolerated)
    if halted != example.halted:
        yield f"halted: expected {example.halted or 'not'}, found {halted or 'not'}"


def _play(driver: ProductDriver, example: Example) -> None:
    for step in example.steps():
        if isinstance(step, datetime):
            driver.advance(step)
            continue
        for record in step:
            driver.send(
                record,
                key=example.key,
                headers=example.headers,
                topic=example.topic,
                timestamp=example.timestamp,
            )


def _count_differences(
    what: str, expected: Mapping[str, int], found: Counter[str]
) -> Iterator[str]:
    for reason in sorted({*expected, *found}):
        if expected.get(reason, 0) != found[reason]:
            yield f"{what}.{reason}: expected {expected.get(reason, 0)}, found {found[reason]}"


def _rejection_differences(
    expected: Sequence[ExpectedRejection], found: Sequence[Rejection]
) -> Iterator[str]:
    for index, (one, other) in enumerate(zip_longest(expected, found)):
        wanted = f"{one.fault_class} {one.rule}" if one else "nothing"
        got = f"{other.fault_class} {other.rule}" if other else "nothing"
        if wanted != got:
            why = f" ({other.reason})" if other else ""
            yield f"rejected[{index}]: expected {wanted}, found {got}{why}"


def _unproven(product: Product, examples: Sequence[Example]) -> Iterator[Rule]:
    for rule in product.rules:
        if rule.action in (Action.DLQ, Action.FAIL):
            rest = tuple(other for other in product.rules if other is not rule)
            without = dataclasses.replace(product, rules=rest)
            if not any(any(_differences(without, example)) for example in examples):
                yield rule


def differences(expected: Any, found: Any, place: str) -> list[str]:
    """How facts differ from what is expected, in the words of JSON; nothing where they do not.

    Args:
        expected: Data as JSON or YAML has it: a decimal as a number or text, a moment as text.
        found: What a consumer reads.
        place: What the two are called, such as `facts`.
    """
    if isinstance(found, dict) and isinstance(expected, Mapping):
        unexpected = [
            f"{place}.{name}: expected no such field" for name in found if name not in expected
        ]
        missing = [f"{place}.{name}: found no such field" for name in expected if name not in found]
        inside = [
            difference
            for name in expected
            if name in found
            for difference in differences(expected[name], found[name], f"{place}.{name}")
        ]
        return inside + missing + unexpected
    if isinstance(found, list) and isinstance(expected, list):
        inside = [
            difference
            for index, (one, other) in enumerate(zip(expected, found, strict=False))
            for difference in differences(one, other, f"{place}[{index}]")
        ]
        more = [
            f"{place}[{index}]: expected nothing more, found {_shown(found[index])}"
            for index in range(len(expected), len(found))
        ]
        fewer = [
            f"{place}[{index}]: expected {_shown(expected[index])}, found nothing more"
            for index in range(len(found), len(expected))
        ]
        return inside + more + fewer
    if _means(expected, found):
        return []
    return [f"{place}: expected {_shown(expected)}, found {_shown(found)}"]


def _means(expected: Any, found: Any) -> bool:
    """Whether a value of JSON means the value that was found."""
    if isinstance(found, bool) or isinstance(expected, bool) or expected is None or found is None:
        return expected is found
    try:
        match found:
            case Decimal():
                return Decimal(str(expected)) == found
            case bytes():
                return base64.b64decode(expected, validate=True) == found
            case datetime() | date() | time() | UUID():
                return bool(msgspec.convert(expected, type(found)) == found)
            case _:
                return bool(expected == found)
    except (ArithmeticError, TypeError, ValueError):
        return False


def _shown(value: Any) -> str:
    return _json.encode(value).decode()
