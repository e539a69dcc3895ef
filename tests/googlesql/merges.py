"""MERGE as a query for what the target holds afterwards: the evaluator takes no MERGE.

For the form in which this package writes it, of a clause a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_MERGE = re.compile(
    r"\s*MERGE INTO (?P<target>`[^`]+`) AS (?P<alias>\w+)\nUSING \((?P<source>.*)\) AS (?P<other>\w+)\n"
    r"ON (?P<on>.*?)\nWHEN (?P<clauses>.*)",
    re.DOTALL,
)
_CLAUSE = re.compile(
    r"(?P<new>NOT )?MATCHED(?: AND (?P<condition>.*))? THEN\s+(?P<action>DELETE|UPDATE SET|INSERT)\s*(?P<rest>.*)",
    re.DOTALL,
)
_INSERT = re.compile(r"\((.*)\)\s*VALUES \((.*)\)", re.DOTALL)
_TOKENS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|[(),]")
_IS_THERE = "gemini_batch_is_there"


def target_of(sql: str) -> str | None:
    """Return the table that a statement merges into, in backticks; ``None`` for other statements."""
    found = _MERGE.fullmatch(sql)
    return found["target"] if found else None


def merged_query(sql: str, columns: Sequence[str]) -> str:
    """Return the query for the rows of the target of a MERGE afterwards.

    :param columns: of the target.
    """
    merge = _MERGE.fullmatch(sql)
    assert merge, sql
    target, alias, other = merge["target"], merge["alias"], merge["other"]
    clauses = [_CLAUSE.fullmatch(one.strip()) for one in merge["clauses"].split("\nWHEN ")]
    actions, inserted = [f"WHEN {other}.{_IS_THERE} IS NULL THEN 'KEEP'"], []
    updates: dict[str, dict[str, str]] = {}
    for number, clause in enumerate(clauses):
        assert clause, sql
        condition = clause["condition"] or "TRUE"
        if clause["new"]:
            names, values = _INSERT.fullmatch(clause["rest"].strip()).groups()
            given = dict(zip(map(_plain, _parts(names)), _parts(values), strict=True))
            inserted.append(
                f"SELECT {', '.join(given.get(name, 'NULL') for name in columns)} FROM ({merge['source']}) AS {other}\n"
                f"LEFT JOIN (SELECT *, TRUE AS {_IS_THERE} FROM {target}) AS {alias} ON {merge['on']}\n"
                f"WHERE {alias}.{_IS_THERE} IS NULL AND ({condition})"
            )
            continue
        action = "DELETE" if clause["action"] == "DELETE" else f"UPDATE {number}"
        actions.append(f"WHEN {condition} THEN '{action}'")
        if action != "DELETE":
            pairs = (part.partition(" = ") for part in _parts(clause["rest"]))
            updates[action] = {_plain(name): value for name, _, value in pairs}
    done = f"CASE {' '.join(actions)} ELSE 'KEEP' END"

    def value(name: str) -> str:
        kept = f"{alias}.`{name}`"
        cases = (f"WHEN '{action}' THEN {new[name]}" for action, new in updates.items() if name in new)
        found = " ".join(cases)
        return f"CASE {done} {found} ELSE {kept} END AS `{name}`" if found else kept

    kept = (
        f"SELECT {', '.join(map(value, columns))} FROM {target} AS {alias}\n"
        f"LEFT JOIN (SELECT *, TRUE AS {_IS_THERE} FROM ({merge['source']})) AS {other} ON {merge['on']}\n"
        f"WHERE {done} != 'DELETE'"
    )
    return "\nUNION ALL\n".join([kept, *inserted])


def _plain(name: str) -> str:
    return name.strip().strip("`")


def _parts(text: str) -> Iterator[str]:
    """Yield what commas divide, outside of brackets and quotes."""
    depth = start = 0
    for token in _TOKENS.finditer(text):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if token[0] == "," and not depth:
            yield text[start : token.start()].strip()
            start = token.end()
    yield text[start:].strip()
