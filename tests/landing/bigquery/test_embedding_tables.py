"""Vectors from tables land in tables, with the real client, against the local server."""

from __future__ import annotations

import json
import math

import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.classify import Outcome
from tests.landing.landings import JOB, NASTY
from tests.landing.vectors import VectorLanding, embedded, refused, vector_plan
from tests.outputs.vector_cases import CASES, LENGTH, REFUSALS

DOCUMENT = "RETRIEVAL_DOCUMENT"


@pytest.fixture
def landing(gemini_batch_stack):
    return VectorLanding(gemini_batch_stack)


def test_vector_lands_in_its_column_with_its_bookkeeping(landing):
    source = landing.texts({"978-1": NASTY})
    manifest = landing.submission(source, landing.vectors((NASTY, embedded([0.6, -0.8], 8, truncated=True))))
    report = landing.run(vector_plan(), manifest)
    assert (report.landed, report.failed) == (1, 0)
    landed = landing.landed()["978-1"]
    assert landed[:6] == ([0.6, -0.8], 8, True, 2, "text-embedding-005", 8)
    assert landed[6] is not None
    assert landed[7:] == (f"{JOB}/20", "f1", None)
    assert landing.types(landing.target)["embedding"] == ("FLOAT", "REPEATED")
    assert list(landing.types(landing.target))[5:] == [
        "batch_model",
        "batch_prompt_tokens",
        "batch_processed_time",
        "batch_job",
        "batch_fingerprint",
        "batch_question",
    ]


def test_equal_texts_get_equal_vectors(landing):
    source = landing.texts({"978-1": "A", "978-2": "A", "978-3": ("A", "", ""), "978-4": "B"})
    output = landing.vectors(("A", embedded([1.0])), ("B", embedded([-1.0])))
    assert landing.run(vector_plan(), landing.submission(source, output)).landed == 4
    assert landing.landed("embedding") == {"978-1": [1.0], "978-2": [1.0], "978-3": [1.0], "978-4": [-1.0]}


def test_texts_are_told_apart_by_task_type_and_title(landing):
    asked = {
        "978-1": ("A", DOCUMENT, "T"),
        "978-2": ("A", DOCUMENT, None),
        "978-3": ("A", "RETRIEVAL_QUERY", None),
        "978-4": ("A", None, None),
    }
    rows = [(text, embedded([float(number)])) for number, text in enumerate(asked.values(), 1)]
    landing.run(vector_plan(), landing.submission(landing.texts(asked), landing.vectors(*rows)))
    assert landing.landed("embedding") == {"978-1": [1.0], "978-2": [2.0], "978-3": [3.0], "978-4": [4.0]}


def test_tables_may_lack_task_type_and_title(landing):
    source = landing.texts({"978-1": "A"}, names=["content"])
    output = landing.vectors(("A", embedded([1.0])), names=["content"])
    assert landing.run(vector_plan(), landing.submission(source, output)).landed == 1


def test_text_whose_title_does_not_come_back_lands_unless_titles_differ(landing):
    texts = {"978-1": ("A", DOCUMENT, "T"), "978-2": ("B", DOCUMENT, "T"), "978-3": ("B", DOCUMENT, "U")}
    rows = [("A", embedded([1.0])), ("B", embedded([2.0])), ("B", embedded([3.0]))]
    output = landing.vectors(*rows, names=["content"])
    report = landing.run(vector_plan(), landing.submission(landing.texts(texts), output))
    assert landing.landed("embedding") == {"978-1": [1.0]}
    assert report.counts[Outcome.INVALID] == 2
    assert "asked for with several titles" in landing.failures("message")["978-2"]


def test_submissions_do_not_mix(landing):
    manifests = [
        landing.submission(
            landing.texts({key: "A"}), landing.vectors(("A", embedded([value]))), identity=f"shard {key}"
        )
        for key, value in (("978-1", 1.0), ("978-2", 2.0))
    ]
    assert landing.run(vector_plan(), *manifests).landed == 2
    assert landing.landed("embedding") == {"978-1": [1.0], "978-2": [2.0]}


def test_best_of_several_answers_lands(landing):
    source = landing.texts({"978-1": "A", "978-2": "B", "978-3": "C"})
    first = landing.vectors(("A", refused(503)), ("B", embedded([1.0])), ("C", refused(503)))
    second = landing.vectors(
        ("A", embedded([2.0])), ("A", refused(400)), ("B", refused(400)), ("C", refused())
    )
    report = landing.run(vector_plan(), landing.submission(source, first, second))
    assert landing.landed("embedding") == {"978-1": [2.0], "978-2": [1.0]}
    assert landing.failures("outcome", "round") == {"978-3": ("rejected", 1)}
    assert report.counts[Outcome.REJECTED] == 1


def test_failed_rows_tell_why(landing):
    texts = {f"978-{number}": str(number) for number in range(5)}
    rows = [
        ("0", refused()),
        ("1", refused(429)),
        ("2", {"predictions": [], "status": ""}),
        ("3", embedded([1.0])),
        ("nobody", embedded([1.0])),
    ]
    report = landing.run(vector_plan(), landing.submission(landing.texts(texts), landing.vectors(*rows)))
    assert report.landed == 1
    assert landing.failures("outcome", "code", "message") == {
        "978-0": ("rejected", 400, refused()["status"]),
        "978-1": ("retryable", 429, refused(429)["status"]),
        "978-2": ("missing", None, "the row has no vector"),
        "978-4": ("missing", None, "the output has no row for the request"),
    }


@pytest.mark.parametrize("kind", ["JSON", "STRING"])
def test_row_tells_its_error_wherever_it_stands(landing, kind):
    landing.predictions = kind
    source = landing.texts({refusal.name: refusal.name for refusal in REFUSALS})
    output = landing.vectors(*((refusal.name, refusal.cells(kind)) for refusal in REFUSALS), error=kind)
    landing.run(vector_plan(), landing.submission(source, output))
    found = landing.failures("outcome", "code", "message")
    assert {name: cells[:2] for name, cells in found.items()} == {
        refusal.name: (refusal.outcome, refusal.code) for refusal in REFUSALS if not refusal.outcome.answered
    }
    assert all(message for *_, message in found.values())


@pytest.mark.parametrize(("flag", "truncated"), [({}, True), ({"truncated": False}, False)])
def test_text_of_as_many_tokens_as_are_read_is_truncated_unless_the_row_says(landing, flag, truncated):
    cells = {"predictions": [{"embeddings": {"statistics": {"token_count": 2048, **flag}, "values": [1.0]}}]}
    source = landing.texts({"978-1": NASTY})
    landing.run(vector_plan(), landing.submission(source, landing.vectors((NASTY, {"status": "", **cells}))))
    assert landing.landed("truncated") == {"978-1": truncated}


@pytest.mark.parametrize("predictions", ["JSON", "STRING"])
def test_vector_lands_or_says_why_not(landing, predictions):
    landing.predictions = predictions
    rows = [(case.name, embedded(case.values)) for case in CASES]
    if predictions == "STRING":
        rows = [(name, {**cells, "predictions": json.dumps(cells["predictions"])}) for name, cells in rows]
    source = landing.texts({name: name for name, _ in rows})
    landing.run(vector_plan(LENGTH), landing.submission(source, landing.vectors(*rows)))
    unfit = {case.name: ("invalid", case.lands) for case in CASES if isinstance(case.lands, str)}
    assert landing.failures("outcome", "message") == unfit
    landed = {case.name: pytest.approx(case.lands) for case in CASES if case.name not in unfit}
    assert landing.landed("embedding") == landed


def test_vectors_are_of_one_length_when_none_was_asked_for(landing):
    vectors = {"1": [1.0, 2.0], "2": [1.0, 2.0, 3.0], "3": [2.0, 1.0], "4": [0.0, 0.0, 0.0]}
    source = landing.texts({key: key for key in vectors})
    output = landing.vectors(*((key, embedded(values)) for key, values in vectors.items()))
    landing.run(vector_plan(), landing.submission(source, output))
    assert landing.landed("dimensions") == {"1": 2, "3": 2}
    assert landing.failures("message")["2"] == "the vector has 3 dimensions, not the 2 of most"


def test_longer_vectors_are_cut_and_normalised_and_that_is_said_once(landing, caplog):
    vectors = {"1": [3.0, 4.0, 12.0], "2": [0.6, 0.8], "3": [-5.0, 0.0, 1.0], "4": [0.0, 0.0, 1.0]}
    source = landing.texts({key: key for key in vectors})
    output = landing.vectors(*((key, embedded(values)) for key, values in vectors.items()))
    with caplog.at_level("WARNING"):
        landing.run(vector_plan(2), landing.submission(source, output))
    landed = landing.landed("embedding")
    assert landed == {"1": [0.6, 0.8], "2": [0.6, 0.8], "3": [-1.0, 0.0]}
    assert all(math.hypot(*values) == pytest.approx(1) for values in landed.values())
    assert landing.landed("dimensions") == {"1": 2, "2": 2, "3": 2}
    assert landing.failures("message") == {"4": "the vector is zero"}
    (said,) = [one.getMessage() for one in caplog.records if "dimensions" in one.getMessage()]
    assert said.startswith("2 vectors had more than the 2 dimensions asked for")


def test_landing_twice_changes_nothing(landing):
    source = landing.texts({"978-1": "A", "978-2": "B"})
    manifest = landing.submission(source, landing.vectors(("A", embedded([3.0, 4.0, 5.0])), ("B", refused())))
    first = landing.run(vector_plan(2), manifest)
    before = (landing.landed(), landing.failures())
    assert landing.run(vector_plan(2), manifest) == first
    assert (landing.landed(), landing.failures()) == before


def test_job_without_output_leaves_all_rows_missing(landing):
    manifest = landing.submission(landing.texts({"978-1": "A"}), "")
    assert landing.run(vector_plan(), manifest).counts[Outcome.MISSING] == 1
    assert landing.failures("job") == {"978-1": f"{JOB}/10"}


def test_target_with_vectors_of_another_length_takes_no_more(landing):
    def land(*values: float) -> None:
        source = landing.texts({str(len(values)): "A"})
        landing.run(vector_plan(), landing.submission(source, landing.vectors(("A", embedded(list(values))))))

    land(1.0, 2.0)
    with pytest.raises(
        InvalidRequestError, match=r"the vectors have 3 dimensions, and those in .*books have 2"
    ):
        land(1.0, 2.0, 3.0)
    assert landing.landed("dimensions") == {"2": 2}
    land(2.0, 1.0)


def test_key_of_several_columns_of_any_type(gemini_batch_stack):
    landing = VectorLanding(gemini_batch_stack, key={"shop": "STRING", "number": "INT64"})
    source = landing.texts({("a", 1): "A", ("a", 2): "B"})
    output = landing.vectors(("A", embedded([1.0])), ("B", embedded([2.0])))
    landing.run(vector_plan(key=["shop", "number"]), landing.submission(source, output))
    assert landing.landed("embedding") == {("a", 1): [1.0], ("a", 2): [2.0]}


def test_output_of_another_kind_is_told(landing):
    source = landing.texts({"978-1": "A"})
    manifest = landing.submission(source, landing.output(("978-1", {"response": {}, "status": ""})))
    with pytest.raises(InvalidRequestError, match="has no column 'content', 'predictions'"):
        landing.run(vector_plan(), manifest)


def test_vectors_without_bookkeeping_stand_alone(landing):
    source = landing.texts({"978-1": "A"})
    manifest = landing.submission(source, landing.vectors(("A", embedded([1.0]))))
    landing.run(vector_plan(bookkeeping=False), manifest)
    assert list(landing.types(landing.target)) == [
        "isbn",
        "embedding",
        "token_count",
        "truncated",
        "dimensions",
    ]
