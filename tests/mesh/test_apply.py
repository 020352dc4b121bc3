from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mesh_stream.errors import AccessDeniedError, BrokerError, RegistryError, SchemaRefusedError
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import Admin, admin
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.local.stack import Stack
from mesh_stream.mesh.actions import Action, Plan
from mesh_stream.mesh.apply import apply
from mesh_stream.mesh.plan import plan
from mesh_stream.product.product import Mesh, Product
from mesh_stream.settings import Settings
from tests.kafka.declaring import Declared, settings_of, unique
from tests.kafka.faulty_registry import Exchange, faulty_registry

pytestmark = pytest.mark.kafka


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


def planned(client: Admin, registry: SchemaRegistry, *products: Product) -> Plan:
    mesh = Mesh(Path("products"), {product.name: product for product in products})
    return plan(mesh, products, admin=client, registry=registry, create_inputs=True)


def test_everything_is_done_in_order_and_told(client: Admin, registry: SchemaRegistry) -> None:
    product = Declared(unique()).product
    actions = planned(client, registry, product).actions
    told: list[Action] = []

    applied = apply(actions, admin=client, registry=registry, progress=told.append)

    assert tuple(told) == applied.done == actions
    assert (applied.failed, applied.skipped) == ((), ())
    assert planned(client, registry, product) == Plan((), ())


def test_an_old_plan_may_be_applied_again(client: Admin, registry: SchemaRegistry) -> None:
    product = Declared(unique()).product
    actions = planned(client, registry, product).actions

    apply(actions, admin=client, registry=registry)
    again = apply(actions, admin=client, registry=registry)

    assert again.done == actions
    assert len(registry.history(product.subject)) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [(409, SchemaRefusedError), (422, SchemaRefusedError), (403, AccessDeniedError)],
)
def test_a_refusal_ends_the_product_that_it_concerns_and_no_other(
    settings: Settings,
    client: Admin,
    registry: SchemaRegistry,
    status: int,
    error: type[Exception],
) -> None:
    refused, other = Declared(unique()).product, Declared(unique()).product
    actions = planned(client, registry, refused, other).actions

    def refusing(exchange: Exchange) -> None:
        if refused.subject in exchange.path:
            exchange.answer(status, {"message": "no"})
        else:
            exchange.answer(200, {"id": 1})

    with faulty_registry(refusing) as faulty:
        elsewhere = settings.model_copy(update={"registry_url": faulty.url})
        with SchemaRegistry(elsewhere) as failing:
            applied = apply(actions, admin=client, registry=failing)

    (failure,) = applied.failed
    assert isinstance(failure.error, error)
    assert failure.action.product == refused.name
    assert {action.product for action in applied.skipped} == {refused.name}
    assert len([action for action in applied.done if action.product == other.name]) == 5
    outcomes = [*applied.done, failure.action, *applied.skipped]
    assert sorted(map(str, outcomes)) == sorted(map(str, actions))


@pytest.mark.parametrize("behaviour", [Exchange.hang_up, lambda exchange: exchange.answer(503, {})])
def test_an_outage_ends_everything_and_says_what_was_not_done(
    settings: Settings,
    client: Admin,
    registry: SchemaRegistry,
    behaviour: Callable[[Exchange], None],
) -> None:
    products = [Declared(unique()).product, Declared(unique()).product]
    actions = planned(client, registry, *products).actions
    with faulty_registry(behaviour) as faulty:
        elsewhere = settings.model_copy(update={"registry_url": faulty.url})
        with SchemaRegistry(elsewhere) as failing:
            applied = apply(actions, admin=client, registry=failing)

    (failure,) = applied.failed
    assert isinstance(failure.error, RegistryError)
    assert [*applied.done, failure.action, *applied.skipped] == list(actions)
    # And the rest can be done when it is over.
    apply(actions, admin=client, registry=registry)
    assert planned(client, registry, *products) == Plan((), ())


def test_a_broker_that_is_gone_ends_everything_at_once(
    settings: Settings,
    client: Admin,
    registry: SchemaRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    actions = planned(client, registry, Declared(unique()).product).actions
    monkeypatch.setattr(topics, "SECONDS", 0.5)
    nowhere = admin(settings.model_copy(update={"bootstrap_servers": "127.0.0.1:1"}))

    applied = apply(actions, admin=nowhere, registry=registry)

    assert applied.done == ()
    assert [type(failure.error) for failure in applied.failed] == [BrokerError]
    assert applied.skipped == actions[1:]
