"""`mesh-stream worker` at another pace: `python -m tests.kafka.harness.paced_worker '{...}' ...`.

The first argument is JSON: fields of `Pace`. What follows is for `mesh-stream worker`.
"""

from __future__ import annotations

import json
import sys
from functools import partial

from mesh_stream.cli import outcome_of
from mesh_stream.runtime import pace

if __name__ == "__main__":
    pace.Pace = partial(pace.Pace, **json.loads(sys.argv[1]))  # type: ignore[misc, assignment]  # a process of its own
    sys.exit(outcome_of(["worker", *sys.argv[2:]]))
