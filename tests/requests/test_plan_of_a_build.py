"""What a plan says is what is paid afterwards: over random rows, prompts, models, failures and choices."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_gemini_batch.core.fingerprints import fingerprint_of
from airflow_gemini_batch.core.keys import text_of_key
from airflow_gemini_batch.requests.build import build_requests
from airflow_gemini_batch.requests.questions import Question
from airflow_gemini_batch.requests.row_kinds import RowKind, RowOrder
from airflow_gemini_batch.requests.spec import BuildPlan, BuildReport
from tests.requests.plans import plan
from tests.support.requests_data import lines, storage_client

QUESTIONS = [
    plan("Describe [[ title ]]."),
    plan("Praise [[ title ]]."),
    plan("Praise [[ title ]]: [[ plot ]]."),
    plan("Praise [[ title ]].", model="gemini-3.8-flash"),
]
KEYS = [str(number) for number in range(6)]
TITLES = st.sampled_from(["Emma", "Ida", "Momo"])

OPTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "new_rows": {"on_question_change": "new_rows"},
    "slices": {"limit": lambda _: 2, "order": RowOrder("title", descending=True)},
}


@dataclass
class Night:
    """One run, after some changes.

    :param rows: title and plot of rows that are new or change.
    :param question: number of what is asked from now on.
    :param failing: the keys whose request fails, and how.
    :param told: whether the ledger still knows the questions before.
    """

    rows: dict[str, tuple[str, str]]
    question: int
    failing: dict[str, str]
    choice: str
    told: bool


NIGHTS = st.lists(
    st.builds(
        Night,
        rows=st.dictionaries(st.sampled_from(KEYS), st.tuples(TITLES, TITLES), max_size=4),
        question=st.sampled_from(range(len(QUESTIONS))),
        failing=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["retryable", "invalid"]), max_size=2),
        choice=st.sampled_from(list(OPTIONS)),
        told=st.sampled_from([True, True, True, False]),
    ),
    min_size=1,
    max_size=6,
)


@dataclass
class Shop:
    """Rows, answers and failures, as they should be."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, tuple[str, BuildPlan]] = field(default_factory=dict)
    failures: dict[str, tuple[str, str]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def kind(self, key: str, asks: BuildPlan, told: dict[str, Question]) -> str:
        """Return why a row is asked, or why it is not."""
        now = request(self.rows[key], asks)
        answer, failure = self.answers.get(key), self.failures.get(key)
        if answer and answer[0] == now:
            return "done"
        if failure and failure == (now, "invalid"):
            return "failed"
        if answer is None:
            return RowKind.FAILED_BEFORE if failure else RowKind.NEW
        landed, then = answer
        if then.question.id == asks.question.id:
            return RowKind.CHANGED_DATA
        if then.question.id not in told:
            return RowKind.CHANGED
        same = landed == request(self.rows[key], then)
        return RowKind.CHANGED_QUESTION if same else RowKind.CHANGED_DATA


def request(row: dict[str, Any], asks: BuildPlan) -> str:
    return fingerprint_of(asks.model_key, asks.template.fill(row))


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nights=NIGHTS)
def test_plan_is_what_is_paid(gemini_batch_stack, bucket, tmp_path_factory, nights: list[Night]) -> None:
    folder, shop = tmp_path_factory.mktemp("shop"), Shop()
    client = storage_client(gemini_batch_stack)

    def build(a_plan: BuildPlan) -> BuildReport:
        return build_requests(
            a_plan,
            list(shop.rows.values()),
            f"gs://{bucket}/requests",
            storage_client=lambda: client,
            bigquery_client=lambda: None,  # type: ignore[arg-type, return-value]
            log=logging.getLogger("build"),
        )

    for night in nights:
        for key, (title, plot) in night.rows.items():
            shop.rows[key] = {"isbn": key, "title": title, "plot": plot}
        if not shop.rows:
            continue
        asks = QUESTIONS[night.question]
        told = {one.question.id: one.question for one in QUESTIONS} if night.told else {}
        target = write(
            folder / "landed.jsonl",
            [
                {"isbn": key, "batch_fingerprint": print_, "batch_question": by.question.id}
                for key, (print_, by) in shop.answers.items()
            ],
        )
        write(
            folder / "landed__failed.jsonl",
            [
                {"isbn": key, "outcome": outcome, "code": None, "batch_fingerprint": print_}
                for key, (print_, outcome) in shop.failures.items()
            ],
        )
        wanted = replace(asks, target=target, earlier=told, **OPTIONS[night.choice])
        expected = {key: shop.kind(key, asks, told) for key in shop.rows}
        planned, report = build(replace(wanted, writes=False)), build(wanted)
        paid = {
            text_of_key(line["key"])
            for source in report.sources
            for line in lines(gemini_batch_stack, str(source))
        }

        assert Counter(expected[key] for key in paid) == {
            kind: one.rows for kind, one in planned.kinds.items()
        }
        assert planned == replace(report, sources=())
        assert len(paid) == planned.requests
        assert Counter(kind for kind in expected.values() if isinstance(kind, RowKind)) == {
            kind: one.rows for kind, one in report.every.items()
        }
        kept = {key for key, kind in expected.items() if isinstance(kind, RowKind)} - paid
        changed = {
            key for key, kind in expected.items() if kind in (RowKind.CHANGED_QUESTION, RowKind.CHANGED)
        }
        most = {"all": len(changed), "new_rows": 0, "slices": 2}[night.choice]
        assert kept <= changed
        assert len(changed - kept) == min(most, len(changed))

        for key in paid:
            print_ = request(shop.rows[key], asks)
            if outcome := night.failing.get(key):
                shop.failures[key] = (print_, outcome)
            else:
                shop.answers[key] = (print_, asks)
                shop.failures.pop(key, None)
