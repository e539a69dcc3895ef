from __future__ import annotations

import pytest

from airflow_gemini_batch.testing.bigquery.patches import seams

pytestmark = pytest.mark.stack  # importing bqemulator takes seconds


def test_refuses_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "version", lambda _name: "1.5.0")
    with pytest.raises(seams.SeamMissingError, match=r"found 1\.5\.0. Install 'bqemulator==1\.4\.\*'"):
        seams.check_version()


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("bqemulator.jobs.executor", "gone"),
        ("bqemulator.storage.engine:DuckDBEngine", "gone"),
        ("bqemulator.gone", "x"),
    ],
)
def test_refuses_to_replace_what_is_not_there(owner: str, name: str) -> None:
    with pytest.raises(seams.SeamMissingError, match="gone"), seams.explained():
        seams.replace(owner, name, lambda original: original)


def test_replaces_once() -> None:
    made = []
    for _ in range(2):
        seams.replace("bqemulator.config", "LogLevel", lambda original: made.append(original) or original)
    assert len(made) == 1
