"""A rejected record as its dead letter: the original bytes, and headers that say what is wrong.

Origin and message use the broker's own vocabulary (KIP-1191, `__dlq.errors.*`); what only
mesh-stream knows stands under `mesh.dlq.*`. Every header value is UTF-8 text, numbers in decimal. A
record that was a dead letter before has those headers replaced, not appended, so that they cannot
grow; what it carried is treated as anybody's writing: read only as a bounded number.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from mesh_stream.errors import PayloadError
from mesh_stream.pipeline.headers import headers_of
from mesh_stream.pipeline.record import NO_OFFSET, Headers, Message, Rejected
from mesh_stream.product.product import Product

ORIGIN = "__dlq.errors."
OURS = "mesh.dlq."
MAX_REASON_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Provenance:
    """What every dead letter of one worker says of the product that rejected it.

    Attributes:
        group: The consumer group.
        product: The product's name.
        product_version: The product's version.
        contract_version: The registry's version of the subject.
        schema_id: The registry's id of the contract.
    """

    group: str
    product: str
    product_version: str
    contract_version: int
    schema_id: int

    @classmethod
    def of(cls, product: Product, *, contract_version: int, schema_id: int) -> Provenance:
        """Of a product as its worker was started."""
        return cls(product.group, product.name, product.version, contract_version, schema_id)


def dead_letter_headers(rejected: Rejected, *, provenance: Provenance, now: int) -> Headers:
    """The headers of a dead letter: the record's own, then why it is here.

    Args:
        rejected: The record and what is wrong with it.
        provenance: Who rejects it.
        now: Milliseconds since the epoch.
    """
    message = rejected.message
    reason = rejected.reason
    try:
        original = headers_of(message)
    except PayloadError:
        original = []
        reason += "; its own headers cannot be read and are not kept"
    kept = [(name, value) for name, value in original if not name.startswith((ORIGIN, OURS))]
    attempts = _number(original, f"{OURS}attempts", limit=1_000_000) or 0
    first_seen = _number(original, f"{OURS}first.seen", limit=now) or now
    texts = {
        f"{ORIGIN}topic": message.topic(),
        f"{ORIGIN}partition": message.partition(),
        f"{ORIGIN}offset": message.offset(),
        f"{ORIGIN}group": provenance.group,
        f"{ORIGIN}message": reason,
        f"{ORIGIN}delivery.count": attempts + 1,
        f"{OURS}class": rejected.fault_class,
        f"{OURS}rule": rejected.rule,
        f"{OURS}product": provenance.product,
        f"{OURS}product.version": provenance.product_version,
        f"{OURS}contract.version": provenance.contract_version,
        f"{OURS}schema.id": provenance.schema_id,
        f"{OURS}first.seen": first_seen,
        f"{OURS}attempts": attempts + 1,
        f"{OURS}id": dead_letter_id(message),
    }
    kept += [(name, _bounded(str(text))) for name, text in texts.items()]
    return kept


def dead_letter_id(message: Message) -> str:
    """A dead letter's identity, the same however often the record is rejected at this place.

    A window has no offset: it is told by its end and by its key, of which no more is said here.
    """
    place = f"{message.topic()}-{message.partition()}"
    if message.offset() != NO_OFFSET:
        return f"{place}-{message.offset()}"
    _, end = message.timestamp()
    return f"{place}-{end}-{sha256(message.key() or b'').hexdigest()[:16]}"


def _number(headers: Headers, name: str, *, limit: int) -> int | None:
    values = [value for key, value in headers if key == name]
    if not values or values[-1] is None or not values[-1].isdigit() or len(values[-1]) > 16:
        return None
    return min(int(values[-1]), limit)


def _bounded(text: str) -> bytes:
    return text.encode(errors="replace")[:MAX_REASON_BYTES].decode(errors="ignore").encode()
