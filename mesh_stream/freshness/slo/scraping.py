"""What Prometheus scrapes and loads, and what Grafana finds: the files around the rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mesh_stream.freshness.slo.alerting import MONITOR_JOB, WORKERS_JOB
from mesh_stream.freshness.slo.windows import duration

SCRAPES_A_MINUTE, EVALUATIONS_A_MINUTE = 4, 12
LEAST_INTERVAL = 1.0
"""Seconds. No scrape may take longer than until the next, and a busy machine takes its time."""
LEAST_EVALUATION = 0.25
SCRAPE_TIMEOUT = 10.0
"""Seconds; Prometheus' own, and never longer than the interval."""
DATASOURCE = "mesh-prometheus"
"""The uid of the data source that Grafana is provisioned with, and OpenSLO's name for it."""
PROMETHEUS = "http://127.0.0.1:9090"
DASHBOARDS = "/etc/grafana/dashboards"
"""Where Grafana finds the dashboards: the folder that is mounted into its container."""


def prometheus(monitors: Sequence[str], minute: float) -> dict[str, Any]:
    """The configuration of Prometheus: monitors by address, workers as a monitor names them.

    Args:
        monitors: Their addresses, `host:port`.
        minute: How many seconds a minute lasts.
    """
    interval = _interval(minute)
    timeout = duration(1, min(SCRAPE_TIMEOUT, _seconds(minute)))
    return {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": timeout,
            # Between a scrape and the page that follows from it, a third of an interval at most.
            "evaluation_interval": duration(
                1, max(LEAST_EVALUATION, minute / EVALUATIONS_A_MINUTE)
            ),
        },
        "rule_files": ["rules/*.yml"],
        "scrape_configs": [
            {"job_name": MONITOR_JOB, "static_configs": [{"targets": list(monitors)}]},
            {
                "job_name": WORKERS_JOB,
                # A worker says itself which product it runs, and so does who names it.
                "honor_labels": True,
                "http_sd_configs": [
                    {"url": f"http://{monitor}/targets", "refresh_interval": interval}
                    for monitor in monitors
                ],
            },
        ],
    }


def datasources(minute: float) -> dict[str, Any]:
    """Grafana's data source: that Prometheus."""
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "mesh",
                "uid": DATASOURCE,
                "type": "prometheus",
                "access": "proxy",
                "url": PROMETHEUS,
                "isDefault": True,
                "editable": False,
                # The least that a rate is taken over follows from it.
                "jsonData": {
                    "httpMethod": "POST",
                    "timeInterval": _interval(minute),
                },
            }
        ],
    }


def dashboard_provider() -> dict[str, Any]:
    """Where Grafana looks for the dashboards."""
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "mesh",
                "folder": "mesh",
                "type": "file",
                "disableDeletion": False,
                "allowUiUpdates": False,
                "options": {"path": DASHBOARDS},
            }
        ],
    }


def _seconds(minute: float) -> float:
    return max(LEAST_INTERVAL, minute / SCRAPES_A_MINUTE)


def _interval(minute: float) -> str:
    return duration(1, _seconds(minute))
