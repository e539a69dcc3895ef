"""Rows that are read by column are those that are read one by one, whatever a file holds."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.columns import rows_of, texts_of
from airflow_gemini_batch.requests.files import csv_rows, json_rows, pieces
from airflow_gemini_batch.requests.files.sources import SourceFile

WORDS = ["a", "é", "日本", "😀", 'x"y', "\\", "\n", "\u2028", "", " ", "{", "[1]", ":", '":', "\x7f", "\x01"]

# What one reader takes and another one might not, and what changes the type of a column.
ODD_LINES = [
    b'{"s":"a","s":"b"}',
    b'{"s":"a","\\u0073":"b"}',
    b'{"f":NaN}',
    b'{"m":{"x":NaN}}',
    b'{"m":{"x":-Infinity}}',
    b'{"m":{"y":"1","y":"2"}}',
    b'{"s":"\\ud800"}',
    b'{"s":"\\udc00"}',
    b'{"s":"\xff"}',
    b'{"i":123456789012345678901}',
    b'{"m":{"x":12345678901234567890}}',
    b'{"f":12345678901234567}',
    b'{"f":1e15}',
    b'{"f":1e400}',
    b'{"f":%s}' % (b"9" * 400),
    b'{"i":1}{"i":2}',
    b'{"s":"a",}',
    b'{"s":"a"}]',
    b'{"i":01}',
    b'{"i":-0}',
    b'{"f":-0}',
    b'{"s":5}',
    b'{"b":"x"}',
    b'{"l":[null]}',
    b'{"new":[[[[]]]]}',
    b'{"s":"\\u00e9\\/"}',
    b'{"s"\t:\t"x"}\r',
    b' {"s":"x"}',
    b'\xef\xbb\xbf{"s":"x"}',
    b"{}",
    b"[1]",
    b"",
]


def _json_value(dice: random.Random, name: str) -> Any:
    text = "".join(dice.choices(WORDS, k=dice.randrange(4)))
    return {
        "s": text,
        "i": dice.choice([0, -1, 7, 2**53 + 1, -(2**63), 2**63 - 1]),
        "f": dice.choice([0.0, -0.0, 1.5, 0.1, 2008.0, 1e-7, 123456.789]),
        "b": dice.random() < 0.5,
        "l": [text] * dice.randrange(3),
        "m": {"x": dice.random(), "y": text},
        "mixed": dice.choice([1, 2.5, 3]),
    }[name]


def _json_line(dice: random.Random, names: list[str]) -> bytes:
    row = {
        name: None if dice.random() < 0.1 else _json_value(dice, name)
        for name in names
        if dice.random() < 0.9
    }
    spaced = json.dumps(row, ensure_ascii=False, separators=(" ,", " : ")).encode()
    return dice.choice([orjson.dumps(row), json.dumps(row).encode(), spaced])


@pytest.mark.parametrize("seed", range(4))
def test_typed_rows_are_those_of_single_lines(seed: int) -> None:
    dice = random.Random(seed)
    taken = 0
    for _ in range(300):
        names = dice.sample(["s", "i", "f", "b", "l", "m", "mixed"], dice.randrange(1, 6))
        needed = dice.sample(names, dice.randrange(1, len(names) + 1))
        lines = [_json_line(dice, names) for _ in range(20)]
        reader = json_rows._TypedRows(needed)
        reader.learn(list(json_rows._objects("a.jsonl", 1, b"\n".join(lines))))
        block_lines = [_json_line(dice, names) for _ in range(dice.randrange(1, 8))]
        if dice.random() < 0.5:
            block_lines.insert(dice.randrange(len(block_lines) + 1), dice.choice(ODD_LINES))
        block = b"\n".join(block_lines) + dice.choice([b"", b"\n"])
        if (found := reader.read(block)) is None:
            continue
        taken += 1
        # An error here is a line that would have to be refused.
        rows = list(json_rows._objects("a.jsonl", 2, block))
        assert texts_of(found, needed).equals(texts_of(rows, needed)), block
    assert taken > 50


@pytest.mark.parametrize("line", ODD_LINES)
def test_odd_line_after_many_others_is_read_or_refused_as_ever(
    monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 4096)
    plain = (
        orjson.dumps({"s": "a", "i": 1, "f": 0.5, "b": True, "l": ["x"], "m": {"x": 0.5, "y": "z"}}) + b"\n"
    )
    # Several blocks, of which the first ones show the types.
    begin = plain * (8 * pieces.PIECE_BYTES // len(plain))
    content = begin + line + b"\n" + plain

    number = begin.count(b"\n") + 1

    def read() -> list[Any]:
        found = json_rows.pieces(SourceFile("a.jsonl", lambda: io.BytesIO(content)), ["s", "f"])
        rows = [row for piece in found for row in texts_of(piece.read(), ["s", "f"]).to_pylist()]
        return rows[number - 1 :]

    def read_line_by_line() -> list[Any]:
        rows = list(json_rows._objects("a.jsonl", number, line + b"\n" + plain))
        return list(texts_of(rows, ["s", "f"]).to_pylist())

    assert _rows_or_error(read) == _rows_or_error(read_line_by_line)


def _rows_or_error(read: Callable[[], list[Any]]) -> list[Any] | str:
    try:
        return read()
    except InvalidRequestError as error:
        return str(error)


CSV_ATOMS = [
    "a",
    '"',
    '""',
    ",",
    "\n",
    "\r\n",
    "\r",
    " ",
    "é",
    "日本",
    "\\",
    "\0",
    "\ufeff",
    '"x"',
    ',"',
    '",',
    "7",
]


def _csv_cell(dice: random.Random) -> str:
    text = "".join(dice.choices(CSV_ATOMS, k=dice.randrange(4)))
    if dice.random() < 0.1:
        return text
    if dice.random() < 0.7:
        return '"' + text.replace('"', '""') + '"'
    return text.translate(dict.fromkeys(map(ord, '",\r\n')))


@pytest.mark.parametrize("seed", range(4))
def test_csv_is_what_python_s_reader_makes_of_it(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 64)
    dice = random.Random(seed)
    by_column = 0
    for _ in range(300):
        width = dice.choice([1, 2, 2, 3])
        rows = (
            ",".join(_csv_cell(dice) for _ in range(width + (dice.random() < 0.02)))
            for _ in range(dice.randrange(8))
        )
        text = dice.choice(["", "\ufeff", "\n"]) + ",".join("abc"[:width]) + "\n"
        text += "".join(row + dice.choice(["\n", "\r\n"]) for row in rows)
        content = text[: -1 if dice.random() < 0.3 else None].encode()
        file = SourceFile("a.csv", partial(io.BytesIO, content))  # type: ignore[arg-type]
        found = _rows_or_error(partial(_csv, file))
        assert found == _rows_or_error(partial(_plain_csv, file, width)), text
        by_column += isinstance(found, list) and any(
            not isinstance(piece.read(), list) for piece in csv_rows.pieces(file, ["a"])
        )
    assert by_column > 50


def _csv(file: SourceFile) -> list[Any]:
    return [row for piece in csv_rows.pieces(file, ["a"]) for row in rows_of(piece.read())]


def _plain_csv(file: SourceFile, width: int) -> list[Any]:
    """Read a file as a whole with Python's reader."""
    with file.plain() as stream, csv_rows._reader(file.name, stream) as (reader, lines):
        rows = []
        header = csv_rows._header(reader, file.name)
        for cells in reader if header else ():
            lines.record_size = 0
            if len(cells) == width:
                rows.append({"a": cells[0] or None})
            elif cells:
                raise InvalidRequestError(
                    f"a.csv, line {lines.number}: the row has {len(cells)} cells and the header {width}. "
                    "Quote cells that hold commas, quotes or line ends"
                )
        return rows


def test_csv_of_many_pieces_is_read_in_order(tmp_path: Path) -> None:
    cells = ['"a ""b"", c\nd"', "plain", '""', '"\r\n"']
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        file.write("id,text\n")
        file.writelines(f"{number},{cells[number % 4]}\r\n" for number in range(150_000))
    texts = ['a "b", c\nd', "plain", None, "\r\n"]
    found = csv_rows.pieces(SourceFile("a.csv", lambda: io.FileIO(path)), ["id", "text"])
    rows = [row for piece in found for row in rows_of(piece.read())]
    assert rows == [{"id": str(number), "text": texts[number % 4]} for number in range(150_000)]
