"""Quality rules as code: what product authors import.

A check in `src/quality/` says what it expects of the columns; it is called once, at load, and what
it said is applied to every record:

    from mesh_stream.quality import data_quality_check, expect

    @data_quality_check
    def validate_orders_completed(df):
        expect(df).column_values_to_not_be_null("order_id")
        expect(df).column_values_to_be_between("total_amount", 0, 1000000)
"""

from mesh_stream.product.rules import data_quality_check, expect

__all__ = ["data_quality_check", "expect"]
