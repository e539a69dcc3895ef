"""What is wrong with one row of a job: its outer shape, then the request inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_gemini_batch.core.model_families import RequestFormat
from airflow_gemini_batch.requests.validation.embed_content import (
    gemini_embedding_faults,
    read_gemini_embedding_request,
    text_embedding_faults,
)
from airflow_gemini_batch.requests.validation.generate_content import (
    generation_faults,
    read_generation_request,
)
from airflow_gemini_batch.requests.validation.proto_json import WireError


def row_faults(row: Mapping[str, Any], request_format: RequestFormat) -> list[str]:
    """Say all that is wrong with a line of a request file, or with a row of a request table.

    :param row: the decoded line; of a table the columns that the model reads, decoded.
    """
    if fault := _other_format(row, request_format):
        return [fault]
    if request_format is RequestFormat.TEXT_EMBEDDING:
        return request_faults(row, request_format)
    return request_faults(row["request"], request_format)


def request_faults(request: object, request_format: RequestFormat) -> list[str]:
    """Say all that is wrong with one request, without what is around it.

    :param request: a GenerateContentRequest, an EmbedContentRequest, or ``{"content", "task_type", "title"}``.
    """
    try:
        match request_format:
            case RequestFormat.GENERATE_CONTENT:
                return list(generation_faults(read_generation_request(request)))
            case RequestFormat.GEMINI_EMBEDDING:
                return list(gemini_embedding_faults(read_gemini_embedding_request(request)))
            case RequestFormat.TEXT_EMBEDDING:
                if not isinstance(request, Mapping):
                    return ["the row is not an object"]
                return list(text_embedding_faults(request))
    except WireError as error:
        return [str(error)]
    except RecursionError:
        return ["the request is nested too deeply to be read"]


def _other_format(row: Mapping[str, Any], wanted: RequestFormat) -> str | None:
    """Recognise a row that was written for another reader, and say what to write instead."""
    if wanted.main_column in row:
        return None
    inner = row.get("body", row.get("request", row))
    if isinstance(inner, Mapping) and "messages" in inner:
        return 'a chat in OpenAI\'s form ("messages"): write it as ' + _EXPECTED[wanted]
    if wanted is RequestFormat.TEXT_EMBEDDING:
        beside = " (this looks like a row for Gemini models)" if "request" in row else ""
        return f'there is no "content"{beside}: write {_EXPECTED[wanted]}'
    bare = "contents" if wanted is RequestFormat.GENERATE_CONTENT else "content"
    if bare in row:
        return 'a bare request, without the key "request" around it: wrap it in {"request": …}'
    return f'there is no "request": write {_EXPECTED[wanted]}'


_EXPECTED = {
    RequestFormat.GENERATE_CONTENT: (
        '{"request": {"contents": [{"role": "user", "parts": [{"text": "…"}]}]}}'
    ),
    RequestFormat.GEMINI_EMBEDDING: '{"key": "…", "request": {"content": {"parts": [{"text": "…"}]}}}',
    RequestFormat.TEXT_EMBEDDING: '{"content": "…"}',
}
