"""The rows of a canary: its answers, its failures, the answers that are in the target, and golden rows.

A canary has some thousands of rows at most, so they are read into memory, and tables and files are compared alike.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.canary.settings import MOST_ROWS, canary_target_of
from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import QUESTION_COLUMN, TOKEN_COLUMNS, failed_target_of
from airflow_gemini_batch.core.keys import key_text as text_of_key
from airflow_gemini_batch.core.shown import listed, shown
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.gcp.tables import FILTER_HINT, Tables, check_readable_whole, without_filter
from airflow_gemini_batch.requests.bigquery.expressions import ROWS, key_text, quoted, text_of, types_of
from airflow_gemini_batch.requests.done import check_canary, check_key, landed_rows
from airflow_gemini_batch.requests.files.rows import read_rows
from airflow_gemini_batch.requests.sources import FileRows, parse_row_source

if TYPE_CHECKING:
    from google.cloud import bigquery, storage

_CALL_TIMEOUT = 60.0
_QUERY_TIMEOUT = 600.0

_MEASURED = ("batch_model", *TOKEN_COLUMNS)

RowsByKey = Mapping[str, Mapping[str, Any]]
"""Rows by their keys as text: values by column."""


@dataclass(frozen=True, slots=True)
class CanaryRows:
    """What is known of the rows of a canary.

    :param new: answers to the new question, with model and tokens.
    :param old: answers to other questions that the target holds, of the same keys.
    :param failed: the outcome of each row without an answer to the new question.
    :param golden: the right answers; ``None`` without any.
    """

    new: RowsByKey
    old: RowsByKey
    failed: Mapping[str, str] = field(default_factory=dict)
    golden: RowsByKey | None = None


@dataclass(frozen=True, slots=True)
class CanaryReader:
    """Reads the rows of a canary, out of tables and files.

    :param key: names of the key's columns.
    :param columns: names of the answer's columns.
    :param vector: the one of them that holds vectors, if one does.
    """

    key: Sequence[str]
    columns: Sequence[str]
    storage_client: Callable[[], storage.Client]
    bigquery_client: Callable[[], bigquery.Client]
    vector: str | None = None

    def read(
        self,
        question: str,
        target: str,
        *,
        canary_target: str | None = None,
        failed_target: str | None = None,
        golden: str | None = None,
    ) -> CanaryRows:
        """Return the rows of the canary of a question.

        :param question: id of the new question.
        :param target: the table or file whose rows hold the old answers.
        :param canary_target: where the canary has landed; by default ``<target>__canary``.
        :param failed_target: where its failures have landed; by default ``<target>__canary__failed``.
        :param golden: as in :class:`.Canary`.

        Raises :class:`.InvalidRequestError` for what can't be read or compared, and what the clients raise.
        """
        canary_target = canary_target or canary_target_of(target)
        failed_target = failed_target or failed_target_of(canary_target)
        new = self._new(canary_target, question)
        failed = {key: row for key, row in self._failures(failed_target, question) if key not in new}
        return CanaryRows(
            new,
            self._old(target, canary_target, question, new),
            failed,
            None if golden is None else self.golden(golden),
        )

    def golden(self, where: str) -> RowsByKey:
        """Return the golden rows.

        Raises :class:`.InvalidRequestError` for rows that can't be golden ones: too many, without a key, or with the
        same one, and without any column of the answer.
        """
        source = parse_row_source(where)
        rows = self._golden_file(where, source) if isinstance(source, FileRows) else self._golden_table(where)
        found: dict[str, Mapping[str, Any]] = {}
        for key, row in islice(rows, MOST_ROWS + 1):
            if key is None:
                raise InvalidRequestError(f"golden {where}: a row has no key ({', '.join(self.key)} is NULL)")
            if key in found:
                raise InvalidRequestError(f"golden {where}: the key {shown(key)} is there twice")
            found[key] = row
        if len(found) > MOST_ROWS:
            raise InvalidRequestError(
                f"golden {where} has more than {MOST_ROWS:,} rows, and each is asked. Give fewer of them"
            )
        return found

    def _new(self, where: str, question: str) -> RowsByKey:
        if where.startswith("bq://"):
            address = BigQueryAddress.parse(where)
            if (table := Tables(self.bigquery_client()).find(address)) is None:
                return {}
            types = types_of(table.schema)
            check_canary(where, types, self.key)
            statement = answers_statement(address, types, self.key, self._measured(types), question)
            return dict(self._keyed(self._run(statement, table.location), self._measured(types)))
        rows = self._file("canary", where, (*self.columns, *_MEASURED, QUESTION_COLUMN))
        return {key: row for key, row in rows if row.get(QUESTION_COLUMN) == question}

    def _old(self, where: str, canary: str, question: str, new: RowsByKey) -> RowsByKey:
        if not where.startswith("bq://"):
            return {
                key: row
                for key, row in self._file("target", where, (*self.columns, QUESTION_COLUMN), new.keys())
                if row.get(QUESTION_COLUMN) != question
            }
        address, client = BigQueryAddress.parse(where), self.bigquery_client()
        table = Tables(client).find(address)
        if table is None or not new:
            return {}
        check_readable_whole(table, f"target {where}", without_filter(address))
        types, columns = types_of(table.schema), self._present(types_of(table.schema))
        check_key(f"target {where}", types, self.key)
        landed = BigQueryAddress.parse(canary)
        statement = earlier_answers_statement(
            address, types, self.key, columns, question, landed, types_of(self._schema(client, landed))
        )
        return dict(self._keyed(self._run(statement, table.location), columns))

    def _failures(self, where: str, question: str) -> Iterator[tuple[str, str]]:
        if not where.startswith("bq://"):
            for key, row in self._file("failed_target", where, ("outcome", QUESTION_COLUMN)):
                if row.get(QUESTION_COLUMN) in (None, question):
                    yield key, str(row.get("outcome"))
            return
        address = BigQueryAddress.parse(where)
        table = Tables(self.bigquery_client()).find(address)
        if table is not None:
            statement = canary_failures_statement(address, types_of(table.schema), self.key, question)
            for row in self._run(statement, table.location):
                yield row["key_text"], row["outcome"]

    def _golden_table(self, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        address = BigQueryAddress.parse(where)
        table = Tables(self.bigquery_client()).find(address)
        if table is None:
            raise InvalidRequestError(f"golden {where}: there is no such table")
        check_readable_whole(table, f"golden {where}", FILTER_HINT)
        types = types_of(table.schema)
        columns = self._golden_columns(where, types)
        statement = golden_statement(address, types, self.key, columns)
        yield from self._keyed(self._run(statement, table.location), columns)

    def _golden_file(self, where: str, source: FileRows) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
        client = self.storage_client()
        try:
            present = read_rows(source, (), client).columns or ()
        except SourceNotReadyError as error:
            raise InvalidRequestError(f"golden: {error}") from None
        columns = self._golden_columns(where, present)
        for row in read_rows(source, (*self.key, *columns), client).rows:
            try:
                key = text_of_key([row.get(name) for name in self.key])
            except ValueError:
                key = None
            yield key, {name: self._kept(name, row.get(name)) for name in columns}

    def _golden_columns(self, where: str, present: Collection[str]) -> list[str]:
        check_key(f"golden {where}", present, self.key)
        columns = self._present(present)
        if self.columns and not columns:
            raise InvalidRequestError(
                f"golden {where} has none of the answer's columns, {listed(self.columns)}, so nothing can be checked. "
                f"Its columns are {listed(present)}"
            )
        return columns

    def _file(
        self, role: str, where: str, columns: Sequence[str], keys: Collection[str] | None = None
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield rows of a file that results have landed in, by key; nothing if there is no such file.

        :param keys: of the rows that are wanted; without any, all are.
        """
        found = landed_rows(role, where, (*self.key, *columns), self.storage_client())
        if found is None or found.columns is None:
            return
        check_key(f"{role} {where}", found.columns, self.key)
        if role == "canary":
            check_canary(where, found.columns, self.key)
        for row in found.rows:
            key = text_of_key([row.get(name) for name in self.key])
            if keys is None or key in keys:
                yield key, {name: self._kept(name, row.get(name)) for name in columns}

    def _measured(self, present: Collection[str]) -> list[str]:
        return [*self._present(present), *(name for name in _MEASURED if name in present)]

    def _present(self, present: Collection[str]) -> list[str]:
        return [name for name in self.columns if name in present]

    def _keyed(self, rows: Iterable[Any], columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for row in rows:
            values = {name: self._kept(name, row[f"field_{n}"]) for n, name in enumerate(columns)}
            yield row["key_text"], values

    def _kept(self, name: str, value: Any) -> Any:
        """Return a value; a vector without the objects of Python for each of its numbers."""
        return array("f", value) if name == self.vector and isinstance(value, list) else value

    def _run(self, statement: Statement, location: str | None) -> Iterable[Any]:
        rows: Iterable[Any] = self.bigquery_client().query_and_wait(
            statement.sql,
            job_config=statement.job_config(),
            location=location,
            api_timeout=_CALL_TIMEOUT,
            wait_timeout=_QUERY_TIMEOUT,
        )
        return rows

    @staticmethod
    def _schema(client: bigquery.Client, address: BigQueryAddress) -> Sequence[bigquery.SchemaField]:
        table = Tables(client).find(address)
        return table.schema if table else ()


def answers_statement(
    address: BigQueryAddress,
    types: Mapping[str, str],
    key: Sequence[str],
    columns: Sequence[str],
    question: str,
) -> Statement:
    """Return the statement for the rows that answer a question.

    Its columns are ``key_text``, STRING, and ``field_0``, ``field_1`` and so on.

    :param types: GoogleSQL's types of the table's columns.
    """
    parameters = Parameters()
    sql = _selected(address, types, key, columns, _answers(question, parameters))
    return Statement(sql, parameters.values)


def earlier_answers_statement(
    address: BigQueryAddress,
    types: Mapping[str, str],
    key: Sequence[str],
    columns: Sequence[str],
    question: str,
    canary: BigQueryAddress,
    canary_types: Mapping[str, str],
) -> Statement:
    """Return the statement for the answers to other questions, of the keys for which a canary has an answer.

    Its columns are those of :func:`answers_statement`.
    """
    parameters = Parameters()
    answered = _answers(question, parameters)
    keys = f"SELECT {key_text(key, canary_types, ROWS)} FROM {canary.sql} AS {ROWS} WHERE {answered}"
    conditions = [f"{key_text(key, types, ROWS)} IN ({keys})"]
    if QUESTION_COLUMN in types:
        conditions.append(f"IFNULL({ROWS}.{quoted(QUESTION_COLUMN)}, '') != {parameters.bind(question)}")
    return Statement(_selected(address, types, key, columns, *conditions), parameters.values)


def canary_failures_statement(
    address: BigQueryAddress, types: Mapping[str, str], key: Sequence[str], question: str
) -> Statement:
    """Return the statement for the rows without an answer: ``key_text`` and ``outcome``, both STRING.

    In a table of failures that names the questions, it gives those of one, and those that name none.
    """
    parameters, condition = Parameters(), "TRUE"
    if QUESTION_COLUMN in types:
        asked = parameters.bind(question)
        condition = f"IFNULL({ROWS}.{quoted(QUESTION_COLUMN)}, {asked}) = {asked}"
    sql = f"""SELECT {key_text(key, types, ROWS)} AS key_text, {ROWS}.outcome AS outcome
FROM {address.sql} AS {ROWS}
WHERE {condition}"""
    return Statement(sql, parameters.values)


def golden_keys(
    where: str,
    key: Sequence[str],
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
) -> frozenset[str]:
    """Return the keys, as texts, of golden rows; raises what :meth:`CanaryReader.golden` raises."""
    return frozenset(CanaryReader(key, (), storage_client, bigquery_client).golden(where))


def golden_statement(
    address: BigQueryAddress, types: Mapping[str, str], key: Sequence[str], columns: Sequence[str]
) -> Statement:
    """Return the statement for golden rows, with the columns of :func:`answers_statement`."""
    return Statement(f"{_selected(address, types, key, columns, 'TRUE')}\nLIMIT {MOST_ROWS + 1}")


def _selected(
    address: BigQueryAddress,
    types: Mapping[str, str],
    key: Sequence[str],
    columns: Sequence[str],
    *conditions: str,
) -> str:
    # JSON as text, since the client gives a value that is a text and one that is not in the same way.
    fields = [
        f"{text_of(name, 'JSON', ROWS) if types[name] == 'JSON' else f'{ROWS}.{quoted(name)}'} AS field_{n}"
        for n, name in enumerate(columns)
    ]
    return f"""SELECT {", ".join([f"{key_text(key, types, ROWS)} AS key_text", *fields])}
FROM {address.sql} AS {ROWS}
WHERE {" AND ".join(conditions)}"""


def _answers(question: str, parameters: Parameters) -> str:
    return f"{ROWS}.{quoted(QUESTION_COLUMN)} = {parameters.bind(question)}"
