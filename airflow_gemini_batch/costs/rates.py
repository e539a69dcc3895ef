"""What a model costs: prices of its tokens, from one day on, and how long it lives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from airflow_gemini_batch.outputs.usage import Usage

GLOBAL = "global"
"""The location whose rates the table holds; elsewhere some models cost more."""


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million tokens.

    :param audio_input: ``None`` where the rate is unknown.
    """

    input: float
    output: float
    cached_input: float
    audio_input: float | None = None

    def times(self, factor: float) -> Prices:
        """Return prices that are higher by a factor."""
        audio = None if self.audio_input is None else self.audio_input * factor
        return Prices(self.input * factor, self.output * factor, self.cached_input * factor, audio)

    def cost(self, *, prompt: int, cached: int, output: int, tool: int = 0, audio: int = 0) -> float:
        """Return the US dollars for token counts, without audio of an unknown rate.

        :param prompt: includes ``cached`` and ``audio``.
        """
        cached = min(cached, prompt)
        audio = min(audio, prompt - cached)
        return (
            self.input * (prompt - cached - audio + tool)
            + self.cached_input * cached
            + (self.audio_input or 0) * audio
            + self.output * output
        ) / 1e6


@dataclass(frozen=True, slots=True)
class Rate:
    """The batch prices of a model from one day on.

    :param long: prices of rows with a long prompt (see :data:`.usage.LONG_PROMPT`); often the usual ones.
    :param as_of: the day or month on which the prices were looked up, ``YYYY-MM-DD`` or ``YYYY-MM``.
    :param outside_global: factor of the prices in all locations but :data:`GLOBAL`.
    :param valid_from: first day (UTC) of these prices.
    """

    usual: Prices
    long: Prices
    as_of: str
    outside_global: float = 1.0
    valid_from: date = date.min

    def at(self, location: str) -> Rate:
        """Return the rate in a location."""
        factor = 1.0 if location == GLOBAL else self.outside_global
        return replace(self, usual=self.usual.times(factor), long=self.long.times(factor), outside_global=1.0)

    def cost(self, usage: Usage) -> float:
        """Return the US dollars for token counts; thoughts are output, and what tools feed to the model is input."""
        long = self.long.cost(
            prompt=usage.long_prompt_tokens,
            cached=usage.long_cached_tokens,
            output=usage.long_output_tokens,
            tool=usage.long_tool_tokens,
            audio=usage.long_audio_tokens,
        )
        usual = self.usual.cost(
            prompt=usage.prompt_tokens - usage.long_prompt_tokens,
            cached=usage.cached_tokens - usage.long_cached_tokens,
            output=usage.output_tokens + usage.thoughts_tokens - usage.long_output_tokens,
            tool=usage.tool_tokens - usage.long_tool_tokens,
            audio=usage.audio_tokens - usage.long_audio_tokens,
        )
        return long + usual

    def lacks_audio(self, usage: Usage) -> bool:
        """Whether the counts hold audio without a rate."""
        usual = usage.audio_tokens - usage.long_audio_tokens
        return bool(
            (usual and self.usual.audio_input is None)
            or (usage.long_audio_tokens and self.long.audio_input is None)
        )


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """How long a model can be used; ``None`` for what is not known.

    :param retires: the last day on which it answers.
    :param closed_to_new_projects: the day from which projects that do not use it yet are refused.
    """

    retires: date | None = None
    closed_to_new_projects: date | None = None

    def updated(self, newer: Lifecycle) -> Lifecycle:
        """Return the dates of ``newer``, and these where it has none."""
        return Lifecycle(
            newer.retires or self.retires, newer.closed_to_new_projects or self.closed_to_new_projects
        )
