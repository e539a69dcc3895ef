"""The REST resource on the wire: addresses, list pages, and what an answer means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from airflow_gemini_batch.exceptions import VertexApiError
from airflow_gemini_batch.jobs.state import BatchJob, JobName

API_VERSION = "v1"
PAGE_SIZE = 100
# No maximum is documented. Sibling lists of the API cut a larger number down, and some refuse it: whoever asks
# for this many has to be ready for shorter pages and for a 400.
LARGE_PAGE_SIZE = 1000

# Connecting, and waiting for one answer, in seconds.
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0

_LONGEST_QUOTE = 300


def service_url(location: str) -> str:
    """Return the base address of Vertex AI in a location.

    https://cloud.google.com/vertex-ai/docs/general/locations
    """
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in ("us", "eu"):
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def jobs_url(base_url: str, project: str, location: str) -> str:
    """Return the address of a project's jobs in a location."""
    return (
        f"{base_url}/{API_VERSION}/projects/{quote(project, safe=':')}"
        f"/locations/{quote(location)}/batchPredictionJobs"
    )


def job_url(base_url: str, name: JobName) -> str:
    """Return the address of one job."""
    return f"{jobs_url(base_url, name.project, name.location)}/{quote(name.job_id)}"


def list_parameters(filter_: str, page_token: str, page_size: int = PAGE_SIZE) -> dict[str, str]:
    """Return the query of a list call; a page size is always sent, without one the list may come back empty."""
    parameters = {"pageSize": str(page_size)}
    if filter_:
        parameters["filter"] = filter_
    if page_token:
        parameters["pageToken"] = page_token
    return parameters


def read_job(action: str, body: bytes) -> BatchJob:
    """Read one job; raises :class:`VertexApiError` when the body is none (an empty 200 does occur)."""
    try:
        return BatchJob.from_json(orjson.loads(body))
    except (ValueError, TypeError, AttributeError) as error:
        raise _no_answer(action, body, error) from error


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list as it came.

    :param asked: what was asked for, for errors.
    """

    action: str
    body: bytes

    def read(self) -> tuple[list[dict[str, Any]], str]:
        """Return the plain resources, each with a name, and the next page's token, empty after the last.

        Raises :class:`VertexApiError` when it is no page.
        """
        try:
            page = orjson.loads(self.body)
            if "error" in page:
                raise ValueError("it holds an error")
            resources = list(page.get("batchPredictionJobs", ()))
            for resource in resources:
                if not isinstance(resource.get("name"), str):
                    raise TypeError("a job without a name")
            return resources, page.get("nextPageToken", "")
        except (ValueError, TypeError, AttributeError) as error:
            raise _no_answer(self.action, self.body, error) from error


def read_page(action: str, body: bytes) -> tuple[list[BatchJob], str]:
    """Read one page of a list as its jobs and the next page's token; raises :class:`VertexApiError`."""
    resources, token = Page(action, body).read()
    try:
        return [BatchJob.from_json(resource) for resource in resources], token
    except (ValueError, TypeError, AttributeError) as error:
        raise _no_answer(action, body, error) from error


def check_status(action: str, status: int, body: bytes) -> None:
    """Raise :class:`VertexApiError` unless the answer is a 200."""
    if status == 200:
        return
    message, reason = error_of(body)
    named = f"{status} {reason}".strip()
    raise VertexApiError(f"{action}: Vertex AI answered {named}: {message}", code=status, reason=reason)


def error_of(body: bytes) -> tuple[str, str]:
    """Return the message and the canonical status of an error answer, whatever its shape."""
    try:
        content: Any = orjson.loads(body)
        if isinstance(content, list):  # some gateways wrap the envelope in a list
            content = content[0]
        error = content["error"]
        return str(error["message"] or "no message"), str(error.get("status") or "")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return _quoted(body) or "an empty answer", ""


def _no_answer(action: str, body: bytes, error: Exception) -> VertexApiError:
    return VertexApiError(
        f"{action}: Vertex AI answered 200, but with something that is no answer ({error}): "
        f"{_quoted(body) or 'an empty body'}",
        code=200,
    )


def _quoted(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
