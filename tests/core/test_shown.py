from __future__ import annotations

import logging
import sys
import unicodedata

import pytest

from airflow_gemini_batch.core.log import ShownLog
from airflow_gemini_batch.core.shown import listed, shown
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("Emma, é日😀\u3000\u00a0 [red] \\n", "Emma, é日😀\u3000\u00a0 [red] \\n"),
        ("a\nb\r\nc\td", "a\\nb\\r\\nc\\td"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("\x9b31m\x85\x7f\x00", "\\x9b31m\\x85\\x7f\\x00"),
        ("\u202eevil\u2066\u200f\u061c", "\\u202eevil\\u2066\\u200f\\u061c"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\ud800", "\\ud800"),
        ("👩\u200d💻 a\u200cb", "👩\u200d💻 a\u200cb"),
    ],
)
def test_text_is_shown_as_it_is_or_as_escapes(text: str, escaped: str) -> None:
    assert shown(text) == escaped


def test_message_keeps_its_own_lines() -> None:
    assert shown("a\n\tb\x1b\r", lines=True) == "a\n\tb\\x1b\\r"


# Control characters, line and paragraph separators, halves of pairs, and the marks that change the direction.
DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
KINDS = ("Cc", "Cs", "Zl", "Zp")


def test_no_control_character_is_left() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    unseen = {character for character in everything if unicodedata.category(character) in KINDS}
    assert unseen.union(DIRECTIONS).intersection(shown(everything)) == set()


def test_names_are_listed_up_to_a_number() -> None:
    assert listed(["a", "b\n"]) == "a, b\\n"
    assert listed(map(str, range(5000)), most=2) == "0, 1 and 4,998 more"


@pytest.mark.parametrize("kind", [GeminiBatchError, InvalidRequestError])
def test_errors_can_be_printed(kind: type[GeminiBatchError]) -> None:
    assert str(kind("a\n- b\x1b[31m\r")) == "a\n- b\\x1b[31m\\r"


def test_log_escapes_its_arguments(caplog: pytest.LogCaptureFixture) -> None:
    log = ShownLog(logging.getLogger("shown"))
    with caplog.at_level(logging.DEBUG):
        log.info("%s of %d: %.1f", "a\x1b[31m", 3, 0.25)
        log.warning("%s", ValueError("a\nFORGED"))
        log.error("%s", GeminiBatchError("one\ntwo\r"), exc_info=None)
        log.debug("plain")
    assert [record.getMessage() for record in caplog.records] == [
        "a\\x1b[31m of 3: 0.2",
        "a\\nFORGED",
        "one\ntwo\\r",
        "plain",
    ]
    assert {record.filename for record in caplog.records} == {"test_shown.py"}
