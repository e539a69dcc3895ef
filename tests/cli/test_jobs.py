"""gemini-batch jobs, as a user runs it, against the local server."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from typer.testing import CliRunner

from airflow_gemini_batch import SubmitGeminiBatchOperator
from airflow_gemini_batch.cli import app
from airflow_gemini_batch.cli.screen import results, screen
from airflow_gemini_batch.core.labels import airflow_labels
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.testing.dag_runs import prepare_database
from airflow_gemini_batch.testing.stack import LOCATION, PROJECT
from tests.support.jobs import job_request, seed, wait_for
from tests.support.requests_data import BAD_REQUEST, request, upload
from tests.support.tables import fill, make_dataset
from tests.support.tasks import run_task

RUNNING = {"run_seconds": 3600.0}
QUEUED = {"queue_seconds": 3600.0}
ENDED = {"run_seconds": 0.0}


@pytest.fixture
def run(vertex, monkeypatch):
    """Run a command against the local server, with the credentials of this machine."""
    monkeypatch.setattr(screen, "width", 200)
    monkeypatch.setattr(results, "width", 200)
    # A terminal does not have it; the command sets it, and it goes with the test.
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT")

    def run(
        *arguments: str,
        place: tuple[str, ...] = ("--project", PROJECT, "--location", LOCATION),
        **options: Any,
    ):
        return CliRunner().invoke(app, [*arguments, *place], **options)

    return run


@pytest.fixture
def shop() -> str:
    """A value that the labels of one test alone have."""
    return f"shop-{uuid.uuid4().hex[:12]}"


def json_of(result: Any) -> Any:
    """Return the JSON line of a command; before it may stand what the local BigQuery logs in this process."""
    return json.loads(result.stdout.splitlines()[-1])


def listed(result: Any) -> list[str]:
    """Return the ids of the jobs in the JSON line of a command."""
    assert result.exit_code == 0, result.stderr
    return [job["name"].rpartition("/")[2] for job in json_of(result)["jobs"]]


def test_list_is_for_people(run, vertex, client, shop):
    labels = {**airflow_labels("nightly", "ask", "run-1"), "shop": shop}
    (ended,) = seed(vertex, labels=labels, **ENDED)
    wait_for(client, ended, JobState.SUCCEEDED)
    (queued,) = seed(vertex, labels={"shop": shop}, **QUEUED)
    result = run("jobs", "list", "--label", f"shop={shop}")
    assert (result.exit_code, result.stderr) == (0, "")
    header, first, second = result.stdout.splitlines()
    assert header.split() == ["job", "state", "age", "queued", "ran", "rows", "task"]
    assert (first.split()[:2], first.split()[-1]) == ([queued.job_id, "PENDING"], "bare-job-0")
    assert (second.split()[:2], second.split()[-3:]) == (
        [ended.job_id, "SUCCEEDED"],
        ["100", "answered", "nightly.ask"],
    )


def test_name_of_a_job_is_whole_on_a_narrow_terminal(run, vertex, shop, monkeypatch):
    (name,) = seed(vertex, display_name="a-long-name-" * 9, labels={"shop": shop}, **QUEUED)
    monkeypatch.setattr(results, "width", 60)
    monkeypatch.setattr(results, "_force_terminal", True)
    assert name.job_id in run("jobs", "list", "--label", f"shop={shop}").stdout


def test_list_picks_by_dag_task_run_label_and_state(run, vertex, client, shop):
    def of(*parts: str | None, **times: float) -> str:
        (name,) = seed(vertex, labels={**airflow_labels(*parts), "shop": shop}, **times)
        return name.job_id

    night = of(f"{shop}.night", "ask", "run 1", **QUEUED)
    other_task = of(f"{shop}.night", "embed", "run 1", **QUEUED)
    other_run = of(f"{shop}.night", "ask", "run 2", **ENDED)
    day = of(f"{shop}-day", "ask", "run 1", **ENDED)
    for job_id in (other_run, day):
        wait_for(client, client.get(seed(vertex)[0]).name.sibling(job_id), JobState.SUCCEEDED)
    for options, found in [
        (["--label", f"shop={shop}"], [day, other_run, other_task, night]),
        (["--dag", f"{shop}.night"], [other_run, other_task, night]),
        (["--dag", f"{shop}.night", "--task", "ask"], [other_run, night]),
        (["--dag", f"{shop}.night", "--task", "ask", "--run", "run 1"], [night]),
        (["--dag", f"{shop}.night", "--state", "unfinished"], [other_task, night]),
        (["--label", f"shop={shop}", "--state", "Succeeded"], [day, other_run]),
        (["--label", f"shop={shop}", "--limit", "1"], [day]),
        (["--label", f"shop={shop}", "--older", "1h"], []),
        (["--label", f"shop={shop}", "--newer", "all", "--state", "failed"], []),
    ]:
        assert listed(run("jobs", "list", "--json", *options)) == found, options


def test_list_says_when_it_is_not_all(run, vertex, shop):
    seed(vertex, 2, labels={"shop": shop}, **QUEUED)
    few = run("jobs", "list", "--label", f"shop={shop}", "--limit", "1")
    assert (few.exit_code, "--limit shows more than 1" in few.stderr) == (0, True)
    few = run("jobs", "list", "--label", f"shop={shop}", "--limit", "1", "--json")
    assert json.loads(few.stdout)["complete"] is False
    none = run("jobs", "list", "--label", "shop=nobody")
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "There are no such jobs.\n")


def test_list_that_breaks_off_is_not_taken_for_all(run, vertex, shop):
    seed(vertex, 101, labels={"shop": shop}, **QUEUED)
    vertex.faults.plan("error", on="list", skip=1, status="UNAVAILABLE")
    result = run("jobs", "list", "--label", f"shop={shop}", "--limit", "500", "--json")
    assert result.exit_code == 3
    found = json_of(result)
    assert (len(found["jobs"]), found["complete"]) == (100, False)
    assert "The list is not complete" in result.stderr
    assert "503 UNAVAILABLE" in result.stderr


@pytest.mark.parametrize(
    ("fault", "arguments", "exit_code"),
    [
        ("error", {"status": "UNAVAILABLE"}, 3),
        ("error", {"status": "PERMISSION_DENIED"}, 1),
        ("drop_before", {}, 3),
        ("html_answer", {}, 3),
    ],
)
@pytest.mark.parametrize("command", [["list"], ["show", "1"], ["watch", "1"], ["cancel", "1", "--yes"]])
def test_service_that_does_not_answer_is_not_an_empty_answer(
    run, vertex, command, fault, arguments, exit_code
):
    for method in ("list", "get"):
        vertex.faults.plan(fault, on=method, times=None, **arguments)
    result = run("jobs", *command)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert "There are no such jobs" not in result.stderr
    assert "cancel" not in vertex.requests.counts


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["list", "--state", "happy"], "'happy' is not one of unfinished, unspecified,"),
        (["list", "--newer", "soon"], "--newer: 'soon' is not a time such as 30min, 6h, 7d, 2w or all"),
        (["list", "--older", "1y"], "--older: '1y' is not a time"),
        (["list", "--label", "team"], "--label: 'team' is not a label such as team=search"),
        (["list", "--label", 'a=" OR state="x'], "--label: "),
        (["show", "projects/p/locations/l"], "JOB: 'projects/p/locations/l' is not the name of a batch job"),
        (["show", "../x"], "is not the name of a batch job"),
        (["show", "UPPER"], "is not the name of a batch job"),
        (["watch", "1", "--dag", "nightly"], "not both"),
        (["cancel", "1/2"], "is not the name of a batch job"),
        (["list", "--endpoint", "ftp://x"], "--endpoint: expected https://HOST"),
        (["list", "--endpoint", "http://example.com"], "would be sent to another server than Google's"),
        (["list", "--connection", "google_cloud_default", "--endpoint", "https://x"], "Give --endpoint or"),
    ],
)
def test_wrong_options_are_refused_before_any_call(run, vertex, arguments, told):
    result = run("jobs", *arguments)
    assert (result.exit_code, vertex.requests.counts) == (2, {})
    assert told in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (["--location", LOCATION, "--project", "Bad Project"], "--project: expected the id or number"),
        (["--project", PROJECT, "--location", "evil.example.com/"], "--location: expected a location"),
        (["--project", PROJECT], "no location is set. Give --location, or set GOOGLE_CLOUD_LOCATION"),
        (["--location", LOCATION], "no project is set. Give --project, or set GOOGLE_CLOUD_PROJECT"),
        (
            ["--connection", "nobody", "--project", PROJECT, "--location", LOCATION],
            "from the connection 'nobody'",
        ),
    ],
)
def test_place_has_to_be_known(run, vertex, monkeypatch, place, told):
    for name in ("GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name)
    result = run("jobs", "list", place=tuple(place))
    assert (result.exit_code, vertex.requests.counts) == (2, {})
    assert told in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(["--connection", "google_cloud_default"], id="connection"),
        pytest.param([], id="environment"),
        pytest.param(["--endpoint"], id="endpoint"),
    ],
)
def test_each_way_to_the_service(run, vertex, shop, monkeypatch, place):
    (name,) = seed(vertex, labels={"shop": shop}, **QUEUED)
    if place == ["--endpoint"]:
        monkeypatch.delenv("GOOGLE_VERTEX_BASE_URL")
        place = ["--endpoint", vertex.url]
    result = run("jobs", "list", "--json", "--label", f"shop={shop}", place=tuple(place))
    assert listed(result) == [name.job_id]


def test_connection_may_be_in_the_database_of_airflow(run, vertex, shop, monkeypatch):
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    prepare_database()
    extra = json.dumps({"is_anonymous": True, "project": PROJECT, "location": LOCATION})
    with create_session() as session:
        session.add(Connection(conn_id=shop, conn_type="google_cloud_platform", extra=extra))
    (name,) = seed(vertex, labels={"shop": shop}, **QUEUED)
    result = run("jobs", "list", "--json", "--label", f"shop={shop}", place=("--connection", shop))
    assert listed(result) == [name.job_id]


def test_real_credentials_do_not_go_to_another_server(run, monkeypatch):
    monkeypatch.delenv("GOOGLE_VERTEX_BASE_URL")
    result = run("jobs", "list")
    assert result.exit_code == 2
    assert "would be sent to another server than Google's" in " ".join(result.stderr.split())


@pytest.fixture
def ended_job(vertex, client, gemini_batch_stack, bucket, shop):
    """The name of a job that has answered three rows, and failed one."""
    upload(gemini_batch_stack, bucket, "in.jsonl", [*(request(f"prompt {n}") for n in range(3)), BAD_REQUEST])
    labels = {**airflow_labels("nightly", "ask", "run-1"), "shop": shop}
    job = client.create(job_request(bucket, labels=labels))
    wait_for(client, job.name, JobState.SUCCEEDED)
    return job.name


def test_show_tells_everything_of_a_job(run, ended_job, bucket):
    result = run("jobs", "show", ended_job.job_id)
    assert (result.exit_code, result.stderr) == (0, "")
    for told in (
        f"Job {ended_job.job_id} is SUCCEEDED",
        "4 rows done",
        "SUCCEEDED, 3 answered, 1 failed; queued 0 s, ran 0 s",
        str(ended_job),
        ended_job.console_url,
        f"gs://{bucket}/in.jsonl",
        f"gs://{bucket}/out",
        "nightly.ask",
        "airflow_run=run-1",
        "publishers/google/models/gemini-3.8-flash",
    ):
        assert told in result.stdout


def test_show_reads_rows_tokens_and_cost_on_request(run, ended_job):
    plain = json.loads(run("jobs", "show", str(ended_job), "--json").stdout)
    assert (plain["outcomes"], plain["tokens"], plain["cost"]) == (None, None, None)
    read = json.loads(run("jobs", "show", str(ended_job), "--json", "--rows").stdout)
    assert {name: count for name, count in read["outcomes"].items() if count} == {"ok": 3, "rejected": 1}
    assert sum(usage["rows"] for usage in read["tokens"].values()) == 3
    assert read["cost"]["amount"] > 0
    text = run("jobs", "show", str(ended_job), "--rows").stdout
    for told in ("Rows        3 ok, 1 rejected", "Tokens      ", "Cost        $", "Query       "):
        assert told in text


@pytest.mark.parametrize("kind", ["files", "tables"])
@pytest.mark.parametrize("asked_for", ["first", "follow-up"])
def test_show_adds_up_a_job_and_its_follow_up(
    run, gemini_batch_stack, vertex, client, bucket, kind, asked_for
):
    rows = [{"isbn": f"978-{number}", **request(f"prompt {number}")} for number in range(6)]
    if kind == "tables":
        columns = {"isbn": "STRING", "request": "JSON"}
        source = fill(gemini_batch_stack, f"{make_dataset(gemini_batch_stack)}.books", columns, rows)
    else:
        source = upload(gemini_batch_stack, bucket, "in/books.jsonl", rows)
    vertex.faults.plan("missing_rows", share=0.4)
    manifest = run_task(
        SubmitGeminiBatchOperator(
            task_id="ask",
            model="gemini-3.8-flash",
            requests=source,
            poll_interval=0.05,
            max_failed_fraction=1.0,
        )
    )
    first, follow_up = (round_["job_name"] for round_ in manifest["rounds"])
    result = run("jobs", "show", first if asked_for == "first" else follow_up, "--rows", "--json")
    assert result.exit_code == 0, result.stderr
    found = json_of(result)
    assert [job["name"] for job in found["jobs"]] == [first, follow_up]
    assert [job["follow_up"] for job in found["jobs"]] == [0, 1]
    assert found["outcomes"] == manifest["counts"]
    assert found["tokens"] == manifest["usage"]
    assert found["cost"] == manifest["cost"]


def test_show_tells_what_it_could_not_find_out(run, vertex, shop):
    labels = {"gemini_batch_id": "a" * 32, "shop": shop}
    (name,) = seed(vertex, labels=labels, **ENDED)
    vertex.faults.plan("error", on="list", times=None, status="UNAVAILABLE")
    while "SUCCEEDED" not in (result := run("jobs", "show", name.job_id)).stdout:
        assert result.exit_code == 0
    assert "Other jobs of its submission could not be looked for" in " ".join(result.stdout.split())


def test_rows_of_a_job_under_way_are_refused(run, vertex):
    (name,) = seed(vertex, **RUNNING)
    result = run("jobs", "show", name.job_id, "--rows")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "has not ended. Its rows can be read afterwards" in " ".join(result.stderr.split())


def test_rows_that_cannot_be_read_are_not_none(run, ended_job, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setattr("google.cloud.storage.retry.DEFAULT_RETRY._timeout", 0.1)
    result = run("jobs", "show", str(ended_job), "--rows")
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"Could not read the rows of {ended_job}" in " ".join(result.stderr.split())


def test_watch_waits_for_the_end_and_tells_each_change(run, vertex):
    (name,) = seed(vertex, queue_seconds=0.3, run_seconds=0.3)
    result = run("jobs", "watch", name.job_id, "--every", "0.1", "--json")
    assert result.exit_code == 0, result.stderr
    (job,) = json_of(result)["jobs"]
    assert (job["state"], job["answered"], job["known"]) == ("SUCCEEDED", 100, True)
    states = [line.split(" is ")[1].partition(",")[0] for line in result.stderr.splitlines()]
    assert states == ["PENDING", "RUNNING", "SUCCEEDED"]


def test_terminal_shows_a_table_below_the_changes(run, vertex, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(screen, "_force_terminal", True)
    monkeypatch.setattr(screen, "is_interactive", True)
    (name,) = seed(vertex, queue_seconds=0.3, run_seconds=0.3)
    vertex.faults.plan("error", on="get", times=1, skip=2, status="UNAVAILABLE")
    shown = run("jobs", "watch", name.job_id, "--every", "0.1").stderr
    for told in ("queued", "PENDING", "is RUNNING", "unknown (was ", "100 rows done"):
        assert told in shown


def test_watch_takes_all_unfinished_jobs_that_match(run, vertex, shop):
    names = seed(vertex, 2, labels={"shop": shop}, run_seconds=0.4)
    seed(vertex, labels={"shop": "another"}, **RUNNING)
    result = run("jobs", "watch", "--label", f"shop={shop}", "--every", "0.1")
    assert result.exit_code == 0, result.stderr
    assert {line.split()[0] for line in result.stdout.splitlines()[1:]} == {name.job_id for name in names}


def test_watch_of_nothing_ends_at_once(run):
    result = run("jobs", "watch", "--label", "shop=nobody")
    assert (result.exit_code, result.stderr) == (0, "There are no such jobs.\n")


def test_watch_asks_again_after_an_error(run, vertex):
    (name,) = seed(vertex, run_seconds=0.3)
    vertex.faults.plan("error", on="get", times=2, skip=1, status="UNAVAILABLE")
    result = run("jobs", "watch", name.job_id, "--every", "0.1")
    assert result.exit_code == 0, result.stderr
    assert "Could not read the state of" in result.stderr


def test_watch_of_a_job_that_fails_ends_with_1(run, vertex, client):
    (name,) = seed(vertex, run_seconds=60.0)
    client.cancel(name)
    assert run("jobs", "watch", name.job_id, "--every", "0.1").exit_code == 1


def test_ctrl_c_leaves_the_jobs_alone(run, vertex, client, monkeypatch):
    (name,) = seed(vertex, **RUNNING)
    wait_for(client, name, JobState.RUNNING)

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("airflow_gemini_batch.cli.watch.time.sleep", interrupt)
    result = run("jobs", "watch", name.job_id)
    assert (result.exit_code, "The jobs continue" in result.stderr) == (130, True)
    assert "cancel" not in vertex.requests.counts
    assert client.get(name).state is JobState.RUNNING


def test_cancel_stops_jobs_and_creates_none(run, vertex, client):
    names = seed(vertex, 2, **RUNNING)
    result = run("jobs", "cancel", *(name.job_id for name in names), "--yes")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("cancellation was requested") == 2
    assert "create" not in vertex.requests.counts
    for name in names:
        wait_for(client, name, JobState.CANCELLED)


@pytest.mark.parametrize(("answer", "cancelled", "exit_code"), [("y\n", 1, 0), ("n\n", 0, 1), ("\n", 0, 1)])
def test_cancel_asks_and_says_what_it_costs(run, vertex, monkeypatch, answer, cancelled, exit_code):
    (name,) = seed(vertex, labels=airflow_labels("nightly", "ask", None), **RUNNING)
    monkeypatch.setattr("airflow_gemini_batch.cli.jobs._can_answer", lambda: True)
    result = run("jobs", "cancel", name.job_id, input=answer)
    assert (result.exit_code, vertex.requests.counts.get("cancel", 0)) == (exit_code, cancelled)
    text = " ".join(result.stderr.split())
    for told in (
        "nightly.ask",
        "are billed, and their answers are kept",
        "submits a new one",
        "Cancel 1 job?",
    ):
        assert told in text


def test_cancel_without_a_person_needs_yes(run, vertex):
    (name,) = seed(vertex, **RUNNING)
    result = run("jobs", "cancel", name.job_id)
    assert (result.exit_code, "Give --yes" in result.stderr) == (2, True)
    assert "cancel" not in vertex.requests.counts


def test_cancel_of_a_job_that_has_ended_does_nothing(run, vertex, client):
    (name,) = seed(vertex, **ENDED)
    wait_for(client, name, JobState.SUCCEEDED)
    result = run("jobs", "cancel", name.job_id)
    assert (result.exit_code, "There is nothing to cancel" in result.stderr) == (0, True)
    assert "cancel" not in vertex.requests.counts


@pytest.mark.parametrize(
    ("fault", "arguments", "exit_code", "told"),
    [
        ("error", {"status": "PERMISSION_DENIED"}, 1, "It was not cancelled."),
        ("error", {"status": "RESOURCE_EXHAUSTED"}, 3, "It was not cancelled."),
        ("drop_after", {}, 3, "It is not known whether it is being cancelled."),
    ],
)
def test_cancel_says_what_is_known_after_an_error(run, vertex, fault, arguments, exit_code, told):
    (name,) = seed(vertex, **RUNNING)
    vertex.faults.plan(fault, on="cancel", times=None, **arguments)
    result = run("jobs", "cancel", name.job_id, "--yes")
    assert (result.exit_code, told in result.stderr) == (exit_code, True)


def test_hostile_texts_are_shown_as_escapes(run, vertex, shop):
    seed(vertex, display_name="\x1b[31m[red]x[/red]", labels={"shop": shop}, **QUEUED)
    text = run("jobs", "list", "--label", f"shop={shop}").stdout
    assert "\x1b" not in text
    assert "\\x1b[31m[red]x[/red]-0" in text


def test_shell_completes_commands_and_states(run):
    def completed(words: str) -> str:
        variables = {
            "_GEMINI_BATCH_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        return CliRunner().invoke(app, [], env=variables, prog_name="gemini-batch").output

    assert completed("gemini-batch jobs ").split() == ["list", "show", "watch", "cancel"]
    assert completed("gemini-batch jobs list --state un").split() == ["unfinished", "unspecified"]


def test_help_documents_the_exit_codes(run):
    for command in ("list", "show", "watch", "cancel"):
        text = " ".join(
            CliRunner().invoke(app, ["jobs", command, "--help"], env={"COLUMNS": "200"}).output.split()
        )
        assert "Exit codes: 0 done; 1" in text
