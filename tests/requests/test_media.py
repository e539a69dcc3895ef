"""Addresses of files in rows: Google fetches them, so a row must not name whatever it likes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from airflow_gemini_batch.cli import app
from airflow_gemini_batch.core.media import checked_prefixes
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.templates import BadRow, BadRowError, gemini_request
from tests.operators.steps import BOOKS, built
from tests.requests.media_cases import CASES, PREFIXES
from tests.support.tables import fill, make_dataset, read

IDS = [f"{number}-{uri[:40]}" for number, (uri, *_) in enumerate(CASES)]


@pytest.mark.parametrize(("uri", "fits", "fits_prefixes"), CASES, ids=IDS)
def test_address_is_sent_or_makes_a_bad_row(uri: str, fits: bool, fits_prefixes: bool) -> None:
    for prefixes, expected in ((None, fits), (PREFIXES, fits_prefixes)):
        template = gemini_request(
            PromptTemplate.parse("Say."), media={"cover": "image/png"}, media_prefixes=prefixes
        )
        if expected:
            assert uri.encode() in template.fill({"cover": uri})
        else:
            with pytest.raises(BadRowError) as bad:
                template.fill({"cover": uri})
            assert bad.value.reason is BadRow.BAD_MEDIA


@pytest.mark.parametrize("prefixes", [None, PREFIXES], ids=["anywhere", "prefixes"])
def test_rows_in_bigquery_are_judged_alike(gemini_batch_stack, prefixes) -> None:
    dataset = make_dataset(gemini_batch_stack)
    rows = [{"isbn": str(number), "title": uri} for number, (uri, *_) in enumerate(CASES)]
    (requests,) = built(
        fill(gemini_batch_stack, f"{dataset}.books", BOOKS, rows),
        requests=dataset,
        prompt="Say.",
        media={"title": "image/png"},
        media_prefixes=prefixes,
        on_bad_rows="drop",
    )
    sent = {int(row["isbn"]) for row in read(gemini_batch_stack, requests)}
    expected = {number for number, case in enumerate(CASES) if case[2 if prefixes else 1]}
    assert {CASES[number][0] for number in sent ^ expected} == set()


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        (None, ()),
        ("gs://shop", ("gs://shop/",)),
        (["gs://shop/a", "https://img.example"], ("gs://shop/a", "https://img.example/")),
    ],
)
def test_prefixes_end_behind_the_bucket_or_host(given, checked) -> None:
    assert checked_prefixes(given) == checked


@pytest.mark.parametrize(
    "given",
    [[], [""], ["gs://"], ["https://"], ["https://10.0.0.1/"], ["shop"], ["http://a.b/"], [None], [5]],
)
def test_prefixes_that_no_address_begins_with_are_refused(given) -> None:
    with pytest.raises(ValueError, match="media_prefixes"):
        checked_prefixes(given)


def test_message_names_the_address_harmlessly() -> None:
    template = gemini_request(PromptTemplate.parse("Say."), media={"cover": "image/png"})
    with pytest.raises(BadRowError) as bad:
        template.fill({"cover": "https://a\x1b[31m\n@b/"})
    assert str(bad.value) == (
        "cover is https://a\\x1b[31m\\n@b/, not a gs:// or https:// address of a public host without user and password"
    )


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ([], 0, "a file is https://10.0.0.1/a.png, not a gs:// or https:// address"),
        (
            ["--media-prefix", "gs://shop/"],
            1,
            "a file is gs://other/a.png, which begins with none of media_prefixes",
        ),
        (
            ["--media-prefix", "nowhere"],
            2,
            "media_prefixes: expected gs://BUCKET/… or https://HOST/…, got 'nowhere'",
        ),
    ],
)
def test_request_files_are_checked_on_the_command_line(tmp_path, options, code, told) -> None:
    path = tmp_path / "requests.jsonl"
    files = [
        {"fileData": {"mimeType": "image/png", "fileUri": uri}}
        for uri in ("gs://other/a.png", "https://10.0.0.1/a.png")
    ]
    path.write_text(json.dumps({"request": {"contents": [{"role": "user", "parts": files}]}}) + "\n")
    result = CliRunner().invoke(app, ["validate", str(path), "--json", *options])
    assert result.exit_code == code
    assert told in result.output
