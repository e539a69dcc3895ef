"""A person approves a canary, on Airflow 3.1 and later. Nothing but ``approve_task`` imports this module."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from airflow_gemini_batch.hooks.errors import fail_without_retry
from airflow_gemini_batch.hooks.mixin import ShownTexts
from airflow_gemini_batch.operators.canary import NO_CANARY, judged_canary

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class ApproveCanaryOperator(ShownTexts, ApprovalOperator):
    """Let a person decide whether the other rows are asked the new question.

    See :func:`~airflow_gemini_batch.operators.canary.approve_task`.

    :param verdict: the result of :class:`~airflow_gemini_batch.operators.canary.JudgeCanaryOperator`.
    :param comparison: its XCom ``comparison``, the text of the form.
    :param target: whose answers are to be replaced, for the headline.
    """

    template_fields: Collection[str] = (*ApprovalOperator.template_fields, "verdict")

    def __init__(self, *, verdict: Any, comparison: Any, target: str, **kwargs: Any) -> None:
        subject = f"Ask the other rows of {target} the new question?"
        super().__init__(**{"subject": subject, "body": comparison, **kwargs})
        self.verdict = verdict

    def execute(self, context: Context) -> Any:
        """Ask, and wait for the answer."""
        with fail_without_retry():
            verdict = judged_canary(self.verdict)
        if verdict is None:
            self.log.info("No canary was judged, so there is nothing to approve")
            return NO_CANARY
        return super().execute(context)
