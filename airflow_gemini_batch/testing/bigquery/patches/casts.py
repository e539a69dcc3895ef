"""Corrections of casts and operators whose answers depend on the type of the value.

The type is known to DuckDB only, so each correction is a macro that asks for it; DuckDB settles the answer once a
statement.
"""

from __future__ import annotations

from typing import Any

from sqlglot import exp

_TEXT = r"""bigquery_text(value, plain) AS CASE
  WHEN regexp_matches(typeof(value), '^(DOUBLE|FLOAT)') THEN regexp_replace(
    IF(
      TRY_CAST(printf('%.15g', TRY_CAST(plain AS DOUBLE)) AS DOUBLE) = TRY_CAST(plain AS DOUBLE),
      printf('%.15g', TRY_CAST(plain AS DOUBLE)),
      printf('%.17g', TRY_CAST(plain AS DOUBLE))
    ), '^-0$', '0')
  WHEN starts_with(typeof(value), 'DECIMAL') THEN regexp_replace(plain, '\.0+$|(\.[0-9]*[1-9])0+$', '\1')
  WHEN starts_with(typeof(value), 'TIME') THEN regexp_replace(
    regexp_replace(plain, '(\.(?:\d|\d{4}))(\+|$)', '\100\2'), '(\.(?:\d{2}|\d{5}))(\+|$)', '\10\2')
  ELSE plain
END"""
"""A value's text as BigQuery writes it, out of the text that DuckDB gives."""

_STRING = """bigquery_string(value) AS CASE
  WHEN typeof(value) = 'JSON' THEN json_extract_string(to_json(value), '$')
  ELSE bigquery_text(value, CAST(value AS VARCHAR))
END"""

_ITEM = """bigquery_item(list, index, base) AS IF(
  index < base OR index >= len(list) + base,
  error('Array index ' || CAST(index AS VARCHAR) || ' is out of bounds'),
  list[index - base + 1]
)"""

# Minutes between a time in a zone and the same time in UTC.
_IN_ZONE = """bigquery_string_in_zone(value, zone) AS bigquery_local_text(
  CAST(value AS TIMESTAMPTZ),
  timezone(zone, CAST(value AS TIMESTAMPTZ)),
  CAST((epoch_us(timezone(zone, CAST(value AS TIMESTAMPTZ))) - epoch_us(CAST(value AS TIMESTAMPTZ))) // 60000000
    AS BIGINT)
)"""
_LOCAL = """bigquery_local_text(value, there, minutes) AS
  bigquery_text(there, CAST(there AS VARCHAR))
  || printf('%s%02d', IF(minutes < 0, '-', '+'), abs(minutes) // 60)
  || IF(abs(minutes) % 60 = 0, '', printf(':%02d', abs(minutes) % 60))"""


def _from_text(name: str, kind: str, pattern: str, *, otherwise: str, cast: str) -> str:
    """Give the macro of a cast that takes a text only if it matches a pattern, and rounds half away from zero."""
    return f"""{name}(value) AS CASE
      WHEN typeof(value) = 'VARCHAR' AND NOT regexp_full_match(CAST(value AS VARCHAR), '{pattern}') THEN {otherwise}
      WHEN typeof(value) IN ('DOUBLE', 'FLOAT') THEN {cast}(round(TRY_CAST(value AS DOUBLE)) AS {kind})
      ELSE {cast}(value AS {kind})
    END"""


_PATTERNS = {
    "BIGINT": r"\s*[-+]?(0[xX][0-9a-fA-F]+|[0-9]+)\s*",
    "BOOLEAN": "(?i)true|false",
}
_CASTS = {
    (exp.DataType.Type.BIGINT, False): "bigquery_int64",
    (exp.DataType.Type.BIGINT, True): "bigquery_safe_int64",
    (exp.DataType.Type.BOOLEAN, False): "bigquery_bool",
    (exp.DataType.Type.BOOLEAN, True): "bigquery_safe_bool",
}

MACROS = (
    _TEXT,
    _STRING,
    _ITEM,
    _LOCAL,
    _IN_ZONE,
    *(
        _from_text(
            name,
            kind.name,
            _PATTERNS[kind.name],
            cast="TRY_CAST" if safe else "CAST",
            otherwise="NULL" if safe else f"error('Bad {name[9:]} value: ' || CAST(value AS VARCHAR))",
        )
        for (kind, safe), name in _CASTS.items()
    ),
)
"""The macros, each without its ``CREATE TEMP MACRO``."""


def write_text_as_bigquery(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Cast to text as BigQuery does: 2008.0 is ``2008``, 1e15 is ``1e+15``, half a second is ``.500``."""
    # The innermost first: a node is replaced by one that holds its copy.
    for node in list(tree.find_all(exp.Cast))[::-1]:
        if node.to.is_type(exp.DataType.Type.TEXT) and not node.args.get("format"):
            node.replace(exp.Anonymous(this="bigquery_text", expressions=[node.this.copy(), node.copy()]))


def write_strings_as_bigquery(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Let ``STRING(timestamp)`` and ``STRING(timestamp, zone)`` write fractions and the zone as BigQuery does."""
    for node in list(tree.find_all(exp.String))[::-1]:
        zone = node.args.get("zone")
        name = "bigquery_string_in_zone" if zone else "bigquery_string"
        arguments = [node.this.copy(), *([zone.copy()] if zone else [])]
        node.replace(exp.Anonymous(this=name, expressions=arguments))


def cast_what_bigquery_casts(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Round 2.5 to the INT64 3, which was 2, and refuse ``'3.0'`` as INT64 and ``'yes'`` as BOOL."""
    for node in list(tree.find_all(exp.Cast))[::-1]:
        macro = _CASTS.get((node.to.this, isinstance(node, exp.TryCast)))
        if macro and not node.args.get("format"):
            node.replace(exp.Anonymous(this=macro, expressions=[node.this.copy()]))


def keep_brackets_of_divisions(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Let ``DIV(a - 1, b)`` be ``(a - 1) // b``; it was translated without the brackets."""
    for node in tree.find_all(exp.IntDiv):
        for side in ("this", "expression"):
            if isinstance(node.args[side], exp.Binary):
                node.set(side, exp.Paren(this=node.args[side].copy()))


def refuse_items_out_of_bounds(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Let ``list[OFFSET(5)]`` of a shorter list fail; it was NULL, as only ``SAFE_OFFSET`` is."""
    for node in list(tree.find_all(exp.Bracket))[::-1]:
        base, (index, *more) = node.args.get("offset"), node.expressions
        if base is not None and not node.args.get("safe") and not more:
            arguments = [node.this.copy(), index.copy(), exp.Literal.number(base)]
            node.replace(exp.Anonymous(this="bigquery_item", expressions=arguments))


REWRITES = (
    write_text_as_bigquery,
    write_strings_as_bigquery,
    cast_what_bigquery_casts,
    keep_brackets_of_divisions,
    refuse_items_out_of_bounds,
)
