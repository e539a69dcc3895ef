"""``@task.gemini_batch``: a function gives the prompts, its task's result is where the answers are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    DecoratedOperator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.hooks.errors import fail_without_retry
from airflow_gemini_batch.operators.gemini import SubmitGeminiBatchOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, TaskDecorator


class GeminiBatchDecoratedOperator(DecoratedOperator, SubmitGeminiBatchOperator):
    """Call the function, stream what it gives to Cloud Storage, submit it as one job and wait for its end.

    Besides these, all parameters of :class:`~airflow_gemini_batch.operators.gemini.SubmitGeminiBatchOperator`
    but its ``requests``, which the function makes.

    :param requests: ``gs://`` folder for the request files. They are named by their content: the same prompts in
        another try are the same file, and the job that was paid for is found again.
    :param system_instruction: what holds for all prompts that are texts; likewise ``generation_config``,
        ``response_schema`` and ``safety_settings``, see
        :class:`~airflow_gemini_batch.operators.gemini.BuildGeminiRequestsOperator`. Whole requests are sent as
        they are.
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
        system_instruction: str | None = None,
        generation_config: Mapping[str, Any] | None = None,
        response_schema: Any = None,
        safety_settings: Sequence[Mapping[str, Any]] | None = None,
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
        with fail_without_retry():
            self._written = self._write_requests(context)
        return SubmitGeminiBatchOperator.execute(self, context)

    def resume(self, context: Context, event: dict[str, Any], adopted: bool = False) -> dict[str, Any]:
        """Go on after the wait; the jobs say where the requests are, so that the function is not called again."""
        from dataclasses import replace

        from airflow_gemini_batch.jobs.follow_ups import RoundId
        from airflow_gemini_batch.jobs.state import JobName

        with fail_without_retry():
            name = JobName.parse(event["job_name"])
            job = self.hook.get_conn(name).get(name)
            while after := RoundId.of(job).after:
                job = self.hook.get_conn(name).get(replace(name, job_id=after))
            self._written = [str(source) for source in job.sources]
        return SubmitGeminiBatchOperator.resume(self, context, event, adopted)

    def _requests(self) -> Sequence[str]:
        return self._written

    def _write_requests(self, context: Context) -> list[str]:
        from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, LARGEST_FILE
        from airflow_gemini_batch.core.response_schema import response_schema_of
        from airflow_gemini_batch.requests.build import request_folder
        from airflow_gemini_batch.requests.files.shards import RequestFiles
        from airflow_gemini_batch.requests.lines import PROMPT, prompt_lines
        from airflow_gemini_batch.requests.prompts import Placeholder, PromptTemplate
        from airflow_gemini_batch.requests.templates import gemini_request

        try:
            folder = request_folder(str(self.requests), None)
            template = gemini_request(
                PromptTemplate((Placeholder(PROMPT),)),
                system_instruction=self.system_instruction,
                generation_config=self.generation_config,
                response_schema=response_schema_of(self.response_schema),
                safety_settings=self.safety_settings,
            )
        except ValueError as error:
            raise InvalidRequestError(str(error)) from None
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        most = GENERATE_CONTENT.max_rows
        with RequestFiles(max_rows=most, max_bytes=LARGEST_FILE) as files:
            files.write_all(prompt_lines(self.python_callable(*self.op_args, **kwargs), template))
            if not len(files):
                raise InvalidRequestError(
                    f"{self.python_callable.__name__} gave no prompts: there is nothing to submit"
                )
            if len(files) > most:
                raise InvalidRequestError(
                    f"{self.python_callable.__name__} gave {len(files):,} prompts, and one job takes {most:,}: give "
                    "them in several mapped tasks"
                )
            return files.upload(self.hook.storage_client, folder, self.log)


def gemini_batch_task(
    python_callable: Callable[..., Any] | None = None, multiple_outputs: bool | None = None, **kwargs: Any
) -> TaskDecorator:
    """Make a task of a function that gives prompts; see :class:`GeminiBatchDecoratedOperator`.

    The function returns or yields prompts: a dict of keys and prompts, or an iterable of prompts or of pairs of key and
    prompt, where a prompt is a text or a whole ``GenerateContentRequest``. The task's result is the manifest, which
    :func:`airflow_gemini_batch.iter_responses` reads::

        @task.gemini_batch(model="gemini-2.5-flash", requests="gs://shop/prompts", location="us-central1")
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
