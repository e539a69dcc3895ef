"""Rows of local files, good ones and bad ones."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.requests.files.rows import Rows, read_rows
from airflow_gemini_batch.requests.sources import parse_row_source


def rows_of(path: Path | str, *columns: str) -> Rows:
    """Read local files: no client is needed."""
    return read_rows(parse_row_source(str(path)), columns, None)  # type: ignore[arg-type]


@pytest.fixture
def put(tmp_path):
    def put(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return put


def read(path: Path | str, *columns: str) -> list[dict[str, Any]]:
    return [dict(row) for row in rows_of(path, *columns).rows]


EMMA = [{"id": "007", "title": "Emma"}]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        pytest.param("id,title\n007,Emma\n", EMMA, id="plain"),
        pytest.param("id,title\n007,Emma", EMMA, id="no-last-line-end"),
        pytest.param("\ufeffid,title\r\n007,Emma\r\n", EMMA, id="bom-and-crlf"),
        pytest.param("\n\nid,title\n\n007,Emma\n\n\n", EMMA, id="blank-lines"),
        pytest.param(" id , title \n007,Emma\n", EMMA, id="spaces-in-the-header"),
        pytest.param("x,id,,title,\n1,007,2,Emma,3\n", EMMA, id="other-columns-and-nameless-ones"),
        pytest.param("id,title\n007,\n", [{"id": "007", "title": None}], id="empty-cell-is-null"),
        pytest.param('id,title\n007,""\n', [{"id": "007", "title": None}], id="quoted-empty-cell-is-null"),
        pytest.param("id,title\n007, \n", [{"id": "007", "title": " "}], id="space-is-text"),
        pytest.param("id,title\n007,NULL\n", [{"id": "007", "title": "NULL"}], id="null-is-a-word"),
        pytest.param(
            'id,title\n007,"a ""b"", c\nd\r\ne"\n', [{"id": "007", "title": 'a "b", c\nd\r\ne'}], id="quotes"
        ),
        pytest.param("id,title\n007,é日😀\n", [{"id": "007", "title": "é日😀"}], id="alphabets"),
        pytest.param("id,title\n", [], id="header-only"),
        pytest.param("", [], id="empty"),
        pytest.param("\ufeff", [], id="bom-only"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_csv_is_read(put, text: str, rows: list[Any], packed: bool) -> None:
    path = put("a.csv.gz", gzip.compress(text.encode())) if packed else put("a.csv", text)
    assert read(path, "id", "title") == rows


def test_csv_cell_of_20_megabytes_is_read(put) -> None:
    assert read(put("a.csv", f"id\n{'x' * 20_000_000}\n"), "id") == [{"id": "x" * 20_000_000}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("id,title\n1,a\n2\n", "a.csv, line 3: the row has 1 cells and the header 2", id="short"),
        pytest.param("id,title\n1,a,b\n", "a.csv, line 2: the row has 3 cells and the header 2", id="long"),
        pytest.param(
            'id,title\n1,"a\nb"\n2,b,c\n', "a.csv, line 4: the row has 3 cells", id="after-a-newline"
        ),
        pytest.param(
            'id,title\n1,"a\n2,b\n', "a.csv, line 3: not CSV: unexpected end of data", id="open-quote"
        ),
        pytest.param('id,title\n1,"a"b\n', "a.csv, line 2: not CSV", id="text-after-a-quote"),
        pytest.param("id,id,title\n1,2,a\n", "a.csv has more than one column 'id'", id="repeated-column"),
        pytest.param(b"id,title\n1,\xff\n", "not UTF-8", id="latin-1"),
        pytest.param("id,title\n1,a\n".encode("utf-16"), "not UTF-8", id="utf-16"),
    ],
)
def test_bad_csv_names_the_file_and_the_line(put, text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read(put("a.csv", text), "id", "title")
    assert message in str(refused.value)
    assert "a.csv" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        pytest.param('{"id":"007"}\n{"id":7}\n', [{"id": "007"}, {"id": 7}], id="plain"),
        pytest.param('\ufeff{"id":1}\r\n{"id":2}', [{"id": 1}, {"id": 2}], id="bom-and-crlf"),
        pytest.param('\n \n{"id":1}\n\n', [{"id": 1}], id="blank-lines"),
        pytest.param('{"id":1,"c":2}\n{"a":[1,{"b":null}]}\n', [{"id": 1}, {}], id="other-columns"),
        pytest.param('{"id":"\\ud83d\\ude00\\u2028"}\n', [{"id": "😀\u2028"}], id="escapes"),
        pytest.param('{"id":123456789012345678901}\n', [{"id": 123456789012345678901}], id="beyond-64-bits"),
        pytest.param(
            '{"id":[123456789012345678901,{"a":-99999999999999999999}],"x":1e5}\n',
            [{"id": [123456789012345678901, {"a": -99999999999999999999}]}],
            id="beyond-64-bits-within",
        ),
        pytest.param('{"id":%s}\n' % ("9" * 308), [{"id": int("9" * 308)}], id="308-digits"),
        pytest.param(
            '{"id":1.5}\n',
            [{"id": 1.5}],
            id="float",
        ),
        pytest.param('{"id":"a\\":b\\" : c","x":{"id":1}}\n', [{"id": 'a":b" : c'}], id="names-in-texts"),
        pytest.param("", [], id="empty"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_json_lines_are_read(put, text: str, rows: list[Any], packed: bool) -> None:
    path = put("a.jsonl.gz", gzip.compress(text.encode())) if packed else put("a.jsonl", text)
    assert read(path, "id") == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b'{"id":1}\n{"id":2,"id":3}\n', "line 2: the field 'id' is there twice", id="key-twice"),
        pytest.param(b'{"id":1}\n{"id":2,"id" :3}\n', "line 2: the field 'id' is there twice", id="spaced"),
        pytest.param(
            b'{"id":1,"a":[{"b":1,"c":2,"b":1}]}\n', "line 1: the field 'b' is there twice", id="within"
        ),
        pytest.param(b'{"id":1,"\\u0069d":2}\n', "line 1: the field 'id' is there twice", id="escaped"),
        pytest.param(
            b'{"id":1}\n{"id":' + b"9" * 5000 + b"}\n",
            "line 2: column 7: a number of more than 308 digits: write it as a string",
            id="5000-digits",
        ),
        pytest.param(
            b'{"id":' + b"9" * 400 + b"}\n", "line 1: column 7: a number of more than 308", id="400-digits"
        ),
        pytest.param(b'{"id":1e400}\n', "line 1: column 7: a number of more than 308 digits", id="1e400"),
        pytest.param(
            b'{"id":{"a":[' + b"9" * 5000 + b"]}}\n",
            "line 1: column 13: a number of more than 308 digits",
            id="inner",
        ),
        pytest.param('{"id":1}\n'.encode("utf-16"), "a.jsonl: the file is UTF-16 text", id="utf-16"),
        pytest.param('{"id":1}\n'.encode("utf-16-le"), "a.jsonl: the file is UTF-16 text", id="utf-16-le"),
        pytest.param('{"id":1}\n'.encode("utf-16-be"), "a.jsonl: the file is UTF-16 text", id="utf-16-be"),
        pytest.param('{"id":1}\n'.encode("utf-32-be"), "a.jsonl: the file is UTF-16 text", id="utf-32-be"),
    ],
)
def test_json_lines_that_would_be_read_wrongly_are_refused(put, content: bytes, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as refused:
        read(put("a.jsonl", content), "id")
    assert "\0" not in str(refused.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_csv_in_another_encoding_is_refused(put, encoding: str) -> None:
    with pytest.raises(InvalidRequestError, match="save the file as UTF-8") as refused:
        read(put("a.csv", "id,title\n1,a\n".encode(encoding)), "id")
    assert "\0" not in str(refused.value)


def test_line_of_20_megabytes_is_read(put) -> None:
    rows = [{"id": "x" * 20_000_000}, {"id": "next"}]
    assert read(put("a.jsonl", "\n".join(map(json.dumps, rows))), "id") == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('{"id":1}\n\n{"id":}\n', "a.jsonl, line 3: column 7: not JSON", id="not-json"),
        pytest.param('{"id":1}\nnonsense\n', "a.jsonl, line 2: column 1: not JSON", id="text"),
        pytest.param('{"id":1}\n[1]\n', "a.jsonl, line 2: a JSON array", id="list"),
        pytest.param('{"id":1}\n"a"\n', "a.jsonl, line 2: JSON, but not an object", id="string"),
        pytest.param('{"id":1} {"id":2}\n', "a.jsonl, line 1: column 9: another object", id="two-objects"),
        pytest.param('{\n  "id": 1\n}\n', "a.jsonl: the file is pretty-printed", id="pretty-printed"),
        pytest.param('{"id":NaN}\n', "a.jsonl, line 1: column 7: NaN or Infinity", id="nan"),
        pytest.param('{"id":"\\ud800"}\n', "a.jsonl, line 1: column", id="lone-surrogate"),
        pytest.param(b'{"id":"\xed\xa0\x80"}\n', "half of a surrogate pair", id="lone-surrogate-in-bytes"),
        pytest.param(b'{"id":"\xff"}\n', "a.jsonl, line 1: not UTF-8", id="latin-1"),
        pytest.param('{"id":1}\n'.encode("utf-16"), "a.jsonl: the file is UTF-16", id="utf-16"),
    ],
)
def test_bad_json_names_the_file_and_the_line(put, text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read(put("a.jsonl", text), "id")
    assert message in str(refused.value)


def test_columns_of_json_lines_are_those_of_the_first_rows_together(put) -> None:
    lines = [{"a": 1}, {"b": 2}, *[{"a": 1}] * 998, {"late": 1}]
    path = put("a.jsonl", "\n".join(map(json.dumps, lines)))
    assert rows_of(path, "a").columns == ("a", "b")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("lost", [1, 8, 500])
def test_truncated_gzip_names_the_file(put, kind: str, lost: int) -> None:
    text = "id\n" * 100_000 if kind == "csv" else '{"id":1}\n' * 100_000
    packed = gzip.compress(text.encode(), mtime=0)
    with pytest.raises(InvalidRequestError, match=rf"a\.{kind}\.gz: the gzip file is cut off or damaged"):
        read(put(f"a.{kind}.gz", packed[:-lost]), "id")


def test_damaged_gzip_names_the_file(put) -> None:
    packed = bytearray(gzip.compress(b'{"id":1}\n' * 1000))
    packed[20] ^= 0xFF
    with pytest.raises(InvalidRequestError, match=r"a\.jsonl\.gz: the gzip file is cut off or damaged"):
        read(put("a.jsonl.gz", bytes(packed)), "id")


def test_name_does_not_decide_what_is_packed(put) -> None:
    assert read(put("a.jsonl.gz", '{"id":1}'), "id") == [{"id": 1}]
    assert read(put("b.jsonl", gzip.compress(b'{"id":1}')), "id") == [{"id": 1}]


def test_parquet_is_read_with_its_types(tmp_path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, None]),
            "text": ["007", None],
            "day": [date(2026, 1, 2), None],
            "price": [Decimal("1.50"), None],
            "tags": [["a", "b"], None],
            "other": ["x", "y"],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    found = rows_of(tmp_path / "a.parquet", "tags", "id", "text", "day", "price")
    assert found.columns == ("id", "text", "day", "price", "tags", "other")
    assert [dict(row) for row in found.rows] == [
        {"tags": ["a", "b"], "id": 1, "text": "007", "day": date(2026, 1, 2), "price": Decimal("1.50")},
        dict.fromkeys(("tags", "id", "text", "day", "price")),
    ]


@pytest.mark.parametrize("column", ["request", "first name", "a.b", "größe"])
def test_columns_may_have_any_name(tmp_path, put, column: str) -> None:
    pq.write_table(pa.table({column: ["x"], "a": [1]}), tmp_path / "a.parquet")
    for path in (
        tmp_path / "a.parquet",
        put("a.csv", f"{column}\nx\n"),
        put("a.jsonl", json.dumps({column: "x"})),
    ):
        assert read(path, column) == [{column: "x"}]


def test_column_may_be_asked_for_twice(tmp_path) -> None:
    pq.write_table(pa.table({"id": ["1"], "title": ["Emma"]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", "id", "title", "id") == [{"id": "1", "title": "Emma"}]


def test_parquet_of_many_batches_is_read_in_order(tmp_path) -> None:
    pq.write_table(pa.table({"id": list(range(5000))}), tmp_path / "a.parquet", row_group_size=1500)
    assert [row["id"] for row in read(tmp_path / "a.parquet", "id")] == list(range(5000))


def test_parquet_without_rows_has_columns(tmp_path) -> None:
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), tmp_path / "a.parquet")
    found = rows_of(tmp_path / "a.parquet", "id")
    assert (found.columns, list(found.rows)) == (("id",), [])


def test_what_is_no_parquet_names_the_file(put, tmp_path) -> None:
    with pytest.raises(InvalidRequestError, match=r"a\.parquet can't be read as Parquet"):
        read(put("a.parquet", "id,title\n1,a\n" * 100), "id")
    pq.write_table(pa.table({"id": list(range(100_000))}), tmp_path / "b.parquet")
    whole = (tmp_path / "b.parquet").read_bytes()
    with pytest.raises(InvalidRequestError, match=r"c\.parquet can't be read as Parquet"):
        read(put("c.parquet", whole[: len(whole) // 2]), "id")


def test_files_of_a_pattern_are_read_by_name(put, tmp_path) -> None:
    (tmp_path / "deep").mkdir()
    for name, key in (("b.csv", 2), ("a.csv", 1), ("deep/c.csv", 3)):
        put(name, f"id\n{key}\n")
    assert read(tmp_path / "*.csv", "id") == [{"id": "1"}, {"id": "2"}]
    assert read(tmp_path / "**" / "*.csv", "id") == [{"id": "1"}, {"id": "2"}, {"id": "3"}]


def test_name_with_the_characters_of_a_pattern_is_a_name(put) -> None:
    assert read(put("a[1].csv", "id\n1\n"), "id") == [{"id": "1"}]


def test_files_may_have_their_columns_in_another_order(put, tmp_path) -> None:
    put("a.csv", "id,title\n1,Emma\n")
    put("b.csv", "")
    put("c.csv", "title,more,id\nIda,x,2\n")
    assert read(tmp_path / "*.csv", "id", "title") == [
        {"id": "1", "title": "Emma"},
        {"id": "2", "title": "Ida"},
    ]


def test_later_file_without_a_column_is_named(put, tmp_path) -> None:
    put("a.csv", "id,title\n1,Emma\n")
    put("b.csv", "id\n2\n")
    with pytest.raises(
        InvalidRequestError, match=r"b\.csv has no column 'title', unlike the files before it"
    ):
        read(tmp_path / "*.csv", "id", "title")


@pytest.mark.parametrize("name", ["absent.csv", "absent-*.csv", "folder.csv"])
def test_file_that_is_not_there_can_be_waited_for(tmp_path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(SourceNotReadyError, match="there is no such file"):
        rows_of(tmp_path / name, "id")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="default"),
        pytest.param({"use_dictionary": False}, id="plain"),
        pytest.param({"data_page_version": "2.0"}, id="pages-2"),
        pytest.param({"write_page_index": True}, id="page-index"),
        pytest.param({"compression": "gzip"}, id="gzip"),
        pytest.param({"compression": "none"}, id="not-packed"),
        pytest.param({"row_group_size": 300}, id="row-groups"),
        pytest.param({"data_page_size": 100}, id="small-pages"),
        pytest.param({"write_page_checksum": True}, id="checksums"),
        pytest.param({"use_byte_stream_split": ["f"], "use_dictionary": False}, id="split-streams"),
    ],
)
def test_parquet_of_every_writer_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    rows = [
        {
            "id": str(number),
            "text": None if number % 7 == 0 else f"text {number % 50}" * 20,
            "tags": None if number % 5 == 0 else [f"tag {tag}" for tag in range(number % 4)],
            "inner": {"a": b"x" * (number % 3), "b": [{"c": number}]},
            "day": date(2026, 11, 1 + number % 28),
            "price": Decimal(number) / 4,
            "f": number / 3,
            "pairs": [("k", "v")] if number % 2 else [],
        }
        for number in range(1500)
    ]
    kinds = {"pairs": pa.map_(pa.string(), pa.string()), "price": pa.decimal128(20, 2)}
    columns = {name: pa.array([row[name] for row in rows], kinds.get(name)) for name in rows[0]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", **options)
    assert read(tmp_path / "a.parquet", *rows[0]) == rows


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.large_binary(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_parquet_keeps_texts_of_every_kind(tmp_path: Path, kind: pa.DataType) -> None:
    values = ["a", None, "", "é日😀"]
    array = pa.array(values, pa.string()).cast(kind)
    try:
        pq.write_table(pa.table({"id": array}), tmp_path / "a.parquet")
    except pa.ArrowNotImplementedError as error:
        pytest.skip(f"this pyarrow writes none: {error}")
    texts = [row["id"] for row in read(tmp_path / "a.parquet", "id")]
    assert [text.decode() if isinstance(text, bytes) else text for text in texts] == values


@pytest.mark.parametrize("place", range(0, 400, 13))
def test_damaged_parquet_is_refused_or_read(tmp_path: Path, place: int) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ["a", "b"] * 20, "n": list(range(40))}), path)
    content = bytearray(path.read_bytes())
    content[4 + place % (len(content) - 4)] ^= 0xFF
    path.write_bytes(content)
    with suppress(InvalidRequestError):
        read(path, "id")
