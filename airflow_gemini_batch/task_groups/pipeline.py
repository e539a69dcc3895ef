"""The whole pipeline as one task group: preflight, build, submit, land."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypedDict, cast

from airflow.providers.common.compat.sdk import TaskGroup, XComArg

from airflow_gemini_batch.operators.base import CONNECTION_PARAMETERS
from airflow_gemini_batch.version_compat import WHEN_ONE_HAS_SUCCEEDED

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG

    from airflow_gemini_batch.operators.build import BuildRequestsOperator
    from airflow_gemini_batch.operators.land import LandResultsOperator
    from airflow_gemini_batch.operators.preflight import PreflightOperator
    from airflow_gemini_batch.operators.submit import SubmitBatchJobOperator
    from airflow_gemini_batch.requests.sources import Path, PythonRows

Source: TypeAlias = "Path | Sequence[Path] | PythonRows | Callable[[], PythonRows] | XComArg"
"""A ``bq://`` table, a query, files, rows, a function that returns rows, or the result of a task before."""


class TaskGroupOptions(TypedDict, total=False):
    """The parameters of Airflow's own TaskGroup."""

    tooltip: str
    """Text that Airflow shows for the group."""

    default_args: dict[str, Any]
    """Arguments of all tasks of the group, such as ``{"retries": 2}``."""

    prefix_group_id: bool
    """Put the group's name before the names of its tasks (the default)."""

    parent_group: TaskGroup | None
    """The group that this one is part of. By default the one whose ``with`` block it is in."""

    dag: DAG
    """The DAG. By default the one whose ``with`` block it is in."""

    ui_color: str
    """Background colour in Airflow's graph."""

    ui_fgcolor: str
    """Text colour in Airflow's graph."""

    add_suffix_on_collision: bool
    """Add a number to ``group_id`` when it is taken."""

    group_display_name: str
    """Name that Airflow shows for the group. Airflow 3 only."""

    doc_md: str | None
    """Markdown that Airflow shows for the group. Airflow 3 only."""


class PipelineOptions(TaskGroupOptions, total=False):
    """The optional parameters that all pipelines share. An editor shows the text below a name where it is used."""

    source_parameters: Mapping[str, Any] | None
    """Values of a source query, by the names that stand in it as ``@name``: ``{"day": "{{ ds }}"}``."""

    requests: str | None
    """Where the requests go: a ``bq://`` dataset for rows in BigQuery, a ``gs://`` folder for files.
    By default beside the target."""

    failed_target: str | None
    """Where the rows without an answer go. By default ``<target>__failed``."""

    incremental: bool
    """Leave out the rows that are in the target already, with an answer to the same request (the default).
    ``False`` asks, and pays, for all rows in each run. Incremental runs need ``bookkeeping``."""

    ask_failed_again: int | str
    """In how many more runs a row is asked whose request has failed for good (rejected, blocked, truncated or invalid):
    0 (the default), a number, or ``always``. Rows that failed temporarily are asked in every run."""

    bookkeeping: bool
    """Keep model, tokens, time, job and fingerprint beside each answer, in columns ``batch_…`` (the default)."""

    on_bad_rows: Literal["fail", "drop"]
    """Rows that can't become requests ``fail`` the run with their keys (the default), or are left out (``drop``)."""

    max_cost_usd: float | str | None
    """Fail before anything is submitted when the estimated cost of all jobs is higher, in US dollars. Of an estimate
    that is an interval, the upper end counts. A follow-up job is left out when it and all before it, for its shard,
    would cost more."""

    unpriced: Literal["refuse", "allow"]
    """What ``max_cost_usd`` does with a model whose price is not known: ``refuse`` it (the default) or ``allow`` it."""

    max_row_retries: int
    """Number of follow-up jobs for the rows that failed temporarily. 1 by default."""

    max_failed_fraction: float
    """Share of the rows of all jobs, 0 to 1, that may be without a usable answer in a run that succeeds.
    Checked after all answers have landed. 0.05 by default."""

    shard_rows: int | None
    """Maximum number of requests of one job. By default as many as Vertex AI takes."""

    labels: Mapping[str, str] | None
    """Labels of the jobs, for billing reports and the like."""

    preflight: bool
    """Check the whole pipeline first, in a task of its own (the default)."""

    outlets: Sequence[Any]
    """Assets of the land task. By default an alias of the target: see
    :class:`~airflow_gemini_batch.operators.land.LandResultsOperator`."""

    submit_options: Mapping[str, Any] | None
    """Further arguments of the submit task, such as ``{"poll_interval": 30, "deferrable": False}``."""

    project_id: str | None
    """Project of the jobs. By default the connection's."""

    location: str | None
    """Location of the jobs, such as ``us-central1``. By default the connection's."""

    gcp_conn_id: str
    """The Airflow connection. ``google_cloud_default`` by default."""

    impersonation_chain: str | Sequence[str] | None
    """Service account to impersonate, or a chain of them."""

    quota_project_id: str | None
    """Project whose quota all calls count against. By default the connection's, or that of the credentials."""

    user_project: str | None
    """Project that pays for calls about buckets whose readers pay. By default the connection's."""

    kms_key_name: str | None
    """Key of Cloud KMS that encrypts what the jobs keep, in their location:
    ``projects/P/locations/L/keyRings/R/cryptoKeys/K``."""

    service_account: str | None
    """Account that the jobs run as, instead of Vertex AI's service agent."""


class PipelineTaskGroup(TaskGroup):
    """Ask a model about each new row of a table or of files, and land the answers.

    Four tasks: ``preflight`` (reports all known problems at once), ``build_requests``, ``submit`` (one mapped instance
    for each job) and ``land_results``. Rows whose answer to the same request is in the target already are left out.
    Without new rows the other tasks are skipped, and nothing is paid. When one of several jobs fails, the answers of
    the others are landed, and ``land_results`` fails. When nothing can land, it is ``upstream_failed`` (before Airflow
    3.1 it fails, with a message that says so).

    :param build_arguments: arguments of the build and the preflight task that only this kind of pipeline has.
    :param submit_arguments: likewise for the submit task.
    :param land_arguments: likewise for the land task.
    :param options: what the user has given of :class:`PipelineOptions`.
    """

    build_operator: ClassVar[type[BuildRequestsOperator]]
    submit_operator: ClassVar[type[SubmitBatchJobOperator]]
    land_operator: ClassVar[type[LandResultsOperator]]
    preflight_operator: ClassVar[type[PreflightOperator]]

    def __init__(
        self,
        *,
        group_id: str,
        source: Source,
        key: str | Sequence[str],
        model: str,
        target: str,
        build_arguments: Mapping[str, Any],
        submit_arguments: Mapping[str, Any],
        land_arguments: Mapping[str, Any],
        options: PipelineOptions,
    ) -> None:
        remaining: dict[str, Any] = dict(options)

        def take(*names: str) -> dict[str, Any]:
            return {name: remaining.pop(name) for name in names if name in remaining}

        connection, failed_target = take(*CONNECTION_PARAMETERS), take("failed_target")
        account_and_key = take("kms_key_name", "service_account")
        building = {
            "source": source,
            "key": key,
            "model": model,
            "target": target,
            "on_empty": "succeed",  # the land task has to distinguish "no new rows" from "not built"
            **take(
                "source_parameters",
                "requests",
                "incremental",
                "ask_failed_again",
                "on_bad_rows",
                "max_cost_usd",
                "unpriced",
                "shard_rows",
            ),
            **failed_target,
            **build_arguments,
            **connection,
        }
        if "max_cost_usd" in building:  # the build task compares all first jobs with it
            submit_arguments = {
                **{name: building[name] for name in ("max_cost_usd", "unpriced") if name in building},
                "first_job_is_estimated": True,
                **submit_arguments,
            }
        submitting = {
            "model": model,
            "target": target,
            # The land task checks it, once all paid answers have landed, and all failures.
            "max_failed_fraction": 1.0,
            "failures_are_landed": True,
            **take("labels", "max_row_retries"),
            **submit_arguments,
            **account_and_key,
            **connection,
            **(remaining.pop("submit_options", None) or {}),
        }
        landing = {
            "key": key,
            "target": target,
            **take("bookkeeping", "max_failed_fraction", "outlets"),
            **land_arguments,
            **connection,
        }
        preflight = remaining.pop("preflight", True)
        # What remains belongs to Airflow's TaskGroup, which refuses unknown names.
        super().__init__(group_id=group_id, **remaining)
        if next(self.iter_mapped_task_groups(), None) is not None:
            raise ValueError(
                f"task group {group_id!r}: it can't be inside a mapped task group, as Airflow does not map a task "
                "within a mapped group, and submit is mapped over the jobs. Make one group for each item, in a loop of "
                "the DAG file, or one group whose source holds the rows of all items."
            )
        if building.get("incremental", True) and not landing.get("bookkeeping", True):
            raise ValueError(
                f"task group {group_id!r}: incremental runs need bookkeeping=True to find the rows that are done. "
                "Keep it, or set incremental=False to ask, and pay, for all rows in each run."
            )
        with self:
            build = self.build_operator(task_id="build_requests", **building)
            submit = self.submit_operator.partial(
                task_id="submit", question=XComArg(build, "question"), **submitting
            ).expand(requests=build.output)
            land = self.land_operator(
                task_id="land_results",
                manifest=cast("Any", submit.output),
                # When one job fails for good, the answers of the others are landed all the same.
                requests=cast("Any", build.output),
                trigger_rule=WHEN_ONE_HAS_SUCCEEDED,
                **landing,
                **failed_target,
            )
            # The rule asks for a job that has succeeded, and the build would count as one.
            build.downstream_task_ids.remove(land.task_id)
            land.upstream_task_ids.remove(build.task_id)
            if preflight:
                check = self.preflight_operator(task_id="preflight", **building, **account_and_key)
                check >> build
        self.output = land.output
        """Where the results are: see :class:`~airflow_gemini_batch.operators.land.LandResultsOperator`."""
