"""Corrections of what made the translation of statements slow: parsing, copying and writing the same thing again."""

from __future__ import annotations

import functools
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.expressions.core import POSITION_META_KEYS

from airflow_gemini_batch.testing.bigquery.patches.seams import replace

# Functions of bqemulator that parse a statement to look at its tree, and change nothing in it; and ours that does.
_READERS = frozenset(
    (
        "_capture_dml_snapshots",
        "_detect_catalog_drop",
        "_detect_create_schema",
        "_detect_plain_create_table",
        "_detect_plain_create_view",
        "_dml_targets",
        "_extract_ddl_metadata",
        "_is_row_producing",
        "_parse_for_classification",
        "_parse_statement",
        "_reject_dml_on_immutable",
        "detect_drop_routine",
        "tree_to_read",
    )
)


def parse_once() -> None:
    """Parse a text once; give those who only read its tree the same one, and each other caller a copy.

    bqemulator's passes parse each statement twenty times, and some change the trees that they get. A copy costs a
    quarter of parsing, without the positions in the text, which nobody reads.
    """

    def make(original: Callable[..., exp.Expr]) -> Callable[..., exp.Expr]:
        @functools.lru_cache(maxsize=256)
        def parsed(sql: str, read: Any, **options: Any) -> exp.Expr:
            tree = original(sql, read, **options)
            for node in tree.walk():
                node.comments = node.comments or None
                if meta := node._meta:
                    node._meta = {key: meta[key] for key in meta.keys() - POSITION_META_KEYS} or None
            return tree

        def parse_one(sql: str, read: Any = None, **options: Any) -> exp.Expr:
            try:
                tree = parsed(sql, read, **options)
            except TypeError:  # an option that has no hash
                return original(sql, read, **options)
            return tree if sys._getframe(1).f_code.co_name in _READERS else tree.copy()

        return parse_one

    replace("sqlglot", "parse_one", make)


def tree_to_read(sql: str) -> exp.Expr:
    """Parse GoogleSQL for a caller that changes nothing in the tree.

    Raises ``sqlglot.errors.SqlglotError`` for what SQLGlot can't parse.
    """
    return sqlglot.parse_one(sql, read="bigquery")


def write_with_one_generator() -> None:
    """Let a dialect's generator write one text after another.

    A new one was made for each text, and in SQLGlot's compiled form each one for DuckDB parses seventeen templates of
    functions that hardly a statement has, which took as long as writing it.
    """
    # A generator writes one text at a time, and writing may ask for other texts.
    idle: defaultdict[tuple[Any, ...], list[Any]] = defaultdict(list)

    def make(original: Callable[..., str]) -> Callable[..., str]:
        def generate(dialect: Any, expression: exp.Expr, copy: bool = True, **options: Any) -> str:
            if dialect.settings:
                return original(dialect, expression, copy, **options)
            generators = idle[type(dialect), *sorted(options.items())]
            generator = generators.pop() if generators else dialect.generator(**options)
            text: str = generator.generate(expression, copy=copy)
            generators.append(generator)  # but for one that failed midway
            return text

        return generate

    replace("sqlglot.dialects.dialect:Dialect", "generate", make)


def cast_concatenations_once() -> None:
    """Cast ``a || b || c`` to text once, at its end; each ``||`` in it was cast, with a copy of all before it."""

    def make(original: Callable[[Any, exp.Expr], bool]) -> Callable[[Any, exp.Expr], bool]:
        def applies_to(rule: Any, node: exp.Expr) -> bool:
            return not isinstance(node.parent, exp.DPipe) and original(rule, node)

        return applies_to

    replace("bqemulator.sql.rules.datetime_semantics:ConcatStringTypeRule", "applies_to", make)


CORRECTIONS = (parse_once, write_with_one_generator, cast_concatenations_once)
