from __future__ import annotations

import pytest

from tests.storage.land.landings import Landing


@pytest.fixture
def landing(gemini_batch_stack):
    return Landing(gemini_batch_stack)
