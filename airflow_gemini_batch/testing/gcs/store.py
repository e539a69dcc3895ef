"""Buckets and objects on disk: a catalog of them, and a file for the content of each object.

A content file is named by its object's generation, never by the object's name, which may hold ``..``, be
longer than a file name may be, or be another object's folder. Contents are written once and never changed, so
a download that has its file open is not disturbed by an overwrite or a delete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from uuid import uuid4

from airflow_gemini_batch.testing.gcs.catalog import Catalog
from airflow_gemini_batch.testing.gcs.conditions import ANYTHING, Preconditions
from airflow_gemini_batch.testing.gcs.errors import StorageError
from airflow_gemini_batch.testing.gcs.records import (
    Bucket,
    Content,
    ObjectKey,
    StoredObject,
    check_bucket_name,
    check_object_name,
    measure,
    timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from airflow_gemini_batch.testing.gcs.listing import ListQuery, Page

Fields = dict[str, Any]
Change = Callable[[Fields], Fields]

_BLOCK = 1 << 20


class Source(NamedTuple):
    """An object to read from, in the version meant (None: whichever is live) and under conditions."""

    key: ObjectKey
    generation: int | None = None
    conditions: Preconditions = ANYTHING


class ObjectStore:
    """The buckets and objects in one folder; safe to call from many threads, one store per folder.

    Every operation tests its preconditions and takes effect in one transaction. What a crash may leave behind
    (a content without an object, a half-received upload) is removed when the folder is next opened.
    """

    def __init__(self, folder: Path) -> None:
        self._contents = folder / "contents"
        self._staging = folder / "staging"
        self._contents.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._staging.mkdir(exist_ok=True)
        self._catalog = Catalog(folder / "catalog.sqlite")
        self._outdated: list[Path] = []
        self._sweep()

    def close(self) -> None:
        """Close the store; it must not be used afterwards."""
        self._catalog.close()

    def create_bucket(self, name: str, fields: Mapping[str, Any]) -> Bucket:
        """Make a bucket.

        :param fields: its properties; ``location`` must be one of them.
        :raises StorageError: 400 for an illegal name, 409 when there is one of that name.
        """
        check_bucket_name(name)
        now = timestamp()
        bucket = Bucket(name, metageneration=1, created=now, updated=now, fields=dict(fields))
        with self._transaction():
            if self._catalog.bucket(name):
                raise StorageError(409, "conflict", f"The bucket that you tried to create exists: {name}")
            self._catalog.save_bucket(bucket)
        return bucket

    def bucket(self, name: str) -> Bucket:
        """Return a bucket.

        :raises StorageError: 404 when it does not exist.
        """
        with self._transaction():
            return self._bucket(name)

    def buckets(self, prefix: str = "") -> list[Bucket]:
        """List the buckets whose name starts with ``prefix``, by name."""
        with self._transaction():
            return [bucket for bucket in self._catalog.buckets() if bucket.name.startswith(prefix)]

    def change_bucket(self, name: str, change: Change, conditions: Preconditions = ANYTHING) -> Bucket:
        """Give a bucket the properties that ``change`` makes of its present ones; the location stays.

        :raises StorageError: 404 when it does not exist, 412 when a condition fails.
        """
        with self._transaction():
            old = self._bucket(name)
            conditions.check(0, old.metageneration)
            fields = {**change(old.fields), "location": old.fields["location"]}
            new = replace(old, metageneration=old.metageneration + 1, updated=timestamp(), fields=fields)
            self._catalog.save_bucket(new)
            return new

    def delete_bucket(self, name: str, conditions: Preconditions = ANYTHING) -> None:
        """Delete an empty bucket.

        :raises StorageError: 404 when it does not exist, 409 when it holds objects, 412.
        """
        with self._transaction():
            conditions.check(0, self._bucket(name).metageneration)
            if any(True for _ in self._catalog.objects(name)):
                raise StorageError(409, "conflict", f"The bucket you tried to delete is not empty: {name}")
            self._catalog.remove_bucket(name)

    def get(self, source: Source) -> StoredObject:
        """Return the live version of an object.

        :raises StorageError: 404 when it does not exist, 304 or 412 when a condition fails.
        """
        with self._transaction():
            return self._existing(source, reading=True)

    def open(self, source: Source) -> tuple[StoredObject, BinaryIO]:
        """Like :meth:`get`, with the content opened for reading; the caller closes it."""
        with self._transaction():
            found = self._existing(source, reading=True)
            return found, self._path(found.generation).open("rb")

    def list_objects(self, bucket: str, query: ListQuery) -> Page[StoredObject]:
        """List one page of a bucket's objects.

        :raises StorageError: 404 when the bucket does not exist, 400 for a query that makes no sense.
        """
        with self._transaction():
            self._bucket(bucket)
            return query.page(self._catalog.objects(bucket, query.first_name))

    def staged_file(self) -> Path:
        """Make a fresh file to receive a content in, on the same file system as the store."""
        path = self._staging / uuid4().hex
        path.touch(mode=0o600, exist_ok=False)
        return path

    def admit(self, key: ObjectKey, conditions: Preconditions = ANYTHING) -> None:
        """Refuse before a long upload what :meth:`put` would refuse after it, with the same errors."""
        check_object_name(key.name)
        with self._transaction():
            self._check_target(key, conditions)

    def put(
        self,
        key: ObjectKey,
        staged: Path,
        content: Content,
        fields: Fields,
        conditions: Preconditions = ANYTHING,
    ) -> StoredObject:
        """Make a received file the live version of an object.

        :param staged: a file from :meth:`staged_file`; it is moved.
        :param content: its measurements.
        :raises StorageError: 400 for an illegal name, 404 when the bucket does not exist, 412 when a condition
            fails.
        """
        check_object_name(key.name)
        with self._transaction():
            return self._replace(key, content, fields, conditions, lambda path: os.replace(staged, path))

    def copy(
        self,
        source: Source,
        target: ObjectKey,
        fields: Fields,
        conditions: Preconditions = ANYTHING,
        *,
        move: bool = False,
    ) -> StoredObject:
        """Copy an object; the two share one content on disk.

        :param fields: properties of the copy; when empty it gets those of the source.
        :param move: also delete the source, in the same transaction.
        :raises StorageError: 404 for a missing source or bucket, 412 when a condition fails.
        """
        check_object_name(target.name)
        if move and source.key == target:
            raise StorageError.invalid(f"Cannot move {target.bucket}/{target.name} onto itself")
        with self._transaction():
            old = self._existing(source)
            shared = self._path(old.generation)
            made = self._replace(
                target, old.content, fields or old.fields, conditions, lambda path: os.link(shared, path)
            )
            if move:
                self._remove(old)
            return made

    def compose(
        self,
        target: ObjectKey,
        sources: Sequence[Source],
        fields: Fields,
        conditions: Preconditions = ANYTHING,
    ) -> StoredObject:
        """Concatenate objects into one.

        :raises StorageError: 400 for no source or more than 32, 404 for a missing one, 412.
        """
        if not 1 <= len(sources) <= 32:
            raise StorageError.invalid(f"Compose takes 1 to 32 source objects, not {len(sources)}")
        self.admit(target, conditions)
        staged = self.staged_file()
        try:
            components = 0
            with staged.open("wb") as output:
                for source in sources:
                    part, file = self.open(source)
                    with file:
                        shutil.copyfileobj(file, output, _BLOCK)
                    components += part.content.components or 1
            content = replace(measure(staged), md5=None, components=components)
            return self.put(target, staged, content, fields, conditions)
        finally:
            staged.unlink(missing_ok=True)

    def change_object(self, source: Source, change: Change) -> StoredObject:
        """Give an object the properties that ``change`` makes of its present ones.

        :raises StorageError: 404 when it does not exist, 412 when a condition fails.
        """
        with self._transaction():
            old = self._existing(source)
            new = replace(
                old,
                metageneration=old.metageneration + 1,
                updated=timestamp(),
                fields=change(old.fields),
            )
            self._catalog.save_object(new)
            return new

    def delete(self, source: Source) -> None:
        """Delete an object.

        :raises StorageError: 404 when it does not exist, 412 when a condition fails.
        """
        with self._transaction():
            self._remove(self._existing(source))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Like the catalog's; contents that became outdated in it go once it has succeeded."""
        with self._catalog.transaction():
            outdated: list[Path] = []
            self._outdated = outdated
            yield
        for path in outdated:
            path.unlink(missing_ok=True)

    def _bucket(self, name: str) -> Bucket:
        bucket = self._catalog.bucket(name)
        if bucket is None:
            raise StorageError.no_bucket(name)
        return bucket

    def _existing(self, source: Source, *, reading: bool = False) -> StoredObject:
        self._bucket(source.key.bucket)
        found = self._catalog.object(source.key)
        if found is None or source.generation not in (None, found.generation):
            raise StorageError.no_object(*source.key)
        source.conditions.check(found.generation, found.metageneration, reading=reading)
        return found

    def _check_target(self, key: ObjectKey, conditions: Preconditions) -> StoredObject | None:
        self._bucket(key.bucket)
        live = self._catalog.object(key)
        conditions.check(live.generation if live else 0, live.metageneration if live else 0)
        return live

    def _replace(
        self,
        key: ObjectKey,
        content: Content,
        fields: Fields,
        conditions: Preconditions,
        place: Callable[[Path], None],
    ) -> StoredObject:
        """Make a content the live version; ``place`` puts its file where the store keeps it."""
        live = self._check_target(key, conditions)
        if live is not None:
            self._outdated.append(self._path(live.generation))
        now = timestamp()
        stored = StoredObject(key, self._catalog.next_generation(), 1, content, now, now, fields)
        self._catalog.save_object(stored)
        place(self._path(stored.generation))
        return stored

    def _remove(self, stored: StoredObject) -> None:
        self._catalog.remove_object(stored.key)
        self._outdated.append(self._path(stored.generation))

    def _path(self, generation: int) -> Path:
        return self._contents / str(generation)

    def _sweep(self) -> None:
        live = {str(generation) for generation in self._catalog.generations()}
        strays = [path for path in self._contents.iterdir() if path.name not in live]
        for path in (*strays, *self._staging.iterdir()):
            path.unlink()
