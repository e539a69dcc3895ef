"""What a create call accepts and what it refuses, over plain HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from tests.testing.vertex_ai.conftest import Folder
from tests.testing.vertex_ai.http import MODEL, NUMBER, PROJECT, VertexCaller, job_body, prompts

IN, OUT = "gs://books/in.jsonl", "gs://books/out"
GCS_IN = {"uris": [IN]}
LOCATION_PREFIX = f"projects/{PROJECT}/locations/us-central1"


def _body(**fields: Any) -> dict[str, Any]:
    """A good body with some fields replaced; ``...`` leaves one out."""
    return {name: value for name, value in {**job_body(IN, OUT), **fields}.items() if value is not ...}


def _input(**config: Any) -> dict[str, Any]:
    return _body(inputConfig=config)


def _output(**config: Any) -> dict[str, Any]:
    return _body(outputConfig=config)


ACCEPTED = {
    "as it is": _body(),
    "uris as one string": _input(instancesFormat="jsonl", gcsSource={"uris": IN}),
    "several files and a wildcard": _input(
        instancesFormat="jsonl", gcsSource={"uris": [IN, "gs://books/a/*.jsonl"]}
    ),
    "snake case": {
        "display_name": "nightly",
        "model": MODEL,
        "input_config": {"instances_format": "jsonl", "gcs_source": GCS_IN},
        "output_config": {"predictions_format": "jsonl", "gcs_destination": {"output_uri_prefix": OUT}},
    },
    "fields that are set by the service": _body(name="", state="JOB_STATE_PENDING"),
    "a service account": _body(serviceAccount="a@b.iam.gserviceaccount.com"),
    "a full model name": _body(model=f"{LOCATION_PREFIX}/{MODEL}"),
    "a full model name by number": _body(model=f"projects/{NUMBER}/locations/us-central1/{MODEL}"),
    "a model of next year": _body(model="publishers/google/models/gemini-9-flash-lite-preview-09-2027"),
    "a tuned model": _body(model=f"{LOCATION_PREFIX}/models/1234567890123"),
    "a version of a tuned model": _body(model=f"{LOCATION_PREFIX}/models/1234567890123@2"),
    "a model with a new word": _body(model="publishers/google/models/gemini-5-xenon"),
    "a bucket that does not exist": job_body("gs://not-there/in.jsonl", "gs://not-there/out"),
    "a new dataset of a project": _output(
        predictionsFormat="bigquery", bigqueryDestination={"outputUri": f"bq://{PROJECT}"}
    ),
    "a key": _body(encryptionSpec={"kmsKeyName": f"{LOCATION_PREFIX}/keyRings/r/cryptoKeys/k"}),
    "an embedding model": _body(model="publishers/google/models/text-embedding-005"),
    "an older embedding model": _body(model="publishers/google/models/textembedding-gecko@003"),
    "a Gemini embedding model": _body(model="publishers/google/models/gemini-embedding-001"),
    "the longest name": _body(displayName="x" * 128),
    "international labels": _body(labels={"größe": "日本", "a": "", "x" * 64: "y" * 64}),
    "dimensions as a string": _body(
        model="publishers/google/models/text-embedding-005", modelParameters={"outputDimensionality": "256"}
    ),
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_accepts(call: VertexCaller, body: dict[str, Any]) -> None:
    job = call.create(body)
    assert job["state"] == "JOB_STATE_PENDING"
    assert job["name"].startswith(f"projects/{NUMBER}/locations/us-central1/batchPredictionJobs/")


BAD, MISSING, FORBIDDEN, UNFIT = (
    (400, "INVALID_ARGUMENT"),
    (404, "NOT_FOUND"),
    (403, "PERMISSION_DENIED"),
    (400, "FAILED_PRECONDITION"),
)
REFUSED: dict[str, tuple[Any, tuple[int, str], str]] = {
    "a list": ([], BAD, "Invalid value at 'batch_prediction_job' (BatchPredictionJob), []"),
    "unknown field": (
        _body(project="x"),
        BAD,
        "Invalid JSON payload received. Unknown name \"project\" at 'batch_prediction_job': Cannot find field.",
    ),
    "unknown nested field": (
        _input(instancesFormat="jsonl", gcsSource={"uri": IN}),
        BAD,
        "Unknown name \"uri\" at 'batch_prediction_job.input_config.gcs_source'",
    ),
    "field of another type": (
        _body(displayName=7),
        BAD,
        "'batch_prediction_job.display_name' (TYPE_STRING), 7",
    ),
    "no name": (_body(displayName=...), BAD, "Field: display_name; Message: Required field is not set."),
    "name too long": (_body(displayName="x" * 129), BAD, "has 129 characters. At most 128"),
    "label key in upper case": (_body(labels={"Team": "x"}), BAD, "Label key 'Team' is not valid"),
    "label value with a dot": (_body(labels={"team": "a.b"}), BAD, "Label value 'a.b' is not valid"),
    "label key too long": (_body(labels={"x" * 65: "x"}), BAD, "has 65 characters. At most 64"),
    "label value too long": (_body(labels={"x": "y" * 65}), BAD, "has 65 characters. At most 64"),
    "empty label key": (_body(labels={"": "x"}), BAD, "must not be empty"),
    "label that is a number": (_body(labels={"team": 7}), BAD, "labels[team]' (TYPE_STRING), 7"),
    "too many labels": (_body(labels={f"k{n}": "x" for n in range(65)}), BAD, "Too many labels: 65"),
    "no model": (_body(model=...), BAD, "Field: model"),
    "bare model name": (
        _body(model="gemini-2.5-flash"),
        BAD,
        "Invalid model resource name: gemini-2.5-flash",
    ),
    "model name with a space": (
        _body(model="publishers/google/models/gemini 2"),
        BAD,
        "Invalid model resource name",
    ),
    "model that does not exist": (
        _body(model="publishers/google/models/gemnii-2.5-flash"),
        MISSING,
        "The PublisherModel gemnii-2.5-flash does not exist",
    ),
    **{
        f"misspelt model {name}": (
            _body(model=f"publishers/google/models/{name}"),
            MISSING,
            f"The PublisherModel {name} does not exist",
        )
        for name in (
            "gemini-2.5-flahs",
            "gemini-2.5-flash-lit",
            "gemini-38-flash",
            "gemini-flash-2.5",
            "gemini-2.5",
            "gemini-does-not-exist",
            "gemini-embedding-01",
            "text-embedding-5",
        )
    },
    "endpoint": (
        _body(model=f"{LOCATION_PREFIX}/endpoints/1234567890123"),
        BAD,
        "Invalid model resource name",
    ),
    "tuned model that does not exist": (
        _body(model=f"{LOCATION_PREFIX}/models/4711"),
        MISSING,
        f"The Model does not exist: {LOCATION_PREFIX}/models/4711",
    ),
    "model that has no batches": (
        _body(model="publishers/mistralai/models/mistral-large"),
        BAD,
        "Do not support publisher model mistral-large",
    ),
    "tuned model without number": (
        _body(model=f"{LOCATION_PREFIX}/models/mine"),
        BAD,
        "Invalid model resource name",
    ),
    "tuned model of others": (
        _body(model="projects/p/locations/us-central1/models/1"),
        FORBIDDEN,
        "Permission denied",
    ),
    "tuned model elsewhere": (
        _body(model=f"projects/{PROJECT}/locations/europe-west4/models/1"),
        BAD,
        "It must be in the same location as the job, us-central1",
    ),
    "embedding model of the multi-regions": (
        _body(model="publishers/google/models/gemini-embedding-2"),
        BAD,
        "not supported in location us-central1",
    ),
    "no input": (_body(inputConfig=...), BAD, "Field: input_config;"),
    "no input format": (_input(gcsSource=GCS_IN), BAD, "Field: input_config.instances_format"),
    "no source": (_input(instancesFormat="jsonl"), BAD, "'jsonl' needs input_config.gcs_source to be set"),
    "no files": (
        _input(instancesFormat="jsonl", gcsSource={"uris": []}),
        BAD,
        "Field: input_config.gcs_source.uris",
    ),
    "two sources": (
        _input(instancesFormat="jsonl", gcsSource=GCS_IN, bigquerySource={"inputUri": "bq://p.d.t"}),
        BAD,
        "Cannot set both 'bigquery_source' and 'gcs_source'",
    ),
    "unknown input format": (
        _input(instancesFormat="csv", gcsSource=GCS_IN),
        BAD,
        "instances_format: 'csv' is not supported",
    ),
    "input format of the other kind": (
        _input(instancesFormat="bigquery", gcsSource=GCS_IN),
        BAD,
        "'bigquery' needs input_config.bigquery_source to be set",
    ),
    "file without scheme": (
        _input(instancesFormat="jsonl", gcsSource={"uris": "books/in.jsonl"}),
        BAD,
        "gs://",
    ),
    "folder as input": (
        _input(instancesFormat="jsonl", gcsSource={"uris": "gs://books/in/"}),
        BAD,
        "names no object",
    ),
    "dataset as input": (
        _input(instancesFormat="bigquery", bigquerySource={"inputUri": "bq://demo-project.shop"}),
        BAD,
        "names no table",
    ),
    "table without scheme": (
        _input(instancesFormat="bigquery", bigquerySource={"inputUri": "demo-project.shop.books"}),
        BAD,
        "bq://",
    ),
    "no output": (_body(outputConfig=...), BAD, "Field: output_config;"),
    "no destination": (_output(predictionsFormat="jsonl"), BAD, "output_config.gcs_destination to be set"),
    "destination with a wildcard": (
        _output(predictionsFormat="jsonl", gcsDestination={"outputUriPrefix": "gs://books/*"}),
        BAD,
        "must not contain wildcards",
    ),
    "destination without scheme": (
        _output(predictionsFormat="jsonl", gcsDestination={"outputUriPrefix": "books/out"}),
        BAD,
        "output_config.gcs_destination.output_uri_prefix",
    ),
    "input bucket elsewhere": (
        job_body("gs://elsewhere/in.jsonl", OUT),
        UNFIT,
        "The Cloud Storage bucket of `gs://elsewhere/in.jsonl` is in location `europe-west4`. "
        "It must be in the same regional location as the service location `us-central1`.",
    ),
    "output bucket of many regions": (job_body(IN, "gs://many-regions/out"), UNFIT, "is in location `us`"),
    "parameters that are no object": (_body(modelParameters=[1]), BAD, "must be a JSON object"),
    "too many dimensions": (
        _body(
            model="publishers/google/models/text-embedding-005",
            modelParameters={"outputDimensionality": "1024"},
        ),
        BAD,
        "'1024' is not a number from 1 to 768",
    ),
    "table for a Gemini embedding model": (
        _body(
            model="publishers/google/models/gemini-embedding-001",
            inputConfig={
                "instancesFormat": "bigquery",
                "bigquerySource": {"inputUri": "bq://demo-project.a.b"},
            },
        ),
        BAD,
        "supports jsonl files on Cloud Storage only",
    ),
}


@pytest.mark.parametrize(("body", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses(call: VertexCaller, body: Any, error: tuple[int, str], message: str) -> None:
    response = call.send("POST", call.jobs, json=body)
    envelope = response.json()["error"]
    assert (response.status_code, envelope["code"], envelope["status"]) == (error[0], *error)
    assert message in envelope["message"]
    assert "batchPredictionJobs" not in call.list()


def test_names_the_unknown_field_in_the_details(call: VertexCaller) -> None:
    details = call.send("POST", call.jobs, json=_body(project="x")).json()["error"]["details"]
    assert details[0]["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert details[0]["fieldViolations"][0]["field"] == "batch_prediction_job"


@pytest.mark.parametrize(
    ("reading", "body", "said"),
    [
        ({"account_and_key": "refused"}, ACCEPTED["a key"], "CMEK are not supported"),
        ({"account_and_key": "refused"}, ACCEPTED["a service account"], "Custom service accounts"),
        ({"several_files": False}, ACCEPTED["several files and a wildcard"], "name one JSONL file"),
        ({"several_files": False}, job_body("gs://books/*.jsonl", OUT), "name one JSONL file"),
    ],
)
def test_refuses_by_reading(
    vertex: LocalVertex, call: VertexCaller, reading: dict[str, Any], body: dict[str, Any], said: str
) -> None:
    with vertex.readings.changed(**reading):
        response = call.send("POST", call.jobs, json=body)
    assert (response.status_code, said in response.text) == (400, True)


@pytest.mark.parametrize(
    "body", [job_body("gs://not-there/in.jsonl", OUT), job_body(IN, "gs://not-there/out")]
)
def test_job_fails_for_a_bucket_that_does_not_exist(call: VertexCaller, body: dict[str, Any]) -> None:
    created = call.create(body)
    assert created["state"] == "JOB_STATE_PENDING"
    assert call.wait(created)["error"] == {
        "code": 9,
        "message": "Failed to get GCS bucket location for not-there. Please check that the bucket exists and "
        "permissions are set correctly.",
    }


@pytest.mark.parametrize("payload", [b"", b"{", b"{'model': 1}", b"model=x"])
def test_refuses_what_is_not_json(call: VertexCaller, payload: bytes) -> None:
    response = call.send("POST", call.jobs, data=payload, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("Invalid JSON payload received.")


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-embedding-2"])
def test_global_takes_any_bucket(call: VertexCaller, model: str) -> None:
    elsewhere = VertexCaller(call.url, location="global")
    body = job_body(
        "gs://elsewhere/in.jsonl", "gs://many-regions/out", model=f"publishers/google/models/{model}"
    )
    assert elsewhere.create(body)["state"] == "JOB_STATE_PENDING"


def test_global_takes_no_tuned_model(call: VertexCaller) -> None:
    elsewhere = VertexCaller(call.url, location="global")
    body = _body(model=f"projects/{PROJECT}/locations/global/models/1")
    response = elsewhere.send("POST", elsewhere.jobs, json=body)
    assert response.status_code == 400


def test_runs_the_documented_example(call: VertexCaller, folder: Folder) -> None:
    """The curl command of Google's page, with its one string for uris and its one object for parts."""
    source = folder.write(
        [
            '{"request":{"contents": {"role": "user", "parts": {"text": "Give me a recipe for banana bread."}}}}',
            '{"request":{"contents": {"role": "user", "parts": {"text": "And one for rye bread."}}}}',
        ]
    )
    payload = f"""{{
      "displayName": "my-cloud-storage-batch-inference-job",
      "model": "publishers/google/models/gemini-2.5-flash",
      "inputConfig": {{
        "instancesFormat": "jsonl",
        "gcsSource": {{"uris" : "{source}"}}
      }},
      "outputConfig": {{
        "predictionsFormat": "jsonl",
        "gcsDestination": {{"outputUriPrefix": "{folder.uri("out")}"}}
      }}
    }}"""
    created = call.send(
        "POST", call.jobs, data=payload, headers={"Content-Type": "application/json; charset=utf-8"}
    )
    job = call.wait(created.json())

    rows = folder.predictions(job["outputInfo"]["gcsOutputDirectory"])
    answers = sorted(row["response"]["candidates"][0]["content"]["parts"][0]["text"] for row in rows)
    assert ["banana" in answer for answer in answers] == [False, True]


def test_shows_the_job_as_the_service_does(call: VertexCaller, folder: Folder) -> None:
    body = job_body(
        [folder.write(prompts(2))], folder.uri("out"), labels={"team": "search"}, modelParameters={"a": 1}
    )
    created = call.create(body)
    assert {name: created[name] for name in body} == body
    assert created.keys() == body.keys() | {"name", "state", "createTime", "updateTime"}

    job = call.wait(created)

    assert job.keys() == created.keys() | {"startTime", "endTime", "outputInfo", "completionStats"}
    assert job["completionStats"] == {"successfulCount": "2"}
    directory = f"{folder.uri('out')}/prediction-model-{job['createTime']}"
    assert job["outputInfo"] == {"gcsOutputDirectory": directory}
    assert job["createTime"] < job["startTime"] < job["endTime"] == job["updateTime"]
    assert len(job["createTime"]) == len("2025-12-19T07:32:47.279859Z")
    assert json.loads(json.dumps(job)) == call.get(job["name"].rpartition("/")[2])
