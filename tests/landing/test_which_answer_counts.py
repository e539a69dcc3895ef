"""Whichever way answers land or are read, the same one of several counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_gemini_batch import iter_responses
from tests.landing.answer_files import line, parquet
from tests.landing.landings import TEXT, bad, good
from tests.landing.vectors import VectorLanding, embedded, refused, vector_plan
from tests.outputs.answer_cases import CASES, Answer, Case

CODES = {"retryable": 503, "rejected": 400}


def cells(index: int, answer: Answer) -> dict[str, Any]:
    """Return the cells of an answer that tell which one it is."""
    content = good(str(index)) if answer.outcome.answered else bad(CODES[answer.outcome], f"number {index}")
    return {**content, "processed_time": answer.time.isoformat()}


def by_round(cases: list[Case], make: Callable[[Case, int, Answer], Any]) -> list[list[Any]]:
    """Return what is made of the answers of each round."""
    return [
        [
            make(case, index, answer)
            for case in cases
            for index, answer in enumerate(case.answers)
            if answer.round == number
        ]
        for number in range(max(case.rounds for case in cases))
    ]


def check(cases: list[Case], answers: dict[str, str], failures: dict[str, tuple[str, str]]) -> None:
    """Hold what counts against the cases: the text of a good answer, outcome and message of a failure."""
    assert answers.keys() | failures.keys() == {case.name for case in cases}
    for case in cases:
        possible = range(len(case.answers)) if case.tie else [case.counts]
        if case.best.outcome.answered:
            assert answers[case.name] in {str(index) for index in possible}, case
        else:
            outcome, message = failures[case.name]
            assert outcome == case.best.outcome, case
            assert any(f"number {index}" in message for index in possible), case


def test_in_tables(landing):
    source = landing.requests(*(case.name for case in CASES))
    rounds = by_round(CASES, lambda case, index, answer: (case.name, cells(index, answer)))
    landing.run(TEXT, landing.manifest(source, *(landing.output(*rows) for rows in rounds)))
    check(CASES, landing.landed("answer"), landing.failures("outcome", "message"))


def manifest_of_files(files):
    source = files.requests(*(case.name for case in CASES))
    rounds = by_round(CASES, lambda case, index, answer: line(case.name, cells(index, answer)))
    return files.manifest(source, *(files.output(*lines) for lines in rounds))


def test_in_files(files):
    files.run(TEXT, manifest_of_files(files))
    failures = parquet(files.target.replace(".parquet", "__failed.parquet"), "isbn", "outcome", "message")
    found = {key: (outcome, message) for key, outcome, message in failures}
    check(CASES, dict(parquet(files.target, "isbn", "answer")), found)


def test_read_one_by_one(files):
    # Reading as it goes it has yielded the first of two good answers of one job before it sees the second.
    cases = [case for case in CASES if case.name != "newest-of-two-good"]
    content = manifest_of_files(files).to_json()
    content["rounds"][0]["surplus"] = {"duplicate": 1, "unknown": 0}
    responses = {one.key: one for one in iter_responses(content)}
    del responses["newest-of-two-good"]
    answers = {key: one.text for key, one in responses.items() if one.outcome.answered}
    failures = {key: (one.outcome, one.message) for key, one in responses.items() if not one.outcome.answered}
    check(cases, answers, failures)


def vector(index: int, answer: Answer) -> dict[str, Any]:
    if answer.outcome.answered:
        return embedded([index + 1.0])
    code = CODES[answer.outcome]
    return {**refused(code), "status": refused(code)["status"].replace('"m"', f'"number {index}"')}


def test_of_vectors_in_tables(gemini_batch_stack):
    cases = [case for case in CASES if not case.needs_time]  # a row does not say when it came
    landing = VectorLanding(gemini_batch_stack)
    source = landing.texts({case.name: case.name for case in cases})
    rounds = by_round(cases, lambda case, index, answer: (case.name, vector(index, answer)))
    manifest = landing.submission(source, *(landing.vectors(*rows) for rows in rounds))
    landing.run(vector_plan(1), manifest)
    answers = {key: str(int(values[0]) - 1) for key, values in landing.landed("embedding").items()}
    check(cases, answers, landing.failures("outcome", "message"))
