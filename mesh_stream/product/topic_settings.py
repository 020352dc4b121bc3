"""The settings a Kafka topic has, so that a misspelt one is found before a broker refuses it."""

from __future__ import annotations

from mesh_stream.product.sla import UnreadableError
from mesh_stream.product.validation import did_you_mean

# Apache Kafka 4.2, `TopicConfig`.
KAFKA = frozenset(
    {
        "cleanup.policy",
        "compression.gzip.level",
        "compression.lz4.level",
        "compression.type",
        "compression.zstd.level",
        "delete.retention.ms",
        "file.delete.delay.ms",
        "flush.messages",
        "flush.ms",
        "follower.replication.throttled.replicas",
        "index.interval.bytes",
        "leader.replication.throttled.replicas",
        "local.retention.bytes",
        "local.retention.ms",
        "max.compaction.lag.ms",
        "max.message.bytes",
        "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms",
        "message.timestamp.type",
        "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms",
        "min.insync.replicas",
        "preallocate",
        "remote.log.copy.disable",
        "remote.log.delete.on.disable",
        "remote.storage.enable",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
        "segment.index.bytes",
        "segment.jitter.ms",
        "segment.ms",
        "unclean.leader.election.enable",
    }
)
_VENDORS = ("confluent.", "redpanda.")


def settings_as_text(values: object) -> object:
    """Writes topic settings as the broker reads them; it knows their values as text only.

    Raises:
        UnreadableError: A name is no topic setting, or a value no plain one.
    """
    if not isinstance(values, dict):
        return values
    for name, value in values.items():
        if name not in KAFKA and not name.startswith(_VENDORS):
            remedy = did_you_mean(name, KAFKA)
            raise UnreadableError(
                "the broker's own names", remedy, found=f"the topic setting {name!r}"
            )
        if value is None or isinstance(value, dict | list):
            raise UnreadableError(f"a text, number or boolean for {name}")
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }
