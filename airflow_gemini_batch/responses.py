"""Reading the answers of a batch job in Python, one by one, by key."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_gemini_batch.core.defaults import DEFAULT_CONNECTION
from airflow_gemini_batch.core.log import ShownLog
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError
from airflow_gemini_batch.outputs.classify import Outcome

if TYPE_CHECKING:
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
    from airflow_gemini_batch.jobs.manifest import Manifest, Round
    from airflow_gemini_batch.landing.schema_check import Check

_log = ShownLog(logging.getLogger(__name__))


class _Answer(NamedTuple):
    """An output row.

    :param time: when it came, as the row says; empty when it does not.
    :param error: as in :func:`airflow_gemini_batch.outputs.classify.classify_row`.
    """

    key: str
    status: Any
    response: Any
    time: str
    error: Any = None


_Held = dict[str, tuple[Any, "Response"]]
"""The best failure of each key so far, behind its rank."""


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for one request.

    :param key: the key of the request; of several columns, a JSON list of their texts.
    :param text: the answer, without the model's thoughts; empty when there is none.
    :param value: what the JSON in the text holds, when a schema was given and the outcome is ok.
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
        ``value``.
    :param only_ok: leave out the rows without a usable answer.
    :param gcp_conn_id: the Airflow connection to read with.
    :param project_id: project that pays for reading; by default the connection's.
    :param impersonation_chain: service account to impersonate, or a chain of them.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for what is not a manifest and for requests
    without a key, and :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` for answers that are gone.
    """
    from airflow_gemini_batch.core.response_schema import response_schema_of
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
    from airflow_gemini_batch.jobs.manifest import Manifest
    from airflow_gemini_batch.landing.schema_check import check_of

    try:
        read = list(map(Manifest.from_json, _given(manifest)))
        schema = response_schema_of(response_schema)
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None
    hook = GeminiBatchHook(gcp_conn_id, project_id=project_id, impersonation_chain=impersonation_chain)
    check = check_of(schema) if schema else None
    responses = chain.from_iterable(_one_of_each(one, hook, check) for one in read)
    return (response for response in responses if response.outcome.answered or not only_ok)


def _given(manifest: Any) -> list[Any]:
    """Return the manifests; anything else, such as a text, alone."""
    if not isinstance(manifest, Iterable) or isinstance(manifest, (str, bytes, Mapping)):
        return [manifest]
    if not (several := list(manifest)):
        raise ValueError(
            "manifest is empty: give the result of a submit task, or of all its mapped instances"
        )
    return several


def _one_of_each(manifest: Manifest, hook: GeminiBatchHook, check: Check | None) -> Iterator[Response]:
    """Yield one response for each key, as :func:`airflow_gemini_batch.outputs.matching.answer_rank` says.

    Of two good answers within a job the first one is taken. Follow-up rounds are small, so their keys are remembered;
    those of the first round only if rows of it came twice.
    """
    from airflow_gemini_batch.outputs.matching import answer_rank

    answers_of = (
        _answers_in_tables(manifest, hook) if _in_tables(manifest) else _answers_in_files(manifest, hook)
    )
    answered: set[str] = set()
    failed: _Held = {}
    for number in reversed(range(len(manifest.rounds))):
        remembers = number > 0 or manifest.rounds[number].surplus.get("duplicate", 0) > 0
        for answer in answers_of(number):
            if answer.key in answered:
                continue
            response = _response(answer, check)
            remembered = remembers or answer.key in failed
            if response.outcome.answered:
                if remembered:
                    answered.add(answer.key)
                    failed.pop(answer.key, None)
                yield response
            elif remembered:
                # A good row of the same key may follow.
                rank = answer_rank(response.outcome, number, _seconds(answer.time))
                if answer.key not in failed or rank < failed[answer.key][0]:
                    failed[answer.key] = rank, response
            else:
                yield response
    yield from (response for _, response in failed.values())


def _seconds(time: str) -> float:
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return 0.0


def _response(answer: _Answer, check: Check | None) -> Response:
    from airflow_gemini_batch.core.jsonl import tolerant_object
    from airflow_gemini_batch.landing.schema_check import answer_text, parse_answer
    from airflow_gemini_batch.outputs.classify import classify_row

    content = (
        tolerant_object(answer.response.encode()) if isinstance(answer.response, str) else answer.response
    )
    if not isinstance(content, Mapping):
        content = {}
    result = classify_row(answer.status, content, answer.error)
    text = answer_text(content)
    if result.outcome is not Outcome.OK or check is None:
        return Response(answer.key, result.outcome, text, None, result.message, content)
    value, mismatch = parse_answer(text, check)
    if mismatch:
        return Response(answer.key, Outcome.INVALID, text, None, mismatch, content)
    return Response(answer.key, Outcome.OK, text, value, "", content)


def _in_tables(manifest: Manifest) -> bool:
    return any(round_.output.startswith("bq://") for round_ in manifest.rounds)


def _answers_in_files(manifest: Manifest, hook: GeminiBatchHook) -> Callable[[int], Iterator[_Answer]]:
    """Return what reads the answers of a round from its files."""
    from airflow_gemini_batch.core.jsonl import tolerant_object
    from airflow_gemini_batch.landing.files.key_index import KeyIndex
    from airflow_gemini_batch.landing.files.spool import answer_files, request_files

    storage = hook.store.files
    keys = KeyIndex(lambda: storage.lines(request_files(manifest, storage)))

    def read(number: int) -> Iterator[_Answer]:
        unreadable = 0
        for line in storage.lines(answer_files(manifest.rounds[number], storage)):
            row = tolerant_object(line)
            if row is None:
                unreadable += 1
            elif (key := keys.key_of(row)) is not None:
                time, error = str(row.get("processed_time")), row.get("error")
                yield _Answer(key, row.get("status"), row.get("response"), time, error)
        if unreadable:
            _log.warning("%d lines of the answers are not JSON objects and are left out", unreadable)

    return read


def _answers_in_tables(manifest: Manifest, hook: GeminiBatchHook) -> Callable[[int], Iterator[_Answer]]:
    """Return what reads the answers of a round from its table; the key is what passes through it."""
    from airflow_gemini_batch.core.addresses import BigQueryAddress
    from airflow_gemini_batch.core.keys import key_text
    from airflow_gemini_batch.outputs.classify import ERROR_COLUMN
    from airflow_gemini_batch.requests.spec import RESERVED_COLUMNS

    def sent_columns(round_: Round) -> list[str]:
        sources = (hook.store.tables.find(BigQueryAddress.parse(source)) for source in round_.source)
        return [field.name for source in sources if source for field in source.schema]

    def read(number: int) -> Iterator[_Answer]:
        round_ = manifest.rounds[number]
        table = hook.store.tables.find(BigQueryAddress.parse(round_.output)) if round_.output else None
        if table is None:
            if round_.had_answers:
                raise OutputNotReadyError(
                    f"the answers of the batch job {round_.job_name} are gone: there is no table {round_.output}. "
                    "BigQuery restores a table for seven days (bq cp DATASET.TABLE@MILLISECONDS)"
                )
            return
        columns = [field.name for field in table.schema if field.name.lower() not in RESERVED_COLUMNS]
        told = ERROR_COLUMN in columns and ERROR_COLUMN not in sent_columns(round_)
        if told:
            columns.remove(ERROR_COLUMN)
        if not columns:
            raise InvalidRequestError(f"{round_.output} has no column that could be the key of its answers")
        for row in hook.bigquery_client.list_rows(table):
            key = key_text([row[name] for name in columns])
            error = row[ERROR_COLUMN] if told else None
            yield _Answer(key, row["status"], row["response"], str(row.get("processed_time")), error)

    return read
