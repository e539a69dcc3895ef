"""Google's own SQL front end as a judge of statements: names, types, signatures, and kinds of statements.

It is the parser, analyzer and reference evaluator of GoogleSQL that BigQuery is built on, published by Google and
compiled to WebAssembly (``zetasql`` on PyPI). It knows neither load jobs nor BigQuery's planner and quotas.
"""
