"""Wait for a job's complete output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.defaults import DEFAULT_MAX_FAILED_FRACTION
from airflow_gemini_batch.core.settings import check_fraction
from airflow_gemini_batch.exceptions import InvalidRequestError, as_invalid_request
from airflow_gemini_batch.sensors.base import ReadinessSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_gemini_batch.triggers.probes import OutputProbe


class OutputSensor(ReadinessSensor):
    """Wait until the output of a submission is complete: of its job, and of the follow-ups for rows that failed.

    A job writes while it runs, so output that exists may be incomplete. It is complete once it has as many rows as
    expected and once the job that writes it has ended: give one of the two, or both, and both are checked. While rows
    are without an answer, the jobs that write there are looked for, and a follow-up is waited for.
    The result is a dict: ``output``, ``rows`` and ``failed`` over all rounds, and ``outputs``, a list of the table or
    folder of each round.

    :param expected_rows: number of rows, or the address of the requests to compare with.
    :param max_failed_fraction: share of rows, 0 to 1, that may be without an answer; with more, the sensor
        fails.
    :param job_name: ``projects/P/locations/L/batchPredictionJobs/ID``: when that job fails, so does the
        sensor, with the reason. Its follow-ups are part of the output.
    """

    template_fields: Sequence[str] = (*ReadinessSensor.template_fields, "expected_rows", "job_name")

    def __init__(
        self,
        *,
        expected_rows: int | str | Sequence[str] | None = None,
        max_failed_fraction: float = DEFAULT_MAX_FAILED_FRACTION,
        job_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        with as_invalid_request():
            check_fraction(max_failed_fraction)
        self.expected_rows = expected_rows
        self.max_failed_fraction = max_failed_fraction
        self.job_name = job_name

    def _probe(self, output: str) -> OutputProbe:
        from airflow_gemini_batch.triggers.probes import OutputProbe

        if self.expected_rows is None and not self.job_name:
            raise InvalidRequestError(
                f"{self.task_id}: give expected_rows or job_name. Without either, incomplete output cannot be "
                "distinguished from complete output"
            )
        if self.job_name:
            with as_invalid_request("job_name"):
                self.hook.job_name(self.job_name)
        rows, requests = self._expected()
        return OutputProbe(
            output=output,
            expected_rows=rows,
            expected_from=requests,
            max_failed_fraction=self.max_failed_fraction,
            job_name=self.job_name or None,
            follow_up_wait=self.follow_up_wait,
        )

    def _expected(self) -> tuple[int | None, list[str]]:
        from airflow_gemini_batch.jobs.submission import parse_requests

        expected = self.expected_rows
        if isinstance(expected, str) and expected.strip().isdigit():
            expected = int(expected)  # a number, rendered by a template
        if expected is None:
            return None, []
        if isinstance(expected, int):
            if expected < 0:
                raise InvalidRequestError(f"expected_rows: expected 0 or more, got {expected}")
            return expected, []
        with as_invalid_request("expected_rows"):
            return None, [str(address) for address in parse_requests(expected)]


class GeminiBatchOutputTableSensor(OutputSensor):
    """Wait until a BigQuery table holds the complete output of a job; see :class:`OutputSensor`.

    :param table: ``bq://PROJECT.DATASET.TABLE``.
    """

    template_fields: Sequence[str] = (*OutputSensor.template_fields, "table")

    def __init__(self, *, table: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table

    def probe(self, context: Context) -> OutputProbe:
        """Return the probe for the table."""
        from airflow_gemini_batch.core.addresses import BigQueryAddress, parse_address

        with as_invalid_request("table"):
            address = parse_address(self.table)
        if not isinstance(address, BigQueryAddress) or not address.is_table:
            raise InvalidRequestError(f"table: expected bq://PROJECT.DATASET.TABLE, got {self.table!r}")
        return self._probe(self.table)


class GeminiBatchOutputFilesSensor(OutputSensor):
    """Wait until the prediction files on Cloud Storage hold the complete output of a job; see :class:`OutputSensor`.

    :param prefix: the job's output folder, or the ``gs://`` prefix that it was given as destination. A prefix with the
        output of several submissions fails, unless they are those of one mapped task in one run.
    """

    template_fields: Sequence[str] = (*OutputSensor.template_fields, "prefix")

    def __init__(self, *, prefix: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.prefix = prefix

    def probe(self, context: Context) -> OutputProbe:
        """Return the probe for the files."""
        from airflow_gemini_batch.core.addresses import GcsAddress, parse_address

        with as_invalid_request("prefix"):
            address = parse_address(self.prefix)
        if not isinstance(address, GcsAddress) or address.has_wildcard:
            raise InvalidRequestError(f"prefix: expected a gs:// folder, got {self.prefix!r}")
        return self._probe(self.prefix)
