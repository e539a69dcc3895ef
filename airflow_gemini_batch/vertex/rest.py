"""The REST calls of Vertex AI: addresses, list pages, errors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

import orjson

from airflow_gemini_batch.core.places import checked_location, checked_project
from airflow_gemini_batch.exceptions import VertexApiError
from airflow_gemini_batch.gcp.endpoints import checked_url
from airflow_gemini_batch.jobs.client import JobQuery, ListedJob
from airflow_gemini_batch.jobs.state import BatchJob, JobName
from airflow_gemini_batch.vertex.resource import VertexJobName, filter_of, job_of

API_VERSION = "v1"
PAGE_SIZE = 100
# No maximum is documented. Sibling lists of the API cut a larger number down, and some answer it with a 400.
LARGE_PAGE_SIZE = 1000

# Connecting, and waiting for one answer, in seconds.
CONNECT_TIMEOUT = 10.0

_LONGEST_QUOTE = 300


def service_url(location: str) -> str:
    """Return the base address of Vertex AI in a location; no other code makes a host of one.

    Raises :class:`ValueError` for what is not a location: a token is sent to this address.

    https://cloud.google.com/vertex-ai/docs/general/locations
    """
    checked_location(location)
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in ("us", "eu"):
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def parent_of(project: str, location: str) -> str:
    """Return the resource name that the jobs of a project and location are listed and created under.

    Raises :class:`ValueError` for what is not a project or location.
    """
    return f"projects/{checked_project(project, 'project')}/locations/{checked_location(location)}"


def base_url_of(location: str, base_url: str | None) -> str:
    """Return the base address of a client: the one that is set, or the location's own.

    Raises :class:`ValueError` for what is not a location or not just a base address.
    """
    own = service_url(location)
    return checked_url(base_url, "base_url") if base_url else own


def jobs_url(base_url: str, parent: str) -> str:
    """Return the address of a project's jobs in a location."""
    return f"{base_url}/{API_VERSION}/{quote(parent, safe='/:')}/batchPredictionJobs"


def job_url(base_url: str, name: JobName) -> str:
    """Return the address of one job; raises :class:`ValueError` for a name that is not one of Vertex AI."""
    return f"{base_url}/{API_VERSION}/{VertexJobName.parse(str(name))}"


def list_parameters(query: JobQuery, page_token: str, page_size: int = PAGE_SIZE) -> dict[str, str]:
    """Return the query of a list call; a page size is always sent, without one the list may come back empty."""
    parameters = {"pageSize": str(page_size), "filter": filter_of(query), "pageToken": page_token}
    return {name: value for name, value in parameters.items() if value}


def read_job(action: str, body: bytes, parent: str) -> BatchJob:
    """Read one job; raises :class:`VertexApiError` for another body (an empty 200 does occur).

    :param parent: the project and location that was asked; a job of another place is an error as well, since its name
        would lead the next call, and the token, there.
    """
    try:
        return _of_place(orjson.loads(body), parent)
    except (ValueError, TypeError, AttributeError) as error:
        raise _unreadable(action, body, error) from error


def read_page(action: str, body: bytes, parent: str) -> tuple[list[ListedJob], str]:
    """Return the jobs of a page, and the next page's token, empty after the last page.

    Raises :class:`VertexApiError` for a body that is not a page: it must not pass for an empty list. Reading a job of
    another project or location than ``parent`` raises it as well.
    """
    try:
        page = orjson.loads(body)
        if "error" in page:
            raise ValueError("it holds an error")
        jobs = [_listed(action, resource, parent) for resource in page.get("batchPredictionJobs", ())]
        return jobs, page.get("nextPageToken", "")
    except (ValueError, TypeError, AttributeError) as error:
        raise _unreadable(action, body, error) from error


def _listed(action: str, resource: Mapping[str, Any], parent: str) -> ListedJob:
    name = resource.get("name")
    if not isinstance(name, str):
        raise TypeError("it holds a job without a name")
    # The list names the project by its number, callers may do so by its id: only the job's id is the same. State and
    # start decide everything, people read the counts; other fields of an unfinished job change unheard.
    stats = resource.get("completionStats") or {}
    counts = stats.get("successfulCount"), stats.get("failedCount")
    progress = resource.get("state"), resource.get("startTime"), *counts
    return ListedJob(name.rpartition("/")[2], progress, partial(_read_listed, action, resource, parent))


def _read_listed(action: str, resource: Mapping[str, Any], parent: str) -> BatchJob:
    try:
        return _of_place(resource, parent)
    except (ValueError, TypeError, AttributeError) as error:
        raise _unreadable(action, orjson.dumps(resource), error) from error


def _of_place(resource: Mapping[str, Any], parent: str) -> BatchJob:
    job = job_of(resource)
    check_place(job.name, parent)
    return job


def check_place(name: JobName, parent: str) -> None:
    """Raise :class:`ValueError` for a job of another project or location than the one that was asked."""
    if not (isinstance(name, VertexJobName) and name.is_in(parent)):
        raise ValueError(f"it names {name}, which is not a job in {parent}")


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


def _unreadable(action: str, body: bytes, error: Exception) -> VertexApiError:
    return VertexApiError(
        f"{action}: Vertex AI answered 200 with a body that cannot be read ({error}): "
        f"{_quoted(body) or 'an empty body'}",
        code=200,
    )


def _quoted(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
