from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import sqlglot
from sqlglot.dialects.dialect import Dialect

from tests.testing.bigquery.patches.conftest import NASTY, Query, types_of

if TYPE_CHECKING:
    from google.cloud import bigquery

REQUEST = {
    "contents": [{"role": "user", "parts": [{"text": f"Describe: {NASTY}"}]}],
    "generationConfig": {"temperature": 0.2, "maxOutputTokens": 256},
}


@pytest.mark.parametrize(
    ("expression", "column_type"),
    [
        (
            """TO_JSON_STRING(JSON_OBJECT(
                 'contents', JSON_ARRAY(JSON_OBJECT('role', 'user', 'parts',
                   JSON_ARRAY(JSON_OBJECT('text', CONCAT('Describe: ', title))))),
                 'generationConfig', JSON_OBJECT('temperature', 0.2, 'maxOutputTokens', 256)))""",
            "STRING",
        ),
        (
            """TO_JSON(STRUCT(
                 [STRUCT('user' AS role, [STRUCT(CONCAT('Describe: ', title) AS text)] AS parts)] AS contents,
                 STRUCT(0.2 AS temperature, 256 AS maxOutputTokens) AS generationConfig))""",
            "JSON",
        ),
        (
            """TO_JSON_STRING(STRUCT(
                 [STRUCT('user' AS role, [STRUCT(CONCAT('Describe: ', title) AS text)] AS parts)] AS contents,
                 STRUCT(0.2 AS temperature, 256 AS maxOutputTokens) AS generationConfig))""",
            "STRING",
        ),
    ],
    ids=["objects as string", "structs as json", "structs as string"],
)
def test_builds_requests(
    client: bigquery.Client, dataset: str, query: Query, expression: str, column_type: str
) -> None:
    query("CREATE TABLE ds.books AS SELECT 'b1' AS book_id, @title AS title", title=NASTY)
    query(f"CREATE OR REPLACE TABLE ds.requests AS SELECT book_id, {expression} AS request FROM ds.books")

    ((key, request),) = [tuple(row.values()) for row in client.list_rows(f"{dataset}.requests")]

    assert key == "b1"
    assert (json.loads(request) if isinstance(request, str) else request) == REQUEST
    assert types_of(client, f"{dataset}.requests") == {"book_id": "STRING", "request": column_type}


@pytest.mark.parametrize("response", ["response", "TO_JSON_STRING(response)"], ids=["JSON", "STRING"])
def test_reads_responses(query: Query, response: str) -> None:
    answer = json.dumps({"candidates": [{"content": {"parts": [{"text": NASTY}]}, "finishReason": "STOP"}]})
    query(
        """CREATE TABLE ds.output AS
           SELECT 'good' AS k, PARSE_JSON(@answer) AS response UNION ALL SELECT 'bad', NULL""",
        answer=answer,
    )

    rows = query(
        f"""SELECT k, JSON_VALUE({response}, '$.candidates[0].content.parts[0].text'),
              JSON_EXTRACT_SCALAR({response}, '$.candidates[0].finishReason')
            FROM ds.output ORDER BY k DESC"""
    )

    assert rows == [("good", NASTY, "STOP"), ("bad", None, None)]


EXPRESSIONS: list[tuple[str, Any]] = [
    ("JSON_QUERY(JSON '{\"a\": {\"bC\": [1]}}', '$.a')", {"bC": [1]}),
    ("JSON_QUERY('{\"a\": {\"bC\": [1]}}', '$.a')", '{"bC":[1]}'),
    ("TO_JSON_STRING(JSON_QUERY(JSON '{\"a\": [1]}', '$.a'))", "[1]"),
    ("SAFE.PARSE_JSON('{\"B\": null}')", {"B": None}),
    ("SAFE.PARSE_JSON('{broken')", None),
    ("JSON_QUERY(JSON_QUERY(JSON '{\"a\": {\"b\": [1]}}', '$.a'), '$.b')", [1]),
    ("TO_JSON_STRING(NULL)", "null"),
    ("TO_JSON_STRING(STRUCT(TO_JSON_STRING(NULL) AS a))", '{"a":"null"}'),
    ("TO_JSON_STRING('q\"\\\\')", r'"q\"\\"'),
    ("TO_JSON_STRING('\u2028\u2029\\\\u2028')", r'"\u2028\u2029\\u2028"'),
    ("SAFE_CAST('12' AS INT64)", 12),
    ("SAFE_CAST('12x' AS INT64)", None),
    ('REGEXP_EXTRACT(\'Bad: {"error": {"code": 429}}\', r\'"code":\\s*(\\d+)\')', "429"),
    ("REGEXP_EXTRACT('', r'\"code\":\\s*(\\d+)')", None),
    ("REGEXP_REPLACE('```json\\n{}\\n```', r'^```(?:json)?\\s*|\\s*```$', '')", "{}"),
    ("COALESCE(NULL, 'x')", "x"),
    ("NULLIF('', '')", None),
    ("TRIM('  x\\n')", "x"),
    ("CONCAT('<', RTRIM(' x \\t\\n'), '>')", "< x>"),
    ("TRIM('--x-', '-')", "x"),
    ("TO_HEX(SHA256(CONCAT('é', '你')))", "1d3a74c5a18ae8b9a719aa17b0b672ff728312f68fc13c4ab6ffccf1bad910b6"),
    ("FARM_FINGERPRINT('hello')", -5436999610281751320),
    ("NUMERIC '0.000000001'", Decimal("0.000000001")),
    ("CAST('12345678901.000000075' AS NUMERIC)", Decimal("12345678901.000000075")),
    ("CAST(1200 AS NUMERIC) * NUMERIC '0.000000075'", Decimal("0.00009")),
    (r"'a\'b\\c\nd'", "a'b\\c\nd"),
    (r"r'\d+\n'", r"\d+\n"),
    ('"it\'s"', "it's"),
    ("'''it's \"x\"'''", 'it\'s "x"'),
]


@pytest.mark.parametrize(("expression", "value"), EXPRESSIONS, ids=[text for text, _ in EXPRESSIONS])
def test_answers_expression(query: Query, expression: str, value: Any) -> None:
    assert query(f"SELECT {expression}") == [(value,)]


AGGREGATES: list[tuple[str, Any]] = [
    ("COUNTIF(ok)", 1),
    ("LOGICAL_AND(ok)", False),
    ("LOGICAL_OR(ok)", True),
    ("STRING_AGG(k, ',' ORDER BY k DESC)", "c,b,a"),
    ("ARRAY_AGG(k ORDER BY k LIMIT 2)", ["a", "b"]),
    ("ARRAY_AGG(note IGNORE NULLS LIMIT 3)", ["n"]),
    ("ARRAY_AGG(note IGNORE NULLS ORDER BY k LIMIT 3)", ["n"]),
    ("ARRAY_AGG(DISTINCT note IGNORE NULLS ORDER BY note LIMIT 3)", ["n"]),
    ("ARRAY_AGG(DISTINCT ok IGNORE NULLS ORDER BY ok LIMIT 5)", [False, True]),
    ("SUM(n)", 3_000_000_000 + 3),
    ("AVG(n)", (3_000_000_000 + 3) / 3),
    ("MAX(IF(ok, k, NULL))", "a"),
]


@pytest.mark.parametrize(("expression", "value"), AGGREGATES, ids=[text for text, _ in AGGREGATES])
def test_answers_aggregate(query: Query, expression: str, value: Any) -> None:
    rows = """(SELECT 'a' AS k, TRUE AS ok, 1 AS n, CAST(NULL AS STRING) AS note
               UNION ALL SELECT 'b', FALSE, 2, 'n' UNION ALL SELECT 'c', FALSE, 3000000000, NULL)"""
    assert query(f"SELECT {expression} FROM {rows}") == [(value,)]


def test_names_unnamed_columns(client: bigquery.Client) -> None:
    sql = "SELECT COUNT(*), a, a + 1, x AS b FROM (SELECT 1 AS a, 2 AS x) GROUP BY a, x"
    assert [field.name for field in client.query(sql).result().schema] == ["f0_", "a", "f1_", "b"]


@pytest.mark.parametrize("offset", ["o", "AS o"])
def test_counts_offsets_from_zero_and_keeps_their_name(client: bigquery.Client, offset: str) -> None:
    result = client.query(
        f"SELECT x, o FROM UNNEST(['p', 'q']) AS x WITH OFFSET {offset} ORDER BY o"
    ).result()
    assert [dict(row) for row in result] == [{"x": "p", "o": 0}, {"x": "q", "o": 1}]


def test_keeps_json_type_of_queried_columns(client: bigquery.Client, dataset: str, query: Query) -> None:
    query(
        "CREATE TABLE ds.output AS SELECT JSON '{\"usage\": {\"totalTokens\": 3}}' AS response, '{}' AS text"
    )
    query(
        """CREATE TABLE ds.parsed AS
           SELECT JSON_QUERY(response, '$.usage') AS usage, JSON_QUERY(text, '$') AS text FROM ds.output"""
    )
    assert types_of(client, f"{dataset}.parsed") == {"usage": "JSON", "text": "STRING"}
    assert query("SELECT usage FROM ds.parsed") == [({"totalTokens": 3},)]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("response.candidates[0].text", "first"),
        ("o.response.candidates[1].text", "second"),
        ("response['candidates'][0]['text']", "first"),
        ("JSON_VALUE(response.candidates[1], '$.text')", "second"),
        ("LAX_STRING(response.candidates[1].text)", "second"),
        ("response.missing[0].text", None),
        ("words[OFFSET(0)]", "a"),
        ("words[SAFE_OFFSET(5)]", None),
    ],
)
def test_follows_fields_of_json(query: Query, expression: str, value: Any) -> None:
    query(
        """CREATE TABLE ds.output AS
           SELECT JSON '{"candidates": [{"text": "first"}, {"text": "second"}]}' AS response, ['a', 'b'] AS words"""
    )
    assert query(f"SELECT {expression} AS value FROM ds.output AS o") == [(value,)]


@pytest.mark.parametrize(
    ("sql", "parameters", "rows"),
    [
        ("SELECT @text", {"text": NASTY}, [(NASTY,)]),
        ("SELECT CONCAT('@text $text ? ', @text)", {"text": "x"}, [("@text $text ? x",)]),
        ("SELECT @a, @b, @c, @d", {"a": 1, "b": 1.5, "c": True, "d": None}, [(1, 1.5, True, None)]),
        ("SELECT k FROM UNNEST(@keys) AS k ORDER BY k", {"keys": ["b'", 'a"']}, [('a"',), ("b'",)]),
        ("SELECT k FROM UNNEST(@keys) AS k", {"keys": []}, []),
        ("SELECT 'k' IN UNNEST(@keys)", {"keys": ["k", "l"]}, [(True,)]),
    ],
    ids=["nasty", "inside literals", "types", "array", "empty array", "in array"],
)
def test_binds_parameters(
    query: Query, sql: str, parameters: dict[str, Any], rows: list[tuple[Any, ...]]
) -> None:
    assert query(sql, **parameters) == rows


def test_merges_the_last_row_of_each_key_and_repeats_without_effect(query: Query) -> None:
    query("CREATE TABLE ds.landed (k STRING NOT NULL, v STRING, moment INT64)")
    query("INSERT INTO ds.landed (k, v, moment) VALUES ('old', 'kept', 0), ('both', 'before', 0)")
    query(
        """CREATE TABLE ds.news AS SELECT 'both' AS k, 'first' AS v, 1 AS moment
           UNION ALL SELECT 'both', @v, 2 UNION ALL SELECT 'new', NULL, 1""",
        v=NASTY,
    )
    merge = """
        MERGE INTO ds.landed AS t
        USING (SELECT * FROM ds.news WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY moment DESC) = 1)
        AS s
        ON t.k = s.k
        WHEN MATCHED THEN UPDATE SET v = s.v, moment = s.moment
        WHEN NOT MATCHED THEN INSERT (k, v, moment) VALUES (s.k, s.v, s.moment)"""
    landed = [("both", NASTY, 2), ("new", None, 1), ("old", "kept", 0)]

    query(merge)
    assert query("SELECT k, v, moment FROM ds.landed ORDER BY k") == landed
    query(merge)
    assert query("SELECT k, v, moment FROM ds.landed ORDER BY k") == landed


def test_lists_tables_and_columns(query: Query) -> None:
    query("CREATE TABLE ds.one (k STRING NOT NULL, j JSON, n NUMERIC)")
    query("CREATE VIEW ds.two AS SELECT 1 AS x")
    query("INSERT INTO ds.one (k) VALUES ('x')")

    assert query("SELECT table_name, table_type FROM ds.INFORMATION_SCHEMA.TABLES ORDER BY 1") == [
        ("one", "BASE TABLE"),
        ("two", "VIEW"),
    ]
    assert query(
        """SELECT column_name, data_type, is_nullable FROM ds.INFORMATION_SCHEMA.COLUMNS
           WHERE table_name = 'one' ORDER BY ordinal_position"""
    ) == [("k", "STRING", "NO"), ("j", "JSON", "YES"), ("n", "NUMERIC", "YES")]
    assert query("SELECT COUNT(*) FROM ds.INFORMATION_SCHEMA.TABLES") == [(2,)]
    assert query("SELECT table_id, row_count, type FROM ds.__TABLES__ ORDER BY table_id") == [
        ("one", 1, 1),
        ("two", 0, 2),
    ]


def test_script_has_parameters_and_temporary_tables_of_its_own(query: Query) -> None:
    script = "CREATE TEMP TABLE kept AS SELECT CONCAT(@prompt, ' @prompt') AS text; SELECT text FROM kept"
    for prompt in (NASTY, "another"):
        assert query(script, prompt=prompt) == [(f"{prompt} @prompt",)]


def test_statement_is_parsed_anew_as_it_was_parsed_first(client: bigquery.Client, dataset: str) -> None:
    # The tree of a statement is shared by those who only read it.
    statements = [
        f"CREATE TABLE {dataset}.t (a INT64, b STRING) OPTIONS (description = 'x', labels = [('a', 'b')])",
        f"INSERT INTO {dataset}.t (a, b) VALUES (1, 'x')",
        f"ALTER TABLE {dataset}.t ADD COLUMN c STRING, ADD COLUMN d JSON",
        f"MERGE INTO {dataset}.t AS t USING (SELECT 1 AS a) AS s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = 'y'",
        f"UPDATE {dataset}.t SET b = 'z' WHERE a IN (SELECT n FROM UNNEST([1, 2]) AS n WITH OFFSET o)",
        f"CREATE VIEW {dataset}.v AS SELECT a, STRUCT(b AS camelCase) AS s FROM {dataset}.t",
        f"SELECT * FROM {dataset}.v LEFT JOIN {dataset}.t USING (a)",
        f"BEGIN TRANSACTION; DELETE FROM {dataset}.t WHERE TRUE; COMMIT TRANSACTION",
        f"DROP VIEW {dataset}.v",
        f"DROP TABLE IF EXISTS {dataset}.t",
    ]
    for sql in statements:
        client.query_and_wait(sql)
        for each in sql.split("; "):
            assert sqlglot.parse_one(each, read="bigquery") == Dialect.get_or_raise("bigquery").parse(each)[0]
