"""What a reset plans; what it does to a real product is in the tests of the command."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mesh_stream.errors import StoreError
from mesh_stream.kafka.client import Admin, admin
from mesh_stream.kafka.topics import Topic
from mesh_stream.mesh.actions import CreateTopic
from mesh_stream.mesh.reset import OwnTopic, Place, Situation, carry_out, meaning, steps
from mesh_stream.product.product import Product
from mesh_stream.settings import Settings
from tests.product.folds import product as load

SETTINGS = Settings.load(
    {"MESH_BOOTSTRAP_SERVERS": "127.0.0.1:1", "MESH_REGISTRY_URL": "http://127.0.0.1:1"}
)
KEYED = "inputs: [{topic: raw.stock, key: sku}]\nstate: {key: sku}"
UNKEYED = "inputs: [{topic: raw.stock}]\nstate: {key: sku}"
STATELESS = "inputs: [{topic: raw.stock}]"

Find = Callable[..., Situation]


@pytest.fixture(scope="module")
def client() -> Admin:
    """Asked nothing: planning needs no broker."""
    return admin(SETTINGS)


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """What a reset finds of a product that stands well."""

    def find(declared: str, *, keep: bool = False, missing: tuple[str, ...] = ()) -> Situation:
        code = (
            {}
            if "state:" in declared
            else {"code": "def pass_on(record: dict) -> dict:\n    return record\n"}
        )
        product = load(tmp_path, declared, **code)
        inputs = [Place("raw.stock", number, 0, 10, 6, 6 if keep else None) for number in (0, 1)]
        passing = Place(product.repartition_topic, 0, 0, 9, 4, 4 if keep else None)
        return Situation(
            product=product,
            keep=keep,
            members=(),
            inputs=tuple(inputs),
            passing=(passing,) if product.repartition_topic in product.own_topics else (),
            own=tuple(own(product, name, missing) for name in product.own_topics),
            stores=tmp_path,
        )

    return find


def own(product: Product, name: str, missing: tuple[str, ...]) -> OwnTopic:
    role = name.rpartition(".")[2]
    found = None if role in missing else Topic(name, 2, 1, {}, "id")
    return OwnTopic(found, 3, CreateTopic(product.name, role, name, 2, 1, {}))


def planned(found: Situation, client: Admin) -> list[str]:
    """The steps, shortened to verb and object."""
    sentences = [str(step) for step in steps(found, SETTINGS, client)]
    return [re.split(r" topic|:| of group|, /| where", one)[0] for one in sentences]


@pytest.mark.parametrize(
    ("declared", "keep", "expected"),
    [
        (
            KEYED, False,
            ["delete the offsets", "delete changelog", "create changelog",
             "remove this machine's stores"],
        ),
        (
            UNKEYED, False,
            ["delete repartition", "delete the offsets", "delete changelog",
             "create repartition", "create changelog", "remove this machine's stores"],
        ),
        (
            KEYED, True,
            ["delete changelog", "create changelog", "commit, and write to the changelog,",
             "remove this machine's stores"],
        ),
        (
            UNKEYED, True,
            ["delete repartition", "delete changelog", "create repartition", "create changelog",
             "commit, and write to the changelog,", "remove this machine's stores"],
        ),
        (STATELESS, False, ["delete the offsets", "remove this machine's stores"]),
        (STATELESS, True, ["remove this machine's stores"]),
    ],
)  # fmt: skip
def test_what_tells_of_the_old_life_goes_in_an_order_that_is_safe_to_stop_in(
    find: Find, client: Admin, declared: str, keep: bool, expected: list[str]
) -> None:
    assert planned(find(declared, keep=keep), client) == expected


@pytest.mark.parametrize(
    "missing", [("changelog",), ("repartition",), ("changelog", "repartition")]
)
def test_what_another_reset_has_taken_away_is_not_planned_again_but_made(
    find: Find, client: Admin, missing: tuple[str, ...]
) -> None:
    found = planned(find(UNKEYED, missing=missing), client)
    assert [one for one in found if one.startswith("create")] == [
        "create repartition", "create changelog",
    ]  # fmt: skip
    left = [f"delete {role}" for role in ("repartition", "changelog") if role not in missing]
    assert [one for one in found if one.startswith("delete") and "offsets" not in one] == left
    if "changelog" not in missing:
        assert found.index("delete the offsets") < found.index("delete changelog")


def test_every_position_that_is_kept_is_said_to_the_changelog_as_well(find: Find) -> None:
    assert find(KEYED, keep=True).positions == {("raw.stock", 0): 6, ("raw.stock", 1): 6}
    assert find(KEYED).positions == {}


def test_on_the_way_to_be_keyed_nothing_is_left_and_the_inputs_stay(find: Find) -> None:
    found = find(UNKEYED, keep=True)
    topic = found.product.repartition_topic
    inputs = {("raw.stock", 0): 6, ("raw.stock", 1): 6}
    assert found.positions == {**inputs, (topic, 0): 0, (topic, 1): 0}
    (skipped,) = [one for one in meaning(found) if "skipped" in one]
    assert skipped.startswith(f"up to 5 events on the way in {topic}")


def test_a_gap_and_a_topic_made_anew_are_told(find: Find) -> None:
    found = find(STATELESS, keep=True)
    gap = Place("raw.stock", 0, first=9, end=10, committed=6, next=9)
    anew = Place("raw.stock", 1, first=0, end=2, committed=6, next=0)
    none = Place("raw.stock", 2, first=0, end=2, committed=None)
    found = replace(found, inputs=(gap, anew, none))
    assert found.positions == {("raw.stock", 0): 9, ("raw.stock", 1): 0}
    assert meaning(found)[1:] == [
        "3 records that retention has removed unread are skipped",
        "raw.stock[1] was created anew: it is read from its beginning, offset 0",
        "raw.stock[2] has no position: it is read from its beginning",
    ]


def test_what_is_read_again_and_what_is_not_there_to_be_read_is_told(find: Find) -> None:
    found = find(KEYED)
    found = replace(found, inputs=(Place("raw.stock", 0, first=4, end=10, committed=6),))
    again, gone = meaning(found)
    assert "from its beginning, 6 offsets: facts are published again on stock.stock-levels" in again
    assert "4 records are gone, and what they told is not remembered" in gone


def test_stores_that_cannot_be_removed_are_a_fault_of_the_machine(
    find: Find, client: Admin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("mesh_stream.mesh.reset.members", lambda *_: [])
    file = tmp_path / "no-folder"
    file.write_text("")
    found = replace(find(STATELESS, keep=True), stores=file)
    planned = steps(found, SETTINGS, client)
    with pytest.raises(StoreError, match=f"the stores in {file} cannot be removed"):
        carry_out(planned, found.product, client, print)
