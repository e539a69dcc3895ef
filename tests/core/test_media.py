from __future__ import annotations

import pytest

from airflow_gemini_batch.core.media import mime_type_of


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("gs://b/cover.png", "image/png"),
        ("gs://b/COVER.JPG", "image/jpeg"),
        ("gs://b/a.b/scan.tar.pdf", "application/pdf"),
        ("https://example.com/talk.mp3?version=2", "audio/mpeg"),
        ("https://example.com/talk.mp4#t=10", "video/mp4"),
        ("https://example.com/a.png?next=b.gif", "image/png"),
        ("gs://b/cover", None),
        ("gs://b.png/cover", None),
        ("gs://b/cover.", None),
        ("gs://b/cover.exe", None),
        ("", None),
    ],
)
def test_type_is_told_by_the_ending(uri: str, kind: str | None) -> None:
    assert mime_type_of(uri) == kind
