"""The fault tests' tools: a product, its feed, workers as processes, readers, the verifier."""
