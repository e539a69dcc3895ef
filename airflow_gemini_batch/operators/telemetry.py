"""What a submission has done, for dashboards: Airflow's metrics, and OpenTelemetry by its GenAI conventions.

https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.jobs.manifest import Manifest, Round

_PROVIDER = "gcp.vertex_ai"
_MICROS = 1_000_000
_NANOSECONDS = 1_000_000_000


def record(manifest: Manifest, log: Log, *, embeds: bool) -> None:
    """Record a submission that has succeeded; a failure is a warning, since the answers are there.

    Airflow's metrics, where they are configured: the counters ``gemini_batch.jobs`` (tags ``model``, ``state``),
    ``gemini_batch.rows`` (``model``, ``outcome``), ``gemini_batch.tokens`` (``model``, ``type``) and
    ``gemini_batch.cost_micro_usd`` (``model``), and the timers ``gemini_batch.queue_duration`` and
    ``gemini_batch.run_duration`` (``model``). With ``[gemini_batch] opentelemetry = True`` also, for each job, a span,
    and for each model version the histogram ``gen_ai.client.token.usage``, by way of the process's own SDK.
    """
    from airflow.providers.common.compat.sdk import conf

    try:
        _to_airflow(manifest)
        if conf.getboolean("gemini_batch", "opentelemetry", fallback=False):
            _to_opentelemetry(manifest, "embeddings" if embeds else "generate_content")
    except Exception as error:  # of a backend of metrics: any
        log.warning("The metrics of %s could not be recorded: %s", manifest.rounds[0].job_name, error)


def _to_airflow(manifest: Manifest) -> None:
    from airflow.providers.common.compat.sdk import Stats

    def count(name: str, number: int, **tags: str) -> None:
        if number:
            Stats.incr(f"gemini_batch.{name}", number, tags={"model": manifest.model, **tags})

    for outcome, rows in manifest.counts.items():
        count("rows", rows, outcome=outcome)
    for kind in ("prompt_tokens", "output_tokens", "thoughts_tokens"):
        tokens = sum(usage.get(kind, 0) for usage in manifest.usage.values())
        count("tokens", tokens, type=kind.removesuffix("_tokens"))
    count("cost_micro_usd", round(((manifest.cost or {}).get("amount") or 0) * _MICROS))
    for job in manifest.rounds:
        count("jobs", 1, state=job.state.removeprefix("JOB_STATE_").lower())
        times = _times(job)
        for name, begin, end in (("queue", "created", "started"), ("run", "started", "ended")):
            if begin in times and end in times:
                duration = times[end] - times[begin]
                Stats.timing(f"gemini_batch.{name}_duration", duration, tags={"model": manifest.model})


def _to_opentelemetry(manifest: Manifest, operation: str) -> None:
    from opentelemetry import metrics, trace

    attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _PROVIDER,
        "gen_ai.request.model": manifest.model,
    }
    histogram = metrics.get_meter(__name__).create_histogram(
        "gen_ai.client.token.usage",
        unit="{token}",
        description="Tokens of batch jobs, per job and model version",
    )
    for model, usage in manifest.usage.items():
        for kind, tokens in _tokens(usage).items():
            histogram.record(
                tokens, {**attributes, "gen_ai.response.model": model, "gen_ai.token.type": kind}
            )
    used = _tokens({name: sum(usage.get(name, 0) for usage in manifest.usage.values()) for name in _ALL})
    tracer = trace.get_tracer(__name__)
    for number, job in enumerate(manifest.rounds):
        times = _times(job)
        if "created" not in times or "ended" not in times:
            continue
        span = tracer.start_span(
            f"{operation} {manifest.model}",
            kind=trace.SpanKind.CLIENT,
            start_time=_nanoseconds(times["created"]),
            attributes={
                **attributes,
                "gen_ai.response.model": ",".join(sorted(manifest.usage)),
                "gemini_batch.job": job.job_name,
                "gemini_batch.follow_up": number,
                **{f"gemini_batch.rows.{outcome}": rows for outcome, rows in job.counts.items() if rows},
                # The tokens are known of all jobs together only.
                **(
                    {f"gen_ai.usage.{kind}_tokens": tokens for kind, tokens in used.items()}
                    if not number
                    else {}
                ),
            },
        )
        span.end(_nanoseconds(times["ended"]))


_INPUT = ("prompt_tokens", "tool_tokens")
_OUTPUT = ("output_tokens", "thoughts_tokens")
_ALL = (*_INPUT, *_OUTPUT)


def _tokens(usage: Mapping[str, int]) -> dict[str, int]:
    """Return the tokens by the type that the conventions know."""
    return {
        kind: sum(usage.get(name, 0) for name in names)
        for kind, names in (("input", _INPUT), ("output", _OUTPUT))
    }


def _times(job: Round) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(time) for name, time in job.times.items()}


def _nanoseconds(time: datetime) -> int:
    return int(time.timestamp() * _NANOSECONDS)
