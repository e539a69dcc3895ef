"""The gate: thresholds are met or not, and what is not known meets none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_gemini_batch.canary.figures import NOTHING, Share
from airflow_gemini_batch.canary.report import CanaryReport, RollOutCost
from airflow_gemini_batch.canary.settings import Canary
from airflow_gemini_batch.canary.verdict import judge

REPORT = CanaryReport(
    question="q",
    answered=190,
    failed={"invalid": 10},
    agreement=Share(180, 200),
    fields=(),
    cost=RollOutCost(1000, canary=1.0, low=4.0, expected=5.0, high=6.0),
    golden_rows=20,
    golden=Share(18, 20),
)
GOLDEN = "bq://my-project.books.golden"


@pytest.mark.parametrize(
    ("canary", "words"),
    [
        pytest.param(Canary(), None, id="defaults"),
        pytest.param(Canary(min_agreement=0.9), None, id="agreement met exactly"),
        pytest.param(Canary(min_agreement=0.91), "the agreement is 90.0%", id="agreement"),
        pytest.param(Canary(golden=GOLDEN), None, id="golden rows without a threshold"),
        pytest.param(Canary(golden=GOLDEN, min_golden_accuracy=0.9), None, id="golden met exactly"),
        pytest.param(
            Canary(golden=GOLDEN, min_golden_accuracy=0.95), "the golden accuracy is 90.0%", id="golden"
        ),
        pytest.param(Canary(max_invalid=0.05), None, id="invalid met exactly"),
        pytest.param(
            Canary(max_invalid=0.04), "5.0% (2.7% to 9.0%) of 200 rows have no usable", id="invalid"
        ),
        pytest.param(Canary(max_invalid=None), None, id="invalid not asked"),
        pytest.param(Canary(max_cost_usd=7), None, id="cost met exactly"),
        pytest.param(Canary(max_cost_usd=6.99), "the whole may cost $7.00, more than", id="cost"),
    ],
)
def test_thresholds(canary, words):
    verdict = judge(REPORT, canary)
    assert verdict.passed is (words is None)
    assert [words in reason for reason in verdict.reasons if words] == ([True] if words else [])
    assert verdict.to_json() == {"passed": verdict.passed, "reasons": list(verdict.reasons)}


@pytest.mark.parametrize(
    ("report", "canary", "words"),
    [
        (replace(REPORT, agreement=NOTHING), Canary(), "nothing could be compared"),
        (replace(REPORT, agreement=NOTHING), Canary(min_agreement=0), "nothing could be compared"),
        (replace(REPORT, golden=NOTHING), Canary(golden=GOLDEN), "none of the 20 golden rows was asked"),
        (
            replace(REPORT, golden=NOTHING, golden_rows=0),
            Canary(golden=GOLDEN, min_golden_accuracy=0),
            "none of the 0 golden rows was asked",
        ),
        (
            replace(REPORT, cost=RollOutCost(1000, canary=1.0, unknown="there is no batch rate for x")),
            Canary(max_cost_usd=1e9),
            "max_cost_usd=$1,000,000,000.00 can't be checked: there is no batch rate for x",
        ),
        (
            replace(REPORT, answered=0, failed={}, agreement=NOTHING),
            Canary(max_invalid=1),
            "it is not known how many rows have no usable answer",
        ),
    ],
)
def test_unknown_is_never_passed(report, canary, words):
    reasons = judge(report, canary).reasons
    assert any(words in reason for reason in reasons), reasons


def test_each_threshold_has_its_reason():
    canary = Canary(
        golden=GOLDEN, min_agreement=1, min_golden_accuracy=1, max_invalid=0, max_cost_usd=0, approve="person"
    )
    assert len(judge(REPORT, canary).reasons) == 4
