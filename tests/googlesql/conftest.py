from __future__ import annotations

import pytest

from tests.googlesql.service import MISSING


@pytest.fixture(scope="session", autouse=True)
def analyzer() -> None:
    """Skip these tests where the analyzer is missing."""
    if MISSING:
        pytest.skip(MISSING)
