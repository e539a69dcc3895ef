"""Take the answers of a canary that has passed into the target."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.exceptions import as_invalid_request
from airflow_gemini_batch.operators.base import GeminiBatchOperator, key_columns
from airflow_gemini_batch.operators.canary import is_missing
from airflow_gemini_batch.operators.links import TargetLink, persist_target_links

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_gemini_batch.core.summary import Summary
    from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport


class LandCanaryOperator(GeminiBatchOperator):
    """Merge the answers of a canary that has passed into the target, so that its rows are not asked again.

    It takes the rows that have landed for the question, in this run or in earlier ones. A row takes the place of that
    with its key, unless that was answered later; where there is none, it is added. Columns that the target lacks are
    added, those that only the target has keep their values. Rows that have an answer now leave ``<target>__failed``.
    Landing twice changes nothing. Without a changed question it does nothing, and the run goes on.

    The result (XCom): ``target``, and ``landed``, the number of answers that the canary has.

    It runs when no task before it has failed (``trigger_rule="none_failed"``).

    :param question: id of the new question; ``None`` or an empty text where no question has changed.
    :param key: the column, or columns, that identify the rows, as in the build task.
    :param target: the ``bq://`` table, or the file, that takes the answers.
    :param failed_target: where its failures are; by default ``<target>__failed``.
    :param canary_target: where the canary has landed; by default ``<target>__canary``.
    :param response_schema: as in the task that landed it, like ``text_column``.
    :param vector_column: column of the vectors, of a canary of embeddings.
    :param keep_previous: how long a copy of the target as it was before is kept; without, there is none.
    """

    template_fields: Sequence[str] = (
        *GeminiBatchOperator.template_fields,
        "question",
        "key",
        "target",
        "failed_target",
        "canary_target",
        "text_column",
        "vector_column",
    )
    operator_extra_links = (TargetLink(),)

    def __init__(
        self,
        *,
        question: str | None,
        key: str | Sequence[str],
        target: str,
        failed_target: str | None = None,
        canary_target: str | None = None,
        response_schema: Any = None,
        text_column: str = "answer",
        vector_column: str | None = None,
        keep_previous: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("trigger_rule", "none_failed")
        super().__init__(**kwargs)
        self.question = question
        self.key = key
        self.target = target
        self.failed_target = failed_target
        self.canary_target = canary_target
        self.response_schema = response_schema
        self.text_column = text_column
        self.vector_column = vector_column
        self.keep_previous = keep_previous

    def execute(self, context: Context) -> dict[str, Any]:
        """Land the answers, if there is a question."""
        from airflow_gemini_batch.canary.settings import canary_target_of
        from airflow_gemini_batch.landing.canary_rows import land_canary

        with self.executing(context):
            if is_missing(self.question):
                self.log.info("No question has changed, so there are no answers of a canary to land")
                return {"target": self.target, "landed": 0}
            canary = self.canary_target or canary_target_of(self.target)
            with as_invalid_request():
                plan = self._plan(key_columns(self.key))
            report = land_canary(
                plan,
                str(self.question),
                canary,
                self.target,
                self.failed_target,
                storage_client=lambda: self.hook.storage_client,
                bigquery_client=lambda: self.hook.bigquery_client,
                log=self.log,
            )
            persist_target_links(context, report)
            self.tell(context, self._summary(report, canary))
            return {"target": report.target, "landed": report.landed}

    def _plan(self, key: tuple[str, ...]) -> LandingPlan:
        from airflow_gemini_batch.core.model_families import TEXT_EMBEDDING
        from airflow_gemini_batch.core.response_schema import answer_columns, response_schema_of
        from airflow_gemini_batch.landing.plan import LandingPlan
        from airflow_gemini_batch.outputs.embeddings import embedding_columns

        if self.vector_column:
            # All families have the same columns, and the request is not read.
            columns = embedding_columns(self.vector_column)
            return LandingPlan(key, columns, family=TEXT_EMBEDDING, keep_previous=self.keep_previous)
        schema = response_schema_of(self.response_schema)
        columns = answer_columns(schema, self.text_column)
        return LandingPlan(key, columns, schema, keep_previous=self.keep_previous)

    @staticmethod
    def _summary(report: LandingReport, canary: str) -> Summary:
        from airflow_gemini_batch.core.summary import Summary, number_of

        return Summary(
            headline=f"{number_of(report.landed, 'answer')} of the canary landed.",
            places={"Target": report.target, "Canary": canary},
            next_step="The next build leaves these rows out, unless their data changes.",
        )
