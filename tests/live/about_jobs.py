"""Questions about jobs: how they are imported, created, listed and cancelled."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.labels import IDENTITY_LABEL
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.jobs.client import JobQuery
from airflow_gemini_batch.jobs.state import Stage
from airflow_gemini_batch.vertex import rest
from airflow_gemini_batch.vertex.resource import filter_of
from tests.live.jobs import HYPHEN_LABEL, RUN_LABEL
from tests.live.questions import Answer, NotAnsweredError, question
from tests.live.seen import Seen

IMPORT = "What the importer of request files takes"
CREATE = "Creating a job"
LISTS = "Lists of jobs"
END = "The end of a job"

_COUNTED = "one project's week of production; not documented"
_IMPORT = {
    "job fails": "preflight tells it before the job is created, and the package's own requests avoid it",
    "row fails": "preflight refuses what only one row would have paid for",
    "taken": "preflight refuses what would work",
}


def _imported(seen: Seen, probe: str) -> Answer:
    ran = seen.ran(probe)
    if ran.refused or ran.failure:
        return Answer("job fails", ran.refused or ran.failure)
    lines = seen.lines(probe)
    statuses = [line.get("status") for line in lines if line.get("status")]
    if statuses:
        return Answer("row fails", json.dumps(statuses[0], ensure_ascii=False)[:200])
    return Answer("taken", f"{len(lines)} answers without an error")


def _import_question(probe: str, text: str, *, source: str = _COUNTED) -> None:
    @question(
        probe.replace("_", "-"),
        IMPORT,
        text,
        source=source,
        believed="job fails",
        readings=_IMPORT,
        jobs=(probe,),
    )
    def ask(seen: Seen) -> Answer:
        return _imported(seen, probe)


_import_question(
    "import_empty_object", "Does a job fail for an empty object in a line (`systemInstruction: {}`)?"
)
_import_question(
    "import_levels", "Does a job fail for a line of more than 15 levels (a schema of 7 nested objects)?"
)
_import_question("import_name", "Does a job fail for a field name with a blank (a property of a schema)?")
_import_question("import_types", 'Does a job fail when one path holds 0.5 in a line and "0.5" in another?')
_import_question(
    "import_shapes", "Does a job fail when `parts` is a list in one line and an object in another?"
)
_import_question("import_null", "Does a job fail for a null among the values of an enum?")
_import_question("import_reference", "Does a job fail for `$defs` and `$ref` in a `responseJsonSchema`?")


def _sources(seen: Seen, probe: str) -> Answer:
    ran = seen.ran(probe)
    if ran.refused or ran.failure:
        return Answer("refused", ran.refused or ran.failure)
    count = len(seen.lines(probe))
    return Answer("all" if count == 2 else "some", f"{count} of 2 requests answered")


_SOURCES = {
    "all": "one job reads all files",
    "some": "the rows without an answer are missing, and a follow-up job asks them again",
    "refused": "the task fails with the service's reason: give one file for each job",
}


@question(
    "several-files",
    IMPORT,
    "Does one job read several request files?",
    source="older pages and samples name several; the present page says one",
    readings=_SOURCES,
    jobs=("two_files",),
)
def several_files(seen: Seen) -> Answer:
    return _sources(seen, "two_files")


@question(
    "pattern",
    IMPORT,
    "Does one job read the files that a pattern names (`gs://bucket/folder/*.jsonl`)?",
    source="older pages",
    readings=_SOURCES,
    jobs=("pattern",),
)
def pattern(seen: Seen) -> Answer:
    return _sources(seen, "pattern")


@question(
    "missing-bucket",
    CREATE,
    "Is a job for a bucket that does not exist refused at once, or does it fail?",
    source="one report: it fails with code 9",
    believed="fails",
    readings={
        "refused": "preflight has told it before; without preflight the task fails at once",
        "fails": "the same, and the task fails with the job's error",
    },
    jobs=("missing_bucket",),
)
def missing_bucket(seen: Seen) -> Answer:
    return _refused_or(seen, "missing_bucket", "fails")


def _refused_or(seen: Seen, probe: str, failed: str) -> Answer:
    ran = seen.ran(probe)
    if ran.refused:
        return Answer("refused", ran.refused)
    if ran.failure:
        return Answer(failed, ran.failure)
    return Answer("", f"the job ended as {ran.states}")


@question(
    "existing-table",
    CREATE,
    "Is a job refused when its output table exists?",
    source="pages differ: refused, or rows are appended",
    readings={
        "refused": "preflight has told it before; the package names a new table for each job",
        "fails": "the same",
        "appended": "preflight refuses it all the same, since rows of two jobs would be mixed",
    },
    jobs=("existing_table",),
)
def existing_table(seen: Seen) -> Answer:
    if seen.ran("existing_table").failure or seen.ran("existing_table").refused:
        return _refused_or(seen, "existing_table", "fails")
    return Answer("appended", f"the job ended as {seen.ran('existing_table').states}")


def _creates_nothing(seen: Seen, body: str) -> tuple[int, str]:
    """Send a create call that can't make a job, and return the status and message of the refusal."""
    answer = seen.place.call("POST", data=body.encode(), headers={"Content-Type": "application/json"})
    message, _ = rest.error_of(answer.content)
    return answer.status_code, message


@question(
    "global-job",
    CREATE,
    "Does a job in `global` take a bucket that is in one region?",
    source="pages differ",
    readings={"taken": "preflight warns without need", "refused": "preflight has warned"},
    jobs=("embedding_2_nested",),
)
def global_job(seen: Seen) -> Answer:
    ran = seen.ran("embedding_2_nested")
    if ran.refused or ran.failure:
        return Answer("refused", ran.refused or ran.failure)
    return Answer("taken", f"states: {', '.join(ran.states)}")


@question(
    "trailing-comma",
    CREATE,
    "Does the service read JSON with a trailing comma, as in its documentation's sample?",
    source="inference from the sample",
    believed="read",
    readings={"read": "nothing depends on it: the package sends JSON without one", "refused": "the same"},
)
def trailing_comma(seen: Seen) -> Answer:
    code, message = _creates_nothing(seen, '{"displayName": "live trailing comma",}')
    unreadable = "Invalid JSON" in message or "parse" in message.lower()
    return Answer("refused" if unreadable else "read", f"{code}: {message}")


@question(
    "endpoint-as-model",
    CREATE,
    "May a job name an endpoint (`projects/…/endpoints/…`) as its model?",
    source="documentation and API description name models only; older samples use endpoints",
    believed="refused",
    readings={
        "taken": "the name is sent as it is given",
        "refused": "the task fails with the service's reason: name the tuned model",
    },
)
def endpoint_as_model(seen: Seen) -> Answer:
    settings = seen.place.settings
    model = f"projects/{settings.project}/locations/{settings.location}/endpoints/1"
    return _taken(*_creates_without_input(seen, model=model), refusals=("invalid", "not supported"))


def _creates_without_input(seen: Seen, **fields: Any) -> tuple[int, str]:
    """Send a create call whose request file does not exist: if it makes a job, that fails and costs nothing."""
    uri = str(seen.place.folder.child("nothing.jsonl"))
    prefix = str(seen.place.folder.child("nothing"))
    body: dict[str, Any] = {
        "displayName": "live nothing",
        "labels": {RUN_LABEL: seen.place.run},
        "model": f"publishers/google/models/{seen.place.settings.model}",
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [uri]}},
        "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": prefix}},
        **fields,
    }
    return _creates_nothing(seen, json.dumps(body))


def _taken(code: int, message: str, *, refusals: tuple[str, ...]) -> Answer:
    if code == 200:
        return Answer("taken", "a job was created")
    refused = any(word in message.lower() for word in refusals)
    return Answer("refused" if refused else "taken", f"{code}: {message}")


_SETTING = {
    "taken": "it is sent as it is given",
    "refused": "the task fails with the service's reason, and nothing is paid: leave the parameter out",
}


@question(
    "job-account",
    CREATE,
    "Does a job of a Gemini model take a service account of its own?",
    source="pages differ: the field is there, and one page says that it is not supported for Gemini",
    readings=_SETTING,
)
def job_account(seen: Seen) -> Answer:
    account = f"nobody-{seen.place.run}@{seen.place.settings.project}.iam.gserviceaccount.com"
    return _taken(
        *_creates_without_input(seen, serviceAccount=account), refusals=("not supported", "unsupported")
    )


@question(
    "job-key",
    CREATE,
    "Does a job of a Gemini model take a key (CMEK) of its own?",
    source="as for the account",
    readings=_SETTING,
)
def job_key(seen: Seen) -> Answer:
    settings = seen.place.settings
    key = f"projects/{settings.project}/locations/{settings.location}/keyRings/none/cryptoKeys/none"
    answer = _creates_without_input(seen, encryptionSpec={"kmsKeyName": key})
    return _taken(*answer, refusals=("not supported", "unsupported"))


@question(
    "list-staleness",
    LISTS,
    "How long does it take until a list by label shows a new job?",
    source="nobody says",
    readings={
        "within 15 s": "a try that finds no job of an earlier one has looked for as long as this",
        "later": "two tries may create a job each; the next search keeps the older one and cancels the other",
    },
)
def list_staleness(seen: Seen) -> Answer:
    if seen.appeared_after is None:
        return Answer("later", f"not shown within {seen.place.settings.settle:.0f} s")
    seconds = seen.appeared_after
    return Answer("within 15 s" if seconds <= 15 else "later", f"shown after {seconds:.1f} s")


def _listed(seen: Seen, text: str, job_id: str) -> str:
    """Return whether a list with a filter holds a job: ``yes``, ``no``, or the refusal."""
    token = ""
    while True:
        answer = seen.place.call("GET", params={"filter": text, "pageSize": "100", "pageToken": token})
        if answer.status_code != 200:
            return f"{answer.status_code}: {rest.error_of(answer.content)[0][:80]}"
        page = answer.json()
        if any(job["name"].endswith(f"/{job_id}") for job in page.get("batchPredictionJobs", ())):
            return "yes"
        token = page.get("nextPageToken", "")
        if not token:
            return "no"


@question(
    "list-filters",
    LISTS,
    "Which filters of a list find a job that they describe?",
    source="the documentation for some of them; other projects send camelCase",
    believed="those of the package",
    readings={
        "those of the package": "jobs are found by one list call",
        "not those of the package": "a task would not find the job of its earlier try, and the first one fails here: "
        "report it",
    },
)
def list_filters(seen: Seen) -> Answer:
    job = seen.finished("generation_files")
    run, identity = seen.place.run, job.labels[IDENTITY_LABEL]
    assert job.create_time is not None
    around = (job.create_time - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1))
    own = [
        filter_of(JobQuery(labels={IDENTITY_LABEL: identity})),
        filter_of(JobQuery(labels={IDENTITY_LABEL: identity, RUN_LABEL: run}, created=around)),
    ]
    others = [
        f"labels.{RUN_LABEL}={run}",
        f"labels.{RUN_LABEL}:*",
        f"labels:{RUN_LABEL}",
        f'labels.{HYPHEN_LABEL}="{run}"',
        f'display_name="{job.display_name}"',
        f'displayName="{job.display_name}"',
        'display_name:"live generation_files*"',
        f'state="{job.state}"',
        f'state="{job.state}" OR state="JOB_STATE_EXPIRED"',
        'NOT state="JOB_STATE_EXPIRED"',
    ]
    job_id = job.name.job_id
    found = {text: _listed(seen, text, job_id) for text in [*own, *others]}
    # A finished job must not be among those that are worth waiting for.
    unfinished = filter_of(JobQuery(labels={RUN_LABEL: run}, unfinished=True))
    left_out = _listed(seen, unfinished, job_id)
    good = all(found[text] == "yes" for text in own) and left_out == "no"
    evidence = "; ".join(
        f"`{text}` {said}" for text, said in {**found, "the unfinished ones": left_out}.items()
    )
    return Answer(
        "those of the package" if good else "not those of the package",
        evidence.replace(identity, "IDENTITY").replace(run, "RUN"),
    )


@question(
    "list-page-size",
    LISTS,
    f"Does a list take a page size of {rest.LARGE_PAGE_SIZE:,}, and what comes without one?",
    source="no maximum is documented; an empty list without a page size was reported",
    readings={
        "taken": "waiting tasks are asked about with few calls",
        "refused": f"the poller goes on with pages of {rest.PAGE_SIZE}",
    },
)
def list_page_size(seen: Seen) -> Answer:
    said = {}
    for size in (str(rest.LARGE_PAGE_SIZE), str(rest.PAGE_SIZE), ""):
        answer = seen.place.call("GET", params={"pageSize": size} if size else {})
        if taken := answer.status_code == 200:
            page = answer.json()
            more = ", and more" if page.get("nextPageToken") else ""
            text = f"{len(page.get('batchPredictionJobs', ()))} jobs{more}"
        else:
            text = f"{answer.status_code}: {rest.error_of(answer.content)[0][:80]}"
        said[size] = taken, text
    evidence = "; ".join(f"{size or 'without one'}: {text}" for size, (_, text) in said.items())
    return Answer("taken" if said[str(rest.LARGE_PAGE_SIZE)][0] else "refused", evidence)


@question(
    "output-files",
    END,
    "Are answers in `<prefix>/prediction-model-<time>/predictions.jsonl`?",
    source="folders of several projects; shards (`predictions.jsonl-00000-of-00002`) were seen too",
    believed="predictions.jsonl",
    readings={
        "predictions.jsonl": "it is read",
        "shards": "all of them are read",
        "other names": "no answer is found, and all rows count as missing: report it",
    },
    jobs=("generation_files",),
)
def output_files(seen: Seen) -> Answer:
    output = seen.finished("generation_files").output
    assert isinstance(output, GcsAddress)
    blobs = seen.place.storage.list_blobs(output.bucket, prefix=f"{output.path}/")
    names = sorted(blob.name.rpartition("/")[2] for blob in blobs)
    found = StorageObjects(seen.place.storage).prediction_files(output)
    reading = "predictions.jsonl" if "predictions.jsonl" in names else "shards" if found else "other names"
    folder = output.path.rpartition("/")[2]
    return Answer(reading, f"in the folder {folder}: {', '.join(names)}")


@question(
    "cancelled-output",
    END,
    "Does a job that was cancelled early name an output, and does that exist?",
    source="one report: it may name a folder that does not exist",
    readings={
        "none named": "all rows are missing",
        "named and absent": "the same",
        "named and there": "its finished rows are kept",
    },
    jobs=("cancelled",),
)
def cancelled_output(seen: Seen) -> Answer:
    ran = seen.ran("cancelled")
    if ran.job is None:
        raise NotAnsweredError(f"the job was refused: {ran.refused}")
    states = ", ".join(ran.states)
    if ran.job.state.stage is Stage.SUCCEEDED:
        raise NotAnsweredError(f"the job had succeeded before it was cancelled ({states})")
    output = ran.job.output
    if not isinstance(output, GcsAddress):
        return Answer("none named", f"states: {states}")
    blobs = list(seen.place.storage.list_blobs(output.bucket, prefix=f"{output.path}/"))
    return Answer(
        "named and there" if blobs else "named and absent", f"states: {states}; {len(blobs)} objects"
    )
