"""Requests for the tests, and the way to Cloud Storage."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from airflow_gemini_batch.testing.stack import PROJECT, LocalStack


def request(text: str, **more: Any) -> dict[str, Any]:
    return {"request": {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}}


BAD_REQUEST = {"request": {"contents": [{"role": "tester", "parts": [{"text": "whoever"}]}]}}


def storage_client(stack: LocalStack) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    return Client(PROJECT, AnonymousCredentials(), client_options={"api_endpoint": stack.storage.url})


def upload(stack: LocalStack, bucket: str, name: str, rows: Iterable[dict[str, Any]]) -> str:
    """Write JSON Lines and return their address."""
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    storage_client(stack).bucket(bucket).blob(name).upload_from_string(content)
    return f"gs://{bucket}/{name}"


def lines(stack: LocalStack, address: str) -> list[dict[str, Any]]:
    """Read JSON Lines."""
    bucket, _, name = address.removeprefix("gs://").partition("/")
    text = storage_client(stack).bucket(bucket).blob(name).download_as_text()
    return [json.loads(line) for line in text.split("\n") if line]


def answers(stack: LocalStack, folder: str) -> list[dict[str, Any]]:
    """Read the rows of a job's output folder."""
    return lines(stack, f"{folder}/predictions.jsonl")
