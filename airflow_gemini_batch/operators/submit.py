"""Submit a batch job, wait for it, and tell the truth about its end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow_gemini_batch.core.defaults import (
    DEFAULT_MAX_FAILED_FRACTION,
    DEFAULT_MAX_ROW_RETRIES,
    DEFAULT_POLL_INTERVAL,
    DEFAULT_QUEUE_TIMEOUT,
    DEFAULT_RUN_TIMEOUT,
)
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.hooks.errors import fail_without_retry
from airflow_gemini_batch.operators.base import GeminiBatchOperator, renamed
from airflow_gemini_batch.operators.links import BatchJobLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_gemini_batch.core.model_families import ModelFamily
    from airflow_gemini_batch.jobs.runner import BatchRun
    from airflow_gemini_batch.jobs.state import JobName
    from airflow_gemini_batch.jobs.submit_once import Submitted

# The trigger keeps the deadlines itself and can say what became of the job, which Airflow's own timeout can't.
_AFTER_THE_TRIGGER = timedelta(hours=1)


class SubmitBatchJobOperator(GeminiBatchOperator):
    """Submit one batch job on Vertex AI, wait for its end, and return its manifest.

    Every try first asks Vertex AI for a job of this very submission (same DAG run, task, model, parameters,
    source data and destination): one under way is waited for, one that succeeded is taken as the result. Only
    otherwise a job is created, and paid for.

    Rows that failed in passing, or did not come back, are sent again in a small follow-up job, under the same rule
    and with the same wait; rows that failed for good are not. Its requests are written beside the source: to
    ``reruns/`` as a file, or to ``TABLE_rerun_…``, a table that goes by itself after a week.

    The result (XCom) is a manifest, tokens and cost among it: see
    :class:`airflow_gemini_batch.jobs.manifest.Manifest`.

    :param model: plain name (``gemini-2.5-flash``), ``publishers/PUBLISHER/models/MODEL``, or a tuned one:
        ``projects/P/locations/L/models/ID`` or ``…/endpoints/ID``.
    :param requests: a ``gs://`` file or pattern, several of them, or one ``bq://`` table.
    :param destination: where the answers go: a ``gs://`` prefix, a ``bq://`` table that does not exist yet, or
        a ``bq://`` dataset. It need not be of the requests' kind. By default a fresh place beside the requests.
    :param display_name: readable name of the job; by default ``DAG.TASK``. The submission's identity is added.
    :param labels: labels of the job, for billing, say; DAG, task and run are added.
    :param model_parameters: parameters of the whole job, where the model takes any.
    :param poll_interval: longest time between two questions to Vertex AI, in seconds; a young job is asked
        about more often.
    :param queue_timeout: how long the job may wait to start, in seconds; 72 hours by default.
    :param run_timeout: how long the job may run, in seconds; 24 hours by default.
    :param on_timeout: what becomes of a job that is over one of these: ``cancel`` it (its finished rows are kept),
        or ``leave`` it running.
    :param cancel_on_kill: cancel the job when a user marks or clears the task while it waits; a restart of a
        worker or triggerer never does.
    :param max_row_retries: how many follow-up jobs there may be, each for the rows that the one before has left
        unanswered; with 0, none. Rows and requests are matched by what the service gives back of a request, so
        that both have to be files, or both tables.
    :param max_failed_fraction: share of the rows, 0 to 1, that may be without an answer in a task that
        succeeds. With the default of 0.05, more than 5 % fail the task; all rows without one always do.
    :param max_cost_usd: fail, before the job is created, when it would cost more US dollars. This is an estimate from
        the first requests, for each mapped instance on its own; follow-up jobs are not in it. A model without a known
        price is let through with a warning.
    :param preflight: before the job is created, look at the first requests, the sizes, the destination and the
        locations, and fail with all that Vertex AI would refuse an hour later. Requests that would be rejected alone
        count against ``max_failed_fraction``. What can't be asked is a warning.
    :param force_rerun: pay for a new job even though this submission has one already; may be a template that
        renders to ``True`` or ``False``.
    :param deferrable: wait in the triggerer (the default), or in the worker, whose slot is then taken for as
        long as the job lasts.
    :param source: former name of ``requests``.
    """

    template_fields: Sequence[str] = (
        *GeminiBatchOperator.template_fields,
        "model",
        "requests",
        "destination",
        "display_name",
        "labels",
        "model_parameters",
        "max_cost_usd",
        "force_rerun",
    )
    operator_extra_links = (BatchJobLink(),)

    def __init__(
        self,
        *,
        model: str,
        requests: str | Sequence[str] | None = None,
        destination: str | None = None,
        display_name: str | None = None,
        labels: Mapping[str, str] | None = None,
        model_parameters: Mapping[str, Any] | None = None,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        queue_timeout: float = DEFAULT_QUEUE_TIMEOUT,
        run_timeout: float = DEFAULT_RUN_TIMEOUT,
        on_timeout: Literal["cancel", "leave"] = "cancel",
        cancel_on_kill: bool = True,
        max_row_retries: int = DEFAULT_MAX_ROW_RETRIES,
        max_failed_fraction: float = DEFAULT_MAX_FAILED_FRACTION,
        max_cost_usd: float | str | None = None,
        preflight: bool = True,
        force_rerun: bool | str = False,
        deferrable: bool = True,
        source: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.requests = renamed("requests", requests, "source", source)
        self.destination = destination
        self.display_name = display_name
        self.labels = labels
        self.model_parameters = model_parameters
        self.poll_interval = poll_interval
        self.queue_timeout = queue_timeout
        self.run_timeout = run_timeout
        self.on_timeout = on_timeout
        self.cancel_on_kill = cancel_on_kill
        self.max_row_retries = max_row_retries
        self.max_failed_fraction = max_failed_fraction
        self.max_cost_usd = max_cost_usd
        self.preflight = preflight
        self.force_rerun = force_rerun
        self.deferrable = deferrable
        self._waiting: tuple[str, Any] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit the job or find it, then wait for it and its follow-ups: in the triggerer, or here."""
        with fail_without_retry():
            run = self._run(context)
            salt = f"try {context['ti'].try_number}" if self._forced() else ""
            return self._see_through(context, run, run.submit(salt=salt))

    def resume(self, context: Context, event: dict[str, Any], adopted: bool = False) -> dict[str, Any]:
        """Go on after the wait in the triggerer: the event says how it ended, the service what the job is."""
        from airflow_gemini_batch.jobs.polling import WaitOutcome, WaitOver, utc_now
        from airflow_gemini_batch.jobs.runner import FINISHING_PATIENCE
        from airflow_gemini_batch.jobs.state import JobName
        from airflow_gemini_batch.jobs.submit_once import Submitted

        with fail_without_retry():
            name = JobName.parse(event["job_name"])
            BatchJobLink.persist(context, name)
            run = self._run(context)
            over = WaitOver(WaitOutcome(event["outcome"]), event["message"])
            if over.outcome is WaitOutcome.ENDED:
                job = run.wait(name, utc_now() + FINISHING_PATIENCE, has_ended=True)
            else:
                job = run.after_timeout(name, over)
            return self._see_through(context, run, Submitted(job, adopted))

    def on_kill(self) -> None:
        """Cancel the job that is waited for here, if it was a user who killed the task."""
        if not self.cancel_on_kill or self._waiting is None:
            return
        from airflow_gemini_batch.hooks.kill import cancel_if_killed

        job_name, ti = self._waiting
        cancel_if_killed(job_name, self.hook, ti, "running", self.log)

    def _see_through(self, context: Context, run: BatchRun, submitted: Submitted | None) -> dict[str, Any]:
        """Wait for a job, then for its follow-ups, one after the other, and return the manifest."""
        from airflow_gemini_batch.jobs.polling import utc_now
        from airflow_gemini_batch.jobs.state import JobState

        while submitted:
            job = submitted.job
            BatchJobLink.persist(context, job.name)
            if job.state.stage.waits:
                created = job.create_time or utc_now()
                if self.deferrable:
                    self._defer(job.name, created, adopted=submitted.adopted)
                self._waiting = (str(job.name), context["ti"])
                job = run.wait(job.name, created + timedelta(seconds=self.queue_timeout + self.run_timeout))
                self._waiting = None
            if submitted.adopted and job.state is JobState.CANCELLED:
                # The kill of the earlier try reached the job after this try had found it still under way.
                self.log.warning(
                    "%s was taken over from an earlier try, and cancelled with it: submitting anew", job
                )
                return self.execute(context)
            submitted = run.follow_up(job)
        return run.finish(job)

    def _run(self, context: Context) -> BatchRun:
        from airflow_gemini_batch.hooks.prices import ceiling_of, price_table
        from airflow_gemini_batch.jobs.identity import TaskRun
        from airflow_gemini_batch.jobs.polling import WaitPolicy
        from airflow_gemini_batch.jobs.runner import BatchRun
        from airflow_gemini_batch.jobs.submission import Submission
        from airflow_gemini_batch.preflight.job import JobChecks

        if not 0 <= self.max_failed_fraction <= 1:
            raise InvalidRequestError(
                f"max_failed_fraction has to be 0 to 1, got {self.max_failed_fraction!r}"
            )
        if not isinstance(self.max_row_retries, int) or self.max_row_retries < 0:
            raise InvalidRequestError(f"max_row_retries has to be 0 or more, got {self.max_row_retries!r}")
        if self.on_timeout not in ("cancel", "leave"):
            raise InvalidRequestError(f"on_timeout has to be 'cancel' or 'leave', got {self.on_timeout!r}")
        try:
            family, parameters = self._family(), self._job_parameters()
        except ValueError as error:
            raise InvalidRequestError(str(error)) from None
        checks = JobChecks(
            self.hook,
            family,
            preflight=self.preflight,
            max_failed_fraction=self.max_failed_fraction,
            max_cost_usd=ceiling_of(self.max_cost_usd),
            log=self.log,
        )
        ti = context["ti"]
        return BatchRun(
            Submission.checked(
                model=self.model,
                source=self._requests(),
                destination=self.destination,
                name=self.display_name or f"{self.dag_id}.{self.task_id}",
                labels=self.labels,
                model_parameters=parameters,
                family=family,
                follow_ups=self.max_row_retries > 0,
            ),
            TaskRun(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index),
            first_try=ti.try_number <= 1 or self._forced(),
            hook=self.hook,
            policy=WaitPolicy(self.poll_interval, self.queue_timeout, self.run_timeout),
            max_row_retries=self.max_row_retries,
            max_failed_fraction=self.max_failed_fraction,
            cancel_on_timeout=self.on_timeout == "cancel",
            check=checks.check,
            prices=price_table,
            log=self.log,
        )

    @abstractmethod
    def _family(self) -> ModelFamily:
        """Return the model's family; raises :class:`ValueError` for a model of another kind."""

    def _requests(self) -> str | Sequence[str]:
        """Return where the requests are; raises :class:`.InvalidRequestError` when none are given."""
        if self.requests is None:
            raise InvalidRequestError(
                "requests is missing: give a gs:// file, several of them, or a bq:// table"
            )
        return self.requests

    def _job_parameters(self) -> Mapping[str, Any] | None:
        """Return the parameters of the whole job; raises :class:`ValueError` for those that can't be."""
        return self.model_parameters

    def _forced(self) -> bool:
        forced = str(self.force_rerun).strip().lower()
        if forced not in ("true", "false"):
            raise InvalidRequestError(f"force_rerun has to be True or False, got {self.force_rerun!r}")
        return forced == "true"

    def _defer(self, name: JobName, created: datetime, *, adopted: bool) -> NoReturn:
        from airflow_gemini_batch.triggers.gemini_batch import GeminiBatchJobTrigger

        self.defer(
            trigger=GeminiBatchJobTrigger(
                job_name=str(name),
                submitted_at=created.timestamp(),
                gcp_conn_id=self.gcp_conn_id,
                impersonation_chain=self.impersonation_chain,
                poll_interval=self.poll_interval,
                queue_timeout=self.queue_timeout,
                run_timeout=self.run_timeout,
                cancel_on_kill=self.cancel_on_kill,
            ),
            method_name="resume",
            kwargs={"adopted": adopted},
            timeout=timedelta(seconds=self.queue_timeout + self.run_timeout) + _AFTER_THE_TRIGGER,
        )
