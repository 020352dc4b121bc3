"""F15 and F28 of the reliability page: what a worker refuses to start on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.errors import AccessDeniedError, NotProvisionedError, RegistryError
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import Admin, admin
from mesh_stream.kafka.preflight import essence, preflight, topic_problems
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.kafka.topics import Topic
from mesh_stream.local import broker
from mesh_stream.local.stack import Stack, ephemeral
from mesh_stream.product.product import Product
from mesh_stream.settings import Settings
from tests.deadline import eventually
from tests.kafka.declaring import Declared, order_contract, settings_of, unique
from tests.kafka.faulty_registry import Exchange, faulty_registry
from tests.pipeline.making import decimal


class TestTopics:
    DECLARED = Declared("p", partitions=3).product

    def found(self, product: Product = DECLARED, **changes: Topic | None) -> dict[str, Topic]:
        """Topics as they should be, but for what is changed by role."""
        delete = {"cleanup.policy": "delete"}
        by_role: dict[str, Topic | None] = {
            "source": Topic(product.inputs[0].topic, 5, 1, delete),
            "output": Topic(product.output.topic, product.output.partitions or 7, 1, delete),
            "letters": Topic(product.dead_letter_topic, 1, 1, delete),
            **changes,
        }
        return {topic.name: topic for topic in by_role.values() if topic is not None}

    def test_what_is_as_declared_has_no_problem(self) -> None:
        assert list(topic_problems(self.DECLARED, self.found())) == []

    def test_each_missing_topic_is_named_with_its_role(self) -> None:
        problems = list(topic_problems(self.DECLARED, {}))

        assert [problem.split(" does not exist")[0] for problem in problems] == [
            "input topic raw.p",
            "output topic orders.p.v1",
            "dead letter topic dlq.orders.p",
        ]

    def test_a_missing_input_says_whose_it_is(self) -> None:
        upstream = Declared("upstream").product
        downstream = Declared("p", reads=(upstream,)).product

        assert "product upstream" in next(topic_problems(downstream, {}))

    def test_another_number_of_partitions_is_a_problem(self) -> None:
        output = Topic(self.DECLARED.output.topic, 2, 1, {"cleanup.policy": "delete"})

        (problem,) = topic_problems(self.DECLARED, self.found(output=output))

        assert "has 2 partitions; declared are 3" in problem

    def test_any_number_of_partitions_will_do_where_none_is_declared(self) -> None:
        undeclared = Declared("p").product

        assert list(topic_problems(undeclared, self.found(undeclared))) == []

    @pytest.mark.parametrize("role", ["output", "letters"])
    def test_another_cleanup_policy_is_a_problem(self, role: str) -> None:
        right = self.found()
        name = {
            "output": self.DECLARED.output.topic,
            "letters": self.DECLARED.dead_letter_topic,
        }[role]
        wrong = Topic(name, right[name].partitions, 1, {"cleanup.policy": "compact"})

        found = {**right, name: wrong}
        (problem,) = topic_problems(self.DECLARED, found)

        assert f"{name} has cleanup.policy compact; declared is delete" in problem

    def test_what_may_not_be_read_cannot_be_checked_and_is_warned_of(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        output = Topic(self.DECLARED.output.topic, 3, 1, None)

        assert list(topic_problems(self.DECLARED, self.found(output=output))) == []
        assert "grant it DescribeConfigs" in caplog.text


class TestEssence:
    ORDER = order_contract().schema

    @pytest.mark.parametrize(
        "same",
        [
            {**ORDER, "doc": "An order."},
            {**ORDER, "namespace": ""},
            {
                **ORDER,
                "fields": [{"name": "id", "type": {"type": "string"}}, ORDER["fields"][1]],
            },
            {**ORDER, "aliases": ["Old"]},
        ],
    )
    def test_what_does_not_change_how_bytes_are_read_is_no_difference(self, same: Any) -> None:
        assert essence(same) == essence(self.ORDER)

    @pytest.mark.parametrize(
        "other",
        [
            order_contract(more="int").schema,
            {**ORDER, "name": "Other"},
            {**ORDER, "namespace": "other"},
            {**ORDER, "fields": ORDER["fields"][::-1]},
            {**ORDER, "fields": [ORDER["fields"][0], {"name": "amount", "type": decimal(18, 3)}]},
            {**ORDER, "fields": [ORDER["fields"][0], {"name": "amount", "type": "bytes"}]},
            {**ORDER, "fields": [ORDER["fields"][0], {"name": "total", "type": decimal(18, 2)}]},
            {**ORDER, "fields": [{"name": "id", "type": ["null", "string"]}, ORDER["fields"][1]]},
        ],
    )
    def test_what_changes_how_bytes_are_read_is_a_difference(self, other: Any) -> None:
        assert essence(other) != essence(self.ORDER)


@pytest.fixture
def settings(stack: Stack) -> Settings:
    return settings_of(stack)


@pytest.fixture
def client(settings: Settings) -> Admin:
    return admin(settings)


@pytest.fixture
def registry(settings: Settings) -> Iterator[SchemaRegistry]:
    with SchemaRegistry(settings) as opened:
        yield opened


def provision(product: Product, client: Admin) -> None:
    names = [product.inputs[0].topic, product.output.topic, product.dead_letter_topic]
    for name in names:
        topics.create(client, name, partitions=2, replicas=1, settings={})


@pytest.mark.kafka
class TestARealPlatform:
    def test_a_provisioned_product_may_start_with_its_pinned_schema(
        self, settings: Settings, client: Admin, registry: SchemaRegistry
    ) -> None:
        product = Declared(unique()).product
        provision(product, client)
        schema_id = registry.register(product.subject, product.contract.canonical)

        found = preflight(settings, product, registry)

        assert found.schema_id == schema_id
        assert found.version == 1
        assert found.partitions == {product.inputs[0].topic: 2}

    def test_everything_that_is_missing_is_told_at_once_with_the_way_out(
        self, settings: Settings, registry: SchemaRegistry
    ) -> None:
        product = Declared(unique()).product

        with pytest.raises(NotProvisionedError, match="mesh-stream apply") as caught:
            preflight(settings, product, registry)

        assert caught.value.exit_code == 2
        assert len(caught.value.problems) == 4
        for name in (
            product.inputs[0].topic,
            product.output.topic,
            product.dead_letter_topic,
            product.subject,
        ):
            assert name in str(caught.value)

    def test_a_contract_that_is_not_registered_is_not_registered_by_a_worker(
        self, settings: Settings, client: Admin, registry: SchemaRegistry
    ) -> None:
        product = Declared(unique()).product
        provision(product, client)
        other = order_contract(more="int")
        registry.register(product.subject, other.canonical)

        with pytest.raises(NotProvisionedError, match="its newest version, 1, is another"):
            preflight(settings, product, registry)

        assert len(registry.history(product.subject)) == 1

    @pytest.mark.parametrize(
        ("behaviour", "error"),
        [
            (lambda exchange: exchange.answer(401, {}), AccessDeniedError),
            (lambda exchange: exchange.answer(403, {}), AccessDeniedError),
            (lambda exchange: exchange.answer(500, {}), RegistryError),
            (Exchange.hang_up, RegistryError),
        ],
    )
    def test_a_registry_that_refuses_or_fails_ends_the_start(
        self,
        settings: Settings,
        client: Admin,
        behaviour: Callable[[Exchange], None],
        error: type[Exception],
    ) -> None:
        product = Declared(unique()).product
        provision(product, client)
        with faulty_registry(behaviour) as faulty:
            elsewhere = settings.model_copy(update={"registry_url": faulty.url})
            with SchemaRegistry(elsewhere) as registry, pytest.raises(error):
                preflight(elsewhere, product, registry)

    def test_a_registry_that_takes_one_schema_for_another_is_found_out(
        self, settings: Settings, client: Admin
    ) -> None:
        product = Declared(unique()).product
        provision(product, client)
        other = json.dumps(
            {**product.contract.schema, "fields": product.contract.schema["fields"][:1]}
        )

        def lenient(exchange: Exchange) -> None:
            exchange.answer(200, {"id": 7, "version": 1, "schema": other})

        with faulty_registry(lenient) as faulty:
            elsewhere = settings.model_copy(update={"registry_url": faulty.url})
            with (
                SchemaRegistry(elsewhere) as registry,
                pytest.raises(NotProvisionedError, match="names another schema"),
            ):
                preflight(elsewhere, product, registry)

    def test_looking_creates_no_topic_where_the_broker_would(
        self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A misspelt input must not come into being by being looked for."""
        usual = broker.settings

        def creating(*node: Any) -> Mapping[str, str]:
            return {**usual(*node), "auto.create.topics.enable": "true"}

        monkeypatch.setattr(broker, "settings", creating)
        product = Declared(unique()).product
        with ephemeral(tmp_path) as own:
            elsewhere = settings.model_copy(update={"bootstrap_servers": own.bootstrap_servers})
            client = admin(elsewhere)

            def existing() -> set[str]:
                return set(client.list_topics(timeout=10).topics)

            # This broker creates what is looked for in the usual way.
            client.list_topics(topic="looked-for", timeout=10)
            eventually(existing, within=20, what="the broker creates a topic that is looked for")

            with SchemaRegistry(settings) as registry, pytest.raises(NotProvisionedError):
                preflight(elsewhere, product, registry)

            # Made after whatever the preflight might have made, and seen: so all is seen.
            topics.create(client, "last", partitions=1, replicas=1, settings={})
            assert existing() == {"looked-for", "last"}
