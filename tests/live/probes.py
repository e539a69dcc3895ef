"""The jobs that the questions share: a few rows each, or one that is to fail before it costs anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

GENERATION = "generation"
"""Stands for the model of the settings."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One job.

    :param files: lines of each request file; none for a job that reads a table.
    :param rows: of the request table, whose columns are :data:`TABLE_COLUMNS`.
    :param location: of the job, where it is not that of the settings.
    :param pattern: name the files by a pattern.
    :param parameters: of the model.
    :param source: a file that does not exist, instead of the files.
    :param into_existing: whether the answers are to go to a table that exists.
    :param cancelled: whether the job is cancelled as soon as it exists.
    """

    model: str = GENERATION
    files: tuple[Sequence[Mapping[str, Any]], ...] = ()
    rows: Sequence[Mapping[str, Any]] = ()
    location: str = ""
    pattern: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    into_existing: bool = False
    cancelled: bool = False


TABLE_COLUMNS = {"request": "JSON", "book_id": "STRING", "edition": "INT64", "remark": "STRING"}

# Enough for a few words, and a limit of what a row can cost.
_LIMIT = {"maxOutputTokens": 1024}
COLOURS = ("red", "green", "blue")
FIELD = "tint_7"
"""No model would call a colour so, unless the schema says so."""
_COLOUR = {
    "type": "object",
    "properties": {FIELD: {"type": "string", "enum": list(COLOURS)}},
    "required": [FIELD],
}

SIBLINGS = {
    "zeros": "000000",
    "exponent": "1e5",
    "digits": "98765432109876543210987",
    "truth": "true",
    "moment": "2026-11-22 10:00:00",
    "note": {"made_by": "suite"},
}
"""What stands beside each request, the same in all lines, so that an importer may take it for another type."""


def _request(tag: str, *, role: str = "user", **more: Any) -> dict[str, Any]:
    text = f"{tag}: name a colour of the rainbow, in one word."
    contents = [{"role": role, "parts": [{"text": text}]}]
    config = {**_LIMIT, **more.pop("generationConfig", {})}
    return {"contents": contents, "generationConfig": config, **more}


def _line(tag: str, **more: Any) -> dict[str, Any]:
    return {"request": _request(tag, **more)}


def _keyed(tag: str, mixed: str, **more: Any) -> dict[str, Any]:
    return {
        "key": f"k-{tag}",
        **SIBLINGS,
        "mixed": mixed,
        "request": _request(tag, labels={"live_row": tag}, **more),
    }


def _nested_schema(objects: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(objects):
        schema = {"type": "OBJECT", "properties": {"a": schema}}
    return schema


def _typed(schema: Mapping[str, Any], *, json_schema: bool = False) -> dict[str, Any]:
    name = "responseJsonSchema" if json_schema else "responseSchema"
    return {"responseMimeType": "application/json", name: schema}


def _schema_line(properties: Mapping[str, Any]) -> dict[str, Any]:
    return _line("plain", generationConfig=_typed({"type": "OBJECT", "properties": properties}))


SHORT = 256
"""Length of the vectors that are asked for."""

LONG_WORDS = 3_000
"""Words of a text that is longer than gemini-embedding-001 reads: 2,048 tokens."""


def _vector_line(tag: str, *, text: str = "", **more: Any) -> dict[str, Any]:
    content = {"parts": [{"text": text or f"{tag}: the colours of the rainbow"}]}
    return {"key": f"k-{tag}", "zeros": SIBLINGS["zeros"], "request": {"content": content, **more}}


# Two jobs, since either form was reported to fail a whole job.
_NESTED = (
    _vector_line("plain"),
    _vector_line("nested", embed_content_config={"output_dimensionality": SHORT}),
    _vector_line("long", text=f"long: {'colour ' * LONG_WORDS}"),
)
_FLAT = (_vector_line("plain"), _vector_line("flat", output_dimensionality=SHORT))

PROBES: dict[str, Probe] = {
    "generation_files": Probe(
        files=(
            [
                _keyed("plain", "000000"),
                _keyed("schema", "a text", generationConfig=_typed(_COLOUR, json_schema=True)),
                _keyed("wrong_role", "1e5", role="tester"),
            ],
        )
    ),
    "generation_table": Probe(
        rows=[
            {"request": _request("plain"), "book_id": "978-1", "edition": 1, "remark": None},
            {
                "request": _request("wrong_role", role="tester"),
                "book_id": "978-2",
                "edition": 2,
                "remark": None,
            },
        ]
    ),
    "two_files": Probe(files=([_line("first")], [_line("second")])),
    "pattern": Probe(files=([_line("first")], [_line("second")]), pattern=True),
    "existing_table": Probe(
        rows=[{"request": _request("plain"), "book_id": "978-1", "edition": 1, "remark": None}],
        into_existing=True,
    ),
    "cancelled": Probe(files=([_line("plain")],), cancelled=True),
    "missing_bucket": Probe(source="gs://gemini-batch-live-{run}-missing/in.jsonl"),
    "import_empty_object": Probe(files=([{"request": {**_request("plain"), "systemInstruction": {}}}],)),
    "import_levels": Probe(
        files=([_line("plain", generationConfig=_typed(_nested_schema(7)))],),
    ),
    "import_name": Probe(files=([_schema_line({"Metric A": {"type": "STRING"}})],)),
    "import_types": Probe(
        files=([_line("first", generationConfig={"temperature": value}) for value in (0.5, "0.5")],)
    ),
    "import_shapes": Probe(
        files=(
            [
                _line("first"),
                {"request": {"contents": [{"role": "user", "parts": {"text": "second: name a colour."}}]}},
            ],
        )
    ),
    "import_null": Probe(files=([_schema_line({"a": {"type": "STRING", "enum": ["red", None]}})],)),
    "import_reference": Probe(
        files=(
            [
                _line(
                    "plain",
                    generationConfig=_typed(
                        {
                            "type": "object",
                            "properties": {"a": {"$ref": "#/$defs/c"}},
                            "$defs": {"c": _COLOUR},
                        },
                        json_schema=True,
                    ),
                )
            ],
        )
    ),
    "embedding_001_nested": Probe(model="gemini-embedding-001", files=(_NESTED,)),
    "embedding_001_flat": Probe(model="gemini-embedding-001", files=(_FLAT,)),
    "embedding_2_nested": Probe(model="gemini-embedding-2", files=(_NESTED,), location="global"),
    "embedding_2_flat": Probe(model="gemini-embedding-2", files=(_FLAT,), location="global"),
    "text_embedding": Probe(
        model="text-embedding-005",
        files=([{"key": "k-plain", "content": "plain: the colours of the rainbow"}],),
        parameters={"outputDimensionality": str(SHORT)},
    ),
}


def lines_of(file: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a request file."""
    return [json.dumps(line) for line in file]
