"""Reading the answers of a batch job in Python, one by one, by key."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.defaults import DEFAULT_CONNECTION
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError
from airflow_gemini_batch.outputs.classify import Outcome

if TYPE_CHECKING:
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
    from airflow_gemini_batch.jobs.manifest import Manifest
    from airflow_gemini_batch.landing.schema_check import Check

_log = logging.getLogger(__name__)

Answer = tuple[str, Any, Any]
"""Key, status and response of an output row."""


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
    manifest: Mapping[str, Any],
    *,
    response_schema: Any = None,
    only_ok: bool = False,
    gcp_conn_id: str = DEFAULT_CONNECTION,
    project_id: str | None = None,
    impersonation_chain: str | Sequence[str] | None = None,
) -> Iterator[Response]:
    """Yield what came back for the requests of a submit task, in no order, reading as it goes.

    Of a request that was sent again, the last answer counts. Requests that came back in no row are not yielded; the
    manifest counts them.

    :param manifest: the result of the task.
    :param response_schema: as given to the task; answers that do not fit are ``invalid``, and the others have a
        ``value``.
    :param only_ok: leave out the rows without a usable answer.
    :param gcp_conn_id: the Airflow connection to read with.
    :param project_id: project that pays for reading; by default the connection's.
    :param impersonation_chain: service account to impersonate, or a chain of them.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for what is no manifest and for requests
    without a key, and :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` for answers that are gone.
    """
    from airflow_gemini_batch.core.response_schema import response_schema_of
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
    from airflow_gemini_batch.jobs.manifest import Manifest
    from airflow_gemini_batch.landing.schema_check import check_of

    try:
        read = Manifest.from_json(manifest)
        schema = response_schema_of(response_schema)
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None
    hook = GeminiBatchHook(gcp_conn_id, project_id=project_id, impersonation_chain=impersonation_chain)
    found = _last_of_each(read, hook, check_of(schema) if schema else None)
    return (one for one in found if one.outcome.answered or not only_ok)


def _last_of_each(manifest: Manifest, hook: GeminiBatchHook, check: Check | None) -> Iterator[Response]:
    """Yield one response for each key, later rounds first.

    Follow-up rounds are small, so their keys are remembered; those of the first round are only when rows of it came
    twice.
    """
    answers_of = (
        _answers_in_tables(manifest, hook) if _in_tables(manifest) else _answers_in_files(manifest, hook)
    )
    seen: set[str] = set()
    for number in reversed(range(len(manifest.rounds))):
        remembers = number > 0 or manifest.rounds[number].surplus.get("duplicate", 0) > 0
        failed: list[Response] = []
        for answer in answers_of(number):
            if answer[0] in seen:
                continue
            one = _response(*answer, check)
            if remembers and not one.outcome.answered:
                failed.append(one)  # a good row of the same key may follow
                continue
            if remembers:
                seen.add(one.key)
            yield one
        for one in failed:
            if one.key not in seen:
                seen.add(one.key)
                yield one


def _response(key: str, status: Any, response: Any, check: Check | None) -> Response:
    from airflow_gemini_batch.core.jsonl import tolerant_object
    from airflow_gemini_batch.landing.schema_check import answer_text, parse_answer
    from airflow_gemini_batch.outputs.classify import classify_row

    if isinstance(response, str):
        response = tolerant_object(response.encode())
    content = response if isinstance(response, Mapping) else {}
    result = classify_row(status, content)
    text = answer_text(content)
    if result.outcome is not Outcome.OK or check is None:
        return Response(key, result.outcome, text, None, result.message, content)
    value, fault = parse_answer(text, check)
    if fault:
        return Response(key, Outcome.INVALID, text, None, fault, content)
    return Response(key, Outcome.OK, text, value, "", content)


def _in_tables(manifest: Manifest) -> bool:
    return any(one.output.startswith("bq://") for one in manifest.rounds)


def _answers_in_files(manifest: Manifest, hook: GeminiBatchHook) -> Callable[[int], Iterator[Answer]]:
    """Return what reads the answers of a round from its files."""
    from airflow_gemini_batch.core.jsonl import tolerant_object
    from airflow_gemini_batch.landing.files.inputs import answer_files, request_files
    from airflow_gemini_batch.landing.files.key_index import KeyIndex

    storage = hook.store.files
    keys = KeyIndex(lambda: storage.lines(request_files(manifest, storage)))

    def read(number: int) -> Iterator[Answer]:
        unreadable = 0
        for line in storage.lines(answer_files(manifest.rounds[number], storage)):
            row = tolerant_object(line)
            if row is None:
                unreadable += 1
            elif (key := keys.key_of(row)) is not None:
                yield key, row.get("status"), row.get("response")
        if unreadable:
            _log.warning("%d lines of the answers hold no JSON object and are left out", unreadable)

    return read


def _answers_in_tables(manifest: Manifest, hook: GeminiBatchHook) -> Callable[[int], Iterator[Answer]]:
    """Return what reads the answers of a round from its table; the key is what passes through it."""
    from airflow_gemini_batch.core.addresses import BigQueryAddress
    from airflow_gemini_batch.core.keys import key_text
    from airflow_gemini_batch.requests.spec import RESERVED_COLUMNS

    def read(number: int) -> Iterator[Answer]:
        one = manifest.rounds[number]
        table = hook.store.tables.find(BigQueryAddress.parse(one.output)) if one.output else None
        if table is None:
            if one.had_answers:
                raise OutputNotReadyError(
                    f"the answers of the batch job {one.job_name} are gone: there is no table {one.output}. BigQuery "
                    "restores a table for seven days (bq cp DATASET.TABLE@MILLISECONDS)"
                )
            return
        columns = [field.name for field in table.schema if field.name.lower() not in RESERVED_COLUMNS]
        if not columns:
            raise InvalidRequestError(f"{one.output} has no column that could be the key of its answers")
        for row in hook.bigquery_client.list_rows(table):
            yield key_text([row[name] for name in columns]), row["status"], row["response"]

    return read
