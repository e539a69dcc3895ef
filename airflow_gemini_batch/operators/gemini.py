"""Batch jobs for text, images, audio and video with Gemini: build requests, submit them, land the answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.exceptions import as_invalid_request
from airflow_gemini_batch.operators.build import BuildRequestsOperator
from airflow_gemini_batch.operators.land import LandResultsOperator
from airflow_gemini_batch.operators.submit import SubmitBatchJobOperator

if TYPE_CHECKING:
    from airflow_gemini_batch.core.model_families import ModelFamily
    from airflow_gemini_batch.costs.estimate import OutputLimits
    from airflow_gemini_batch.landing.plan import LandingPlan
    from airflow_gemini_batch.requests.parameters import RequestParts
    from airflow_gemini_batch.requests.templates import RequestTemplate


class BuildGeminiRequestsOperator(BuildRequestsOperator):
    """Make one ``generateContent`` request of each row that needs an answer.

    Example::

        build = BuildGeminiRequestsOperator(
            task_id="build_requests",
            source="bq://my-shop.books.books",
            key="book_id",
            prompt="Describe [[ title ]] by [[ authors | an unknown author ]] in two sentences.",
            model="gemini-3.8-flash",
            response_schema={"description": str, "genres": list[str]},
            target="bq://my-shop.books.descriptions",
        )

    :param prompt: text with a placeholder ``[[ column ]]`` for each value of the row; ``[[ column | text ]]`` says
        what stands for NULL. Airflow's own ``{{ … }}`` is rendered before. Values are taken as they are, whatever
        characters they hold.
    :param system_instruction: what holds for all rows: a text, or a ``Content``. This parameter, the generation config,
        the safety settings and the tools may be objects of ``google.genai.types`` as well.
    :param generation_config: ``GenerationConfig`` fields, such as ``{"temperature": 0.2, "maxOutputTokens": 512}``, or
        a ``GenerateContentConfig``.
    :param response_schema: what an answer is made of: a Pydantic model, a dataclass, a dict of names and types, or a
        JSON schema. It is sent in the form that batch jobs take.
    :param safety_settings: list of ``{"category": …, "threshold": …}``.
    :param media: columns that hold addresses (``gs://`` or https) of images, audio, video or documents: a list of
        names, or a dict with their MIME types (``None``: told by each file's ending). A NULL leaves the file out.
    :param media_prefixes: what these addresses may begin with, such as ``["gs://shop/", "https://img.shop.example/"]``;
        a row with another one is bad. By default any bucket and any public host.
    :param tools: list of ``Tool`` objects.
    """

    template_fields: Sequence[str] = (
        *BuildRequestsOperator.template_fields,
        "prompt",
        "system_instruction",
        "generation_config",
        "safety_settings",
        "media",
        "media_prefixes",
        "tools",
    )

    def __init__(
        self,
        *,
        prompt: str,
        system_instruction: Any = None,
        generation_config: Any = None,
        response_schema: Any = None,
        safety_settings: Any = None,
        media: Sequence[str] | Mapping[str, str | None] | None = None,
        media_prefixes: str | Sequence[str] | None = None,
        tools: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.system_instruction = system_instruction
        self.generation_config = generation_config
        self.response_schema = response_schema
        self.safety_settings = safety_settings
        self.media = media
        self.media_prefixes = media_prefixes
        self.tools = tools
        _check_schema(response_schema)

    def _family(self) -> ModelFamily:
        return _generation_family(self.model)

    def _template(self) -> RequestTemplate:
        from airflow_gemini_batch.core.response_schema import response_schema_of
        from airflow_gemini_batch.requests.prompts import PromptTemplate
        from airflow_gemini_batch.requests.templates import gemini_request

        media = [self.media] if isinstance(self.media, str) else self.media or ()
        return gemini_request(
            PromptTemplate.parse(self.prompt),
            system_instruction=self.system_instruction,
            generation_config=self.generation_config,
            response_schema=response_schema_of(self.response_schema),
            safety_settings=self.safety_settings,
            media=media if isinstance(media, Mapping) else dict.fromkeys(media),
            media_prefixes=self.media_prefixes,
            tools=self.tools,
        )

    def _fixed_characters(self) -> int:
        return self._parts().instruction_characters

    def _parts(self) -> RequestParts:
        from airflow_gemini_batch.requests.parameters import request_parts

        return request_parts(
            system_instruction=self.system_instruction,
            generation_config=self.generation_config,
            safety_settings=self.safety_settings,
            tools=self.tools,
        )

    def _output_limits(self) -> OutputLimits:
        from airflow_gemini_batch.costs.request_size import output_limits

        parts = self._parts()
        return replace(output_limits(parts.generation_config), tools=bool(parts.tools))


class SubmitGeminiBatchOperator(SubmitBatchJobOperator):
    """Run ``generateContent`` requests as one Gemini batch job and return where the answers are.

    Files hold one ``{"request": {GenerateContentRequest}}`` a line; a table holds it in the column ``request``
    (STRING or JSON), and its other columns come back beside the answer. Up to 200,000 requests a job; see
    https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-gemini
    """

    def _family(self) -> ModelFamily:
        return _generation_family(self.model)


class LandGeminiResultsOperator(LandResultsOperator):
    """Merge the answers of Gemini jobs into a table or a file: typed columns, matched by key.

    :param response_schema: as in the build task. Each field is a column: text, numbers, true or false, and lists of
        these are typed, what is nested deeper is JSON. An answer that does not fit is *invalid*, and fails.
    :param text_column: without a schema, the column that the answer's text lands in.
    """

    template_fields: Sequence[str] = (*LandResultsOperator.template_fields, "text_column")

    def __init__(self, *, response_schema: Any = None, text_column: str = "answer", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.response_schema = response_schema
        self.text_column = text_column
        _check_schema(response_schema)

    def _plan(self, key: tuple[str, ...], models: Collection[str]) -> LandingPlan:
        from airflow_gemini_batch.core.response_schema import answer_columns, response_schema_of
        from airflow_gemini_batch.landing.plan import LandingPlan

        schema = response_schema_of(self.response_schema)
        return LandingPlan(key, answer_columns(schema, self.text_column), schema, self.bookkeeping)


def _check_schema(response_schema: Any) -> None:
    """Raise :class:`.InvalidRequestError` for a schema that can't be sent or landed."""
    if response_schema is None:
        return
    from airflow_gemini_batch.core.response_schema import answer_columns, response_schema_of

    with as_invalid_request():
        answer_columns(response_schema_of(response_schema))


def _generation_family(model: str) -> ModelFamily:
    """Return the family of a model that generates; raises :class:`ValueError` for an embedding model."""
    from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, family_of

    # Whether it is the name of a model at all is looked at together with everything else.
    if family_of(str(model)) is not GENERATE_CONTENT:
        raise ValueError(
            f"{model} is an embedding model: use BuildEmbeddingRequestsOperator and SubmitTextEmbeddingBatchOperator"
        )
    return GENERATE_CONTENT
