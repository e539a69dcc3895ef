"""The rows that ``rows.py`` measures with: a source file, and answers as Vertex AI writes them."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, GENERATE_CONTENT
from airflow_gemini_batch.core.response_schema import answer_columns, response_schema_of
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.embeddings import embedding_columns
from airflow_gemini_batch.requests.embeddings import gemini_embedding_request
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.spec import BuildPlan
from airflow_gemini_batch.requests.templates import gemini_request

KEY = ("book_id",)
DIMENSIONS = 768
PROMPT = (
    "Describe [[ title ]] ([[ year ]]) by [[ authors | an unknown author ]]. What is known of it: [[ blurb ]]"
)
SCHEMA = {"description": str, "genres": list[str], "for_children": bool}

_COLUMNS = ("book_id", "title", "authors", "year", "blurb")
_BLOCK = 10_000
_FAILED_SHARE = 0.01
_WORDS = (
    *("a", "of", "the", "and", "island", "letter", "winter", "sister", "garden", "mirror", "long", "night"),
    *(
        "harbour",
        "quiet",
        "house",
        "stranger",
        "Łódź",
        "café",
        "Zürich",
        "naïve",
        "thunder",
        "orchard",
        "river",
    ),
    *("window", "“ghost”", "promise", "salt", "city", "last", "train", "東京", "mountain", "silver", "road"),
)
_GENRES = ("novel", "poetry", "history", "biography", "fantasy", "crime", "travel", "science")


class Kind(StrEnum):
    """What the models make."""

    GENERATION = "generation"
    EMBEDDINGS = "embeddings"

    @property
    def model(self) -> str:
        name = "gemini-3.8-flash" if self is Kind.GENERATION else "gemini-embedding-001"
        return f"publishers/google/models/{name}"

    def build_plan(self) -> BuildPlan:
        prompt = PromptTemplate.parse(PROMPT)
        if self is Kind.EMBEDDINGS:
            embed = gemini_embedding_request(prompt, model=self.model, output_dimensionality=DIMENSIONS)
            return BuildPlan(self.model, GEMINI_EMBEDDING, KEY, embed, shard_rows=1_000_000)
        schema = response_schema_of(SCHEMA)
        return BuildPlan(self.model, GENERATE_CONTENT, KEY, gemini_request(prompt, response_schema=schema))

    def landing_plan(self) -> LandingPlan:
        if self is Kind.EMBEDDINGS:
            columns = embedding_columns("embedding")
            return LandingPlan(KEY, columns, family=GEMINI_EMBEDDING, dimensions=DIMENSIONS)
        schema = response_schema_of(SCHEMA)
        return LandingPlan(KEY, answer_columns(schema), schema)

    def answers(self, requests: Collection[bytes], seed: int) -> Iterator[bytes]:
        """Yield the output lines of a job in an order of their own, without line ends."""
        dice = random.Random(seed)
        good: Callable[[random.Random], dict[str, Any]] = (
            _generated if self is Kind.GENERATION else _Embedder(seed)
        )
        for line in dice.sample(list(requests), len(requests)):
            asked = orjson.loads(line)
            request = asked["request"]
            if self is Kind.GENERATION:
                request["contents"] = [
                    {"parts": [{"fileData": None, **part} for part in content["parts"]], "role": "user"}
                    for content in request["contents"]
                ]
            failed = dice.random() < _FAILED_SHARE
            yield orjson.dumps(
                {
                    "key": asked["key"],
                    "status": _refusal(dice) if failed else "",
                    "processed_time": f"2026-11-22T08:{dice.randrange(60):02}:{dice.uniform(10, 60):09.6f}+00:00",
                    "request": request,
                    "response": {} if failed else good(dice),
                }
            )


class Source(StrEnum):
    """Formats of a source file."""

    JSON_LINES = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def write_source(path: Path, rows: int) -> None:
    """Write source rows, in the format that the path's ending names."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    dice = random.Random(rows)
    if path.suffix == f".{Source.JSON_LINES}":
        with path.open("wb") as file:
            file.writelines(orjson.dumps(row) + b"\n" for row in _source_rows(dice, 0, rows))
        return
    schema = pa.schema([(name, pa.int64() if name == "year" else pa.string()) for name in _COLUMNS])
    writer = pa.csv.CSVWriter if path.suffix == f".{Source.CSV}" else pq.ParquetWriter
    with writer(path, schema) as file:
        for first in range(0, rows, _BLOCK):
            some = list(_source_rows(dice, first, min(rows, first + _BLOCK)))
            file.write_table(pa.Table.from_pylist(some, schema=schema))


def _source_rows(dice: random.Random, first: int, end: int) -> Iterator[dict[str, Any]]:
    for number in range(first, end):
        yield {
            "book_id": f"ol{number:08}w",
            "title": _text(dice, 4),
            "authors": _text(dice, 2) if number % 20 else None,
            "year": 1900 + number % 120,
            "blurb": _text(dice, 25),
        }


def own_rows(path: Path) -> Iterable[Mapping[str, Any]]:
    """Read source rows as users do in a loop of their own."""
    if path.suffix == f".{Source.PARQUET}":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
        return
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file) if path.suffix == f".{Source.CSV}" else map(json.loads, file)


def own_loop(path: Path, kind: Kind, requests: IO[str]) -> None:
    """Make requests of source rows as users do in a loop of their own, with neither keys nor columns checked."""
    rest = kind.build_plan().template.example()
    for row in own_rows(path):
        text = (
            f"Describe {row['title']} ({row['year']}) by {row['authors'] or 'an unknown author'}. "
            f"What is known of it: {row['blurb']}"
        )
        if kind is Kind.EMBEDDINGS:
            request = {**rest, "content": {"parts": [{"text": text}]}}
        else:
            request = {**rest, "contents": [{"role": "user", "parts": [{"text": text}]}]}
        requests.write(json.dumps({"key": row["book_id"], "request": request}) + "\n")


def _text(dice: random.Random, words: int) -> str:
    return " ".join(dice.choices(_WORDS, k=words))


def _refusal(dice: random.Random) -> str:
    code, status = dice.choice([(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED")])
    error = {"error": {"code": code, "message": "The request can't be processed.", "status": status}}
    return f"Bad Request: {orjson.dumps(error).decode()}"


def _generated(dice: random.Random) -> dict[str, Any]:
    answer = {
        "description": _text(dice, 30),
        "genres": dice.sample(_GENRES, 2),
        "for_children": dice.random() < 0.2,
    }
    content = {"parts": [{"text": orjson.dumps(answer).decode()}], "role": "model"}
    prompt, output, thoughts = dice.randrange(60, 120), dice.randrange(60, 120), dice.randrange(200)
    return {
        "candidates": [{"avgLogprobs": -dice.random(), "content": content, "finishReason": "STOP"}],
        "modelVersion": "gemini-3.8-flash",
        "responseId": f"{dice.getrandbits(96):024x}",
        "usageMetadata": {
            "promptTokenCount": prompt,
            "candidatesTokenCount": output,
            "thoughtsTokenCount": thoughts,
            "totalTokenCount": prompt + output + thoughts,
            "trafficType": "ON_DEMAND",
        },
    }


class _Embedder:
    def __init__(self, seed: int) -> None:
        self._dice = np.random.default_rng(seed)

    def __call__(self, dice: random.Random) -> dict[str, Any]:
        vector = self._dice.standard_normal(DIMENSIONS, np.float32)
        vector /= np.linalg.norm(vector)
        values = orjson.Fragment(orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY))
        return {"tokenCount": str(dice.randrange(60, 120)), "embedding": {"values": values}}
