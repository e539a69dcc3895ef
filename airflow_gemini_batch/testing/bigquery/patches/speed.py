"""Corrections of what made the translation of statements slow: parsing, copying and writing the same thing again."""

from __future__ import annotations

import functools
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import sqlglot
from bqemulator.domain.result import Err, Ok, Result
from bqemulator.sql.translator import SQLTranslator
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


# The ends of names that are made up, such as that of the dataset that each test has for itself.
_MADE_UP = re.compile(r"(?<=_)[0-9a-f]{12,}\b")
_STAND_IN = re.compile(r"zz_(\d+)_zz")


def _general(text: str) -> tuple[str, list[str]]:
    """Return a text with stand-ins for the made-up names in it, and these."""
    names = list(dict.fromkeys(_MADE_UP.findall(text)))
    if not names or _STAND_IN.search(text):
        return text, []
    numbers = {name: f"zz_{number}_zz" for number, name in enumerate(names)}
    return _MADE_UP.sub(lambda match: numbers[match[0]], text), names


def _particular(text: str, names: list[str]) -> str:
    """Put names in the place of their stand-ins."""
    return _STAND_IN.sub(lambda match: names[int(match[1])], text) if names else text


def parse_once() -> None:
    """Parse a text once; give those who only read its tree the same one, and each other caller a copy.

    bqemulator's passes parse each statement twenty times, and some change the trees that they get. A copy costs a
    quarter of parsing, without the positions in the text, which nobody reads. Tests run the same statements one after
    another, each with names of its own, which are put into a copy.
    """

    def make(original: Callable[..., exp.Expr]) -> Callable[..., exp.Expr]:
        @functools.lru_cache(maxsize=1024)
        def parsed_in_general(sql: str, read: Any, **options: Any) -> exp.Expr:
            tree = original(sql, read, **options)
            for node in tree.walk():
                node.comments = node.comments or None
                if meta := node._meta:
                    node._meta = {key: meta[key] for key in meta.keys() - POSITION_META_KEYS} or None
            return tree

        @functools.lru_cache(maxsize=256)
        def parsed(sql: str, read: Any, **options: Any) -> exp.Expr:
            general, names = _general(sql)
            try:
                tree = parsed_in_general(general, read, **options)
            except sqlglot.errors.SqlglotError:
                return original(sql, read, **options)  # for an error with the right names
            if names:
                tree = tree.copy()
                for node in tree.walk():
                    for key, value in list(node.args.items()):
                        if isinstance(value, str) and "zz_" in value:
                            node.set(key, _particular(value, names))
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


def remembered(function: Callable[..., str]) -> Callable[..., str]:
    """Let a function that makes a text of a text make it once, whatever made-up names are in it.

    :param function: its other arguments can be hashed, and it does the same to each name.
    """
    known = functools.lru_cache(maxsize=2048)(function)

    def remembering(text: str, *rest: Any) -> str:
        general, names = _general(text)
        try:
            return _particular(known(general, *rest), names)
        except Exception:
            return function(text, *rest)  # for an error with the right names

    return remembering


def translate_once() -> None:
    """Translate a statement once; what does so reads nothing but its text, and whom ``SESSION_USER`` stands for."""

    def make(original: Callable[..., Result[str, Any]]) -> Callable[..., Result[str, Any]]:
        @remembered
        def translated(sql: str, caller: object) -> str:
            result = original(_translator(), sql, caller=caller)
            if isinstance(result, Err):
                raise _UntranslatedError
            text: str = result.value
            return text

        def translate(
            translator: SQLTranslator, sql: str, *, schema: object = None, caller: object = None
        ) -> Any:
            try:
                return Ok(translated(sql, caller))
            except _UntranslatedError:
                return original(translator, sql, caller=caller)  # for an error with the right names

        return translate

    replace("bqemulator.sql.translator:SQLTranslator", "translate", make)
    replace("bqemulator.sql.inner_query", "rewrite_unnest_offset", remembered)
    for module in ("bqemulator.jobs.executor", "bqemulator.scripting.interpreter"):
        replace(module, "rewrite_table_refs", remembered)


class _UntranslatedError(Exception):
    """A statement that can't be translated; it is not remembered."""


@functools.cache
def _translator() -> SQLTranslator:
    return SQLTranslator()


def parse_json_paths_once() -> None:
    """Parse a JSON path once; each statement that reads answers has the same ones, in each of its passes."""

    def make(original: Callable[[str, Any], exp.Expr]) -> Callable[[str, Any], exp.Expr]:
        @functools.lru_cache(maxsize=1024)
        def parsed(path: str, dialect: type[Any]) -> exp.Expr:
            return original(path, dialect())

        def parse(path: str, dialect: Any) -> exp.Expr:
            kind: Any = type(dialect)
            return parsed(path, kind).copy()

        return parse

    replace("sqlglot.dialects.dialect", "parse_json_path", make)


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


CORRECTIONS = (
    parse_once,
    translate_once,
    parse_json_paths_once,
    write_with_one_generator,
    cast_concatenations_once,
)
