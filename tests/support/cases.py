"""The cases of a file's tests, for a statement that judges all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def parameters_of(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Any]]:
    """Yield the parameters of each test of the file that was collected; of a fixture with the scope of the module."""
    for item in request.session.items:
        if item.path == request.path and (call := getattr(item, "callspec", None)):
            yield call.params


def at_once(judge: Callable[[Sequence[Any]], Iterable[Any]], cases: Iterable[Any]) -> Callable[[Any], Any]:
    """Return a function that says what was found of a case; all cases are judged when the first is asked for.

    :param judge: gives what is found of each of some cases.
    :param cases: the known ones; another one is judged alone.
    """
    waiting: dict[str, Any] = {repr(case): case for case in cases}
    found: dict[str, Any] = {}

    def result(case: Any) -> Any:
        if repr(case) not in found:
            some = waiting if repr(case) in waiting else {repr(case): case}
            found.update(zip(some, judge(list(some.values())), strict=True))
        return found[repr(case)]

    return result
