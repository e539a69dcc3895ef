"""Rows whose request has failed for good: in tables and in files the same ones are left out."""

from __future__ import annotations

import json
import logging
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import Forbidden

from airflow_gemini_batch.core.columns import FAILED_COLUMNS
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.done import Place
from airflow_gemini_batch.requests.failed import read_failed
from airflow_gemini_batch.requests.spec import failed_again
from tests.requests.plans import plan
from tests.support.requests_data import storage_client
from tests.support.tables import bigquery_client, fill, make_dataset

LOG = logging.getLogger(__name__)
COLUMNS = {"isbn": "STRING", "edition": "INT64", **FAILED_COLUMNS}


def row(isbn: str | None, outcome: str, times: int | None, **more: Any) -> dict[str, Any]:
    cells = {"isbn": isbn, "edition": 1, "outcome": outcome, "batch_fingerprint": f"f{isbn}"}
    return {**dict.fromkeys(COLUMNS), **cells, "times_failed": times, **more}


ROWS = [
    row("blocked", "blocked", 1),
    row("rejected", "rejected", 2, code=400),
    row("truncated", "truncated", 3),
    row("invalid", "invalid", None),  # of an earlier release
    row("forbidden", "rejected", 1, code=403),
    row("passing", "retryable", 2, code=503),
    row("missing", "missing", 0),
    row("unmarked", "blocked", 1, batch_fingerprint=None),
    row(None, "blocked", 1),
]
LEFT_OUT = {
    0: {"blocked", "rejected", "truncated", "invalid"},
    1: {"rejected", "truncated"},
    2: {"truncated"},
}


class Failures:
    """A table or a file of failures."""

    def __init__(self, kind: str, stack: Any, folder: Any) -> None:
        self._stack = stack
        self._kind = kind
        place = make_dataset(stack) + ".landed" if kind == "table" else folder / f"landed.{kind}"
        self.target = str(place)

    def hold(self, rows: list[dict[str, Any]], without: tuple[str, ...] = ()) -> None:
        columns = {name: kind for name, kind in COLUMNS.items() if name not in without}
        rows = [{name: one[name] for name in columns} for one in rows]
        path = self.target.replace("landed.", "landed__failed.")
        if self._kind == "table":
            fill(self._stack, f"{self.target}__failed", columns, rows)
        elif self._kind == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            with open(path, "w") as file:
                file.writelines(json.dumps(one) + "\n" for one in rows)

    def read(
        self, again: int | None = 0, place: Place = Place.FAILED, **options: Any
    ) -> list[tuple[str, str]]:
        asked = plan(target=self.target, ask_failed_again=again, **options)
        clients = (lambda: storage_client(self._stack), lambda: bigquery_client(self._stack))
        return [mark[:2] for mark in read_failed(asked, *clients, LOG) if mark.place == place]


@pytest.fixture(params=["table", "parquet", "jsonl"])
def failures(request, gemini_batch_stack, tmp_path):
    return Failures(request.param, gemini_batch_stack, tmp_path)


def test_rows_are_left_out_until_they_were_asked_often_enough(failures):
    failures.hold(ROWS)
    for again, keys in LEFT_OUT.items():
        assert sorted(failures.read(again)) == sorted((key, f"f{key}") for key in keys)
        tried = {str(row["isbn"]) for row in ROWS[:-2]} - keys
        assert sorted(failures.read(again, Place.TRIED)) == sorted((key, f"f{key}") for key in tried)
    assert failures.read(None) == []
    assert len(failures.read(None, Place.TRIED)) == len(ROWS) - 2
    assert failures.read(incremental=False) == []
    assert ('["blocked","1"]', "fblocked") in failures.read(key=("isbn", "edition"))


def test_without_failures_nothing_is_left_out(failures):
    assert failures.read() == []


def test_failures_of_an_earlier_release_count_once(failures):
    failures.hold(ROWS[:1], without=("times_failed", "code"))
    assert failures.read(0) == [("blocked", "fblocked")]
    assert failures.read(1) == []


@pytest.mark.parametrize("column", ["batch_fingerprint", "outcome"])
def test_what_no_column_tells_is_asked_again_with_a_warning(failures, caplog, column):
    failures.hold(ROWS, without=(column,))
    assert failures.read() == []
    assert f"has no column {column}, so rows that have failed for good may be asked again" in caplog.text


def test_failures_without_the_key_are_refused_before_anything_is_paid(failures):
    failures.hold(ROWS, without=("isbn",))
    with pytest.raises(
        InvalidRequestError, match=r"failed_target .* has no column 'isbn', which the key names"
    ):
        failures.read()


def test_failures_that_can_not_be_read_are_not_taken_for_absent(gemini_batch_stack, tmp_path):
    (tmp_path / "landed__failed.parquet").write_bytes(b"nonsense")
    with pytest.raises(InvalidRequestError, match="can't be read as Parquet"):
        Failures("parquet", gemini_batch_stack, tmp_path).read()

    class Forbidding:
        def get_table(self, *_: Any, **__: Any) -> None:
            raise Forbidden("no access to landed__failed")

    asked = plan(target="bq://project-1.shop.landed")
    with pytest.raises(Forbidden):
        list(read_failed(asked, lambda: None, Forbidding, LOG))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(("given", "times"), [(0, 0), (3, 3), ("2", 2), ("always", None)])
def test_how_often_is_a_number_or_always(given, times):
    assert failed_again(given) == times


@pytest.mark.parametrize("given", [-1, "-1", "never", "", None, True, 1.5])
def test_anything_else_is_refused(given):
    with pytest.raises(ValueError, match="ask_failed_again has to be 0, a number of runs or 'always'"):
        failed_again(given)
