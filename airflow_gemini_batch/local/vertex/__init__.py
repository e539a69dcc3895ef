"""A local stand-in for Vertex AI's batch prediction jobs."""

from __future__ import annotations

from airflow_gemini_batch.local.vertex.fault_table import FAULTS
from airflow_gemini_batch.local.vertex.faults import Fault, Faults
from airflow_gemini_batch.local.vertex.rows.responder import text_response
from airflow_gemini_batch.local.vertex.server import LocalVertex

__all__ = ["FAULTS", "Fault", "Faults", "LocalVertex", "text_response"]
