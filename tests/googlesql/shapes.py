"""The shapes of rows and answers that statements are built for."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.bigquery.expressions import KEY_TYPES
from tests.googlesql.analyzer import Case
from tests.googlesql.builders import (
    MANY_JOBS,
    OF_ANSWERS,
    OF_ROWS,
    ONE_JOB,
    SOME_JOBS,
    Shape,
    cases_of,
    own_columns,
)
from tests.googlesql.pairs import everything, pairwise
from tests.landing import schema_cases

_PLAIN_TYPES = """
STRING BYTES INT64 FLOAT64 NUMERIC BIGNUMERIC BOOL DATE TIME DATETIME TIMESTAMP INTERVAL JSON GEOGRAPHY
""".split()  # noqa: SIM905
TEXT_TYPES = (*_PLAIN_TYPES, "ARRAY<STRING>", "ARRAY<STRUCT<`a` INT64>>", "STRUCT<`a` JSON, `b` ARRAY<DATE>>")
"""All types of columns."""

_KEYS = [
    {"isbn": "STRING"},
    {"id": "INT64"},
    {f"k{number}": kind for number, kind in enumerate(KEY_TYPES)},
]
_BUILDS: dict[str, Sequence[Any]] = {
    "key": _KEYS,
    "rows": ["table", "query", "recursive"],
    "done": [0, 1, 2],
    "sharding": [ONE_JOB, SOME_JOBS, MANY_JOBS],
    "kind": [{}, {"media": ("cover", "film")}, {"embeds": True}],
}
_LANDINGS: dict[str, Sequence[Any]] = {
    "key": _KEYS,
    "kind": [
        {"schema": None},
        {"schema": schema_cases.TEXT},
        {"schema": schema_cases.list_of(schema_cases.WHOLE)},
        {"schema": schema_cases.list_of(schema_cases.object_of(["a"], a=schema_cases.YES_NO))},
        {"schema": schema_cases.object_of(a=schema_cases.NUMBER, b=schema_cases.list_of(schema_cases.TEXT))},
        {"embeds": True},
    ],
    "dimensions": [None, 256],
    "response": ["JSON", "STRING"],
    "plain": [False, True],
    "submissions": [1, 3],
}
_ALL_TYPES = {f"t{number}": kind for number, kind in enumerate(TEXT_TYPES)}
_SCHEMAS = {str(case.schema): case.schema for case in schema_cases.CASES}.values()
# BigQuery's names of columns have neither.
_ALL_SCHEMAS = schema_cases.object_of(
    **{
        f"f{number}": schema
        for number, schema in enumerate(_SCHEMAS)
        if not {"$", "c.d"}.intersection(schema.get("properties", ()))
    }
)


def combined(*, full: bool) -> Iterator[Case]:
    """Yield the statements for rows and answers of all kinds.

    :param full: take each combination, rather than each pair.
    """
    yield from cases_of(Shape(texts=_ALL_TYPES, schema=_ALL_SCHEMAS))
    yield from cases_of(Shape(texts=_ALL_TYPES, embeds=True))
    for dimensions, builders in ((_BUILDS, OF_ROWS), (_LANDINGS, OF_ANSWERS)):
        for settings in everything(dimensions) if full else pairwise(dimensions):
            yield from cases_of(Shape(**settings.pop("kind"), **settings), builders)


_MINE = Shape(key={"my_key": "STRING"}, texts={"my_text": "STRING"})


@functools.cache
def hostile_shapes(names: tuple[str, ...]) -> dict[str, Shape]:
    """Return shapes in which columns of users have these names, for each place where there is a column."""
    columns = dict.fromkeys(names, "STRING")
    fields = {
        name: schema_cases.TEXT
        for name in columns
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and _is_possible(replace(_MINE, text_column=name))
    }
    others = {name: kind for name, kind in columns.items() if name.lower() not in own_columns(_MINE)}
    return {
        "key": replace(_MINE, key=_keys(columns, _MINE) or _MINE.key, sharding=SOME_JOBS),
        "key of vectors": replace(
            _MINE, key=_keys(columns, replace(_MINE, embeds=True)) or _MINE.key, embeds=True
        ),
        "texts and fields": replace(
            _MINE, texts=columns, schema=schema_cases.object_of(**fields) if fields else None
        ),
        "media": replace(_MINE, media=list(columns)[:1]),
        "vector": replace(_MINE, embeds=True, vector=next(iter(fields), "embedding")),
        "others": replace(_MINE, others=others),
        "others beside vectors": replace(_MINE, others=others, embeds=True),
    }


def renamed_shape(shape: Shape, names: Mapping[str, str]) -> Shape:
    """Return a shape whose columns have other names."""

    def new(columns: Mapping[str, Any]) -> dict[str, Any]:
        return {names.get(name, name): kind for name, kind in columns.items()}

    fields = (shape.schema or {}).get("properties")
    return replace(
        shape,
        key=new(shape.key),
        texts=new(shape.texts),
        others=new(shape.others),
        media=[names.get(name, name) for name in shape.media],
        vector=names.get(shape.vector, shape.vector),
        schema=schema_cases.object_of(**new(fields)) if fields else shape.schema,
    )


def _keys(columns: dict[str, str], shape: Shape) -> dict[str, str]:
    return {name: kind for name, kind in columns.items() if _is_possible(replace(shape, key={name: kind}))}


def _is_possible(shape: Shape) -> bool:
    """Return whether the package takes such columns: it refuses names of its own columns beside them."""
    try:
        shape.request_rows.plan.check_columns(shape.source_columns, where="the source")
        return bool(shape.landing)
    except InvalidRequestError:
        return False
