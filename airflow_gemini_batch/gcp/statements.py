"""Statements and the values that travel beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.cloud.bigquery import QueryJobConfig


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and its parameters, all of them of type STRING."""

    sql: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def job_config(self) -> QueryJobConfig:
        """Return the parameters as the BigQuery client takes them."""
        from google.cloud.bigquery import QueryJobConfig, ScalarQueryParameter

        return QueryJobConfig(
            query_parameters=[
                ScalarQueryParameter(name, "STRING", value) for name, value in self.parameters.items()
            ]
        )


@dataclass(slots=True)
class Parameters:
    """The values of one statement, while it is written."""

    values: dict[str, str] = field(default_factory=dict)

    def bind(self, value: str) -> str:
        """Return the parameter that stands for a value."""
        for name, known in self.values.items():
            if known == value:
                return f"@{name}"
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"@{name}"
