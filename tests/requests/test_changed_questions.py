"""Why a row is asked, and which rows with a changed question are: alike for rows in tables and in files."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from airflow_gemini_batch.core.fingerprints import fingerprint_of
from airflow_gemini_batch.core.keys import text_of_key
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.build import build_requests
from airflow_gemini_batch.requests.questions import Question
from airflow_gemini_batch.requests.row_kinds import RowCount, RowKind, RowOrder, Sample
from airflow_gemini_batch.requests.spec import BuildPlan
from tests.requests.plans import plan
from tests.support.requests_data import lines, storage_client
from tests.support.tables import fill, read

COLUMNS = {"isbn": "STRING", "title": "STRING", "author": "STRING", "views": "INT64"}
LANDED = {"isbn": "STRING", "answer": "STRING", "batch_fingerprint": "STRING", "batch_question": "STRING"}
FAILED = {"isbn": "STRING", "outcome": "STRING", "code": "INT64", "batch_fingerprint": "STRING"}

THEN, NOW = plan("Describe [[ title ]]."), plan("Praise [[ title ]] by [[ author ]].")
OTHER_MODEL = plan("Describe [[ title ]].", model="gemini-3.8-flash")
GONE = plan("Describe [[ plot ]].")
ROWS = [
    {
        "isbn": str(number),
        "title": f"Book {number}",
        "author": "A" if number % 4 else "B",
        "views": number * 7 % 10,
    }
    for number in range(10)
]


def landed(row: dict[str, Any], by: BuildPlan, *, question: str | None = None) -> dict[str, Any]:
    """Return a row of the target, as an answer to the question of a plan."""
    return {
        "isbn": row["isbn"],
        "answer": "x",
        "batch_fingerprint": fingerprint_of(by.model_key, by.template.fill(row)),
        "batch_question": by.question.id if question is None else question or None,
    }


def failure(row: dict[str, Any], by: BuildPlan, outcome: str) -> dict[str, Any]:
    fingerprint = fingerprint_of(by.model_key, by.template.fill(row))
    return {"isbn": row["isbn"], "outcome": outcome, "code": None, "batch_fingerprint": fingerprint}


class Way:
    """Rows, target and failures in tables or in files."""

    def __init__(self, kind: str, stack: Any, client: Any, dataset: Any, bucket: str, folder: Any) -> None:
        self._in_tables = kind == "tables"
        self._stack, self._client, self._folder = stack, client, folder
        self._dataset, self._bucket = dataset, bucket
        self._tables: dict[str, str] = {}

    def hold(self, name: str, columns: dict[str, str], rows: list[dict[str, Any]]) -> str:
        if self._in_tables:
            if name not in self._tables:
                self._tables[name] = fill(self._stack, f"{self._dataset}.{name}", columns, rows)
            return self._tables[name]
        path = self._folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    def build(self, a_plan: BuildPlan, target: str, rows: list[dict[str, Any]] = ROWS, **options: Any) -> Any:
        requests = str(self._dataset) if self._in_tables else f"gs://{self._bucket}/requests"
        return build_requests(
            replace(a_plan, target=target, **options),
            self.hold("books", COLUMNS, rows),
            requests,
            storage_client=lambda: storage_client(self._stack),
            bigquery_client=lambda: self._client,
            log=logging.getLogger("build"),
        )

    def asked(self, report: Any) -> set[str]:
        """Return the keys of the requests of a report."""
        keys: set[str] = set()
        for address in report.sources:
            if self._in_tables:
                keys |= {row["isbn"] for row in read(self._stack, address)}
            else:
                keys |= {text_of_key(line["key"]) for line in lines(self._stack, address)}
        return keys


@pytest.fixture(params=["tables", "files"])
def way(request, gemini_batch_stack, client, dataset, bucket, tmp_path):
    return Way(request.param, gemini_batch_stack, client, dataset, bucket, tmp_path)


def earlier(*plans: BuildPlan) -> dict[str, Question]:
    return {one.question.id: one.question for one in plans}


def counts(report: Any) -> dict[RowKind, int]:
    return {kind: count.rows for kind, count in report.kinds.items()}


OLD = {**ROWS[0], "title": "An old title"}
NEW_AUTHOR = {**ROWS[0], "author": "Somebody else"}


@pytest.mark.parametrize(
    ("target", "failures", "kind"),
    [
        pytest.param([], [], RowKind.NEW, id="nothing"),
        pytest.param([landed(ROWS[1], THEN)], [], RowKind.NEW, id="another row"),
        pytest.param([landed(ROWS[0], NOW)], [], "done", id="answered"),
        pytest.param([landed(ROWS[0], NOW, question="")], [], "done", id="answered before questions were told"),
        pytest.param([landed(OLD, NOW)], [], RowKind.CHANGED_DATA, id="other data"),
        pytest.param([landed(NEW_AUTHOR, NOW)], [], RowKind.CHANGED_DATA, id="other data of a second column"),
        pytest.param([landed(ROWS[0], THEN)], [], RowKind.CHANGED_QUESTION, id="other prompt"),
        pytest.param([landed(NEW_AUTHOR, THEN)], [], RowKind.CHANGED_QUESTION, id="data that was not asked about"),
        pytest.param([landed(ROWS[0], OTHER_MODEL)], [], RowKind.CHANGED_QUESTION, id="other model"),
        pytest.param([landed(OLD, THEN)], [], RowKind.CHANGED_DATA, id="other prompt and data"),
        pytest.param([landed(ROWS[0], THEN, question="")], [], RowKind.CHANGED, id="no question is told"),
        pytest.param([landed(ROWS[0], THEN, question="gone")], [], RowKind.CHANGED, id="unknown question"),
        pytest.param(
            [landed({**ROWS[0], "plot": "?"}, GONE)], [], RowKind.CHANGED, id="column is gone"
        ),
        pytest.param([], [failure(ROWS[0], NOW, "retryable")], RowKind.FAILED_BEFORE, id="failed"),
        pytest.param([], [failure(ROWS[0], THEN, "invalid")], RowKind.FAILED_BEFORE, id="another request failed"),
        pytest.param([], [failure(ROWS[0], NOW, "invalid")], "failed", id="failed for good"),
        pytest.param(
            [landed(ROWS[0], THEN)], [failure(ROWS[0], NOW, "retryable")], RowKind.CHANGED_QUESTION,
            id="other prompt, and failed since",
        ),
    ],
)  # fmt: skip
def test_why_a_row_is_asked(way, target, failures, kind) -> None:
    address = way.hold("landed", LANDED, target)
    way.hold("landed__failed", FAILED, failures)
    report = way.build(NOW, address, ROWS[:1], earlier=earlier(THEN, OTHER_MODEL, GONE))
    if kind in ("done", "failed"):
        assert (report.done, report.failed_before, report.requests) == (kind == "done", kind == "failed", 0)
    else:
        characters = len("Praise Book 0 by B.")
        assert (dict(report.kinds), report.requests) == ({kind: RowCount(1, characters, 0)}, 1)
    assert (report.rows, report.kept) == (1, RowCount())
    changes = {THEN.question.id: ["prompt"], OTHER_MODEL.question.id: ["model", "prompt"]}
    answered = [row["batch_question"] for row in target if kind is RowKind.CHANGED_QUESTION]
    assert dict(report.changes) == {name: changes[name] for name in answered}


TARGET = [
    *(landed(row, THEN) for row in ROWS[:6]),
    landed(ROWS[6], THEN, question=""),
    landed({**ROWS[7], "title": "Before"}, THEN),
    landed(ROWS[8], NOW),
]
"""Six rows with a changed question, one of which it is not known, one with changed data, one done, and one is new."""

SURE = {RowKind.NEW: 1, RowKind.CHANGED_DATA: 1}
CHANGED = {RowKind.CHANGED_QUESTION: 6, RowKind.CHANGED: 1}


@pytest.mark.parametrize(
    ("options", "kinds", "asked", "kept"),
    [
        pytest.param({}, SURE | CHANGED, "012345679", 0, id="all"),
        pytest.param({"on_question_change": "canary"}, SURE | CHANGED, "012345679", 0, id="after the canary"),
        pytest.param({"on_question_change": "new_rows"}, SURE, "79", 7, id="new rows"),
        pytest.param(
            {"limit": lambda _: 2, "order": RowOrder("views", descending=True)},
            SURE | {RowKind.CHANGED_QUESTION: 2}, "1479", 5, id="highest first",
        ),
        pytest.param(
            {"limit": lambda _: 3, "order": RowOrder("views")},
            SURE | {RowKind.CHANGED_QUESTION: 2, RowKind.CHANGED: 1}, "03679", 4, id="lowest first",
        ),
        pytest.param({"limit": lambda _: 0}, SURE, "79", 7, id="none in this run"),
        pytest.param({"limit": lambda _: 99}, SURE | CHANGED, "012345679", 0, id="more than there are"),
        pytest.param({"limit": lambda kinds: kinds[RowKind.NEW].rows, "order": RowOrder("isbn")},
            SURE | {RowKind.CHANGED_QUESTION: 1}, "079", 6, id="limit knows the rows"),
        pytest.param(
            {"limit": lambda _: 99, "sample": Sample()}, CHANGED, "0123456", 2, id="sample of all",
        ),
        pytest.param(
            {"limit": lambda _: 0, "sample": Sample(frozenset("79"))}, {}, "", 9, id="no sample, no golden rows",
        ),
    ],
)  # fmt: skip
def test_which_rows_are_asked(way, options, kinds, asked, kept) -> None:
    address = way.hold("landed", LANDED, TARGET)
    report = way.build(NOW, address, earlier=earlier(THEN), **options)
    assert (counts(report), report.kept.rows, report.done) == (kinds, kept, 1)
    assert way.asked(report) == set(asked)
    assert (report.requests, report.rows) == (len(asked), len(ROWS))
    characters = sum(
        len(f"Praise {row['title']} by {row['author']}.") for row in ROWS if row["isbn"] in asked
    )
    assert report.prompt_characters == characters


def test_sample_is_the_same_in_every_run_and_in_both_ways(way) -> None:
    address = way.hold("landed", LANDED, TARGET)
    sample = {"limit": lambda _: 3, "earlier": earlier(THEN)}
    golden = frozenset("79")
    first = way.build(NOW, address, sample=Sample(golden), **sample)
    # By the digests of the keys; 7 and 9 are golden rows.
    assert way.asked(first) == {"1", "4", "6", "7", "9"}
    canary = way.hold("canary", LANDED, [landed(row, NOW) for row in ROWS if row["isbn"] in "167"])
    again = way.build(NOW, address, sample=Sample(golden, canary), **sample)
    assert way.asked(again) == {"4", "9"}
    assert (first.changed, again.changed) == (7, 7)


@pytest.mark.parametrize("most", [2, 4])
def test_each_stratum_is_in_a_sample(way, most) -> None:
    address = way.hold("landed", LANDED, [landed(row, THEN) for row in ROWS])
    report = way.build(
        NOW,
        address,
        earlier=earlier(THEN),
        limit=lambda _: most,
        order=RowOrder(strata="author"),
        sample=Sample(),
    )
    authors = [ROWS[int(key)]["author"] for key in way.asked(report)]
    assert sorted(authors) == ["A", "B"] if most == 2 else ["A", "A", "A", "B"]


def test_changed_question_can_be_refused(way) -> None:
    address = way.hold("landed", LANDED, TARGET)
    with pytest.raises(
        InvalidRequestError, match=r"7 rows of .* another question than this one \(changed: prompt\)"
    ):
        way.build(NOW, address, on_question_change="fail", earlier=earlier(THEN))
    same = way.hold("same", LANDED, TARGET[-1:])
    assert way.build(NOW, same, on_question_change="fail", earlier=earlier(THEN)).requests == 9


def test_build_that_writes_nothing_says_what_it_would_ask(way) -> None:
    address = way.hold("landed", LANDED, TARGET)
    report = way.build(NOW, address, earlier=earlier(THEN), writes=False)
    assert (counts(report), report.requests, list(report.sources)) == (SURE | CHANGED, 9, [])


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("views", RowOrder("views")),
        (" views  desc ", RowOrder("views", descending=True)),
        ("published ASC", RowOrder("published")),
        ("sold copies DESC", RowOrder("sold copies", descending=True)),
        ("desc", RowOrder("desc")),
    ],
)
def test_order_is_read(text, order) -> None:
    assert RowOrder.parse(text) == order


def test_column_of_the_order_has_to_be_there(way) -> None:
    address = way.hold("landed", LANDED, TARGET)
    with pytest.raises(InvalidRequestError, match=r"the order .* names the column 'sales'"):
        way.build(NOW, address, limit=lambda _: 1, order=RowOrder("sales"))
