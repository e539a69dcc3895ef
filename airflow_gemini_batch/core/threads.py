"""Two threads at a time: Arrow, DuckDB and sockets let go of Python's lock while they work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

T = TypeVar("T")


def made_ahead(items: Iterator[T], name: str) -> Iterator[T]:
    """Yield items, the next one of which another thread makes meanwhile.

    :param items: none of them ``None``.
    :param name: of the thread.
    """
    with ThreadPoolExecutor(1, name) as background:
        coming = background.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = background.submit(next, items, None)
            yield item
            del item  # Its memory is free for the next one.


def in_two_threads(work: Callable[[T], object], items: Iterator[T], name: str) -> None:
    """Work on items, two at a time and in no order.

    After an error no other item is taken; it is raised once both threads are done with theirs.

    :param items: taken by one thread at a time; none of them ``None``.
    :param name: of the second thread.
    """
    taking, is_over = Lock(), False

    def take() -> T | None:
        with taking:
            return None if is_over else next(items, None)

    def work_on_some() -> None:
        nonlocal is_over
        try:
            while (item := take()) is not None:
                work(item)
        finally:
            is_over = True

    with ThreadPoolExecutor(1, name) as background:
        other = background.submit(work_on_some)
        work_on_some()
        other.result()
