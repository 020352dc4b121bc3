from __future__ import annotations

from collections.abc import Iterator

import pytest

from mesh_stream.local.stack import Stack, ephemeral


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A real broker and registry on free ports: started when first asked for, one for the session.

    Topics, groups and subjects are shared by all tests: each test names its own. Who kills or stops
    a part puts it back, or starts a stack of their own with `ephemeral`.
    """
    with ephemeral(tmp_path_factory.mktemp("stack")) as running:
        yield running
