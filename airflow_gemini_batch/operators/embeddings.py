"""Batch jobs for text embeddings: build requests, submit them, land the vectors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.operators.build import BuildRequestsOperator
from airflow_gemini_batch.operators.land import LandResultsOperator
from airflow_gemini_batch.operators.submit import SubmitBatchJobOperator

if TYPE_CHECKING:
    from airflow_gemini_batch.core.model_families import ModelFamily
    from airflow_gemini_batch.landing.plan import LandingPlan
    from airflow_gemini_batch.requests.templates import RequestTemplate
    from airflow_gemini_batch.requests.validation.embed_content import TaskType


class BuildEmbeddingRequestsOperator(BuildRequestsOperator):
    """Make one request of each row whose text needs a vector, in the form that the family of the model reads.

    Example::

        build = BuildEmbeddingRequestsOperator(
            task_id="build_requests",
            source="bq://my-shop.books.books",
            key="book_id",
            text="[[ title ]] by [[ authors | an unknown author ]]: [[ description ]]",
            model="gemini-embedding-001",
            output_dimensionality=768,
            requests="gs://shop-batch/requests",
            target="bq://my-shop.books.vectors",
        )

    :param text: the column to embed, or a template with a placeholder ``[[ column ]]`` for each of several;
        ``[[ column | text ]]`` says what stands for NULL.
    :param task_type: what the vectors are for: ``RETRIEVAL_DOCUMENT``, ``RETRIEVAL_QUERY``, ``SEMANTIC_SIMILARITY``,
        ``CLASSIFICATION``, ``CLUSTERING``, ``QUESTION_ANSWERING``, ``FACT_VERIFICATION`` or
        ``CODE_RETRIEVAL_QUERY``; ``None`` leaves it to the model. The models ``gemini-embedding-2…`` read it in the
        text: of documents it is written there, for anything else write it yourself and give ``None``.
    :param title: the documents' title: a column, or a template.
    :param output_dimensionality: length of the vectors; by default as long as the model makes them. For text-embedding
        models it is a parameter of the job: give it to the submit task as well.
    :param request_format: for a model that is not known by its name (a tuned one, say): ``text_embedding`` or
        ``gemini_embedding``. Models of the second kind read their settings in ``embed_content_config``, as Google's
        page shows it; ``flat`` writes them beside the content, ``nested`` says what is the default. Another format is
        another request: rows are asked again.
    """

    template_fields: Sequence[str] = (
        *BuildRequestsOperator.template_fields,
        "text",
        "title",
        "request_format",
    )

    def __init__(
        self,
        *,
        text: str,
        task_type: TaskType | None = "RETRIEVAL_DOCUMENT",
        title: str | None = None,
        output_dimensionality: int | None = None,
        request_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.text = text
        # The name `task_type` is taken by Airflow, for the name of the class.
        self.embedding_task = task_type
        self.title = title
        self.output_dimensionality = output_dimensionality
        self.request_format = request_format

    def _family(self) -> ModelFamily:
        from airflow_gemini_batch.requests.embeddings import embedding_family

        return embedding_family(self.model, self.request_format)

    def _template(self) -> RequestTemplate:
        from airflow_gemini_batch.requests.embeddings import column_or_template
        from airflow_gemini_batch.requests.forms import FORMS

        text = column_or_template(self.text, "text")
        title = None if self.title is None else column_or_template(self.title, "title")
        return FORMS[self._family()].template(
            text,
            model=self.model,
            task_type=self.embedding_task,
            title=title,
            output_dimensionality=self.output_dimensionality,
            request_format=self.request_format,
        )

    def _answer_parameters(self) -> Mapping[str, str]:
        from airflow_gemini_batch.requests.embeddings import model_parameters_of

        return model_parameters_of(self._family(), self.output_dimensionality)


class SubmitTextEmbeddingBatchOperator(SubmitBatchJobOperator):
    """Run requests for text embeddings as one batch job and return where the vectors are.

    The model decides what the rows look like. Models ``text-embedding-…``, ``text-multilingual-embedding-…`` and
    ``textembedding-gecko…`` read ``content``, and ``task_type`` and ``title`` where they are given, as fields of a
    line or columns of a table; up to 30,000 rows a job. Other columns do not come back. Models ``gemini-embedding-…``
    read ``{"key", "request": {EmbedContentRequest}}``, from files only; up to 1,000,000 rows a job. See
    https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/batch-prediction-genai-embeddings

    :param output_dimensionality: length of the vectors. Models ``gemini-embedding-…`` read it from each request, where
        :class:`BuildEmbeddingRequestsOperator` puts it; for them it changes nothing here.
    :param request_format: as in :class:`BuildEmbeddingRequestsOperator`, for a model that is not known by its name.
    """

    template_fields: Sequence[str] = (*SubmitBatchJobOperator.template_fields, "request_format")

    def __init__(
        self,
        *,
        output_dimensionality: int | None = None,
        request_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_dimensionality = output_dimensionality
        self.request_format = request_format

    def _family(self) -> ModelFamily:
        from airflow_gemini_batch.core.models import model_resource_name
        from airflow_gemini_batch.requests.embeddings import embedding_family

        return embedding_family(model_resource_name(self.model), self.request_format)

    def _job_parameters(self) -> Mapping[str, Any] | None:
        from airflow_gemini_batch.requests.embeddings import model_parameters_of

        parameters = model_parameters_of(self._family(), self.output_dimensionality)
        return {**(self.model_parameters or {}), **parameters}


class LandEmbeddingsOperator(LandResultsOperator):
    """Merge the vectors of embedding jobs into a table or a file, matched by key, or by text where no key comes back.

    A table has the vector as ``ARRAY<FLOAT64>``, ready for ``VECTOR_SEARCH``: all of one length, none of them empty. A
    Parquet file has it as a list of fixed size of 32-bit floats, which is as much as these models give (DuckDB reads it
    as ``embedding::FLOAT[768]``); a JSON Lines file as a list with all digits. Beside it are ``token_count``,
    ``truncated`` (whether the text was too long and lost its end; NULL where the row does not tell) and
    ``dimensions``, the vector's length. Equal texts get equal vectors, all of them.

    A vector that is zero, holds anything but finite numbers, or has the wrong length is *invalid*, and fails.

    :param vector_column: the column that the vector lands in.
    :param output_dimensionality: length of the vectors, as in the other tasks. Longer ones are cut and normalised (L2)
        again, since some models are known to ignore what was asked. By default the length that most of them have.
    :param request_format: as in :class:`BuildEmbeddingRequestsOperator`, for a model that is not known by its name.
    """

    template_fields: Sequence[str] = (*LandResultsOperator.template_fields, "vector_column", "request_format")

    def __init__(
        self,
        *,
        vector_column: str = "embedding",
        output_dimensionality: int | None = None,
        request_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vector_column = vector_column
        self.output_dimensionality = output_dimensionality
        self.request_format = request_format

    def _plan(self, key: tuple[str, ...], models: Collection[str]) -> LandingPlan:
        from airflow_gemini_batch.landing.plan import LandingPlan
        from airflow_gemini_batch.outputs.embeddings import embedding_columns
        from airflow_gemini_batch.requests.embeddings import embedding_family, model_parameters_of

        if len(models) > 1:
            raise ValueError(
                f"manifest: the vectors are of several models ({', '.join(sorted(models))}), so they can't be "
                "compared: land each model in a target of its own"
            )
        (model,) = models
        family = embedding_family(model, self.request_format)
        return LandingPlan(
            key,
            embedding_columns(self.vector_column),
            bookkeeping=self.bookkeeping,
            family=family,
            dimensions=self.output_dimensionality,
            model_parameters=model_parameters_of(family, self.output_dimensionality),
        )
