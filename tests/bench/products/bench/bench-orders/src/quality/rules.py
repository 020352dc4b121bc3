from typing import Any

from mesh_stream.quality import data_quality_check, expect


@data_quality_check
def validate_bench_orders(df: Any) -> None:
    expect(df).column_values_to_not_be_null("order_id")
    expect(df).column_values_to_not_be_null("customer_id")
    expect(df).column_values_to_be_between("total_amount", 0, 1000000)
    expect(df).column_values_to_match_regex("order_id", r"ord_[a-z0-9]+")
