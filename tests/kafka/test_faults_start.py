"""A worker that must not start does not: nothing is read, the reason and the way out are said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from confluent_kafka.admin import AdminClient

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.faulty_registry import Exchange, faulty_registry
from tests.kafka.harness import broker
from tests.kafka.harness.scene import Scene, scene

pytestmark = pytest.mark.kafka

COMMAND = [sys.executable, "-m", "mesh_stream.cli"]
NOBODY = "127.0.0.1:1"


def start(torture: Scene, **environment: str) -> tuple[int, str]:
    """The exit code and the words of a worker that ends by itself."""
    slot = torture.slot(0, registry_url=environment.pop("MESH_REGISTRY_URL", None))
    slot.start()
    return slot.wait(60), slot.said()


def feed(torture: Scene) -> None:
    torture.feed.send(*(torture.feed.goods.next() for _ in range(50)))


def nothing_was_read(torture: Scene) -> bool:
    return torture.lag() == 50


def test_a_missing_output_topic_is_refused_by_name_and_not_created(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        feed(torture)
        output = torture.product.output.topic
        broker.delete_topic(torture.admin, output)
        eventually(lambda: output not in topics(torture.admin), within=20, what="it is deleted")

        code, said = start(torture)

        assert code == 2
        assert f"output topic {output} does not exist" in said
        assert "mesh-stream apply" in said
        assert output not in topics(torture.admin)
        assert nothing_was_read(torture)


def test_every_missing_topic_is_named_at_once(stack: Stack, tmp_path: Path, seed: int) -> None:
    with scene(stack, tmp_path, seed) as torture:
        gone = [torture.raw, *torture.published]
        for topic in gone:
            broker.delete_topic(torture.admin, topic)
        eventually(lambda: not topics(torture.admin) & set(gone), within=20, what="all are deleted")

        code, said = start(torture)

        assert code == 2
        assert all(topic in said for topic in gone)


def test_another_number_of_partitions_than_declared_is_refused(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        feed(torture)
        declare(torture, output={"key": "key", "partitions": 5})

        code, said = start(torture)

        assert code == 2
        assert torture.product.output.topic in said
        assert "5 partitions" in said or "3 partitions" in said
        assert nothing_was_read(torture)


def test_a_compacted_dead_letter_topic_is_refused(stack: Stack, tmp_path: Path, seed: int) -> None:
    with scene(stack, tmp_path, seed) as torture:
        letters = torture.product.dead_letter_topic
        broker.delete_topic(torture.admin, letters)
        eventually(lambda: letters not in topics(torture.admin), within=20, what="it is deleted")
        broker.create_topic(torture.admin, letters, 1, cleanup_policy="compact")

        code, said = start(torture)

        assert code == 2
        assert letters in said
        assert "cleanup.policy" in said


def test_a_contract_that_is_not_registered_is_refused(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        fields = [{"n": "long"}, {"key": "string"}, {"seq": "long"}, {"padding": "string?"}]
        feed(torture)
        declare(torture, schema=fields)

        code, said = start(torture)

        assert code == 2
        assert torture.product.subject in said
        assert "mesh-stream apply" in said
        assert nothing_was_read(torture)


@pytest.mark.parametrize(("status", "code"), [(401, 4), (403, 4), (500, 3), (503, 3)])
def test_a_registry_that_does_not_answer_for_the_contract_ends_the_start(
    stack: Stack, tmp_path: Path, seed: int, status: int, code: int
) -> None:
    def refuse(exchange: Exchange) -> None:
        exchange.answer(status, {"error_code": status, "message": "no"})

    with scene(stack, tmp_path, seed) as torture, faulty_registry(refuse) as registry:
        feed(torture)
        found, said = start(torture, MESH_REGISTRY_URL=registry.url)

        assert found == code, said
        assert registry.url in said
        assert nothing_was_read(torture)


def test_every_fault_of_the_configuration_comes_at_once_without_a_connection_or_a_secret(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "products" / "faults" / "wrong"
    folder.mkdir(parents=True)
    (folder / "data_product.yaml").write_text(
        yaml.safe_dump(
            {
                "data_product": {
                    "name": "wrong",
                    "ownr": "nobody",
                    "sla": {"freshness": "soon", "availability": "99.9%"},
                    "schema": [{"id": "strin"}],
                }
            }
        )
    )
    # A broker that does not exist would cost seconds, and exit code 3.
    environment = {"MESH_BOOTSTRAP_SERVERS": NOBODY, "MESH_REGISTRY_URL": f"http://{NOBODY}"}
    code, said = run(tmp_path, **environment)

    assert code == 2
    for field in ("ownr", "sla.freshness", "strin"):
        assert field in said
    assert f"{folder / 'data_product.yaml'}:" in said


def test_a_missing_secret_is_named_and_a_found_one_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "kafka.yaml").write_text(
        yaml.safe_dump(
            {
                "sasl.username": "mesh",
                "sasl.password": "${env:MESH_TEST_ABSENT}",
                "ssl.key.password": "${env:MESH_TEST_CANARY}",
                "enable.idempotence": "false",
            }
        )
    )
    code, said = run(
        tmp_path,
        MESH_BOOTSTRAP_SERVERS=NOBODY,
        MESH_REGISTRY_URL=f"http://{NOBODY}",
        MESH_KAFKA_CONFIG=str(tmp_path / "kafka.yaml"),
        MESH_TEST_CANARY="canary-5f3a",
    )

    assert code == 2
    assert "MESH_TEST_ABSENT" in said
    assert "enable.idempotence" in said
    assert "canary-5f3a" not in said


def run(folder: Path, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [*COMMAND, "run", "--products", str(folder / "products"), "--metrics-port", "0"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def declare(torture: Scene, **changes: object) -> None:
    """Change the declaration after it was provisioned."""
    path = torture.folder / "data_product.yaml"
    document = yaml.safe_load(path.read_text())
    document["data_product"].update(changes)
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def topics(admin: AdminClient) -> set[str]:
    return set(admin.list_topics(timeout=10).topics)
