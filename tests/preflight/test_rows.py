from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, TEXT_EMBEDDING
from airflow_gemini_batch.preflight.findings import Finding
from airflow_gemini_batch.preflight.rows import row_findings, template_findings
from airflow_gemini_batch.requests.embeddings import text_embedding_request
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.spec import BuildPlan
from airflow_gemini_batch.requests.templates import gemini_request

PROMPT = PromptTemplate.parse("Describe [[ title ]].")


def plan(prompt: str = "[[ title ]]", *, drop_bad_rows: bool = False, **parts: Any) -> BuildPlan:
    return BuildPlan(
        model="gemini-2.5-flash",
        family=GENERATE_CONTENT,
        key=("isbn",),
        template=gemini_request(PromptTemplate.parse(prompt), **parts),
        drop_bad_rows=drop_bad_rows,
    )


def texts(findings: list[Finding]) -> list[str]:
    return [f"{finding.severity}: {finding}" for finding in findings]


def test_sound_template_and_rows_are_found_in_order() -> None:
    sound = plan("Describe [[ title ]].", media={"cover": None})
    assert template_findings(sound) == []
    assert row_findings([{"isbn": "1", "title": "A", "cover": "gs://b/a.png"}], sound) == []


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"generation_config": {"temperature": "warm"}}, "temperature"),
        ({"response_schema": {"type": "text"}}, "type"),
        ({"tools": [{"functionDeclarations": [{"name": "1"}]}]}, "the function '1'"),
    ],
)
def test_fault_of_all_requests_needs_no_rows(parts: dict[str, Any], message: str) -> None:
    (finding,) = texts(template_findings(plan(**parts)))
    assert finding.startswith("error: each request: ")
    assert message in finding


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"generation_config": {"warmth": 1}}, 'does not know the field "warmth"'),
        ({"safety_settings": [{"category": "HARM", "threshold": "OFF"}]}, "category is 'HARM'"),
        ({"tools": [{"oracle": {}}]}, 'does not know the field "oracle"'),
    ],
)
def test_what_is_not_known_of_all_requests_is_a_warning(parts: dict[str, Any], message: str) -> None:
    (finding,) = texts(template_findings(plan(**parts)))
    assert finding.startswith("warning: each request: ")
    assert message in finding
    assert row_findings([{"isbn": "1", "title": "A"}], plan(**parts)) == []


def test_media_prefixes_are_no_fault_of_the_template() -> None:
    assert template_findings(plan(media={"cover": None}, media_prefixes=["gs://shop/"])) == []


def test_prompt_that_is_one_media_column_is_no_fault_of_the_template() -> None:
    assert template_findings(plan("[[ cover ]]", media={"cover": None})) == []


def test_template_of_embeddings_is_checked_by_its_own_rules() -> None:
    template = text_embedding_request(PROMPT, task_type="RETRIEVAL_DOCUMENT", title=PROMPT)
    embed = BuildPlan("text-embedding-005", TEXT_EMBEDDING, ("isbn",), template)
    assert template_findings(embed) == []


def test_rows_that_cannot_be_requests_are_warnings_by_fault() -> None:
    rows = [
        {"isbn": "1", "title": "A"},
        {"isbn": None, "title": "B"},
        {"isbn": "1", "title": "C"},
        {"isbn": "2", "title": " "},
        {"isbn": "3", "title": None},
        {"isbn": "4", "title": "\ud800"},
        {"isbn": "5", "title": "D", "cover": "cover.png"},
    ]
    hint = "fix it, leave the row out with a query, or set on_bad_rows='drop'"
    assert texts(row_findings(rows, plan(media={"cover": None}))) == [
        f"warning: row 2: the key is NULL; {hint}",
        f"warning: row 3: the key occurs more than once; {hint}",
        f"warning: row 4 and 1 more: the prompt is empty; {hint}",
        f"warning: row 6: the row holds a lone surrogate, which is not valid Unicode; {hint}",
        "warning: row 7: cover is cover.png, not a gs:// or https:// address of a public host without user and "
        f"password; {hint}",
    ]


def test_dropped_rows_are_told_as_such() -> None:
    (finding,) = row_findings([{"isbn": "1"}], plan(drop_bad_rows=True))
    assert finding.hint == "rows that can't become requests are left out"


def test_many_kinds_of_faults_are_cut() -> None:
    rows = [{"isbn": str(number), "title": "A", "cover": f"{number}.png"} for number in range(12)]
    findings = row_findings(rows, plan(media={"cover": None}))
    assert len(findings) == 11
    assert findings[-1].message == "rows have 2 more kinds of problems"
