"""Build requests from rows: by SQL where the rows are in BigQuery, as a stream where they are in files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, cast

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_gemini_batch.core.settings import check_choice, check_flag
from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.exceptions import (
    GeminiBatchError,
    InvalidRequestError,
    LedgerError,
    as_invalid_request,
)
from airflow_gemini_batch.operators.base import GeminiBatchOperator, key_columns, renamed
from airflow_gemini_batch.requests.sources import is_arrow, is_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_gemini_batch.canary.settings import Canary
    from airflow_gemini_batch.core.model_families import ModelFamily
    from airflow_gemini_batch.costs.estimate import Estimate, OutputLimits, Unpriced
    from airflow_gemini_batch.costs.plan import PlanLine
    from airflow_gemini_batch.landing.under_way import RowsUnderWay
    from airflow_gemini_batch.ledger.budgets import Budget
    from airflow_gemini_batch.ledger.earlier import EarlierRuns
    from airflow_gemini_batch.outputs.usage import Usage
    from airflow_gemini_batch.requests.row_kinds import RowCount
    from airflow_gemini_batch.requests.sources import Path, PythonRows
    from airflow_gemini_batch.requests.spec import BuildPlan, BuildReport, QuestionChange
    from airflow_gemini_batch.requests.templates import RequestTemplate


class BuildRequestsOperator(GeminiBatchOperator):
    """Make one request of each row that needs an answer.

    The result (XCom) is a list of sources, one for each job, for
    ``SubmitGeminiBatchOperator.partial(…).expand(requests=build.output)``: a request file, a list of them, or a table.
    The XCom ``report`` counts the rows that were read, became requests, were done already, have failed before and were
    left out. The XCom ``question`` is the id of what all rows are asked, for the submit task.

    The names of files and tables are made from their content: building the same requests again gives the same files or
    tables, so that a cleared run takes the jobs that it has paid for.

    :param source: a ``bq://`` table, a query (``SELECT …``), files (CSV, JSON Lines or Parquet; ``gs://`` or local
        paths, patterns too; also as path objects), or rows: an iterable of dicts, an Arrow table or DataFrame, or a
        function that returns one.
    :param source_parameters: values of a query, by the names that stand in it as ``@name``: texts, numbers, dates,
        times, or lists of one of these. Put values from a run's conf here, and never into the query's text.
    :param key: the column, or columns, that identify a row.
    :param model: plain or resource name; a row with an answer of another model is a new row.
    :param requests: where the requests go: a ``bq://`` dataset for rows in BigQuery (the tables expire by
        themselves), or a ``gs://`` folder for files and iterables, and for models that read files only: BigQuery
        exports the requests to there. By default beside the target, or in the source table's dataset.
    :param target: the enriched table, or file, that results land in.
    :param incremental: leave out the rows that the target holds already, with the same request and model, and those
        that another run is asking at this moment for the same target. Without a target, each row becomes a request.
    :param failed_target: where the rows without an answer go, as in the land task; by default ``<target>__failed``.
    :param ask_failed_again: in how many more runs a row is asked whose request has failed for good (rejected, blocked,
        truncated or invalid): 0 (the default), a number, or ``always``. A row that failed temporarily is asked in every
        run, and so is one whose request has changed since. Deleting a row from ``failed_target`` asks it again, too.
    :param on_bad_rows: rows that can't become requests (key NULL or repeated, empty prompt, unusable media) ``fail``
        the task with their keys, or ``drop`` them: they are counted and left out.
    :param on_empty: without any new row, ``skip`` this task and what follows, or ``succeed`` with no files.
    :param max_cost_usd: fail when the estimated cost, of an interval its upper end, is higher. The estimate is printed
        in any case. Answers are expected to take what those in the target took, or what the requests allow.
    :param unpriced: what ``max_cost_usd`` does with a model whose price is not known: ``refuse`` it (the default), or
        ``allow`` it with a warning.
    :param shard_rows: most requests of one job; by default as many as Vertex AI takes. There are 1,000 jobs at most.
    :param on_question_change: what to do with rows that have an answer, when prompt, model, schema or configuration
        have changed: ``all`` are asked again (the default); with ``new_rows`` they keep their answer, and only new rows
        and rows whose data has changed are asked; with ``canary`` they are asked once a canary has passed; ``fail``
        ends the task before anything is written. Which rows these are is known with a ledger.
    :param canary: build the requests of a canary, and no others: a sample of the rows that have an answer to another
        question, and golden rows. Without such rows, and once a canary of this question has passed, there are none.
    :param canary_target: where the canary's answers land; by default ``<target>__canary``.
    :param max_rows_per_run: most rows of one run, as far as rows with a changed question are concerned: new rows and
        rows whose data has changed are all asked, and what remains is for the others. They keep their answer until it
        is their turn.
    :param max_cost_usd_per_run: likewise the most US dollars of one run, by the upper end of the estimate.
    :param order_by: which rows with a changed question come first: ``column``, or ``column DESC``.
    :param ledger: where the runs of the target are kept, with what was asked: a ``bq://`` table, or a folder; ``True``
        for ``<target>__runs``. Without one a build does not know whether data or question has changed, and checks no
        budgets.
    :param budgets: see :class:`airflow_gemini_batch.ledger.budgets.Budget`. They are checked, with all runs of the
        ledger, before anything is submitted.
    :param labels: of the run in the ledger, by which budgets find it.
    :param destination: former name of ``requests``.
    :param skip_done: former name of ``target``.
    """

    template_fields: Sequence[str] = (
        *GeminiBatchOperator.template_fields,
        "source",
        "source_parameters",
        "key",
        "model",
        "requests",
        "target",
        "failed_target",
        "ask_failed_again",
        "max_cost_usd",
        "unpriced",
        "canary_target",
        "max_cost_usd_per_run",
        "order_by",
        "ledger",
        "labels",
    )

    def __init__(
        self,
        *,
        source: Path | Sequence[Path] | PythonRows | Callable[[], PythonRows],
        key: str | Sequence[str],
        model: str,
        source_parameters: Mapping[str, Any] | None = None,
        requests: str | None = None,
        target: str | None = None,
        incremental: bool = True,
        failed_target: str | None = None,
        ask_failed_again: int | str = 0,
        on_bad_rows: Literal["fail", "drop"] = "fail",
        on_empty: Literal["skip", "succeed"] = "skip",
        max_cost_usd: float | str | None = None,
        unpriced: Unpriced = "refuse",
        shard_rows: int | None = None,
        on_question_change: QuestionChange = "all",
        canary: Canary | None = None,
        canary_target: str | None = None,
        max_rows_per_run: int | None = None,
        max_cost_usd_per_run: float | str | None = None,
        order_by: str | None = None,
        ledger: bool | str | None = None,
        budgets: Sequence[Budget] = (),
        labels: Mapping[str, str] | None = None,
        destination: str | None = None,
        skip_done: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.source_parameters = source_parameters
        self.key = key
        self.model = model
        self.requests = renamed("requests", requests, "destination", destination)
        self.target = renamed("target", target, "skip_done", skip_done)
        self.incremental = incremental
        self.failed_target = failed_target
        self.ask_failed_again = ask_failed_again
        self.on_bad_rows = on_bad_rows
        self.on_empty = on_empty
        self.max_cost_usd = max_cost_usd
        self.unpriced = unpriced
        self.shard_rows = shard_rows
        self.on_question_change = on_question_change
        self.canary = canary
        self.canary_target = canary_target
        self.max_rows_per_run = max_rows_per_run
        self.max_cost_usd_per_run = max_cost_usd_per_run
        self.order_by = order_by
        self.ledger = ledger
        self.budgets = budgets
        self.labels = labels
        with as_invalid_request():
            check_flag("incremental", incremental)
            check_choice("on_bad_rows", on_bad_rows, "fail", "drop")
            check_choice("on_empty", on_empty, "skip", "succeed")
            check_choice("on_question_change", on_question_change, "all", "new_rows", "canary", "fail")
        for name in ("shard_rows", "max_rows_per_run"):
            given = getattr(self, name)
            if given is not None and not (type(given) is int and given > 0):
                raise InvalidRequestError(f"{name} has to be 1 or more, got {given!r}")
        self._check_choices()
        if callable(source) or isinstance(source, Iterator) or is_arrow(source) or is_path(source):
            # Airflow would call the function itself, with arguments for templates, and ask whether a table is true.
            self.template_fields = [name for name in self.template_fields if name != "source"]

    def _check_choices(self) -> None:
        """Raise :class:`.InvalidRequestError` for parameters that need others."""
        if self.budgets and not self.ledger:
            raise InvalidRequestError(
                "budgets need a ledger, in which runs say what they have spent: give ledger"
            )
        limited = self.max_rows_per_run is not None or self.max_cost_usd_per_run is not None
        if self.order_by and not limited:
            raise InvalidRequestError(
                "order_by needs max_rows_per_run or max_cost_usd_per_run: otherwise all rows are asked in one run"
            )
        needs_target = [
            name
            for name, given in (
                (f"on_question_change={self.on_question_change!r}", self.on_question_change != "all"),
                ("canary", self.canary),
                ("max_rows_per_run", self.max_rows_per_run),
                ("max_cost_usd_per_run", self.max_cost_usd_per_run),
            )
            if given
        ]
        if needs_target and not (self.target and self.incremental):
            raise InvalidRequestError(
                f"{listed(needs_target)} needs the answers that there are: give target, and keep incremental=True"
            )
        if self.canary and not self.ledger:
            raise InvalidRequestError(
                "canary needs a ledger, which knows what rows were asked before: give ledger"
            )

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Render the templates; of a name that Airflow does not know, say how a column of the rows is written."""
        from jinja2 import UndefinedError

        try:
            super().render_template_fields(context, jinja_env)
        except UndefinedError as error:
            raise AirflowFailException(
                f"A template can't be rendered: {error}. Airflow renders {{{{ … }}}}, before there are rows. The value "
                "of a column is [[ column ]], as in: Describe [[ title ]]"
            ) from None

    @abstractmethod
    def _family(self) -> ModelFamily:
        """Return the model's family; raises :class:`ValueError` for a model of another kind."""

    @abstractmethod
    def _template(self) -> RequestTemplate:
        """Return the template of one request; raises :class:`ValueError` for wrong parameters."""

    def _answer_parameters(self) -> Mapping[str, str]:
        """Return the job's parameters that change its answers; raises :class:`ValueError` for wrong ones."""
        return {}

    def _fixed_characters(self) -> int:
        """Return how many characters each request holds besides its rendered prompt."""
        return 0

    def _output_limits(self) -> OutputLimits:
        """Return what the requests say about the length of answers."""
        from airflow_gemini_batch.costs.estimate import OutputLimits

        return OutputLimits()

    def execute(self, context: Context) -> list[str | Sequence[str]]:
        """Build, estimate the cost, and return where the requests are."""
        from airflow_gemini_batch.costs.summary import build_summary
        from airflow_gemini_batch.operators.lineage import build_lineage
        from airflow_gemini_batch.requests.sources import row_source

        with self.running():
            runs = self._earlier_runs()
            if self._canary_has_passed(runs):
                return self._skip_canary(context)
            plan, report, lines, expecting = self._built(context, runs, writes=True)
            rows = row_source(self.source, self.source_parameters)
            self._done = partial(build_lineage, plan, report, rows, lambda: self.hook.bigquery_client)
            content = {**report.to_json(), "plan": [line.to_json() for line in lines]}
            expected = None
            if report.requests:
                expected = expecting(report.asked)
                self._check_ceiling(expected)
                content["estimate"] = expected.to_json()
            if plan.sample:
                rest = report.changed - min(report.changed, cast("Canary", self.canary).rows)
                context["ti"].xcom_push(key="rest_rows", value=rest)
            context["ti"].xcom_push(key="report", value=content)
            asks = plan.sample is None or plan.limit is None or plan.limit(report.every)
            context["ti"].xcom_push(key="question", value=plan.question.id if asks else "")
            context["ti"].xcom_push(key="run", value=self._reserve(context, plan, report, expected, runs))
            summary = build_summary(plan, report, expected, self._first_prompt(plan, report), lines)
            self.tell(context, summary)
            if not report.requests and self.on_empty == "skip":
                raise AirflowSkipException(summary.headline)
            return list(report.sources)

    def _canary_has_passed(self, runs: EarlierRuns | None) -> bool:
        """Return whether this is the build of a canary that has passed in an earlier run."""
        return bool(self.canary and runs and runs.has_passed(self._plan().question.id))

    def _skip_canary(self, context: Context) -> list[str | Sequence[str]]:
        """Say that nothing is to be asked first, without reading the source."""
        from airflow_gemini_batch.core.summary import Summary

        for key, value in (("question", ""), ("run", ""), ("rest_rows", 0)):
            context["ti"].xcom_push(key=key, value=value)
        headline = "The canary of this question has passed in an earlier run, so no rows are asked first."
        self.tell(context, Summary(headline, places={"Target": str(self.target)}))
        return []

    def plan(self, context: Context) -> tuple[BuildReport, list[PlanLine]]:
        """Return what the task would ask now. Nothing is written, except for a table that is dropped at the end.

        :param context: with a ``ti`` that has the ids of a DAG and of a run.

        Raises what :meth:`execute` raises.
        """
        from airflow_gemini_batch.requests.spec import BuildReport

        with self.running():
            runs = self._earlier_runs()
            if self._canary_has_passed(runs):
                return BuildReport((), 0, 0), []
            _, report, lines, _ = self._built(context, runs, writes=False)
            return report, lines

    def _built(
        self, context: Context, runs: EarlierRuns | None, *, writes: bool
    ) -> tuple[BuildPlan, BuildReport, list[PlanLine], Callable[[RowCount], Estimate]]:
        """Build, and return the plan, the report, why rows are asked, and what estimates rows."""
        from airflow_gemini_batch.costs.plan import plan_lines
        from airflow_gemini_batch.requests.build import build_requests

        self._check_choices()
        plan = self._plan()
        expecting = self._expecting(plan)
        plan = replace(self._choices(plan, runs, expecting), writes=writes)
        report = build_requests(
            plan,
            self.source,
            self.requests,
            source_parameters=self.source_parameters,
            storage_client=lambda: self.hook.storage_client,
            bigquery_client=lambda: self.hook.bigquery_client,
            log=self.log,
            others=self._other_runs(context, plan, runs),
        )
        plan.check_vectors(report)
        return plan, report, list(plan_lines(report, expecting)), expecting

    def _choices(
        self, plan: BuildPlan, runs: EarlierRuns | None, expecting: Callable[[RowCount], Estimate]
    ) -> BuildPlan:
        """Return the plan with what is known of earlier questions, and with the rows that this run asks."""
        from airflow_gemini_batch.canary.sample import canary_plan
        from airflow_gemini_batch.costs.run_limit import run_limit
        from airflow_gemini_batch.hooks.prices import ceiling_of
        from airflow_gemini_batch.requests.row_kinds import RowOrder

        with as_invalid_request():
            order = RowOrder.parse(self.order_by) if self.order_by else RowOrder()
        limit = run_limit(
            self.max_rows_per_run,
            ceiling_of(self.max_cost_usd_per_run),
            expecting,
            self.unpriced,
        )
        plan = replace(plan, on_question_change=self.on_question_change, order=order, limit=limit)
        if plan.done_target is None or runs is None:
            return plan
        try:
            earlier = runs.questions()
        except LedgerError as error:
            if self.on_question_change != "all" or limit:
                raise
            self.log.warning("It is not known whether data or question of a row has changed: %s", error)
            return plan
        plan = replace(plan, earlier=earlier)
        if not self.canary:
            return plan
        clients = (lambda: self.hook.storage_client, lambda: self.hook.bigquery_client)
        return canary_plan(plan, self.canary, self.canary_target, *clients)

    def _earlier_runs(self) -> EarlierRuns | None:
        from airflow_gemini_batch.ledger.addresses import ledger_address, ledger_of
        from airflow_gemini_batch.ledger.earlier import EarlierRuns

        if not self.ledger or not self.target:
            return None
        address = ledger_address(self.target) if self.ledger is True else self.ledger
        clients = (lambda: self.hook.storage_client, lambda: self.hook.bigquery_client)
        return EarlierRuns(ledger_of(address, *clients), self.target)

    def _reserve(
        self,
        context: Context,
        plan: BuildPlan,
        report: BuildReport,
        expected: Estimate | None,
        runs: EarlierRuns | None,
    ) -> str:
        """Write the run into the ledger, check the budgets, and return the run's id; empty without a ledger."""
        from airflow_gemini_batch.jobs.polling import utc_now
        from airflow_gemini_batch.ledger.runs import built, reserve, run_record

        if runs is None or plan.target is None:
            return ""
        ti, now = context["ti"], utc_now()
        record = run_record(
            ti.dag_id,
            ti.run_id,
            plan.target,
            plan.model,
            now,
            kind="canary" if plan.sample else "run",
            group=ti.task_id.rpartition(".")[0],
            labels=self.labels,
        )
        record = built(record, report, expected, plan.question)
        if not plan.sample and self.on_question_change == "canary":
            record = replace(record, verdict={"passed": True})
        return reserve(runs.ledger, record, self.budgets, now, self.log, self.unpriced).run

    def _first_prompt(self, plan: BuildPlan, report: BuildReport) -> str:
        """Return the prompt of one request; empty when it can't be read, as the build is done."""
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        from airflow_gemini_batch.requests.first_prompt import first_prompt

        if not report.sources:
            return ""
        clients = (lambda: self.hook.storage_client, lambda: self.hook.bigquery_client)
        try:
            return first_prompt(report.sources[0], plan.family, *clients)
        except (GoogleAPIError, GoogleAuthError, GeminiBatchError, OSError) as error:
            self.log.warning("The first request could not be read: %s", error)
            return ""

    def _other_runs(self, context: Context, plan: BuildPlan, runs: EarlierRuns | None) -> RowsUnderWay | None:
        """Return what finds the rows that other runs ask; ``None`` where no row is left out, or no job can be."""
        from airflow_gemini_batch.landing.under_way import RowsUnderWay

        if plan.done_target is None:
            return None
        if not self.hook.has_location:
            self.log.warning(
                "No location is set, so rows that another run is asking at this moment are not left out"
            )
            return None
        ti = context["ti"]
        return RowsUnderWay(
            self.hook.get_conn(),
            plan,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            storage_client=lambda: self.hook.storage_client,
            bigquery_client=lambda: self.hook.bigquery_client,
            log=self.log,
            landed=lambda: runs.landed_jobs(self.log) if runs else (),
        )

    def _plan(self) -> BuildPlan:
        from airflow_gemini_batch.core.models import model_resource_name
        from airflow_gemini_batch.requests.spec import BuildPlan, failed_again

        with as_invalid_request():
            model = model_resource_name(self.model)
            family = self._family()
            return BuildPlan(
                model=model,
                family=family,
                key=key_columns(self.key),
                template=self._template(),
                model_parameters=self._answer_parameters(),
                drop_bad_rows=self.on_bad_rows == "drop",
                target=self.target or None,
                incremental=self.incremental,
                failed_target=self.failed_target or None,
                ask_failed_again=failed_again(self.ask_failed_again),
                shard_rows=min(self.shard_rows or family.max_rows, family.max_rows),
            )

    def _expecting(self, plan: BuildPlan) -> Callable[[RowCount], Estimate]:
        """Return what estimates rows of the build. What earlier answers took is read once, when it is needed."""
        from airflow_gemini_batch.core.models import short_model_name
        from airflow_gemini_batch.costs.estimate import estimate
        from airflow_gemini_batch.hooks.prices import price_table
        from airflow_gemini_batch.jobs.polling import utc_now

        @cache
        def earlier() -> Usage | None:
            return self._earlier(plan)

        def expected(rows: RowCount) -> Estimate:
            return estimate(
                short_model_name(plan.model),
                price_table(self.hook.location if self.hook.has_location else ""),
                on=utc_now().date(),
                rows=rows.rows,
                prompt_characters=rows.characters + rows.rows * self._fixed_characters(),
                media=rows.media,
                limits=self._output_limits(),
                earlier=earlier(),
                embeddings=plan.family.embeds,
            )

        return expected

    def _check_ceiling(self, expected: Estimate) -> None:
        from airflow_gemini_batch.costs.estimate import check_ceiling
        from airflow_gemini_batch.hooks.prices import ceiling_of

        if warning := check_ceiling(expected, ceiling_of(self.max_cost_usd), self.unpriced):
            self.log.warning("%s", warning)

    def _earlier(self, plan: BuildPlan) -> Usage | None:
        from airflow_gemini_batch.costs.earlier import earlier_usage

        if plan.target is None or plan.family.embeds:
            return None
        return earlier_usage(
            plan.target,
            plan.model,
            storage_client=lambda: self.hook.storage_client,
            bigquery_client=lambda: self.hook.bigquery_client,
            log=self.log,
        )
