"""What all tests share: one real broker and registry, and an end that leaves nothing behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import hypothesis
import pytest

from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.local import java
from mesh_stream.local.stack import Stack, ephemeral
from mesh_stream.runtime.status import STATUS_TOPIC
from tests.kafka.declaring import settings_of

# How long an example takes is the machine's business, not the code's.
hypothesis.settings.register_profile("mesh", deadline=None)
hypothesis.settings.load_profile("mesh")


def pytest_configure() -> None:
    """Have SIGTERM end the session as Ctrl-C does: what the fixtures started is stopped by them."""

    def end(number: int, _frame: FrameType | None) -> None:
        pytest.exit(f"stopped by {signal.Signals(number).name}", returncode=128 + number)

    signal.signal(signal.SIGTERM, end)


# No broker here lives for more than minutes or has much to do: C2 would compile for longer than its
# code then runs, and take a third of what the broker takes altogether.
java.OPTIONS = (*java.OPTIONS, "-XX:TieredStopAtLevel=1")


# Minutes of waiting each. Begun last, any of them would be what the whole suite waits for.
_LONGEST = (
    "tests/cli/test_reset.py",
    "tests/kafka/test_faults_",
    "tests/local/test_stack.py",
    "tests/test_readme.py",
    "tests/local/test_demo.py",
    "tests/cli/test_init_and_test.py",
    "tests/kafka/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: several are run at once."""

    def turn(item: pytest.Item) -> int:
        longest = (n for n, name in enumerate(_LONGEST) if item.nodeid.startswith(name))
        return next(longest, len(_LONGEST))

    items.sort(key=turn)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A real broker and registry on free ports: started when first asked for, one for the session.

    The workers' status topic, which is every product's, is there before any of them is planned.
    Topics, groups and subjects are shared by all tests: each test names its own. Who kills or stops
    a part puts it back, or starts a stack of their own with `ephemeral`.
    """
    with ephemeral(tmp_path_factory.mktemp("stack")) as running:
        topics.create(
            admin(settings_of(running)),
            STATUS_TOPIC,
            partitions=topics.STATUS_PARTITIONS,
            replicas=1,
            settings=topics.status_settings(1),
        )
        yield running
