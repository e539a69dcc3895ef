"""What models cost, and the CSV file that says so."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.core.usage import Usage
from airflow_gemini_batch.exceptions import InvalidRequestError

REQUIRED_COLUMNS = ("model", "input", "output", "as_of")
OPTIONAL_COLUMNS = ("cached_input", "input_above_200k", "output_above_200k", "cached_input_above_200k")


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million tokens."""

    input: float
    output: float
    cached_input: float

    def cost(self, *, prompt: int, cached: int, output: int) -> float:
        """Return the US dollars for numbers of tokens; ``cached`` are among those of ``prompt``."""
        cached = min(cached, prompt)
        return (self.input * (prompt - cached) + self.cached_input * cached + self.output * output) / 1e6


@dataclass(frozen=True, slots=True)
class Rate:
    """What a model costs in batch.

    :param usual: prices of most rows.
    :param long: prices of rows with a long prompt (see :data:`.usage.LONG_PROMPT`); often the same.
    :param as_of: when they were read, ``YYYY-MM`` or ``YYYY-MM-DD``.
    """

    usual: Prices
    long: Prices
    as_of: str

    def cost(self, usage: Usage) -> float:
        """Return the US dollars for token counts; thoughts are output."""
        long = self.long.cost(
            prompt=usage.long_prompt_tokens,
            cached=usage.long_cached_tokens,
            output=usage.long_output_tokens,
        )
        return long + self.usual.cost(
            prompt=usage.prompt_tokens - usage.long_prompt_tokens,
            cached=usage.cached_tokens - usage.long_cached_tokens,
            output=usage.output_tokens + usage.thoughts_tokens - usage.long_output_tokens,
        )


def read_rates(text: str, path: str) -> dict[str, Rate]:
    """Return the rates of a price file's text by plain model name.

    :param path: where the text is from, for messages. Raises :class:`InvalidRequestError`, with the line and the
        column, for what is no price file.
    """
    # Comments become empty lines, so that the reader's line numbers stay those of the file.
    reader = csv.reader("" if line.startswith("#") else line for line in text.splitlines())
    rows = ([cell.strip() for cell in row] for row in reader if any(row))
    rates: dict[str, Rate] = {}
    try:
        columns = next(rows, [])
        _check_columns(columns, f"the price file {path}, line {reader.line_num}")
        for row in rows:
            where = f"the price file {path}, line {reader.line_num}"
            if len(row) != len(columns):
                raise InvalidRequestError(f"{where}: there are {len(row)} cells for {len(columns)} columns")
            cells = dict(zip(columns, row, strict=True))
            model = short_model_name(cells["model"])
            if not model:
                raise InvalidRequestError(f"{where}, column model: the name of the model is missing")
            if model in rates:
                raise InvalidRequestError(f"{where}, column model: {model!r} is there twice; keep one row")
            rates[model] = _rate(cells, where)
    except csv.Error as error:
        raise InvalidRequestError(f"the price file {path}, line {reader.line_num}: {error}") from error
    return rates


def _check_columns(columns: list[str], where: str) -> None:
    known = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
    if wrong := [column for column in columns if column not in known or columns.count(column) > 1]:
        raise InvalidRequestError(
            f"{where}, column {wrong[0]!r}: it is unknown or there twice; the columns are {', '.join(known)}"
        )
    if missing := [column for column in REQUIRED_COLUMNS if column not in columns]:
        raise InvalidRequestError(
            f"{where}: the column {missing[0]!r} is missing; the first line names the columns"
        )


def _rate(cells: Mapping[str, str], where: str) -> Rate:
    as_of = cells["as_of"]
    if not re.fullmatch(r"\d{4}-\d\d(-\d\d)?", as_of):
        raise InvalidRequestError(
            f"{where}, column as_of: {as_of!r} is no date; write when the price was read, such as 2026-11"
        )
    price_in = _price(cells, "input", where)
    usual = Prices(
        input=price_in,
        output=_price(cells, "output", where),
        cached_input=_price(cells, "cached_input", where, default=price_in),
    )
    long_in = _price(cells, "input_above_200k", where, default=usual.input)
    long = Prices(
        input=long_in,
        output=_price(cells, "output_above_200k", where, default=usual.output),
        cached_input=_price(
            cells,
            "cached_input_above_200k",
            where,
            default=usual.cached_input if long_in == usual.input else long_in,
        ),
    )
    return Rate(usual, long, as_of)


def _price(cells: Mapping[str, str], column: str, where: str, *, default: float | None = None) -> float:
    cell = cells.get(column, "")
    if not cell and default is not None:
        return default
    try:
        price = float(cell)
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise InvalidRequestError(
            f"{where}, column {column}: {cell!r} is no price; write US dollars per million tokens, such as 0.15"
        )
    return price
