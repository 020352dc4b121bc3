from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient

from mesh_stream.local.stack import Stack, running

pytestmark = pytest.mark.kafka


def test_the_broker_serves_on_loopback(stack: Stack) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})

    brokers = admin.list_topics(timeout=5).brokers

    assert [broker.host for broker in brokers.values()] == ["127.0.0.1"]


def test_a_running_stack_is_found_by_its_folder(stack: Stack) -> None:
    assert stack == running(stack.data)
