"""Request lines that Vertex AI can import: what a build writes, and what it refuses to write."""

from __future__ import annotations

from dataclasses import replace

import orjson

from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.forms import FORMS
from airflow_gemini_batch.requests.templates import RequestTemplate
from airflow_gemini_batch.requests.validation.import_rules import ImportedLines, importable_tools


def importable_template(template: RequestTemplate, family: ModelFamily) -> RequestTemplate:
    """Return the template for request files: tools without a field get one.

    What a row fills in are texts, so that no line can differ from the others in what an import looks at.

    Raises :class:`.InvalidRequestError` for a template whose lines can't be imported.
    """
    request = template.example()
    tools = request.get("tools", [])
    if (filled := importable_tools(tools)) != tools:
        # They are the last field.
        end = orjson.dumps(tools).decode() + "}"
        last = str(template.parts[-1]).removesuffix(end) + orjson.dumps(filled).decode() + "}"
        template = replace(template, parts=(*template.parts[:-1], last))
        request = template.example()
    line = orjson.loads(FORMS[family].line("key", orjson.dumps(request)))
    if faults := ImportedLines().add(line, "each request"):
        raise InvalidRequestError("\n".join(f"each request: {fault}" for fault in faults))
    return template
