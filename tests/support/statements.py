"""What a test's code sends to BigQuery, statement by statement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlglot

from tests.benchmarks.statements import scans

PROJECT = "demo-project"


@dataclass
class Sent:
    """The queries and scripts that were sent, in their order."""

    scripts: list[str] = field(default_factory=list)

    @property
    def scans(self) -> Counter[str]:
        """How often they read each table, by the table's name."""
        return Counter(
            scan.table[2]
            for sql in self.scripts
            for tree in sqlglot.parse(sql, read="bigquery")
            if tree is not None
            for scan in scans(tree, PROJECT, lambda _: (), {})
        )


@contextmanager
def statements(before: Callable[[int], None] = lambda _: None) -> Iterator[Sent]:
    """Give what clients of BigQuery send meanwhile, dry runs left out.

    :param before: called with the number, from 0, of each query or script before it is sent.
    """
    from google.cloud.bigquery import Client

    sent = Sent()

    def recorded(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(client: Any, sql: str, job_config: Any = None, **options: Any) -> Any:
            if not getattr(job_config, "dry_run", False):
                sent.scripts.append(sql)
                before(len(sent.scripts) - 1)
            return method(client, sql, job_config=job_config, **options)

        return call

    with pytest.MonkeyPatch.context() as patched:
        for name in ("query", "query_and_wait"):
            patched.setattr(Client, name, recorded(getattr(Client, name)))
        yield sent
