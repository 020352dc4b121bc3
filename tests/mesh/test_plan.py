from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer

from mesh_stream.errors import AccessDeniedError
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import Admin, admin
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.kafka.topics import Topic
from mesh_stream.local.stack import Stack
from mesh_stream.mesh import plan as room
from mesh_stream.mesh.actions import (
    NO_PRODUCT,
    Action,
    AddPartitions,
    AlterTopic,
    Change,
    CreateTopic,
    Plan,
    RegisterSchema,
    SetCompatibility,
)
from mesh_stream.mesh.apply import apply
from mesh_stream.mesh.plan import INPUT_PARTITIONS, plan
from mesh_stream.product.product import Mesh, Product
from tests.kafka.declaring import Declared, order_contract, settings_of, unique
from tests.kafka.stocked import stocked

pytestmark = pytest.mark.kafka

Planning = Callable[..., Plan]


@pytest.fixture(scope="module")
def client(stack: Stack) -> Admin:
    return admin(settings_of(stack))


@pytest.fixture(scope="module")
def registry(stack: Stack) -> Iterator[SchemaRegistry]:
    with SchemaRegistry(settings_of(stack)) as opened:
        yield opened


@pytest.fixture
def planned(client: Admin, registry: SchemaRegistry) -> Planning:
    """The plan of products that are the whole mesh."""

    def planned(*products: Product, create_inputs: bool = False) -> Plan:
        mesh = Mesh(Path("products"), {product.name: product for product in products})
        return plan(mesh, products, admin=client, registry=registry, create_inputs=create_inputs)

    return planned


@pytest.fixture
def provisioned(
    client: Admin, registry: SchemaRegistry, planned: Planning
) -> Callable[[Product], Product]:
    """Makes a product be as it declares."""

    def provisioned(product: Product) -> Product:
        applied = apply(
            planned(product, create_inputs=True).actions, admin=client, registry=registry
        )
        assert (applied.failed, applied.skipped) == ((), ())
        return product

    return provisioned


def kinds(actions: Iterable[Action]) -> list[str]:
    return [type(action).__name__ for action in actions]


def only_problem(found: Plan) -> str:
    (problem,) = found.problems
    return problem.sentence


class TestANewProduct:
    def test_everything_it_declares_is_planned_in_the_order_of_need(
        self, planned: Planning
    ) -> None:
        product = Declared(unique(), partitions=3, settings={"retention.ms": "123456"}).product

        found = planned(product, create_inputs=True)

        source, output, letters, level, schema = found.actions
        assert isinstance(source, CreateTopic)
        assert (source.role, source.topic) == ("input", product.inputs[0].topic)
        assert source.partitions == INPUT_PARTITIONS
        assert isinstance(output, CreateTopic)
        assert (output.topic, output.partitions) == (product.output.topic, 3)
        assert output.settings["retention.ms"] == "123456"
        assert isinstance(letters, CreateTopic)
        assert (letters.topic, letters.partitions) == (product.dead_letter_topic, INPUT_PARTITIONS)
        assert isinstance(level, SetCompatibility)
        assert (level.subject, level.after) == (product.subject, "BACKWARD")
        assert isinstance(schema, RegisterSchema)
        assert (schema.subject, schema.follows) == (product.subject, None)
        assert found.problems == ()

    def test_planning_changes_nothing(self, client: Admin, planned: Planning) -> None:
        product = Declared(unique()).product
        planned(product, create_inputs=True)

        assert planned(product, create_inputs=True).actions
        assert topics.describe(client, [product.inputs[0].topic, product.output.topic]) == {}

    def test_what_was_applied_leaves_nothing_to_plan(
        self, planned: Planning, provisioned: Callable[[Product], Product]
    ) -> None:
        product = provisioned(
            Declared(
                unique(),
                partitions=3,
                settings={"retention.ms": "86400000", "min.cleanable.dirty.ratio": "0.50"},
            ).product
        )

        assert planned(product) == Plan((), ())

    def test_a_raw_topic_is_its_source_systems_unless_asked_for(self, planned: Planning) -> None:
        product = Declared(unique()).product

        found = planned(product)

        assert "--create-inputs" in only_problem(found)
        assert product.inputs[0].topic in only_problem(found)
        assert found.actions
        assert found.applicable() == ()

    def test_an_output_is_as_wide_as_its_input_unless_declared(
        self, client: Admin, planned: Planning
    ) -> None:
        product = Declared(unique()).product
        topics.create(client, product.inputs[0].topic, partitions=7, replicas=1, settings={})

        output, letters, *_ = planned(product).actions

        assert isinstance(output, CreateTopic)
        assert isinstance(letters, CreateTopic)
        assert (output.partitions, letters.partitions) == (7, 7)

    @pytest.mark.parametrize(("brokers", "replicas"), [(1, 1), (2, 2), (3, 3), (9, 3)])
    def test_topics_have_as_many_replicas_as_make_sense(
        self,
        planned: Planning,
        monkeypatch: pytest.MonkeyPatch,
        brokers: int,
        replicas: int,
    ) -> None:
        monkeypatch.setattr(topics, "cluster", lambda _admin: topics.Cluster(brokers, {}))

        found = planned(Declared(unique()).product, create_inputs=True)

        created = [one for one in found.actions if isinstance(one, CreateTopic)]
        assert [one.replicas for one in created] == [replicas] * 3
        in_sync = "2" if replicas == 3 else None
        ours = [one for one in created if one.role != "input"]
        assert [one.settings.get("min.insync.replicas") for one in ours] == [in_sync] * 2

    def test_a_sentence_says_what_is_done(self, planned: Planning) -> None:
        product = Declared(unique(), partitions=1).product

        sentences = [str(action) for action in planned(product, create_inputs=True).actions]

        assert sentences[0] == (
            f"create input topic {product.inputs[0].topic}: 4 partitions, 1 replica"
        )
        assert sentences[1].startswith(
            f"create output topic {product.output.topic}: 1 partition, 1 replica, "
            "cleanup.policy=delete"
        )
        assert sentences[-1] == f"register the first schema of subject {product.subject}"


class TestTheStatusTopic:
    @pytest.fixture
    def name(self, monkeypatch: pytest.MonkeyPatch) -> str:
        """Another topic in its place, which is not there yet."""
        name = unique("mesh.status")
        monkeypatch.setattr(room, "STATUS_TOPIC", name)
        return name

    def test_it_is_planned_last_and_belongs_to_no_product(
        self, name: str, client: Admin, registry: SchemaRegistry, planned: Planning
    ) -> None:
        product = Declared(unique()).product
        found = planned(product, create_inputs=True)

        *_, own, status = found.actions
        assert own.product == product.name
        assert isinstance(status, CreateTopic)
        assert (status.product, status.role, status.topic) == (NO_PRODUCT, "status", name)
        assert str(status).startswith(
            f"create status topic {name}: 1 partition, 1 replica, cleanup.policy=compact"
        )

        assert apply(found.actions, admin=client, registry=registry).failed == ()
        assert planned(product) == Plan((), ())

    def test_it_is_altered_where_it_would_never_be_compacted(
        self, name: str, client: Admin, planned: Planning, provisioned: Callable[[Product], Product]
    ) -> None:
        product = provisioned(Declared(unique()).product)
        topics.alter(client, name, {"segment.bytes": str(1 << 30), "segment.ms": "604800000"})

        (action,) = planned(product).actions

        assert isinstance(action, AlterTopic)
        assert (action.product, action.topic) == (NO_PRODUCT, name)
        assert [change.name for change in action.changes] == ["segment.bytes", "segment.ms"]

    def test_one_that_is_not_compacted_stands_in_no_products_way(
        self, name: str, client: Admin, planned: Planning
    ) -> None:
        topics.create(client, name, partitions=1, replicas=1, settings={})
        product = Declared(unique()).product
        found = planned(product, create_inputs=True)

        (problem,) = found.problems
        assert problem.product == NO_PRODUCT
        assert "whoever owns the topic has to alter it" in problem.sentence
        assert {action.product for action in found.applicable()} == {product.name}

    @pytest.mark.parametrize("refused", ["the topic", "its settings"])
    def test_who_may_not_look_at_it_is_told_so_and_plans_the_rest(
        self,
        name: str,
        planned: Planning,
        refused: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        describe = topics.describe

        def may_not(admin: Admin, names: Iterable[str]) -> dict[str, Topic]:
            if list(names) != [name]:
                return describe(admin, names)
            if refused == "the topic":
                raise AccessDeniedError("cannot describe it")
            return {name: Topic(name, 1, 1, None)}

        monkeypatch.setattr(topics, "describe", may_not)
        product = Declared(unique()).product
        found = planned(product, create_inputs=True)

        assert found.problems == ()
        assert {action.product for action in found.actions} == {product.name}
        (warning,) = caplog.records
        assert name in warning.getMessage()


class TestProductsOfProducts:
    @pytest.mark.parametrize("turned", [False, True])
    def test_one_that_reads_another_is_planned_with_it_in_any_order(
        self, planned: Planning, turned: bool
    ) -> None:
        upstream = Declared(unique(), partitions=5).product
        downstream = Declared(unique(), reads=(upstream,)).product
        products = [downstream, upstream] if turned else [upstream, downstream]

        found = planned(*products, create_inputs=True)

        assert found.problems == ()
        created = {
            one.topic: one.partitions for one in found.actions if isinstance(one, CreateTopic)
        }
        assert created[downstream.output.topic] == 5

    def test_one_whose_source_is_not_there_says_which_product_provides_it(
        self, planned: Planning
    ) -> None:
        upstream = Declared(unique()).product
        downstream = Declared(unique(), reads=(upstream,)).product

        found = planned(downstream, create_inputs=True)

        assert f"product {upstream.name}" in only_problem(found)

    def test_products_that_read_each_other_are_planned_and_end(self, planned: Planning) -> None:
        first, second = Declared(unique()).product, Declared(unique()).product
        first = Declared(first.name, reads=(second,)).product
        second = Declared(second.name, reads=(first,)).product

        found = planned(first, second)

        assert "does not exist" in "".join(str(problem) for problem in found.problems)

    def test_a_problem_of_one_product_leaves_the_other_applicable(self, planned: Planning) -> None:
        blocked = Declared(unique()).product
        ready = Declared(unique(), reads=(blocked,)).product
        found = planned(blocked, ready, create_inputs=True)
        assert {action.product for action in found.applicable()} == {blocked.name, ready.name}

        other = Plan(found.actions, planned(blocked).problems)

        assert {action.product for action in other.applicable()} == {ready.name}


class TestAnExistingTopic:
    def test_what_differs_is_altered_and_nothing_else(
        self,
        client: Admin,
        planned: Planning,
        provisioned: Callable[[Product], Product],
    ) -> None:
        product = provisioned(Declared(unique(), settings={"retention.ms": "1000000"}).product)
        topics.alter(client, product.output.topic, {"segment.ms": "555555"})
        changed = replace(
            product, output=replace(product.output, settings={"retention.ms": "2000000"})
        )

        (action,) = planned(changed).actions

        assert action == AlterTopic(
            product.name,
            "output",
            product.output.topic,
            (Change("retention.ms", "1000000", "2000000"),),
        )
        assert str(action).endswith("retention.ms from 1000000 to 2000000")

    def test_more_partitions_are_added(
        self, planned: Planning, provisioned: Callable[[Product], Product]
    ) -> None:
        product = provisioned(Declared(unique(), partitions=2).product)
        wider = replace(product, output=replace(product.output, partitions=6))

        (action,) = planned(wider).actions

        assert action == AddPartitions(product.name, product.output.topic, 2, 6)

    def test_fewer_partitions_are_a_problem(
        self, planned: Planning, provisioned: Callable[[Product], Product]
    ) -> None:
        product = provisioned(Declared(unique(), partitions=6).product)
        narrower = replace(product, output=replace(product.output, partitions=2))

        found = planned(narrower)

        assert "Kafka cannot remove any" in only_problem(found)
        assert found.applicable() == ()

    def test_an_undeclared_width_stays_as_it_is(
        self, client: Admin, planned: Planning, provisioned: Callable[[Product], Product]
    ) -> None:
        product = provisioned(Declared(unique()).product)
        topics.add_partitions(client, product.inputs[0].topic, 9)

        assert planned(product) == Plan((), ())

    def test_another_cleanup_policy_is_a_problem(
        self, planned: Planning, provisioned: Callable[[Product], Product]
    ) -> None:
        product = provisioned(Declared(unique()).product)
        compacted = replace(
            product, output=replace(product.output, settings={"cleanup.policy": "compact"})
        )

        found = planned(compacted)

        assert "has cleanup.policy delete, wanted is compact" in only_problem(found)
        assert found.actions == ()

    def test_more_replicas_in_sync_than_there_are_is_a_problem(self, planned: Planning) -> None:
        product = Declared(unique(), settings={"min.insync.replicas": "2"}).product

        found = planned(product, create_inputs=True)

        assert "no record could ever be written" in only_problem(found)

    def test_a_dead_letter_topic_is_raised_with_its_input_and_may_be_higher(
        self,
        client: Admin,
        planned: Planning,
        provisioned: Callable[[Product], Product],
    ) -> None:
        product = provisioned(Declared(unique()).product)
        source, letters = product.inputs[0].topic, product.dead_letter_topic
        topics.alter(client, source, {"retention.ms": "1000", "max.message.bytes": "20000000"})
        topics.alter(client, letters, {"retention.ms": "99999999999"})

        (action,) = planned(product).actions

        assert isinstance(action, AlterTopic)
        assert (action.role, action.topic) == ("dead letter", letters)
        assert [change.name for change in action.changes] == ["max.message.bytes"]
        assert int(action.changes[0].after) > 20_000_000

    def test_what_is_not_declared_is_not_touched(
        self, client: Admin, planned: Planning, provisioned: Callable[[Product], Product]
    ) -> None:
        foreign = unique("foreign")
        topics.create(client, foreign, partitions=1, replicas=1, settings={"retention.ms": "1"})
        product = provisioned(Declared(unique()).product)

        (found,) = topics.describe(client, [foreign]).values()
        assert found.setting("retention.ms", "") == "1"
        assert planned(product) == Plan((), ())


class TestAContract:
    def test_a_compatible_change_says_what_it_is_and_who_reads_it(
        self, planned: Planning, provisioned: Callable[[Product], Product]
    ) -> None:
        product = provisioned(Declared(unique()).product)
        reader = Declared(unique(), reads=(product,)).product
        fields = [product.contract.schema["fields"][0], {**NOTE, "default": None}]
        changed = with_fields(product, fields)

        found = planned(changed, reader)

        assert found.problems == ()
        (action,) = (one for one in found.actions if one.product == product.name)
        assert isinstance(action, RegisterSchema)
        assert (action.follows, action.added, action.removed) == (1, ("note",), ("amount",))
        assert action.readers == (reader.name,)
        assert str(action) == (
            f"register a new schema of subject {product.subject}, after version 1 "
            f"(adds note; removes amount; read by {reader.name})"
        )

    @pytest.mark.parametrize("level", ["BACKWARD", "BACKWARD_TRANSITIVE", "FULL"])
    def test_an_incompatible_change_names_field_readers_and_way_out(
        self, planned: Planning, provisioned: Callable[[Product], Product], level: str
    ) -> None:
        contract = replace(order_contract(), compatibility=level)
        product = provisioned(Declared(unique(), contract=contract).product)
        reader = Declared(unique(), reads=(product,)).product

        found = planned(with_fields(product, [*contract.schema["fields"], NOTE]), reader)

        problem = next(one for one in found.problems if one.product == product.name).sentence
        assert "note: added without a default" in problem
        assert "the registry says" in problem
        assert f"which {reader.name} read" in problem
        assert "version 2.0.0" in problem
        assert not [one for one in found.actions if isinstance(one, RegisterSchema)
                    and one.product == product.name]  # fmt: skip

    def test_a_scale_that_changes_in_silence_is_found_where_the_registry_is_silent(
        self, planned: Planning, provisioned: Callable[[Product], Product]
    ) -> None:
        product = provisioned(Declared(unique()).product)
        identifier, amount = product.contract.schema["fields"]
        rescaled = {**amount, "type": {**amount["type"], "scale": 3}}

        assert "amount" in only_problem(planned(with_fields(product, [identifier, rescaled])))

    def test_every_earlier_version_counts_where_the_level_is_transitive(
        self, registry: SchemaRegistry, planned: Planning
    ) -> None:
        for level, allowed in (("BACKWARD", True), ("BACKWARD_TRANSITIVE", False)):
            contract = replace(order_contract(), compatibility=level)
            product = Declared(unique(), contract=contract).product
            identifier = contract.schema["fields"][0]
            registry.set_compatibility(product.subject, "NONE")
            # The note was text once, then it was gone, and now it comes back as a number.
            texts = {"name": "note", "type": "string"}
            number = {"name": "note", "type": "int", "default": 0}
            for fields in ([identifier, texts], [identifier]):
                registry.register(product.subject, record(product, fields))

            found = planned(with_fields(product, [identifier, number]), create_inputs=True)

            assert ("RegisterSchema" in kinds(found.actions)) is allowed
            assert (found.problems == ()) is allowed

    def test_anything_may_follow_where_nothing_has_to_be_compatible(
        self, planned: Planning, provisioned: Callable[[Product], Product]
    ) -> None:
        contract = replace(order_contract(), compatibility="NONE")
        product = provisioned(Declared(unique(), contract=contract).product)

        found = planned(with_fields(product, [NOTE]))

        assert kinds(found.actions) == ["RegisterSchema"]

    def test_a_level_is_set_as_declared(
        self, planned: Planning, provisioned: Callable[[Product], Product]
    ) -> None:
        product = provisioned(Declared(unique()).product)
        full = replace(product, contract=replace(product.contract, compatibility="FULL"))

        assert planned(full).actions == (
            SetCompatibility(product.name, product.subject, "BACKWARD", "FULL"),
        )

    def test_the_declared_level_decides_not_the_one_that_is_replaced(
        self,
        client: Admin,
        registry: SchemaRegistry,
        planned: Planning,
        provisioned: Callable[[Product], Product],
    ) -> None:
        full = replace(order_contract(), compatibility="FULL")
        product = provisioned(Declared(unique(), contract=full).product)
        loosened = replace(full, compatibility="NONE")
        changed = with_fields(replace(product, contract=loosened), [NOTE])

        found = planned(changed)

        assert kinds(found.actions) == ["SetCompatibility", "RegisterSchema"]
        assert found.problems == ()
        assert apply(found.actions, admin=client, registry=registry).failed == ()

    def test_an_earlier_version_of_the_contract_is_registered_already(
        self,
        registry: SchemaRegistry,
        planned: Planning,
        provisioned: Callable[[Product], Product],
    ) -> None:
        product = provisioned(Declared(unique()).product)
        later = [*product.contract.schema["fields"], {**NOTE, "default": None}]
        registry.register(product.subject, record(product, later))

        assert planned(product) == Plan((), ())


NOTE = {"name": "note", "type": ["null", "string"]}


def record(product: Product, fields: list[object]) -> str:
    return json.dumps({**product.contract.schema, "fields": fields})


def with_fields(product: Product, fields: list[object]) -> Product:
    schema = json.loads(record(product, fields))
    return replace(
        product, contract=replace(product.contract, schema=schema, canonical=json.dumps(schema))
    )


def test_the_largest_records_fit_where_the_plan_puts_them(
    stack: Stack, provisioned: Callable[[Product], Product]
) -> None:
    """The settings are tried with records, not only compared."""
    product = provisioned(Declared(unique()).product)
    failures: list[KafkaError | None] = []
    producer = Producer(
        {
            "bootstrap.servers": stack.bootstrap_servers,
            "message.max.bytes": 16_777_216,
            "on_delivery": lambda error, _message: failures.append(error),
        }
    )
    headers: dict[str, str | bytes | None] = {"reason": b"x" * 60_000}

    producer.produce(product.output.topic, bytes(product.limits.record_bytes), headers=headers)
    producer.produce(product.dead_letter_topic, bytes(product.limits.input_bytes), headers=headers)

    assert producer.flush(20) == 0
    assert failures == [None, None]


class TestAProductThatRemembers:
    @pytest.fixture
    def keyed(self, stack: Stack, tmp_path: Path) -> Product:
        return stocked(stack, tmp_path, keyed=True).product

    @pytest.fixture
    def unkeyed(self, stack: Stack, tmp_path: Path) -> Product:
        return stocked(stack, tmp_path, keyed=False).product

    def test_its_changelog_is_as_wide_as_the_input_it_remembers_of(
        self, client: Admin, planned: Planning, keyed: Product
    ) -> None:
        topics.create(client, keyed.inputs[0].topic, partitions=5, replicas=1, settings={})

        created = [one for one in planned(keyed).actions if isinstance(one, CreateTopic)]

        assert [one.role for one in created] == ["output", "dead letter", "changelog"]
        changelog = created[-1]
        assert (changelog.topic, changelog.partitions) == (keyed.changelog_topic, 5)
        assert changelog.settings["cleanup.policy"] == "compact"

    @pytest.mark.parametrize(("declared", "width"), [(3, 3), (None, INPUT_PARTITIONS)])
    def test_its_repartition_topic_is_as_wide_as_its_output_and_so_is_its_changelog(
        self, planned: Planning, unkeyed: Product, declared: int | None, width: int
    ) -> None:
        product = replace(unkeyed, output=replace(unkeyed.output, partitions=declared))

        found = planned(product, create_inputs=True)

        created = {one.role: one for one in found.actions if isinstance(one, CreateTopic)}
        assert created["repartition"].topic == product.repartition_topic
        assert created["repartition"].partitions == created["changelog"].partitions == width
        assert created["repartition"].settings["cleanup.policy"] == "delete"
        assert str(created["changelog"]).startswith(f"create changelog topic mesh.{product.name}.")

    @pytest.mark.parametrize("fixture", ["keyed", "unkeyed"])
    def test_what_was_applied_leaves_nothing_to_plan(
        self,
        request: pytest.FixtureRequest,
        planned: Planning,
        provisioned: Callable[[Product], Product],
        fixture: str,
    ) -> None:
        product = provisioned(request.getfixturevalue(fixture))

        assert planned(product) == Plan((), ())

    def test_one_whose_input_is_not_there_is_no_reason_to_guess_a_width(
        self, planned: Planning, keyed: Product
    ) -> None:
        roles = [one.role for one in planned(keyed).actions if isinstance(one, CreateTopic)]

        assert "changelog" not in roles

    def test_an_input_that_has_grown_takes_a_reset_and_never_more_changelog_partitions(
        self,
        client: Admin,
        planned: Planning,
        provisioned: Callable[[Product], Product],
        keyed: Product,
    ) -> None:
        provisioned(keyed)
        topics.add_partitions(client, keyed.inputs[0].topic, INPUT_PARTITIONS + 2)

        found = planned(keyed)

        assert f"`mesh-stream reset {keyed.name}`" in only_problem(found)
        assert f"has {INPUT_PARTITIONS} partitions" in only_problem(found)
        assert found.actions == ()

    def test_an_output_that_has_grown_leaves_a_repartition_topic_as_it_is(
        self, planned: Planning, provisioned: Callable[[Product], Product], unkeyed: Product
    ) -> None:
        provisioned(unkeyed)
        wider = replace(unkeyed, output=replace(unkeyed.output, partitions=INPUT_PARTITIONS + 2))

        found = planned(wider)

        assert [type(one) for one in found.actions] == [AddPartitions]
        assert found.problems == ()

    def test_a_changelog_that_would_forget_is_made_anew_and_not_altered(
        self,
        client: Admin,
        planned: Planning,
        provisioned: Callable[[Product], Product],
        keyed: Product,
    ) -> None:
        provisioned(keyed)
        topics.alter(client, keyed.changelog_topic, {"cleanup.policy": "delete"})

        found = planned(keyed)

        assert "cleanup.policy delete, wanted is compact" in only_problem(found)
        assert f"`mesh-stream reset {keyed.name}` makes it anew" in only_problem(found)
        assert found.actions == ()

    def test_a_setting_that_was_changed_is_put_right_and_one_that_was_raised_stays(
        self,
        client: Admin,
        planned: Planning,
        provisioned: Callable[[Product], Product],
        unkeyed: Product,
    ) -> None:
        provisioned(unkeyed)
        topics.alter(client, unkeyed.changelog_topic, {"delete.retention.ms": "1"})
        topics.alter(client, unkeyed.repartition_topic, {"retention.ms": "-1"})

        (altered,) = planned(unkeyed).actions

        assert str(altered) == (
            f"alter changelog topic {unkeyed.changelog_topic}: "
            f"delete.retention.ms from 1 to {topics.TOMBSTONE_RETENTION_MS}"
        )
