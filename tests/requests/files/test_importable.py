"""What a build of files writes can be imported, or is refused before anything is read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from airflow_gemini_batch.core.model_families import GENERATE_CONTENT
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.files.importable import importable_template
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.templates import gemini_request
from airflow_gemini_batch.requests.validation.import_rules import ImportedLines
from tests.requests.request_cases import REQUEST_CASES, RequestCase

SEARCH = [{"googleSearch": {}}, {"google_maps": {}}]


def _template(**options: Any) -> Any:
    return gemini_request(PromptTemplate.parse("[[ title ]]"), **options)


def test_tools_without_a_field_get_one_and_nothing_else_changes() -> None:
    options = {"system_instruction": '"tools":[{"googleSearch":{}}]}', "media": {"cover": None}}
    template = importable_template(_template(**options, tools=SEARCH), GENERATE_CONTENT)
    assert template.example() == {
        **_template(**options).example(),
        "tools": [
            {"googleSearch": {"excludeDomains": ["example.com"]}},
            {"google_maps": {"enable_widget": False}},
        ],
    }
    assert template.columns == ("title", "cover")


def test_template_that_can_be_imported_stays_as_it_is() -> None:
    template = _template(tools=[{"googleSearch": {"excludeDomains": ["a.org"]}}])
    assert importable_template(template, GENERATE_CONTENT) is template


@pytest.mark.parametrize("case", REQUEST_CASES, ids=str)
def test_lines_of_each_form_can_be_imported(case: RequestCase) -> None:
    assert importable_template(case.plan.template, case.plan.family) is case.plan.template


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tools": [{"codeExecution": {}}]},
            "each request: request.tools[].codeExecution is an empty object",
        ),
        (
            {"generation_config": {"thinkingConfig": {}}},
            "request.generationConfig.thinkingConfig is an empty object",
        ),
        (
            {"response_schema": {"type": "OBJECT", "properties": {"Metric A": {"type": "STRING"}}}},
            'responseSchema.properties["Metric A"]: in a file',
        ),
        ({"generation_config": {"responseSchema": {"enum": ["a", None]}}}, "enum holds null"),
    ],
)
def test_template_that_cannot_be_imported_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        importable_template(_template(**options), GENERATE_CONTENT)
    assert message in str(refused.value)
    assert "put the requests into a BigQuery table" in str(refused.value)


def test_rows_with_and_without_files_are_of_the_same_types() -> None:
    template = _template(media={"cover": None})
    lines = ImportedLines()
    for row in ({"title": "a", "cover": None}, {"title": "0.5", "cover": "gs://b/a.png"}):
        assert lines.add(orjson.loads(template.fill(row)), "a line") == []
