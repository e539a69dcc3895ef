"""A canary in the log, in the form of an approval and as a page: readable, and safe whatever the answers hold."""

from __future__ import annotations

import re
from base64 import b64decode
from xml.etree import ElementTree

import pytest

from airflow_gemini_batch.canary import page as page_module
from airflow_gemini_batch.canary.compare import compare
from airflow_gemini_batch.canary.page import page, write_page
from airflow_gemini_batch.canary.report import CanaryReport, RollOutCost
from airflow_gemini_batch.canary.rows import CanaryRows
from airflow_gemini_batch.canary.settings import Canary
from airflow_gemini_batch.canary.text import log_text, markdown
from airflow_gemini_batch.canary.verdict import Verdict, judge
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.core.summary import WIDTH
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from tests.canary.answers import HOSTILE, by_key, columns, two_models
from tests.support.requests_data import storage_client

TARGET = "bq://my-shop.books.descriptions"
COST = RollOutCost(9_800, canary=0.2, low=8.0, expected=9.0, high=10.0, rates_as_of="2026-11")
HOSTILE_COLUMN = f"n{HOSTILE}"


def books(share: float = 0.2) -> CanaryReport:
    rows = two_models(1, 200, share)
    rows = CanaryRows(rows.new, rows.old, {"x": "invalid"}, {"978-1": {"genre": "crime"}})
    tokens = {"prompt": 1200.5, "output": 80.0}
    return compare(rows, columns(genre=str, pages=int), question="0123456789abcdef", cost=COST, tokens=tokens)


def hostile() -> CanaryReport:
    old = by_key(*({HOSTILE_COLUMN: HOSTILE, "text": f"{HOSTILE}{n}"} for n in range(9)))
    new = by_key(*({HOSTILE_COLUMN: f"$\\frac{HOSTILE}$", "text": HOSTILE} for _ in range(9)))
    rows = CanaryRows({**new, HOSTILE: new["978-1"]}, {**old, HOSTILE: old["978-1"]}, {"x": HOSTILE})
    texts = [AnswerColumn(HOSTILE_COLUMN, "STRING"), AnswerColumn("text", "STRING")]
    return compare(rows, texts, question=HOSTILE, cost=RollOutCost(None, unknown=HOSTILE))


def test_log_shows_one_table():
    report = books()
    text = log_text(report, judge(report, Canary(min_agreement=0.95, golden="bq://my-shop.books.golden")))
    lines = text.splitlines()
    assert lines[0] == "Canary of the question 0123456789abcdef"
    assert max(map(len, lines)) <= WIDTH
    assert re.search(r"^field +agreement +null, old → new +what else$", text, re.M)
    assert re.search(r"^genre +\d+\.\d% \(\d+\.\d% to \d+\.\d%\) +0\.0% → 0\.0%", text, re.M)
    assert re.search(r"^pages +100\.0% \(98\.\d% to 100\.0%\)", text, re.M)
    assert "Tokens      1,200.5 prompt, 80.0 output a row" in text
    assert "$0.2000 for the canary; $9.00 ($8.00 to $10.00) for 9,800 other rows" in text
    assert "Not passed:\n  - The agreement is" in text
    assert "All thresholds are met." in log_text(books(0), Verdict())


def test_unknown_is_called_so():
    report = compare(CanaryRows({}, {}, golden={}), columns(genre=str), question="q")
    for text in (log_text(report, judge(report, Canary())), markdown(report, judge(report, Canary()))):
        assert "unknown" in text
        assert "nothing could be compared" in text


def test_log_forges_no_lines_and_steers_no_terminal():
    report = hostile()
    text = log_text(report, Verdict((HOSTILE,)))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", text)
    assert not any(line.lstrip().startswith("| =cmd") for line in text.splitlines())
    assert max(len(line) for line in text.splitlines() if "→" not in line) <= WIDTH + len(HOSTILE)


def test_markdown_shows_texts_as_they_are():
    report = hostile()
    text = markdown(report, Verdict((HOSTILE,)), HOSTILE)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", text)
    assert "<" not in text
    # Each mark of Markdown in a value is escaped, so that it makes neither links, nor cells, nor code.
    assert not re.search(r"(?<!\\)\[x", text)
    assert not re.search(r"(?<!\\)`", text)
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")]
    assert set(cells) <= {3, 4, 5}


def test_markdown_has_the_comparison():
    report = books()
    text = markdown(report, judge(report, Canary(min_agreement=0.95)), "gs://shop/requests/canary.html")
    assert text.startswith("**The canary of 201 rows has not passed.**")
    assert "| genre |" in text
    assert "(https://storage.cloud.google.com/shop/requests/canary.html)" in text


@pytest.mark.parametrize("with_charts", [True, False])
def test_page_escapes_every_text(monkeypatch, with_charts):
    if with_charts:
        pytest.importorskip("matplotlib")
    else:
        monkeypatch.setattr(page_module, "find_spec", lambda _name: None)
    text = page(hostile(), Verdict((HOSTILE,)), HOSTILE)
    tags = set(re.findall(r"<(\w+)", text))
    assert not tags & {"script", "svg", "iframe", "link", "object", "form", "a"}
    assert "\x1b" not in text
    assert "\u202e" not in text
    sources = re.findall(r'(?:src|href)="([^"]*)', text)
    assert all(one.startswith("data:image/svg+xml;base64,") for one in sources)
    assert len(sources) == text.count("<img") == (3 if with_charts else 0)
    assert "onerror=alert(1)&gt;" in text
    assert "default-src &#x27;none&#x27;" in text
    for one in sources:
        svg = b64decode(one.partition(",")[2]).decode()
        ElementTree.fromstring(svg)
        assert "<script" not in svg


def test_page_shows_the_fields_and_draws_them():
    pytest.importorskip("matplotlib")
    report = books()
    text = page(report, judge(report, Canary()), TARGET)
    assert "light dark" in text
    assert f"<title>Canary of {TARGET}</title>" in text
    charts = [b64decode(one).decode() for one in re.findall(r"svg\+xml;base64,([^\"]*)", text)]
    words = [" ".join(ElementTree.fromstring(svg).itertext()) for svg in charts]
    assert len(charts) == 2
    assert all(word in words[0] for word in ("all fields", "genre", "pages", "golden rows"))
    assert all(word in words[1] for word in ("not crime", "crime", "old", "new"))
    assert page(report, judge(report, Canary()), TARGET) == text


def test_page_is_written_to_a_folder(tmp_path, gemini_batch_stack, bucket):
    hook = GeminiBatchHook()
    local = write_page("<p>ä</p>", str(tmp_path / "requests"), "canary.html", hook.storage_client)
    assert (tmp_path / "requests" / "canary.html").read_text(encoding="utf-8") == "<p>ä</p>"
    assert local == str(tmp_path / "requests" / "canary.html")
    for content in ("<p>1</p>", "<p>2</p>"):
        stored = write_page(content, f"gs://{bucket}/requests/", "canary.html", hook.storage_client)
    assert stored == f"gs://{bucket}/requests/canary.html"
    blob = storage_client(gemini_batch_stack).bucket(bucket).get_blob("requests/canary.html")
    assert (blob.download_as_text(), blob.content_type) == ("<p>2</p>", "text/html; charset=utf-8")


def test_folder_that_can_t_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequestError, match="could not write"):
        write_page("x", str(tmp_path / "file"), "canary.html", None)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="report_folder"):
        write_page("x", "s3://bucket/folder", "canary.html", None)  # type: ignore[arg-type]
