"""The whole pipeline as one task group: preflight, build, submit, land."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from airflow.providers.common.compat.sdk import TaskGroup

from airflow_gemini_batch.core.defaults import (
    DEFAULT_CONNECTION,
    DEFAULT_MAX_FAILED_FRACTION,
    DEFAULT_MAX_ROW_RETRIES,
)

if TYPE_CHECKING:
    from airflow_gemini_batch.operators.build import BuildRequestsOperator
    from airflow_gemini_batch.operators.land import LandResultsOperator
    from airflow_gemini_batch.operators.preflight import PreflightOperator
    from airflow_gemini_batch.operators.submit import SubmitBatchJobOperator

Rows = Iterable[Mapping[str, Any]]


class PipelineTaskGroup(TaskGroup):
    """Ask a model about each new row of a table or of files, and land what it answers.

    Four tasks: ``preflight`` (all that can be known to be wrong, at once), ``build_requests``, ``submit`` (one mapped
    instance for each job) and ``land_results``. Rows that are in the target already, asked the same of the same model,
    are left out; without new rows the rest is skipped, and nothing is paid. When one of several jobs has failed for
    good, the answers of the others are landed, and ``land_results`` fails.

    :param source: a ``bq://`` table, a query (``SELECT …``), files (CSV, JSON Lines or Parquet; ``gs://`` or local
        paths, patterns too), or rows: an iterable of dicts, or a function that returns one.
    :param key: the column, or columns, that tell the rows apart.
    :param model: plain or resource name of the model.
    :param target: a ``bq://`` table, or a ``.parquet`` or ``.jsonl`` file: ``gs://…`` or a local path.
    :param requests: where the requests go: a ``bq://`` dataset for rows in BigQuery, a ``gs://`` folder for files; by
        default beside the target.
    :param failed_target: where the rows without an answer go; by default ``<target>__failed``.
    :param incremental: leave out rows that are in the target already; ``False`` asks about all rows again. It needs
        ``bookkeeping``.
    :param bookkeeping: keep model, tokens, time, job and fingerprint beside each answer, in columns ``batch_…``.
    :param on_bad_rows: rows that can't become requests ``fail`` the run with their keys, or ``drop`` them.
    :param max_cost_usd: fail before anything is submitted when the estimated cost of all jobs is higher.
    :param max_row_retries: follow-up jobs for rows that failed in passing.
    :param max_failed_fraction: share of the rows, 0 to 1, that may be without a usable answer; judged once all
        answers have landed, over the rows of all jobs.
    :param shard_rows: most requests of one job; by default as many as Vertex AI takes.
    :param labels: labels of the jobs, for billing, say.
    :param preflight: check everything first, in a task of its own.
    :param submit_options: further arguments of the submit task, such as ``poll_interval`` or ``deferrable``.
    :param project_id: project of the jobs; by default the connection's.
    :param location: location of the jobs, such as ``us-central1``; by default the connection's.
    :param gcp_conn_id: the Airflow connection.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param asked: further arguments of the build and the preflight task; subclasses give them.
    :param submitted: further arguments of the submit task; subclasses give them.
    :param landed: further arguments of the land task; subclasses give them.
    """

    build_operator: ClassVar[type[BuildRequestsOperator]]
    submit_operator: ClassVar[type[SubmitBatchJobOperator]]
    land_operator: ClassVar[type[LandResultsOperator]]
    preflight_operator: ClassVar[type[PreflightOperator]]

    def __init__(
        self,
        *,
        group_id: str,
        source: str | Sequence[str] | Rows | Callable[[], Rows],
        key: str | Sequence[str],
        model: str,
        target: str,
        requests: str | None = None,
        failed_target: str | None = None,
        incremental: bool = True,
        bookkeeping: bool = True,
        on_bad_rows: Literal["fail", "drop"] = "fail",
        max_cost_usd: float | str | None = None,
        max_row_retries: int = DEFAULT_MAX_ROW_RETRIES,
        max_failed_fraction: float = DEFAULT_MAX_FAILED_FRACTION,
        shard_rows: int | None = None,
        labels: Mapping[str, str] | None = None,
        preflight: bool = True,
        submit_options: Mapping[str, Any] | None = None,
        project_id: str | None = None,
        location: str | None = None,
        gcp_conn_id: str = DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | None = None,
        asked: Mapping[str, Any],
        submitted: Mapping[str, Any],
        landed: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(group_id=group_id, **kwargs)
        if incremental and not bookkeeping:
            raise ValueError(
                f"task group {group_id!r}: without bookkeeping nothing tells which rows are done; set "
                "incremental=False to ask, and pay, for all rows in each run"
            )
        connection: dict[str, Any] = {
            "project_id": project_id,
            "location": location,
            "gcp_conn_id": gcp_conn_id,
            "impersonation_chain": impersonation_chain,
        }
        building: dict[str, Any] = {
            "source": source,
            "key": key,
            "model": model,
            "requests": requests,
            "target": target,
            "incremental": incremental,
            "on_bad_rows": on_bad_rows,
            "max_cost_usd": max_cost_usd,
            "shard_rows": shard_rows,
            "on_empty": "succeed",  # the land task has to tell "nothing to ask" from "not built"
            **asked,
            **connection,
        }
        submitting: dict[str, Any] = {
            "model": model,
            "labels": labels,
            "max_row_retries": max_row_retries,
            # Answers that are paid for are landed first, then the land task judges.
            "max_failed_fraction": 1.0,
            **submitted,
            **connection,
            **(submit_options or {}),
        }
        with self:
            build = self.build_operator(task_id="build_requests", **building)
            submit = self.submit_operator.partial(task_id="submit", **submitting).expand(
                requests=build.output
            )
            land = self.land_operator(
                task_id="land_results",
                manifest=cast("Any", submit.output),
                # When one job has failed for good, the answers of the others are landed all the same.
                requests=cast("Any", build.output),
                trigger_rule="all_done",
                key=key,
                bookkeeping=bookkeeping,
                max_failed_fraction=max_failed_fraction,
                target=target,
                failed_target=failed_target,
                **landed,
                **connection,
            )
            if preflight:
                check = self.preflight_operator(task_id="preflight", **building, failed_target=failed_target)
                check >> build
        self.output = land.output
        """Where the results are: see :class:`~airflow_gemini_batch.operators.land.LandResultsOperator`."""
