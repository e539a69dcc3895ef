"""Files of embedding jobs of both families made by hand, and the way to land them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from airflow_gemini_batch.core.keys import sent_key
from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.requests.forms import FORMS
from airflow_gemini_batch.testing.stack import LocalStack
from tests.landing.answer_files import SUCCEEDED, AnswerFiles
from tests.landing.landings import JOB
from tests.landing.vectors import embedded

TEXT, KEYED = TEXT_EMBEDDING, GEMINI_EMBEDDING
MODELS = {TEXT: "text-embedding-005", KEYED: "gemini-embedding-001"}


def asked(family: ModelFamily, text: str) -> dict[str, Any]:
    """Return what is asked of a model, without the key."""
    if family is TEXT:
        return {"content": text, "task_type": "RETRIEVAL_DOCUMENT"}
    config = {"output_dimensionality": 2, "task_type": "RETRIEVAL_DOCUMENT"}
    return {"content": {"parts": [{"text": text}]}, "embed_content_config": config}


class VectorFiles(AnswerFiles):
    """Files of embedding jobs in a bucket.

    :attr family: of the requests and answers.
    """

    family = TEXT

    def __init__(self, stack: LocalStack, bucket: str, folder: Path) -> None:
        super().__init__(stack, bucket, folder)
        self.stack = stack

    def texts(self, texts: Mapping[str, str]) -> str:
        """Write a request file from texts by key."""
        self._files += 1
        make = FORMS[self.family].line
        lines = [make(key, orjson.dumps(asked(self.family, text))) for key, text in texts.items()]
        return self.put(f"texts-{self._files}.jsonl", b"".join(lines))

    def vector(self, key: str, text: str, values: Any, tokens: int = 3) -> bytes:
        """Return the line of a vector."""
        return self.line(
            key, text, embedded(values, tokens), {"tokenCount": str(tokens), "embedding": {"values": values}}
        )

    def refusal(self, key: str, text: str, code: int = 400) -> bytes:
        """Return the line of a text that was not embedded."""
        status = f'Bad Request: {{"error": {{"code": {code}, "message": "m"}}}}'
        return self.line(key, text, {"predictions": [], "status": status}, {}, status=status)

    def line(self, key: str, text: str, cells: Mapping[str, Any], response: Any, **beside: Any) -> bytes:
        request = asked(self.family, text)
        if self.family is TEXT:
            return orjson.dumps({"instance": request, **cells})
        return orjson.dumps({"key": sent_key(key), "request": request, "response": response, **beside})

    def submission(self, source: str, *outputs: str, identity: str = "identity") -> Manifest:
        rounds = tuple(
            Round(f"{JOB}/{number}", SUCCEEDED, (source,), output, {})
            for number, output in enumerate(outputs)
        )
        model = f"publishers/google/models/{MODELS[self.family]}"
        return Manifest(identity, model, "https://console", {}, rounds)

    def embed(self, vectors: Mapping[str, Any]) -> Manifest:
        """Return a job with these vectors by key, each of a text of its own."""
        source = self.texts({key: f"Text {key}" for key in vectors})
        lines = [self.vector(key, f"Text {key}", values) for key, values in vectors.items()]
        return self.submission(source, self.output(*lines))
