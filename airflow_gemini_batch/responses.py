"""Reading the answers of a batch job in Python, one by one, by key."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from airflow_gemini_batch.core.defaults import DEFAULT_CONNECTION
from airflow_gemini_batch.core.log import ShownLog
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError
from airflow_gemini_batch.outputs.classify import Outcome

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
    from airflow_gemini_batch.jobs.manifest import Manifest, Round
    from airflow_gemini_batch.outputs.matching import AnswerIdentity

_log = ShownLog(logging.getLogger(__name__))

_ROWS = "gemini_batch_rows"
_ASKED = "gemini_batch_asked"


# As many rows are judged at a time, or fewer that are long.
_MOST_ROWS = 1000


class _Row(NamedTuple):
    """An output row.

    :param cells: as text, by their columns: ``label``, ``digest`` and ``bare_key`` of
        :class:`airflow_gemini_batch.outputs.matching.AnswerIdentity`, ``status``, ``error`` and ``answer`` as JSON, and
        ``time``, when it came.
    """

    cells: Mapping[str, str | None]
    response: Mapping[str, Any]


def _decoder_of(response_schema: Any) -> Callable[[str], Any]:
    """Return what makes a value of an answer's JSON; it raises :class:`ValueError` for one that a class refuses."""
    from airflow_gemini_batch.core.plain import plain

    if isinstance(plain(response_schema), Mapping | None):
        return orjson.loads
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(response_schema)

    def decode(text: str) -> Any:
        try:
            return adapter.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the answer"
            raise ValueError(f"{place}: {first['msg']}") from None

    return decode


class _Failure(NamedTuple):
    round: int
    time: str | None
    response: Response


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for one request.

    :param key: the key of the request; of several columns, a JSON list of their texts.
    :param text: the answer, without the model's thoughts; empty when there is none.
    :param value: what the JSON in the text holds, when a schema was given and the outcome is ok: an object of the
        class that was given, such as a Pydantic model or a dataclass, or else what ``json.loads`` makes of it.
    :param message: why the outcome is not ok.
    :param response: the ``GenerateContentResponse``; empty when there is none.
    """

    key: str
    outcome: Outcome
    text: str = ""
    value: Any = None
    message: str = ""
    response: Mapping[str, Any] = field(default_factory=dict, repr=False)


def iter_responses(
    manifest: Mapping[str, Any] | Iterable[Mapping[str, Any]],
    *,
    response_schema: Any = None,
    only_ok: bool = False,
    gcp_conn_id: str = DEFAULT_CONNECTION,
    project_id: str | None = None,
    impersonation_chain: str | Sequence[str] | None = None,
) -> Iterator[Response]:
    """Yield what came back for the requests of a submit task, in no particular order, reading as it goes.

    Each request is yielded once, whether its job or a follow-up has answered it: with a good answer if there is one,
    else with the failure of the latest round. Requests that came back in no row are not yielded; the manifest counts
    them.

    :param manifest: the result of the task, or the results of all its mapped instances.
    :param response_schema: as given to the task; answers that do not fit are ``invalid``, and the others have a
        ``value``. Those that a validator of a given class refuses are ``invalid``, too.
    :param only_ok: leave out the rows without a usable answer.
    :param gcp_conn_id: the Airflow connection to read with.
    :param project_id: project that pays for reading; by default the connection's.
    :param impersonation_chain: service account to impersonate, or a chain of them.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for what is not a manifest and for requests
    without a key, and :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` for answers that are gone.
    """
    from airflow_gemini_batch.core.response_schema import response_schema_of
    from airflow_gemini_batch.disk.private_folder import private_folder
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
    from airflow_gemini_batch.jobs.manifest import Manifest
    from airflow_gemini_batch.outputs.line_sql import database_of_lines

    try:
        read = list(map(Manifest.from_json, _given(manifest)))
        schema = response_schema_of(response_schema)
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None
    hook = GeminiBatchHook(gcp_conn_id, project_id=project_id, impersonation_chain=impersonation_chain)

    def responses() -> Iterator[Response]:
        with private_folder("responses") as folder:
            for one in read:
                with database_of_lines(folder) as database:
                    reader = _Reader(one, hook, database, schema, _decoder_of(response_schema))
                    yield from reader.responses()

    return (response for response in responses() if response.outcome.answered or not only_ok)


def _given(manifest: Any) -> list[Any]:
    """Return the manifests; anything else, such as a text, alone."""
    if not isinstance(manifest, Iterable) or isinstance(manifest, (str, bytes, Mapping)):
        return [manifest]
    if not (several := list(manifest)):
        raise ValueError(
            "manifest is empty: give the result of a submit task, or of all its mapped instances"
        )
    return several


class _Reader:
    """Reads the answers of a submission.

    Follow-up rounds are small, so the keys of their answers are remembered; those of the first round only if rows of it
    came twice, or answer several requests.
    """

    def __init__(
        self,
        manifest: Manifest,
        hook: GeminiBatchHook,
        database: DuckDBPyConnection,
        schema: Mapping[str, Any] | None,
        decode: Callable[[str], Any],
    ) -> None:
        self._manifest = manifest
        self._hook = hook
        self._database = database
        self._query = _judging_query(schema)
        self._decode = decode
        self._in_tables = any(round_.output.startswith("bq://") for round_ in manifest.rounds)
        self._has_requests = False

    def responses(self) -> Iterator[Response]:
        """Yield one response for each key, as :func:`airflow_gemini_batch.outputs.matching_sql.best_first` says.

        Of two good answers within a job the first one is taken.
        """
        answered: set[str] = set()
        failed: dict[str, list[_Failure]] = {}
        for number in reversed(range(len(self._manifest.rounds))):
            remembers = number > 0 or self._manifest.rounds[number].surplus.get("duplicate", 0) > 0
            for response, time, is_alone in self._judged(number):
                key = response.key
                if key in answered:
                    continue
                remembered = remembers or not is_alone or key in failed
                if response.outcome.answered:
                    if remembered:
                        answered.add(key)
                        failed.pop(key, None)
                    yield response
                elif remembered:
                    # A good row of the same key may follow.
                    failed.setdefault(key, []).append(_Failure(number, time, response))
                else:
                    yield response
        yield from map(self._first, failed.values())

    def _first(self, failures: Sequence[_Failure]) -> Response:
        """Return the failure that counts."""
        from airflow_gemini_batch.outputs.matching_sql import best_first

        if len(failures) == 1:
            return failures[0].response
        cells = [
            {"place": place, "outcome": one.response.outcome.value, "round": one.round, "time": one.time}
            for place, one in enumerate(failures)
        ]
        order = best_first("outcome", round_="round", time="TRY_CAST(time AS TIMESTAMPTZ)", ties="place")
        with self._registered(cells):
            query = f"SELECT place FROM {_ROWS} ORDER BY {order} LIMIT 1"
            places = self._database.execute(query).fetchall()
        return failures[int(places[0][0])].response

    def _judged(self, number: int) -> Iterator[tuple[Response, str | None, bool]]:
        """Yield the responses of a round, each with its time, and whether its row answers no other request."""
        from airflow_gemini_batch.core.keys import text_of_key
        from airflow_gemini_batch.sql.engine import room_for

        round_ = self._manifest.rounds[number]
        rows = _rows_of_table(round_, self._hook) if self._in_tables else _rows_of_files(round_, self._hook)
        while some := _some_of(rows):
            size = sum(map(_size_of, some))
            with (
                self._registered([{"place": place, **row.cells} for place, row in enumerate(some)]),
                room_for(self._database, size),
            ):
                judged = self._database.execute(self._query).fetchall()
                nameless = any(row.cells["label"] is None for row in some)
                found = self._keys_by_content() if nameless else {}
            for place, (row, cells) in enumerate(zip(some, judged, strict=True)):
                outcome, text, value, message = cells
                if value is not None:
                    try:
                        value = self._decode(value)
                    except ValueError as error:
                        outcome, value, message = Outcome.INVALID, None, str(error)
                label = row.cells["label"]
                keys = found.get(place, []) if label is None else [text_of_key(label)]
                for key in keys:
                    response = Response(key, Outcome(outcome), text, value, message, row.response)
                    yield response, row.cells["time"], len(keys) == 1

    @contextmanager
    def _registered(self, rows: Sequence[Mapping[str, Any]], name: str = _ROWS) -> Iterator[None]:
        """Give rows as a table of that name: places and rounds are numbers, all others texts."""
        import pyarrow as pa

        types = {"place": pa.int64(), "round": pa.int64()}
        schema = pa.schema([(column, types.get(column, pa.string())) for column in rows[0]])
        self._database.register(name, pa.Table.from_pylist(list(rows), schema))
        yield
        self._database.unregister(name)

    def _keys_by_content(self) -> Mapping[int, list[str]]:
        """Return the keys of the requests that the rows without a key belong to, by their places."""
        from airflow_gemini_batch.outputs.matching_sql import beside_requests

        if not self._has_requests:
            self._read_requests()
            self._has_requests = True
        asked = f"""(
  FROM {_ASKED}
  WHERE digest IN (SELECT digest FROM {_ROWS}) OR bare_key IN (SELECT bare_key FROM {_ROWS})
)"""
        nameless = f"SELECT *, 0 AS manifest FROM {_ROWS} WHERE label IS NULL"
        rows = self._database.execute(
            f"SELECT place, COALESCE(alone.key, same.key) FROM {beside_requests(nameless, asked, ['key'])}"
        )
        found: dict[int, list[str]] = {}
        for place, key in rows.fetchall():
            if key is not None:
                found.setdefault(place, []).append(key)
        return found

    def _read_requests(self) -> None:
        """Write what identifies the requests into a table."""
        from airflow_gemini_batch.landing.files.request_reader import RequestReader
        from airflow_gemini_batch.landing.files.spool import request_files

        self._database.execute(
            f"CREATE TEMP TABLE {_ASKED} "
            "(manifest BIGINT, label VARCHAR, digest VARCHAR, bare_key VARCHAR, key VARCHAR)"
        )
        reader = RequestReader(self._manifest.model, ("key",))
        storage = self._hook.store.files
        contents = map(reader.content, storage.lines(request_files(self._manifest, storage)))
        while some := list(islice(filter(None, contents), _MOST_ROWS)):
            columns = ("label", "digest", "bare_key", "key")
            rows = [dict(zip(columns, row, strict=True)) for row in some]
            with self._registered(rows, "gemini_batch_some"):
                self._database.execute(f"INSERT INTO {_ASKED} SELECT 0, * FROM gemini_batch_some")


def _some_of(rows: Iterator[_Row]) -> list[_Row]:
    from airflow_gemini_batch.sql.engine import JSON_BYTES

    some: list[_Row] = []
    left = JSON_BYTES
    for row in islice(rows, _MOST_ROWS):
        some.append(row)
        left -= _size_of(row)
        if left <= 0:
            break
    return some


def _size_of(row: _Row) -> int:
    # In bytes: a text in Japanese has three times as many of them as characters.
    return len((row.cells["answer"] or "").encode())


def _judging_query(schema: Mapping[str, Any] | None) -> str:
    """Return the query for outcome, text, value (JSON as text; NULL unless a schema is given) and message of rows."""
    from airflow_gemini_batch.landing.schema_check_sql import mismatch_expression, parsed_answer
    from airflow_gemini_batch.outputs.classify_sql import (
        SAMPLE_LENGTH,
        failure_message,
        outcome_case,
        read_answers,
    )
    from airflow_gemini_batch.outputs.line_sql import RAW_ERROR, RAW_STATUS
    from airflow_gemini_batch.sql.dialect import DUCKDB, Literals

    ok = f"outcome = '{Outcome.OK}'"
    failure = f"SUBSTR(COALESCE(NULLIF(status_text, ''), {failure_message(DUCKDB)}), 1, {SAMPLE_LENGTH})"
    value, mismatch = "NULL", "NULL"
    if schema:
        value = parsed_answer("answer_text", DUCKDB)
        mismatch = mismatch_expression(schema, "answer_text", "value", Literals(), DUCKDB)
    given = f"(SELECT place, status::JSON AS raw_status, error::JSON AS raw_error, answer::JSON AS answer FROM {_ROWS})"
    return f"""WITH {read_answers("place", given, RAW_STATUS, "answer", RAW_ERROR, DUCKDB)}
SELECT
  IF(mismatch IS NULL, outcome, '{Outcome.INVALID}'),
  answer_text,
  IF(mismatch IS NULL, value, NULL)::VARCHAR,
  IF({ok}, IFNULL(mismatch, ''), {failure})
FROM (
  SELECT *, IF({ok}, {mismatch}, NULL) AS mismatch
  FROM (
    SELECT *, IF({ok}, {value}, NULL) AS value
    FROM (SELECT *, {outcome_case(DUCKDB)} AS outcome FROM gemini_batch_told)
  )
)
ORDER BY place"""


def _row(identity: AnswerIdentity, row: Mapping[str, Any]) -> _Row:
    from airflow_gemini_batch.outputs.line_families import response_of

    response, time = response_of(row), row.get("processed_time")
    cells = {**identity._asdict(), "time": None if time is None else str(time)}
    for name, value in (("status", row.get("status")), ("error", row.get("error")), ("answer", response)):
        cells[name] = orjson.dumps(value, default=str).decode()
    return _Row(cells, response)


def _rows_of_files(round_: Round, hook: GeminiBatchHook) -> Iterator[_Row]:
    """Yield the rows of a round from its files."""
    from airflow_gemini_batch.core.jsonl import tolerant_object
    from airflow_gemini_batch.landing.files.spool import answer_files
    from airflow_gemini_batch.outputs.matching import answer_identity

    storage = hook.store.files
    unreadable = 0
    for line in storage.lines(answer_files(round_, storage)):
        if row := tolerant_object(line):
            yield _row(answer_identity(row), row)
        else:
            unreadable += row is None
    if unreadable:
        _log.warning("%d lines of the answers are not JSON objects and are left out", unreadable)


def _rows_of_table(round_: Round, hook: GeminiBatchHook) -> Iterator[_Row]:
    """Yield the rows of a round from its table; the key is what passes through it."""
    from airflow_gemini_batch.core.addresses import BigQueryAddress
    from airflow_gemini_batch.core.keys import key_text, sent_key
    from airflow_gemini_batch.outputs.classify import ERROR_COLUMN
    from airflow_gemini_batch.outputs.matching import AnswerIdentity
    from airflow_gemini_batch.requests.spec import RESERVED_COLUMNS

    tables = hook.store.tables
    table = tables.find(BigQueryAddress.parse(round_.output)) if round_.output else None
    if table is None:
        if round_.had_answers:
            raise OutputNotReadyError(
                f"the answers of the batch job {round_.job_name} are gone: there is no table {round_.output}. "
                "BigQuery restores a table for seven days (bq cp DATASET.TABLE@MILLISECONDS)"
            )
        return
    sources = (tables.find(BigQueryAddress.parse(source)) for source in round_.source)
    sent = {field.name for source in sources if source for field in source.schema}
    columns = [field.name for field in table.schema if field.name.lower() not in RESERVED_COLUMNS]
    told = ERROR_COLUMN in columns and ERROR_COLUMN not in sent
    if told:
        columns.remove(ERROR_COLUMN)
    if not columns:
        raise InvalidRequestError(f"{round_.output} has no column that could be the key of its answers")
    for row in map(dict, hook.bigquery_client.list_rows(table)):
        key = sent_key(key_text([row[name] for name in columns]))
        if not told:
            row.pop(ERROR_COLUMN, None)
        yield _row(AnswerIdentity(key, None), row)
