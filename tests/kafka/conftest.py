from __future__ import annotations

import os
import random
import sys

import pytest


@pytest.fixture
def seed() -> int:
    """Of everything random in a test: shown when it fails, repeated with MESH_TORTURE_SEED."""
    given = os.environ.get("MESH_TORTURE_SEED")
    seed = int(given) if given else random.SystemRandom().randrange(1_000_000)
    sys.stdout.write(f"MESH_TORTURE_SEED={seed}\n")
    return seed
