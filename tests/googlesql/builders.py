"""The statements of every builder of the package, for one shape of rows and answers.

:data:`BUILDERS` names the functions of the package that write statements. ``test_statements.py`` finds those that are
not among them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from google.cloud.bigquery import SchemaField, Table

from airflow_gemini_batch.canary.rows import (
    answers_statement,
    canary_failures_statement,
    earlier_answers_statement,
    golden_statement,
)
from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN, QUESTION_COLUMN, TOKEN_COLUMNS
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, TEXT_EMBEDDING
from airflow_gemini_batch.core.response_schema import answer_columns
from airflow_gemini_batch.costs.earlier import earlier_usage_query
from airflow_gemini_batch.gcp.portions import StatementLimits
from airflow_gemini_batch.gcp.statements import Statement, script
from airflow_gemini_batch.jobs.manifest import Round
from airflow_gemini_batch.jobs.summaries import failed_rows_query
from airflow_gemini_batch.landing.bigquery.canary_sql import canary_staging_statement
from airflow_gemini_batch.landing.bigquery.collecting import staging_script
from airflow_gemini_batch.landing.bigquery.embedding_sql import (
    embedding_staging_statement,
    other_length_statement,
    shortened_statement,
)
from airflow_gemini_batch.landing.bigquery.inputs import AnswerTable, RequestTable
from airflow_gemini_batch.landing.bigquery.merge_sql import Bounds, Merge, count_statement
from airflow_gemini_batch.landing.bigquery.previous_sql import (
    Restoring,
    clone_statement,
    previous_rows_statement,
)
from airflow_gemini_batch.landing.bigquery.staging_sql import staging_statement, unfit_keys_statement
from airflow_gemini_batch.landing.bigquery.targets import prepare_statement
from airflow_gemini_batch.landing.failed_rows import failed_rows_statement
from airflow_gemini_batch.landing.plan import LandingPlan, failed_columns, staging_columns, target_columns
from airflow_gemini_batch.landing.summary import latest_failures_query
from airflow_gemini_batch.ledger.record import RunRecord
from airflow_gemini_batch.ledger.table import COLUMNS as LEDGER_COLUMNS
from airflow_gemini_batch.ledger.table import put_statement, records_statement
from airflow_gemini_batch.outputs.embeddings import embedding_columns
from airflow_gemini_batch.outputs.matching_sql import TableMatch
from airflow_gemini_batch.outputs.tally_sql import tally_statement
from airflow_gemini_batch.outputs.usage_sql import usage_statement
from airflow_gemini_batch.requests.bigquery.build_sql import (
    NOTHING_KNOWN,
    RequestRows,
    any_of,
    asked_condition,
    collecting_statement,
    counting_statement,
    sorting_statements,
)
from airflow_gemini_batch.requests.bigquery.write_sql import Sharding, build_statement, export_statement
from airflow_gemini_batch.requests.done import done_query, landed_jobs_query
from airflow_gemini_batch.requests.failed import failed_query
from tests.googlesql.analyzer import Case
from tests.googlesql.catalogs import Columns, parameter_types
from tests.requests.plans import gemini_embedding_plan, plan, text_embedding_plan

_LOG = logging.getLogger(__name__)
TIME = "2026-11-22T08:00:00+00:00"
ONE_JOB, SOME_JOBS, MANY_JOBS = Sharding(1, 10), Sharding(25, 10), Sharding(250, 100, numbered_up_to=100)


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows and answers, and what is done with them.

    :param key: types of the key columns by name.
    :param texts: types of further columns, of which the prompt is made.
    :param media: columns with addresses of files.
    :param others: columns that nothing is made of.
    :param rows: of the source: ``table``, ``query`` or ``recursive``.
    :param done: how many tables hold rows that are done.
    :param embeds: whether the model is one for text embeddings.
    :param schema: of the answers; none for text.
    :param vector: name of the column of vectors.
    :param tables: names of source and target.
    :param submissions: how many of them are landed together.
    :param response: type of the answers' column.
    :param plain: the output has neither keys nor times that could be left out, and the target no bookkeeping.
    """

    key: Mapping[str, str] = field(default_factory=lambda: {"isbn": "STRING"})
    texts: Mapping[str, str] = field(default_factory=lambda: {"title": "STRING"})
    media: Sequence[str] = ()
    others: Mapping[str, str] = field(default_factory=dict)
    rows: str = "table"
    done: int = 1
    sharding: Sharding = ONE_JOB
    embeds: bool = False
    schema: Mapping[str, Any] | None = None
    text_column: str = "answer"
    vector: str = "embedding"
    dimensions: int | None = None
    tables: tuple[str, str] = ("books", "enriched")
    submissions: int = 1
    response: str = "JSON"
    plain: bool = False

    @property
    def source(self) -> BigQueryAddress:
        return BigQueryAddress("demo-project", "shop", self.tables[0])

    @property
    def target(self) -> BigQueryAddress:
        return BigQueryAddress("demo-project", "results", self.tables[1])

    @property
    def failed(self) -> BigQueryAddress:
        return self.target.with_table(f"{self.tables[1]}__failed")

    @property
    def staging(self) -> BigQueryAddress:
        return self.target.with_table(f"{self.tables[1]}__landing_1")

    @property
    def sorted(self) -> str:
        """The table of sorted rows, as it stands in a statement."""
        return self.source.with_table("sorted_1").sql

    @property
    def source_columns(self) -> dict[str, str]:
        return {**self.others, **self.key, **self.texts, **dict.fromkeys(self.media, "STRING")}

    @property
    def landing(self) -> LandingPlan:
        keys = tuple(self.key)
        if self.embeds:
            columns = embedding_columns(self.vector)
            return LandingPlan(
                keys,
                columns,
                bookkeeping=not self.plain,
                family=TEXT_EMBEDDING,
                dimensions=self.dimensions,
            )
        columns = answer_columns(self.schema, self.text_column)
        return LandingPlan(keys, columns, self.schema, bookkeeping=not self.plain)

    @property
    def landed_columns(self) -> dict[str, str]:
        """The columns of a target, which may have more of them."""
        return {**self.others, **target_columns(self.landing, self.key)}

    @property
    def request_rows(self) -> RequestRows:
        # A placeholder can't name a column with a bar.
        columns = (name for name in (*self.texts, *self.key) if "|" not in name)
        prompt = " ".join(f"[[ {name} | none ]]" for name in columns)
        if self.embeds:
            build = text_embedding_plan(
                prompt, key=tuple(self.key), task_type="RETRIEVAL_DOCUMENT", title=prompt
            )
        else:
            kinds = [None, "image/png"]
            media = {name: kinds[number % 2] for number, name in enumerate(self.media)}
            request = {"media": media, "media_prefixes": ["gs://shop/"], "system_instruction": "it's \\ `"}
            build = plan(prompt, key=tuple(self.key), request=request)
        done = [
            done_query(address, table_of(address, self.done_columns), tuple(self.key))
            for address in (self.target, self.target.with_table("under_way"))[: self.done]
        ]
        known = [*done, self.failed_query] if self.done else []
        return RequestRows(
            build,
            self.query,
            {name: kind.partition("<")[0] for name, kind in self.source_columns.items()},
            any_of(known),
            given={} if self.rows == "table" else {"day": "x", "numbers": [1, 2]},
        )

    @property
    def failed_query(self) -> str:
        """The query for the rows that have failed for good."""
        some = plan(key=tuple(self.key), ask_failed_again=1)
        query = failed_query(some, self.failed, table_of(self.failed, self.failed_columns), _LOG)
        return query or NOTHING_KNOWN

    @property
    def failed_columns(self) -> dict[str, str]:
        """The columns of a table of failures, which may have more of them."""
        return {**self.others, **failed_columns(self.landing, self.key)}

    @property
    def done_columns(self) -> dict[str, str]:
        return {**self.others, **self.key, FINGERPRINT_COLUMN: "STRING"}

    @property
    def query(self) -> str:
        given = "'' != @day AND 1 IN UNNEST(@numbers)"
        if self.rows == "table":
            return f"SELECT * FROM {self.source.sql}"
        if self.rows == "query":
            return f"WITH source_rows AS (SELECT * FROM {self.source.sql}) SELECT * FROM source_rows WHERE {given} -- ;"
        return (
            "WITH RECURSIVE filled AS (SELECT 1 AS nth UNION ALL SELECT nth + 1 FROM filled WHERE nth < 3) "
            f"SELECT source.* FROM {self.source.sql} AS source CROSS JOIN filled WHERE {given} -- ;"
        )


def table_of(address: BigQueryAddress, columns: Columns) -> Table:
    """Return a table as the client library knows it."""
    fields = [
        SchemaField(name, kind.removeprefix("ARRAY<").removesuffix(">"), "REPEATED")
        if kind.startswith("ARRAY<")
        else SchemaField(name, kind)
        for name, kind in columns.items()
    ]
    return Table(address.dotted, fields)


def _case(statement: Statement | str, tables: Mapping[BigQueryAddress, Columns]) -> Case:
    if isinstance(statement, str):
        statement = Statement(statement)
    named = {address.dotted: columns for address, columns in tables.items()}
    return Case(statement.sql, named, parameter_types(statement.job_config().to_api_repr()))


def _source_tables(shape: Shape) -> dict[BigQueryAddress, Columns]:
    addresses = (shape.target, shape.target.with_table("under_way"))[: shape.done]
    failed = {shape.failed: shape.failed_columns} if shape.done else {}
    return {shape.source: shape.source_columns, **dict.fromkeys(addresses, shape.done_columns), **failed}


def _sorting(shape: Shape) -> Iterator[Case]:
    for temporary, table in ((False, shape.sorted), (True, "sorted_1")):
        statements = sorting_statements(shape.request_rows, table, temporary=temporary)
        yield _case(script(*statements), _source_tables(shape))


def _counting(shape: Shape) -> Iterator[Case]:
    rows = shape.request_rows
    statement = counting_statement(shape.sorted, asked_condition(rows.plan, None))
    yield _after_sorting(rows, sorting_statements(rows, shape.sorted)[:-1], statement, shape)


def _after_sorting(rows: RequestRows, first: Sequence[Statement], statement: Statement, shape: Shape) -> Case:
    """Return the case of a statement over sorted rows, after those that sort them."""
    sql = ";\n".join(one.sql for one in (*first, statement))
    parameters = {name: value for one in (*first, statement) for name, value in one.parameters.items()}
    return _case(Statement(sql, parameters, rows.given), _source_tables(shape))


def _build(shape: Shape) -> Iterator[Case]:
    tables = {n: shape.source.with_table(f"requests_{n}") for n in range(shape.sharding.count)}
    rows = shape.request_rows
    asked = rows.sorted_in(shape.sorted, asked_condition(rows.plan, None))
    statement = build_statement(asked, tables, shape.sharding, replace=[tables[0]])
    yield _after_sorting(rows, sorting_statements(rows, shape.sorted), statement, shape)


def _export(shape: Shape) -> Iterator[Case]:
    patterns = [GcsAddress("b", f"it's {n}-*.jsonl") for n in range(shape.sharding.count)]
    if not shape.embeds:
        rows = _files_only(shape)
        sorting = sorting_statements(rows, "sorted_1", temporary=True)
        asked = rows.sorted_in("sorted_1", asked_condition(rows.plan, None))
        statement = export_statement(asked, patterns, shape.sharding)
        yield _after_sorting(rows, sorting, statement, shape)


def _files_only(shape: Shape) -> RequestRows:
    rows = shape.request_rows
    prompt = " ".join(f"[[ {name} ]]" for name in rows.plan.template.columns)
    embedding = gemini_embedding_plan(prompt, output_dimensionality=256)
    return replace(rows, plan=replace(embedding, key=rows.plan.key))


def _done(shape: Shape) -> Iterator[Case]:
    table = table_of(shape.target, shape.done_columns)
    yield _case(done_query(shape.target, table, tuple(shape.key)), {shape.target: shape.done_columns})


def _failed(shape: Shape) -> Iterator[Case]:
    yield _case(shape.failed_query, {shape.failed: shape.failed_columns})


def _collected_marks(shape: Shape) -> Iterator[Case]:
    query = done_query(shape.target, table_of(shape.target, shape.done_columns), tuple(shape.key))
    tables = {shape.target: shape.done_columns, shape.failed: shape.failed_columns}
    yield _case(collecting_statement([query, shape.failed_query], shape.staging), tables)


def _landed_jobs(shape: Shape) -> Iterator[Case]:
    if not shape.plain:
        yield _case(landed_jobs_query(shape.target), {shape.target: shape.landed_columns})


def _earlier_usage(shape: Shape) -> Iterator[Case]:
    columns = shape.landed_columns
    if not shape.embeds and (counted := [name for name in TOKEN_COLUMNS if name in columns]):
        yield _case(earlier_usage_query(shape.target, counted), {shape.target: columns})


def _request_columns(shape: Shape) -> dict[str, str]:
    read = {"content": "STRING", "title": "STRING"} if shape.embeds else {"request": "STRING"}
    return {**shape.key, **read, **({} if shape.plain else {FINGERPRINT_COLUMN: "STRING"})}


def _output_columns(shape: Shape) -> dict[str, str]:
    if shape.embeds:
        return {"content": "STRING", "predictions": shape.response, "status": "STRING"}
    time = {} if shape.plain else {"processed_time": "TIMESTAMP"}
    return {**_request_columns(shape), "response": shape.response, "status": "STRING", **time}


def _requests(shape: Shape) -> dict[BigQueryAddress, Columns]:
    return {
        shape.source.with_table(f"requests_{n}"): _request_columns(shape) for n in range(shape.submissions)
    }


def _outputs(shape: Shape) -> dict[BigQueryAddress, Columns]:
    # Each submission but the last has had a follow-up; of none, nothing came back.
    names = [f"output_{n}_{round_}" for n in range(shape.submissions) for round_ in range(2 - (n > 0))]
    return (
        {shape.source.with_table(name): _output_columns(shape) for name in names} if shape.submissions else {}
    )


def _staging_of(statement: Callable[..., Statement]) -> Callable[[Shape], Iterator[Case]]:
    def cases(shape: Shape) -> Iterator[Case]:
        if shape.embeds is (statement is embedding_staging_statement):
            requests = [
                RequestTable(address, columns, TIME, "jobs/'1'", 1, "s")
                for address, columns in _requests(shape).items()
            ]
            answers = [
                AnswerTable(address, columns, TIME, "jobs/'1'", 0, "s", "m")
                for address, columns in _outputs(shape).items()
            ]
            # Of a job that failed nothing came back.
            for some in (answers, []) if shape.plain else (answers,):
                tables = {**_requests(shape), **(_outputs(shape) if some else {})}
                yield _case(statement(shape.landing, shape.staging, requests, some), tables)
            if shape.submissions > 1:
                yield from _collected(shape, requests, answers)

    return cases


def _collected(
    shape: Shape, requests: Sequence[RequestTable], answers: Sequence[AnswerTable]
) -> Iterator[Case]:
    """Yield the statements that collect the rows of many jobs, and the one that reads what they have collected."""
    script = staging_script(shape.landing, shape.staging, requests, answers, StatementLimits(tables=2))
    tables = {**_requests(shape), **_outputs(shape)}
    parameters = {name: value for one in script.statements for name, value in one.parameters.items()}
    yield _case(Statement(";\n".join(one.sql for one in script.statements), parameters), tables)


def _staged(shape: Shape) -> dict[BigQueryAddress, Columns]:
    return {shape.staging: staging_columns(shape.landing, shape.key)}


def _unfit_keys(shape: Shape) -> Iterator[Case]:
    yield _case(unfit_keys_statement(tuple(shape.key), shape.key, shape.staging), _staged(shape))


def _counts(shape: Shape) -> Iterator[Case]:
    yield _case(count_statement(shape.staging, 3), _staged(shape))


def _shortened(shape: Shape) -> Iterator[Case]:
    if shape.embeds:
        yield _case(shortened_statement(shape.staging), _staged(shape))


def _other_length(shape: Shape) -> Iterator[Case]:
    if shape.embeds:
        tables = {**_staged(shape), shape.target: shape.landed_columns}
        yield _case(other_length_statement(shape.staging, shape.target), tables)


def _merge(statement: Callable[[Merge], Statement]) -> Callable[[Shape], Iterator[Case]]:
    def cases(shape: Shape) -> Iterator[Case]:
        tables = {**_staged(shape), shape.target: shape.landed_columns, shape.failed: shape.failed_columns}
        # The target has partitions by the last column of the key, or none.
        for bounds in (None, Bounds(list(shape.key)[-1], "", "z")):
            merge = Merge(
                shape.landing, shape.key, shape.staging, shape.target, shape.failed, shape.embeds, bounds
            )
            yield _case(statement(merge), tables)

    return cases


def _clone(shape: Shape) -> Iterator[Case]:
    statement = clone_statement(shape.target, _copy_of(shape), timedelta(days=30))
    yield _case(statement, {shape.target: shape.landed_columns})


def _copy_of(shape: Shape) -> BigQueryAddress:
    return shape.target.with_table(f"{shape.target.table}__before_1a2b3c4d")


def _previous_rows(shape: Shape) -> Iterator[Case]:
    for has_question in {False, not shape.plain}:
        statement = previous_rows_statement(shape.target, "1a2b3c4d00000000", has_question=has_question)
        yield _case(statement, {shape.target: shape.landed_columns})


def _restoring(statement: Callable[[Restoring], Statement]) -> Callable[[Shape], Iterator[Case]]:
    def cases(shape: Shape) -> Iterator[Case]:
        columns = shape.landed_columns
        if QUESTION_COLUMN not in columns:
            return
        former = {**shape.others, **shape.key}
        for undo, removes, copied in (
            (False, False, former),
            (False, True, columns),
            (True, False, columns),
        ):
            restoring = Restoring(
                shape.target,
                _copy_of(shape),
                tuple(shape.key),
                columns,
                frozenset(copied),
                "1a2b3c4d",
                datetime.fromisoformat(TIME),
                undo,
                removes,
            )
            yield _case(statement(restoring), {shape.target: columns, _copy_of(shape): copied})

    return cases


def _prepare(shape: Shape) -> Iterator[Case]:
    for address, columns in (
        (shape.target, target_columns(shape.landing, shape.key)),
        (shape.failed, failed_columns(shape.landing, shape.key)),
    ):
        if made := prepare_statement(address, None, columns):
            yield _case(made, {})
        if widened := prepare_statement(address, table_of(address, shape.key), columns):
            yield _case(widened, {address: shape.key})


def _failed_rows(shape: Shape) -> Iterator[Case]:
    table = table_of(shape.failed, shape.failed_columns)
    statement = failed_rows_statement(shape.failed, table, tuple(shape.key), ["jobs/'1'", "jobs/2"])
    yield _case(statement, {shape.failed: shape.failed_columns})


def _latest_failures(shape: Shape) -> Iterator[Case]:
    yield _case(latest_failures_query(str(shape.failed)), {shape.failed: shape.failed_columns})


def _canary_answers(shape: Shape) -> Iterator[Case]:
    columns = {**shape.landed_columns, QUESTION_COLUMN: "STRING"}
    statement = answers_statement(shape.target, _types(columns), tuple(shape.key), _answers(shape), "it's 1")
    yield _case(statement, {shape.target: columns})


def _earlier_answers(shape: Shape) -> Iterator[Case]:
    canary = shape.target.with_table(f"{shape.target.table}__canary")
    asked = {**shape.landed_columns, QUESTION_COLUMN: "STRING"}
    without = {name: kind for name, kind in asked.items() if name != QUESTION_COLUMN}
    for columns in (asked, without):
        statement = earlier_answers_statement(
            shape.target, _types(columns), tuple(shape.key), _answers(shape), "1", canary, _types(asked)
        )
        yield _case(statement, {shape.target: columns, canary: asked})


def _canary_failures(shape: Shape) -> Iterator[Case]:
    for more in ({}, {QUESTION_COLUMN: "STRING"}):
        columns = {**shape.failed_columns, **more}
        statement = canary_failures_statement(shape.failed, _types(columns), tuple(shape.key), "1")
        yield _case(statement, {shape.failed: columns})


def _canary_staging(shape: Shape) -> Iterator[Case]:
    canary = shape.target.with_table(f"{shape.target.table}__canary")
    plan = replace(shape.landing, bookkeeping=True)
    whole = {**shape.others, **target_columns(plan, shape.key)}
    # One that an earlier release has landed.
    without = {name: kind for name, kind in whole.items() if name != FINGERPRINT_COLUMN}
    for columns in (whole, without):
        statement = canary_staging_statement(plan, shape.staging, canary, columns, "it's 1")
        yield _case(statement, {canary: columns})


def _golden(shape: Shape) -> Iterator[Case]:
    columns = {**shape.others, **target_columns(shape.landing, shape.key)}
    statement = golden_statement(shape.source, _types(columns), tuple(shape.key), _answers(shape))
    yield _case(statement, {shape.source: columns})


def _types(columns: Columns) -> dict[str, str]:
    return {name: kind.partition("<")[0] for name, kind in columns.items()}


def _answers(shape: Shape) -> list[str]:
    return [column.name for column in shape.landing.columns]


def _failed_answers(shape: Shape) -> Iterator[Case]:
    for output, columns in list(_outputs(shape).items())[:1]:
        family = TEXT_EMBEDDING if shape.embeds else GENERATE_CONTENT
        rounds = [Round("jobs/1", "JOB_STATE_SUCCEEDED", (), str(output), {})]
        yield _case(failed_rows_query(rounds, family), {output: columns})


def _tally(shape: Shape) -> Iterator[Case]:
    for output, columns in list(_outputs(shape).items())[:1]:
        family = TEXT_EMBEDDING if shape.embeds else GENERATE_CONTENT
        yield _case(tally_statement(output, family, columns), {output: columns})


def _usage(shape: Shape) -> Iterator[Case]:
    for output, columns in list(_outputs(shape).items())[:1]:
        yield _case(usage_statement(output, columns), {output: columns})


def _match(shape: Shape) -> tuple[TableMatch, dict[BigQueryAddress, Columns]]:
    # A table of requests that users have written holds further columns, and its output does too.
    (source, requested), *_ = _requests(shape).items()
    (output, answered), *_ = _outputs(shape).items()
    passed = {} if shape.embeds else shape.others
    tables = {source: {**shape.others, **requested}, output: {**passed, **answered}}
    family = TEXT_EMBEDDING if shape.embeds else GENERATE_CONTENT
    match = TableMatch.of(
        output, source, family, output_columns=tables[output], source_columns=list(tables[source])
    )
    return match, tables


def _match_statements(method: str, *arguments: str) -> Callable[[Shape], Iterator[Case]]:
    def cases(shape: Shape) -> Iterator[Case]:
        if shape.submissions:
            match, tables = _match(shape)
            if method != "mixed_statement" or match.others:
                addresses = [shape.source.with_table(name) for name in arguments]
                yield _case(getattr(match, method)(*addresses), tables)

    return cases


def own_columns(shape: Shape) -> set[str]:
    """Return the columns that tables have whose rows this package or the service writes."""
    return {
        name
        for one in (shape, replace(shape, embeds=not shape.embeds))
        for tables in ([one.landed_columns], [failed_columns(one.landing)], _staged(one).values())
        for columns in (*tables, _request_columns(one), _output_columns(one), {"task_type": ""})
        for name in columns
    }


def _ledger(statement: Callable[[BigQueryAddress], Statement]) -> Callable[[Shape], Iterator[Case]]:
    def cases(shape: Shape) -> Iterator[Case]:
        yield _case(statement(shape.target), {shape.target: LEDGER_COLUMNS})

    return cases


_RUN = RunRecord("1", "dag", "run", "bq://p.d.t", "model", datetime.fromisoformat(TIME))

OF_ROWS: dict[str, Callable[[Shape], Iterator[Case]]] = {
    "sorting_statements": _sorting,
    "counting_statement": _counting,
    "build_statement": _build,
    "export_statement": _export,
    "done_query": _done,
    "failed_query": _failed,
    "collecting_statement": _collected_marks,
}
"""Of the statements that make requests of rows."""

OF_ANSWERS: dict[str, Callable[[Shape], Iterator[Case]]] = {
    "landed_jobs_query": _landed_jobs,
    "earlier_usage_query": _earlier_usage,
    "staging_statement": _staging_of(staging_statement),
    "embedding_staging_statement": _staging_of(embedding_staging_statement),
    "unfit_keys_statement": _unfit_keys,
    "count_statement": _counts,
    "shortened_statement": _shortened,
    "other_length_statement": _other_length,
    "merge_statement": _merge(Merge.merge_statement),
    "Merge.checking_statement": _merge(
        lambda merge: merge.checking_statement(merge.bounds.column if merge.bounds else None)
    ),
    "clone_statement": _clone,
    "previous_rows_statement": _previous_rows,
    "Restoring.restored_rows_statement": _restoring(Restoring.restored_rows_statement),
    "Restoring.restore_statement": _restoring(Restoring.restore_statement),
    "prepare_statement": _prepare,
    "put_statement": _ledger(lambda table: put_statement(table, _RUN)),
    "records_statement": _ledger(lambda table: records_statement(table, _RUN.started, "1")),
    "failed_rows_statement": _failed_rows,
    "latest_failures_query": _latest_failures,
    "answers_statement": _canary_answers,
    "earlier_answers_statement": _earlier_answers,
    "canary_failures_statement": _canary_failures,
    "canary_staging_statement": _canary_staging,
    "golden_statement": _golden,
    "failed_rows_query": _failed_answers,
    "tally_statement": _tally,
    "usage_statement": _usage,
    "TableMatch.summary_statement": _match_statements("summary_statement"),
    "TableMatch.follow_up_statement": _match_statements("follow_up_statement", "rerun"),
    "TableMatch.mixed_statement": _match_statements("mixed_statement"),
}
"""Of the statements that read answers."""

BUILDERS = {**OF_ROWS, **OF_ANSWERS}


def cases_of(shape: Shape, builders: Iterable[str] = BUILDERS) -> Iterator[Case]:
    """Yield the statements of builders for a shape."""
    for name in builders:
        for case in BUILDERS[name](shape):
            yield replace(case, name=f"{name} of {shape}")
