"""The ``if…Match`` conditions of a storage request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from airflow_gemini_batch.testing.gcs.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def integer(query: Mapping[str, str], key: str) -> int | None:
    """Return the whole number under ``key``, None when it is absent.

    :raises StorageError: 400 when it is something else.
    """
    value = query.get(key)
    if value is None or value == "":
        return None
    try:
        return int(value)
    except ValueError:
        raise StorageError.invalid(f"Invalid value for {key}: {value!r} is not a whole number") from None


@dataclass(frozen=True)
class Preconditions:
    """What must hold for the live version of an object when an operation takes effect.

    An object that does not exist has generation 0, so ``generation_match=0`` means "must not exist" and
    ``generation_not_match=0`` "must exist".
    """

    generation_match: int | None = None
    generation_not_match: int | None = None
    metageneration_match: int | None = None
    metageneration_not_match: int | None = None

    @classmethod
    def from_query(cls, query: Mapping[str, str], prefix: str = "if") -> Self:
        """Read the four parameters; ``prefix="ifSource"`` reads those on the source of a copy."""
        return cls(
            generation_match=integer(query, f"{prefix}GenerationMatch"),
            generation_not_match=integer(query, f"{prefix}GenerationNotMatch"),
            metageneration_match=integer(query, f"{prefix}MetagenerationMatch"),
            metageneration_not_match=integer(query, f"{prefix}MetagenerationNotMatch"),
        )

    def check(self, generation: int, metageneration: int, *, reading: bool = False) -> None:
        """Hold the conditions against the live version.

        :raises StorageError: 412 when one fails; 304 when a read's "not match" does, as the caller then
            already has that version.
        """
        if self.generation_match not in (None, generation):
            raise _failed(f"ifGenerationMatch={self.generation_match}, live generation is {generation}")
        if self.metageneration_match not in (None, metageneration):
            raise _failed(
                f"ifMetagenerationMatch={self.metageneration_match}, live metageneration is {metageneration}"
            )
        if generation == self.generation_not_match or metageneration == self.metageneration_not_match:
            if reading:
                raise StorageError(304, "notModified", "Not Modified")
            raise _failed(f"the live version is generation {generation}, metageneration {metageneration}")


ANYTHING = Preconditions()


def _failed(which: str) -> StorageError:
    message = f"At least one of the pre-conditions you specified did not hold: {which}"
    return StorageError(412, "conditionNotMet", message)
