"""Vertex AI behind ``@task.llm_batch``: an adapter that the provider common-ai finds by its entry point.

Its interface is experimental. It imports that provider, so nothing else imports this module.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from airflow.providers.common.ai.batch.base import (
    BatchAdapter,
    BatchState,
    ExtractedOutput,
    RawResultItem,
    SubmitResult,
)
from airflow.providers.common.ai.exceptions import (
    LLMBatchInputError,
    LLMBatchLimitExceededError,
    LLMBatchModelMismatchError,
)

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.core.defaults import DEFAULT_CONNECTION
from airflow_gemini_batch.core.labels import IDENTITY_LABEL
from airflow_gemini_batch.core.log import ShownLog
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, LARGEST_FILE
from airflow_gemini_batch.core.models import model_resource_name
from airflow_gemini_batch.core.response_schema import response_schema_of
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.jobs.client import JobQuery
from airflow_gemini_batch.jobs.failures import end_of
from airflow_gemini_batch.jobs.identity import display_name
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.jobs.polling import utc_now
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.jobs.submission import JobRequest, output_address, parse_requests
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.requests.files.importable import importable_template
from airflow_gemini_batch.requests.files.shards import RequestFiles
from airflow_gemini_batch.requests.lines import PROMPT, request_line
from airflow_gemini_batch.requests.prompts import Placeholder, PromptTemplate
from airflow_gemini_batch.requests.templates import BadRowError, RequestTemplate, gemini_request
from airflow_gemini_batch.requests.validation.import_rules import ImportedLines
from airflow_gemini_batch.responses import Response, iter_responses

if TYPE_CHECKING:
    from airflow.providers.common.ai.batch.base import BatchRequest
    from airflow.providers.common.ai.batch.output_schema import OutputSpec

_log = ShownLog(logging.getLogger(__name__))

_CLOCK_SKEW = timedelta(days=1)
# What the task sets itself, in the forms that a generation config takes.
_MANAGED = frozenset(
    {
        "maxOutputTokens",
        "max_output_tokens",
        "responseMimeType",
        "response_mime_type",
        "responseSchema",
        "response_schema",
        "responseJsonSchema",
        "response_json_schema",
    }
)
_PROMPT = PromptTemplate((Placeholder(PROMPT),))


class VertexBatchAdapter(BatchAdapter):  # type: ignore[misc] # that provider is not there where types are checked
    """Run the prompts of ``@task.llm_batch`` as a batch job on Vertex AI.

    The task's ``model_id`` is that of ``@task.llm``: ``google-cloud:gemini-3.8-flash``.

    An adapter gets no more of the task's connection than its password and its host. So the host says where the requests
    and answers go, and which connection of Google Cloud to use: ``gs://BUCKET/FOLDER?gcp_conn_id=NAME&location=PLACE``;
    the connection is ``google_cloud_default`` unless it is named, and the location is the connection's.

    There is one job for a task: rows that failed are not sent again. A job that the service does not find is unknown,
    not gone, so it is never submitted again by itself.

    :param base_url: the host of the connection.
    """

    name = "google-cloud"
    conn_types = frozenset({"pydanticai", "pydanticai_vertex"})
    max_requests = GENERATE_CONTENT.max_rows
    max_payload_bytes = LARGEST_FILE
    allows_per_request_model = False

    def __init__(
        self, *, api_key: str | None = None, base_url: str | None = None, client: Any | None = None
    ) -> None:
        super().__init__(api_key=api_key, base_url=base_url, client=client)
        self._folder, self._gcp_conn_id, self._location = _place_of(base_url or "")

    @cached_property
    def _hook(self) -> GeminiBatchHook:
        return GeminiBatchHook(self._gcp_conn_id, location=self._location)

    def validate_requests(
        self,
        requests: list[BatchRequest],
        *,
        model: str,
        output_spec: OutputSpec,
        idempotency_key: str,
        **settings: Any,
    ) -> None:
        """Raise ``LLMBatchInputError`` for requests that one job does not take."""
        if len(requests) > self.max_requests:
            raise LLMBatchLimitExceededError(
                f"A batch job takes {self.max_requests:,} requests, got {len(requests):,}. Divide them with .expand()"
            )
        try:
            model_resource_name(model)
        except ValueError as error:
            raise LLMBatchInputError(str(error)) from None
        size = 0
        for number, line in enumerate(
            self._lines(requests, model, output_spec, idempotency_key, settings), 1
        ):
            size += len(line)
            if size > self.max_payload_bytes:
                raise LLMBatchLimitExceededError(
                    f"A batch job takes {self.max_payload_bytes:,} bytes, and the first {number:,} of "
                    f"{len(requests):,} requests have {size:,}. Divide them with .expand()"
                )

    def submit(
        self,
        requests: list[BatchRequest],
        *,
        model: str,
        idempotency_key: str,
        input_fingerprint: str,
        output_spec: OutputSpec,
        **settings: Any,
    ) -> SubmitResult:
        """Write the requests to Cloud Storage and create the job: one call, never repeated."""
        with RequestFiles(max_rows=self.max_requests, max_bytes=self.max_payload_bytes) as files:
            files.write_all(self._lines(requests, model, output_spec, idempotency_key, settings))
            sources = parse_requests(files.upload(self._hook.storage_client, self._folder, _log))
        identity = _identity(idempotency_key, input_fingerprint)
        job = self._hook.get_conn().create(
            JobRequest(
                model=model_resource_name(model),
                requests=sources,
                destination=output_address(sources[0], None, identity, 0),
                display_name=display_name("llm_batch", identity),
                labels={IDENTITY_LABEL: identity},
                model_parameters={},
            )
        )
        return SubmitResult(batch_id=str(job.name), provider_input_ref=str(sources[0]))

    def get_batch(self, batch_id: str) -> BatchState:
        """Return the state of a job."""
        job = self._job(batch_id)
        message = f"The batch job {end_of(job)}: {job.error or 'no reason is given'}"
        if job.state.stage.waits:
            return BatchState("in_progress", None, None)
        ended = {JobState.CANCELLED: "cancelled", JobState.EXPIRED: "expired"}.get(job.state)
        if ended:
            return BatchState(ended, {ended: job.incomplete_count or 0}, message)
        if job.state in (JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED) or job.successful_count:
            # Answers of a job that failed are paid for, and the state "failed" would drop them.
            return BatchState("completed", None, None)
        return BatchState("failed", None, message)

    def cancel_batch(self, batch_id: str) -> None:
        """Ask for a job to be cancelled; its finished rows are kept, and billed."""
        name = self._hook.job_name(batch_id)
        self._hook.get_conn(name).cancel(name)

    def iter_results(self, batch_id: str) -> Iterator[RawResultItem]:
        """Return what came back for each request, matched by its key or by its content."""
        job = self._job(batch_id)
        if job.output is None:
            return iter(())
        round_ = Round.of(job, job.requests, Tally())
        manifest = Manifest("", job.model, job.name.console_url, {}, (round_,)).to_json()
        return map(_result, iter_responses(manifest, gcp_conn_id=self._gcp_conn_id))

    def build_output_directive(self, spec: OutputSpec) -> dict[str, Any]:
        """Return the fields of a generation config that ask for JSON of a schema."""
        if not spec.is_structured:
            return {}
        return {
            "responseMimeType": "application/json",
            "responseSchema": response_schema_of(spec.json_schema),
        }

    def extract_output(self, raw: RawResultItem, spec: OutputSpec) -> ExtractedOutput:
        """Return the answer, without the model's thoughts."""
        text = raw.raw.text
        if not text:
            return ExtractedOutput("absent")
        return ExtractedOutput("json_text" if spec.is_structured else "text", text=text)

    def find_orphaned_batch(
        self, idempotency_key: str, input_fingerprint: str, not_before: str
    ) -> str | None:
        """Return the newest job that carries the label of this submission."""
        labels = {IDENTITY_LABEL: _identity(idempotency_key, input_fingerprint)}
        since = datetime.fromisoformat(not_before)
        query = JobQuery(labels=labels, created=(since, utc_now() + _CLOCK_SKEW))
        for job in self._hook.get_conn().list(query):
            if labels.items() <= job.labels.items() and job.create_time and job.create_time >= since:
                return str(job.name)
        return None

    def _job(self, batch_id: str) -> BatchJob:
        name = self._hook.job_name(batch_id)
        return self._hook.get_conn(name).get(name)

    def _lines(
        self,
        requests: Sequence[BatchRequest],
        model: str,
        spec: OutputSpec,
        key: str,
        settings: Mapping[str, Any],
    ) -> Iterator[bytes]:
        templates: dict[str, RequestTemplate] = {}
        imported = ImportedLines()
        directive = self.build_output_directive(spec)
        for index, request in enumerate(requests):
            asked = self.resolve_request_model(
                request.get("model"), default_bare_model=model, request_index=index
            )
            if asked != model:
                raise LLMBatchModelMismatchError(
                    f"Request {index} asks {asked}, and all requests of a job ask one model: {model}"
                )
            system_prompt = request.get("system_prompt") or settings.get("system_prompt") or None
            given = {**(settings.get("request_params") or {}), **(request.get("params") or {})}
            config = {
                **{name: value for name, value in given.items() if name not in _MANAGED},
                "maxOutputTokens": request.get("max_tokens") or settings.get("max_tokens"),
                **directive,
            }
            try:
                made_of = json.dumps([system_prompt, config], sort_keys=True, default=str)
                is_new = made_of not in templates
                if is_new:
                    templates[made_of] = _template(system_prompt, config)
                line = request_line(f"{key}-{index}", templates[made_of].fill({PROMPT: request["prompt"]}))
                if is_new and (faults := imported.add(json.loads(line), f"request {index}")):
                    raise ValueError("; ".join(map(str, faults)))
                yield line
            except (ValueError, BadRowError) as error:
                raise LLMBatchInputError(f"Request {index}: {error}") from None


def _place_of(host: str) -> tuple[GcsAddress, str, str | None]:
    """Return folder, connection and location that the host of a connection names."""
    address, _, query = host.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = options.keys() - {"gcp_conn_id", "location"}
    try:
        if unknown or not address.startswith("gs://"):
            raise ValueError
        return (
            GcsAddress.parse(address),
            options.get("gcp_conn_id", DEFAULT_CONNECTION),
            options.get("location"),
        )
    except ValueError:
        raise LLMBatchInputError(
            "The host of the connection has to be gs://BUCKET/FOLDER, with ?gcp_conn_id=NAME&location=PLACE behind it "
            f"if need be, got {host!a:.200}"
        ) from None


def _template(system_prompt: str | None, config: Mapping[str, Any]) -> RequestTemplate:
    template = gemini_request(_PROMPT, system_instruction=system_prompt, generation_config=config)
    return importable_template(template, GENERATE_CONTENT)


def _identity(key: str, fingerprint: str) -> str:
    """Return 32 hexadecimal digits for a submission."""
    return hashlib.sha256(f"{key} {fingerprint}".encode()).hexdigest()[:32]


def _result(response: Response) -> RawResultItem:
    candidates = response.response.get("candidates")
    finish = candidates[0].get("finishReason") if candidates else None
    answered = response.outcome.answered
    return RawResultItem(
        custom_id=response.key,
        index=int(response.key.rpartition("-")[2]),
        provider_status="success" if answered else "errored",
        model=response.response.get("modelVersion"),
        usage={
            "input_tokens": _tokens(response, "batch_prompt_tokens", "batch_tool_tokens"),
            "output_tokens": _tokens(response, "batch_output_tokens", "batch_thoughts_tokens"),
        },
        finish_reason=finish,
        error=None
        if answered
        else {
            "type": str(response.outcome),
            "message": response.message,
            "provider_code": None,
            "stage": "provider",
        },
        raw=response,
    )


def _tokens(response: Response, *columns: str) -> int:
    counts = response.response.get("usageMetadata") or {}
    return sum(counts.get(TOKEN_COLUMNS[column]) or 0 for column in columns)
