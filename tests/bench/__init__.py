"""What the worker costs: `python -m tests.bench` measures it on a stack of its own.

Three contenders read the same orders: a bare transactional copy (what Python and the client library
cost), one function written by hand for this very job (what the job costs), and the product worker
as deployed (what our abstractions cost). `products/` holds the worker's product.
"""
