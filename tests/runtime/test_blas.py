"""BLAS on one thread, whichever thread asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from distlasso.runtime.blas import one_blas_thread


def threads() -> set[int]:
    """Threads that the BLAS libraries of this process would use."""
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def inside() -> set[int]:
    with one_blas_thread():
        return threads()


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    with threadpool_limits(2, "blas"):
        if threads() != {2}:
            pytest.skip(f"BLAS uses {threads()} threads when told to use 2")
        yield


def elsewhere(work: Callable[[], set[int]]) -> set[int]:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_every_thread_can_ask_for_it_whoever_did_before() -> None:
    """The fixture's thread has set a number, and lives."""
    assert elsewhere(inside) == {1} and threads() == {2}
    assert inside() == {1} and elsewhere(inside) == {1} and threads() == {2}


def test_the_last_one_out_restores_what_the_first_one_found() -> None:
    met = Barrier(2, timeout=60)

    def long() -> set[int]:
        with one_blas_thread():
            met.wait()
            met.wait()
            return threads()

    with ThreadPoolExecutor(1) as pool:
        staying = pool.submit(long)
        met.wait()
        assert inside() == {1} and threads() == {1}
        met.wait()
        assert staying.result() == {1}
    assert threads() == {2}
