from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.errors import BrokerError
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import Admin, admin
from mesh_stream.kafka.topics import (
    DEAD_LETTER_RETENTION_MS,
    HEADER_ROOM_BYTES,
    Topic,
    dead_letter_settings,
    output_settings,
    same_setting,
    suffices,
)
from mesh_stream.local.stack import Stack
from mesh_stream.product.product import Limits
from mesh_stream.settings import Settings
from tests.kafka.declaring import Declared, settings_of, unique

PRODUCT = Declared("orders-completed").product
WEEK = 604_800_000
YEAR = 31_536_000_000


def source(**settings: str) -> Topic:
    return Topic("raw", 4, 1, {name.replace("_", "."): text for name, text in settings.items()})


class TestWhatAnOutputTopicHas:
    def test_what_is_declared_goes_before_what_is_usual(self) -> None:
        declared = Declared(
            "p", settings={"cleanup.policy": "compact", "retention.ms": "5"}
        ).product

        settings = output_settings(declared, replicas=1)

        assert settings["cleanup.policy"] == "compact"
        assert settings["retention.ms"] == "5"
        assert settings["compression.type"] == "producer"

    def test_two_replicas_have_to_be_in_sync_where_there_are_three(self) -> None:
        assert "min.insync.replicas" not in output_settings(PRODUCT, replicas=1)
        assert "min.insync.replicas" not in output_settings(PRODUCT, replicas=2)
        assert output_settings(PRODUCT, replicas=3)["min.insync.replicas"] == "2"

    @pytest.mark.parametrize("record_bytes", [1_000, 1_000_000, 5_000_000])
    def test_the_largest_fact_fits(self, record_bytes: int) -> None:
        declared = Declared("p", limits=Limits(record_bytes=record_bytes)).product

        settings = output_settings(declared, replicas=1)

        admitted = int(settings.get("max.message.bytes", topics.DEFAULT_MESSAGE_BYTES))
        assert admitted >= record_bytes + HEADER_ROOM_BYTES


class TestWhatADeadLetterTopicHas:
    @pytest.mark.parametrize(
        ("sources", "expected"),
        [
            ([], DEAD_LETTER_RETENTION_MS),
            ([source()], DEAD_LETTER_RETENTION_MS),
            ([source(retention_ms=str(WEEK))], DEAD_LETTER_RETENTION_MS),
            ([source(retention_ms=str(YEAR))], YEAR),
            ([source(retention_ms=str(YEAR)), source(retention_ms=str(WEEK))], YEAR),
            ([source(retention_ms="-1")], -1),
            ([source(retention_ms="-1"), source(retention_ms=str(YEAR))], -1),
            ([source(cleanup_policy="compact", retention_ms=str(WEEK))], -1),
            ([source(cleanup_policy="delete,compact", retention_ms=str(WEEK))], -1),
            ([Topic("unreadable", 4, 1, None)], DEAD_LETTER_RETENTION_MS),
        ],
    )
    def test_a_dead_letter_outlives_its_source(self, sources: list[Topic], expected: int) -> None:
        settings = dead_letter_settings(PRODUCT, sources, replicas=1)

        assert settings["retention.ms"] == str(expected)
        assert settings["retention.bytes"] == "-1"
        assert settings["cleanup.policy"] == "delete"

    @given(
        st.lists(st.integers(1, 100_000_000), max_size=3),
        st.integers(1_000, 100_000_000),
    )
    def test_every_record_fits_with_its_headers(self, sizes: list[int], limit: int) -> None:
        declared = Declared("p", limits=Limits(input_bytes=limit)).product
        sources = [source(max_message_bytes=str(size)) for size in sizes]

        admitted = int(dead_letter_settings(declared, sources, replicas=1)["max.message.bytes"])

        assert admitted >= max([limit, *sizes]) + HEADER_ROOM_BYTES


class TestComparingSettings:
    @pytest.mark.parametrize(
        ("name", "actual", "wanted"),
        [
            ("min.cleanable.dirty.ratio", "0.5", "0.50"),
            ("retention.ms", "1000", "1000"),
            ("preallocate", "false", "False"),
            ("cleanup.policy", "compact,delete", "delete, compact"),
        ],
    )
    def test_two_ways_to_write_a_setting_are_the_same(
        self, name: str, actual: str, wanted: str
    ) -> None:
        assert same_setting(name, actual, wanted)

    @pytest.mark.parametrize(
        ("name", "actual", "wanted"),
        [
            ("retention.ms", "1000", "1001"),
            ("retention.ms", None, "1001"),
            ("cleanup.policy", "compact", "compact,delete"),
            ("compression.type", "lz4", "zstd"),
        ],
    )
    def test_other_settings_differ(self, name: str, actual: str | None, wanted: str) -> None:
        assert not same_setting(name, actual, wanted)

    @pytest.mark.parametrize(
        ("name", "actual", "wanted", "enough"),
        [
            ("retention.ms", "1000", "1000", True),
            ("retention.ms", "1001", "1000", True),
            ("retention.ms", "999", "1000", False),
            ("retention.ms", "-1", "1000", True),
            ("retention.ms", "1000", "-1", False),
            ("retention.ms", "-1", "-1", True),
            ("cleanup.policy", "compact", "delete", False),
            ("retention.ms", "", "1000", False),
            ("min.insync.replicas", "3", "2", False),
        ],
    )
    def test_an_operator_may_keep_dead_letters_longer_not_shorter(
        self, name: str, actual: str, wanted: str, enough: bool
    ) -> None:
        assert suffices(name, actual, wanted) is enough


@pytest.fixture(scope="module")
def client(stack: Stack) -> Admin:
    return admin(settings_of(stack))


@pytest.mark.kafka
class TestARealBroker:
    def test_a_topic_is_created_as_asked_and_described_as_it_is(self, client: Admin) -> None:
        name = unique("topic")
        topics.create(client, name, partitions=3, replicas=1, settings={"retention.ms": "12345"})

        found = topics.describe(client, [name, unique("missing")])

        assert list(found) == [name]
        assert (found[name].partitions, found[name].replicas) == (3, 1)
        assert found[name].setting("retention.ms", "") == "12345"
        assert found[name].setting("cleanup.policy", "") == "delete"

    def test_nothing_is_described_without_asking(self, client: Admin) -> None:
        assert topics.describe(client, []) == {}

    def test_a_topic_that_exists_is_left_as_it_is(self, client: Admin) -> None:
        name = unique("topic")
        topics.create(client, name, partitions=1, replicas=1, settings={"retention.ms": "12345"})

        topics.create(client, name, partitions=5, replicas=1, settings={"retention.ms": "1"})

        found = topics.describe(client, [name])[name]
        assert (found.partitions, found.setting("retention.ms", "")) == (1, "12345")

    def test_only_the_named_settings_are_altered(self, client: Admin) -> None:
        name = unique("topic")
        settings = {"retention.ms": "12345", "max.message.bytes": "2000000"}
        topics.create(client, name, partitions=1, replicas=1, settings=settings)

        topics.alter(client, name, {"retention.ms": "99999"})

        found = topics.describe(client, [name])[name]
        assert found.setting("retention.ms", "") == "99999"
        assert found.setting("max.message.bytes", "") == "2000000"

    def test_partitions_are_added(self, client: Admin) -> None:
        name = unique("topic")
        topics.create(client, name, partitions=1, replicas=1, settings={})

        topics.add_partitions(client, name, 4)

        assert topics.describe(client, [name])[name].partitions == 4

    def test_what_a_new_topic_gets_is_foretold(self, client: Admin) -> None:
        name = unique("topic")
        foretold = topics.cluster(client)
        topics.create(client, name, partitions=1, replicas=1, settings={})

        found = topics.describe(client, [name])[name]

        assert foretold.brokers == 1
        assert foretold.defaults.keys() == {"cleanup.policy", "max.message.bytes", "retention.ms"}
        for setting, value in foretold.defaults.items():
            assert found.setting(setting, "") == value

    def test_what_the_broker_refuses_is_told_in_its_words(self, client: Admin) -> None:
        name = unique("topic")
        with pytest.raises(BrokerError, match=f"cannot create topic {name}.*replication factor"):
            topics.create(client, name, partitions=1, replicas=7, settings={})
        with pytest.raises(BrokerError, match=r"retention\.ms"):
            topics.create(client, name, partitions=1, replicas=1, settings={"retention.ms": "x"})
        with pytest.raises(BrokerError, match=f"cannot alter topic {name}"):
            topics.alter(client, name, {"retention.ms": "1"})
        with pytest.raises(BrokerError, match=f"cannot add partitions to topic {name}"):
            topics.add_partitions(client, name, 2)

    def test_an_unreachable_broker_is_told_within_its_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(topics, "SECONDS", 0.5)
        nowhere = Settings.load(
            {"MESH_BOOTSTRAP_SERVERS": "127.0.0.1:1", "MESH_REGISTRY_URL": "http://127.0.0.1:1"}
        )
        began = time.monotonic()

        with pytest.raises(BrokerError, match="MESH_BOOTSTRAP_SERVERS"):
            topics.describe(admin(nowhere), ["raw.orders"])

        assert time.monotonic() - began < 10
