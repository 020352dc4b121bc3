from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path

import pytest

from mesh_stream.local.stack import Stack
from tests.cli.calling import environment, started
from tests.kafka.declaring import unique
from tests.product.seed import declaration, write

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def neighbours(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A provisioned product, and in another domain one that was broken since."""
    name, root = unique("sound"), tmp_path_factory.mktemp("run") / "products"
    text = declaration(name, more=f"inputs: [{{topic: raw.{name}}}]")
    write(root, f"orders/{name}", {"data_product.yaml": text})
    with started("apply", "--create-inputs", env=environment(stack, root)) as applying:
        _, said = applying.communicate(timeout=60)
        assert applying.returncode == 0, said
    write(root, "shop/customers", {"data_product.yaml": "a: ["})
    return name, root


def until(process: subprocess.Popen[str], word: str) -> None:
    """Reads what the process says until it says this; it is ended where that takes a minute."""
    assert process.stderr is not None
    end = threading.Timer(60, process.kill)
    end.start()
    said = []
    for line in process.stderr:
        said.append(line)
        if word in line:
            end.cancel()
            return
    raise AssertionError(f"it never said {word!r}, but: {''.join(said)}")


@pytest.mark.parametrize("by", ["name", "domain", "slot"])
def test_a_product_runs_beside_a_broken_one_of_another_domain(
    neighbours: tuple[str, Path], stack: Stack, by: str
) -> None:
    name, root = neighbours
    command = {
        "name": ["run", name, "--metrics-port", "0"],
        "domain": ["run", "--domain", "orders", "--metrics-port", "0"],
        "slot": ["worker", name, "--slot", "0"],
    }[by]
    with started(*command, env=environment(stack, root)) as running:
        until(running, "assigned raw.")
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=20)
    assert running.returncode == 0, said


def test_without_a_name_every_fault_of_every_product_is_told(
    neighbours: tuple[str, Path], stack: Stack
) -> None:
    _, root = neighbours
    with started("run", env=environment(stack, root)) as refused:
        _, said = refused.communicate(timeout=20)
    assert refused.returncode == 2
    assert "customers/data_product.yaml:1: found broken YAML" in said
