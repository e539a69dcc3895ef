"""Submit a batch job, wait for it, and return its manifest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from airflow_gemini_batch.core.defaults import (
    DEFAULT_MAX_FAILED_FRACTION,
    DEFAULT_MAX_ROW_RETRIES,
    DEFAULT_POLL_INTERVAL,
    DEFAULT_QUEUE_TIMEOUT,
    DEFAULT_RUN_TIMEOUT,
    LONGEST_TIMEOUT,
)
from airflow_gemini_batch.core.settings import (
    check_choice,
    check_flag,
    check_fraction,
    check_row_retries,
    check_seconds,
)
from airflow_gemini_batch.exceptions import InvalidRequestError, as_invalid_request
from airflow_gemini_batch.jobs.patience import DEFAULT_PATIENCE, Patience
from airflow_gemini_batch.operators.base import GeminiBatchOperator, renamed
from airflow_gemini_batch.operators.links import BatchJobLink, FollowUpJobLink, persist_link
from airflow_gemini_batch.operators.telemetry import record

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_gemini_batch.core.model_families import ModelFamily
    from airflow_gemini_batch.costs.estimate import Unpriced
    from airflow_gemini_batch.jobs.runner import BatchRun
    from airflow_gemini_batch.jobs.state import BatchJob
    from airflow_gemini_batch.jobs.submit_once import Submitted

# The trigger keeps the deadlines itself and can say what became of the job; Airflow's own timeout cannot.
_AFTER_THE_TRIGGER = timedelta(hours=1)


class SubmitBatchJobOperator(GeminiBatchOperator):
    """Submit one batch job on Vertex AI, wait for its end, and return its manifest.

    Every try first looks for a job of this submission (same DAG run, task, model, parameters, requests and
    destination). It waits for a job under way, and takes a job that succeeded as the result. When another run of the
    DAG that overlaps with this one has asked exactly the same, it waits for that run's job. Only otherwise it creates a
    job, which costs money.

    Rows that failed for a passing reason, or did not come back, are sent again in a small follow-up job, under the same
    rule and with the same wait; other failed rows are not. Its requests are written beside the first ones: to
    ``reruns/`` as a file, or to ``TABLE_rerun_…``, a table that expires after a week.

    The result (XCom) is a manifest, with tokens and cost: see :class:`airflow_gemini_batch.jobs.manifest.Manifest`.

    :param model: plain name (``gemini-3.8-flash``), ``publishers/PUBLISHER/models/MODEL``, or a tuned one:
        ``projects/P/locations/L/models/ID``.
    :param requests: a ``gs://`` file or pattern, several of them, or one ``bq://`` table.
    :param destination: where the answers go: a ``gs://`` prefix, a ``bq://`` table that does not exist yet, or
        a ``bq://`` dataset. Requests in files may have answers in a table, and the other way round. By default a new
        folder or table beside the requests.
    :param display_name: readable name of the job; by default ``DAG.TASK``. The submission's identity is added.
    :param labels: labels of the job, for billing, say; DAG, task and run are added.
    :param model_parameters: parameters of the whole job, where the model takes any.
    :param poll_interval: longest pause between two questions to Vertex AI, in seconds; shorter for a young job.
    :param queue_timeout: how long the job may wait to start, in seconds; 72 hours by default.
    :param run_timeout: how long the job may run, in seconds; 24 hours by default.
    :param on_timeout: ``cancel`` a job that is over one of these limits (its finished rows are kept), or ``leave`` it
        running.
    :param cancel_on_kill: cancel the job when a user marks or clears the task while it waits; a restart of a
        worker or triggerer never does.
    :param max_row_retries: how many follow-up jobs there may be, each for the rows that the one before has left
        unanswered; 0 turns them off. Answers are matched to requests by what the service returns of a request, so
        both have to be files, or both tables.
    :param max_failed_fraction: share of the rows, 0 to 1, that may be without an answer in a task that
        succeeds. With the default of 0.05, more than 5 % fail the task; without any answer it always fails.
    :param failures_are_landed: a land task takes the result and judges it, so that a job without any answer does not
        fail this task. Otherwise its failures would land nowhere, and the next run would pay for them again.
    :param max_cost_usd: fail, before the job is created, when it would cost more US dollars. This is an estimate from
        the first requests, for each mapped instance on its own; of an interval, its upper end. A follow-up job that
        would raise the cost of all jobs above it, or whose cost cannot be told, is left out with a warning.
    :param first_job_is_estimated: the build task has compared the first job with ``max_cost_usd`` already, so that only
        follow-up jobs are compared here.
    :param unpriced: what ``max_cost_usd`` does with a model whose price is not known: ``refuse`` it (the default), or
        ``allow`` it with a warning.
    :param preflight: before the job is created, check the first requests, the sizes, the destination and the
        locations, and fail with all that Vertex AI would refuse an hour later. Requests that Vertex AI would reject one
        by one count against ``max_failed_fraction``. What cannot be checked is a warning.
    :param force_rerun: pay for a new job even though this submission has one already: once for each run, and once more
        each time that a user clears the task, but not for each retry. May be a template that renders to ``True`` or
        ``False``.
    :param deferrable: wait in the triggerer (the default), or in the worker, which then occupies a slot for as
        long as the job lasts. Without a running triggerer the task fails before a job is created.
    :param target: the table or file that the answers land in. Builds for the same target leave out the rows that this
        job asks, as long as its run is under way.
    :param kms_key_name: key of Cloud KMS that encrypts what the job keeps, in the job's location:
        ``projects/P/locations/L/keyRings/R/cryptoKeys/K``. What the answers land in has a key of its own.
    :param service_account: account that the job runs as, instead of Vertex AI's service agent. The connection's account
        needs ``iam.serviceAccounts.actAs`` on it.
    :param question: what the rows are asked: the XCom ``question`` of the build task. The answers name it where they
        land, so that a later build knows what has changed since.
    :param source: former name of ``requests``.
    """

    patience: ClassVar[Patience] = DEFAULT_PATIENCE

    template_fields: Sequence[str] = (
        *GeminiBatchOperator.template_fields,
        "model",
        "requests",
        "destination",
        "display_name",
        "labels",
        "model_parameters",
        "max_cost_usd",
        "unpriced",
        "force_rerun",
        "target",
        "kms_key_name",
        "service_account",
        "question",
    )
    operator_extra_links = (BatchJobLink(), FollowUpJobLink())

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
        failures_are_landed: bool = False,
        max_cost_usd: float | str | None = None,
        first_job_is_estimated: bool = False,
        unpriced: Unpriced = "refuse",
        preflight: bool = True,
        force_rerun: bool | str = False,
        deferrable: bool = True,
        target: str | None = None,
        kms_key_name: str | None = None,
        service_account: str | None = None,
        question: str | None = None,
        source: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        given = renamed("requests", requests, "source", source)
        if given is None:
            raise TypeError(
                f"{self.task_id}: requests= is missing. Give a gs:// file, several of them, a bq:// table, or the "
                "output of the build task: .partial(…).expand(requests=build.output)"
            )
        self.requests = given
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
        self.failures_are_landed = failures_are_landed
        self.max_cost_usd = max_cost_usd
        self.first_job_is_estimated = first_job_is_estimated
        self.unpriced = unpriced
        self.preflight = preflight
        self.force_rerun = force_rerun
        self.deferrable = deferrable
        self.target = target
        self.kms_key_name = kms_key_name
        self.service_account = service_account
        self.question = question
        self._waiting: tuple[str, Any] | None = None
        self.check_settings(**vars(self))

    @staticmethod
    def check_settings(
        *,
        poll_interval: Any = DEFAULT_POLL_INTERVAL,
        queue_timeout: Any = DEFAULT_QUEUE_TIMEOUT,
        run_timeout: Any = DEFAULT_RUN_TIMEOUT,
        on_timeout: Any = "cancel",
        max_row_retries: Any = DEFAULT_MAX_ROW_RETRIES,
        max_failed_fraction: Any = DEFAULT_MAX_FAILED_FRACTION,
        cancel_on_kill: Any = True,
        preflight: Any = True,
        deferrable: Any = True,
        **others: Any,
    ) -> None:
        """Raise :class:`.InvalidRequestError` for settings that make no sense; ``others`` may be templates."""
        with as_invalid_request():
            check_seconds("poll_interval", poll_interval, LONGEST_TIMEOUT)
            check_seconds("queue_timeout", queue_timeout, LONGEST_TIMEOUT)
            check_seconds("run_timeout", run_timeout, LONGEST_TIMEOUT)
            check_choice("on_timeout", on_timeout, "cancel", "leave")
            check_row_retries(max_row_retries)
            check_fraction(max_failed_fraction)
            check_flag("cancel_on_kill", cancel_on_kill)
            check_flag("preflight", preflight)
            check_flag("deferrable", deferrable)

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit the job or find it, then wait for it and its follow-ups: in the triggerer, or here."""
        with self.executing(context):
            self._warn_of_execution_timeout()
            if self.deferrable:
                from airflow_gemini_batch.hooks.triggerer import check_triggerer

                check_triggerer(context["ti"], self.log, self.patience)
            run = self._run(context)
            since = getattr(context.get("dag_run"), "start_date", None)
            return self._finish(context, run, run.submit(salt=self._salt(context), since=since))

    def resume(self, context: Context, event: dict[str, Any], adopted: bool = False) -> dict[str, Any]:
        """Continue after the wait in the triggerer: the event says how it ended; the job is read again."""
        from airflow_gemini_batch.jobs.polling import WaitOutcome, WaitOver
        from airflow_gemini_batch.jobs.submit_once import Submitted

        with self.executing(context):
            with as_invalid_request("job_name of the trigger's event"):
                name = self.hook.job_name(event["job_name"])
            run = self._run(context)
            over = WaitOver(WaitOutcome(event["outcome"]), event["message"])
            ended = over.outcome is WaitOutcome.ENDED
            job = run.read_ended(name) if ended else run.after_timeout(name, over)
            run.check_own(job)
            return self._finish(context, run, Submitted(job, adopted))

    def _warn_of_execution_timeout(self) -> None:
        from airflow_gemini_batch.version_compat import DEFERRED_TIME_COUNTS

        longest = timedelta(seconds=self.queue_timeout + self.run_timeout)
        counts = DEFERRED_TIME_COUNTS or not self.deferrable
        if counts and self.execution_timeout is not None and self.execution_timeout < longest:
            self.log.warning(
                "execution_timeout is %s, and the time that the task waits for its job counts. queue_timeout and "
                "run_timeout allow %s: until then Airflow may end each try before the job has ended. Leave "
                "execution_timeout out for this task (it may come from default_args), or raise it",
                self.execution_timeout,
                longest,
            )

    def on_kill(self) -> None:
        """Cancel the job that this worker waits for, if a user killed the task."""
        if self._waiting is None:
            return
        from airflow_gemini_batch.hooks.kill import cancel_if_killed

        job_name, ti = self._waiting
        cancel_if_killed(job_name, self.hook, ti, "running", self.log)

    def _finish(self, context: Context, run: BatchRun, submitted: Submitted | None) -> dict[str, Any]:
        """Wait for a job, then for its follow-ups, one after the other, and return the manifest."""
        from airflow_gemini_batch.jobs.state import JobState
        from airflow_gemini_batch.operators.lineage import submit_lineage

        while submitted:
            job = submitted.job
            persist_link(context, job)
            if job.state.stage.waits:
                # Whoever kills this task does not mean a run that waits for the same job.
                cancel_on_kill = self.cancel_on_kill and not run.is_of_another_run(job)
                if self.deferrable:
                    self._defer(job, adopted=submitted.adopted, cancel_on_kill=cancel_on_kill)
                self._waiting = (str(job.name), context["ti"]) if cancel_on_kill else None
                job = run.wait(job)
                self._waiting = None
            if submitted.adopted and job.state is JobState.CANCELLED:
                # The kill of the task that created it reached the job after this try had found it still under way.
                self.log.warning("%s was taken over and then cancelled. Submitting a new job", job)
                return self.execute(context)
            submitted = run.follow_up(job)
        finished = run.finish(job)
        self._done = partial(submit_lineage, finished.manifest, self._family())
        self.tell(context, finished.summary)
        record(finished.manifest, self.log, embeds=self._family().embeds)
        return finished.manifest.to_json()

    def _run(self, context: Context) -> BatchRun:
        from airflow_gemini_batch.hooks.prices import ceiling_of, price_table
        from airflow_gemini_batch.jobs.identity import TaskRun
        from airflow_gemini_batch.jobs.polling import WaitPolicy, utc_now
        from airflow_gemini_batch.jobs.runner import BatchRun
        from airflow_gemini_batch.jobs.submission import Submission
        from airflow_gemini_batch.preflight.job import JobChecks

        with as_invalid_request():
            family, parameters = self._family(), self._job_parameters()
        checks = JobChecks(
            self.hook,
            family,
            preflight=self.preflight,
            max_failed_fraction=self.max_failed_fraction,
            max_cost_usd=None if self.first_job_is_estimated else ceiling_of(self.max_cost_usd),
            unpriced=self.unpriced,
            today=utc_now().date(),
            log=self.log,
        )
        ti = context["ti"]
        return BatchRun(
            Submission.checked(
                model=self.model,
                requests=self._requests(),
                destination=self.destination,
                name=self.display_name or f"{self.dag_id}.{self.task_id}",
                labels=self.labels,
                model_parameters=parameters,
                family=family,
                follow_ups=self.max_row_retries > 0,
                target=self.target and str(self.target),
                kms_key_name=self.kms_key_name,
                service_account=self.service_account,
                question=self.question,
            ),
            TaskRun(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index),
            first_try=ti.try_number <= 1,
            hook=self.hook,
            policy=WaitPolicy(self.poll_interval, self.queue_timeout, self.run_timeout),
            max_row_retries=self.max_row_retries,
            max_failed_fraction=self.max_failed_fraction,
            needs_answers=not self.failures_are_landed,
            max_cost_usd=ceiling_of(self.max_cost_usd),
            allow_unpriced=self.unpriced == "allow",
            cancel_on_timeout=self.on_timeout == "cancel",
            check=checks.check,
            prices=lambda: price_table(self.hook.location),
            log=self.log,
            patience=self.patience,
            logical_date=context.get("logical_date"),
        )

    @abstractmethod
    def _family(self) -> ModelFamily:
        """Return the model's family; raises :class:`ValueError` for a model of another kind."""

    def _requests(self) -> str | Sequence[str]:
        """Return the addresses of the requests."""
        return self.requests

    def _job_parameters(self) -> Mapping[str, Any] | None:
        """Return the parameters of the whole job; raises :class:`ValueError` for wrong ones."""
        return self.model_parameters

    def _salt(self, context: Context) -> str:
        """Return what a forced rerun adds to the identity: the same for all tries until a user clears the task.

        Clearing raises ``max_tries`` to the tries so far and ``retries`` more; nothing else does.
        """
        ti = context["ti"]
        if not self._forced():
            return ""
        return f"forced {max(0, (ti.max_tries or 0) - (self.retries or 0))}"

    def _forced(self) -> bool:
        forced = str(self.force_rerun).strip().lower()
        if forced not in ("true", "false"):
            raise InvalidRequestError(f"force_rerun: expected True or False, got {self.force_rerun!r}")
        return forced == "true"

    def _defer(self, job: BatchJob, *, adopted: bool, cancel_on_kill: bool) -> NoReturn:
        from airflow_gemini_batch.triggers.gemini_batch import GeminiBatchJobTrigger

        self.defer(
            trigger=GeminiBatchJobTrigger(
                job_name=str(job.name),
                submitted_at=(job.create_time or datetime.now(UTC)).timestamp(),
                gcp_conn_id=self.gcp_conn_id,
                impersonation_chain=self.impersonation_chain,
                poll_interval=self.poll_interval,
                queue_timeout=self.queue_timeout,
                run_timeout=self.run_timeout,
                cancel_on_kill=cancel_on_kill,
                quota_project_id=self.quota_project_id,
            ),
            method_name="resume",
            kwargs={"adopted": adopted},
            timeout=timedelta(seconds=self.queue_timeout + self.run_timeout) + _AFTER_THE_TRIGGER,
        )
