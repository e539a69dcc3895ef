"""Buckets whose readers pay: every call about them names the project that does.

https://cloud.google.com/storage/docs/using-requester-pays
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.cloud import storage


def storage_client(user_project: str | None, **settings: Any) -> storage.Client:
    """Return a client of Cloud Storage.

    :param user_project: project that pays for the calls about buckets; ``None`` for the owners of the buckets.
    :param settings: of ``google.cloud.storage.Client``.
    """
    from google.cloud import storage

    class PayingClient(storage.Client):  # type: ignore[misc] # the library is not typed
        """Gives each bucket the project that pays: the library takes it from the bucket, and from nowhere else."""

        def bucket(
            self, bucket_name: str, user_project: str | None = user_project, **more: Any
        ) -> storage.Bucket:
            return super().bucket(bucket_name, user_project=user_project, **more)

        def get_bucket(self, bucket_or_name: Any, *args: Any, **more: Any) -> storage.Bucket:
            return super().get_bucket(self._paid(bucket_or_name), *args, **more)

        def list_blobs(self, bucket_or_name: Any, *args: Any, **more: Any) -> Any:
            return super().list_blobs(self._paid(bucket_or_name), *args, **more)

        def _paid(self, bucket_or_name: Any) -> Any:
            return self.bucket(bucket_or_name) if isinstance(bucket_or_name, str) else bucket_or_name

    return PayingClient(**settings) if user_project else storage.Client(**settings)
