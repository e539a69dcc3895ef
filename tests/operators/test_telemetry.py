"""What a submission tells Airflow's metrics and OpenTelemetry."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import Stats
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.operators.telemetry import record
from tests.operators.steps import PROMPT, built, submitted

LOG = logging.getLogger("telemetry")
MODEL = "gemini-3.8-flash"
TIMES = {
    "created": "2026-11-22T00:00:00+00:00",
    "started": "2026-11-22T00:10:00+00:00",
    "ended": "2026-11-22T01:10:00+00:00",
}
FIRST = Round("first", "JOB_STATE_SUCCEEDED", (), "", {"ok": 3, "retryable": 1}, times=TIMES)
SECOND = Round("second", "JOB_STATE_EXPIRED", (), "", {"ok": 1}, times={"created": TIMES["created"]})
USAGE = {"prompt_tokens": 100, "output_tokens": 20, "thoughts_tokens": 30, "tool_tokens": 5}
MANIFEST = Manifest(
    "id",
    MODEL,
    "",
    {"ok": 4, "blocked": 0},
    (FIRST, SECOND),
    {"gemini-3.8-flash-001": USAGE},
    {"amount": 0.00125},
)


@pytest.fixture
def stats(mocker):
    """What Airflow's metrics have been told: name, value, tags."""
    told = []
    for kind in ("incr", "timing"):
        mocker.patch.object(
            Stats, kind, side_effect=lambda name, value, tags: told.append((name, value, tags)), create=True
        )
    return told


@pytest.fixture
def opentelemetry(monkeypatch):
    """A reader of metrics and an exporter of spans."""
    monkeypatch.setenv("AIRFLOW__GEMINI_BATCH__OPENTELEMETRY", "True")
    reader, exporter, tracers = InMemoryMetricReader(), InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(metrics, "get_meter", MeterProvider([reader]).get_meter)
    monkeypatch.setattr(trace, "get_tracer", tracers.get_tracer)
    return reader, exporter


def test_metrics_of_airflow(stats):
    record(MANIFEST, LOG, embeds=False)
    tags = {"model": MODEL}
    assert stats == [
        ("gemini_batch.rows", 4, {**tags, "outcome": "ok"}),
        ("gemini_batch.tokens", 100, {**tags, "type": "prompt"}),
        ("gemini_batch.tokens", 20, {**tags, "type": "output"}),
        ("gemini_batch.tokens", 30, {**tags, "type": "thoughts"}),
        ("gemini_batch.cost_micro_usd", 1250, tags),
        ("gemini_batch.jobs", 1, {**tags, "state": "succeeded"}),
        ("gemini_batch.queue_duration", timedelta(minutes=10), tags),
        ("gemini_batch.run_duration", timedelta(hours=1), tags),
        ("gemini_batch.jobs", 1, {**tags, "state": "expired"}),
    ]


@pytest.mark.parametrize(("embeds", "operation"), [(False, "generate_content"), (True, "embeddings")])
def test_opentelemetry(stats, opentelemetry, embeds, operation):
    record(MANIFEST, LOG, embeds=embeds)
    reader, exporter = opentelemetry
    (metric,) = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    request = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "gcp.vertex_ai",
        "gen_ai.request.model": MODEL,
    }
    assert (metric.name, metric.unit) == ("gen_ai.client.token.usage", "{token}")
    model = {"gen_ai.response.model": "gemini-3.8-flash-001"}
    assert [(point.sum, point.attributes) for point in metric.data.data_points] == [
        (105, {**request, **model, "gen_ai.token.type": "input"}),
        (50, {**request, **model, "gen_ai.token.type": "output"}),
    ]
    # The second job has not said when it ended.
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.end_time - span.start_time) == (f"{operation} {MODEL}", 70 * 60 * 10**9)
    assert dict(span.attributes) == {
        **request,
        "gen_ai.response.model": "gemini-3.8-flash-001",
        "gemini_batch.job": "first",
        "gemini_batch.follow_up": 0,
        "gemini_batch.rows.ok": 3,
        "gemini_batch.rows.retryable": 1,
        "gen_ai.usage.input_tokens": 105,
        "gen_ai.usage.output_tokens": 50,
    }


def test_opentelemetry_is_off_by_default(stats, opentelemetry, monkeypatch):
    monkeypatch.delenv("AIRFLOW__GEMINI_BATCH__OPENTELEMETRY")
    record(MANIFEST, LOG, embeds=False)
    assert opentelemetry[1].get_finished_spans() == ()


def test_metrics_that_fail_are_a_warning(mocker, caplog):
    mocker.patch.object(Stats, "incr", side_effect=OSError("no route to statsd"), create=True)
    record(MANIFEST, LOG, embeds=False)
    assert "The metrics of first could not be recorded: no route to statsd" in caplog.text


def test_submit_task_records_its_job(gemini_batch_stack, bucket, stats):
    submitted(built([{"isbn": "1", "title": "Emma"}], requests=f"gs://{bucket}/requests", prompt=PROMPT))
    assert ("gemini_batch.rows", 1, {"model": MODEL, "outcome": "ok"}) in stats
