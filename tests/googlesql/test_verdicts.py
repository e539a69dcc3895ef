from __future__ import annotations

from dataclasses import replace

import pytest

from tests.googlesql.analyzer import Case
from tests.googlesql.service import service
from tests.googlesql.verdicts import different, judge, new, refused

pytestmark = pytest.mark.slow

GOOD = Case("SELECT a FROM `p.d.t` WHERE a = @x", {"p.d.t": {"a": "STRING"}}, {"x": "STRING"}, "good")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    service()  # compiled, from the usual folder
    monkeypatch.setenv("GEMINI_BATCH_GOOGLESQL_CACHE", str(tmp_path))


def test_what_is_refused_is_analyzed_each_time():
    bad = replace(GOOD, sql="SELECT b FROM `p.d.t`")
    for _ in range(2):
        (fault,) = refused([GOOD, bad])
        assert "Unrecognized name: b" in fault


@pytest.mark.parametrize(
    ("other", "asked"),
    [
        (GOOD, False),
        (
            Case(GOOD.sql.replace(".t", ".u"), {"p.d.u": {"a": "STRING"}}, GOOD.parameters, "another name"),
            False,
        ),
        (replace(GOOD, sql=f"{GOOD.sql} AND TRUE"), True),
        (replace(GOOD, tables={"p.d.t": {"a": "INT64"}}), True),
        (replace(GOOD, tables={"p.d.t": {"A": "STRING"}}), True),
        (replace(GOOD, parameters={"x": "BYTES"}), True),
    ],
)
def test_what_was_taken_is_asked_again_when_anything_is_different(other, asked):
    assert new(different([GOOD]))
    assert refused([GOOD]) == []
    assert bool(new(different([other]))) is asked
    assert new(different([other], nested=True))


def test_statements_that_differ_in_names_of_tables_and_digests_are_one_and_no_others():
    made = "CREATE TABLE `p.d.{}` AS SELECT 'aaaaaaaaaaaa{}' AS n; SELECT n FROM `p.d.{}`"
    same, *others = (made.format(*names) for names in ("f1f", "e2e", "f3e"))
    others += ["SELECT `a` + t.b.c + `d`", "SELECT `a` - t.b.c + `d`"]
    assert [case.sql for case in different(map(Case, [same, *others])).values()] == others


def test_judge_with_other_sources_is_another_one(tmp_path):
    tmp_path.joinpath("rules.py").write_text("MOST_TABLES = 1_000_000")
    assert judge(tmp_path) != judge()
