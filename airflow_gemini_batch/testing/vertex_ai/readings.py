"""How the service is read where its behaviour is not settled: pages and reports differ, or there is only one of them.

Clients have to be right under every reading, so tests run them under both. The defaults are what documentation says,
and where it is silent what was reported from production.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(slots=True)
class Readings:
    """One answer to each open question; a job keeps the answers of the moment when it was created.

    :param echo_key: what stands beside ``request`` in a line of generation comes back, its ``key`` above all. The
        documentation shows it for gemini-embedding only, where ``key`` always comes back.
    :param numbers_coerced: a text beside ``request`` that looks like a number comes back as the number: ``"000000"`` as
        ``0``, ``"1e5"`` as ``100000.0``, as two projects reported.
    :param labels_echoed: ``request.labels`` comes back.
    :param columns_passed: the columns of a request table beside ``request`` come back.
    :param embedding_form: which form of a gemini-embedding request is obeyed: ``nested`` is what ``embedContentConfig``
        holds, ``flat`` are the same fields beside ``content``. The other form is taken and has no effect.
    :param embedding_usage: how a gemini-embedding answer tells its tokens: ``token_count`` is ``tokenCount``,
        ``usage_metadata`` is ``usageMetadata.promptTokenCount`` with ``truncated`` beside it.
    :param failed_response: the ``response`` of a failed row of generation: ``empty`` is an empty object, ``json_null``
        a JSON null (in a table too, where it is not the SQL NULL), ``absent`` leaves it out, which is NULL in a table;
        Google's pages show the first and the last.
    :param account_and_key: a job with a service account or a key of its own is ``taken``, or ``refused``,
        as Google's pages say of Gemini that neither is supported; nobody has told what the service answers.
    :param several_files: a job may name several files and wildcards, as the API's reference says, and Google's samples;
        a newer page says one file.
    :param importer_rules: whether a job of files fails as a whole for a line that no table could be made of.
    """

    echo_key: bool = True
    numbers_coerced: bool = True
    labels_echoed: bool = True
    columns_passed: bool = True
    embedding_form: str = "nested"
    embedding_usage: str = "token_count"
    failed_response: str = "empty"
    account_and_key: str = "taken"
    several_files: bool = True
    importer_rules: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))

    def set(self, **changes: Any) -> None:
        """Read otherwise from now on; jobs that exist are not changed.

        Raises :class:`ValueError` for a name or a value that is not one of the above; nothing is changed then.
        """
        for name, value in changes.items():
            _check(name, value)
        for name, value in changes.items():
            setattr(self, name, value)

    @contextmanager
    def changed(self, **changes: Any) -> Iterator[None]:
        """Read otherwise within a ``with`` block."""
        before = asdict(self)
        self.set(**changes)
        try:
            yield
        finally:
            self.set(**before)


_CHOICES: dict[str, tuple[object, ...]] = {
    "embedding_form": ("nested", "flat"),
    "embedding_usage": ("token_count", "usage_metadata"),
    "failed_response": ("empty", "json_null", "absent"),
    "account_and_key": ("taken", "refused"),
}
_NAMES = tuple(field.name for field in fields(Readings))


def _check(name: str, value: object) -> None:
    if name not in _NAMES:
        raise ValueError(f"{name!r} is not an open question. These are: {', '.join(_NAMES)}.")
    choices = _CHOICES.get(name, (True, False))
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(map(repr, choices))}.")
