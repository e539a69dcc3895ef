"""Answers land in columns whatever they are called: like a name of our own, or in another case than the target's."""

from __future__ import annotations

import json

import pytest

from tests.googlesql.names import STEP_ASIDE, internal_names
from tests.googlesql.shapes import hostile_shapes
from tests.landing.landings import Landing, bad, genre, good, later, plan_of
from tests.support.tables import fill

NAMES = {name for names in internal_names().values() for name in names} | set(STEP_ASIDE)
PLACES = hostile_shapes(tuple(sorted(NAMES)))


def test_fields_have_names_of_ours(gemini_batch_stack):
    landing = Landing(gemini_batch_stack)
    plan = plan_of(PLACES["texts and fields"].schema)
    fields = [column.name for column in plan.columns]
    assert {"answers", "requests", "best", "gemini_batch_target"} <= set(fields)
    for night, cells in (("first", lambda row: row), ("second", later)):
        answer = {name: f"{night} {name}" for name in fields}
        landing.land(plan, ("978-1", cells(good(json.dumps(answer)))))
        assert landing.landed(*fields) == {"978-1": tuple(answer.values())}


def test_keys_have_names_of_ours(gemini_batch_stack):
    # The local BigQuery takes these for the offsets of the statement, although an alias qualifies them.
    keys = {name for name in PLACES["key"].key if "index" not in name}
    landing = Landing(gemini_batch_stack, key=dict.fromkeys(sorted(keys), "STRING"))
    assert {"requests", "gemini_batch_rows", "answered_time", "error"} <= set(landing.key)
    key = tuple(landing.key)
    report = landing.land(plan_of({"genre": str}, key=key), (key, genre("novel")), (key[::-1], bad()))
    assert (report.landed, report.failed) == (1, 1)
    landing.land(plan_of({"genre": str}, key=key), (key[::-1], later(genre("poem"))))
    assert landing.landed("genre") == {key: "novel", key[::-1]: "poem"}
    assert landing.failures() == {}


@pytest.mark.parametrize(("key", "field"), [("ISBN", "genre"), ("isbn", "Genre"), ("Isbn", "GENRE")])
def test_target_spells_its_columns_otherwise(gemini_batch_stack, key, field):
    landing = Landing(gemini_batch_stack)
    fill(gemini_batch_stack, str(landing.target), {key: "STRING", field: "STRING"})
    for cells in (genre("novel"), later(genre("poem"))):
        assert landing.land(plan_of({"genre": str}), ("978-1", cells)).landed == 1
    assert list(landing.types(landing.target))[:2] == [key, field]
