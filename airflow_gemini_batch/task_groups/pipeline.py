"""The whole pipeline as one task group: preflight, build, submit, land."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypedDict, cast

from airflow.providers.common.compat.sdk import TaskGroup, XComArg

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.operators.base import CONNECTION_PARAMETERS
from airflow_gemini_batch.version_compat import WHEN_ONE_HAS_SUCCEEDED

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG, BaseOperator

    from airflow_gemini_batch.canary.settings import Canary
    from airflow_gemini_batch.ledger.budgets import Budget
    from airflow_gemini_batch.operators.build import BuildRequestsOperator
    from airflow_gemini_batch.operators.land import LandResultsOperator
    from airflow_gemini_batch.operators.preflight import PreflightOperator
    from airflow_gemini_batch.operators.submit import SubmitBatchJobOperator
    from airflow_gemini_batch.requests.sources import Path, PythonRows
    from airflow_gemini_batch.requests.spec import QuestionChange

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

    on_question_change: QuestionChange
    """What to do with rows that have an answer, when prompt, model, schema or configuration have changed: ``all`` are
    asked again (the default); with ``new_rows`` they keep their answer, and only new rows and changed data are asked;
    with ``canary`` they are asked once a canary has passed (the default with ``canary=``); ``fail`` ends the run before
    anything is written."""

    canary: Canary | None
    """Ask some rows a changed question first, compare the answers with those that are there, and let thresholds or a
    person decide about the other rows: see :class:`airflow_gemini_batch.canary.settings.Canary`."""

    max_rows_per_run: int | None
    """Most rows of one run, as far as rows with a changed question are concerned: new rows and changed data are all
    asked, and what remains is for the others, which keep their answer until it is their turn."""

    max_cost_usd_per_run: float | str | None
    """Likewise the most US dollars of one run, by the upper end of the estimate."""

    order_by: str | None
    """Which rows with a changed question come first: ``column``, or ``column DESC``."""

    keep_previous: timedelta | None
    """How long the answers to the question before are kept, so that ``gemini-batch rollback`` brings them back: a copy
    of the target as it was before the first new answer landed. By default there is none."""

    ledger: bool | str
    """Keep a record of each run, with what was asked, rows, tokens and cost: in ``<target>__runs`` (the default), or
    where this says: a ``bq://`` table or a folder, for one ledger of several targets. ``False`` keeps none; then a
    build does not know whether data or question of a row has changed."""

    budgets: Sequence[Budget]
    """Most US dollars of a day or a month, over all runs of the ledger, checked before anything is submitted: see
    :class:`airflow_gemini_batch.ledger.budgets.Budget`."""

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

    With a canary there are tasks before these: ``build_canary``, ``submit_canary`` and ``land_canary`` ask some rows a
    changed question, ``judge_canary`` compares the answers, ``approve_canary`` lets a person decide when that is
    wanted, and ``take_canary`` takes the answers into the target. Without a changed question they do nothing.

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
        canary, keep_previous = remaining.pop("canary", None), take("keep_previous")
        ledger = remaining.pop("ledger", True)
        if canary is not None:
            remaining.setdefault("on_question_change", "canary")
        elif remaining.get("on_question_change") == "canary":
            raise InvalidRequestError(
                f"task group {group_id!r}: on_question_change='canary' needs to know which rows: give canary=Canary(…)"
            )
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
                "on_question_change",
                "max_rows_per_run",
                "max_cost_usd_per_run",
                "order_by",
                "budgets",
            ),
            "ledger": ledger,
            "labels": remaining.get("labels"),
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
            **keep_previous,
            "ledger": ledger,
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
        # Airflow makes the submit tasks when the build task has ended.
        self.submit_operator.check_settings(**submitting)
        with self:
            build = self.build_operator(task_id="build_requests", **building)
            submit = self.submit_operator.partial(
                task_id="submit", question=XComArg(build, "question"), **submitting
            ).expand(requests=build.output)
            first: BaseOperator = build
            if canary is not None:
                first, last = self._add_canary(canary, building, submitting, landing)
                last >> build
            land = self.land_operator(
                task_id="land_results",
                manifest=cast("Any", submit.output),
                # When one job fails for good, the answers of the others are landed all the same.
                requests=cast("Any", build.output),
                run=cast("Any", XComArg(build, "run")),
                trigger_rule=WHEN_ONE_HAS_SUCCEEDED,
                **landing,
                **failed_target,
            )
            # The rule asks for a job that has succeeded, and the build would count as one.
            build.downstream_task_ids.remove(land.task_id)
            land.upstream_task_ids.remove(build.task_id)
            if preflight:
                check = self.preflight_operator(task_id="preflight", **building, **account_and_key)
                check >> first
        self.output = land.output
        """Where the results are: see :class:`~airflow_gemini_batch.operators.land.LandResultsOperator`."""

    def _add_canary(
        self,
        canary: Canary,
        building: Mapping[str, Any],
        submitting: Mapping[str, Any],
        landing: Mapping[str, Any],
    ) -> tuple[BaseOperator, BaseOperator]:
        """Add the tasks of a canary and return the first and the last one."""
        from airflow_gemini_batch.canary.settings import canary_target_of
        from airflow_gemini_batch.ledger.addresses import ledger_address
        from airflow_gemini_batch.operators.canary import JudgeCanaryOperator, approve_task
        from airflow_gemini_batch.operators.canary_rows import LandCanaryOperator

        connection = {name: building[name] for name in CONNECTION_PARAMETERS if name in building}
        target, key = str(building["target"]), building["key"]
        if target.startswith("{{"):
            raise InvalidRequestError(
                f"target {target}: with a canary it has to begin with what it is, such as bq:// or gs://, and not with "
                "a template, since the tables beside it are named after it"
            )
        landed = canary_target_of(target)
        ledger = ledger_address(target) if building["ledger"] is True else building["ledger"]
        not_of_a_canary = ("max_rows_per_run", "max_cost_usd_per_run", "order_by", "max_cost_usd")
        build = self.build_operator(
            task_id="build_canary",
            canary=canary,
            **{name: value for name, value in building.items() if name not in not_of_a_canary},
        )
        question = cast("Any", XComArg(build, "question"))
        submit = self.submit_operator.partial(
            task_id="submit_canary", question=question, **{**submitting, "target": landed}
        ).expand(requests=build.output)
        without = ("ledger", "keep_previous", "bookkeeping", "max_failed_fraction", "outlets")
        land = self.land_operator(
            task_id="land_canary",
            manifest=cast("Any", submit.output),
            run=cast("Any", XComArg(build, "run")),
            # The gate judges the answers; they are of no use for others yet.
            max_failed_fraction=1.0,
            outlets=[],
            ledger=ledger,
            **{**{name: value for name, value in landing.items() if name not in without}, "target": landed},
        )
        shown = ("response_schema", "text_column", "vector_column")
        judge = JudgeCanaryOperator(
            task_id="judge_canary",
            canary=canary,
            question=question,
            rest_rows=cast("Any", XComArg(build, "rest_rows")),
            key=key,
            target=target,
            canary_target=landed,
            report_folder=_report_folder(building.get("requests"), target),
            **{name: landing[name] for name in shown if name in landing},
            **connection,
        )
        gate: BaseOperator = judge if canary.approve == "thresholds" else approve_task(judge)
        taken = LandCanaryOperator(
            task_id="take_canary",
            question=question,
            key=key,
            target=target,
            canary_target=landed,
            failed_target=building.get("failed_target"),
            keep_previous=landing.get("keep_previous"),
            **{name: landing[name] for name in shown if name in landing},
            **connection,
        )
        land >> judge
        if gate is not judge:
            judge >> gate
        gate >> taken
        return build, taken


def _report_folder(requests: str | None, target: str) -> str | None:
    """Return the folder for the page with the comparison; ``None`` where all is in tables."""
    if requests and not requests.startswith("bq://"):
        return requests
    return None if target.startswith("bq://") else f"{target.rpartition('/')[0] or '.'}/requests"
