"""Land the answers of batch jobs: typed and merged by key, with the failures in a target of their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_gemini_batch.core.defaults import DEFAULT_MAX_FAILED_FRACTION
from airflow_gemini_batch.core.settings import check_flag, check_fraction
from airflow_gemini_batch.exceptions import (
    GeminiBatchError,
    InvalidRequestError,
    OutputNotReadyError,
    RowsFailedError,
    as_invalid_request,
)
from airflow_gemini_batch.operators.assets import add_event, event_extra, target_outlets
from airflow_gemini_batch.operators.base import GeminiBatchOperator, key_columns, renamed
from airflow_gemini_batch.operators.links import FailedRowsLink, TargetLink, persist_target_links

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_gemini_batch.core.summary import FailedRows, Summary
    from airflow_gemini_batch.jobs.manifest import Manifest
    from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport


class LandResultsOperator(GeminiBatchOperator):
    """Merge the answers of batch jobs into a table or a file, by key.

    The target has one row for each request, however often it was answered; landing twice changes nothing. It is
    created when it does not exist, and gets new columns as they come. Rows without a usable answer go to
    ``<target>__failed`` with key, outcome, code, message, job, round and time, and leave it once they have one.

    A landing is an event of the target's asset, so that other DAGs can be scheduled on it: for its URI see
    :func:`airflow_gemini_batch.operators.assets.asset_uri`. Where ``outlets`` are given, it is an event of these. The
    event has rows, outcomes, tokens, cost, models and jobs as extra: see
    :func:`airflow_gemini_batch.operators.assets.event_extra`.

    The result (XCom): ``target``, ``failed_target``, ``landed``, ``failed``, ``counts`` (rows by outcome).

    :param manifest: the result of a submit task, or of all its mapped instances.
    :param key: the column, or columns, that identify the rows, as in the build task.
    :param target: a ``bq://`` table, or a ``.parquet`` or ``.jsonl`` file: ``gs://…`` or a local path.
    :param failed_target: where the rows without an answer go; by default ``<target>__failed``.
    :param bookkeeping: whether model, finish reason, tokens, time, job and fingerprint of each answer are kept beside
        it, in columns ``batch_…``. Without them, the next build can't know which rows are done.
    :param keep_previous: how long the answers to the question before are kept, such as ``timedelta(days=30)``. Before
        the first answers to a new question (another prompt, model, schema or configuration) land, a copy of the target
        is made, ``<target>__before_<question>``, from which :class:`.RollbackOperator` and ``gemini-batch rollback``
        bring them back. By default there is no copy. It needs ``bookkeeping``.
    :param max_failed_fraction: share of the rows, 0 to 1, that may be without a usable answer in a task that succeeds.
        What can be landed is landed in any case.
    :param ledger: where the runs of the target are kept, as in the build task: the run's outcomes, tokens and cost are
        written there.
    :param run: the XCom ``run`` of the build task, which names the run in the ledger.
    :param requests: the result of the build task, one for each job, for a task that runs also when submit tasks have
        failed (``trigger_rule="all_done"``): it lands the answers that there are, then fails because of those that
        are missing. Without any requests it is skipped.
    :param sources: former name of ``requests``.
    """

    template_fields: Sequence[str] = (
        *GeminiBatchOperator.template_fields,
        "manifest",
        "key",
        "target",
        "failed_target",
        "requests",
        "ledger",
        "run",
    )
    operator_extra_links = (TargetLink(), FailedRowsLink())

    def __init__(
        self,
        *,
        manifest: Mapping[str, Any] | Iterable[Mapping[str, Any]],
        key: str | Sequence[str],
        target: str,
        failed_target: str | None = None,
        bookkeeping: bool = True,
        keep_previous: timedelta | None = None,
        max_failed_fraction: float = DEFAULT_MAX_FAILED_FRACTION,
        ledger: bool | str | None = None,
        run: str | None = None,
        requests: Sequence[Any] | None = None,
        sources: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("outlets", target_outlets(target))
        super().__init__(**kwargs)
        with as_invalid_request():
            check_fraction(max_failed_fraction)
            check_flag("bookkeeping", bookkeeping)
        self.manifest = manifest
        self.key = key
        self.target = target
        self.failed_target = failed_target
        self.bookkeeping = bookkeeping
        self.keep_previous = keep_previous
        self.max_failed_fraction = max_failed_fraction
        self.ledger = ledger
        self.run = run
        self.requests = renamed("requests", requests, "sources", sources)
        self._expects_requests = self.requests is not None

    @abstractmethod
    def _plan(self, key: tuple[str, ...], models: Collection[str]) -> LandingPlan:
        """Return what to land; raises :class:`ValueError` for parameters that don't go together.

        :param models: resource names of the models that answered.
        """

    def execute(self, context: Context) -> dict[str, Any]:
        """Land what there is, then judge it."""
        from airflow_gemini_batch.landing.lander import Lander
        from airflow_gemini_batch.operators.lineage import landing_lineage

        with self.executing(context):
            jobs = self._number_of_jobs()
            manifests = self._manifests()
            with as_invalid_request():
                plan = self._plan(key_columns(self.key), {manifest.model for manifest in manifests})
                plan = replace(plan, keep_previous=self.keep_previous)
            lander = Lander(lambda: self.hook.storage_client, lambda: self.hook.bigquery_client, self.log)
            report = lander.land(plan, manifests, self.target, self.failed_target)
            self._done = partial(landing_lineage, plan, report, manifests)
            persist_target_links(context, report)
            self._finish_run(context, manifests, report)
            summary = self._summary(plan, report, manifests)
            if jobs is not None and len(manifests) < jobs:
                missing = jobs - len(manifests)
                raise OutputNotReadyError.of(
                    _failure(
                        summary,
                        f"{missing} of {jobs} submit tasks gave no result. {summary.headline}",
                        "Clear the failed submit tasks, and this task lands their answers as well. A new run would "
                        "send, and pay for, their rows again.",
                    )
                )
            self._judge(report, summary)
            add_event(context, self.target, event_extra(report, manifests))
            self.tell(context, summary)
            return report.to_json()

    def _finish_run(self, context: Context, manifests: Sequence[Manifest], report: LandingReport) -> None:
        """Write what the run has cost into the ledger."""
        from airflow_gemini_batch.jobs.polling import utc_now
        from airflow_gemini_batch.ledger.addresses import ledger_address, ledger_of
        from airflow_gemini_batch.ledger.runs import finish, run_record

        if not self.ledger or not self.run:
            return
        clients = (lambda: self.hook.storage_client, lambda: self.hook.bigquery_client)
        ti, now = context["ti"], utc_now()
        record = run_record(ti.dag_id, ti.run_id, self.target, manifests[0].model, now)
        record = replace(record, run=self.run)
        address = ledger_address(self.target) if self.ledger is True else self.ledger
        finish(ledger_of(address, *clients), record, manifests, report.counts, now, self.log)

    def _summary(self, plan: LandingPlan, report: LandingReport, manifests: Sequence[Manifest]) -> Summary:
        from airflow_gemini_batch.landing.summary import landing_summary

        return landing_summary(
            report,
            manifests,
            self._failed_rows(plan, report, manifests) if report.failed else (),
            lambda name: self.hook.job_name(name).console_url,
            bookkeeping=self.bookkeeping,
        )

    def _failed_rows(
        self, plan: LandingPlan, report: LandingReport, manifests: Sequence[Manifest]
    ) -> Sequence[FailedRows]:
        """Return the failed rows by kind; nothing when they can't be read, as the answers have landed."""
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        from airflow_gemini_batch.landing.failed_rows import failed_rows

        jobs = {round_.job_name for manifest in manifests for round_ in manifest.rounds}
        try:
            return failed_rows(
                report.failed_target,
                plan.key,
                jobs,
                lambda: self.hook.storage_client,
                lambda: self.hook.bigquery_client,
            )
        except (GoogleAPIError, GoogleAuthError, GeminiBatchError, OSError) as error:
            self.log.warning("The failed rows could not be read from %s: %s", report.failed_target, error)
            return ()

    def _number_of_jobs(self) -> int | None:
        """Return how many results there should be; None if that is not known. Skip the task when there are none."""
        if not self._expects_requests:
            return None
        if self.requests is None:
            raise OutputNotReadyError(f"Nothing to land: the build task gave no requests. {_SEE_BEFORE}")
        if not self.requests:
            raise AirflowSkipException("There were no requests, so there is nothing to land")
        return len(self.requests)

    def _manifests(self) -> list[Manifest]:
        from airflow_gemini_batch.jobs.manifest import Manifest

        if self.manifest and isinstance(self.manifest, str):
            raise InvalidRequestError(
                f"manifest is a text, {self.manifest!r:.200}: give the submit task's .output, or set "
                "render_template_as_native_obj=True on the DAG, so that a template does not turn it into text"
            )
        alone = isinstance(self.manifest, Mapping)
        given: list[Any] = [self.manifest] if alone else list(self.manifest or ())
        if not given and self._expects_requests:
            raise OutputNotReadyError(f"Nothing to land: no submit task gave a result. {_SEE_BEFORE}")
        if not given:
            raise InvalidRequestError("manifest is empty: give the result of a submit task, submit.output")
        with as_invalid_request():
            return [Manifest.from_json(manifest) for manifest in given]

    def _judge(self, report: LandingReport, summary: Summary) -> None:
        rows = report.landed + report.failed
        if report.failed <= rows * self.max_failed_fraction:
            return
        failed = (
            f"{report.failed} of {rows} rows have no usable answer ({report.failed / rows:.2%}; max_failed_fraction "
            f"allows {self.max_failed_fraction:.2%})."
        )
        headline = (
            f"{failed} The other {report.landed} are landed."
            if report.landed
            else (f"The jobs succeeded, but no row has an answer that can be used: {failed}")
        )
        fix = "Fix the prompt or the schema, or allow more failures."
        raise RowsFailedError.of(_failure(summary, headline, f"{fix} {summary.next_step}"))


_SEE_BEFORE = "The log of the first failed task before this one says why. Correct that, and clear it"


def _failure(summary: Summary, headline: str, next_step: str) -> Summary:
    return replace(summary, headline=headline, next_step=next_step)
