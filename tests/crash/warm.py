"""What a worker and a triggerer have loaded; imported once, by the process that they are forked from."""

# ruff: noqa: F401 - imported for the sake of those who are forked

from __future__ import annotations

import airflow.providers.google.common.hooks.base_google
import airflow_gemini_batch.triggers.connect
import airflow_gemini_batch.vertex.create
import google.cloud.bigquery
import google.cloud.storage
import google.genai

import airflow_gemini_batch.jobs.runner
import airflow_gemini_batch.operators.gemini
import airflow_gemini_batch.outputs.store
import airflow_gemini_batch.triggers.gemini_batch
import airflow_gemini_batch.vertex.async_client
import tests.support.tasks
