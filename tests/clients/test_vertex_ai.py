"""Each client of batch prediction jobs with each of its calls, on the local Vertex AI server.

======================================  ======  =====  ===  ====  ======  ======  =======
client                                  files   table  get  list  cancel  delete  refused
======================================  ======  =====  ===  ====  ======  ======  =======
aiplatform_v1.JobServiceClient (REST)   x       x      x    x     x       x       x
googleapiclient (discovery document)    x       x      x    x     x       x       x
aiplatform.BatchPredictionJob           x       x      x    x     x       x       x
vertexai.batch_prediction               x       x      x    x     x       x       x
google-genai                            x       x      x    x     x       x       x
google-genai, async                     x       x      x    x     x       x       x
curl, with the bodies of Google's pages x       x      x    x     x       x       x
Airflow's operators of Vertex AI        x       x      x    x     \\-      x       x
vertexai.language_models (embeddings)   x       \\-     \\-   \\-    \\-      \\-      \\-
======================================  ======  =====  ===  ====  ======  ======  =======

Airflow's operators of the Gemini API (``GenAIGemini…BatchJob…``) are clients of the Developer API, which is not here.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_gemini_batch.testing.stack import LOCATION, PROJECT, LocalStack
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from tests.clients.vertex_ai_clients import CLIENTS, PUBLISHED, TOKEN, Client, lead
from tests.support.tables import fill, make_dataset, read
from tests.support.tasks import TaskInstance

MODEL = "gemini-3.8-flash"
QUESTION = {"contents": [{"role": "user", "parts": [{"text": "What is in it?"}]}]}

pytestmark = pytest.mark.filterwarnings(
    "ignore:This feature is deprecated:UserWarning",
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning",
)


@pytest.fixture(autouse=True)
def aiplatform_forgets() -> Iterator[None]:
    """The setting of google-cloud-aiplatform is one for the process."""
    yield
    from google.cloud.aiplatform import initializer

    initializer.global_config.__init__()


@pytest.fixture(params=CLIENTS, ids=lambda make: make.__name__)
def client_(request: pytest.FixtureRequest, gemini_batch_stack: LocalStack) -> Client:
    return request.param(gemini_batch_stack.vertex.url)


@pytest.fixture
def files(gemini_batch_stack: LocalStack, bucket: str) -> tuple[str, str]:
    """A request file with two lines, and a place for the answers."""
    import orjson

    lines = b"".join(orjson.dumps({"key": f"k{number}", "request": QUESTION}) + b"\n" for number in range(2))
    _bucket(gemini_batch_stack, bucket).blob("in.jsonl").upload_from_string(lines)
    return f"gs://{bucket}/in.jsonl", f"gs://{bucket}/out"


def _bucket(stack: LocalStack, name: str) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    options = {"api_endpoint": stack.storage.url}
    return storage.Client(PROJECT, AnonymousCredentials(), client_options=options).bucket(name)


def _wait(state: Callable[[], str]) -> str:
    deadline = time.monotonic() + 60
    while (now := state()) in ("QUEUED", "PENDING", "RUNNING", "CANCELLING"):
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    return now


def _name() -> str:
    return f"client-{uuid.uuid4().hex[:8]}"


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def test_files(client_: Client, gemini_batch_stack: LocalStack, bucket: str, files: tuple[str, str]) -> None:
    job = client_.create(_name(), MODEL, *files)
    assert _wait(lambda: client_.state(job)) == "SUCCEEDED"
    (found,) = _bucket(gemini_batch_stack, bucket).list_blobs(prefix="out/")
    assert found.download_as_text().count('"[local stand-in]') == 2


def test_tables(client_: Client, gemini_batch_stack: LocalStack) -> None:
    dataset = make_dataset(gemini_batch_stack)
    source = fill(
        gemini_batch_stack,
        f"{dataset}.asked",
        {"id": "STRING", "request": "JSON"},
        [{"id": "1", "request": QUESTION}],
    )
    job = client_.create(_name(), MODEL, source, f"{dataset}.answered")
    assert _wait(lambda: client_.state(job)) == "SUCCEEDED"
    (row,) = read(gemini_batch_stack, f"{dataset}.answered")
    assert (row["id"], row["status"]) == ("1", "")


def test_list_cancel_and_delete(client_: Client, files: tuple[str, str], vertex: LocalVertex) -> None:
    name = _name()
    vertex.faults.plan("slow", job=name, times=1, run_seconds=60.0)
    jobs = [client_.create(name, MODEL, *files) for _ in range(2)]
    assert sorted(map(_id, client_.named(name))) == sorted(map(_id, jobs))
    client_.cancel(jobs[0])
    assert _wait(lambda: client_.state(jobs[0])) == "CANCELLED"
    assert _wait(lambda: client_.state(jobs[1])) == "SUCCEEDED"
    client_.delete(jobs[0])
    assert list(map(_id, client_.named(name))) == [_id(jobs[1])]


def test_refusal(client_: Client, files: tuple[str, str]) -> None:
    with pytest.raises(Exception, match=r"404|does not exist"):
        client_.create(_name(), "gemini-3.8-flahs", *files)


@pytest.mark.slow  # importing vertexai takes seconds
def test_preview_has_the_same_client() -> None:
    from vertexai import batch_prediction
    from vertexai.preview import batch_prediction as preview

    assert preview.BatchPredictionJob is batch_prediction.BatchPredictionJob


def test_embeddings_of_vertexai(gemini_batch_stack: LocalStack, bucket: str) -> None:
    from vertexai.language_models import TextEmbeddingModel

    lead(gemini_batch_stack.vertex.url)
    _bucket(gemini_batch_stack, bucket).blob("in.jsonl").upload_from_string('{"content": "A book"}\n')
    # It looks the model up at first.
    model = TextEmbeddingModel.from_pretrained("text-embedding-005")
    job = model.batch_predict(dataset=f"gs://{bucket}/in.jsonl", destination_uri_prefix=f"gs://{bucket}/out")
    assert _wait(lambda: str(job.state.name).removeprefix("JOB_STATE_")) == "SUCCEEDED"


@pytest.fixture
def operators(gemini_batch_stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module with Airflow's operators; its hook's client speaks REST, as gRPC is not served here."""
    from airflow.providers.google.cloud.hooks.vertex_ai.batch_prediction_job import BatchPredictionJobHook
    from airflow.providers.google.cloud.operators.vertex_ai import batch_prediction_job
    from google.cloud.aiplatform import jobs
    from google.cloud.aiplatform_v1.services.job_service import JobServiceClient, transports
    from google.oauth2.credentials import Credentials

    url = gemini_batch_stack.vertex.url
    lead(url)
    transport = transports.JobServiceRestTransport(host=url, credentials=Credentials(TOKEN))
    monkeypatch.setattr(
        BatchPredictionJobHook,
        "get_job_service_client",
        lambda self, region=None: JobServiceClient(transport=transport),
    )
    monkeypatch.setattr(BatchPredictionJobHook, "get_credentials", lambda self: Credentials(TOKEN))
    monkeypatch.setattr(jobs, "_JOB_WAIT_TIME", 0.1)
    return batch_prediction_job


PLACE = {"project_id": PROJECT, "region": LOCATION}


def _execute(task: Any) -> tuple[Any, dict[str, Any]]:
    ti = TaskInstance(task_id=task.task_id)
    return task.execute({"ti": ti, "task": task, "task_instance": ti}), ti.xcoms


@pytest.mark.parametrize("kind", ["files", "table"])
def test_operators_of_airflow(
    operators: Any, gemini_batch_stack: LocalStack, files: tuple[str, str], kind: str
) -> None:
    if kind == "files":
        places = {"gcs_source": files[0], "gcs_destination_prefix": files[1]}
    else:
        dataset = make_dataset(gemini_batch_stack)
        source = fill(gemini_batch_stack, f"{dataset}.asked", {"request": "JSON"}, [{"request": QUESTION}])
        places = {"bigquery_source": source, "bigquery_destination_prefix": dataset}
    created, xcoms = _execute(
        operators.CreateBatchPredictionJobOperator(
            task_id="create",
            job_display_name=_name(),
            model_name=PUBLISHED + MODEL,
            labels={"team": "search"},
            **places,
            **PLACE,
        )
    )
    job = xcoms["batch_prediction_job_id"]
    assert (created["state"], created["labels"]) == ("JOB_STATE_SUCCEEDED", {"team": "search"})
    got, _ = _execute(
        operators.GetBatchPredictionJobOperator(task_id="get", batch_prediction_job=job, **PLACE)
    )
    assert got["name"].startswith("projects/")
    listed, _ = _execute(
        operators.ListBatchPredictionJobsOperator(task_id="list", filter='labels.team="search"', **PLACE)
    )
    assert job in [_id(found["name"]) for found in listed]
    _execute(
        operators.DeleteBatchPredictionJobOperator(task_id="delete", batch_prediction_job_id=job, **PLACE)
    )
    gone, _ = _execute(
        operators.GetBatchPredictionJobOperator(task_id="gone", batch_prediction_job=job, **PLACE)
    )
    assert gone is None


def test_refusal_by_operators_of_airflow(operators: Any, files: tuple[str, str]) -> None:
    from google.api_core.exceptions import NotFound

    task = operators.CreateBatchPredictionJobOperator(
        task_id="create",
        job_display_name=_name(),
        model_name=f"{PUBLISHED}gemini-3.8-flahs",
        gcs_source=files[0],
        gcs_destination_prefix=files[1],
        **PLACE,
    )
    with pytest.raises(NotFound, match="does not exist"):
        _execute(task)


def test_tuned_model_is_looked_up(gemini_batch_stack: LocalStack) -> None:
    from google.api_core.exceptions import NotFound
    from vertexai.batch_prediction import BatchPredictionJob

    lead(gemini_batch_stack.vertex.url)
    with pytest.raises(NotFound, match="The Model does not exist"):
        BatchPredictionJob.submit(f"projects/123456789012/locations/{LOCATION}/models/1", "gs://b/in.jsonl")
