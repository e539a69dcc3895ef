"""Thin clients of Google's storages: Cloud Storage files, read as streams, and BigQuery tables, read by SQL."""
