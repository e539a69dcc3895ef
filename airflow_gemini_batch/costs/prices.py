"""The price table, and the cost of token counts."""

from __future__ import annotations

import csv
import functools
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Self

from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.usage import Usage

REQUIRED_COLUMNS = ("model", "input", "output", "as_of")
OPTIONAL_COLUMNS = ("cached_input", "input_above_200k", "output_above_200k", "cached_input_above_200k")


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million tokens."""

    input: float
    output: float
    cached_input: float

    def cost(self, *, prompt: int, cached: int, output: int) -> float:
        """Return the US dollars for token counts; ``prompt`` includes ``cached``."""
        cached = min(cached, prompt)
        return (self.input * (prompt - cached) + self.cached_input * cached + self.output * output) / 1e6


@dataclass(frozen=True, slots=True)
class Rate:
    """The batch prices of a model.

    :param long: prices of rows with a long prompt (see :data:`.usage.LONG_PROMPT`); often the usual ones.
    :param as_of: the day or month on which the prices were looked up, ``YYYY-MM-DD`` or ``YYYY-MM``.
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
    """Return the rates in the text of a price file, by plain model name.

    :param path: of the file, for messages.

    Raises :class:`InvalidRequestError`, with the line and the column, for a malformed file.
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
                raise InvalidRequestError(f"{where}: expected {len(columns)} cells, got {len(row)}")
            cells = dict(zip(columns, row, strict=True))
            model = short_model_name(cells["model"])
            if not model:
                raise InvalidRequestError(f"{where}, column model: the cell is empty")
            if model in rates:
                raise InvalidRequestError(f"{where}, column model: {model!r} has a row already; keep one")
            rates[model] = _rate(cells, where)
    except csv.Error as error:
        raise InvalidRequestError(f"the price file {path}, line {reader.line_num}: {error}") from error
    return rates


def _check_columns(columns: list[str], where: str) -> None:
    known = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
    if wrong := [column for column in columns if column not in known or columns.count(column) > 1]:
        raise InvalidRequestError(
            f"{where}: the column {wrong[0]!r} is unknown or repeated; the columns are {', '.join(known)}"
        )
    if missing := [column for column in REQUIRED_COLUMNS if column not in columns]:
        raise InvalidRequestError(
            f"{where}: the column {missing[0]!r} is missing; the first line names the columns"
        )


def _rate(cells: Mapping[str, str], where: str) -> Rate:
    as_of = cells["as_of"]
    if not re.fullmatch(r"\d{4}-\d\d(-\d\d)?", as_of):
        raise InvalidRequestError(
            f"{where}, column as_of: expected the date of the price, such as 2026-11, got {as_of!r}"
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
            f"{where}, column {column}: expected US dollars per million tokens, such as 0.15, got {cell!r}"
        )
    return price


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The rates of models at batch prices, by plain model name."""

    rates: Mapping[str, Rate]

    @classmethod
    def load(cls, path: str | None = None) -> Self:
        """Return the packaged rates, replaced and extended by those of the user's own file.

        :param path: CSV in UTF-8 with the columns of ``prices.csv``, of which :data:`REQUIRED_COLUMNS` are required;
            lines that begin with ``#`` are comments.

        Raises :class:`InvalidRequestError` for a malformed or unreadable file.
        """
        rates = _packaged_rates()
        if path is None:
            return cls(rates)
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            raise InvalidRequestError(f"the price file {path} can't be read: {error}") from error
        return cls({**rates, **read_rates(text, path)})

    def rate(self, model: str) -> Rate | None:
        """Return the rate of a model, ``None`` without one.

        Searches for the last part of a resource name, as it is and then without its version (``@001``, ``-001``). A
        preview does not get the price of its successor: prices have changed between the two, and a wrong price is
        worse than none.
        """
        name = short_model_name(model)
        plain = name.partition("@")[0]
        for candidate in (name, plain, re.sub(r"-\d{3}\Z", "", plain)):
            if candidate in self.rates:
                return self.rates[candidate]
        return None


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money, and the models that it leaves out.

    As JSON: ``amount`` (number or null), ``currency``, ``rates_as_of``, ``unpriced`` (list of models).

    :param amount: ``None`` when no model has a rate.
    :param rates_as_of: date of the oldest rate used; empty without any.
    :param unpriced: models without a rate, whose tokens are not in the amount.
    """

    amount: float | None
    rates_as_of: str = ""
    unpriced: tuple[str, ...] = ()
    currency: str = field(default="USD", kw_only=True)

    def __str__(self) -> str:
        models = ", ".join(model or "a model without a name" for model in self.unpriced)
        if self.amount is None:
            return f"cost unknown (no rate for {models})"
        text = dollars(self.amount)
        if self.rates_as_of:
            text += f" at batch rates of {self.rates_as_of}"
        return f"{text} (no rate for {models})" if models else text

    def to_json(self) -> dict[str, Any]:
        """Return the cost as JSON types."""
        return {**asdict(self), "unpriced": list(self.unpriced)}


def cost_of(usage_by_model: Mapping[str, Usage], table: PriceTable) -> Cost:
    """Return the cost of token counts; models without a rate are listed in it."""
    amounts: list[float] = []
    dates: list[str] = []
    unpriced: list[str] = []
    for model, usage in usage_by_model.items():
        if rate := table.rate(model):
            amounts.append(rate.cost(usage))
            dates.append(rate.as_of)
        else:
            unpriced.append(model)
    if unpriced and not amounts:
        return Cost(None, unpriced=tuple(unpriced))
    # Rounds far below the price of one token, where only the noise of floats is left.
    return Cost(round(math.fsum(amounts), 12), min(dates, default=""), tuple(unpriced))


def dollars(amount: float) -> str:
    """Return US dollars as text: with cents, or ten-thousandths below a dollar."""
    if 0 < amount < 0.0001:
        return "<$0.0001"
    return f"${amount:.4f}" if 0 < amount < 1 else f"${amount:,.2f}"


@functools.cache
def _packaged_rates() -> Mapping[str, Rate]:
    file = resources.files("airflow_gemini_batch.costs") / "prices.csv"
    return read_rates(file.read_text(encoding="utf-8"), "prices.csv")
