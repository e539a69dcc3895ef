"""Google's analyzer takes each statement that the package builds, whatever columns and tables are called."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.googlesql.analyzer import Case, Judgement, judged
from tests.googlesql.builders import BUILDERS, Shape, cases_by, cases_of
from tests.googlesql.names import internal_names, neutral_names, quoted_names
from tests.googlesql.shapes import hostile_shapes, renamed_shape, shapes
from tests.import_graph import ROOT

# Not for test-fast: they take some 20 s, and a minute more where the analyzer is not compiled yet.
pytestmark = pytest.mark.slow


def different(all_shapes: Iterable[Shape]) -> list[Case]:
    """Return the statements for shapes, each once."""
    found = {}
    for shape in all_shapes:
        for case in cases_of(shape):
            found.setdefault((case.sql, str(case.tables)), case)
    return list(found.values())


def refused(judgements: Iterable[Judgement]) -> list[str]:
    return [f"{'; '.join(one.faults)}: {one.case.name:.300}" for one in judgements if one.faults]


def test_every_builder_is_tried():
    written = set()
    for path in ROOT.rglob("*.py"):
        # The statements of files are DuckDB's, and a dialect has no statements.
        if not {"testing", "files", "sql"} & set(path.relative_to(ROOT).parts):
            functions = (
                node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)
            )
            written |= {one.name for one in functions if one.name.endswith(("_statement", "_query"))}
    # These run what they are given; the last one is what two others write.
    others = {"types_of_query", "run_statement", "_query", "marks_query"}
    assert written - others == {name.rpartition(".")[2] for name in BUILDERS}


@pytest.mark.parametrize("part", range(4))
def test_statements_are_taken(part):
    cases = different(shapes(full=False))
    assert len(cases) > 300
    assert refused(judged(cases[part::4])) == []


def test_names_of_ours_are_found():
    found = internal_names()
    assert {"source_rows", "gemini_batch_rows", "key_0", "recursive_rows"} <= set(found["build_statement"])
    assert {"gemini_batch_staged", "batch_job", "answered_time"} <= set(found["merge_statement"])
    assert all(found.values())


PLACES = list(hostile_shapes(["n"]))


@pytest.mark.parametrize("place", PLACES)
def test_no_name_of_ours_hides_a_column(place):
    assert hidden(place) == []


@pytest.mark.parametrize("place", ["key", "texts and fields", "others"])
def test_columns_with_names_that_need_quotes(place):
    assert refused(judged(different([hostile_shapes(quoted_names())[place]]))) == []


@pytest.mark.parametrize("name", ["isbn", "title", "gemini_batch_rows", "Source_Rows"])
def test_table_is_called_like_a_column(name):
    """Whether its name in backticks is one identifier to BigQuery, or a path of three."""
    shape = Shape(
        key={"isbn": "STRING"},
        texts={"title": "STRING"},
        others={name.lower(): "STRING"},
        tables=(name, name),
    )
    statements = [case for embeds in (False, True) for case in cases_of(replace(shape, embeds=embeds))]
    assert refused(judged(statements)) == []
    assert refused(judged(statements, nested=True)) == []


def hidden(place: str) -> list[str]:
    """Return which statements are refused, or mean something else, when columns have the names that they use.

    What a statement means are the columns by number: with other names, as long, it has to be the same.
    """
    hostile: list[Case] = []
    plain: list[Case] = []
    renamed: list[dict[str, str]] = []
    for builder, names in internal_names().items():
        shape, neutral = hostile_shapes(names)[place], neutral_names(names)
        cases = list(cases_by(builder, shape))
        hostile += cases
        plain += cases_by(builder, renamed_shape(shape, neutral))
        renamed += [neutral] * len(cases)
    return [
        f"{'; '.join(one.faults) or 'means something else'}: {one.case.name:.300}"
        for one, other, neutral in zip(judged(hostile), judged(plain), renamed, strict=True)
        if one.faults or list(one.resolved) != [_renamed(statement, neutral) for statement in other.resolved]
    ]


def _renamed(statement: bytes, neutral: dict[str, str]) -> bytes:
    for name, plain in neutral.items():
        statement = statement.replace(plain.encode(), name.encode())
    return statement
