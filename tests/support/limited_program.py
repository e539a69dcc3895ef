"""What a program that reads users' files has loaded."""

from __future__ import annotations

import duckdb
import numpy
import orjson
import pyarrow.parquet

from airflow_gemini_batch.cli.requests import validate
from airflow_gemini_batch.exceptions import GeminiBatchError
from airflow_gemini_batch.gcp.lines import iter_lines
from airflow_gemini_batch.requests.files.builder import build_files
from airflow_gemini_batch.requests.files.rows import read_rows
from airflow_gemini_batch.requests.sources import parse_row_source

__all__ = [
    "GeminiBatchError",
    "build_files",
    "duckdb",
    "iter_lines",
    "numpy",
    "orjson",
    "parse_row_source",
    "pyarrow",
    "read_rows",
    "validate",
]
