"""Temporary tables: those of a script end with it, those of a session with the session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from bqemulator.api.routes import jobs as routes

from airflow_gemini_batch.testing.bigquery.patches.seams import replace

_ROUTES = "bqemulator.api.routes.jobs"
_SESSION: ContextVar[str] = ContextVar("session", default="")
_LOCKS: WeakKeyDictionary[Any, asyncio.Lock] = WeakKeyDictionary()


def note_session() -> None:
    """Take note of the session that a job names or begins: bqemulator only checks its id."""

    def named(original: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
        def check(query: dict[str, Any]) -> None:
            original(query)
            properties = {one["key"]: one["value"] for one in query.get("connectionProperties") or ()}
            _SESSION.set(properties.get("session_id", ""))

        return check

    def begun(original: Callable[[dict[str, Any]], str | None]) -> Callable[[dict[str, Any]], str | None]:
        def mint(query: dict[str, Any]) -> str | None:
            if session := original(query):
                _SESSION.set(session)
            return session

        return mint

    replace(_ROUTES, "_validate_session_id", named)
    replace(_ROUTES, "_maybe_mint_session", begun)


def keep_tables_of_sessions() -> None:
    """Keep temporary tables for the next statements of their session; all scripts and sessions shared one name space.

    DuckDB has one, so that a session's tables have other names while none of its statements runs.
    """

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def run(project: str, job_id: str, sql: str, values: Any, context: Any, **options: Any) -> Any:
            if not (session := _SESSION.get()):
                return await original(project, job_id, sql, values, context, **options)
            engine = context.engine
            async with _lock(engine):
                for name in _temporary(engine):
                    _rename(engine, name, name.removeprefix(f"{session}/"))
                try:
                    return await original(project, job_id, sql, values, context, **options)
                finally:
                    if session in routes._SESSION_CATALOG:
                        for name in _temporary(engine, in_use=True):
                            _rename(engine, name, f"{session}/{name}")
                    else:
                        _drop_those_in_use(engine)

        return run

    replace(_ROUTES, "execute_query_job", make)


def end_tables_of_scripts() -> None:
    """Drop a script's temporary tables when it ends, and run one script at a time."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def run(interpreter: Any, source: str, context: Any) -> Any:
            if _SESSION.get():
                return await original(interpreter, source, context)
            async with _lock(context.engine):
                try:
                    return await original(interpreter, source, context)
                finally:
                    _drop_those_in_use(context.engine)

        return run

    replace("bqemulator.jobs.executor", "_run_script", make)


def end_sessions() -> None:
    """Take ``CALL BQ.ABORT_SESSION()``, of the session that it runs in."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def call(interpreter: Any, statement: Any) -> None:
            if statement.routine_ref.upper() != "BQ.ABORT_SESSION" or statement.arg_exprs:
                await original(interpreter, statement)
            else:
                routes._SESSION_CATALOG.discard(_SESSION.get())

        return call

    replace("bqemulator.scripting.interpreter:ScriptInterpreter", "_exec_call", make)


def _lock(engine: Any) -> asyncio.Lock:
    return _LOCKS.setdefault(engine, asyncio.Lock())


def _temporary(engine: Any, *, in_use: bool = False) -> Iterator[str]:
    """Yield the names of temporary tables.

    :param in_use: leave out those of sessions without a statement that runs.
    """
    rows = engine.execute("SELECT table_name FROM duckdb_tables() WHERE temporary AND schema_name = 'main'")
    yield from (name for (name,) in rows.fetchall() if not (in_use and "/" in name))


def _rename(engine: Any, name: str, other: str) -> None:
    if name != other:
        engine.execute(f'ALTER TABLE temp.main."{name}" RENAME TO "{other}"')


def _drop_those_in_use(engine: Any) -> None:
    for name in _temporary(engine, in_use=True):
        engine.execute(f'DROP TABLE temp.main."{name}"')


CORRECTIONS = (note_session, keep_tables_of_sessions, end_tables_of_scripts, end_sessions)
