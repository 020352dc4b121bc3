from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mesh_stream.freshness.sli import Blame, State
from mesh_stream.freshness.slo.queries import BLAMES, SILENT, STATES, WORKER_STATES
from mesh_stream.runtime.report import WorkerState
from tests.freshness.slo.asking import queries_of
from tests.freshness.slo.debian import promtool


def test_everything_that_may_be_said_has_a_word_of_its_own() -> None:
    assert {word for word, _ in STATES.values()} == set(State)
    assert {word for word, _ in BLAMES.values()} == {"-", *Blame}
    words = [word for word, _ in WORKER_STATES.values()]
    assert len(set(words)) == len(words)
    assert {*WorkerState, "stopped", SILENT} == set(words)


@pytest.mark.parametrize(
    ("said", "seconds_ago", "shown"),
    [
        ("running", 2, "running"),
        ("paused", 2, "paused"),
        ("running", 60, "silent"),
        ("starting", 60, "silent"),
        ("stopped", 60, "stopped"),
    ],
)
def test_what_a_worker_said_long_ago_is_not_what_it_does(
    generated: Path, tmp_path: Path, said: str, seconds_ago: int, shown: str
) -> None:
    (asked, *_) = [
        one
        for one in queries_of(generated / "dashboards", rate_interval="1m")
        if (one.dashboard, one.panel) == ("mesh", "Workers")
    ]
    numbers = {word: number for number, (word, _) in WORKER_STATES.items()}
    labels = 'job="mesh-monitor",instance="a",product="p",domain="d",slot="0"'
    series = [
        {
            "series": f'mesh_worker_reported_state{{{labels},state="{word}"}}',
            "values": str(int(word == said)),
        }
        for word in numbers
        if word != SILENT
    ]
    last = {"series": f"mesh_worker_last_status_timestamp_seconds{{{labels}}}", "values": "0"}
    sample = {"labels": '{product="p",domain="d",slot="0"}', "value": numbers[shown]}
    case = {
        "tests": [
            {
                "interval": "1m",
                "input_series": [*series, last],
                "promql_expr_test": [
                    {
                        "expr": asked.expression,
                        "eval_time": f"{seconds_ago}s",
                        "exp_samples": [sample],
                    }
                ],
            }
        ]
    }
    path = tmp_path / "case.yml"
    path.write_text(yaml.safe_dump(case))

    done = promtool("test", "rules", path)

    assert done.returncode == 0, done.stdout + done.stderr
