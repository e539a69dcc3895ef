"""A run in the ledger: it reserves before it asks, and tells what it has cost when its answers have landed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import orjson

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.costs.estimate import Estimate, Unpriced
from airflow_gemini_batch.costs.prices import Cost
from airflow_gemini_batch.exceptions import InvalidRequestError, LedgerError
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.jobs.summaries import total_tokens
from airflow_gemini_batch.ledger.budgets import Budget, check_budgets, checked_budgets, ledger_since
from airflow_gemini_batch.ledger.record import (
    FAILED,
    LANDED,
    REFUSED,
    RunRecord,
    Spent,
    checked_kind,
    run_id_of,
)
from airflow_gemini_batch.ledger.store import Ledger
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.requests.questions import Question
from airflow_gemini_batch.requests.spec import BuildReport


def run_record(
    dag_id: str,
    run_id: str,
    target: str,
    model: str,
    now: datetime,
    *,
    kind: str = "run",
    group: str = "",
    labels: Mapping[str, str] | None = None,
) -> RunRecord:
    """Return the record of a run of which nothing is known yet.

    :param kind: ``run`` or ``canary``.
    :param group: as of :func:`.run_id_of`.
    :param labels: of the user.

    Raises :class:`ValueError` for another kind.
    """
    kind = checked_kind(kind)
    return RunRecord(
        run=run_id_of(dag_id, run_id, target, kind, group),  # type: ignore[arg-type]
        dag_id=dag_id,
        run_id=run_id,
        target=target,
        model=short_model_name(model),
        started=now,
        kind=kind,
        labels=dict(labels or {}),
    )


def built(
    record: RunRecord,
    report: BuildReport,
    expected: Estimate | None,
    question: Question | None = None,
) -> RunRecord:
    """Return the record of a run whose requests are built.

    :param expected: what they cost; ``None`` without requests.
    :param question: what they ask.
    """
    jobs = len(report.sources)
    kinds = {kind.name.lower(): count.rows for kind, count in report.kinds.items()}
    return replace(
        record,
        question=question.id if question else "",
        definition=question.to_json() if question else None,
        rows={**kinds, "read": report.rows, "kept": report.kept.rows, "done": report.done},
        expected_usd=(expected.cost.amount if expected else None) if jobs else 0.0,
        requests=hashlib.sha256(orjson.dumps(list(report.sources))).hexdigest()[:32],
        submissions=jobs,
        outstanding=jobs,
    )


def reserve(
    ledger: Ledger,
    record: RunRecord,
    budgets: Sequence[Budget],
    now: datetime,
    log: Log,
    unpriced: Unpriced = "refuse",
) -> RunRecord:
    """Write the record of a run whose requests are built, then check the budgets.

    It is written first: of two runs that do this at the same time, at least one sees what the other one reserves. A
    task that runs again writes the same record. What an earlier try has spent stays in it.

    :param record: of :func:`built`.

    Raises :class:`.InvalidRequestError` when a budget refuses the run, which is written as refused, and
    :class:`.LedgerError` when there are budgets and the ledger can't be asked. Without budgets that is a warning.
    """
    budgets = checked_budgets(budgets)
    try:
        record = _again(ledger.find(record.run), record)
        ledger.put(record)
        if not budgets:
            return record
        records = ledger.records(ledger_since(budgets, now))
    except LedgerError as error:
        if not budgets:
            log.warning("The run is not in the ledger: %s", error)
            return record
        raise LedgerError(
            f"The budgets could not be checked, so nothing was submitted. {error}. Once that is corrected, clear this "
            "task; without budgets a run goes on without its ledger"
        ) from error
    try:
        for warning in check_budgets(records, budgets, record, now, unpriced):
            log.warning("%s", warning)
    except InvalidRequestError:
        try:
            ledger.put(replace(record, state=REFUSED))
        except LedgerError as error:
            log.warning("The ledger counts the run as if it was not refused: %s", error)
        raise
    return record


def finish(
    ledger: Ledger,
    run: RunRecord,
    manifests: Sequence[Manifest],
    outcomes: Mapping[Outcome, int],
    ended: datetime,
    log: Log,
) -> RunRecord:
    """Write what the jobs of a run have cost, once their answers have landed. Doing it again changes nothing.

    A ledger that can't be asked is a warning, since the answers have landed: the run goes on to count with what it has
    reserved.

    :param run: of :func:`run_record`, for a run that the ledger does not have.
    :param manifests: of its submissions; of those without one the cost stays unknown.
    :param outcomes: rows by outcome.
    """
    record = run
    try:
        record = with_costs(ledger.find(run.run) or run, manifests, outcomes, ended)
        ledger.put(record)
    except (LedgerError, InvalidRequestError) as error:
        log.warning(
            "What the run has cost is not in the ledger, where it counts with what it has reserved: %s. Clear this "
            "task to write it",
            error,
        )
    return record


def with_costs(
    record: RunRecord, manifests: Sequence[Manifest], outcomes: Mapping[Outcome, int], ended: datetime
) -> RunRecord:
    """Return the record of a run that has ended.

    :param manifests: of its submissions; where there are fewer than the build made, the run has failed.
    """
    submissions = max(record.submissions, len(manifests))
    share = None if record.expected_usd is None else record.expected_usd / max(submissions, 1)
    spent = {_name(manifest): spent_by(manifest, share, ended) for manifest in manifests}
    missing = submissions - len(manifests)
    return replace(
        record,
        state=FAILED if missing else LANDED,
        ended=ended,
        outcomes={str(outcome): count for outcome, count in outcomes.items()},
        submissions=submissions,
        outstanding=missing,
        spent={**record.spent, **spent},
    )


def spent_by(manifest: Manifest, expected_usd: float | None, otherwise: datetime) -> Spent:
    """Return what a submission has taken.

    :param expected_usd: its share in the estimate.
    :param otherwise: its time, where the service has not told when the first job was created.
    """
    cost = Cost(None) if manifest.cost is None else Cost.from_json(manifest.cost)
    created = manifest.rounds[0].times.get("created") if manifest.rounds else None
    time = datetime.fromisoformat(created) if created else otherwise
    return Spent(
        time if time.tzinfo else time.replace(tzinfo=UTC),
        cost.amount,
        expected_usd,
        cost.unpriced,
        {kind: count for kind, count in total_tokens([manifest]).items() if count},
        tuple(round_.job_name for round_ in manifest.rounds),
    )


def _name(manifest: Manifest) -> str:
    return manifest.rounds[0].job_name if manifest.rounds else manifest.identity


def _again(earlier: RunRecord | None, record: RunRecord) -> RunRecord:
    """Return the record of a run that may have been here before.

    The same requests are the same jobs, so what they have cost is not reserved once more.
    """
    if earlier is None:
        return record
    same = earlier.requests == record.requests
    return replace(
        record,
        spent=earlier.spent,
        outstanding=earlier.outstanding if same else record.outstanding,
        verdict=record.verdict or earlier.verdict,
    )
