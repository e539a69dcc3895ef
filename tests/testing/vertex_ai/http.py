"""Plain HTTP calls as Google's documentation writes them, and the rows and bodies that tests send."""

from __future__ import annotations

import time
from typing import Any, Self

import requests

PROJECT = "demo-project"
NUMBER = "123456789012"
LOCATION = "us-central1"
MODEL = "publishers/google/models/gemini-3.8-flash"
FINAL = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")


def prompt(text: str, **fields: Any) -> dict[str, Any]:
    """An input line for a Gemini model; ``fields`` are further fields of the request."""
    return {"request": {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}}


def prompts(count: int) -> list[dict[str, Any]]:
    return [prompt(f"Describe book {number}.", labels={"key": f"k{number}"}) for number in range(count)]


def job_body(source: str | list[str], destination: str, **fields: Any) -> dict[str, Any]:
    """The body of a create call; the kinds of the addresses decide the formats."""
    if isinstance(source, str) and source.startswith("bq://"):
        input_config = {"instancesFormat": "bigquery", "bigquerySource": {"inputUri": source}}
    else:
        input_config = {"instancesFormat": "jsonl", "gcsSource": {"uris": source}}
    if destination.startswith("bq://"):
        output_config = {"predictionsFormat": "bigquery", "bigqueryDestination": {"outputUri": destination}}
    else:
        output_config = {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": destination}}
    body = {
        "displayName": "nightly",
        "model": MODEL,
        "inputConfig": input_config,
        "outputConfig": output_config,
    }
    return {**body, **fields}


class VertexCaller:
    """Calls the API with ``requests``; paths are relative to the project and location."""

    def __init__(self, url: str, *, location: str = LOCATION, project: str = PROJECT) -> None:
        self.url = url
        self.jobs = f"{url}/v1/projects/{project}/locations/{location}/batchPredictionJobs"
        self._session = requests.Session()
        self._session.headers["Authorization"] = "Bearer local"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._session.close()

    def send(self, verb: str, url: str, **arguments: Any) -> requests.Response:
        return self._session.request(verb, url, timeout=60, **arguments)

    def create(self, body: Any) -> dict[str, Any]:
        return self._good(self.send("POST", self.jobs, json=body))

    def get(self, job_id: str) -> dict[str, Any]:
        return self._good(self.send("GET", f"{self.jobs}/{job_id}"))

    def list(self, **parameters: Any) -> dict[str, Any]:
        return self._good(self.send("GET", self.jobs, params=parameters))

    def names(self, **parameters: Any) -> list[str]:
        """The display names of one page."""
        return [job["displayName"] for job in self.list(**parameters).get("batchPredictionJobs", [])]

    def cancel(self, job_id: str) -> dict[str, Any]:
        return self._good(self.send("POST", f"{self.jobs}/{job_id}:cancel"))

    def control(self, verb: str, path: str, **arguments: Any) -> dict[str, Any]:
        return self._good(self.send(verb, f"{self.url}/local/v1/{path}", **arguments))

    def run(self, body: Any) -> dict[str, Any]:
        """Creates a job and waits for its end; returns the resource."""
        return self.wait(self.create(body))

    def wait(self, job: dict[str, Any], *states: str, seconds: float = 60) -> dict[str, Any]:
        """Polls until the job is in one of ``states`` (without their prefix), by default a final one."""
        wanted = {f"JOB_STATE_{state}" for state in states or FINAL}
        deadline = time.monotonic() + seconds
        while job["state"] not in wanted:
            assert time.monotonic() < deadline, f"still {job['state']} after {seconds} s"
            time.sleep(0.01)
            job = self.get(short(job))
        return job

    def _good(self, response: requests.Response) -> dict[str, Any]:
        assert response.status_code == 200, response.text
        return response.json()


def short(job: dict[str, Any]) -> str:
    """The id of a job."""
    return job["name"].rpartition("/")[2]
