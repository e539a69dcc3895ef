"""Corrections of casts whose answers depend on the type of the value."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

TEXT_MACRO = r"""CREATE TEMP MACRO bigquery_text(value, plain) AS CASE
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


def write_text_as_bigquery(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Cast to text as BigQuery does: 2008.0 is ``2008``, 1e15 is ``1e+15``, half a second is ``.500``."""
    # The innermost first: a node is replaced by one that holds its copy.
    for node in list(tree.find_all(exp.Cast))[::-1]:
        if node.to.is_type(exp.DataType.Type.TEXT) and not node.args.get("format"):
            node.replace(exp.Anonymous(this="bigquery_text", expressions=[node.this.copy(), node.copy()]))


REWRITES = (write_text_as_bigquery,)
