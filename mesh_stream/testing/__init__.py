"""A product's whole path with no broker: what product authors test with.

    from mesh_stream.testing import ProductDriver

    def test_a_completed_order_is_a_fact():
        driver = ProductDriver.load("products/orders/orders-completed")
        driver.send({"order_id": "ord_1", "status": "completed", ...})
        assert driver.facts == [{"order_id": "ord_1", ...}]

Records go through the very pipeline that the worker runs, and facts are read back by the stock
Avro reader: what is asserted is what a consumer would get. Only Kafka is left out. Everything is
fixed, so that a test gives the same result every time: offsets count from 0, records are a second
apart from `START`, and dead letters are stamped with their record's own time.

A product that remembers is committed after each record, so that every change shows, and time is in
the test's hands:

    driver.send({"sku": "a", "units": 1, "at": "2026-01-01T12:10:00Z"})
    driver.advance(datetime(2026, 1, 1, 13, tzinfo=UTC))   # windows close, their facts are there
    assert driver.states == {}
"""

from mesh_stream.testing.driver import START, ProductDriver, Published, Rejection, Sent
from mesh_stream.testing.memory import CONTRACT_ID, MemoryMessage, MemorySchemas, MemoryStore

__all__ = [
    "CONTRACT_ID",
    "START",
    "MemoryMessage",
    "MemorySchemas",
    "MemoryStore",
    "ProductDriver",
    "Published",
    "Rejection",
    "Sent",
]
