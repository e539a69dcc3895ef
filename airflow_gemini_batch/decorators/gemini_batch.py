"""``@task.gemini_batch``: the function returns prompts, and the task returns where the answers are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    DecoratedOperator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from airflow_gemini_batch.exceptions import InvalidRequestError, as_invalid_request
from airflow_gemini_batch.operators.gemini import SubmitGeminiBatchOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, TaskDecorator


class GeminiBatchDecoratedOperator(DecoratedOperator, SubmitGeminiBatchOperator):
    """Call the function, stream its prompts to Cloud Storage, submit them as one job and wait for its end.

    It also takes all parameters of :class:`~airflow_gemini_batch.operators.gemini.SubmitGeminiBatchOperator`.

    :param requests: ``gs://`` folder for the request files. Their names depend on their content: the same prompts in
        another try give the same file, so that try finds the job that is already paid for.
    :param system_instruction: added to all prompts that are texts, as are ``generation_config``, ``response_schema``
        and ``safety_settings``; see :class:`~airflow_gemini_batch.operators.gemini.BuildGeminiRequestsOperator`.
        Whole requests are sent as they are, but for tools without a field: see
        :func:`airflow_gemini_batch.requests.validation.import_rules.importable_tools`.
    """

    custom_operator_name = "@task.gemini_batch"
    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in SubmitGeminiBatchOperator.template_fields if name != "requests"),
        "requests",
        "system_instruction",
        "generation_config",
        "safety_settings",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"op_args": "py", "op_kwargs": "py"}
    shallow_copy_attrs: Sequence[str] = ("python_callable",)

    def __init__(
        self,
        *,
        requests: str,
        system_instruction: Any = None,
        generation_config: Any = None,
        response_schema: Any = None,
        safety_settings: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(requests=requests, **kwargs)
        self._written: Sequence[str] = ()
        self.system_instruction = system_instruction
        self.generation_config = generation_config
        self.response_schema = response_schema
        self.safety_settings = safety_settings

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the requests, then submit them."""
        with self.running():
            self._written = self._write_requests(context)
        return SubmitGeminiBatchOperator.execute(self, context)

    def resume(self, context: Context, event: dict[str, Any], adopted: bool = False) -> dict[str, Any]:
        """Continue after the wait. The jobs say where the requests are, so the function is not called again."""
        from airflow_gemini_batch.jobs.identity import RoundId

        with self.running():
            name = self.hook.job_name(event["job_name"])
            job = self.hook.get_conn(name).get(name)
            while after := RoundId.of(job).after:
                job = self.hook.get_conn(name).get(name.sibling(after))
            self._written = job.requests
        return SubmitGeminiBatchOperator.resume(self, context, event, adopted)

    def _requests(self) -> Sequence[str]:
        return self._written

    def _write_requests(self, context: Context) -> list[str]:
        from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, LARGEST_FILE
        from airflow_gemini_batch.core.response_schema import response_schema_of
        from airflow_gemini_batch.requests.build import request_folder
        from airflow_gemini_batch.requests.files.importable import importable_template
        from airflow_gemini_batch.requests.files.shards import RequestFiles
        from airflow_gemini_batch.requests.lines import PROMPT, prompt_lines
        from airflow_gemini_batch.requests.prompts import Placeholder, PromptTemplate
        from airflow_gemini_batch.requests.templates import gemini_request

        with as_invalid_request():
            folder = request_folder(str(self.requests), None)
            template = gemini_request(
                PromptTemplate((Placeholder(PROMPT),)),
                system_instruction=self.system_instruction,
                generation_config=self.generation_config,
                response_schema=response_schema_of(self.response_schema),
                safety_settings=self.safety_settings,
            )
        template = importable_template(template, GENERATE_CONTENT)
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        max_rows = GENERATE_CONTENT.max_rows
        with RequestFiles(max_rows=max_rows, max_bytes=LARGEST_FILE) as files:
            files.write_all(prompt_lines(self.python_callable(*self.op_args, **kwargs), template))
            if not len(files):
                raise InvalidRequestError(
                    f"{self.python_callable.__name__} returned no prompts, so there is nothing to submit"
                )
            if len(files) > max_rows:
                raise InvalidRequestError(
                    f"{self.python_callable.__name__} returned {len(files):,} prompts, and one job takes "
                    f"{max_rows:,}. Divide them among several mapped tasks"
                )
            return files.upload(self.hook.storage_client, folder, self.log)


def gemini_batch_task(
    python_callable: Callable[..., Any] | None = None, multiple_outputs: bool | None = None, **kwargs: Any
) -> TaskDecorator:
    """Make a task of a function that returns prompts; see :class:`GeminiBatchDecoratedOperator`.

    The function returns or yields prompts: a dict of keys and prompts, or an iterable of prompts or of pairs of key and
    prompt, where a prompt is a text or a whole ``GenerateContentRequest``. The task's result is the manifest, which
    :func:`airflow_gemini_batch.iter_responses` reads::

        @task.gemini_batch(model="gemini-3.8-flash", requests="gs://shop/prompts", location="us-central1")
        def ask():
            for book in books:
                yield book.isbn, f"Describe {book.title}."
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=GeminiBatchDecoratedOperator,
        **kwargs,
    )
