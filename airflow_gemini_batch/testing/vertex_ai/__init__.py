"""A local stand-in for Vertex AI's batch prediction jobs."""

from __future__ import annotations

from airflow_gemini_batch.testing.vertex_ai.fault_table import FAULTS
from airflow_gemini_batch.testing.vertex_ai.faults import Fault, Faults
from airflow_gemini_batch.testing.vertex_ai.readings import Readings
from airflow_gemini_batch.testing.vertex_ai.rows.responder import text_response
from airflow_gemini_batch.testing.vertex_ai.server import LocalVertex

__all__ = ["FAULTS", "Fault", "Faults", "LocalVertex", "Readings", "text_response"]
