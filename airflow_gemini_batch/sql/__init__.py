"""One SQL for two engines: BigQuery, where the rows are in tables, and DuckDB, where they are in files."""
