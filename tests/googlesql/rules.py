"""What BigQuery refuses beyond what GoogleSQL does.

Sources: https://cloud.google.com/bigquery/quotas#query_jobs, and the reference of the statements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sized
from typing import Protocol

MOST_BYTES = 1_000_000
MOST_PARAMETERS = 10_000
MOST_TABLES = 1_000

_QUOTED = re.compile(
    r"""(?:[rRbB]{0,2})(?:'''.*?'''|\""".*?\"""|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")|`[^`]*`"""
    r"""|(?:--|\#)[^\n]*|/\*.*?\*/""",
    re.DOTALL,
)
_DDL = re.compile(r"\b(?:CREATE|ALTER|DROP)\s+(?:OR\s+REPLACE\s+)?(?!TEMP)\w+", re.IGNORECASE)
_OPTIONS = re.compile(r"\bOPTIONS\s*\(", re.IGNORECASE)
# What the reference of the statements allows in an option is a constant expression, and not one with these.
_NOT_CONSTANT = re.compile(
    r"\bSELECT\b"
    r"|\b(?:RAND|SESSION_USER|FORMAT|[LR]PAD|REPEAT|REPLACE|REGEXP_REPLACE|ARRAY_TO_STRING|GENERATE_\w+)\s*\(",
    re.IGNORECASE,
)
_WITHOUT_PARAMETERS = re.compile(
    r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:MATERIALIZED\s+)?(?:VIEW|FUNCTION|PROCEDURE|TABLE\s+FUNCTION)\b",
    re.IGNORECASE,
)


class Checked(Protocol):
    """A statement with its tables and parameters."""

    @property
    def sql(self) -> str: ...
    @property
    def tables(self) -> Sized: ...
    @property
    def parameters(self) -> Sized: ...


def unquoted(sql: str, instead: str | Callable[[re.Match[str]], str] = "''") -> str:
    """Return a statement with something instead of what holds no syntax: texts, quoted names and comments."""
    return _QUOTED.sub(instead, sql)


def faults(case: Checked) -> Iterator[str]:
    """Yield why BigQuery would refuse a statement that GoogleSQL takes."""
    if (size := len(case.sql.encode())) > MOST_BYTES:
        yield f"the statement has {size:,} bytes; BigQuery takes {MOST_BYTES:,}"
    if len(case.parameters) > MOST_PARAMETERS:
        yield f"the statement has {len(case.parameters):,} parameters; BigQuery takes {MOST_PARAMETERS:,}"
    if len(case.tables) > MOST_TABLES:
        yield f"the statement reads {len(case.tables):,} tables; BigQuery takes {MOST_TABLES:,}"
    sql = unquoted(case.sql)
    for found in re.finditer(r"\bWITH\s+RECURSIVE\b", sql, re.IGNORECASE):
        statement = sql[sql.rfind(";", 0, found.start()) + 1 : found.start()]
        if statement.count("(") > statement.count(")"):
            yield "WITH RECURSIVE is allowed at the top level only"
    for inside in re.findall(r"\bBEGIN\s+TRANSACTION\b(.*?)\bCOMMIT\b", sql, re.IGNORECASE | re.DOTALL):
        if found := _DDL.search(inside):
            yield f"a transaction holds no DDL of permanent tables: {found[0]}"
    for begin in _OPTIONS.finditer(sql):
        if found := _NOT_CONSTANT.search(_bracketed(sql[begin.end() :])):
            yield f"an option is a constant expression: {found[0]}"
    for statement in sql.split(";"):
        if _WITHOUT_PARAMETERS.search(statement) and "@" in statement:
            yield "the body of a view, a function or a procedure takes no query parameters"


def _bracketed(text: str) -> str:
    """Return a text up to the bracket that closes the one before it."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[:place]
    return text
