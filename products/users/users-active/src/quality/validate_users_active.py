from mesh_stream.quality import data_quality_check, expect


@data_quality_check
def validate_users_active(df):
    expect(df).column_values_to_match_regex("user_id", r"cust_[0-9]+\Z")
