"""What the SQL of BigQuery and of DuckDB spells differently.

The rules of the package are functions that write SQL, and take a dialect. What is not here, both engines read alike:
``CASE``, ``IF``, ``IFNULL``, ``COALESCE``, ``NULLIF``, ``SUBSTR``, ``QUALIFY``. Of what DuckDB reads and answers
differently, beware: ``CONCAT``, ``GREATEST`` and ``LEAST`` skip NULL there, ``TRIM`` takes spaces only, and a cast of
``'1.5'`` to a whole number rounds.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol


class Binder(Protocol):
    """Takes texts that a statement does not spell out."""

    def bind(self, value: str) -> str:
        """Return the expression that stands for a text."""


class Literals:
    """Spells texts out, for DuckDB."""

    def bind(self, value: str) -> str:
        """Return the literal of a text."""
        return "'" + value.replace("'", "''") + "'"


class Dialect(ABC):
    """Writes expressions. Each parameter is an expression, too, unless its name is that of a plain text.

    Plain texts are: ``name``, ``pattern``, ``type_``, ``item``, ``index``, and ``path``, which names a value within
    JSON, such as ``$.response."a b"[0]``.
    """

    types: ClassVar[dict[str, str]]
    """Names of types by those of BigQuery."""
    column_list: ClassVar[str]
    """The keyword of ``SELECT * … (columns)`` that leaves columns out."""

    @abstractmethod
    def name(self, name: str) -> str:
        """Return a column's name as it stands in a statement."""

    @abstractmethod
    def pattern(self, pattern: str) -> str:
        """Return the literal of a pattern of RE2, which holds no single quotes."""

    @abstractmethod
    def contains(self, text: str, pattern: str) -> str:
        """Return whether a pattern occurs in a text; NULL of NULL."""

    @abstractmethod
    def extract(self, text: str, pattern: str) -> str:
        """Return what the group of a pattern matches in a text; NULL, or empty, where nothing does."""

    @abstractmethod
    def trimmed(self, text: str) -> str:
        """Return a text without white space around it."""

    @abstractmethod
    def has_words(self, text: str) -> str:
        """Return whether a text holds more than white space; NULL of NULL."""

    @abstractmethod
    def concat(self, *texts: str) -> str:
        """Return texts as one; NULL if one is NULL."""

    @abstractmethod
    def cast(self, value: str, type_: str) -> str:
        """Return a text or a number as a type of BigQuery's; NULL where it can't be."""

    @abstractmethod
    def whole(self, text: str) -> str:
        """Return the whole number that a text is, as :meth:`cast` does; NULL of ``1.0`` too."""

    def json_path(self, path: str, name: str) -> str:
        """Return the path of a field of the object at a path; raises :class:`ValueError` for a name in no path."""
        return f'{path}."{name}"'

    @abstractmethod
    def json_query(self, json: str, path: str) -> str:
        """Return the JSON value at a path; NULL where nothing is, and JSON ``null`` where that is."""

    @abstractmethod
    def json_value(self, json: str, path: str = "$") -> str:
        """Return the text of a JSON text, number or boolean; NULL of anything else."""

    @abstractmethod
    def json_items(self, json: str, path: str = "$") -> str:
        """Return the items of a JSON list; NULL of anything else."""

    @abstractmethod
    def json_length(self, json: str) -> str:
        """Return the number of items of a JSON list; 0 or NULL of anything else."""

    @abstractmethod
    def json_numbers(self, json: str, most: int | None, below: float) -> str:
        """Return the numbers of a JSON list, NULL for each item that is something else.

        :param most: how many of the first items are looked at; all of them if None.
        :param below: the positive number that they are below, without their sign.
        """

    @abstractmethod
    def json_is(self, json: str, path: str, type_: str) -> str:
        """Return whether a JSON value is an ``object``, ``array``, ``string``, ``number``, ``boolean`` or ``null``.

        False where there is no value.
        """

    @abstractmethod
    def json_text(self, json: str) -> str:
        """Return a JSON value as text, the names of its objects sorted."""

    @abstractmethod
    def parsed_json(self, text: str) -> str:
        """Return the JSON value that a text is; NULL when it is not JSON."""

    @abstractmethod
    def one(self, value: str) -> str:
        """Return the list of one value."""

    @abstractmethod
    def at(self, items: str, place: str) -> str:
        """Return the item at a place of a list, counted from 1; NULL where there is none."""

    @abstractmethod
    def length(self, items: str) -> str:
        """Return the number of items of a list; NULL of NULL."""

    @abstractmethod
    def each(self, items: str, item: str, value: str, where: str = "TRUE", most: int | None = None) -> str:
        """Return a list with a value for each item that a condition holds for, in their order.

        :param item: what the value and the condition call the item.
        """

    @abstractmethod
    def joined(self, items: str, item: str, value: str, where: str = "TRUE") -> str:
        """Return the texts of :meth:`each` as one text, without those that are NULL; empty or NULL if there is none."""

    @abstractmethod
    def has(self, items: str, item: str, where: str) -> str:
        """Return whether a condition holds for an item of a list; false of NULL."""

    @abstractmethod
    def place(self, items: str, item: str, where: str) -> str:
        """Return the first place, counted from 1, of an item that a condition holds for; NULL if there is none."""

    @abstractmethod
    def first(self, items: str, item: str, index: str, value: str) -> str:
        """Return the first value of an item that is not NULL.

        :param index: what the value calls the place of the item, within :meth:`offset`.
        """

    @abstractmethod
    def offset(self, index: str) -> str:
        """Return the place of an item, counted from 0, by what :meth:`first` calls it."""

    @abstractmethod
    def has_null(self, items: str) -> str:
        """Return whether an item of a list is NULL; NULL of NULL."""

    @abstractmethod
    def norm(self, numbers: str) -> str:
        """Return the length of a vector (L2), as if what is NULL were not there."""

    def json_list(self, json: str, path: str) -> str:
        """Return the items of a JSON list; what is not a list is the only item."""
        return f"IFNULL({self.json_items(json, path)}, {self.one(self.json_query(json, path))})"

    def json_first(self, json: str, path: str = "$") -> str:
        """Return the first item of a JSON list; what is not a list, or is empty, as it is."""
        return f"COALESCE({self.json_query(json, f'{path}[0]')}, {self.json_query(json, path)})"

    def count(self, json: str, path: str) -> str:
        """Return a number that is not negative; 0 of anything else. The service writes 8, 8.0 or '8'."""
        number = self.cast(self.cast(self.json_value(json, path), "FLOAT64"), "INT64")
        return f"GREATEST(IFNULL({number}, 0), 0)"

    def without(self, *columns: str) -> str:
        """Return ``*`` without some columns."""
        return f"* {self.column_list} ({', '.join(columns)})"


_UNQUOTABLE = re.compile(r"""["'`\\\x00-\x1f]""")


class _BigQuery(Dialect):
    types: ClassVar = {name: name for name in ("STRING", "INT64", "FLOAT64", "BOOL", "JSON", "TIMESTAMP")}
    column_list = "EXCEPT"

    def name(self, name: str) -> str:
        return f"`{name}`"

    def pattern(self, pattern: str) -> str:
        return f"r'{pattern}'"

    def contains(self, text: str, pattern: str) -> str:
        return f"REGEXP_CONTAINS({text}, {self.pattern(pattern)})"

    def extract(self, text: str, pattern: str) -> str:
        return f"REGEXP_EXTRACT({text}, {self.pattern(pattern)})"

    def trimmed(self, text: str) -> str:
        return f"TRIM({text})"

    def has_words(self, text: str) -> str:
        return f"{self.trimmed(text)} != ''"

    def concat(self, *texts: str) -> str:
        return f"CONCAT({', '.join(texts)})"

    def cast(self, value: str, type_: str) -> str:
        return f"SAFE_CAST({value} AS {type_})"

    def whole(self, text: str) -> str:
        return self.cast(text, "INT64")

    def json_path(self, path: str, name: str) -> str:
        if _UNQUOTABLE.search(name):
            raise ValueError("without quotes, backslashes and line ends")
        return super().json_path(path, name)

    def json_query(self, json: str, path: str) -> str:
        return json if path == "$" else f"JSON_QUERY({json}, '{path}')"

    def json_value(self, json: str, path: str = "$") -> str:
        return f"JSON_VALUE({json}, '{path}')"

    def json_items(self, json: str, path: str = "$") -> str:
        return f"JSON_QUERY_ARRAY({json}, '{path}')"

    def json_length(self, json: str) -> str:
        return self.length(self.json_items(json))

    def json_numbers(self, json: str, most: int | None, below: float) -> str:
        number = self.cast(self.json_value("item"), "FLOAT64")
        value = f"IF({self.json_is('item', '$', 'number')} AND ABS({number}) < {below}, {number}, NULL)"
        where = "TRUE" if most is None else f"item_index < {most}"
        return self.each(self.json_items(json), "item", value, where)

    def json_is(self, json: str, path: str, type_: str) -> str:
        return f"IFNULL(JSON_TYPE({self.json_query(json, path)}) = '{type_}', FALSE)"

    def json_text(self, json: str) -> str:
        return f"TO_JSON_STRING({json})"

    def parsed_json(self, text: str) -> str:
        return f"SAFE.PARSE_JSON({text}, wide_number_mode => 'round')"

    def one(self, value: str) -> str:
        return f"[{value}]"

    def at(self, items: str, place: str) -> str:
        return f"{items}[SAFE_ORDINAL({place})]"

    def length(self, items: str) -> str:
        return f"ARRAY_LENGTH({items})"

    def each(self, items: str, item: str, value: str, where: str = "TRUE", most: int | None = None) -> str:
        index = f"{item}_index"
        return (
            f"ARRAY(SELECT {value} FROM UNNEST({items}) AS {item} WITH OFFSET AS {index}"
            f"{_where(where)} ORDER BY {index})"
        )

    def joined(self, items: str, item: str, value: str, where: str = "TRUE") -> str:
        index = f"{item}_index"
        return (
            f"(SELECT STRING_AGG({value}, '' ORDER BY {index}) "
            f"FROM UNNEST({items}) AS {item} WITH OFFSET AS {index}{_where(where)})"
        )

    def has(self, items: str, item: str, where: str) -> str:
        return f"EXISTS (SELECT 1 FROM UNNEST({items}) AS {item}{_where(where)})"

    def place(self, items: str, item: str, where: str) -> str:
        index = f"{item}_index"
        return (
            f"(SELECT MIN({index}) + 1 FROM UNNEST({items}) AS {item} WITH OFFSET AS {index}{_where(where)})"
        )

    def first(self, items: str, item: str, index: str, value: str) -> str:
        return f"""(
      SELECT found FROM (
        SELECT {index} AS found_index, {value} AS found FROM UNNEST({items}) AS {item} WITH OFFSET AS {index}
      ) WHERE found IS NOT NULL ORDER BY found_index LIMIT 1
    )"""

    def offset(self, index: str) -> str:
        return index

    def has_null(self, items: str) -> str:
        return f"EXISTS (SELECT 1 FROM UNNEST({items}) AS item WHERE item IS NULL)"

    def norm(self, numbers: str) -> str:
        return f"(SELECT SQRT(SUM(number * number)) FROM UNNEST({numbers}) AS number)"


def _where(condition: str) -> str:
    return "" if condition == "TRUE" else f" WHERE {condition}"


# What Unicode calls white space, as TRIM of BigQuery and strip() of Python take it.
_SPACE = r"\s\x0b\x1c-\x1f\x85\p{Z}"
# What DuckDB takes for JSON, and others do not, may stand in such a text: see gemini_batch_strict_json.
_DOUBTFUL = r"(?i)nan|inf|,\s*[]}]|[0-9]e\+?[0-9]{3}|[0-9]{309}"


class _DuckDB(Dialect):
    types: ClassVar = {
        "STRING": "VARCHAR",
        "INT64": "BIGINT",
        "FLOAT64": "DOUBLE",
        "BOOL": "BOOLEAN",
        "JSON": "JSON",
        "TIMESTAMP": "TIMESTAMPTZ",
    }
    column_list = "EXCLUDE"
    _json_types: ClassVar = {
        "object": "('OBJECT')",
        "array": "('ARRAY')",
        "string": "('VARCHAR')",
        "number": "('BIGINT', 'UBIGINT', 'DOUBLE')",
        "boolean": "('BOOLEAN')",
        "null": "('NULL')",
    }

    def name(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def pattern(self, pattern: str) -> str:
        return f"'{pattern}'"

    def contains(self, text: str, pattern: str) -> str:
        return f"regexp_matches({text}, {self.pattern(pattern)})"

    def extract(self, text: str, pattern: str) -> str:
        return f"regexp_extract({text}, {self.pattern(pattern)}, 1)"

    def trimmed(self, text: str) -> str:
        return f"regexp_replace({text}, '^[{_SPACE}]+|[{_SPACE}]+$', '', 'g')"

    def has_words(self, text: str) -> str:
        return self.contains(text, f"[^{_SPACE}]")

    def concat(self, *texts: str) -> str:
        return f"({' || '.join(texts)})"

    def cast(self, value: str, type_: str) -> str:
        return f"TRY_CAST({value} AS {self.types[type_]})"

    def whole(self, text: str) -> str:
        return f"IF({self.contains(text, '^-?[0-9]+$')}, {self.cast(text, 'INT64')}, NULL)"

    def json_path(self, path: str, name: str) -> str:
        name = name.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
        return super().json_path(path, name)

    def json_query(self, json: str, path: str) -> str:
        return json if path == "$" else f"json_extract({json}, '{path}')"

    def json_value(self, json: str, path: str = "$") -> str:
        return f"json_extract_string(json_value({json}, '{path}'), '$')"

    def json_items(self, json: str, path: str = "$") -> str:
        return f"IF(json_type({json}, '{path}') = 'ARRAY', json_extract({json}, '{path}[*]'), NULL)"

    def json_length(self, json: str) -> str:
        return f"json_array_length({json})"

    def json_numbers(self, json: str, most: int | None, below: float) -> str:
        # A list of JSON takes more memory for each number than there is.
        return f"gemini_batch_json_numbers({json}, {'NULL' if most is None else most}, {below})"

    def json_is(self, json: str, path: str, type_: str) -> str:
        return f"IFNULL(json_type({json}, '{path}') IN {self._json_types[type_]}, FALSE)"

    def json_text(self, json: str) -> str:
        return f"gemini_batch_json_text({json})"

    def parsed_json(self, text: str) -> str:
        strict = f"gemini_batch_strict_json({text})"
        return f"CASE WHEN {self.contains(text, _DOUBTFUL)} THEN {strict} ELSE json(TRY_CAST({text} AS JSON)) END"

    def one(self, value: str) -> str:
        return f"[{value}]"

    def at(self, items: str, place: str) -> str:
        return f"{items}[{place}]"

    def length(self, items: str) -> str:
        return f"len({items})"

    def each(self, items: str, item: str, value: str, where: str = "TRUE", most: int | None = None) -> str:
        kept = items if where == "TRUE" else f"list_filter({items}, lambda {item}: {where})"
        return f"list_transform({kept}, lambda {item}: {value})"

    def joined(self, items: str, item: str, value: str, where: str = "TRUE") -> str:
        return f"array_to_string({self.each(items, item, value, where)}, '')"

    def has(self, items: str, item: str, where: str) -> str:
        return f"IFNULL(list_contains(list_transform({items}, lambda {item}: {where}), TRUE), FALSE)"

    def place(self, items: str, item: str, where: str) -> str:
        return f"list_position(list_transform({items}, lambda {item}: {where}), TRUE)"

    def first(self, items: str, item: str, index: str, value: str) -> str:
        values = f"list_transform({items}, lambda {item}, {index}: {value})"
        return f"list_filter({values}, lambda found: found IS NOT NULL)[1]"

    def offset(self, index: str) -> str:
        return f"({index} - 1)"

    def has_null(self, items: str) -> str:
        return f"(list_count({items}) < len({items}))"

    def norm(self, numbers: str) -> str:
        return f"sqrt(list_sum({self.each(numbers, 'number', 'number * number')}))"


BIGQUERY: Dialect = _BigQuery()
DUCKDB: Dialect = _DuckDB()
