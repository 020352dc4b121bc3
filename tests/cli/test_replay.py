from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Message

from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.local.ports import choose
from mesh_stream.local.stack import Stack
from tests.cli.calling import Call, calling, environment, started
from tests.deadline import eventually
from tests.kafka.declaring import settings_of, unique
from tests.kafka.reading import messages

pytestmark = pytest.mark.kafka

PRODUCTS = Path(__file__).parents[2] / "products"
DAY = 86_400_000


@pytest.fixture
def call(
    stack: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Call]:
    with calling(capsys, monkeypatch, environment(stack, PRODUCTS)) as made:
        yield made


def new_topic(stack: Stack, **settings: str) -> str:
    asking, name = admin(settings_of(stack)), f"raw.{unique('replay')}"
    dotted = {key.replace("_", "."): text for key, text in settings.items()}
    topics.create(asking, name, partitions=1, replicas=1, settings=dotted)
    return name


def arrived(stack: Stack, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    return [(message.key(), message.value()) for message in messages(stack, topic)]


def times(stack: Stack, topic: str) -> list[int]:
    def millis(message: Message) -> int:
        return message.timestamp()[1]

    return [millis(message) for message in messages(stack, topic)]


def test_json_lines_arrive_byte_for_byte_with_key_and_time(
    call: Call, stack: Stack, tmp_path: Path
) -> None:
    topic, file = new_topic(stack), tmp_path / "orders.jsonl"
    lines = [b'{"id": 7, "at": "2010-12-01T08:26:00Z", "price": 1.10}', b'{"at":0,"id":"\xc3\xa9"}']
    lines[1] = lines[1].replace(b"0", b"1291191960001")
    file.write_bytes(b"\r\n".join(lines))
    result = call("replay", topic, file, "--key", "id", "--event-time", "at")
    assert (result.code, result.out) == (0, "")
    assert arrived(stack, topic) == [(b"7", lines[0]), ("é".encode(), lines[1])]
    assert times(stack, topic) == [1_291_191_960_000, 1_291_191_960_001]
    assert f"sent 2 records to {topic}" in result.err


def test_csv_rows_arrive_as_objects_of_strings(call: Call, stack: Stack, tmp_path: Path) -> None:
    topic, file = new_topic(stack), tmp_path / "orders.csv"
    file.write_text('InvoiceNo,Price\n536365,2.50\nC536366,"1,5"\n')
    assert call("replay", topic, file, "--key", "InvoiceNo").code == 0
    assert [(key, json.loads(value or b"")) for key, value in arrived(stack, topic)] == [
        (b"536365", {"InvoiceNo": "536365", "Price": "2.50"}),
        (b"C536366", {"InvoiceNo": "C536366", "Price": "1,5"}),
    ]


def test_a_limit_sends_the_first_of_them(call: Call, stack: Stack, tmp_path: Path) -> None:
    topic, file = new_topic(stack), tmp_path / "orders.jsonl"
    file.write_text("".join(f'{{"n":{n}}}\n' for n in range(100)) + "oops\n")
    assert call("replay", topic, file, "--limit", "3").code == 0
    assert [value for _, value in arrived(stack, topic)] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


def test_where_a_line_is_wrong_nothing_is_sent_and_every_fault_is_named(
    call: Call, stack: Stack, tmp_path: Path
) -> None:
    topic, file = new_topic(stack), tmp_path / "orders.jsonl"
    file.write_text('{"id":1}\n{"id":2\n\n{"ID":"canary"}\n[3]\n')
    result = call("replay", topic, file, "--key", "id")
    assert result.code == 1
    second, fourth, fifth = (line for line in result.err.splitlines() if str(file) in line)
    assert second.startswith(f"error: {file}:2: found no JSON (Input data was truncated); expected")
    assert fourth == f"{file}:4: id: found nothing; expected this field; there are: ID"
    assert fifth.startswith(f"{file}:5: found a JSON list; expected one JSON object a line; `jq")
    assert "canary" not in result.err
    assert arrived(stack, topic) == []


def test_standard_input_is_sent_up_to_the_wrong_line_and_says_how_far(stack: Stack) -> None:
    topic = new_topic(stack)
    with started("replay", topic, "-", "--key", "n", env=environment(stack, PRODUCTS)) as replaying:
        _, said = replaying.communicate('{"n":1}\n{"n":2}\noops\n{"n":3}\n', timeout=60)
        assert replaying.returncode == 1
    assert f"sent 2 records to {topic}" in said
    assert "error: standard input:3: found no JSON" in said
    assert arrived(stack, topic) == [(b"1", b'{"n":1}'), (b"2", b'{"n":2}')]


def test_an_interrupted_replay_says_how_many_were_sent(stack: Stack, tmp_path: Path) -> None:
    topic, file = new_topic(stack), tmp_path / "orders.jsonl"
    file.write_text("".join(f'{{"n":{n}}}\n' for n in range(100_000)))
    env = environment(stack, PRODUCTS)
    with started("replay", topic, file, "--rate", "200", env=env) as replaying:
        assert replaying.stderr is not None
        # The first line of progress: it is under way.
        assert "records sent" in replaying.stderr.readline()
        replaying.send_signal(signal.SIGINT)
        _, said = replaying.communicate(timeout=30)
        assert replaying.returncode == 1
    count = len(arrived(stack, topic))
    assert 0 < count < 100_000
    assert f"sent {count:,} of 100,000 records to {topic}" in said
    assert said.endswith("stopped\n")


def test_a_replay_that_waits_for_standard_input_can_be_interrupted(stack: Stack) -> None:
    topic = new_topic(stack)
    with started("replay", topic, "-", env=environment(stack, PRODUCTS)) as replaying:
        assert replaying.stdin is not None
        replaying.stdin.write('{"n":1}\n')
        replaying.stdin.flush()
        eventually(lambda: arrived(stack, topic), within=30, what="the first record is there")
        replaying.send_signal(signal.SIGINT)
        # Standard input stays open: it is not its end that ends it.
        assert replaying.wait(15) == 1
        assert replaying.stderr is not None
        said = replaying.stderr.read()
    assert f"sent 1 record to {topic}" in said
    assert said.endswith("stopped\n")


def test_a_topic_that_does_not_exist_is_refused_with_the_command(
    call: Call, tmp_path: Path
) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text('{"n":1}\n')
    result = call("replay", "raw.nobody-has-this", file)
    assert result.code == 2
    assert "topic raw.nobody-has-this does not exist" in result.err
    assert "mesh-stream apply --create-inputs" in result.err


def test_facts_are_not_written_by_a_replay(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text('{"n":1}\n')
    result = call("replay", "orders.orders-completed.v1", file)
    assert result.code == 2
    assert "written by workers alone" in result.err


def test_records_that_the_topic_would_forget_are_warned_of(
    call: Call, stack: Stack, tmp_path: Path
) -> None:
    topic, file = new_topic(stack, retention_ms=str(7 * DAY)), tmp_path / "orders.jsonl"
    file.write_text('{"at":"2010-12-01T08:26:00Z"}\n')
    result = call("replay", topic, file, "--event-time", "at")
    assert result.code == 0
    assert f"warning: topic {topic} keeps records for 7 days" in result.err
    assert "warning" not in call("replay", topic, file).err


def test_standard_input_is_warned_of_once_its_times_are_known(stack: Stack) -> None:
    topic = new_topic(stack, retention_ms=str(7 * DAY))
    arguments = ("replay", topic, "-", "--event-time", "at")
    with started(*arguments, env=environment(stack, PRODUCTS)) as replaying:
        _, said = replaying.communicate('{"at":"2010-12-01T08:26:00Z"}\n', timeout=60)
        assert replaying.returncode == 0
    assert said.count("warning: ") == 1


def test_a_record_that_the_broker_refuses_is_exit_code_3_and_names_the_setting(
    call: Call, stack: Stack, tmp_path: Path
) -> None:
    topic, file = new_topic(stack), tmp_path / "orders.jsonl"
    file.write_text('{"at":"2900-01-01T00:00:00Z"}\n')
    result = call("replay", topic, file, "--event-time", "at")
    assert result.code == 3
    assert "message.timestamp.after.max.ms" in result.err
    assert f"sent 0 of 1 records to {topic}" in result.err


def test_an_unknown_file_or_rate_is_a_usage_error(call: Call, tmp_path: Path) -> None:
    assert call("replay", "raw.orders", tmp_path / "none.jsonl").code == 2
    assert call("replay", "raw.orders", tmp_path).code == 2
    file = tmp_path / "orders.jsonl"
    file.write_text("")
    assert call("replay", "raw.orders", file, "--rate", "0").code == 2


def test_an_empty_file_sends_nothing(call: Call, stack: Stack, tmp_path: Path) -> None:
    topic, file = new_topic(stack), tmp_path / "orders.jsonl"
    file.write_text("\n\n")
    result = call("replay", topic, file)
    assert result.code == 0
    assert f"sent 0 records to {topic}" in result.err


def test_no_broker_is_exit_code_3(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = choose([None])
    monkeypatch.setenv("MESH_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    monkeypatch.setattr("mesh_stream.kafka.client.REFUSED_SECONDS", 0.5)
    file = tmp_path / "orders.jsonl"
    file.write_text('{"n":1}\n')
    assert call("replay", "raw.orders", file).code == 3
