"""What answers cost, beside a calculation by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_gemini_batch.costs.prices import Cost, PriceTable, cost_of
from airflow_gemini_batch.outputs.usage import Usage
from tests.outputs.lines import count_tokens
from tests.outputs.usage_blocks import BLOCKS, Block


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_answer_costs_what_a_hand_calculates(tmp_path: Path, block: Block) -> None:
    usage = count_tokens(tmp_path, [{"response": block.response}])
    assert usage == {block.model: block.usage}
    cost = cost_of(usage, PriceTable.load(location=block.location), on=block.day)
    assert cost == Cost(pytest.approx(block.dollars), "2026-11")


def test_audio_without_a_rate_is_unknown_and_not_text() -> None:
    usage = Usage(1, 2000, 100, audio_tokens=1500)
    cost = cost_of({"gemini-3.8-flash": usage}, PriceTable.load(), on=BLOCKS[0].day)
    assert cost == Cost(
        pytest.approx((500 * 0.375 + 100 * 1.875) / 1e6), "2026-11", ("gemini-3.8-flash (audio)",)
    )
