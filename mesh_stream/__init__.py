"""mesh-stream: a folder that declares a data product becomes a running stream processor.

The path of a record, from top to bottom, and the room each step lives in:

    products/<domain>/<product>/    what a domain team writes
        product/                    1  what is promised: declaration, schema, rules, SLA
        pipeline/pipeline.py        2  THE PATH of one record: decode, transform, quality, encode
        runtime/worker.py           3  the loop: poll, pipeline, produce, commit
        kafka/                         the broker's edge: client settings, topics, registry
        mesh/                       4  what everyone sees: plan and apply
        freshness/                     what the SRE sees: metrics
        consumer/                   5  who uses the facts
        local/                         the embedded broker and registry
        cli/                           the commands, thin

A floor imports only from the floors above it in this list (`tests/test_house.py` holds it).

What product authors import: `filtered`, `SourceContext` and `DependencyError` from here, the rule
vocabulary from `mesh_stream.quality`, the test driver from `mesh_stream.testing`.
"""

from mesh_stream.errors import DependencyError
from mesh_stream.pipeline.record import SourceContext, filtered

__all__ = ["DependencyError", "SourceContext", "filtered"]
