"""The price table, and the cost of token counts."""

from __future__ import annotations

import csv
import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, Self

from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.costs.rates import GLOBAL, Lifecycle, Prices, Rate
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.usage import Usage

REQUIRED_COLUMNS = ("model", "input", "output", "as_of")
OPTIONAL_COLUMNS = (
    "cached_input",
    "audio_input",
    "input_above_200k",
    "output_above_200k",
    "cached_input_above_200k",
    "outside_global",
    "valid_from",
    "retires",
    "closed_to_new_projects",
)


def read_prices(text: str, path: str) -> PriceTable:
    """Return the price table in the text of a price file.

    :param path: of the file, for messages.

    Raises :class:`InvalidRequestError`, with the line and the column, for a malformed file.
    """
    # Comments become empty lines, so that the reader's line numbers stay those of the file.
    reader = csv.reader("" if line.startswith("#") else line for line in text.splitlines())
    rows = ([cell.strip() for cell in row] for row in reader if any(row))
    rates: dict[str, list[Rate]] = {}
    lifecycles: dict[str, Lifecycle] = {}
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
            rate = _rate(cells, where)
            others = rates.setdefault(model, [])
            if any(other.valid_from == rate.valid_from for other in others):
                raise InvalidRequestError(
                    f"{where}, column model: {model!r} has a row for the same valid_from already; keep one"
                )
            others.append(rate)
            dates = Lifecycle(_date(cells, "retires", where), _date(cells, "closed_to_new_projects", where))
            lifecycles[model] = lifecycles.get(model, Lifecycle()).updated(dates)
    except csv.Error as error:
        raise InvalidRequestError(f"the price file {path}, line {reader.line_num}: {error}") from error
    by_day = {model: sorted(found, key=lambda rate: rate.valid_from) for model, found in rates.items()}
    return PriceTable(by_day, lifecycles)


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
        audio_input=_price(cells, "audio_input", where) if cells.get("audio_input") else None,
    )
    long_in = _price(cells, "input_above_200k", where, default=usual.input)
    has_tier = long_in != usual.input
    long = Prices(
        input=long_in,
        output=_price(cells, "output_above_200k", where, default=usual.output),
        cached_input=_price(
            cells, "cached_input_above_200k", where, default=long_in if has_tier else usual.cached_input
        ),
        audio_input=None if has_tier else usual.audio_input,
    )
    factor = _price(cells, "outside_global", where, default=1.0, unit="a factor, such as 1.1")
    return Rate(usual, long, as_of, factor, _date(cells, "valid_from", where) or date.min)


def _date(cells: Mapping[str, str], column: str, where: str) -> date | None:
    cell = cells.get(column, "")
    if not cell:
        return None
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", cell):
            raise ValueError
        return date.fromisoformat(cell)
    except ValueError:
        raise InvalidRequestError(
            f"{where}, column {column}: expected a day, such as 2026-12-01, got {cell!r}"
        ) from None


def _price(
    cells: Mapping[str, str],
    column: str,
    where: str,
    *,
    default: float | None = None,
    unit: str = "US dollars per million tokens, such as 0.15",
) -> float:
    cell = cells.get(column, "")
    if not cell and default is not None:
        return default
    try:
        price = float(cell)
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise InvalidRequestError(f"{where}, column {column}: expected {unit}, got {cell!r}")
    return price


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The rates of models at batch prices, by plain model name.

    :param rates: of each model, by :attr:`Rate.valid_from`.
    :param lifecycles: of the models whose dates are known.
    :param location: of the jobs. Where it is unknown (empty), the rates are those outside :data:`GLOBAL`, which are not
        the lower ones.
    """

    rates: Mapping[str, Sequence[Rate]]
    lifecycles: Mapping[str, Lifecycle] = field(default_factory=dict)
    location: str = GLOBAL

    @classmethod
    def load(cls, path: str | None = None, *, location: str = GLOBAL) -> PriceTable:
        """Return the packaged prices, replaced and extended by those of the user's own file.

        A model's own rows replace all its packaged rates; its packaged lifecycle stays where they have no dates.

        :param path: CSV in UTF-8 with the columns of ``prices.csv``, of which :data:`REQUIRED_COLUMNS` are required;
            lines that begin with ``#`` are comments.

        Raises :class:`InvalidRequestError` for a malformed or unreadable file.
        """
        packaged = _packaged_prices()
        if path is None:
            return replace(packaged, location=location)
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            raise InvalidRequestError(f"the price file {path} can't be read: {error}") from error
        own = read_prices(text, path)
        lifecycles = {
            model: packaged.lifecycles.get(model, Lifecycle()).updated(dates)
            for model, dates in own.lifecycles.items()
        }
        return cls({**packaged.rates, **own.rates}, {**packaged.lifecycles, **lifecycles}, location)

    def rate(self, model: str, on: date) -> Rate | None:
        """Return the rate of a model on a day, in the table's location; ``None`` without one.

        Searches for the last part of a resource name, as it is and then without its version (``@001``, ``-001``). A
        preview does not get the price of its successor: prices have changed between the two, and a wrong price is
        worse than none.
        """
        valid = [rate for rate in self.rates.get(self._listed(model), ()) if rate.valid_from <= on]
        return valid[-1].at(self.location) if valid else None

    def lifecycle(self, model: str) -> Lifecycle:
        """Return what is known of a model's life; names are searched for as in :meth:`rate`."""
        return self.lifecycles.get(self._listed(model), Lifecycle())

    def _listed(self, model: str) -> str:
        name = short_model_name(model)
        plain = name.partition("@")[0]
        candidates = (name, plain, re.sub(r"-\d{3}\Z", "", plain))
        return next((candidate for candidate in candidates if candidate in self.rates), "")


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money, and the models that it leaves out.

    As JSON: ``amount`` (number or null), ``currency``, ``rates_as_of``, ``unpriced`` (list of models).

    :param amount: ``None`` when no model has a rate.
    :param rates_as_of: date of the oldest rate used; empty without any.
    :param unpriced: models without a rate, whose tokens are not in the amount; ``MODEL (audio)`` for one whose rate
        of audio is unknown.
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

    def __add__(self, other: Cost) -> Cost:
        known = [amount for amount in (self.amount, other.amount) if amount is not None]
        # That one part costs nothing does not make the other one known.
        amount = None if (self.unpriced or other.unpriced) and not any(known) else math.fsum(known)
        return Cost(
            None if amount is None else round(amount, 12),
            min(filter(None, (self.rates_as_of, other.rates_as_of)), default=""),
            tuple(dict.fromkeys((*self.unpriced, *other.unpriced))),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the cost as JSON types."""
        return {**asdict(self), "unpriced": list(self.unpriced)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read a cost; what is absent is not known."""
        return cls(
            content.get("amount"),
            content.get("rates_as_of", ""),
            tuple(content.get("unpriced", ())),
            currency=content.get("currency", "USD"),
        )


def cost_of(usage_by_model: Mapping[str, Usage], table: PriceTable, *, on: date) -> Cost:
    """Return the cost of token counts; models without a rate are listed in it.

    :param on: the day (UTC) whose rates count: for a job the one of its creation.
    """
    amounts: list[float] = []
    dates: list[str] = []
    unpriced: list[str] = []
    for model, usage in usage_by_model.items():
        rate = table.rate(model, on)
        if rate is None:
            unpriced.append(model)
            continue
        amounts.append(rate.cost(usage))
        dates.append(rate.as_of)
        if rate.lacks_audio(usage):
            unpriced.append(f"{model} (audio)")
    if unpriced and not amounts:
        return Cost(None, unpriced=tuple(unpriced))
    # Rounds far below the price of one token, where only the noise of floats is left.
    return Cost(round(math.fsum(amounts), 12), min(dates, default=""), tuple(unpriced))


def dollars(amount: float) -> str:
    """Return US dollars as text: with cents, ten-thousandths below a dollar, or the first digit that is not zero."""
    if 0 < amount < 0.0001:
        return f"${amount:.{-math.floor(math.log10(amount))}f}"
    return f"${amount:.4f}" if 0 < amount < 1 else f"${amount:,.2f}"


@functools.cache
def _packaged_prices() -> PriceTable:
    file = resources.files("airflow_gemini_batch.costs") / "prices.csv"
    return read_prices(file.read_text(encoding="utf-8"), "prices.csv")
