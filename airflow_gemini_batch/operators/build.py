"""Build requests from rows: by SQL where the rows are in BigQuery, as a stream where they are in files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError, as_invalid_request
from airflow_gemini_batch.operators.base import GeminiBatchOperator, key_columns, renamed
from airflow_gemini_batch.requests.sources import is_arrow, is_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_gemini_batch.core.model_families import ModelFamily
    from airflow_gemini_batch.costs.estimate import Estimate, OutputLimits, Unpriced
    from airflow_gemini_batch.landing.under_way import RowsUnderWay
    from airflow_gemini_batch.outputs.usage import Usage
    from airflow_gemini_batch.requests.sources import Path, PythonRows
    from airflow_gemini_batch.requests.spec import BuildPlan, BuildReport
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
        for name, choices in (("on_bad_rows", ("fail", "drop")), ("on_empty", ("skip", "succeed"))):
            if (given := getattr(self, name)) not in choices:
                raise InvalidRequestError(
                    f"{name} has to be {' or '.join(map(repr, choices))}, got {given!r}"
                )
        if shard_rows is not None and not (isinstance(shard_rows, int) and shard_rows > 0):
            raise InvalidRequestError(f"shard_rows has to be 1 or more, got {shard_rows!r}")
        if callable(source) or isinstance(source, Iterator) or is_arrow(source) or is_path(source):
            # Airflow would call the function itself, with arguments for templates, and ask whether a table is true.
            self.template_fields = [name for name in self.template_fields if name != "source"]

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
        from airflow_gemini_batch.requests.build import build_requests
        from airflow_gemini_batch.requests.sources import row_source

        with self.running():
            plan = self._plan()
            report = build_requests(
                plan,
                self.source,
                self.requests,
                source_parameters=self.source_parameters,
                storage_client=lambda: self.hook.storage_client,
                bigquery_client=lambda: self.hook.bigquery_client,
                log=self.log,
                others=self._other_runs(context, plan),
            )
            rows = row_source(self.source, self.source_parameters)
            self._done = partial(build_lineage, plan, report, rows, lambda: self.hook.bigquery_client)
            content = report.to_json()
            expected = None
            if report.requests:
                expected = self._estimate(plan, report)
                content["estimate"] = expected.to_json()
            context["ti"].xcom_push(key="report", value=content)
            context["ti"].xcom_push(key="question", value=plan.question.id)
            summary = build_summary(plan, report, expected, self._first_prompt(plan, report))
            self.tell(context, summary)
            if not report.requests and self.on_empty == "skip":
                raise AirflowSkipException(summary.headline)
            return list(report.sources)

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

    def _other_runs(self, context: Context, plan: BuildPlan) -> RowsUnderWay | None:
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

    def _estimate(self, plan: BuildPlan, report: BuildReport) -> Estimate:
        from airflow_gemini_batch.core.models import short_model_name
        from airflow_gemini_batch.costs.estimate import check_ceiling, estimate
        from airflow_gemini_batch.hooks.prices import ceiling_of, price_table
        from airflow_gemini_batch.jobs.polling import utc_now

        expected = estimate(
            short_model_name(plan.model),
            price_table(self.hook.location if self.hook.has_location else ""),
            on=utc_now().date(),
            rows=report.requests,
            prompt_characters=report.prompt_characters + report.requests * self._fixed_characters(),
            media=report.media,
            limits=self._output_limits(),
            earlier=self._earlier(plan),
            embeddings=plan.family.embeds,
        )
        if warning := check_ceiling(expected, ceiling_of(self.max_cost_usd), self.unpriced):
            self.log.warning("%s", warning)
        return expected

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
