"""The preflight of a job: what Vertex AI would refuse an hour later is reported before the job is created."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.defaults import DEFAULT_MAX_FAILED_FRACTION, LONGEST_LINE, SAMPLE_ROWS
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.costs.estimate import Unpriced, check_ceiling
from airflow_gemini_batch.costs.request_size import estimate_sources
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.tables import columns_of
from airflow_gemini_batch.hooks.prices import price_table
from airflow_gemini_batch.jobs.submission import JobRequest
from airflow_gemini_batch.preflight.checker import PreflightChecker
from airflow_gemini_batch.preflight.findings import Finding, error, raise_findings, warning
from airflow_gemini_batch.preflight.models import model_findings
from airflow_gemini_batch.preflight.requests import RequestSample, size_findings
from airflow_gemini_batch.requests.forms import column_faults

if TYPE_CHECKING:
    from google.cloud.storage import Blob

    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook


_SAMPLED_FILES = 10


def preflight(
    hook: GeminiBatchHook,
    *,
    sources: Sequence[Address],
    destination: Address | None,
    family: ModelFamily,
    model: str = "",
    max_failed_fraction: float = DEFAULT_MAX_FAILED_FRACTION,
    service_account: str = "",
    kms_key_name: str = "",
) -> list[Finding]:
    """Check a job before it is submitted; nothing is written and nothing is billed.

    Give the findings to :func:`airflow_gemini_batch.preflight.findings.raise_findings`.

    :param destination: ``None`` when the answers go to a new folder or table beside the source.
    :param model: plain or resource name; some rules hold for some models only.
    :param max_failed_fraction: share of the requests, 0 to 1, that may be rejected.
    :param service_account: that the job runs as.
    :param kms_key_name: that encrypts what the job keeps.
    """
    checker = _JobChecker(hook, family, model, max_failed_fraction)
    addresses = [*sources, destination] if destination else list(sources)
    checker.check_family(addresses, family)
    checker.check_locations(addresses)
    checker.check_account_and_key(service_account, kms_key_name)
    if not isinstance(sources[0], BigQueryAddress):
        checker.check_files([source for source in sources if isinstance(source, GcsAddress)])
    elif family.takes_tables:
        # One job reads one table: jobs.submission.parse_requests refuses several.
        checker.check_table(sources[0])
    if destination:
        with checker.checking(f"destination {destination}"):
            checker.store.of(destination).check_destination(destination)
    return checker.findings


class _JobChecker(PreflightChecker):
    """Checks the requests of one job."""

    def __init__(
        self, hook: GeminiBatchHook, family: ModelFamily, model: str, max_failed_fraction: float
    ) -> None:
        super().__init__(hook)
        self._family = family
        self._model = model
        self._max_failed_fraction = max_failed_fraction

    def check_table(self, source: BigQueryAddress) -> None:
        """Check the columns and the size of a request table, and a sample of its rows."""
        where = f"source {source}"
        with self.checking(where):
            self.store.tables.versions([source])
            table = self.store.tables.find(source)
            if table is None:
                return
            self.findings += size_findings(table.num_rows, 0, self._family)
            if problems := list(column_faults(columns_of(table), self._family)):
                self.findings += [error(problem, where=where) for problem in problems]
                return
            sample = RequestSample(self._family, model=self._model)
            sample.add_table_rows(self.store.tables.first_rows(table, self._family.read_columns, SAMPLE_ROWS))
            if sample.rows:
                self.findings += sample.findings(self._max_failed_fraction)

    def check_files(self, sources: Sequence[GcsAddress]) -> None:
        """Check the sizes of request files, and the first lines of some."""
        where = f"source {', '.join(map(str, sources))}"
        with self.checking(where):
            blobs = list(self.store.files.objects(sources))
            size = sum(blob.size for blob in blobs)
            largest = max(blob.size for blob in blobs)
            sample, is_whole = self._sample(blobs)
            if sample.rows:
                self.findings += sample.findings(self._max_failed_fraction)
            elif is_whole:
                self.findings.append(error("there are no requests", "write some first", where))
            rows = sample.rows if is_whole else self._count(sources, size, sample)
            self.findings += size_findings(rows, largest, self._family)

    def _sample(self, blobs: Sequence[Blob]) -> tuple[RequestSample, bool]:
        """Return a sample of the first lines of the files, and whether these are all lines."""
        sample = RequestSample(self._family, model=self._model)
        filled = [blob for blob in blobs if blob.size]
        plain = [blob for blob in filled if blob.content_encoding != "gzip"]
        if len(plain) < len(filled):
            message = f"{len(filled) - len(plain)} files stored with Content-Encoding gzip were not checked"
            self.findings.append(warning(message, "store them without it"))
        chosen = plain[:_SAMPLED_FILES]
        is_whole = len(chosen) == len(filled)
        for blob in chosen:
            lines = self.store.files.raw_lines(blob, LONGEST_LINE)
            limit, uri = SAMPLE_ROWS // len(chosen), f"gs://{blob.bucket.name}/{blob.name}"
            is_whole = sample.add_lines(lines, limit=limit, file=uri) and is_whole
        return sample, is_whole

    def _count(self, sources: Sequence[GcsAddress], size: int, sample: RequestSample) -> int | None:
        """Return the number of requests when there may be too many; ``None`` otherwise, as counting reads all files."""
        if not sample.bytes or size / (sample.bytes / sample.rows) < self._family.max_rows / 2:
            return None
        return self.store.files.count_requests(sources)


@dataclass(frozen=True, slots=True)
class JobChecks:
    """Checks the first job of a submission; a follow-up sends requests that are checked already.

    :param preflight: check requests, locations and destination; otherwise just the destination.
    :param max_failed_fraction: share of the requests, 0 to 1, that may be rejected.
    :param max_cost_usd: highest estimated cost of the job; ``None`` makes no estimate, which would read the first
        requests.
    :param unpriced: what that limit does with a model without a price.
    :param today: the day (UTC) whose rates count.
    """

    hook: GeminiBatchHook
    family: ModelFamily
    preflight: bool
    max_failed_fraction: float
    max_cost_usd: float | None
    unpriced: Unpriced
    today: date
    log: Log

    def check(self, request: JobRequest) -> None:
        """Raise what keeps a job from being created, all findings of the preflight as one error.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError`, or
        :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` for a source that is missing or empty.
        """
        if self.preflight:
            findings = preflight(
                self.hook,
                sources=request.requests,
                destination=request.destination,
                family=self.family,
                model=request.model,
                max_failed_fraction=self.max_failed_fraction,
                service_account=request.service_account,
                kms_key_name=request.kms_key_name,
            )
            findings += self._model_findings(request.model)
            raise_findings(findings, self.log.warning)
        else:
            self.hook.store.of(request.destination).check_destination(request.destination)
        if self.max_cost_usd is not None:
            self._check_cost(request, self.max_cost_usd)

    def _model_findings(self, model: str) -> list[Finding]:
        try:
            return list(model_findings(model, price_table(), self.today))
        except InvalidRequestError as exc:
            # Without a ceiling, prices stop nothing.
            return [warning(f"the end of the model's life could not be checked: {exc}")]

    def _check_cost(self, request: JobRequest, max_cost_usd: float) -> None:
        model = short_model_name(request.model)
        expected = estimate_sources(
            self.hook.store,
            request.requests,
            model,
            self.family,
            price_table(self.hook.location),
            on=self.today,
        )
        self.log.info("Estimate: %s", expected)
        if unknown := check_ceiling(expected, max_cost_usd, self.unpriced):
            self.log.warning("%s", unknown)
