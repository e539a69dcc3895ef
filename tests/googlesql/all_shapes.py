"""All combinations of shapes, and each hostile name alone: too many for the gate, which takes pairs.

``make test-reference`` runs it; pytest does not collect it by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.googlesql.analyzer import Case
from tests.googlesql.builders import cases_of
from tests.googlesql.names import internal_names, quoted_names
from tests.googlesql.shapes import combined, hostile_shapes
from tests.googlesql.test_statements import PLACES
from tests.googlesql.verdicts import different, refused

_PARTS = 20


@pytest.mark.slow
@pytest.mark.parametrize("part", range(_PARTS))
def test_all_combinations(part):
    cases = list(different(combined(full=True)).values())
    assert refused(cases[part::_PARTS]) == []


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("nested", [False, True], ids=["whole", "path"])
def test_each_name_alone(place, nested):
    assert refused(_alone(place), nested=nested) == []


def _alone(place: str) -> Iterator[Case]:
    names = {name for some in internal_names().values() for name in some}
    for name in (*sorted(names), *quoted_names()):
        yield from cases_of(hostile_shapes((name,))[place])
