"""Whether a topic takes what a file holds, asked before the first record is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mesh_stream.errors import MeshError
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import Admin
from mesh_stream.kafka.raw_file import Checked, Reading
from mesh_stream.kafka.topics import Topic

DAY_MS = 86_400_000
_OURS = ("__", "dlq.", "mesh.")


class TopicRefusedError(MeshError):
    """A topic that a file cannot be sent to: there is none, or it is not for raw records."""

    exit_code = 2


def raw_topic(admin: Admin, name: str, *, products: Path) -> Topic:
    """The topic, as it is on the broker.

    Args:
        admin: The broker's client.
        name: The topic.
        products: The folder of the products, whose own topics are no raw topics.

    Raises:
        TopicRefusedError: It does not exist, or holds what only a worker writes.
        PlatformError: The broker did not answer, or refused.
    """
    if name.startswith(_OURS) or _is_output(name, products):
        raise TopicRefusedError(
            f"topic {name} is written by workers alone, in transactions; expected a raw topic, "
            f"such as raw.<domain>"
        )
    found = topics.describe(admin, [name]).get(name)
    if found is None:
        raise TopicRefusedError(
            f"topic {name} does not exist; `mesh-stream apply --create-inputs` creates the raw "
            f"topics that the products below {products} read"
        )
    return found


def _is_output(name: str, products: Path) -> bool:
    """Whether it is named as the output of a declared product: `<domain>.<product>.v<major>`."""
    match = re.fullmatch(r"([a-z0-9-]+)\.([a-z0-9-]+)\.v[0-9]+", name)
    return match is not None and (products / match[1] / match[2] / "data_product.yaml").is_file()


def concerns(topic: Topic, reading: Reading, checked: Checked, *, now: int) -> Iterator[str]:
    """Yield what will happen to the records that their sender may not expect, as sentences.

    Args:
        topic: Where they go.
        reading: How the file is read.
        checked: What it holds.
        now: Milliseconds since the epoch.

    Raises:
        TopicRefusedError: The topic takes no such record at all.
    """
    policy = topic.setting("cleanup.policy", "delete")
    if "compact" in policy and reading.key is None:
        raise TopicRefusedError(
            f"topic {topic.name} is compacted and takes no records without a key; name the field "
            f"that is the key with --key"
        )
    if reading.event_time is None:
        return
    if topic.setting("message.timestamp.type", "CreateTime") == "LogAppendTime":
        yield (
            f"topic {topic.name} stamps records with the time of their arrival "
            f"(message.timestamp.type), so that --event-time has no effect"
        )
        return
    retention = int(topic.setting("retention.ms", "-1"))
    if "delete" not in policy or retention < 0 or checked.oldest is None:
        return
    age = now - checked.oldest
    if age > retention:
        yield (
            f"topic {topic.name} keeps records for {_span(retention)} (retention.ms={retention}), "
            f"and the oldest of these is {_span(age)} old: the broker deletes such records within "
            f"minutes, perhaps before they are read; raise retention.ms of the topic (-1 keeps "
            f"records for ever), or leave --event-time out"
        )


def _span(millis: int) -> str:
    if millis >= 2 * DAY_MS:
        return f"{millis // DAY_MS:,} days"
    return f"{millis / 3_600_000:.1f} hours"
