"""Build requests from rows: by SQL where the rows are in BigQuery, as a stream where they are in files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.hooks.errors import as_invalid_request, fail_without_retry
from airflow_gemini_batch.operators.base import GeminiBatchOperator, key_columns, renamed

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_gemini_batch.core.model_families import ModelFamily
    from airflow_gemini_batch.requests.sources import FileRows, QueryRows, RowSource, TableRows
    from airflow_gemini_batch.requests.spec import BuildPlan, BuildReport
    from airflow_gemini_batch.requests.templates import RequestTemplate

Rows = Iterable[Mapping[str, Any]]


class BuildRequestsOperator(GeminiBatchOperator):
    """Make one request of each row that needs an answer.

    The result (XCom) is a list of sources, one for each job, for
    ``SubmitGeminiBatchOperator.partial(…).expand(requests=build.output)``: a request file, a list of them, or a table.
    How many rows were read, asked, done already and left out is in the XCom ``report``.

    The names of files and tables are made from their content: building the same requests again gives the same files or
    tables, so that a cleared run takes the jobs that it has paid for.

    :param source: a ``bq://`` table, a query (``SELECT …``), files (CSV, JSON Lines or Parquet; ``gs://`` or local
        paths, patterns too), or rows: an iterable of dicts, or a function that returns one.
    :param key: the column, or columns, that tell the rows apart.
    :param model: plain or resource name of the model that will be asked; a row asked of another one is a new row.
    :param requests: where the requests go: a ``bq://`` dataset for rows in BigQuery (the tables expire by
        themselves), or a ``gs://`` folder for files and iterables, and for models that read files only: BigQuery
        exports the requests to there. By default beside the target, or in the source table's dataset.
    :param target: the enriched table, or file, that results land in.
    :param incremental: leave out the rows that are in the target already, asked the same of the same model. Without
        a target, all rows are asked.
    :param on_bad_rows: rows that can't become requests (key NULL or repeated, empty prompt, unusable media) ``fail``
        the task with their keys, or ``drop`` them: they are counted and left out.
    :param on_empty: without anything to ask, ``skip`` this task and what follows, or ``succeed`` with no files.
    :param max_cost_usd: fail when the estimated cost is higher. The estimate is printed in any case.
    :param shard_rows: most requests of one job; by default as many as Vertex AI takes.
    :param destination: former name of ``requests``.
    :param skip_done: former name of ``target``.
    """

    template_fields: Sequence[str] = (
        *GeminiBatchOperator.template_fields,
        "source",
        "key",
        "model",
        "requests",
        "target",
        "max_cost_usd",
    )

    def __init__(
        self,
        *,
        source: str | Sequence[str] | Rows | Callable[[], Rows],
        key: str | Sequence[str],
        model: str,
        requests: str | None = None,
        target: str | None = None,
        incremental: bool = True,
        on_bad_rows: Literal["fail", "drop"] = "fail",
        on_empty: Literal["skip", "succeed"] = "skip",
        max_cost_usd: float | str | None = None,
        shard_rows: int | None = None,
        destination: str | None = None,
        skip_done: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.key = key
        self.model = model
        self.requests = renamed("requests", requests, "destination", destination)
        self.target = renamed("target", target, "skip_done", skip_done)
        self.incremental = incremental
        self.on_bad_rows = on_bad_rows
        self.on_empty = on_empty
        self.max_cost_usd = max_cost_usd
        self.shard_rows = shard_rows
        if callable(source) or isinstance(source, Iterator):
            # Airflow would call the function itself, with arguments for templates.
            self.template_fields = [name for name in self.template_fields if name != "source"]

    @abstractmethod
    def _family(self) -> ModelFamily:
        """Return the model's family; raises :class:`ValueError` for a model of another kind."""

    @abstractmethod
    def _template(self) -> RequestTemplate:
        """Return the template of one request; raises :class:`ValueError` for parameters that give none."""

    def _answer_parameters(self) -> Mapping[str, str]:
        """Return the job's parameters that change its answers; raises :class:`ValueError` for those that can't be."""
        return {}

    def _fixed_characters(self) -> int:
        """Return how many characters each request holds besides its rendered prompt."""
        return 0

    def _max_output_tokens(self) -> int | None:
        """Return the most tokens of one answer, ``None`` when that is open."""
        return None

    def execute(self, context: Context) -> list[str | Sequence[str]]:
        """Build, tell what it will cost, and return where the requests are."""
        with fail_without_retry():
            plan = self._plan()
            report = self._build(plan)
            self.log.info("%s", report)
            told = report.to_json()
            if report.requests:
                told["estimate"] = self._estimate(plan, report)
            context["ti"].xcom_push(key="report", value=told)
            if not report.requests and self.on_empty == "skip":
                raise AirflowSkipException("There is nothing to ask: no new rows")
            for source in report.sources:
                self.log.info("Requests: %s", source)
            return list(report.sources)

    def _plan(self) -> BuildPlan:
        from airflow_gemini_batch.core.models import model_resource_name
        from airflow_gemini_batch.requests.spec import BuildPlan

        for name, value, allowed in (
            ("on_bad_rows", self.on_bad_rows, ("fail", "drop")),
            ("on_empty", self.on_empty, ("skip", "succeed")),
        ):
            if value not in allowed:
                raise InvalidRequestError(
                    f"{name} has to be {' or '.join(map(repr, allowed))}, got {value!r}"
                )
        if self.shard_rows is not None and not (isinstance(self.shard_rows, int) and self.shard_rows > 0):
            raise InvalidRequestError(f"shard_rows has to be 1 or more, got {self.shard_rows!r}")
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
                shard_rows=min(self.shard_rows or family.max_rows, family.max_rows),
            )

    def _row_source(self) -> RowSource | Rows | Callable[[], Rows]:
        """Return where the rows come from: what an address says, or the rows themselves as they were given."""
        from airflow_gemini_batch.requests.sources import parse_row_source

        if not _is_address(self.source):
            return self.source  # type: ignore[return-value]
        with as_invalid_request():
            return parse_row_source(self.source)

    def _build(self, plan: BuildPlan) -> BuildReport:
        from airflow_gemini_batch.requests.sources import QueryRows, TableRows

        source = self._row_source()
        if isinstance(source, (TableRows, QueryRows)):
            return self._build_tables(plan, source)
        return self._build_files(plan, source() if callable(source) else source)

    def _build_tables(self, plan: BuildPlan, source: TableRows | QueryRows) -> BuildReport:
        from airflow_gemini_batch.requests.bigquery.exports import ExportBuild
        from airflow_gemini_batch.requests.bigquery.tables import TableBuild
        from airflow_gemini_batch.requests.destinations import request_dataset, request_folder

        if not plan.family.takes_tables:
            with as_invalid_request():
                folder = request_folder(self.requests, plan.target)
            export = ExportBuild(self.hook.bigquery_client, self.hook.storage_client, self.log)
            return export.run(plan, source, folder)
        with as_invalid_request():
            dataset = request_dataset(self.requests, plan.target, source)
        return TableBuild(self.hook.bigquery_client, self.log).run(plan, source, dataset)

    def _build_files(self, plan: BuildPlan, source: FileRows | Rows) -> BuildReport:
        from airflow_gemini_batch.core.addresses import BigQueryAddress, parse_address
        from airflow_gemini_batch.requests.bigquery.done import read_done
        from airflow_gemini_batch.requests.destinations import request_folder
        from airflow_gemini_batch.requests.files.builder import build_files
        from airflow_gemini_batch.requests.files.rows import python_rows, read_rows
        from airflow_gemini_batch.requests.sources import FileRows

        with as_invalid_request():
            folder = request_folder(self.requests, plan.target)
            done_table = (
                parse_address(plan.done_target) if plan.done_target and "://" in plan.done_target else None
            )
        client = self.hook.storage_client
        if isinstance(source, FileRows):
            rows = read_rows(source, (*plan.key, *plan.template.columns), client)
        else:
            rows = python_rows(source)
        done = None
        if isinstance(done_table, BigQueryAddress):
            done = read_done(self.hook.bigquery_client, done_table, plan.key)
        return build_files(plan, rows, folder, client, self.log, done=done)

    def _estimate(self, plan: BuildPlan, report: BuildReport) -> dict[str, Any]:
        from airflow_gemini_batch.core.models import short_model_name
        from airflow_gemini_batch.costs.estimate import check_ceiling, estimate
        from airflow_gemini_batch.hooks.prices import ceiling_of, price_table

        found = estimate(
            short_model_name(plan.model),
            price_table(),
            rows=report.requests,
            prompt_characters=report.prompt_characters + report.requests * self._fixed_characters(),
            media=report.media,
            max_output_tokens=self._max_output_tokens(),
            embeddings=plan.family.embeds,
        )
        self.log.info("%s", found)
        if warning := check_ceiling(found, ceiling_of(self.max_cost_usd)):
            self.log.warning("%s", warning)
        return found.to_json()


def _is_address(source: Any) -> TypeGuard[str | Sequence[str]]:
    # An empty list is one of no rows; what mapped tasks have returned is a sequence, and no list.
    return isinstance(source, str) or (
        isinstance(source, Sequence) and len(source) > 0 and all(isinstance(one, str) for one in source)
    )
