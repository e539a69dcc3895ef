"""The base of all operators of this package."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.exceptions import AirflowProviderDeprecationWarning
from airflow.providers.common.compat.sdk import BaseOperator

from airflow_gemini_batch.core.defaults import DEFAULT_CONNECTION
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError
from airflow_gemini_batch.hooks.mixin import HookedTask

if TYPE_CHECKING:
    from functools import partial

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_gemini_batch.core.summary import Summary
    from airflow_gemini_batch.operators.lineage import Lineage

SUMMARY_KEY = "summary"
"""XCom with the text of a task's summary, without anything of a row."""

CONNECTION_PARAMETERS = (
    "project_id",
    "location",
    "gcp_conn_id",
    "impersonation_chain",
    "quota_project_id",
    "user_project",
)
"""What says where the calls of a task go, in whose name and on whose account; all operators take them."""


class GeminiBatchOperator(HookedTask, BaseOperator):
    """A task that uses one connection, project and location.

    :param project_id: project that runs the jobs and pays for them; by default the connection's.
    :param location: location of jobs and data, such as ``us-central1``; by default the connection's.
    :param gcp_conn_id: the Airflow connection.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param quota_project_id: project whose quota all calls count against; by default the connection's, or that of the
        credentials.
    :param user_project: project that pays for calls about buckets whose readers pay; by default the connection's.
    """

    template_fields: Sequence[str] = CONNECTION_PARAMETERS
    ui_color = "#e6e9ff"

    def __init__(
        self,
        *,
        project_id: str | None = None,
        location: str | None = None,
        gcp_conn_id: str = DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | None = None,
        quota_project_id: str | None = None,
        user_project: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project_id = project_id
        self.location = location
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.quota_project_id = quota_project_id
        self.user_project = user_project

    _done: partial[Lineage] | None = None
    """What gives the lineage of this try, once the task has done something."""

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> OperatorLineage | None:
        """Return what the task has read, written and spent. Airflow's provider of OpenLineage asks for it."""
        return self._done().facets() if self._done else None

    def tell(self, context: Context, summary: Summary) -> None:
        """Log what the task has done, and store it for those who read more than logs."""
        self.log.info("%s", summary)
        _store(context, summary)

    @contextmanager
    def executing(self, context: Context) -> Iterator[None]:
        """Run the block as :meth:`running` does; the summary of an error is stored as :meth:`tell` does."""
        with self.running():
            try:
                yield
            except GeminiBatchError as error:
                if error.summary:
                    try:
                        _store(context, error.summary)
                    except Exception as other:
                        self.log.warning("The summary could not be stored: %s", other)
                raise

    def on_kill(self) -> None:
        """Remove the rows that are on this worker's disk, as the task may not get to it."""
        from airflow_gemini_batch.disk.private_folder import remove_private_folders

        remove_private_folders()


def _store(context: Context, summary: Summary) -> None:
    context["ti"].xcom_push(key=SUMMARY_KEY, value=str(summary.without_rows()))


T = TypeVar("T")

_NOT_A_DAG_FILE = (__name__.partition(".")[0], "airflow")


def renamed(new: str, value: T | None, old: str, old_value: T | None) -> T | None:
    """Return the value of a parameter that may be given by its former name.

    The former name gives a warning about the line of the DAG file, and is accepted for one more minor release: see
    "Deprecations" in CONTRIBUTING.md.
    Raises :class:`TypeError` when both are given.
    """
    if old_value is None:
        return value
    if value is not None:
        raise TypeError(f"{old}= is the former name of {new}=. Give only {new}=")
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_A_DAG_FILE:
        frame = frame.f_back
    message = f"{old}= is now called {new}=. Rename it: a later release drops the former name"
    warnings.warn_explicit(
        message, AirflowProviderDeprecationWarning, frame.f_code.co_filename, frame.f_lineno
    )
    return old_value


def key_columns(key: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of the key's columns; raises :class:`.InvalidRequestError` when there are none."""
    columns = (key,) if isinstance(key, str) else tuple(key or ())
    if not columns or not all(isinstance(column, str) and column for column in columns):
        raise InvalidRequestError(f"key: expected a column name, or several, got {key!r}")
    return columns
