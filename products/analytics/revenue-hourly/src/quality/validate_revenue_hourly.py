from mesh_stream.quality import data_quality_check, expect


@data_quality_check
def validate_revenue_hourly(df):
    # An order of orders-completed is never below zero: an hour that is, is not of its facts.
    expect(df).column_values_to_be_between("revenue", 0)
