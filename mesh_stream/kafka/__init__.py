"""The broker's edge: client settings, topics, the schema registry, preflight."""
