from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_gemini_batch.core.labels import (
    AFTER_LABEL,
    CONTENT_LABEL,
    DAG_LABEL,
    DATE_LABEL,
    IDENTITY_LABEL,
    LAST_ROUND_LABEL,
    MAP_LABEL,
    MAX_LABELS,
    ROOT_LABEL,
    ROUND_LABEL,
    RUN_LABEL,
    TARGET_LABEL,
    TASK_LABEL,
    airflow_labels,
    checked_labels,
    former_airflow_labels,
    label_value,
    names,
    run_labels,
)

OWN_KEYS = (
    *(CONTENT_LABEL, TARGET_LABEL),
    *(IDENTITY_LABEL, ROOT_LABEL, ROUND_LABEL, AFTER_LABEL, LAST_ROUND_LABEL),
    *(DAG_LABEL, TASK_LABEL, RUN_LABEL, DATE_LABEL, MAP_LABEL),
)
LEGAL = re.compile(r"[a-z0-9_-]{0,63}")


@pytest.mark.parametrize("text", ["", "nightly_books-2", "-_-", "x" * 63])
def test_legal_text_is_its_own_label_value(text: str) -> None:
    assert label_value(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        pytest.param("Nightly.Books", "nightly-books", id="capitals-and-dot"),
        pytest.param(
            "scheduled__2025-01-02T03:04:05.678901+00:00",
            "scheduled__2025-01-02t03-04-05-678901-00-00",
            id="run-id",
        ),
        pytest.param("group.task", "group-task", id="task-in-a-group"),
        pytest.param("bücher", "b-cher", id="letter-beyond-ascii"),
        pytest.param("本", "-", id="nothing-legal"),
        pytest.param('a" OR labels.b="c', "a--or-labels-b--c", id="quotes"),
        pytest.param("a\nb", "a-b", id="newline"),
    ],
)
def test_cleaned_text_ends_in_a_digest(text: str, cleaned: str) -> None:
    value = label_value(text)
    assert re.fullmatch(rf"{re.escape(cleaned)}-[0-9a-f]{{10}}", value)
    assert label_value(text) == value == label_value(value)
    # As jobs of earlier releases carry it.
    assert former_airflow_labels(text, None, None) == {DAG_LABEL: cleaned}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 64, id="one-too-long"),
        pytest.param("Ärger." * 1000, id="very-long"),
        pytest.param("İ" * 40, id="longer-in-small-letters"),
        pytest.param("😀" * 64, id="emoji"),
    ],
)
def test_label_value_of_a_long_text_is_legal_and_stable(text: str) -> None:
    value = label_value(text)
    assert LEGAL.fullmatch(value)
    assert len(value) == 63
    assert label_value(text) == value == label_value(value)


@pytest.mark.parametrize("stem", ["sales", "x" * 62, "x" * 100])
def test_label_values_stay_apart(stem: str) -> None:
    texts = [f"{stem}{tail}" for tail in ("a", "b", "A", ".", "-", ".a", "-a", " a", "_a")]
    assert len({label_value(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        pytest.param(
            ("nightly", "group.submit", "manual__2025"),
            {
                "airflow_dag": "nightly",
                "airflow_task": label_value("group.submit"),
                "airflow_run": "manual__2025",
            },
            id="all",
        ),
        pytest.param(("nightly", None, None), {"airflow_dag": "nightly"}, id="dag-only"),
        pytest.param(("nightly", "", "r"), {"airflow_dag": "nightly", "airflow_run": "r"}, id="empty-task"),
        pytest.param((None, None, None), {}, id="none"),
    ],
)
def test_airflow_labels_hold_what_is_known(
    names: tuple[str | None, str | None, str | None], labels: dict[str, str]
) -> None:
    assert airflow_labels(*names) == labels


SALES = ("sales.daily", "group.submit", "scheduled__2025-01-02T00:00:00+00:00")


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        pytest.param({**airflow_labels(*SALES), **run_labels(None, -1, 1)}, True, id="this-release"),
        pytest.param(former_airflow_labels(*SALES), True, id="earlier-release"),
        pytest.param({**airflow_labels("sales.daily", None, None)}, False, id="task-and-run-unknown"),
        pytest.param(
            {**airflow_labels("sales-daily", *SALES[1:]), **run_labels(None, -1, 1)}, False, id="another-dag"
        ),
        pytest.param(
            {**former_airflow_labels(*SALES), **run_labels(None, -1, 1)}, False, id="same-when-cleaned"
        ),
        pytest.param({}, False, id="none"),
    ],
)
def test_job_is_told_by_its_labels_of_this_release_or_of_earlier_ones(
    labels: dict[str, str], named: bool
) -> None:
    assert names(labels, *SALES) is named


@pytest.mark.parametrize(
    ("logical_date", "map_index", "labels"),
    [
        pytest.param(None, -1, {}, id="neither"),
        pytest.param(None, 0, {MAP_LABEL: "0"}, id="mapped"),
        pytest.param(
            datetime(2026, 11, 26, 3, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            17,
            {DATE_LABEL: "2026-11-25t22-00-00-000000", MAP_LABEL: "17"},
            id="in-another-time-zone",
        ),
    ],
)
def test_run_labels_name_date_map_index_and_last_round(
    logical_date: datetime | None, map_index: int, labels: dict[str, str]
) -> None:
    found = run_labels(logical_date, map_index, 2)
    assert found == {**labels, LAST_ROUND_LABEL: "2"}
    assert all(label_value(value) == value for value in found.values())


def many(count: int) -> dict[str, str]:
    return {f"label{number}": "x" for number in range(count)}


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({}, id="none"),
        pytest.param({"team": "books", "cost-centre_2": "a-1_b"}, id="legal"),
        pytest.param({"team": ""}, id="empty-value"),
        pytest.param({"team": "-_-"}, id="value-without-letters"),
        pytest.param({"t" * 63: "v" * 63}, id="longest"),
        pytest.param(many(MAX_LABELS - len(OWN_KEYS)), id="as-many-as-fit"),
    ],
)
def test_legal_labels_are_left_as_they_are(labels: dict[str, str]) -> None:
    assert checked_labels(labels) == labels


def test_no_labels_are_legal() -> None:
    assert checked_labels(None) == {}


@pytest.mark.parametrize(
    ("labels", "culprit"),
    [
        *(pytest.param({key: "x"}, f"'{key}' is set by the operator", id=f"own-{key}") for key in OWN_KEYS),
        pytest.param({"": "x"}, "label key ''", id="empty-key"),
        pytest.param({"Team": "x"}, "label key 'Team'", id="capital-in-key"),
        pytest.param({"1team": "x"}, "label key '1team'", id="digit-first"),
        pytest.param({"_team": "x"}, "label key '_team'", id="underscore-first"),
        pytest.param({"team.name": "x"}, "label key 'team.name'", id="dot-in-key"),
        pytest.param({"team\n": "x"}, "label key 'team", id="newline-in-key"),
        pytest.param({"t" * 64: "x"}, "label key 'ttt", id="key-too-long"),
        pytest.param({5: "x"}, "label key 5", id="number-as-key"),
        pytest.param({"team": "Books"}, "'Books' of label 'team'", id="capital-in-value"),
        pytest.param({"team": "a b"}, "'a b' of label 'team'", id="space-in-value"),
        pytest.param({"team": "a\n"}, "of label 'team'", id="newline-in-value"),
        pytest.param({"team": "v" * 64}, "of label 'team'", id="value-too-long"),
        pytest.param({"team": 5}, "value 5 of label 'team'", id="number-as-value"),
        pytest.param({"team": None}, "value None of label 'team'", id="no-value"),
        pytest.param({"fine": "x", "team": "É"}, "'É' of label 'team'", id="second-of-two"),
        pytest.param(
            many(MAX_LABELS - len(OWN_KEYS) + 1),
            f"{MAX_LABELS - len(OWN_KEYS) + 1} labels are too many: up to {MAX_LABELS - len(OWN_KEYS)}",
            id="too-many",
        ),
    ],
)
def test_illegal_label_is_named(labels: dict[Any, Any], culprit: str) -> None:
    with pytest.raises(ValueError, match=re.escape(culprit)):
        checked_labels(labels)


def test_own_keys_hold_no_hyphen() -> None:
    assert [key for key in OWN_KEYS if not re.fullmatch(r"[a-z][a-z0-9_]*", key)] == []
