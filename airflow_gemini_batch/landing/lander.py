"""Routes the answers of jobs into a table or a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress, parse_address
from airflow_gemini_batch.core.columns import failed_target_of
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import InvalidRequestError, as_invalid_request
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.bigquery.lander import TableLanding
from airflow_gemini_batch.landing.files.lander import land_files
from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


@dataclass(frozen=True, slots=True)
class Lander:
    """Merges the answers of batch jobs into a table or a file, by key.

    :param storage_client: makes the client of ``google-cloud-storage``, when a file is read or written.
    :param bigquery_client: makes the client of ``google-cloud-bigquery``, when a table is.
    """

    storage_client: Callable[[], storage.Client]
    bigquery_client: Callable[[], bigquery.Client]
    log: Log

    def land(
        self,
        plan: LandingPlan,
        manifests: Sequence[Manifest],
        target: str,
        failed_target: str | None = None,
    ) -> LandingReport:
        """Land the answers of some jobs.

        Answers in tables land in a table, by SQL. Answers in files pass through the worker's disk.

        :param target: a ``bq://`` table, or a file: ``gs://…`` or a local path.
        :param failed_target: where rows without a usable answer go; by default beside the target.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for targets that can't take the answers,
        and what the landing in :mod:`tables <airflow_gemini_batch.landing.bigquery.lander>` and in
        :mod:`files <airflow_gemini_batch.landing.files.lander>` raises.
        """
        failed = failed_target or failed_target_of(target)
        if failed == target:
            raise InvalidRequestError(
                f"failed_target is the target, {target}, so one would overwrite the other. Leave failed_target out, or "
                "give another address"
            )
        table, failed_table = table_of(target), table_of(failed)
        in_tables = _lie_in_tables(manifests)
        if table is None or failed_table is None:
            if in_tables or table or failed_table:
                raise InvalidRequestError(
                    f"target {target}: the answers are in BigQuery, so they land in a bq:// table"
                    if in_tables
                    else f"target {target}, failed_target {failed}: name two tables or two files"
                )
            return land_files(plan, manifests, target, failed, self.storage_client(), self.log)
        landing = TableLanding(self.bigquery_client(), self.log)
        if in_tables:
            return landing.land(plan, manifests, table, failed_table)
        return landing.land_files(plan, manifests, self.storage_client(), table, failed_table)


def _lie_in_tables(manifests: Sequence[Manifest]) -> bool:
    """Whether requests and answers lie in BigQuery; raises if they lie in both kinds of storage."""
    addresses = [
        address
        for manifest in manifests
        for round_ in manifest.rounds
        for address in (*round_.source, round_.output)
        if address
    ]
    in_tables = {address.startswith("bq://") for address in addresses}
    if len(in_tables) > 1:
        raise InvalidRequestError(
            "requests and answers lie in BigQuery and on Cloud Storage, so rows can't be matched by key: "
            "submit with a destination of the source's kind"
        )
    return True in in_tables


def table_of(target: str) -> BigQueryAddress | None:
    """Return the table that a target names, ``None`` if it names a file."""
    if "://" not in target:
        return None
    with as_invalid_request():
        address = parse_address(target)
    if not isinstance(address, BigQueryAddress):
        return None
    if not address.is_table:
        raise InvalidRequestError(f"target {target} is a dataset: name the table as well")
    return address
