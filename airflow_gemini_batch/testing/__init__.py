"""Cloud Storage, BigQuery and Vertex AI on 127.0.0.1, for the tests of your own DAGs.

``airflow_gemini_batch.testing.fixtures`` is a pytest plugin with the servers as fixtures; :class:`LocalStack` starts
them anywhere else. They need the extra ``local``.
"""

from __future__ import annotations

from airflow_gemini_batch.testing.stack import LOCATION, PROJECT, LocalStack

__all__ = ["LOCATION", "PROJECT", "LocalStack"]
