"""What is read of a line without reading all of it is what reading all of it gives."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.decoder import read_answer
from airflow_gemini_batch.outputs.matching import line_identity, read_identity
from airflow_gemini_batch.outputs.rows import classify_output, row_usage
from airflow_gemini_batch.outputs.usage import LONG_PROMPT
from tests.landing.files.test_answers_sql import GOOD, changed
from tests.landing.files.test_answers_sql import SHAPES as CHANGES
from tests.outputs.row_shapes import SHAPES

ROWS: list[Any] = [
    *(
        # By number: the value that stands for "absent" has another name in each process.
        pytest.param(changed(path, value), id=f"{number}-{path}")
        for number, (path, value) in enumerate(CHANGES)
    ),
    *(
        pytest.param(
            {"key": "978-1", "status": shape.status, "response": shape.response, "error": shape.error},
            id=shape.name,
        )
        for shape in SHAPES
    ),
    pytest.param(changed("response.usageMetadata.promptTokenCount", LONG_PROMPT + 1), id="long-prompt"),
    pytest.param(changed("response.candidates.0.content.parts", [{}]), id="empty-part"),
    *(
        pytest.param(GOOD | {"key": key}, id=f"key-{key!r}")
        for key in ("a/b", "", "007", 7, 0.5, True, None, ["a"])
    ),
]


@pytest.mark.parametrize("row", ROWS)
def test_answer_is_what_the_whole_line_says(row: dict[str, Any]) -> None:
    if answer := read_answer(orjson.dumps(row)):
        assert classify_output(row).outcome is Outcome.OK
        assert (answer.identity, answer.usage) == (line_identity(row), row_usage(row))


@pytest.mark.parametrize("row", ROWS)
def test_key_is_what_the_whole_line_says(row: dict[str, Any]) -> None:
    assert read_identity(orjson.dumps(row)) in (None, line_identity(row))


def test_good_line_takes_the_short_way() -> None:
    line = orjson.dumps(GOOD)
    answer = read_answer(line)
    assert answer is not None
    assert (answer.identity, read_identity(line)) == ("key=978-1;", "key=978-1;")


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"5", orjson.dumps(GOOD)[:-1], b'{"key": "\xff"}', b"[" * 100_000]
)
def test_line_that_can_not_be_read_holds_nothing(line: bytes) -> None:
    assert read_answer(line) is None
    assert read_identity(line) is None
