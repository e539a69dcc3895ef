"""All combinations of shapes, and each hostile name alone: too many for the gate, which takes pairs.

``make test-reference`` runs it; pytest does not collect it by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.googlesql.analyzer import judged
from tests.googlesql.builders import Shape
from tests.googlesql.names import internal_names, quoted_names
from tests.googlesql.shapes import hostile_shapes, shapes
from tests.googlesql.test_statements import PLACES, different, refused

_PARTS = 20


@pytest.mark.slow
@pytest.mark.parametrize("part", range(_PARTS))
def test_all_combinations(part):
    cases = different(shapes(full=True))
    assert refused(judged(cases[part::_PARTS])) == []


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("nested", [False, True], ids=["whole", "path"])
def test_each_name_alone(place, nested):
    assert refused(judged(different(_alone(place)), nested=nested)) == []


def _alone(place: str) -> Iterator[Shape]:
    names = {name for some in internal_names().values() for name in some}
    for name in (*sorted(names), *quoted_names()):
        yield hostile_shapes([name])[place]
