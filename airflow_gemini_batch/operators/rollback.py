"""Take back the answers to a question: the target is as it was before, and nothing is paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_gemini_batch.operators.assets import target_outlets
from airflow_gemini_batch.operators.base import GeminiBatchOperator, key_columns

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class RollbackOperator(GeminiBatchOperator):
    """Bring the rows of a target back as they were before a question was asked, without asking a model.

    A land task with ``keep_previous`` copies the target before the first answers to a new question land. From this copy
    come the rows that answer the question now, with all their columns. Rows that answer other questions stay as they
    are. All rows change at once, or none does. Before, the target is copied to ``<target>__before_rollback_…``, from
    which ``undo=True`` takes the rollback back.

    The DAG that fills the target asks its own question in its next run: give it the former prompt and model first.

    The result (XCom): ``target``, ``copy``, ``question``, ``restored``, ``added``, ``removed``, ``kept`` (numbers of
    rows), ``saved`` (the copy that was made before), among others.

    :param target: a ``bq://`` table, or a ``.parquet`` or ``.jsonl`` file: ``gs://…`` or a local path.
    :param key: the column, or columns, that identify the rows, as in the land task.
    :param question: which answers are taken back: the value of ``batch_question``, or its first 8 digits. By default
        those of the newest copy.
    :param new_rows: ``keep`` or ``remove`` the rows that answer the question and are not in the copy.
    :param undo: take a rollback back: the rows that it has replaced or removed, unless they were answered since.
    """

    template_fields: Sequence[str] = (*GeminiBatchOperator.template_fields, "target", "key", "question")

    def __init__(
        self,
        *,
        target: str,
        key: str | Sequence[str],
        question: str | None = None,
        new_rows: Literal["keep", "remove"] = "keep",
        undo: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("outlets", target_outlets(target))
        super().__init__(**kwargs)
        self.target = target
        self.key = key
        self.question = question
        self.new_rows = new_rows
        self.undo = undo

    def execute(self, context: Context) -> dict[str, Any]:
        """Bring the rows back."""
        from airflow_gemini_batch.landing.rollback import rollback
        from airflow_gemini_batch.operators.assets import add_event

        with self.executing(context):
            change = rollback(
                self.target,
                key_columns(self.key),
                lambda: self.hook.storage_client,
                lambda: self.hook.bigquery_client,
                self.log,
                question=self.question or None,
                new_rows=self.new_rows,
                undo=self.undo,
            )
            result = change.to_json()
            if change.changes:
                add_event(context, self.target, {"rollback": result})
            self.tell(context, change.summary)
            return result
