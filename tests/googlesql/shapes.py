"""The shapes of rows and answers that statements are built for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.bigquery.expressions import KEY_TYPES
from tests.googlesql.builders import MANY_JOBS, ONE_JOB, SOME_JOBS, Shape, own_columns
from tests.googlesql.pairs import everything, pairwise
from tests.landing import schema_cases

TEXT_TYPES = (
    *(
        "STRING",
        "BYTES",
        "INT64",
        "FLOAT64",
        "NUMERIC",
        "BIGNUMERIC",
        "BOOL",
        "DATE",
        "TIME",
        "DATETIME",
        "TIMESTAMP",
    ),
    *(
        "INTERVAL",
        "JSON",
        "GEOGRAPHY",
        "ARRAY<STRING>",
        "ARRAY<STRUCT<`a` INT64>>",
        "STRUCT<`a` JSON, `b` ARRAY<DATE>>",
    ),
)
"""All types of columns."""

_KEYS = [
    {"isbn": "STRING"},
    {"id": "INT64"},
    {"at": "TIMESTAMP", "isbn": "STRING"},
    {f"k{number}": kind for number, kind in enumerate(KEY_TYPES)},
]
_BUILDS: dict[str, Sequence[Any]] = {
    "key": _KEYS,
    "rows": ["table", "query", "recursive"],
    "done": [0, 1, 2],
    "sharding": [ONE_JOB, SOME_JOBS, MANY_JOBS],
    "media": [(), ("cover", "film")],
    "embeds": [False, True],
}
_LANDINGS: dict[str, Sequence[Any]] = {
    "key": _KEYS,
    "embeds": [False, True],
    "dimensions": [None, 256],
    "schema": [
        None,
        schema_cases.TEXT,
        schema_cases.list_of(schema_cases.WHOLE),
        schema_cases.list_of(schema_cases.object_of(["a"], a=schema_cases.YES_NO)),
        schema_cases.object_of(a=schema_cases.NUMBER, b=schema_cases.list_of(schema_cases.TEXT)),
    ],
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


def shapes(*, full: bool) -> Iterator[Shape]:
    """Yield shapes of builds and of landings.

    :param full: take each combination, rather than each pair.
    """
    combined = everything if full else pairwise
    yield Shape(texts=_ALL_TYPES, schema=_ALL_SCHEMAS)
    yield Shape(texts=_ALL_TYPES, embeds=True)
    for dimensions in (_BUILDS, _LANDINGS):
        for settings in combined(dimensions):
            yield Shape(**settings)


_MINE = Shape(key={"my_key": "STRING"}, texts={"my_text": "STRING"})


def hostile_shapes(names: Iterable[str]) -> dict[str, Shape]:
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
