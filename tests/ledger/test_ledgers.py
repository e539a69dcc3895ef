"""A ledger keeps one record for each run, in a table and in files alike."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from google.api_core.exceptions import BadRequest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError, LedgerError
from airflow_gemini_batch.ledger.record import LANDED, REFUSED, Spent
from airflow_gemini_batch.ledger.runs import with_costs
from airflow_gemini_batch.ledger.table import TableLedger
from tests.ledger.runs import DAY, HOUR, NOW, manifest, record
from tests.support.tables import bigquery_client, fill, make_dataset, read

QUESTION = {"model": "m", "parts": ["[[ ] \\ ' \" \n é ☃ \u2028"], "prompt": ["it's", ["title", ""]]}
LANDED_RUN = replace(
    with_costs(
        record(2, 10.1, started=NOW - DAY, labels={"team": "search"}, question="q1", definition=QUESTION),
        [
            manifest("jobs/2", 0.1 + 0.2, NOW - DAY + HOUR, follow_ups=2),
        ],
        {"ok": 90, "blocked": 10},
        NOW,
    ),
    verdict={"passed": True, "by": "thresholds", "agreement": 0.93},
)
RUNS = [
    record(1, None, started=NOW - 40 * DAY, target="gs://b/it's.parquet"),
    LANDED_RUN,
    record(3, 1e-7, dag_id="ä \n '\"\\ `", kind="canary", group="describe"),
    replace(record(4, sources=[]), state=REFUSED),
]


def test_records_come_back_as_they_were(ledger):
    assert not ledger.exists()
    assert (ledger.records(), ledger.find(RUNS[0].run)) == ([], None)
    for one in reversed(RUNS):
        ledger.put(one)
    assert ledger.exists()
    assert {one.run: one for one in ledger.records()} == {one.run: one for one in RUNS}
    assert ledger.records()[:2] == RUNS[:2]
    assert [ledger.find(one.run) for one in RUNS] == RUNS
    assert ledger.find("0" * 32) is None


def test_same_run_is_one_record(ledger):
    for state in ("building", "failed", LANDED):
        ledger.put(replace(RUNS[0], state=state))
        ledger.put(RUNS[1])
    assert [(one.run, one.state) for one in ledger.records()] == [
        (RUNS[0].run, LANDED),
        (RUNS[1].run, RUNS[1].state),
    ]


@pytest.mark.parametrize(
    ("since", "numbers"),
    [
        pytest.param(NOW - 60 * DAY, {1, 2, 3, 4}, id="all"),
        # It began before and ended since.
        pytest.param(NOW - HOUR, {2, 3, 4}, id="ended-since"),
        pytest.param(NOW, {2, 3, 4}, id="at-that-moment"),
        pytest.param(NOW + HOUR, set(), id="none"),
    ],
)
def test_records_since(ledger, since, numbers):
    for one in RUNS:
        ledger.put(one)
    assert {int(one.run_id.partition("-")[2]) for one in ledger.records(since)} == numbers


def test_writers_of_other_runs_are_not_in_the_way(kind, place, open_ledger):
    runs = [record(number) for number in range(1, 7)]

    def life(one):
        own = open_ledger(place)
        own.put(one)
        own.put(replace(one, state=LANDED))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(life, runs))
    found = open_ledger(place).records()
    assert {(one.run, one.state) for one in found} == {(one.run, LANDED) for one in runs}
    assert len(found) == len(runs)


def test_record_of_a_later_release_is_read(ledger, write):
    one = LANDED_RUN
    content = one.to_json() | {"version": 7, "colour": {"red": [1]}, "state": "pondering"}
    content["spent"]["jobs/2"]["carbon"] = 3
    write(one.run, json.dumps(content))
    assert ledger.records() == [replace(one, state="pondering")]
    assert ledger.find(one.run) == replace(one, state="pondering")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param({}, "'run' is missing", id="empty"),
        pytest.param([1], "list indices", id="list"),
        pytest.param(RUNS[0].to_json() | {"expected_usd": -1}, "an amount of dollars", id="negative"),
        pytest.param(RUNS[0].to_json() | {"started": "yesterday"}, "Invalid isoformat", id="time"),
        pytest.param(RUNS[0].to_json() | {"dag_id": 3}, "a text is expected, not 3", id="type"),
        pytest.param(RUNS[0].to_json() | {"spent": []}, "has no attribute 'items'", id="spent"),
    ],
)
def test_record_that_can_t_be_read_is_an_error_and_not_nothing(ledger, write, content, told):
    ledger.put(RUNS[1])
    run = "f" * 32
    write(run, json.dumps(content))
    for ask in (ledger.records, lambda: ledger.find(run)):
        with pytest.raises(LedgerError, match="not known what was spent") as error:
            ask()
        assert told in str(error.value)
        assert run in str(error.value)
    assert ledger.find(RUNS[1].run) == RUNS[1]


@pytest.mark.parametrize("kind", ["bucket", "folder"], indirect=True)
def test_other_files_in_the_folder_are_left_alone(ledger, write):
    ledger.put(RUNS[0])
    for name in ("README", "f" * 31, "F" * 32, f"old/{'f' * 32}", f".{'f' * 32}.json.0123.gemini-batch"):
        write("", "not a record", name)
    assert ledger.records() == [RUNS[0]]


@pytest.mark.parametrize("kind", ["bucket", "folder"], indirect=True)
def test_file_that_is_cut_is_an_error(ledger, write):
    write("f" * 32, json.dumps(RUNS[0].to_json())[:-9])
    with pytest.raises(
        LedgerError, match=f"texts__runs/{'f' * 32}.json can't be read as the record of a run"
    ):
        ledger.records()


@pytest.mark.parametrize(
    "place", ["bq://demo-project.absent.texts__runs", "gs://no-such-bucket-1/runs/", "/proc/texts__runs/"]
)
def test_ledger_that_can_t_be_written_is_an_error(open_ledger, place):
    with pytest.raises(LedgerError, match=f"the ledger of runs {place} could not be written: "):
        open_ledger(place).put(RUNS[0])


@pytest.mark.parametrize("address", ["gs://no-such-bucket-1/runs/", "/proc/version/runs/"])
def test_ledger_that_can_t_be_read_is_an_error(open_ledger, address):
    ledger = open_ledger(address)
    for ask in (ledger.records, ledger.exists):
        with pytest.raises(LedgerError, match=f"the ledger of runs {address} could not be read: "):
            ask()


def test_tables_of_others_are_not_a_ledger(gemini_batch_stack, open_ledger, place_of_table):
    fill(
        gemini_batch_stack, place_of_table, {"run": "STRING", "title": "STRING"}, [{"run": "1", "title": "2"}]
    )
    ledger = open_ledger(place_of_table)
    assert not ledger.exists()
    for ask in (ledger.records, lambda: ledger.put(RUNS[0])):
        with pytest.raises(InvalidRequestError, match="is not a ledger of runs: it has no column 'started'"):
            ask()


def test_table_of_another_release_gets_the_columns_that_it_lacks(
    gemini_batch_stack, open_ledger, place_of_table
):
    columns = {
        "RUN": "STRING",
        "started": "TIMESTAMP",
        "ended": "TIMESTAMP",
        "record": "JSON",
        "colour": "STRING",
    }
    fill(gemini_batch_stack, place_of_table, columns)
    open_ledger(place_of_table).put(LANDED_RUN)
    (row,) = read(gemini_batch_stack, place_of_table)
    assert {name: row[name] for name in ("RUN", "colour", "cost_usd", "question", "ended")} == {
        "RUN": LANDED_RUN.run,
        "colour": None,
        "cost_usd": 0.3,
        "question": "q1",
        "ended": NOW,
    }


def test_columns_of_a_table_repeat_the_record(gemini_batch_stack, open_ledger, place_of_table):
    for one in RUNS:
        open_ledger(place_of_table).put(one)
    rows = {row["run"]: row for row in read(gemini_batch_stack, place_of_table)}
    assert [rows[one.run]["expected_usd"] for one in RUNS] == [None, 10.1, 1e-7, 0.0]
    assert [rows[one.run]["cost_usd"] for one in RUNS] == [None, 0.3, None, 0.0]
    assert rows[RUNS[2].run]["dag_id"] == RUNS[2].dag_id
    assert rows[RUNS[0].run]["ended"] is None
    asked = bigquery_client(gemini_batch_stack).query_and_wait(
        f"SELECT JSON_VALUE(record.outcomes.blocked) AS blocked, JSON_VALUE(record.tokens.prompt) AS prompt "
        f"FROM `{place_of_table.removeprefix('bq://')}` WHERE state = 'landed'"
    )
    assert [dict(row) for row in asked] == [{"blocked": "10", "prompt": "1000"}]


@pytest.fixture
def place_of_table(gemini_batch_stack) -> str:
    return f"{make_dataset(gemini_batch_stack)}.texts__runs"


def test_times_without_a_zone_are_utc():
    assert Spent.from_json({"time": "2026-11-27T02:30:00"}).time == datetime(2026, 11, 27, 2, 30, tzinfo=UTC)


class Rival:
    """A client of BigQuery while another statement changes each table."""

    def __init__(self, client, times):
        self._client, self._left = client, times

    def __getattr__(self, name):
        return getattr(self._client, name)

    def query_and_wait(self, sql, **options):
        if sql.startswith("MERGE") and self._left:
            self._left -= 1
            raise BadRequest("Could not serialize access to table p:d.texts__runs due to concurrent update")
        return self._client.query_and_wait(sql, **options)


@pytest.mark.parametrize("times", [2, 3])
def test_row_is_written_when_other_writers_let_it(gemini_batch_stack, place_of_table, times):
    rival = Rival(bigquery_client(gemini_batch_stack), times)
    ledger = TableLedger(BigQueryAddress.parse(place_of_table), lambda: rival, rival_pauses=(0, 0))
    if times < 3:
        ledger.put(RUNS[0])
    else:
        with pytest.raises(LedgerError, match="could not be written: 400 Could not serialize access"):
            ledger.put(RUNS[0])
    assert ledger.records() == RUNS[: times < 3]
