"""Takes the answers of a canary into the target, so that its rows need not be asked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import failed_target_of
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.tables import Tables, check_readable_whole, without_filter
from airflow_gemini_batch.landing.bigquery.canary_sql import canary_staging_statement
from airflow_gemini_batch.landing.bigquery.lander import TableLanding
from airflow_gemini_batch.landing.bigquery.merge_sql import Merge
from airflow_gemini_batch.landing.bigquery.targets import column_types, staging_address_of
from airflow_gemini_batch.landing.canary_rows_sql import check_canary_columns
from airflow_gemini_batch.landing.files.canary import canary_portions
from airflow_gemini_batch.landing.files.lander import land_portions
from airflow_gemini_batch.landing.lander import table_of
from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport, target_columns
from airflow_gemini_batch.outputs.classify import Outcome

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


def land_canary(
    plan: LandingPlan,
    question: str,
    canary: str,
    target: str,
    failed_target: str | None,
    *,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
    log: Log,
) -> LandingReport:
    """Merge the answers of a canary to a question into the target, by key, as the answers of a job are merged.

    Landing twice changes nothing, and answers older than those in the target leave them as they are. Rows that have an
    answer now leave the failures of the target.

    :param plan: of the canary's landing.
    :param question: its id.
    :param canary: the table or file that the canary has landed in, with bookkeeping.
    :param target: the table or file that takes its rows.
    :param failed_target: the failures of the target; by default ``<target>__failed``.
    :param storage_client: makes the client, when a file is read or written.
    :param bigquery_client: makes the client, when a table is.

    Raises :class:`.InvalidRequestError` for what can't be landed, before the target changes, and what the landing in
    :mod:`tables <airflow_gemini_batch.landing.bigquery.lander>` and in
    :mod:`files <airflow_gemini_batch.landing.files.lander>` raises.
    """
    failed = failed_target or failed_target_of(target)
    named = f"canary_target {canary}, target {target}, failed_target {failed}"
    if len({canary, target, failed}) < 3:
        raise InvalidRequestError(f"{named}: one would overwrite another. Give each an address of its own")
    tables = [table for address in (canary, target, failed) if (table := table_of(address))]
    if not tables:
        return _land_file(plan, question, canary, target, failed, storage_client(), log)
    try:
        canary_table, target_table, failed_table = tables
    except ValueError:
        raise InvalidRequestError(f"{named}: name three tables or three files") from None
    return _land_table(plan, question, canary_table, target_table, failed_table, bigquery_client(), log)


def _land_table(
    plan: LandingPlan,
    question: str,
    canary: BigQueryAddress,
    target: BigQueryAddress,
    failed: BigQueryAddress,
    client: bigquery.Client,
    log: Log,
) -> LandingReport:
    table = Tables(client).find(canary)
    if table is None:
        return _nothing(str(canary), str(target), str(failed), log)
    check_readable_whole(table, f"canary {canary}", without_filter(canary))
    types = column_types(table.schema)
    check_canary_columns(str(canary), types, plan, target_columns(plan))
    staging = staging_address_of(target, [str(canary), question])
    merge = Merge(plan, {name: types[name] for name in plan.key}, staging, target, failed)
    return TableLanding(client, log).land_selected(
        merge, canary_staging_statement(plan, staging, canary, types, question), question
    )


def _land_file(
    plan: LandingPlan,
    question: str,
    canary: str,
    target: str,
    failed: str,
    client: storage.Client,
    log: Log,
) -> LandingReport:
    with canary_portions(plan, question, canary, client) as rows:
        if rows is None:
            return _nothing(canary, target, failed, log)
        land_portions(rows, target, failed, client, log, [question])
        return LandingReport(target, failed, {Outcome.OK: rows.count})


def _nothing(canary: str, target: str, failed: str, log: Log) -> LandingReport:
    log.warning("There is no canary %s, so %s gets none of its answers", canary, target)
    return LandingReport(target, failed, {})
