"""Records the statements that the package sends while tests run, with the schemas of their tables.

A plugin of pytest, which does nothing unless ``GEMINI_BATCH_RECORD_SQL`` names a folder. ``python -m tests.googlesql
FOLDER`` then has them analyzed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from tests.googlesql.catalogs import parameter_types

if TYPE_CHECKING:
    import pytest

_PACKAGE = str(Path(__file__).parents[2] / "airflow_gemini_batch")
_TABLE = re.compile(r"`([^`.\n]+\.[^`.\n]+\.[^`\n]+)`")
# In a user's own query.
_SHORT_NAME = re.compile(r"(?<=\bFROM )[A-Za-z_]\w*\.\w+\b(?![.(])")


def pytest_configure(config: pytest.Config) -> None:
    if folder := os.environ.get("GEMINI_BATCH_RECORD_SQL"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        record_into(Path(folder, f"{os.getpid()}.jsonl"))


def record_into(file: Path) -> None:
    """Let the client of BigQuery write down each statement of the package that BigQuery takes."""
    from google.cloud.bigquery import Client

    for name in ("query", "query_and_wait"):
        setattr(Client, name, _recorded(getattr(Client, name), file))


def _recorded(method: Callable[..., Any], file: Path) -> Callable[..., Any]:
    made: dict[str, dict[str, Any]] = {}  # What has made temporary tables, by session.

    def call(client: Any, sql: str, job_config: Any = None, **options: Any) -> Any:
        # A dry run is of the user's own query. query_and_wait calls no other of these methods.
        if not _is_ours() or getattr(job_config, "dry_run", False) or sql.startswith("CALL "):
            return method(client, sql, job_config=job_config, **options)
        config = job_config.to_api_repr()["query"] if job_config else {}
        session = "".join(one["value"] for one in config.get("connectionProperties", ()))
        before = made.get(session, {"sql": "", "tables": {}, "parameters": {}})
        parameters = parameter_types({"query": config})
        whole = _SHORT_NAME.sub(lambda found: _whole_name(client, found[0]), sql)
        case = {
            "sql": before["sql"] + whole,
            "tables": {**before["tables"], **dict(_tables(client, whole))},
            "parameters": {**before["parameters"], **parameters},
            "name": os.environ.get("PYTEST_CURRENT_TEST", ""),
        }
        answer = method(client, sql, job_config=job_config, **options)
        if getattr(answer, "error_result", None):
            return answer
        if config.get("createSession"):
            session = answer.session_info.session_id
        if session and sql.startswith("CREATE TEMP TABLE"):
            made[session] = _renamed({**case, "sql": f"{case['sql']};\n"}, len(made))
        with file.open("ab") as stream:
            stream.write(orjson.dumps(case) + b"\n")
        return answer

    return call


def _renamed(case: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a statement whose parameters have names that no later one has."""
    names = {name: f"made_{number}_{name}" for name in case["parameters"]}
    sql = re.sub(r"@(\w+)", lambda found: f"@{names.get(found[1], found[1])}", case["sql"])
    return {
        **case,
        "sql": sql,
        "parameters": {names[name]: kind for name, kind in case["parameters"].items()},
    }


def _is_ours() -> bool:
    """Return whether the statement is the package's, and neither a test's nor that of a local server."""
    frame = sys._getframe(2)
    code = frame.f_code.co_filename
    return code.startswith(_PACKAGE) and "/testing/" not in code


def _whole_name(client: Any, name: str) -> str:
    """Return the name of a table with its project; another name as it is."""
    from google.api_core.exceptions import GoogleAPICallError

    try:
        client.get_table(f"{client.project}.{name}")
    except (GoogleAPICallError, ValueError):
        return name
    return f"`{client.project}.{name}`"


def _tables(client: Any, sql: str) -> Iterator[tuple[str, dict[str, str]]]:
    from google.api_core.exceptions import GoogleAPICallError

    for name in dict.fromkeys(_TABLE.findall(sql)):
        try:
            table = client.get_table(name)
        except (GoogleAPICallError, ValueError):
            continue  # It is to be made, or the statement fails.
        yield name, {field.name: type_of(field) for field in table.schema}


def type_of(field: Any) -> str:
    """Return GoogleSQL's type of a column of the REST API."""
    kind = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}.get(field.field_type, field.field_type)
    if kind in ("RECORD", "STRUCT"):
        kind = f"STRUCT<{', '.join(f'`{one.name}` {type_of(one)}' for one in field.fields)}>"
    return f"ARRAY<{kind}>" if field.mode == "REPEATED" else kind
