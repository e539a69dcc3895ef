"""What a job has to pass before it is created, and paid for."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_gemini_batch.core.estimate import check_ceiling
from airflow_gemini_batch.core.findings import raise_findings
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.core.request_formats import RequestFormat
from airflow_gemini_batch.core.submission import JobRequest
from airflow_gemini_batch.hooks.estimates import estimate_sources
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.hooks.preflight import preflight
from airflow_gemini_batch.hooks.prices import price_table


@dataclass(frozen=True, slots=True)
class JobChecks:
    """Looks at the first job of a submission; a follow-up sends what has been looked at.

    :param preflight: whether requests, places and locations are looked at, or just the destination.
    :param max_failed_fraction: share of the requests, 0 to 1, that may be rejected.
    :param max_cost_usd: most that the job may cost, by an estimate; ``None`` for no estimate, which takes reading
        the first requests.
    """

    hook: GeminiBatchHook
    request_format: RequestFormat
    preflight: bool
    max_failed_fraction: float
    max_cost_usd: float | None
    log: Log

    def check(self, request: JobRequest) -> None:
        """Raise what keeps a job from being created, all of the preflight's findings as one.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError`, and
        :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` for a source that is gone or empty.
        """
        if self.preflight:
            findings = preflight(
                self.hook,
                sources=request.sources,
                destination=request.destination,
                request_format=self.request_format,
                max_failed_fraction=self.max_failed_fraction,
            )
            raise_findings(findings, self.log.warning)
        else:
            self.hook.store.check_destination(request.destination)
        if self.max_cost_usd is not None:
            self._check_cost(request, self.max_cost_usd)

    def _check_cost(self, request: JobRequest, max_cost_usd: float) -> None:
        model = short_model_name(request.model)
        expected = estimate_sources(self.hook, request.sources, model, self.request_format, price_table())
        self.log.info("Estimate: %s", expected)
        if unknown := check_ceiling(expected, max_cost_usd):
            self.log.warning("%s", unknown)
