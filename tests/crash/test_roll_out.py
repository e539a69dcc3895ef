"""A changed question is rolled out over five nights, with kills in between, and each row is paid once."""

from __future__ import annotations

import random
from collections import Counter

import pyarrow.parquet as pq
import pytest

from airflow_gemini_batch.core.keys import text_of_key
from airflow_gemini_batch.testing.stack import LocalStack
from tests.crash.evidence import jobs_of
from tests.crash.roll_out import CANARY_ROWS, NOW, ROWS_A_NIGHT, THEN, Night, survive
from tests.support.requests_data import lines

pytestmark = pytest.mark.slow

NIGHTS = 5
ROWS = CANARY_ROWS + NIGHTS * ROWS_A_NIGHT - 2
KILLS_A_NIGHT = 3


@pytest.mark.parametrize("seed", [1])
def test_each_row_is_paid_once(tmp_path, monkeypatch, seed: int) -> None:
    books = "".join(f"{number},Title {number}\n" for number in range(ROWS))
    (tmp_path / "books.csv").write_text(f"isbn,title\n{books}")
    kills, killed = random.Random(seed), list[str]()
    with LocalStack(tmp_path / "data", queue_seconds=0.1, run_seconds=0.2) as stack:
        environment = stack.environment()
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        stack.storage.create_bucket("shop")

        def play(number: int, prompt: str, most: int) -> None:
            night = Night(number, prompt, tmp_path, "gs://shop/requests")
            killed.extend(survive(night, kills, most, environment, tmp_path / "log.txt"))

        play(0, THEN, 0)
        (then,) = set(pq.read_table(tmp_path / "landed.parquet")["batch_question"].to_pylist())
        new = []
        for number in range(1, NIGHTS + 1):
            play(number, NOW, KILLS_A_NIGHT)
            questions = pq.read_table(tmp_path / "landed.parquet")["batch_question"].to_pylist()
            new.append(len(questions) - questions.count(then))
        paid = Counter(
            (text_of_key(line["key"]), line["request"]["contents"][0]["parts"][0]["text"].split()[0])
            for job in jobs_of(stack.vertex)
            for uri in job["inputConfig"]["gcsSource"]["uris"]
            for line in lines(stack, uri)
        )
    assert new == [min(ROWS, CANARY_ROWS + night * ROWS_A_NIGHT) for night in range(1, NIGHTS + 1)]
    assert paid == Counter({(str(row), word): 1 for row in range(ROWS) for word in ("Describe", "Praise")})
    assert len(killed) > NIGHTS, killed
