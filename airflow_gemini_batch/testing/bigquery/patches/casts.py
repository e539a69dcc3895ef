"""Corrections of casts whose answers depend on the type of the value."""

from __future__ import annotations

from typing import Any

import sqlglot
from sqlglot import exp

_FRACTIONS = "^(DOUBLE|FLOAT|DECIMAL)"
_USELESS_ZEROS = r"\.0+$|(\.[0-9]*[1-9])0+$"


def write_plain_numbers(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Cast the number 2008.0 to the text ``2008``, and NUMERIC 1.5 to ``1.5``; they had zeros behind."""
    # The innermost first: a node is replaced by one that holds its copy.
    for node in list(tree.find_all(exp.Cast))[::-1]:
        if node.to.is_type(exp.DataType.Type.TEXT) and not node.args.get("format"):
            text, value = node.sql(dialect="bigquery"), node.this.sql(dialect="bigquery")
            node.replace(
                sqlglot.parse_one(
                    f"IF(REGEXP_CONTAINS(TYPEOF({value}), r'{_FRACTIONS}'), "
                    f"REGEXP_REPLACE({text}, r'{_USELESS_ZEROS}', r'\\1'), {text})",
                    read="bigquery",
                )
            )


REWRITES = (write_plain_numbers,)
