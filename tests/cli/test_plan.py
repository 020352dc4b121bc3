from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.local.stack import Stack
from tests.cli.calling import Result, calling, environment, started
from tests.kafka.declaring import settings_of, unique
from tests.kafka.faulty_registry import Exchange, faulty_registry

pytestmark = pytest.mark.kafka

CANARY = "canary-7f3a9c"
DECLARATION = """
data_product:
  name: {name}
  owner: orders-team
  description: "Orders"
  sla: {{freshness: 15_minutes, availability: 99.9%}}
  schema:
{fields}
  inputs:
    - topic: raw.{name}
  output:
    partitions: {partitions}
"""


@pytest.fixture
def products(tmp_path: Path) -> Path:
    return tmp_path / "products"


Declare = Callable[..., str]


@pytest.fixture
def declare(products: Path) -> Declare:
    """Writes a product; returns its name."""

    def declare(
        name: str = "",
        *,
        partitions: int = 2,
        fields: tuple[str, ...] = ("order_id: string",),
        domain: str = "orders",
    ) -> str:
        name = name or unique()
        folder = products / domain / name
        folder.mkdir(parents=True, exist_ok=True)
        listed = "\n".join(f"    - {field}" for field in fields)
        text = DECLARATION.format(name=name, fields=listed, partitions=partitions)
        (folder / "data_product.yaml").write_text(text)
        return name

    return declare


Run = Callable[..., Result]


@pytest.fixture
def run(
    stack: Stack,
    products: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Run]:
    """Calls a command; keywords are variables of its environment."""
    with calling(capsys, monkeypatch, environment(stack, products)) as call:

        def run(*arguments: str, **env: str) -> Result:
            with monkeypatch.context() as patched:
                for name, value in env.items():
                    patched.setenv(name, value)
                return call(*arguments)

        yield run


def document(result: Result) -> Any:
    return json.loads(result.out)


def test_plan_and_apply_are_for_people(run: Run, declare: Declare) -> None:
    name = declare()

    planned = run("plan", "--create-inputs")
    assert planned.code == 0
    assert planned.out.splitlines()[0] == name
    assert f"  + create output topic orders.{name}.v1: 2 partitions" in planned.out
    assert "5 changes; `mesh-stream apply` makes them" in planned.out

    applied = run("apply", "--create-inputs")
    assert applied.code == 0
    assert applied.out.splitlines()[-1] == f"5 changes made: {name} is provisioned as declared"

    again = run("apply")
    assert again.code == 0
    assert again.out == f"no changes: {name} is provisioned as declared\n"

    planned = run("plan")
    assert planned.code == 0
    assert planned.out == f"no changes: {name} is provisioned as declared\n"


def test_plan_and_apply_are_for_scripts(run: Run, declare: Declare) -> None:
    name = declare()
    kinds = ["create_topic", "create_topic", "create_topic", "set_compatibility", "register_schema"]

    planned = document(run("plan", "--create-inputs", "--json"))
    assert [action["kind"] for action in planned["actions"]] == kinds
    assert planned["actions"][1]["topic"] == f"orders.{name}.v1"
    assert planned["problems"] == []

    applied = document(run("apply", "--create-inputs", "--json"))
    assert [action["kind"] for action in applied["done"]] == kinds
    assert applied["failed"] == applied["skipped"] == applied["problems"] == []

    assert document(run("plan", "--json")) == {"actions": [], "problems": []}


def test_what_is_the_whole_meshs_is_told_apart_from_the_products(
    run: Run, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, status = declare(), unique("mesh.status")
    monkeypatch.setattr("mesh_stream.mesh.plan.STATUS_TOPIC", status)

    planned = run("plan", "--create-inputs").out.splitlines()
    applied = run("apply", "--create-inputs").out.splitlines()

    assert planned[-3] == "the mesh"
    assert planned[-2].startswith(f"  + create status topic {status}: 1 partition")
    assert planned[-1] == "6 changes; `mesh-stream apply` makes them"
    assert applied[-2].startswith(f"the mesh: create status topic {status}: ")
    assert applied[-1] == f"6 changes made: {name} is provisioned as declared"


def test_a_raw_topic_that_is_missing_is_a_problem_that_says_how_to_go_on(
    run: Run, declare: Declare
) -> None:
    name = declare()

    for command in ("plan", "apply"):
        result = run(command)

        assert result.code == 1
        assert f"raw topic raw.{name} does not exist" in result.out + result.err
        assert "--create-inputs" in result.out + result.err

    assert [problem["product"] for problem in document(run("plan", "--json"))["problems"]] == [name]


def test_products_are_chosen_by_name_and_domain(run: Run, declare: Declare) -> None:
    first, second = declare(), declare(domain="customers")

    def planned(*arguments: str) -> set[str]:
        found = document(run("plan", "--create-inputs", "--json", *arguments))
        return {action["product"] for action in found["actions"]}

    assert planned() == {first, second}
    assert planned(first) == {first}
    assert planned("--domain", "customers") == {second}
    unknown = run("plan", "orders-unknown")
    assert unknown.code == 2
    assert first in unknown.err


def test_an_incompatible_contract_is_a_problem_and_nothing_is_changed(
    run: Run, declare: Declare, stack: Stack
) -> None:
    name = declare()
    assert run("apply", "--create-inputs").code == 0
    declare(name, fields=("order_id: string", "customer_id: string"), partitions=3)

    result = run("apply")

    assert result.code == 1
    assert "customer_id" in result.err
    assert "version 2.0.0" in result.err
    found = topics.describe(admin(settings_of(stack)), [f"orders.{name}.v1"])
    assert found[f"orders.{name}.v1"].partitions == 2


def test_a_broken_declaration_is_told_before_any_platform_is_asked(
    run: Run, declare: Declare, products: Path
) -> None:
    name = declare()
    declaration = products / "orders" / name / "data_product.yaml"
    declaration.write_text(declaration.read_text().replace("15_minutes", "soon"))

    for command in ("plan", "apply"):
        result = run(command, MESH_BOOTSTRAP_SERVERS="127.0.0.1:1")

        assert result.code == 2
        assert str(declaration) in result.err


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (lambda exchange: exchange.answer(503, {}), 3),
        (Exchange.hang_up, 3),
        (lambda exchange: exchange.answer(403, {"message": "no"}), 4),
    ],
)
def test_the_exit_code_says_which_part_failed(
    run: Run, declare: Declare, behaviour: Callable[[Exchange], None], code: int
) -> None:
    declare()
    with faulty_registry(behaviour) as faulty:
        for command in ("plan", "apply"):
            result = run(command, "--create-inputs", MESH_REGISTRY_URL=faulty.url)

            assert result.code == code
            assert result.err.startswith("error: ")
            assert "Traceback" not in result.err


def test_what_was_done_before_a_failure_is_told_with_what_was_not(
    run: Run, declare: Declare
) -> None:
    name = declare()

    def fails_to_register(exchange: Exchange) -> None:
        if exchange.command == "GET" and exchange.path.startswith("/config"):
            exchange.answer(404, {"error_code": 40408})
        elif exchange.command == "PUT":
            exchange.answer(503, {"message": "not now"})
        else:
            exchange.answer(404, {"error_code": 40401})

    with faulty_registry(fails_to_register) as faulty:
        result = run("apply", "--create-inputs", MESH_REGISTRY_URL=faulty.url)
        report = document(run("apply", "--create-inputs", "--json", MESH_REGISTRY_URL=faulty.url))

    assert result.code == 3
    assert f"{name}: create output topic orders.{name}.v1" in result.out
    assert f"{name}: failed to set compatibility" in result.err
    assert "503: not now" in result.err
    assert f"{name}: not done: register the first schema" in result.err
    assert [action["kind"] for action in report["failed"]] == ["set_compatibility"]
    assert "503" in report["failed"][0]["error"]
    assert [action["kind"] for action in report["skipped"]] == ["register_schema"]


def test_no_credential_is_ever_printed(
    stack: Stack, products: Path, declare: Declare, tmp_path: Path
) -> None:
    declare()
    config = tmp_path / "kafka.yaml"
    secrets = {"KAFKA_SECRET": CANARY, "MESH_REGISTRY_AUTH": f"mesh:{CANARY}"}
    kafka_faults = [
        "sasl.password: ${env:KAFKA_SECRET}\n",
        "sasl.password: ${env:KAFKA_SECRET}\nno.such.setting: 1\n",
        "sasl.password: ${env:KAFKA_SECRET}\nsecurity.protocol: ${env:KAFKA_SECRET}\n",
        f"sasl.password: {CANARY}\n",
    ]
    registry_faults: list[Callable[[Exchange], None]] = [
        lambda exchange: exchange.answer(401, {"message": exchange.headers["Authorization"]}),
        lambda exchange: exchange.answer(500, {"message": f"{CANARY}"}),
        Exchange.hang_up,
    ]
    combinations = [(options, registry_faults[0]) for options in kafka_faults]
    combinations += [(kafka_faults[0], behaviour) for behaviour in registry_faults[1:]]
    for options, behaviour in combinations:
        config.write_text(options)
        with faulty_registry(behaviour) as faulty:
            elsewhere = {"MESH_REGISTRY_URL": faulty.url, "MESH_KAFKA_CONFIG": str(config)}
            env = environment(stack, products) | elsewhere | secrets
            # As a process of its own: what the client library writes by itself is seen as well.
            with started("plan", env=env) as planning:
                out, err = planning.communicate(timeout=60)
        assert planning.returncode in {2, 3, 4}
        assert CANARY not in out + err
        assert base64.b64encode(f"mesh:{CANARY}".encode()).decode() not in err
