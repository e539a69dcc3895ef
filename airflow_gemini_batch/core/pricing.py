"""Tokens → money, at the rates of a price table."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Self

from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.core.rates import Rate, read_rates
from airflow_gemini_batch.core.usage import Usage
from airflow_gemini_batch.exceptions import InvalidRequestError


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The rates of models at batch prices, by plain model name."""

    rates: Mapping[str, Rate]

    @classmethod
    def load(cls, path: str | None = None) -> Self:
        """Return the rates of this release, with a file of the user's own laid over them.

        Raises :class:`InvalidRequestError` for a file that can't be read, with the line and the column.

        :param path: CSV in UTF-8 with the columns of ``prices.csv``, of which
            :data:`.rates.REQUIRED_COLUMNS` must be there; lines that begin with ``#`` are comments.
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
        """Return the rate of a model, ``None`` when it is not known.

        Looked up by the last part of a resource name, as it is and then without its version (``@001``, ``-001``).
        A preview is not taken for the model that it precedes: prices have changed from one to the other, and
        no price is better than a wrong one.
        """
        name = short_model_name(model)
        plain = name.partition("@")[0]
        for candidate in (name, plain, re.sub(r"-\d{3}\Z", "", plain)):
            if candidate in self.rates:
                return self.rates[candidate]
        return None


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money, and what it leaves out.

    As JSON: ``amount`` (number or null), ``currency``, ``rates_as_of``, ``unpriced`` (list of models).

    :param amount: ``None`` when there are tokens and none of them could be priced.
    :param rates_as_of: when the oldest of the rates used was read; empty when none was used.
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
        return {
            "amount": self.amount,
            "currency": self.currency,
            "rates_as_of": self.rates_as_of,
            "unpriced": list(self.unpriced),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read a cost; raises :class:`ValueError` for what is none."""
        try:
            return cls(
                amount=content["amount"],
                currency=content["currency"],
                rates_as_of=content["rates_as_of"],
                unpriced=tuple(content["unpriced"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no cost: {content!r:.200}") from error


def cost_of(usage_by_model: Mapping[str, Usage], table: PriceTable) -> Cost:
    """Price token counts; a model without a rate is named in the cost and does not stop the others."""
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
    # Far below the price of one token: what floats add there is noise.
    return Cost(round(math.fsum(amounts), 12), min(dates, default=""), tuple(unpriced))


def dollars(amount: float) -> str:
    """Write US dollars for people: cents where they matter, ten-thousandths below a dollar."""
    if 0 < amount < 0.0001:
        return "<$0.0001"
    return f"${amount:.4f}" if 0 < amount < 1 else f"${amount:,.2f}"


@functools.cache
def _packaged_rates() -> Mapping[str, Rate]:
    file = resources.files("airflow_gemini_batch.core") / "prices.csv"
    return read_rates(file.read_text(encoding="utf-8"), "prices.csv")
