"""Something that happens between the statements that a test's code sends to BigQuery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest


@contextmanager
def before_statements(act: Callable[[int, str], None]) -> Iterator[None]:
    """Call a function before each query or script that clients send meanwhile, dry runs left out.

    :param act: takes the number of the query or script, from 0, and its text.
    """
    from google.cloud.bigquery import Client

    numbers, query = count(), Client.query

    def act_first(client: Any, sql: str, job_config: Any = None, **options: Any) -> Any:
        if not getattr(job_config, "dry_run", False):
            act(next(numbers), sql)
        return query(client, sql, job_config=job_config, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Client, "query", act_first)
        yield
