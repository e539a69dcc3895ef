"""What all sensors of this package share: check, then wait in the triggerer or in the worker."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseSensorOperator, PokeReturnValue

from airflow_gemini_batch.core.defaults import DEFAULT_CONNECTION, DEFAULT_FOLLOW_UP_WAIT
from airflow_gemini_batch.core.log import Changes
from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.exceptions import OutputNotReadyError
from airflow_gemini_batch.hooks.errors import fail_without_retry
from airflow_gemini_batch.hooks.mixin import HookedTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_gemini_batch.jobs.readiness import Readiness
    from airflow_gemini_batch.triggers.probes import AnyProbe


class ReadinessSensor(HookedTask, BaseSensorOperator):
    """Wait until something is ready; fail at once when it never will be.

    With ``soft_fail=True``, what will never be ready skips the task instead. ``poke_interval`` and ``timeout``
    (seconds) mean what they mean for every sensor, in the triggerer too.

    :param project_id: project of the jobs and data; by default the connection's.
    :param location: location of the jobs; by default the connection's.
    :param gcp_conn_id: the Airflow connection.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param deferrable: wait in the triggerer (the default) or in the worker.
    :param follow_up_wait: how long to expect a follow-up job for rows without an answer, in seconds after a job's end,
        where Airflow does not know whether one comes.
    """

    template_fields: Sequence[str] = ("project_id", "location", "gcp_conn_id", "impersonation_chain")
    ui_color = "#e6f5ff"

    def __init__(
        self,
        *,
        project_id: str | None = None,
        location: str | None = None,
        gcp_conn_id: str = DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | None = None,
        deferrable: bool = True,
        follow_up_wait: float = DEFAULT_FOLLOW_UP_WAIT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project_id = project_id
        self.location = location
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.deferrable = deferrable
        self.follow_up_wait = follow_up_wait
        self._changes = Changes()

    @abstractmethod
    def probe(self, context: Context) -> AnyProbe:
        """Return what to check, from the rendered fields.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for fields that are not valid.
        """

    def execute(self, context: Context) -> Any:
        """Check once; when it is not ready yet, wait in the triggerer or in the worker."""
        if not self.deferrable:
            return super().execute(context)
        from airflow_gemini_batch.triggers.probes import probe_to_json
        from airflow_gemini_batch.triggers.readiness import GeminiBatchReadinessTrigger

        poked = self.poke(context)
        if poked.is_done:
            return poked.xcom_value
        return self.defer(
            trigger=GeminiBatchReadinessTrigger(
                probe=probe_to_json(self.probe(context)),
                gcp_conn_id=self.gcp_conn_id,
                project_id=self.project_id,
                location=self.location,
                impersonation_chain=self.impersonation_chain,
                poll_interval=self.poke_interval,
            ),
            method_name="resume",
            timeout=timedelta(seconds=self.timeout),
        )

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any] | None:
        """Take the verdict of the triggerer."""
        from airflow_gemini_batch.jobs.readiness import Readiness, ReadinessState

        return self._verdict(
            Readiness(ReadinessState(event["readiness"]), event["reason"], event["result"])
        ).xcom_value

    def poke(self, context: Context) -> PokeReturnValue:
        """Check once."""
        from airflow_gemini_batch.triggers.probes import check_with_retry

        with self.running():
            check = check_with_retry(self.probe(context), self.hook)
        return self._verdict(check)

    def _verdict(self, check: Readiness) -> PokeReturnValue:
        from airflow_gemini_batch.jobs.polling import utc_now
        from airflow_gemini_batch.jobs.readiness import ReadinessState

        # Airflow logs why a task fails or is skipped.
        goes_on = check.state in (ReadinessState.NOT_YET, ReadinessState.READY)
        if goes_on and self._changes.take(check.reason, utc_now()):
            self.log.info("%s", check.reason)
        if check.state is ReadinessState.NEVER:
            if self.soft_fail:
                raise AirflowSkipException(shown(check.reason, lines=True))
            with fail_without_retry():
                raise OutputNotReadyError(f"{self.task_id} will never be ready: {check.reason}")
        if check.state is ReadinessState.NOTHING:
            raise AirflowSkipException(shown(check.reason, lines=True))
        done = check.state is ReadinessState.READY
        return PokeReturnValue(is_done=done, xcom_value=dict(check.result or {}) if done else None)
