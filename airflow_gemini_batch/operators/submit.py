"""Submit a batch job, wait for it, and tell the truth about its end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_gemini_batch.core.addresses import Address
from airflow_gemini_batch.core.endings import failure_of
from airflow_gemini_batch.core.identity import TaskRun
from airflow_gemini_batch.core.identity import identity as identity_of
from airflow_gemini_batch.core.jobs import BatchJob, JobName, JobState
from airflow_gemini_batch.core.labels import airflow_labels
from airflow_gemini_batch.core.manifest import Manifest, Round
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.core.polling import (
    DEFAULT_POLL_INTERVAL,
    DEFAULT_QUEUE_TIMEOUT,
    DEFAULT_RUN_TIMEOUT,
    JobWait,
    WaitOutcome,
    WaitOver,
    WaitPolicy,
    utc_now,
)
from airflow_gemini_batch.core.responses import Tally
from airflow_gemini_batch.core.submission import JobRequest, Submission
from airflow_gemini_batch.exceptions import (
    InvalidRequestError,
    JobLostError,
    JobTimeoutError,
    SourceNotReadyError,
    VertexApiError,
)
from airflow_gemini_batch.hooks.gemini_batch import DEFAULT_CONNECTION, GeminiBatchHook
from airflow_gemini_batch.operators.errors import no_retry_when_hopeless
from airflow_gemini_batch.operators.links import BatchJobLink
from airflow_gemini_batch.triggers.gemini_batch import GeminiBatchJobTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

# The trigger keeps the deadlines itself and can say what became of the job, which Airflow's own timeout can't.
_AFTER_THE_TRIGGER = timedelta(hours=1)


class SubmitBatchJobOperator(BaseOperator):
    """Submit one batch job on Vertex AI, wait for its end, and return its manifest.

    Every try first asks Vertex AI for a job of this very submission (same DAG run, task, model, parameters,
    source data and destination): one under way is waited for, one that succeeded is taken as the result. Only
    otherwise a job is created, and paid for.

    The result (XCom) is a manifest: see :class:`airflow_gemini_batch.core.manifest.Manifest`.

    :param model: plain name (``gemini-2.5-flash``), ``publishers/PUBLISHER/models/MODEL``, or a tuned one:
        ``projects/P/locations/L/models/ID`` or ``…/endpoints/ID``.
    :param source: the requests: a ``gs://`` file or pattern, several of them, or one ``bq://`` table.
    :param destination: where the answers go: a ``gs://`` prefix, a ``bq://`` table that does not exist yet, or
        a ``bq://`` dataset. Its kind need not be the source's. By default a fresh place beside the source.
    :param project_id: project of the job; by default the connection's.
    :param location: location of the job, such as ``us-central1``; by default the connection's. Data and job
        have to be in the same one.
    :param gcp_conn_id: the Airflow connection.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param display_name: readable name of the job; by default ``DAG.TASK``. The submission's identity is added.
    :param labels: labels of the job, for billing, say; DAG, task and run are added.
    :param model_parameters: parameters of the whole job, where the model takes any.
    :param poll_interval: time between two questions to Vertex AI, in seconds.
    :param queue_timeout: how long the job may wait to start, in seconds; 72 hours by default.
    :param run_timeout: how long the job may run, in seconds; 24 hours by default.
    :param max_failed_fraction: share of the rows, 0 to 1, that may be without an answer in a task that
        succeeds. With the default of 0.05, more than 5 % fail the task; all rows without one always do.
    :param deferrable: wait in the triggerer (the default), or in the worker, whose slot is then taken for as
        long as the job lasts.
    """

    template_fields: Sequence[str] = (
        "model",
        "source",
        "destination",
        "project_id",
        "location",
        "gcp_conn_id",
        "impersonation_chain",
        "display_name",
        "labels",
        "model_parameters",
    )
    operator_extra_links = (BatchJobLink(),)
    ui_color = "#e6e9ff"

    def __init__(
        self,
        *,
        model: str,
        source: str | Sequence[str],
        destination: str | None = None,
        project_id: str | None = None,
        location: str | None = None,
        gcp_conn_id: str = DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | None = None,
        display_name: str | None = None,
        labels: Mapping[str, str] | None = None,
        model_parameters: Mapping[str, Any] | None = None,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        queue_timeout: float = DEFAULT_QUEUE_TIMEOUT,
        run_timeout: float = DEFAULT_RUN_TIMEOUT,
        max_failed_fraction: float = 0.05,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.source = source
        self.destination = destination
        self.project_id = project_id
        self.location = location
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.display_name = display_name
        self.labels = labels
        self.model_parameters = model_parameters
        self.poll_interval = poll_interval
        self.queue_timeout = queue_timeout
        self.run_timeout = run_timeout
        self.max_failed_fraction = max_failed_fraction
        self.deferrable = deferrable

    @cached_property
    def hook(self) -> GeminiBatchHook:
        """The hook of this task's connection, project and location."""
        return GeminiBatchHook(
            self.gcp_conn_id,
            project_id=self.project_id,
            location=self.location,
            impersonation_chain=self.impersonation_chain,
        )

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit or find the job, then wait for it: in the triggerer, or here."""
        with no_retry_when_hopeless():
            submission = self._submission()
            identity, job = self._submit(context, submission)
            BatchJobLink.persist(context, job.name)
            submitted_at = (job.create_time or utc_now()).timestamp()
            if self.deferrable and job.state.stage.waits:
                self._defer(job.name, identity, submitted_at)
            return self._finish(job.name, identity, submitted_at)

    def resume(
        self, context: Context, event: dict[str, Any], identity: str, submitted_at: float
    ) -> dict[str, Any]:
        """Go on after the wait in the triggerer: the event says how it ended, the service what the job is."""
        with no_retry_when_hopeless():
            name = JobName.parse(event["job_name"])
            BatchJobLink.persist(context, name)
            _raise_unless_ended(name, WaitOver(WaitOutcome(event["outcome"]), event["message"]))
            return self._finish(name, identity, submitted_at)

    def _submission(self) -> Submission:
        if not 0 <= self.max_failed_fraction <= 1:
            raise InvalidRequestError(
                f"max_failed_fraction has to be 0 to 1, got {self.max_failed_fraction!r}"
            )
        return Submission.checked(
            model=self.model,
            source=self.source,
            destination=self.destination,
            name=self.display_name or f"{self.dag_id}.{self.task_id}",
            labels=self.labels,
            model_parameters=self.model_parameters,
        )

    def _submit(self, context: Context, submission: Submission) -> tuple[str, BatchJob]:
        from airflow_gemini_batch.vertex.submit import submit_once

        ti = context["ti"]
        run = TaskRun(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)
        versions = self.hook.store.versions(submission.sources)
        identity = identity_of(run, submission.fingerprint(versions))
        labels = airflow_labels(run.dag_id, run.task_id, run.run_id)

        def make_request(attempt: int) -> JobRequest:
            request = submission.request(identity, attempt, labels)
            self.hook.store.check_destination(request.destination)
            self.log.info(
                "Requests: %s\nAnswers: %s", ", ".join(map(str, request.sources)), request.destination
            )
            return request

        return identity, submit_once(self.hook.get_conn(), identity, make_request, self.log)

    def _defer(self, name: JobName, identity: str, submitted_at: float) -> NoReturn:
        policy = self._policy()
        self.defer(
            trigger=GeminiBatchJobTrigger(
                job_name=str(name),
                submitted_at=submitted_at,
                gcp_conn_id=self.gcp_conn_id,
                impersonation_chain=self.impersonation_chain,
                poll_interval=policy.poll_interval,
                queue_timeout=policy.queue_timeout,
                run_timeout=policy.run_timeout,
            ),
            method_name=self.resume.__name__,
            kwargs={"identity": identity, "submitted_at": submitted_at},
            timeout=timedelta(seconds=policy.longest) + _AFTER_THE_TRIGGER,
        )

    def _policy(self) -> WaitPolicy:
        try:
            return WaitPolicy(self.poll_interval, self.queue_timeout, self.run_timeout)
        except ValueError as error:
            raise InvalidRequestError(str(error)) from None

    def _finish(self, name: JobName, identity: str, submitted_at: float) -> dict[str, Any]:
        """Wait for the end where it is not there yet, then judge it and describe it."""
        job = self._wait(name, submitted_at)
        submission = self._submission()
        tally = self._tally(job, submission.sources)
        if failure := failure_of(job, tally, max_failed_fraction=self.max_failed_fraction):
            raise failure
        self.log.info("%s\nAnswers: %s\n%s", job, job.output, tally)
        for sample in tally.samples:
            self.log.warning("Failed row: %s", sample)
        one = Round.of(job, [str(source) for source in submission.sources], tally)
        return Manifest(
            identity=identity,
            model=short_model_name(submission.model),
            console_url=name.console_url,
            counts=one.counts,
            rounds=(one,),
        ).to_json()

    def _wait(self, name: JobName, submitted_at: float) -> BatchJob:
        wait = JobWait(self._policy(), datetime.fromtimestamp(submitted_at, UTC))
        client = self.hook.get_conn(name)
        state = JobState.UNSPECIFIED
        while True:
            try:
                job = client.get(name)
            except VertexApiError as error:
                self.log.warning("No news of %s: %s", name, error)
                decision = wait.failed(error, transient=error.transient, now=utc_now())
            else:
                decision = wait.answered(job, utc_now())
                if job.state is not state:
                    self.log.info("%s", job)
                    state = job.state
            if isinstance(decision, WaitOver):
                _raise_unless_ended(name, decision)
                return job
            time.sleep(decision.seconds)

    def _tally(self, job: BatchJob, sources: Sequence[Address]) -> Tally:
        tally = (self.hook.store.tally(job.output) if job.output else None) or Tally()
        try:
            tally.complete(self.hook.store.count_requests(sources))
        except SourceNotReadyError as error:
            # The answers are paid for and there; without the requests only the missing ones can't be counted.
            self.log.warning("Requests without any answer can't be counted: %s", error)
        return tally


def _raise_unless_ended(name: JobName, over: WaitOver) -> None:
    if over.outcome is WaitOutcome.ENDED:
        return
    error = JobTimeoutError if over.outcome is WaitOutcome.TIMED_OUT else JobLostError
    raise error(
        f"Gave up waiting for the batch job {name}: {over.reason}.\n"
        "It was not cancelled: it may still be running, and billing. The next try looks for it and waits on.\n"
        f"Console: {name.console_url}"
    )
