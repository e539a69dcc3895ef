from __future__ import annotations

import pytest

from tests.landing.answer_files import AnswerFiles
from tests.landing.landings import Landing


@pytest.fixture
def landing(gemini_batch_stack):
    return Landing(gemini_batch_stack)


@pytest.fixture
def files(gemini_batch_stack, bucket, tmp_path):
    return AnswerFiles(gemini_batch_stack, bucket, tmp_path)
