"""A roll-out of a changed question over several nights: the steps of a task group, with kills in between.

A process runs the steps of one night, one after the other. What Airflow's database would hold of a step, its result and
what it pushed, is in a file. A process that is killed is followed by another one, which begins with the step that has
not been stored.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MODEL = "gemini-3.8-flash"
THEN, NOW = "Describe [[ title ]].", "Praise [[ title ]]."
CANARY_ROWS, ROWS_A_NIGHT = 4, 5
NIGHTS, KILLS_A_NIGHT = 5, 3
ROWS = CANARY_ROWS + NIGHTS * ROWS_A_NIGHT - 2

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["__main__", "tests.crash.warm"])


@dataclass(frozen=True)
class Night:
    """What the steps of a night find.

    :param folder: of the shop: its books, its target and what is stored of steps.
    """

    number: int
    prompt: str
    folder: Path
    requests: str

    @property
    def stored(self) -> Path:
        return self.folder / f"night-{self.number}.json"


def steps(night: Night, done: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the tasks of a night; those before are in ``done``, with what they have given and pushed."""
    from airflow_gemini_batch import (
        BuildGeminiRequestsOperator,
        Canary,
        JudgeCanaryOperator,
        LandCanaryOperator,
        LandGeminiResultsOperator,
        SubmitGeminiBatchOperator,
    )

    target, canary_target = (str(night.folder / f"landed{end}.parquet") for end in ("", "__canary"))
    canary = Canary(rows=CANARY_ROWS)
    building = {
        "source": str(night.folder / "books.csv"),
        "key": "isbn",
        "prompt": night.prompt,
        "model": MODEL,
        "target": target,
        "requests": night.requests,
        "ledger": True,
        "on_empty": "succeed",
    }
    landing = {"key": "isbn", "ledger": f"{target}__runs", "max_failed_fraction": 1.0}
    judging = {"key": "isbn", "target": target, "canary_target": canary_target}

    def asked(build: str, submit: str, land: str, into: str) -> Iterator[tuple[str, Any]]:
        pushed = done[build]["pushed"]
        for index, source in enumerate(done[build]["result"]):
            yield (
                f"{submit}_{index}",
                SubmitGeminiBatchOperator(
                    task_id=submit, requests=source, model=MODEL, question=pushed["question"], target=into,
                    deferrable=False, poll_interval=0.05, max_failed_fraction=1.0,
                ),
            )  # fmt: skip
        manifests = [done[f"{submit}_{index}"]["result"] for index in range(len(done[build]["result"]))]
        if manifests:
            yield (
                land,
                LandGeminiResultsOperator(
                    task_id=land, manifest=manifests, target=into, run=pushed["run"], **landing
                ),
            )

    yield "build_canary", BuildGeminiRequestsOperator(task_id="build_canary", canary=canary, **building)
    yield from asked("build_canary", "submit_canary", "land_canary", canary_target)
    pushed = done["build_canary"]["pushed"]
    question, rest = pushed["question"], pushed["rest_rows"]
    yield (
        "judge",
        JudgeCanaryOperator(task_id="judge", canary=canary, question=question, rest_rows=rest, **judging),
    )
    yield "take", LandCanaryOperator(task_id="take", question=question, **judging)
    yield (
        "build",
        BuildGeminiRequestsOperator(
            task_id="build", on_question_change="canary", max_rows_per_run=ROWS_A_NIGHT if night.number else None,
            **building,
        ),
    )  # fmt: skip
    yield from asked("build", "submit", "land", target)


def play(pipe: Connection, night: Night, environment: dict[str, str], log: str) -> None:
    """Run the steps of a night that are not stored yet; stand still where the parent says so, to be killed there."""
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    from tests.support.tasks import TaskInstance

    def say(sign: str) -> None:
        pipe.send(sign)
        if pipe.recv() == "stand still":
            signal.pause()

    done = json.loads(night.stored.read_text()) if night.stored.exists() else {}
    for name, task in steps(night, done):
        if name in done:
            continue
        say(f"{name} begins")
        index = int(name.rpartition("_")[2]) if name.startswith("submit") else -1
        with night.stored.with_suffix(".tries").open("a+") as tries:
            tries.seek(0)
            number = tries.read().split().count(name) + 1
            tries.write(f"{name}\n")
        ti = TaskInstance("shop", task.task_id, f"night {night.number}", index, number)
        result = task.execute({"ti": ti, "task_instance": ti})
        say(f"{name} ends")
        done[name] = {"result": result, "pushed": ti.xcoms}
        temporary = night.stored.with_suffix(".new")
        temporary.write_text(json.dumps(done))
        temporary.replace(night.stored)
    say("done")


def survive(
    night: Night, kills: random.Random, most: int, environment: dict[str, str], log: Path
) -> list[str]:
    """Play a night to its end, and kill its process now and then; returns where it was killed.

    :param most: kills, after which it is left alone.
    """
    killed: list[str] = []
    while True:
        ours, theirs = FORKS.Pipe()
        process = FORKS.Process(target=play, args=(theirs, night, environment, str(log)), daemon=True)
        process.start()
        theirs.close()
        try:
            while True:
                sign = ours.recv()
                strikes = len(killed) < most and sign != "done" and kills.random() < 0.3
                if strikes and sign.endswith("begins") and kills.random() < 0.7:
                    ours.send("go on")
                    time.sleep(kills.uniform(0, 0.4))  # somewhere within the step
                elif strikes:
                    ours.send("stand still")
                else:
                    ours.send("go on")
                if strikes:
                    killed.append(sign)
                    process.kill()
                    process.join()
                    break
                if sign == "done":
                    process.join()
                    return killed
        except EOFError:
            process.join()
            if not killed or process.exitcode != -signal.SIGKILL:
                raise RuntimeError(f"{night} failed: {log.read_text()[-3000:]}") from None


def roll_out(folder: Path, seed: int) -> dict[str, Any]:
    """Play all nights; return how often each row was asked each question, how many rows were new, and the kills.

    The clients of this process find the servers as those of the others do.
    """
    import pyarrow.parquet as pq

    from airflow_gemini_batch.core.keys import text_of_key
    from airflow_gemini_batch.testing.stack import LocalStack
    from tests.crash.evidence import jobs_of
    from tests.support.requests_data import lines

    books = "".join(f"{number},Title {number}\n" for number in range(ROWS))
    (folder / "books.csv").write_text(f"isbn,title\n{books}")
    kills, killed = random.Random(seed), list[str]()
    with LocalStack(folder / "data", queue_seconds=0.1, run_seconds=0.2) as stack:
        environment = stack.environment()
        os.environ.update(environment)
        stack.storage.create_bucket("shop")

        def play_night(number: int, prompt: str, most: int) -> list[str]:
            night = Night(number, prompt, folder, "gs://shop/requests")
            killed.extend(survive(night, kills, most, environment, folder / "log.txt"))
            questions: list[str] = pq.read_table(folder / "landed.parquet")["batch_question"].to_pylist()
            return questions

        (then,) = set(play_night(0, THEN, 0))
        answered = [play_night(number, NOW, KILLS_A_NIGHT) for number in range(1, NIGHTS + 1)]
        paid = Counter(
            f"{line['request']['contents'][0]['parts'][0]['text'].split()[0]} {text_of_key(line['key'])}"
            for job in jobs_of(stack.vertex)
            for uri in job["inputConfig"]["gcsSource"]["uris"]
            for line in lines(stack, uri)
        )
    return {"paid": paid, "new": [len(one) - one.count(then) for one in answered], "killed": killed}


if __name__ == "__main__":
    print(json.dumps(roll_out(Path(sys.argv[1]), int(sys.argv[2]))))
