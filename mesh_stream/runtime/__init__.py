"""Who moves records: the worker loop, its transactions, its supervisor."""
