"""Lines with vectors, read from files by DuckDB."""

from __future__ import annotations

import json
import math
import random
from typing import Any, NamedTuple

import pytest

from airflow_gemini_batch.core.keys import sent_key
from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.classify_sql import SAMPLE_LENGTH
from airflow_gemini_batch.outputs.matching import content_id, request_digest
from airflow_gemini_batch.outputs.vector_lines import vector_lines
from tests.outputs.lines import read_vectors, sort_rows
from tests.outputs.row_shapes import SHAPES
from tests.outputs.vector_cases import CASES, LENGTH, REFUSALS, Case
from tests.support.cases import at_once, parameters_of

TEXT, GEMINI = TEXT_EMBEDDING, GEMINI_EMBEDDING
VALUES = [0.6, -0.8]


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Read lines, each of a text or a key of its own; returns them in their order."""

    def read(
        family: ModelFamily, rows: list[dict[str, Any]], columns: list[str], dimensions=None, limit=2048
    ) -> list[tuple[Any, ...]]:
        lines, ids = [], []
        for number, row in enumerate(rows):
            if family is TEXT:
                instance = {"content": str(number)}
                ids.append(content_id(instance, TEXT))
                lines.append({"instance": instance, **row})
            else:
                ids.append(sent_key(str(number)))
                lines.append({"key": ids[-1], "request": {}, **row})
        encoded = [json.dumps(line).encode() for line in lines]
        found = read_vectors(tmp_path_factory.mktemp("lines"), family, encoded, columns, dimensions, limit)
        assert found.unreadable == 0
        by_id = {id_: values for id_, *values, _ in found.rows}
        assert len(by_id) == len(found.rows) == len(rows)
        return [tuple(by_id[id_]) for id_ in ids]

    return read


ALL_COLUMNS = ["outcome", "message", "numbers", "token_count", "truncated", "fitted", "shortened"]


class Alone(NamedTuple):
    """A row, and what is read of it."""

    family: ModelFamily
    row: dict[str, Any]
    dimensions: int | None = None
    beside: dict[str, Any] | None = None


@pytest.fixture(scope="module")
def read_row(request, read):
    """Read some columns of a row; those of all cases that are read alike are read together.

    A row with something odd, beside which all would be read by the general rules, is read alone.
    """

    def judge(cases: list[Alone]) -> list[tuple[Any, ...]]:
        groups: dict[Any, list[int]] = {}
        for number, one in enumerate(cases):
            alone = number if vector_lines(one.family).is_odd(json.dumps(one.row).encode()) else None
            groups.setdefault((one.family, one.dimensions, repr(one.beside), alone), []).append(number)
        found = {}
        for numbers in groups.values():
            (family, _, dimensions, beside), rows = cases[numbers[0]], [cases[each].row for each in numbers]
            some = read(family, rows + ([beside] if beside else []), ALL_COLUMNS, dimensions)
            found.update(zip(numbers, some, strict=False))
        return [found[number] for number in range(len(cases))]

    result = at_once(judge, (one for parameters in parameters_of(request) for one in alone(**parameters)))

    def read_row(case: Alone, *columns: str) -> tuple[Any, ...]:
        row = dict(zip(ALL_COLUMNS, result(case), strict=True))
        return tuple(row[column] for column in columns)

    return read_row


def alone(**parameters: Any) -> list[Alone]:
    """Return the rows that a test reads alone, from its parameters."""
    match parameters:
        case {"family": family, "row": row, "token_count": _}:
            # Beside a line with something odd every line is read by the general rules.
            odd = {family.answer_column: {"values": [None]}}
            return [Alone(family, row), Alone(family, row, beside=odd)]
        case {"family": family, "row": row}:
            return [Alone(family, row)]
        case {"family": family, "status": status}:
            vector = {"predictions": [prediction()], "response": {"embedding": {"values": VALUES}}}
            return [Alone(family, {"status": status, **vector})]
        case {"values": values, "dimensions": dimensions}:
            return [vector_of(values, dimensions)]
        case {"case": Case(values=values)}:
            return [vector_of(values, LENGTH)]
    return []


def vector_of(values: Any, dimensions: int | None) -> Alone:
    return Alone(GEMINI, {"response": {"embedding": {"values": values}}}, dimensions)


def prediction(**statistics: Any) -> dict[str, Any]:
    """Return one item of ``predictions``."""
    return {"embeddings": {"statistics": statistics, "values": VALUES}}


@pytest.mark.parametrize(
    ("family", "row", "token_count", "truncated"),
    [
        pytest.param(
            TEXT,
            {"predictions": [prediction(token_count=8, truncated=False)], "status": ""},
            8,
            False,
            id="text",
        ),
        pytest.param(
            TEXT,
            {"predictions": json.dumps([prediction(token_count=2048.0, truncated=True)]), "status": None},
            2048,
            True,
            id="text-in-a-table",
        ),
        pytest.param(
            TEXT, {"predictions": [{"embeddings": {"values": VALUES}}]}, None, None, id="no-statistics"
        ),
        pytest.param(
            TEXT, {"predictions": [prediction()], "status": '{"code": 0}'}, None, None, id="status-ok"
        ),
        pytest.param(TEXT, {"predictions": prediction(token_count="8")}, 8, None, id="no-list"),
        pytest.param(
            GEMINI, {"response": {"tokenCount": "2", "embedding": {"values": VALUES}}}, 2, None, id="gemini"
        ),
        pytest.param(
            GEMINI, {"response": {"embeddings": [{"values": VALUES}]}, "status": ""}, None, None, id="list"
        ),
        pytest.param(GEMINI, {"response": {"embeddings": {"values": VALUES}}}, None, None, id="list-of-none"),
        pytest.param(
            GEMINI,
            {"response": {"embedding": {"values": VALUES}, "usageMetadata": {"promptTokenCount": 3}}},
            3,
            None,
            id="usage",
        ),
        pytest.param(
            GEMINI,
            {"response": {"embeddings": [{"values": VALUES, "statistics": {"truncated": True}}]}},
            None,
            True,
            id="truncated",
        ),
        *(
            pytest.param(
                GEMINI,
                {"response": {"tokenCount": tokens, **flags, "embedding": {"values": VALUES, **within}}},
                int(tokens),
                truncated,
                id=name,
            )
            for name, tokens, flags, within, truncated in (
                ("truncated-on-top", "9", {"truncated": True}, {}, True),
                ("not-truncated-on-top", "2048", {"truncated": False}, {}, False),
                ("truncated-beside-the-values", "9", {}, {"truncated": True}, True),
                ("flag-null", "9", {"truncated": None}, {}, None),
                ("no-flag-below-the-limit", "2047", {}, {}, None),
                ("no-flag-at-the-limit", "2048", {}, {}, True),
                ("no-flag-above-the-limit", "3000", {"truncated": None}, {}, True),
            )
        ),
        pytest.param(
            TEXT, {"predictions": [prediction(token_count=2048)]}, 2048, True, id="text-at-the-limit"
        ),
        pytest.param(
            GEMINI, {"response": json.dumps({"embedding": {"values": VALUES}})}, None, None, id="as-json-text"
        ),
    ],
)
def test_reads_vectors(read_row, family, row, token_count, truncated):
    for one in alone(family=family, row=row, token_count=token_count):
        found = read_row(one, "outcome", "message", "numbers", "token_count", "truncated")
        assert found == ("ok", None, VALUES, token_count, truncated)


@pytest.mark.parametrize(
    ("family", "row"),
    [
        (TEXT, {}),
        (TEXT, {"predictions": []}),
        (TEXT, {"predictions": None, "status": ""}),
        (TEXT, {"predictions": "{broken"}),
        (TEXT, {"predictions": [{"embeddings": {}}]}),
        (TEXT, {"response": {"embedding": {"values": VALUES}}}),
        (GEMINI, {"response": {}}),
        (GEMINI, {"response": None}),
        (GEMINI, {"response": {"embeddings": []}}),
        (GEMINI, {"response": {"embedding": {"values": None}}}),
        (GEMINI, {"predictions": [prediction()]}),
    ],
)
def test_row_without_a_vector_is_missing(read_row, family, row):
    found = read_row(Alone(family, row), "outcome", "message", "token_count", "truncated")
    assert found == ("missing", "the row has no vector", None, None)


@pytest.mark.parametrize("kind", ["JSON", "STRING"])
def test_row_tells_its_error_wherever_it_stands(read, kind):
    found = read(TEXT, [refusal.cells(kind) for refusal in REFUSALS], ["outcome", "status_code"])
    assert dict(zip((one.name for one in REFUSALS), found, strict=True)) == {
        one.name: (one.outcome, one.code) for one in REFUSALS
    }


@pytest.mark.parametrize("family", [TEXT, GEMINI])
def test_what_failed_is_sorted_as_generated_content_is(read, tmp_path, family):
    # A line without a vector: what counts is where it tells its error.
    answers = [
        {"response": shape.response, "error": shape.error}
        for shape in SHAPES
        if not shape.status
        and shape.outcome in (Outcome.REJECTED, Outcome.RETRYABLE)
        and "candidates" not in (shape.response or {})
    ]
    assert answers
    rows = [
        {
            family.answer_column: one["response"] if family is GEMINI else [one["response"]],
            "error": one["error"],
        }
        for one in answers
    ]
    assert read(family, rows, ["outcome", "message", "status_code"]) == [
        (told.outcome, str(told.message)[:SAMPLE_LENGTH], told.code) for told in sort_rows(tmp_path, answers)
    ]


@pytest.mark.parametrize("family", [TEXT, GEMINI])
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ('Bad Request: {"error": {"code": 400, "message": "The text content is empty."}}', Outcome.REJECTED),
        ('{"code": 429, "message": "Quota"}', Outcome.RETRYABLE),
        ({"code": 3, "message": "Bad"}, Outcome.REJECTED),
        ("Something broke", Outcome.RETRYABLE),
    ],
)
def test_row_with_a_status_failed_even_with_a_vector(read_row, family, status, outcome):
    (row,) = alone(family=family, status=status)
    found, message = read_row(row, "outcome", "message")
    assert found == outcome
    assert message


@pytest.mark.parametrize("limit", [2048, 8192])
def test_text_is_truncated_at_the_limit_of_its_model(read, limit):
    rows = [
        {"response": {"tokenCount": tokens, "embedding": {"values": VALUES}}} for tokens in (limit - 1, limit)
    ]
    assert read(GEMINI, rows, ["truncated"], limit=limit) == [(None,), (True,)]


LANDING = ("outcome", "fitted", "message", "shortened")


def landed(outcome: str, numbers: Any, message: str | None, shortened: bool) -> tuple[Any, bool]:
    return numbers if outcome == "ok" else message, shortened and outcome == "ok"


def lands(read, values: list[Any], dimensions: int | None = None) -> list[tuple[Any, bool]]:
    rows = [vector_of(one, dimensions).row for one in values]
    return [landed(*cells) for cells in read(GEMINI, rows, list(LANDING), dimensions)]


@pytest.mark.parametrize("dimensions", [None, 2])
@pytest.mark.parametrize("values", [[0.6, -0.8], [3.0, 4.0], [1, 0.5], [1e-100, 0.0], [0.1, 1 / 3]])
def test_keeps_vectors_of_the_right_length_as_they_are(read_row, values, dimensions):
    assert landed(*read_row(vector_of(values, dimensions), *LANDING)) == (values, False)


@pytest.mark.parametrize("values", [[3.0, 4.0, 12.0], [3e-100, 4e-100, 1.0], [3e100, 4e100, 1.0]])
def test_cuts_longer_vectors_and_normalises_them_again(read, values):
    assert lands(read, [values], 2) == [(pytest.approx([0.6, 0.8]), True)]
    ((numbers, _),) = lands(read, [[0.1] * 3072], 768)
    assert math.hypot(*numbers) == pytest.approx(1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_vector_lands_or_says_why_not(read_row, case: Case):
    # Without something odd beside it, it is read by declared types where that is possible.
    found, _ = landed(*read_row(vector_of(case.values, LENGTH), *LANDING))
    assert found == (case.lands if isinstance(case.lands, str) else pytest.approx(case.lands))


def test_vectors_beside_others_land_as_alone(read):
    found = [numbers for numbers, _ in lands(read, [case.values for case in CASES], LENGTH)]
    assert found == [
        case.lands if isinstance(case.lands, str) else pytest.approx(case.lands) for case in CASES
    ]


@pytest.mark.parametrize(
    ("values", "dimensions", "error"),
    [
        ([0.6, 0.8], 3, "the vector has 2 dimensions, not the 3 asked for"),
        ([], None, "the vector is empty"),
        ("0.6", None, "the vector is empty"),
        ([0.0, 0], None, "the vector is zero"),
        ([0.0, 0.0, 1.0], 2, "the vector is zero"),
        ([math.nan, 1.0], None, "not a finite number"),
        ([math.inf, math.nan], None, "not a finite number"),
        ([-math.inf, 1.0, 1.0], 2, "not a finite number"),
        ([None, 1.0], None, "not a finite number"),
        ([True, 1.0], None, "not a finite number"),
        (["NaN", 1.0], 2, "not a finite number"),
        ([[0.6], [0.8]], None, "not a finite number"),
        ([10**400, 1.0], None, "not a finite number"),
    ],
)
def test_finds_fault_with_vectors_that_cannot_be_searched(read_row, values, dimensions, error):
    message, shortened = landed(*read_row(vector_of(values, dimensions), *LANDING))
    assert error in message
    assert not shortened


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 400])
@pytest.mark.parametrize("dimensions", [None, 2])
def test_number_beyond_float_is_none(tmp_path, number, dimensions):
    line = f'{{"key": "key=1;", "response": {{"embedding": {{"values": [0.5, {number}, 0.5]}}}}}}'
    read = read_vectors(tmp_path, GEMINI, [line.encode()], ["message"], dimensions)
    assert read.unreadable or "not a finite number" in read.rows[0][1]


def test_numbers_are_those_that_came(read):
    dice = random.Random(1)
    vectors = [[dice.gauss(0, 10.0 ** dice.randrange(-20, 20)) for _ in range(50)] for _ in range(50)]
    assert lands(read, vectors) == [(vector, False) for vector in vectors]


def test_answers_of_keys_that_came_otherwise_are_known_by_their_requests(tmp_path):
    request = {"content": {"parts": [{"text": "A"}]}}
    answer = {"request": request, "response": {"embedding": {"values": VALUES}}}
    lines = [json.dumps({**key, **answer}).encode() for key in ({}, {"key": 7}, {"key": "b"})]
    found = read_vectors(tmp_path, GEMINI, lines, ["bare_key", "outcome"]).rows
    digest = request_digest(request).hex()
    assert sorted(found, key=str) == [
        (None, "7.0", "ok", digest),
        (None, "b", "ok", digest),
        (None, None, "ok", digest),
    ]


def test_odd_lines_are_rewritten_or_counted(tmp_path):
    good = json.dumps({"key": sent_key("1"), "request": {}, "response": {"embedding": {"values": VALUES}}})
    lines = [
        good.encode(),
        good.replace("key=1;", "key=2;").replace("0.6", "NaN").encode(),
        good.replace("key=1;", "key=3;").replace('"request": {}', r'"request": {"text": "\ud800"}').encode(),
        good.encode()[:40],
        b"[1]",
    ]
    found = read_vectors(tmp_path, GEMINI, lines, ["numbers", "message"])
    assert found.unreadable == 2
    assert sorted(found.rows) == [
        ("key=1;", VALUES, None, None),
        ("key=2;", [None, -0.8], "the vector holds something that is not a finite number", None),
        ("key=3;", VALUES, None, None),
    ]
