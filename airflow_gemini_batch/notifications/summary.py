"""Send the summary of a task to people who do not read logs."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseNotifier

from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.exceptions import GeminiBatchError
from airflow_gemini_batch.operators.base import SUMMARY_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class SummaryNotifier(BaseNotifier):
    """Send the summary of a task: which task has ended how, the block of its log, and the log's address.

    For ``on_success_callback``, ``on_failure_callback`` and ``on_retry_callback`` of tasks. The block is that of the
    XCom ``summary``: it holds no prompt, key or message of a row. An error without one is told by its kind alone.

    :param send: another notifier, in whose templates ``{{ summary }}`` is the text; or a function that takes it.
    """

    def __init__(self, *, send: BaseNotifier | Callable[[str], Any]) -> None:
        super().__init__()
        self.send = send

    def notify(self, context: Context) -> None:
        """Send the summary of the task that has ended."""
        text = self.text(context)
        if not isinstance(self.send, BaseNotifier):
            self.send(text)
            return
        context["summary"] = text  # type: ignore[typeddict-unknown-key] # for the templates
        # A notifier keeps what its templates have become, and would send it for the next task again.
        copy.copy(self.send)(context)

    def text(self, context: Context) -> str:
        """Return the text that is sent."""
        ti = context.get("ti")
        if ti is None:
            # The callback of a whole DAG, in some releases.
            return f"A run of {getattr(context.get('dag'), 'dag_id', 'a DAG')} has ended: {context.get('reason')}"
        state = getattr(ti.state, "value", ti.state)
        index = "" if ti.map_index in (None, -1) else f" [{ti.map_index}]"
        lines = [f"{ti.dag_id}.{ti.task_id}{index}: {state}", f"Run {ti.run_id}", self._block(context, ti)]
        if url := getattr(ti, "log_url", ""):
            lines.append(f"Log {url}")
        return "\n".join(lines)

    def _block(self, context: Context, ti: Any) -> str:
        try:
            block = ti.xcom_pull(task_ids=ti.task_id, key=SUMMARY_KEY, map_indexes=ti.map_index)
        except Exception as error:
            self.log.warning("The summary of %s could not be read: %s", ti.task_id, shown(str(error)))
            return "Its summary could not be read. The log has it."
        if block:
            return str(block)
        failure: Any = context.get("exception")
        if failure is None:
            return "It has no summary."
        # Of an error that another try can't fix, Airflow gets another one: see hooks.errors.
        kind = type(failure.__context__ if isinstance(failure.__context__, GeminiBatchError) else failure)
        told = inspect.getdoc(kind) if issubclass(kind, GeminiBatchError) else ""
        first = (told or f"{kind.__name__}.").partition("\n")[0]
        return f"{first} The log says more."
