"""Requests out of rows: of files by a stream, of BigQuery tables by a statement."""
