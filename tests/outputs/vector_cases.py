"""Vectors as they come, and what lands of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.outputs.classify import Outcome

LENGTH = 3
"""The length that is asked for."""


@dataclass(frozen=True)
class Case:
    """A vector as it came, and what lands of it: the numbers, or why none do."""

    name: str
    values: Any
    lands: list[float] | str


_EMPTY = "the vector is empty"
_ZERO = "the vector is zero"
_NO_NUMBER = "the vector holds something that is not a finite number"

CASES = [
    Case("fits", [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
    Case("whole numbers", [1, 0, -2], [1.0, 0.0, -2.0]),
    Case("longer", [0.6, 0.0, 0.8, 9.0], [0.6, 0.0, 0.8]),
    Case("longer and not of length 1", [3.0, 0.0, 4.0, 12.0, 7.0], [0.6, 0.0, 0.8]),
    Case("longer with something odd behind", [3.0, 0.0, 4.0, None], [0.6, 0.0, 0.8]),
    Case("small", [3e-100, 0.0, 4e-100, 1.0], [0.6, 0.0, 0.8]),
    Case("large", [3e100, 0.0, 4e100, 1.0], [0.6, 0.0, 0.8]),
    Case("shorter", [1.0, 2.0], "the vector has 2 dimensions, not the 3 asked for"),
    Case("empty", [], _EMPTY),
    Case("not a list", 0.5, _EMPTY),
    Case("an object", {"values": [1.0]}, _EMPTY),
    Case("zero", [0, 0.0, -0.0], _ZERO),
    Case("zero before the cut", [0.0, 0.0, 0.0, 1.0], _ZERO),
    Case("too small to compare", [1e-160, 0.0, 0.0], _ZERO),
    Case("too large to compare", [1e160, 0.0, 0.0], _NO_NUMBER),
    Case("null", [1.0, None, 1.0], _NO_NUMBER),
    Case("text", [1.0, "NaN", 1.0], _NO_NUMBER),
    Case("number as text", [1.0, "1.0", 1.0], _NO_NUMBER),
    Case("list within", [1.0, [2.0], 1.0], _NO_NUMBER),
    Case("shorter and odd", [1.0, None], _NO_NUMBER),
]


@dataclass(frozen=True)
class Refusal:
    """A row of a text-embedding model: what stands in it beside the text, and what becomes of it.

    :param code: of the error that it tells.
    """

    name: str
    outcome: Outcome
    code: int | None
    predictions: Any
    status: str = ""
    error: Any = None

    def cells(self, kind: str) -> dict[str, Any]:
        """Return the cells, those of ``predictions`` and ``error`` for columns of a type."""
        told = {"predictions": self.predictions, "error": self.error}
        if kind == "STRING":
            told = {
                name: json.dumps(value) if isinstance(value, (dict, list)) else value
                for name, value in told.items()
            }
        return {"status": self.status, **told}


_BAD, _BUSY = {"code": 400, "message": "m"}, {"code": 429, "message": "m"}
_VECTOR = [{"embeddings": {"values": [1.0, 2.0, 3.0]}}]
_LATER = "Service agents are being provisioned. So please try again in a few minutes."

REFUSALS = [
    Refusal("vector", Outcome.OK, None, _VECTOR),
    Refusal("error-beside-a-vector", Outcome.OK, None, _VECTOR, error=_BAD),
    Refusal("nothing", Outcome.MISSING, None, []),
    Refusal("status", Outcome.REJECTED, 400, [], f"Bad Request: {json.dumps({'error': _BAD})}"),
    Refusal("status-that-passes", Outcome.RETRYABLE, 9, [], json.dumps({"code": 9, "message": _LATER})),
    Refusal("not-a-request", Outcome.REJECTED, None, [], "Failed to parse JSON into proto"),
    Refusal("error", Outcome.REJECTED, 400, [], error=_BAD),
    Refusal("error-in-an-envelope", Outcome.RETRYABLE, 429, None, error={"error": _BUSY}),
    Refusal("error-as-text", Outcome.RETRYABLE, 429, [], error=json.dumps(_BUSY)),
    Refusal("error-in-the-prediction", Outcome.REJECTED, 400, [{"error": _BAD}]),
    Refusal("error-as-text-in-the-prediction", Outcome.RETRYABLE, 429, [{"error": json.dumps(_BUSY)}]),
    Refusal("error-instead-of-predictions", Outcome.REJECTED, 400, {"error": _BAD}),
    Refusal("status-in-the-prediction", Outcome.RETRYABLE, 429, [{"status": _BUSY}]),
]
