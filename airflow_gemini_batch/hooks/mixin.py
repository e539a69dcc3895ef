"""How operators, sensors and triggers get their hook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.log import ShownLog
from airflow_gemini_batch.hooks.errors import fail_without_retry
from airflow_gemini_batch.hooks.rendered import take_rendered

if TYPE_CHECKING:
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook


class ShownTexts:
    """Operators, sensors and triggers, whose log takes texts of any origin."""

    @property
    def log(self) -> Any:
        """The log that Airflow gives, by way of :class:`.ShownLog`."""
        return ShownLog(super().log)  # type: ignore[misc] # of Airflow's class, which stands beside this one


class HookedTask(ShownTexts):
    """Operators, sensors and triggers that use one connection, project and location."""

    gcp_conn_id: str
    project_id: str | None
    location: str | None
    impersonation_chain: str | Sequence[str] | None
    quota_project_id: str | None = None
    user_project: str | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the block with the template fields as rendered; an error that another try can't fix skips retries."""
        with fail_without_retry():
            take_rendered(self)
            yield

    @cached_property
    def hook(self) -> GeminiBatchHook:
        """The hook of this task's connection, project and location."""
        from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook

        return GeminiBatchHook(
            self.gcp_conn_id,
            project_id=self.project_id,
            location=self.location,
            impersonation_chain=self.impersonation_chain,
            quota_project_id=self.quota_project_id,
            user_project=self.user_project,
        )
