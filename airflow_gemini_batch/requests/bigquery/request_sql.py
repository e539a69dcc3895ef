"""What stands for a row in a statement: its key, its texts, its files and its request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from airflow_gemini_batch.core.fingerprints import spelled_as_in_sql
from airflow_gemini_batch.core.media import ENDING_PATTERN, MIME_TYPES
from airflow_gemini_batch.gcp.statements import Parameters
from airflow_gemini_batch.requests.bigquery.columns import quoted, text_of
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.templates import MediaSlot, RequestTemplate, TextSlot


def slot_columns(
    template: RequestTemplate, types: Mapping[str, str], parameters: Parameters
) -> dict[str, str]:
    """Return the expressions for what fills the holes of a template, by name: ``text_0``, ``file_1`` and so on.

    :param types: GoogleSQL's types of the columns.
    """
    return {
        name: rendered(part.text, types, parameters)
        if isinstance(part, TextSlot)
        else _file(part, types, parameters)
        for name, part in named_holes(template).items()
    }


def named_holes(template: RequestTemplate) -> dict[str, TextSlot | MediaSlot]:
    """Return the holes of a template by the names that they have in statements."""
    slots = [part for part in template.parts if not isinstance(part, str)]
    return {f"{'text' if isinstance(slot, TextSlot) else 'file'}_{n}": slot for n, slot in enumerate(slots)}


def request_text(template: RequestTemplate, parameters: Parameters) -> str:
    """Return the expression for the request's JSON text, over the columns of :func:`slot_columns`.

    It is NULL for a row with a file that can't be sent.
    """
    slots = iter(named_holes(template))
    pieces = []
    for part in template.parts:
        if isinstance(part, str):
            pieces.append(parameters.bind(spelled_as_in_sql(part.encode()).decode()))
        else:
            slot = next(slots)
            pieces.append(f"TO_JSON_STRING({slot})" if isinstance(part, TextSlot) else slot)
    return f"CONCAT({', '.join(pieces)})"


def field_value(value: Any, template: RequestTemplate, parameters: Parameters) -> str:
    """Return the expression for one of a template's fields, over the columns of :func:`slot_columns`.

    An object is a STRUCT, a list an ARRAY, a whole number an INT64 and everything else a STRING.
    """
    if isinstance(value, PromptTemplate):
        slots = named_holes(template).items()
        return next(name for name, slot in slots if isinstance(slot, TextSlot) and slot.text == value)
    if isinstance(value, Mapping):
        inner = (f"{field_value(one, template, parameters)} AS {quoted(name)}" for name, one in value.items())
        return f"STRUCT({', '.join(inner)})"
    if isinstance(value, list):
        return f"[{', '.join(field_value(one, template, parameters) for one in value)}]"
    return str(value) if isinstance(value, int) else parameters.bind(value)


def rendered(template: PromptTemplate, types: Mapping[str, str], parameters: Parameters) -> str:
    """Return the expression for a rendered text; it is never NULL."""
    parts = [
        parameters.bind(part)
        if isinstance(part, str)
        else f"IFNULL({text_of(part.column, types[part.column])}, {parameters.bind(part.default)})"
        for part in template.parts
    ]
    return f"CONCAT({', '.join(parts)})"


def _file(slot: MediaSlot, types: Mapping[str, str], parameters: Parameters) -> str:
    """Return the expression for what fills a hole: '' without a file, NULL for one that can't be sent."""
    uri = text_of(slot.column, types[slot.column])
    if slot.mime_type is not None:
        kind = parameters.bind(orjson.dumps(slot.mime_type).decode())
    else:
        cases = "".join(
            f"""
          WHEN '{ending}' THEN '"{kind}"'"""
            for ending, kind in MIME_TYPES.items()
        )
        kind = f"""CASE LOWER(REGEXP_EXTRACT({uri}, r'{ENDING_PATTERN}')){cases}
        END"""
    return f"""CASE
      WHEN IFNULL({uri}, '') = '' THEN ''
      WHEN REGEXP_CONTAINS({uri}, r'^(gs|https?)://') THEN CONCAT(
        ',{{"fileData":{{"mimeType":',
        {kind},
        ',"fileUri":',
        TO_JSON_STRING({uri}),
        '}}}}'
      )
    END"""
