from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mesh_stream.cli.stack import down, up
from mesh_stream.errors import MeshError
from mesh_stream.local.stack import Stack, running


@pytest.mark.kafka
def test_up_says_where_a_running_stack_is_as_one_document(stack: Stack) -> None:
    before = running(stack.data)
    assert before is not None
    pids = [part.pid for part in before.parts]

    result = CliRunner().invoke(up, ["--data", str(stack.data), "--json"])

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "bootstrap_servers": stack.bootstrap_servers,
        "registry_url": stack.registry_url,
    }
    after = running(stack.data)
    assert after is not None
    assert [part.pid for part in after.parts] == pids


@pytest.mark.kafka
def test_up_tells_a_human_on_stderr(stack: Stack) -> None:
    result = CliRunner().invoke(up, ["--data", str(stack.data)])

    assert result.stdout == ""
    for told in (stack.bootstrap_servers, stack.registry_url, str(stack.data)):
        assert told in result.stderr


@pytest.mark.kafka
def test_up_does_not_turn_one_broker_into_three(stack: Stack) -> None:
    result = CliRunner().invoke(up, ["--data", str(stack.data), "--brokers", "3"])

    assert isinstance(result.exception, MeshError)
    assert "--fresh" in str(result.exception)


def test_down_where_nothing_runs_says_so_and_succeeds(tmp_path: Path) -> None:
    result = CliRunner().invoke(down, ["--data", str(tmp_path)])

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "nothing was running" in result.stderr


def test_a_wrong_number_of_brokers_is_a_usage_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(up, ["--data", str(tmp_path), "--brokers", "0"])

    assert result.exit_code == 2
    assert "1<=x<=9" in result.stderr


@pytest.mark.parametrize("word", ["9092", "8081", "--fresh", "MESH_DATA", "mesh-stream down"])
def test_the_help_of_up_says_what_it_does(word: str) -> None:
    assert word in CliRunner().invoke(up, ["--help"]).stdout
