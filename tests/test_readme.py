"""The README is run: its commands in order, its snippets as they stand."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.cli import COMMANDS, outcome_of
from mesh_stream.product.loader import load_product
from mesh_stream.testing import ProductDriver

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMAND = Path(sys.executable).with_name("mesh-stream")


def section(title: str) -> str:
    found = re.search(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"the README has no section {title!r}"
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(title: str) -> list[list[str]]:
    lines = [line for block in blocks(section(title), "console") for line in block.splitlines()]
    return [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]


def snippet(title: str, containing: str) -> str:
    (found,) = [code for code in blocks(section(title), "python") if containing in code]
    return found


def names(title: str, containing: str) -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "readme"}
    exec(compile(snippet(title, containing), "README.md", "exec"), scope)
    return scope


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A product made of nothing but the README's snippets."""
    folder = tmp_path / "products" / "orders" / "orders-completed"
    (folder / "src" / "quality").mkdir(parents=True)
    (declaration,) = blocks(section("Write a product"), "yaml")
    (folder / "data_product.yaml").write_text(declaration)
    rules = snippet("Write a product", "data_quality_check")
    (folder / "src" / "quality" / "rules.py").write_text(rules)
    return folder


def test_the_declaration_and_the_rules_make_a_product(product: Path) -> None:
    loaded = load_product(product)

    assert loaded.name == "orders-completed"
    assert {rule.column for rule in loaded.rules} == {"order_id", "total_amount"}


def test_the_transformation_filters_and_returns_facts(product: Path) -> None:
    folder = product / "src" / "transformations"
    folder.mkdir()
    (folder / "refunded.py").write_text(snippet("Write a product", "def refunded"))
    declaration = (product / "data_product.yaml").read_text()
    (product / "data_product.yaml").write_text(
        re.sub(r"    - customer_id.*\n", "", declaration)
        .replace("total_amount: decimal", "amount: decimal")
        .replace("completed_at", "refunded_at")
    )
    rules = product / "src" / "quality" / "rules.py"
    rules.write_text(rules.read_text().replace("total_amount", "amount"))
    driver = ProductDriver.load(product)

    driver.send({"order_id": "ord_1", "amount": "0", "at": "2026-01-01T00:00:00Z"})
    driver.send({"order_id": "ord_2", "amount": "9.50", "at": "2026-01-01T00:00:00Z"})

    assert [fact["order_id"] for fact in driver.facts] == ["ord_2"]
    assert dict(driver.filtered) == {"nothing_refunded": 1}


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"mesh-stream ([a-z]+)", README)) - {"runs", "itself"}

    assert named <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_exists_answers_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome_of([name, "--help"]) == 0
    assert f"Usage: mesh-stream {name}" in capsys.readouterr().out


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()

    for target in re.findall(r"make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


class Shell:
    """Runs the README's commands in a folder with a copy of the products and a stack of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "products", folder / "products")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MESH_")}
        cache = {"MESH_CACHE": os.environ["MESH_CACHE"]} if "MESH_CACHE" in os.environ else {}
        self.environment = {**inherited, **cache, "MESH_DATA": str(folder / "stack")}

    def run(self, command: list[str], *, within: float = 120) -> str:
        assert command[0] == "mesh-stream"
        done = subprocess.run(
            [COMMAND, *command[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
        return done.stdout

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        log = (self.folder / "run.log").open("wb")
        with log:
            return subprocess.Popen(
                [COMMAND, *command[1:]], cwd=self.folder, env=self.environment, stderr=log
            )


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.run(["mesh-stream", "down"])


def test_a_product_is_written_with_the_commands_as_they_stand(tmp_path: Path) -> None:
    shell = Shell(tmp_path)

    for command in commands("Write a product"):
        shell.run(command)

    assert (tmp_path / "products" / "orders" / "orders-refunded").is_dir()


@pytest.mark.kafka
def test_the_mesh_is_run_and_consumed_with_the_commands_as_they_stand(shell: Shell) -> None:
    events = [
        {
            "order_id": f"ord_{number}",
            "status": "completed",
            "customer_id": "cus_1",
            "occurred_at": "2026-11-24T08:00:00Z",
            "items": [{"sku": "A", "qty": 2, "unit_price": "1.25"}],
        }
        for number in range(20)
    ]
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (shell.folder / "orders.jsonl").write_text(lines)
    worker: subprocess.Popen[bytes] | None = None
    printed = ""
    try:
        for command in commands("Run it"):
            match command[1]:
                case "run":
                    worker = shell.start(command)
                case "tail":
                    printed = shell.run(command)
                    consumed = consume_as_the_readme_does(shell)
                case "down":
                    assert worker is not None
                    worker.send_signal(signal.SIGINT)
                    assert worker.wait(15) == 0, (shell.folder / "run.log").read_text()
                    shell.run(command)
                case _:
                    shell.run(command)
    finally:
        if worker is not None and worker.poll() is None:
            worker.kill()
            worker.wait()

    assert len(printed.strip().splitlines()) >= 10
    assert {fact["order_id"] for fact in consumed} == {f"ord_{number}" for number in range(20)}


def consume_as_the_readme_does(shell: Shell) -> list[dict[str, Any]]:
    where = json.loads(shell.run(["mesh-stream", "up", "--json"]))
    facts = names("Consume one", "AvroDeserializer")["facts"]
    found: list[dict[str, Any]] = facts(
        where["bootstrap_servers"], where["registry_url"], "orders.orders-completed.v1", 20
    )
    return found
