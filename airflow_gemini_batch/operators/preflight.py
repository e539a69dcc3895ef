"""Check a whole pipeline before its first task builds anything."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.operators.build import BuildRequestsOperator
from airflow_gemini_batch.operators.embeddings import BuildEmbeddingRequestsOperator
from airflow_gemini_batch.operators.gemini import BuildGeminiRequestsOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_gemini_batch.core.response_schema import AnswerColumn


_LONGEST_SOURCE = 200
_OWN_FIELDS = ("kms_key_name", "service_account")


class PreflightOperator(BuildRequestsOperator):
    """Report all known problems of a pipeline at once, before anything is built.

    It takes the parameters of the build task, to be combined with its class, and writes nothing:
    :func:`airflow_gemini_batch.preflight.pipeline.preflight_rows` lists the checks. What can't be checked is a warning.
    When the only errors are a missing or empty source, Airflow retries the task; after any other error it does not.

    The result (XCom): ``{"warnings": […]}``.

    :param target: a ``bq://`` table, or a ``.parquet`` or ``.jsonl`` file: ``gs://…`` or a local path.
    :param kms_key_name: as of the submit task, like ``service_account``.
    """

    template_fields: Sequence[str] = (*BuildRequestsOperator.template_fields, *_OWN_FIELDS)

    def __init__(
        self,
        *,
        target: str,
        kms_key_name: str | None = None,
        service_account: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(target=target, **kwargs)
        self.kms_key_name = kms_key_name
        self.service_account = service_account

    def _answers(self) -> Sequence[AnswerColumn]:
        """Return the columns that answers land in; those that only the land task names are left out."""
        return ()

    def execute(self, context: Context) -> dict[str, list[str]]:  # type: ignore[override] # gives no requests
        """Run all checks, log the warnings, and raise the errors as one."""
        from airflow_gemini_batch.hooks.prices import ceiling_of, price_table
        from airflow_gemini_batch.jobs.polling import utc_now
        from airflow_gemini_batch.preflight.findings import preflight_summary, raise_errors
        from airflow_gemini_batch.preflight.models import model_findings
        from airflow_gemini_batch.preflight.pipeline import preflight_rows
        from airflow_gemini_batch.requests.sources import row_source

        with self.running():
            plan = self._plan()
            needs_price = ceiling_of(self.max_cost_usd) is not None and self.unpriced != "allow"
            findings = preflight_rows(
                self.hook,
                plan,
                row_source(self.source, self.source_parameters),
                target=str(self.target),
                failed_target=self.failed_target,
                requests=self.requests,
                answers=self._answers(),
                service_account=self.service_account,
                kms_key_name=self.kms_key_name,
            )
            findings += model_findings(plan.model, price_table(), utc_now().date(), needs_price=needs_price)
            raise_errors(findings, self.log.warning)
            self.tell(context, preflight_summary(findings, self._places()))
            return {"warnings": [str(finding) for finding in findings]}

    def _places(self) -> dict[str, str]:
        source = self.source if isinstance(self.source, str) else ""
        # Of a query the beginning; of rows nothing.
        source = textwrap.shorten(source, _LONGEST_SOURCE, placeholder=" …")
        places = {"Source": source, "Requests": self.requests, "Target": self.target}
        return {name: str(place) for name, place in places.items() if place}


class PreflightGeminiBatchOperator(PreflightOperator, BuildGeminiRequestsOperator):
    """Check a pipeline of Gemini batch jobs, with the parameters of :class:`.BuildGeminiRequestsOperator`."""

    template_fields: Sequence[str] = (*BuildGeminiRequestsOperator.template_fields, *_OWN_FIELDS)

    def _answers(self) -> Sequence[AnswerColumn]:
        from airflow_gemini_batch.core.response_schema import answer_columns, response_schema_of

        schema = response_schema_of(self.response_schema)
        # Without a schema, the land task names the only column.
        return answer_columns(schema) if schema else ()


class PreflightTextEmbeddingBatchOperator(PreflightOperator, BuildEmbeddingRequestsOperator):
    """Check a pipeline of embedding jobs, with the parameters of :class:`.BuildEmbeddingRequestsOperator`."""

    template_fields: Sequence[str] = (*BuildEmbeddingRequestsOperator.template_fields, *_OWN_FIELDS)

    def _answers(self) -> Sequence[AnswerColumn]:
        from airflow_gemini_batch.outputs.embeddings import embedding_columns

        # The land task names the first column, which holds the vectors.
        return embedding_columns("")[1:]
