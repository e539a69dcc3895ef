"""Judge a canary: compare its answers with those that are there, and let the run go on or stop it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseSensorOperator, XComArg

from airflow_gemini_batch.exceptions import CanaryNotPassedError, InvalidRequestError, as_invalid_request
from airflow_gemini_batch.hooks.errors import fail_without_retry
from airflow_gemini_batch.hooks.mixin import ShownTexts
from airflow_gemini_batch.operators.base import GeminiBatchOperator, key_columns
from airflow_gemini_batch.version_compat import HAS_APPROVALS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_gemini_batch.canary.report import CanaryReport
    from airflow_gemini_batch.canary.settings import Canary
    from airflow_gemini_batch.canary.verdict import Verdict
    from airflow_gemini_batch.core.response_schema import AnswerColumn
    from airflow_gemini_batch.core.summary import Summary

REPORT_KEY = "report"
"""XCom with the figures of the comparison."""

COMPARISON_KEY = "comparison"
"""XCom with the comparison as Markdown, for those who decide."""

NO_CANARY: dict[str, Any] = {"canary": None}
"""Result of the judgement where nothing was to be judged."""

DECISION_TIMEOUT = timedelta(days=7)
"""How long a task waits for a person's decision."""

_POKE_INTERVAL = 300.0


class JudgeCanaryOperator(GeminiBatchOperator):
    """Compare the answers of a canary with those in the target, and with golden rows, and judge them by thresholds.

    It reads what has landed for the question, in this run or in earlier ones: a canary that was not passed is not
    passed in the next run either, though nothing is asked again. The task fails when a threshold is not met, unless a
    person is to decide (``approve="person"``). Without a changed question it does nothing, and the run goes on.

    The result (XCom): ``{"canary": {"question", "passed", "reasons", "approve", "page"}}``, or ``{"canary": None}``
    where there was nothing to judge. The XCom ``report`` has the figures, as of
    :class:`airflow_gemini_batch.canary.report.CanaryReport`; the XCom ``comparison`` shows them as Markdown.

    It runs when no task before it has failed (``trigger_rule="none_failed"``).

    :param canary: what was asked, and the thresholds.
    :param question: id of the new question; ``None`` or an empty text where no question has changed.
    :param rest_rows: how many rows are still to be asked the new question; ``None`` where it is not known.
    :param key: the column, or columns, that identify the rows, as in the build task.
    :param target: the ``bq://`` table, or the file, whose rows hold the old answers.
    :param canary_target: where the canary has landed; by default ``<target>__canary``.
    :param canary_failed_target: where its failures have landed; by default ``<target>__canary__failed``.
    :param golden: the golden rows, where they are named by a template; by default those of ``canary``.
    :param response_schema: as in the land task, like ``text_column``.
    :param vector_column: column of the vectors, of a canary of embeddings.
    :param report_folder: where the page with the report goes: a ``gs://`` folder or a local path. Without, there is no
        page.
    """

    template_fields: Sequence[str] = (
        *GeminiBatchOperator.template_fields,
        "question",
        "rest_rows",
        "key",
        "target",
        "canary_target",
        "canary_failed_target",
        "golden",
        "text_column",
        "vector_column",
        "report_folder",
    )

    def __init__(
        self,
        *,
        canary: Canary,
        question: str | None,
        key: str | Sequence[str],
        target: str,
        rest_rows: int | str | None = None,
        canary_target: str | None = None,
        canary_failed_target: str | None = None,
        golden: str | None = None,
        response_schema: Any = None,
        text_column: str = "answer",
        vector_column: str | None = None,
        report_folder: str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("trigger_rule", "none_failed")
        super().__init__(**kwargs)
        self.canary = canary
        self.question = question
        self.rest_rows = rest_rows
        self.key = key
        self.target = target
        self.canary_target = canary_target
        self.canary_failed_target = canary_failed_target
        self.golden = golden
        self.response_schema = response_schema
        self.text_column = text_column
        self.vector_column = vector_column
        self.report_folder = report_folder

    def execute(self, context: Context) -> dict[str, Any]:
        """Read, compare, report, judge."""
        from airflow_gemini_batch.canary.page import page, write_page
        from airflow_gemini_batch.canary.text import log_text, markdown
        from airflow_gemini_batch.canary.verdict import judge

        with self.executing(context):
            if is_missing(self.question):
                self.log.info("No question has changed, so there is no canary to judge")
                # Airflow finds no XCom that was not given, and fails the task that reads it.
                context["ti"].xcom_push(key=COMPARISON_KEY, value="")
                return NO_CANARY
            canary = replace(self.canary, golden=self.golden or self.canary.golden)
            report = self._report(canary)
            verdict = judge(report, canary)
            self.log.info("%s", log_text(report, verdict))
            address = ""
            if self.report_folder:
                name = f"canary-{report.question}.html"
                content = page(report, verdict, self.target)
                address = write_page(content, self.report_folder, name, self.hook.storage_client)
            ti = context["ti"]
            ti.xcom_push(key=REPORT_KEY, value=report.to_json())
            ti.xcom_push(key=COMPARISON_KEY, value=markdown(report, verdict, address))
            summary = self._summary(report, verdict, address)
            if not verdict.passed and canary.approve == "thresholds":
                raise CanaryNotPassedError.of(summary)
            self.tell(context, summary)
            return {
                "canary": {
                    "question": report.question,
                    **verdict.to_json(),
                    "approve": canary.approve,
                    "page": address or None,
                }
            }

    def _report(self, canary: Canary) -> CanaryReport:
        from airflow_gemini_batch.canary.compare import compare
        from airflow_gemini_batch.canary.cost import roll_out_cost, tokens_of_a_row
        from airflow_gemini_batch.canary.rows import CanaryReader
        from airflow_gemini_batch.hooks.prices import price_table
        from airflow_gemini_batch.jobs.polling import utc_now

        rest_rows, columns = self._rest_rows(), self._columns()
        reader = CanaryReader(
            key_columns(self.key),
            [column.name for column in columns],
            lambda: self.hook.storage_client,
            lambda: self.hook.bigquery_client,
            self.vector_column,
        )
        question = str(self.question)
        with as_invalid_request():
            rows = reader.read(
                question,
                self.target,
                canary_target=self.canary_target,
                failed_target=self.canary_failed_target,
                golden=canary.golden,
            )
        answers = list(rows.new.values())
        prices = price_table(self.hook.location if self.hook.has_location else "")
        return compare(
            rows,
            columns,
            question=question,
            vector=self.vector_column,
            cost=roll_out_cost(answers, rest_rows, prices, utc_now().date()),
            tokens=tokens_of_a_row(answers),
        )

    def _columns(self) -> Sequence[AnswerColumn]:
        from airflow_gemini_batch.core.response_schema import answer_columns, response_schema_of
        from airflow_gemini_batch.outputs.embeddings import embedding_columns

        if self.vector_column:
            return embedding_columns(self.vector_column)[:1]
        with as_invalid_request():
            return answer_columns(response_schema_of(self.response_schema), self.text_column)

    def _rest_rows(self) -> int | None:
        if is_missing(self.rest_rows):
            return None
        try:
            rows = int(str(self.rest_rows))
        except ValueError:
            rows = -1
        if rows < 0:
            raise InvalidRequestError(f"rest_rows: expected a number of rows, got {self.rest_rows!r:.200}")
        return rows

    def _summary(self, report: CanaryReport, verdict: Verdict, address: str) -> Summary:
        from airflow_gemini_batch.canary.settings import canary_target_of
        from airflow_gemini_batch.canary.text import cost_text, headline, sentence
        from airflow_gemini_batch.core.summary import Summary

        reasons = map(sentence, verdict.reasons)
        if self.canary.approve == "person":
            next_step = "A person decides whether the other rows are asked."
        elif verdict.passed:
            next_step = "The other rows are asked the new question."
        else:
            next_step = (
                "The answers in the target stay as they are. Correct the prompt, the model or the schema, or change "
                "the thresholds, and run again: rows that have an answer to the same question are not asked again."
            )
        return Summary(
            headline=" ".join([headline(report, verdict), *reasons]),
            rows={"answered": report.answered, **report.failed},
            cost=cost_text(report.cost),
            places={
                "Target": self.target,
                "Canary": self.canary_target or canary_target_of(self.target),
                **({"Report": address} if address else {}),
            },
            next_step=next_step,
        )


class MarkCanarySensor(ShownTexts, BaseSensorOperator):
    """Wait until a person marks this task: as success to go on, as failed to stop. For Airflow before 3.1.

    Between two looks it takes no worker's slot (``mode="reschedule"``), and needs no triggerer. Where no canary was
    judged it succeeds at once.

    :param verdict: the result of :class:`JudgeCanaryOperator`.
    """

    template_fields: Sequence[str] = ("verdict",)
    ui_color = "#fff1c9"

    def __init__(self, *, verdict: Any, **kwargs: Any) -> None:
        super().__init__(**{"mode": "reschedule", "poke_interval": _POKE_INTERVAL, **kwargs})
        self.verdict = verdict

    def poke(self, context: Context) -> bool:
        """Return whether there is nothing to decide; otherwise say what is."""
        with fail_without_retry():
            verdict = judged_canary(self.verdict)
        if verdict is None:
            self.log.info("No canary was judged, so there is nothing to decide")
            return True
        self.log.info(
            "A person has to decide whether the other rows are asked the new question. %s The log of the judgement "
            "shows the comparison%s. Mark this task as success to go on, or as failed to stop: in the grid, click on "
            "it, then on Mark state as.",
            "; ".join(verdict.get("reasons") or ["All thresholds are met."]),
            f", and so does {verdict['page']}" if verdict.get("page") else "",
        )
        return False


def approve_task(
    judge: JudgeCanaryOperator,
    *,
    task_id: str = "approve_canary",
    timeout: timedelta = DECISION_TIMEOUT,
    **kwargs: Any,
) -> BaseOperator:
    """Return the task in which a person decides, after a judgement, whether the other rows are asked.

    On Airflow 3.1 and later it is an approval in the list of required actions, with the comparison in its form: whoever
    rejects it skips the tasks that follow. On earlier ones a task waits until somebody marks it as success or failed.
    After ``timeout`` without a decision it fails. Where no canary was judged, it succeeds at once.

    :param judge: whose result it is about.
    :param kwargs: further arguments of the task, such as ``trigger_rule``.
    """
    arguments: dict[str, Any] = {
        "task_id": task_id,
        "verdict": judge.output,
        **kwargs,
    }
    if HAS_APPROVALS:
        from airflow_gemini_batch.operators.approval import ApproveCanaryOperator

        comparison = XComArg(judge, COMPARISON_KEY)
        return ApproveCanaryOperator(
            target=judge.target, comparison=comparison, response_timeout=timeout, **arguments
        )
    return MarkCanarySensor(timeout=timeout.total_seconds(), **arguments)


def judged_canary(verdict: Any) -> dict[str, Any] | None:
    """Return what the result of :class:`JudgeCanaryOperator` says; ``None`` where there was nothing to judge.

    Raises :class:`.InvalidRequestError` for what is not such a result.
    """
    if not isinstance(verdict, dict) or not isinstance(canary := verdict.get("canary", ""), dict | None):
        raise InvalidRequestError(
            f"verdict: expected the result of JudgeCanaryOperator, got {verdict!r:.200}. Clear that task"
        )
    return canary


def is_missing(value: Any) -> bool:
    """Return whether a parameter that may be a template names nothing."""
    # A template that renders texts makes one of None.
    return value is None or str(value).strip() in ("", "None")
