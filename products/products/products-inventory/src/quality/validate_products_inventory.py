from mesh_stream.quality import data_quality_check, expect


@data_quality_check
def validate_products_inventory(df):
    # Codes of ours and of our suppliers: `85123A`, `gift_0001_40`, `BANK CHARGES`.
    expect(df).column_values_to_match_regex(
        "sku", r"[A-Za-z0-9]([A-Za-z0-9_ -]{0,30}[A-Za-z0-9])?\Z"
    )
