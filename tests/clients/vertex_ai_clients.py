"""Clients of batch prediction jobs that others wrote, each with the calls that it has, pointed at the local server.

A job is named as the client names it; ``create`` takes a model, a source and a destination, all as addresses.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.oauth2.credentials import Credentials

from airflow_gemini_batch.testing.stack import LOCATION, PROJECT

PARENT = f"projects/{PROJECT}/locations/{LOCATION}"
PUBLISHED = "publishers/google/models/"
TOKEN = "local"


@dataclass
class Client:
    """A client: its name, and its calls; one that it does not have is ``None``.

    :param state: name → state of the job, without the prefix ``JOB_STATE_``.
    :param named: display name → the names of the jobs with it, page by page.
    """

    name: str
    create: Callable[[str, str, str, str], str]
    state: Callable[[str], str]
    named: Callable[[str], list[str]] | None = None
    cancel: Callable[[str], Any] | None = None
    delete: Callable[[str], Any] | None = None


def body(display_name: str, model: str, source: str, destination: str) -> dict[str, Any]:
    """The resource of a job, as Google's reference has it."""
    files, to_files = source.startswith("gs://"), destination.startswith("gs://")
    return {
        "displayName": display_name,
        "model": PUBLISHED + model,
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [source]}}
        if files
        else {"instancesFormat": "bigquery", "bigquerySource": {"inputUri": source}},
        "outputConfig": {
            "predictionsFormat": "jsonl",
            "gcsDestination": {"outputUriPrefix": destination},
        }
        if to_files
        else {"predictionsFormat": "bigquery", "bigqueryDestination": {"outputUri": destination}},
    }


def short(state: Any) -> str:
    """The state of a job without its prefix, from an enum of any kind or a text."""
    return str(getattr(state, "name", state)).removeprefix("JOB_STATE_")


def job_service(url: str) -> Client:
    """The generated client of google-cloud-aiplatform, over REST."""
    from google.cloud.aiplatform_v1 import BatchPredictionJob
    from google.cloud.aiplatform_v1.services.job_service import JobServiceClient, transports

    client = JobServiceClient(
        transport=transports.JobServiceRestTransport(host=url, credentials=Credentials(TOKEN))
    )

    def create(*asked: str) -> str:
        job = BatchPredictionJob.from_json(json.dumps(body(*asked)))
        return client.create_batch_prediction_job(parent=PARENT, batch_prediction_job=job).name

    return Client(
        "aiplatform_v1.JobServiceClient",
        create,
        lambda name: short(client.get_batch_prediction_job(name=name).state),
        lambda name: [
            job.name
            for job in client.list_batch_prediction_jobs(
                request={"parent": PARENT, "filter": f'display_name="{name}"', "page_size": 1}
            )
        ],
        lambda name: client.cancel_batch_prediction_job(name=name),
        lambda name: client.delete_batch_prediction_job(name=name).result(timeout=60),
    )


def discovered(url: str) -> Client:
    """The client that google-api-python-client makes of the discovery document."""
    import google_auth_httplib2
    import httplib2
    from googleapiclient.discovery import build_from_document
    from googleapiclient.discovery_cache import get_static_doc

    document = json.loads(get_static_doc("aiplatform", "v1"))
    document["rootUrl"] = document["baseUrl"] = f"{url}/"
    http = google_auth_httplib2.AuthorizedHttp(Credentials(TOKEN), http=httplib2.Http())
    jobs = build_from_document(document, http=http).projects().locations().batchPredictionJobs()

    def named(name: str) -> list[str]:
        found, call = [], jobs.list(parent=PARENT, filter=f'display_name="{name}"', pageSize=1)
        while call is not None:
            page = call.execute()
            found += [job["name"] for job in page.get("batchPredictionJobs", [])]
            call = jobs.list_next(call, page)
        return found

    return Client(
        "googleapiclient",
        lambda *asked: jobs.create(parent=PARENT, body=body(*asked)).execute()["name"],
        lambda name: short(jobs.get(name=name).execute()["state"]),
        named,
        lambda name: jobs.cancel(name=name, body={}).execute(),
        lambda name: jobs.delete(name=name).execute(),
    )


def lead(url: str) -> None:
    """Point vertexai and google.cloud.aiplatform at the server, for the whole process."""
    from google.cloud import aiplatform

    aiplatform.init(
        project=PROJECT,
        location=LOCATION,
        credentials=Credentials(TOKEN),
        api_endpoint=url,
        api_transport="rest",
    )


def _places(source: str, destination: str) -> dict[str, str]:
    return {
        "gcs_source" if source.startswith("gs://") else "bigquery_source": source,
        "gcs_destination_prefix"
        if destination.startswith("gs://")
        else "bigquery_destination_prefix": destination,
    }


def aiplatform(url: str) -> Client:
    """The hand-written client of google-cloud-aiplatform."""
    from google.cloud.aiplatform import BatchPredictionJob

    lead(url)

    def create(display_name: str, model: str, source: str, destination: str) -> str:
        return BatchPredictionJob.submit(
            job_display_name=display_name, model_name=PUBLISHED + model, **_places(source, destination)
        ).resource_name

    return Client(
        "aiplatform.BatchPredictionJob",
        create,
        lambda name: short(BatchPredictionJob(name).state),
        lambda name: [job.resource_name for job in BatchPredictionJob.list(filter=f'display_name="{name}"')],
        lambda name: BatchPredictionJob(name).cancel(),
        lambda name: BatchPredictionJob(name).delete(),
    )


def vertexai(url: str) -> Client:
    """The client of vertexai for Gemini; vertexai.preview has the same one."""
    from vertexai.batch_prediction import BatchPredictionJob

    lead(url)
    return Client(
        "vertexai.BatchPredictionJob",
        lambda display_name, model, source, destination: (
            BatchPredictionJob.submit(
                model, source, output_uri_prefix=destination, job_display_name=display_name
            ).resource_name
        ),
        lambda name: short(BatchPredictionJob(name).state),
        lambda name: [job.resource_name for job in BatchPredictionJob.list(filter=f'display_name="{name}"')],
        lambda name: BatchPredictionJob(name).cancel(),
        lambda name: BatchPredictionJob(name).delete(),
    )


def _genai(url: str) -> Any:
    from google import genai

    return genai.Client(
        vertexai=True,
        project=PROJECT,
        location=LOCATION,
        credentials=Credentials(TOKEN),
        http_options=genai.types.HttpOptions(base_url=url),
    )


def genai_sync(url: str) -> Client:
    """google-genai, with its own version of the API (v1beta1)."""
    client = _genai(url)
    return Client(
        "google-genai",
        lambda display_name, model, source, destination: (
            client.batches.create(
                model=model, src=source, config={"display_name": display_name, "dest": destination}
            ).name
        ),
        lambda name: short(client.batches.get(name=name).state),
        lambda name: [
            job.name
            for job in client.batches.list(config={"filter": f'display_name="{name}"', "page_size": 1})
        ],
        lambda name: client.batches.cancel(name=name),
        lambda name: client.batches.delete(name=name),
    )


def genai_async(url: str) -> Client:
    """The asynchronous half of google-genai; each call in an event loop of its own."""

    def run(call: Callable[[Any], Any]) -> Any:
        async def inside() -> Any:
            client = _genai(url)
            async with client.aio as half:
                return await call(half.batches)

        return asyncio.run(inside())

    async def listed(batches: Any, name: str) -> list[str]:
        pages = await batches.list(config={"filter": f'display_name="{name}"', "page_size": 1})
        return [job.name async for job in pages]

    return Client(
        "google-genai, async",
        lambda display_name, model, source, destination: (
            run(
                lambda batches: batches.create(
                    model=model, src=source, config={"display_name": display_name, "dest": destination}
                )
            ).name
        ),
        lambda name: short(run(lambda batches: batches.get(name=name)).state),
        lambda name: run(lambda batches: listed(batches, name)),
        lambda name: run(lambda batches: batches.cancel(name=name)),
        lambda name: run(lambda batches: batches.delete(name=name)),
    )


def curl(url: str) -> Client:
    """Plain HTTP with bodies as Google's pages write them: one text for uris, a comma after the last field."""
    import requests

    def call(verb: str, path: str, data: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json; charset=utf-8"}
        answer = requests.request(verb, f"{url}/v1/{path}", data=data, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def create(display_name: str, model: str, source: str, destination: str) -> str:
        files, to_files = source.startswith("gs://"), destination.startswith("gs://")
        place = (
            f'"gcsSource": {{"uris" : "{source}"}}'
            if files
            else f'"bigquerySource": {{"inputUri": "{source}"}}'
        )
        target = (
            f'"gcsDestination": {{"outputUriPrefix": "{destination}"}}'
            if to_files
            else f'"bigqueryDestination": {{"outputUri": "{destination}"}}'
        )
        text = f"""{{
          "displayName": "{display_name}",
          "model": "{PUBLISHED}{model}",
          "inputConfig": {{"instancesFormat": "{"jsonl" if files else "bigquery"}", {place}, }},
          "outputConfig": {{
            "predictionsFormat": "{"jsonl" if to_files else "bigquery"}",
            {target},
          }},
        }}"""
        return call("POST", f"{PARENT}/batchPredictionJobs", text)["name"]

    return Client(
        "curl",
        create,
        lambda name: short(call("GET", name)["state"]),
        lambda name: [
            job["name"]
            for job in call("GET", f'{PARENT}/batchPredictionJobs?filter=display_name="{name}"').get(
                "batchPredictionJobs", []
            )
        ],
        lambda name: call("POST", f"{name}:cancel"),
        lambda name: call("DELETE", name),
    )


CLIENTS: tuple[Callable[[str], Client], ...] = (
    job_service,
    discovered,
    aiplatform,
    vertexai,
    genai_sync,
    genai_async,
    curl,
)
