"""Reading the answers of a batch job in Python, one by one, by key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson

from airflow_gemini_batch.core.defaults import DEFAULT_CONNECTION
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.classify import Outcome

if TYPE_CHECKING:
    from airflow_gemini_batch.landing.one_by_one import Answer


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
    from airflow_gemini_batch.landing.one_by_one import iter_answers

    try:
        read = list(map(Manifest.from_json, _given(manifest)))
        schema = response_schema_of(response_schema)
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None
    hook = GeminiBatchHook(gcp_conn_id, project_id=project_id, impersonation_chain=impersonation_chain)
    answers = chain.from_iterable(iter_answers(one, hook.store, schema) for one in read)
    return (_response(answer) for answer in answers if answer.outcome.answered or not only_ok)


def _given(manifest: Any) -> list[Any]:
    """Return the manifests; anything else, such as a text, alone."""
    if not isinstance(manifest, Iterable) or isinstance(manifest, (str, bytes, Mapping)):
        return [manifest]
    if not (several := list(manifest)):
        raise ValueError(
            "manifest is empty: give the result of a submit task, or of all its mapped instances"
        )
    return several


def _response(answer: Answer) -> Response:
    value = None if answer.value is None else orjson.loads(answer.value)
    return Response(answer.key, answer.outcome, answer.text, value, answer.message, answer.response)
