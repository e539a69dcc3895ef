"""Google's analyzer takes each statement that the package builds, whatever columns and tables are called."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

import pytest

from tests.googlesql.analyzer import Case, judged
from tests.googlesql.builders import BUILDERS, Shape, cases_of
from tests.googlesql.names import internal_names, neutral_names, quoted_names
from tests.googlesql.shapes import combined, hostile_shapes, renamed_shape
from tests.googlesql.verdicts import different, form_of, key_of, refused, with_faults
from tests.import_graph import ROOT

# Not for test-fast: where nothing is kept they take half a minute, and one more where the analyzer is not compiled.
pytestmark = pytest.mark.slow


def test_every_builder_is_tried():
    written = set()
    for path in ROOT.rglob("*.py"):
        # The statements of files are DuckDB's, those of the page go to Airflow's database; a dialect has none.
        if not {"testing", "files", "page", "sql"} & set(path.relative_to(ROOT).parts):
            functions = (
                node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)
            )
            names = ("_statement", "_statements", "_query")
            written |= {one.name for one in functions if one.name.endswith(names)}
    # These run what they are given; marks_query is what two others write, and the last one is DuckDB's.
    others = {"types_of_query", "run_statement", "_query", "marks_query", "_judging_query"}
    assert written - others == {name.rpartition(".")[2] for name in BUILDERS}


@pytest.mark.parametrize("part", range(4))
def test_statements_are_taken(part):
    cases = list(different(combined(full=False)).values())
    assert len(cases) > 200
    assert refused(cases[part::4]) == []


def test_names_of_ours_are_found():
    found = internal_names()
    assert {"source_rows", "gemini_batch_rows", "key_0", "recursive_rows"} <= set(found["build_statement"])
    assert {"gemini_batch_staged", "batch_job", "answered_time"} <= set(found["merge_statement"])
    assert all(found.values())


PLACES = list(hostile_shapes(("n",)))


@pytest.mark.parametrize("place", PLACES)
def test_no_name_of_ours_hides_a_column(place):
    assert hidden(place) == []


@pytest.mark.parametrize("place", ["key", "texts and fields", "others"])
def test_columns_with_names_that_need_quotes(place):
    assert refused(cases_of(hostile_shapes(quoted_names())[place])) == []


@pytest.mark.parametrize("nested", [False, True], ids=["whole", "path"])
def test_table_is_called_like_a_column(nested):
    """Whether its name in backticks is one identifier to BigQuery, or a path of three."""
    others = {"gemini_batch_rows": "STRING", "source_rows": "STRING"}
    cases = [
        case
        for name in ("isbn", "title", "gemini_batch_rows", "Source_Rows")
        for embeds in (False, True)
        for case in cases_of(Shape(others=others, tables=(name, name), embeds=embeds))
        if any(table.endswith(f".{name}") for table in case.tables)
    ]
    assert len(cases) > 50
    assert refused(cases, nested=nested) == []


def hidden(place: str) -> list[str]:
    """Return which statements are refused, or mean something else, when columns have the names that they use.

    What a statement means are the columns by number: with other names, as long, it has to be the same.
    """
    pairs = {}
    for builder, names in internal_names().items():
        shape, neutral = hostile_shapes(names)[place], neutral_names(names)
        plain = cases_of(renamed_shape(shape, neutral), [builder])
        for case, other in zip(cases_of(shape, [builder]), plain, strict=True):
            if (case.sql, case.tables) != (other.sql, other.tables):
                pairs[key_of(form_of(case), form_of(other), neutral)] = case, other, neutral
    assert pairs
    return [f"{faults}: {case.name:.300}" for (case, *_), faults in with_faults(pairs, _compared)]


def _compared(pairs: Collection[tuple[Case, Case, dict[str, str]]]) -> Iterator[tuple[str, ...]]:
    hostile, plain = judged(one for one, _, _ in pairs), judged(other for _, other, _ in pairs)
    for one, other, (_, _, neutral) in zip(hostile, plain, pairs, strict=True):
        same = one.resolved == tuple(_renamed(statement, neutral) for statement in other.resolved)
        yield one.faults or (() if same else ("means something else",))


def _renamed(statement: bytes, neutral: dict[str, str]) -> bytes:
    for name, plain in neutral.items():
        statement = statement.replace(plain.encode(), name.encode())
    return statement
