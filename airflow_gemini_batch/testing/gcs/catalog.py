"""What is known of buckets and objects, in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from airflow_gemini_batch.testing.gcs.records import Bucket, Content, ObjectKey, StoredObject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (
  name TEXT PRIMARY KEY, metageneration INTEGER, created TEXT, updated TEXT, fields TEXT
);
CREATE TABLE IF NOT EXISTS objects (
  bucket TEXT, name TEXT, generation INTEGER PRIMARY KEY AUTOINCREMENT, metageneration INTEGER,
  size INTEGER, crc32c TEXT, md5 TEXT, components INTEGER, created TEXT, updated TEXT, fields TEXT,
  UNIQUE (bucket, name)
);
"""


class Catalog:
    """Rows of buckets and objects. It knows no rules: who calls it does, inside :meth:`transaction`.

    :param path: the SQLite file; made when it does not exist, and locked until :meth:`close`.
    :raises RuntimeError: when the file is in use already.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=0.2)
        self._db.row_factory = sqlite3.Row
        try:
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._db.close()
            message = (
                f"Cannot open {path} ({error}). Does another server run on this folder? Choose another one"
            )
            raise RuntimeError(message) from error

    def close(self) -> None:
        """Close the file; the catalog must not be used afterwards."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all other threads out, and undo every change when the block raises."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def bucket(self, name: str) -> Bucket | None:
        """Find a bucket."""
        row = self._db.execute("SELECT * FROM buckets WHERE name = ?", (name,)).fetchone()
        return None if row is None else _to_bucket(row)

    def buckets(self) -> list[Bucket]:
        """List all buckets by name."""
        return [_to_bucket(row) for row in self._db.execute("SELECT * FROM buckets ORDER BY name")]

    def save_bucket(self, bucket: Bucket) -> None:
        """Add a bucket, or replace the one of that name."""
        self._db.execute(
            "INSERT OR REPLACE INTO buckets VALUES (?, ?, ?, ?, ?)",
            (bucket.name, bucket.metageneration, bucket.created, bucket.updated, json.dumps(bucket.fields)),
        )

    def remove_bucket(self, name: str) -> None:
        """Remove a bucket."""
        self._db.execute("DELETE FROM buckets WHERE name = ?", (name,))

    def object(self, key: ObjectKey) -> StoredObject | None:
        """Find an object."""
        row = self._db.execute("SELECT * FROM objects WHERE bucket = ? AND name = ?", key).fetchone()
        return None if row is None else _to_object(row)

    def objects(self, bucket: str, first_name: str = "") -> Iterator[StoredObject]:
        """Walk through a bucket's objects by name (in the order of its UTF-8 bytes) from ``first_name`` on."""
        query = "SELECT * FROM objects WHERE bucket = ? AND name >= ? ORDER BY name"
        with closing(self._db.execute(query, (bucket, first_name))) as rows:
            for row in rows:
                yield _to_object(row)

    def save_object(self, stored: StoredObject) -> None:
        """Add an object, or replace the one of that name."""
        content = stored.content
        self._db.execute(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *stored.key,
                stored.generation,
                stored.metageneration,
                content.size,
                content.crc32c,
                content.md5,
                content.components,
                stored.created,
                stored.updated,
                json.dumps(stored.fields),
            ),
        )

    def remove_object(self, key: ObjectKey) -> None:
        """Remove an object."""
        self._db.execute("DELETE FROM objects WHERE bucket = ? AND name = ?", key)

    def generations(self) -> set[int]:
        """Collect the generations of all objects."""
        return {row["generation"] for row in self._db.execute("SELECT generation FROM objects")}

    def next_generation(self) -> int:
        """Draw a generation: the time in microseconds as on the service, but above every one before it.

        SQLite remembers the highest one ever used, also when its object is gone.
        """
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'objects'").fetchone()
        return max(time.time_ns() // 1000, row["seq"] + 1 if row else 0)


def _to_bucket(row: sqlite3.Row) -> Bucket:
    return Bucket(
        name=row["name"],
        metageneration=row["metageneration"],
        created=row["created"],
        updated=row["updated"],
        fields=json.loads(row["fields"]),
    )


def _to_object(row: sqlite3.Row) -> StoredObject:
    return StoredObject(
        key=ObjectKey(row["bucket"], row["name"]),
        generation=row["generation"],
        metageneration=row["metageneration"],
        content=Content(row["size"], row["crc32c"], row["md5"], row["components"]),
        created=row["created"],
        updated=row["updated"],
        fields=json.loads(row["fields"]),
    )
