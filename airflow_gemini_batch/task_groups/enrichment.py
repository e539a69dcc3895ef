"""The whole pipeline as one task group: preflight, build, submit, land."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from airflow.providers.common.compat.sdk import TaskGroup

from airflow_gemini_batch.core.defaults import DEFAULT_CONNECTION, DEFAULT_MAX_FAILED_FRACTION
from airflow_gemini_batch.operators.gemini import (
    BuildGeminiRequestsOperator,
    LandGeminiResultsOperator,
    SubmitGeminiBatchOperator,
)
from airflow_gemini_batch.operators.preflight import PreflightGeminiBatchOperator


class GeminiEnrichmentTaskGroup(TaskGroup):
    """Ask Gemini about each new row of a table or of files, and land the answers as typed columns.

    Four tasks: ``preflight`` (all that can be known to be wrong, at once), ``build_requests``, ``submit`` (one mapped
    instance for each job) and ``land_results``. Rows that are in the target already, asked the same of the same model, are
    left out; without new rows the rest is skipped, and nothing is paid.

    Example::

        GeminiEnrichmentTaskGroup(
            group_id="describe_books",
            source="bq://shop.books.books",
            key="book_id",
            prompt="Describe [[ title ]] by [[ authors | an unknown author ]] in two sentences.",
            model="gemini-2.5-flash",
            response_schema={"description": str, "genres": list[str]},
            target="bq://shop.books.descriptions",
        )

    The parameters are those of
    :class:`~airflow_gemini_batch.operators.gemini.BuildGeminiRequestsOperator`,
    :class:`~airflow_gemini_batch.operators.gemini.SubmitGeminiBatchOperator` and
    :class:`~airflow_gemini_batch.operators.gemini.LandGeminiResultsOperator`, but for these:

    :param requests: where the requests go: a ``bq://`` dataset for rows in BigQuery, a ``gs://`` folder for files; by
        default beside the target.
    :param incremental: leave out rows that are in the target already; ``False`` asks about all rows again. It needs
        ``bookkeeping``.
    :param preflight: check everything first, in a task of its own.
    :param submit_options: further arguments of the submit task, such as ``poll_interval`` or ``deferrable``.
    """

    def __init__(
        self,
        group_id: str = "enrich",
        *,
        source: str | Sequence[str] | Iterable[Mapping[str, Any]] | Callable[[], Iterable[Mapping[str, Any]]],
        key: str | Sequence[str],
        prompt: str,
        model: str,
        target: str,
        response_schema: Any = None,
        text_column: str = "answer",
        system_instruction: str | None = None,
        generation_config: Mapping[str, Any] | None = None,
        safety_settings: Sequence[Mapping[str, Any]] | None = None,
        media: Sequence[str] | Mapping[str, str | None] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        requests: str | None = None,
        failed_target: str | None = None,
        incremental: bool = True,
        bookkeeping: bool = True,
        on_bad_rows: Literal["fail", "drop"] = "fail",
        max_cost_usd: float | str | None = None,
        max_row_retries: int = 1,
        max_failed_fraction: float = DEFAULT_MAX_FAILED_FRACTION,
        shard_rows: int | None = None,
        labels: Mapping[str, str] | None = None,
        preflight: bool = True,
        submit_options: Mapping[str, Any] | None = None,
        project_id: str | None = None,
        location: str | None = None,
        gcp_conn_id: str = DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(group_id=group_id, **kwargs)
        if incremental and not bookkeeping:
            raise ValueError(
                f"task group {group_id!r}: without bookkeeping nothing tells which rows are done; set incremental=False "
                "to ask, and pay, for all rows in each run"
            )
        connection: dict[str, Any] = {
            "project_id": project_id,
            "location": location,
            "gcp_conn_id": gcp_conn_id,
            "impersonation_chain": impersonation_chain,
        }
        asked: dict[str, Any] = {
            "source": source,
            "key": key,
            "prompt": prompt,
            "model": model,
            "system_instruction": system_instruction,
            "generation_config": generation_config,
            "response_schema": response_schema,
            "safety_settings": safety_settings,
            "media": media,
            "tools": tools,
            "destination": requests,
            "skip_done": target if incremental else None,
            "on_bad_rows": on_bad_rows,
            "max_cost_usd": max_cost_usd,
            "shard_rows": shard_rows,
        }
        landed: dict[str, Any] = {
            "key": key,
            "target": target,
            "failed_target": failed_target,
            "bookkeeping": bookkeeping,
            "response_schema": response_schema,
            "text_column": text_column,
        }
        with self:
            build = BuildGeminiRequestsOperator(task_id="build_requests", **asked, **connection)
            submit = SubmitGeminiBatchOperator.partial(
                task_id="submit",
                model=model,
                labels=labels,
                max_row_retries=max_row_retries,
                max_failed_fraction=max_failed_fraction,
                **connection,
                **(submit_options or {}),
            ).expand(source=build.output)
            land = LandGeminiResultsOperator(
                task_id="land_results",
                manifest=submit.output,
                max_failed_fraction=max_failed_fraction,
                **landed,
                **connection,
            )
            if preflight:
                check = PreflightGeminiBatchOperator(
                    task_id="preflight", **asked, target=target, failed_target=failed_target, **connection
                )
                check >> build
        self.output = land.output
        """Where the results are: see :class:`~airflow_gemini_batch.operators.land.LandResultsOperator`."""
