from __future__ import annotations

import pytest

from tests.storage.land.answer_files import AnswerFiles
from tests.storage.land.landings import Landing


@pytest.fixture
def landing(gemini_batch_stack):
    return Landing(gemini_batch_stack)


@pytest.fixture
def files(gemini_batch_stack, bucket, tmp_path):
    return AnswerFiles(gemini_batch_stack, bucket, tmp_path)
