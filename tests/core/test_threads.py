from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from airflow_gemini_batch.core.threads import in_two_threads, made_ahead


def test_next_item_is_made_while_one_is_used() -> None:
    made: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(1, 6):
            made.append(number)
            if number == 2:
                second.set()
            yield number

    ahead = made_ahead(items(), "test")
    assert next(ahead) == 1
    assert second.wait(60)
    assert made == [1, 2]
    assert list(ahead) == [2, 3, 4, 5]


def test_error_of_what_makes_items_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    ahead = made_ahead(items(), "test")
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="broken"):
        next(ahead)


def test_two_items_are_worked_on_at_a_time() -> None:
    both = threading.Barrier(2, timeout=60)
    done: list[int] = []

    def work(number: int) -> None:
        both.wait()
        done.append(number)

    in_two_threads(work, iter(range(1, 7)), "test")
    assert sorted(done) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("of_main_thread", [True, False])
def test_error_of_either_thread_ends_both(of_main_thread: bool) -> None:
    both = threading.Barrier(2, timeout=60)
    taken: list[int] = []

    def work(number: int) -> None:
        taken.append(number)
        if len(taken) <= 2:
            both.wait()
        if (threading.current_thread() is threading.main_thread()) is of_main_thread:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        in_two_threads(work, iter(range(1, 100_000)), "test")
    assert len(taken) < 99_999


def test_error_of_what_makes_items_ends_the_work() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    done: list[int] = []
    with pytest.raises(ValueError, match="broken"):
        in_two_threads(done.append, items(), "test")
    assert done == [1]
