"""Response schemas: from what a user writes to the form that batch requests take, and to columns.

Vertex AI's controlled generation reads a part of OpenAPI 3.0, in batch more strictly than online: types in capitals, no
references, no free keys. https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/control-generated-output
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.core.plain import plain

# What a batch request says of a value of each type, beside what it is.
_NUMBER_LIMITS = ("format", "minimum", "maximum")
_LIMITS: Mapping[str, tuple[str, ...]] = {
    "STRING": ("format", "minLength", "maxLength", "pattern"),
    "INTEGER": _NUMBER_LIMITS,
    "NUMBER": _NUMBER_LIMITS,
    "BOOLEAN": (),
    "ARRAY": ("minItems", "maxItems"),
    "OBJECT": ("minProperties", "maxProperties"),
}
# What JSON Schema says and a batch request can't is put into words.
_IN_WORDS: Mapping[str, str] = {
    "multipleOf": "a multiple of {}",
    "uniqueItems": "without repetition",
    "pattern": "matching {}",
}
_ALL_LIMITS = frozenset(
    (
        *(name for names in _LIMITS.values() for name in names),
        *_IN_WORDS,
        "exclusiveMinimum",
        "exclusiveMaximum",
    )
)
# The service's regular expressions are of linear time: they neither look around nor refer back.
_OTHER_PATTERN = re.compile(r"\(\?(?:<?[=!]|P?[=>])|\\[1-9]")
_NUMBERS = ("INTEGER", "NUMBER")
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
_COLUMN_TYPES = {"STRING": "STRING", "INTEGER": "INT64", "NUMBER": "FLOAT64", "BOOLEAN": "BOOL"}
_TEXT_COLUMN = "answer"
_JSON = (str, int, float, list, Mapping, type(None))


@dataclass(frozen=True, slots=True)
class AnswerColumn:
    """A column of answers.

    :param type: BigQuery's: ``STRING``, ``INT64``, ``FLOAT64``, ``BOOL``, or ``JSON`` for what is nested.
    :param repeated: whether it holds a list of these.
    :param path: name of the answer's field; ``None`` for the answer as a whole.
    """

    name: str
    type: str
    repeated: bool = False
    path: str | None = None


def response_schema_of(schema: Any) -> dict[str, Any] | None:
    """Return a schema as a batch request takes it, None if no schema is given.

    Limits of lengths, and patterns, are sent with it, and not checked when answers land. A bound that is excluded
    becomes the next whole number, or for other numbers an included one.

    :param schema: a Pydantic model, a dataclass or typed dict, a dict of names and Python types
        (``{"genre": str, "tags": list[str]}``), JSON Schema, OpenAPI as Vertex AI reads it, or a ``types.Schema``.

    Raises :class:`ValueError` that names the field which can't be expressed.
    """
    if schema is None:
        return None
    content = _as_json_schema(plain(schema))
    definitions = {**(content.get("$defs") or {}), **(content.get("definitions") or {})}
    return _translated(content, definitions, "response_schema", ())


def answer_columns(
    schema: Mapping[str, Any] | None, text_column: str = _TEXT_COLUMN
) -> tuple[AnswerColumn, ...]:
    """Return the columns that answers of a schema land in; without a schema, the text in one column.

    :param schema: as :func:`response_schema_of` returns it. Each property of an object is a column; lists of
        plain values are repeated columns; what is nested deeper is JSON.

    Raises :class:`ValueError` for a property whose name can be no column.
    """
    if schema is None:
        return (AnswerColumn(text_column, "STRING"),)
    if schema.get("type") != "OBJECT":
        return (_column(text_column, schema, None),)
    for name in schema["properties"]:
        if not _COLUMN_NAME.fullmatch(name):
            raise ValueError(
                f"response_schema: the field {name!r} can't be a column: letters, digits and _ are allowed"
            )
    return tuple(_column(name, inner, name) for name, inner in schema["properties"].items())


def _column(name: str, schema: Mapping[str, Any], path: str | None) -> AnswerColumn:
    items = schema["items"] if schema.get("type") == "ARRAY" else {}
    item = _COLUMN_TYPES.get(_type_of(items))
    if item and not items.get("nullable"):  # BigQuery's arrays hold no NULL
        return AnswerColumn(name, item, repeated=True, path=path)
    return AnswerColumn(name, _COLUMN_TYPES.get(_type_of(schema), "JSON"), path=path)


def _type_of(schema: Mapping[str, Any]) -> str:
    """Return the type of all values, also of numbers to choose from; empty when there are several."""
    kinds = {option.get("type", "") for option in schema.get("anyOf", [schema])}
    kind: str = kinds.pop()
    return kind if not kinds and ("anyOf" not in schema or kind in _NUMBERS) else ""


def _as_json_schema(schema: Any) -> dict[str, Any]:
    # What stands in a JSON schema is JSON; what stands in a dict of types is a type.
    if isinstance(schema, Mapping) and not (
        schema and all(isinstance(key, str) and not isinstance(schema[key], _JSON) for key in schema)
    ):
        return dict(schema)
    from pydantic import TypeAdapter, create_model

    try:
        if isinstance(schema, Mapping):
            if hidden := [name for name in schema if name.startswith("_")]:
                # Pydantic would leave it out without a word.
                raise ValueError(f"response_schema: the field {hidden[0]!r} may not begin with _: rename it")
            fields: dict[str, Any] = {name: (kind, ...) for name, kind in schema.items()}
            schema = create_model("Answer", **fields)
        return TypeAdapter(schema).json_schema()
    except ValueError:
        raise
    except Exception as error:  # what Pydantic raises for types that it can't read has no base class
        raise ValueError(
            "response_schema has to be a Pydantic model, a dataclass, a dict of names and types, or a JSON schema, "
            f"got {schema!r:.200}: {error}"
        ) from None


def _translated(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], at: str, seen: tuple[str, ...]
) -> dict[str, Any]:
    if reference := schema.get("$ref"):
        name = str(reference).rpartition("/")[2]
        if name in seen:
            raise ValueError(f"{at}: {name} contains itself, which batch answers can't express")
        if name not in definitions:
            raise ValueError(f"{at}: there is no definition of {reference}")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _translated({**definitions[name], **beside}, definitions, at, (*seen, name))
    if len(schema.get("allOf") or ()) == 1:
        beside = {key: value for key, value in schema.items() if key != "allOf"}
        return _translated({**schema["allOf"][0], **beside}, definitions, at, seen)

    schema, nullable = _without_null(schema, at)
    options = list(schema.get("anyOf") or schema.get("oneOf") or ())
    beside = {name: schema[name] for name in schema if name not in ("anyOf", "oneOf", "nullable")}
    kept: dict[str, Any] = {"nullable": True} if nullable else {}
    if len(options) == 1:
        return {**_translated({**options[0], **beside}, definitions, at, seen), **kept}
    if not options and len(kinds := _kinds(schema, at)) > 1:
        rest = {name: beside[name] for name in beside if name != "description"}
        options = [{**rest, "type": kind} for kind in kinds]
    if options:
        if "description" in beside:
            kept["description"] = beside["description"]
        limits = {name: beside[name] for name in beside if name in _ALL_LIMITS}
        translated = [
            _translated({**limits, **option}, definitions, at, seen)
            for option in _with_values(options, beside)
        ]
        return {**kept, "anyOf": translated} if len(translated) > 1 else {**translated[0], **kept}
    return {**_typed(schema, kinds[0] if kinds else "", definitions, at, seen), **kept}


def _with_values(options: list[dict[str, Any]], beside: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Divide the values of a schema among its options, and leave the options without any out."""
    if "enum" not in beside:
        return options
    divided = []
    for option in options:
        values = [value for value in beside["enum"] if _kind_of(value) == str(option.get("type")).upper()]
        if values:
            divided.append({**option, "enum": values})
    return divided or options


def _without_null(schema: Mapping[str, Any], at: str) -> tuple[dict[str, Any], bool]:
    """Return a schema without the null among its types, values and options, and whether there was one."""
    rest = dict(schema)
    nullable = bool(rest.pop("nullable", False))
    if "const" in rest:
        rest.setdefault("enum", [rest.pop("const")])
    if isinstance(rest.get("type"), str):
        rest["type"] = [rest["type"]]
    for name in ("type", "enum", "anyOf", "oneOf"):
        if listed := rest.get(name):
            rest[name] = [one for one in listed if not _is_null(name, one)]
            nullable = nullable or len(rest[name]) < len(listed)
            if not rest[name]:
                raise ValueError(f"{at}: null alone can't be expressed; leave the field out")
    return rest, nullable


def _is_null(name: str, one: Any) -> bool:
    if name == "enum":
        return one is None
    kind = one if name == "type" else one.get("type")
    return isinstance(kind, str) and kind.lower() == "null"


def _kinds(schema: Mapping[str, Any], at: str) -> list[str]:
    """Return the types that a schema names, or those of its values."""
    kinds = [str(kind).upper() for kind in schema.get("type") or ()]
    if not kinds:
        kinds = [_kind_of(value) for value in schema.get("enum") or ()]
        if set(kinds) == {"INTEGER", "NUMBER"}:
            kinds = ["NUMBER"]
    if not kinds and "properties" in schema:
        kinds = ["OBJECT"]
    if "" in kinds:
        raise ValueError(
            f"{at}: the values have to be texts, numbers, true or false, got {schema['enum']!r:.200}"
        )
    return list(dict.fromkeys(kinds))


def _kind_of(value: Any) -> str:
    return {str: "STRING", int: "INTEGER", float: "NUMBER", bool: "BOOLEAN"}.get(type(value), "")


def _typed(
    schema: Mapping[str, Any], kind: str, definitions: Mapping[str, Any], at: str, seen: tuple[str, ...]
) -> dict[str, Any]:
    if kind == "OBJECT":
        translated = _object(schema, definitions, at, seen)
    elif kind == "ARRAY":
        translated = _array(schema, definitions, at, seen)
    elif kind not in _COLUMN_TYPES:
        if schema.get("type") is None:
            raise ValueError(
                f"{at}: its type is not given. Say what it holds: list[str], not list or set; str, not Any"
            )
        named = "/".join(map(str, schema["type"]))
        raise ValueError(
            f"{at}: the type {named!r} can't be expressed; use text, numbers, true or false, lists, or objects with "
            "named fields"
        )
    elif schema.get("enum"):
        translated = _values(schema, kind, at)
    else:
        translated = {"type": kind}
    return _with_limits(translated, schema, kind)


def _with_limits(translated: dict[str, Any], schema: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Add what is said of a value beside its type."""
    limits = {name: schema[name] for name in _LIMITS[kind] if name in schema}
    if kind in _NUMBERS:
        step = 1 if kind == "INTEGER" else 0
        for name, excluded, away in (
            ("minimum", "exclusiveMinimum", step),
            ("maximum", "exclusiveMaximum", -step),
        ):
            bound = schema.get(excluded)
            if isinstance(bound, int | float) and not isinstance(bound, bool):
                limits.setdefault(name, bound + away)
        if schema.get("enum"):  # the values are narrower
            limits = {}
    words = {name: schema[name] for name in _IN_WORDS if schema.get(name) and name not in limits}
    if "pattern" in limits and _OTHER_PATTERN.search(str(limits["pattern"])):
        words["pattern"] = limits.pop("pattern")
    said = [_IN_WORDS[name].format(value) for name, value in words.items()]
    description = ", ".join([*([schema["description"]] if schema.get("description") else []), *said])
    return {**translated, **({"description": description} if description else {}), **limits}


def _values(schema: Mapping[str, Any], kind: str, at: str) -> dict[str, Any]:
    """Return the schema of a value to choose from: the service knows enumerations of texts only."""
    values = list(schema["enum"])
    if kind == "STRING":
        texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
        if "" in texts:
            raise ValueError(
                f"{at}: Vertex AI refuses an empty text among the values; use a word for it, or allow None"
            )
        return {"type": kind, "enum": texts}
    if kind == "BOOLEAN":
        return {"type": kind}
    try:
        numbers = sorted({int(value) if kind == "INTEGER" else float(value) for value in values})
    except (TypeError, ValueError):
        raise ValueError(f"{at}: the values of a number have to be numbers, got {values!r:.200}") from None
    ranges: list[dict[str, Any]] = []
    for number in numbers:
        if ranges and kind == "INTEGER" and number == ranges[-1]["maximum"] + 1:
            ranges[-1]["maximum"] = number
        else:
            ranges.append({"type": kind, "minimum": number, "maximum": number})
    return ranges[0] if len(ranges) == 1 else {"anyOf": ranges}


def _object(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], at: str, seen: tuple[str, ...]
) -> dict[str, Any]:
    properties = schema.get("properties")
    if not properties:
        raise ValueError(
            f"{at}: an object has to name its fields; for keys that are not known before, use a list of objects "
            "with a name and a value"
        )
    fields = {
        name: _translated(inner, definitions, f"{at}.{name}", seen) for name, inner in properties.items()
    }
    required = [name for name in schema.get("required") or () if name in fields]
    wanted = [name for name in schema.get("propertyOrdering") or () if name in fields]
    translated = {
        "type": "OBJECT",
        "properties": fields,
        "propertyOrdering": list(dict.fromkeys((*wanted, *fields))),
    }
    return {**translated, "required": required} if required else translated


def _array(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], at: str, seen: tuple[str, ...]
) -> dict[str, Any]:
    items = schema.get("items")
    if not isinstance(items, Mapping):
        items = {"anyOf": unique} if (unique := _unique(schema.get("prefixItems") or ())) else None
    if items is None:
        raise ValueError(f"{at}: a list needs the type of its items, such as list[str]")
    return {"type": "ARRAY", "items": _translated(items, definitions, f"{at}[]", seen)}


def _unique(schemas: Sequence[Any]) -> list[Any]:
    return [schema for place, schema in enumerate(schemas) if schema not in schemas[:place]]
