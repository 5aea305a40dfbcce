"""Terms that are armed and held until the reply to who armed them is on its way."""

from __future__ import annotations

import asyncio
import pickle
import threading
import warnings
from collections.abc import Callable

import pytest

from failpy import _hold, fail
from failpy._arming import enable
from failpy._context import process
from failpy._hold import Hold


@pytest.fixture
def held(name: str) -> Hold:
    """A hold over a point that returns."""
    fail.point(name, returns=str)
    hold = Hold()
    enable(process, {name: fail.parse('return("x")')}, hold=hold)
    return hold


def in_thread(body: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(body()))
    thread.start()
    return thread, results


def wait_until_somebody_waits(hold: Hold) -> None:
    while not hold._gates:
        threading.Event().wait(0.001)


def value_of(name: str) -> object:
    hit = fail.point(name, returns=str).hit()
    return hit.value if hit else None


def test_other_threads_wait_for_the_release(name: str, held: Hold) -> None:
    thread, results = in_thread(lambda: value_of(name))
    wait_until_somebody_waits(held)
    assert results == []
    assert fail.status(name).hits == 0
    held.release()
    thread.join()
    assert results == ["x"]


def test_the_thread_that_is_to_release_it_passes(name: str, held: Hold) -> None:
    assert value_of(name) is None
    assert fail.status(name).hits == 0
    held.release()
    assert value_of(name) == "x"


def test_a_task_waits_even_there(name: str, held: Hold) -> None:
    async def main() -> object:
        hitting = asyncio.ensure_future(fail.point(name, returns=str).ahit())
        while not held._gates:
            await asyncio.sleep(0)
        held.release()
        return (await hitting).value

    assert asyncio.run(main()) == "x"


def test_a_short_wait_in_an_event_loop_is_no_warning(name: str, held: Hold) -> None:
    async def main() -> object:
        return value_of(name)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thread, results = in_thread(lambda: asyncio.run(main()))
        wait_until_somebody_waits(held)
        held.release()
        thread.join()
    assert results == ["x"]


def test_nobody_waits_for_ever(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hold, "_SECONDS", 0.01)
    fail.point(name, returns=str)
    hold = Hold()
    enable(process, {name: fail.parse('return("x")')}, hold=hold)
    thread, results = in_thread(lambda: value_of(name))
    thread.join()
    assert results == ["x"]


def test_a_hit_that_waits_is_for_what_is_armed_when_it_goes_on(name: str, held: Hold) -> None:
    thread, results = in_thread(lambda: value_of(name))
    wait_until_somebody_waits(held)
    fail.enable(name, 'return("y")')
    held.release()
    thread.join()
    assert results == ["y"]


def test_nothing_is_left_of_it(name: str, held: Hold) -> None:
    held.release()
    assert process.activations[name].orders == ()
    assert held.arrive(name) is None
    assert held.waiting == []


def test_a_forked_child_does_not_wait_for_a_thread_that_is_not_there(held: Hold) -> None:
    held.forget_threads()
    assert held.bars(threading.current_thread())  # this thread is here, and will release it
    held._holder = threading.Thread()
    held.forget_threads()
    assert not held.bars(held._holder)
    held.release()


@pytest.mark.parametrize("text", ["50.0%return(1)", "return(`raw`)", " 3 * off -> return ( 1 ) "])
def test_terms_remember_what_they_were_read_from(text: str) -> None:
    terms = fail.parse(text)
    assert terms.source == text.strip()
    assert pickle.loads(pickle.dumps(terms)).source == text.strip()
    assert terms == fail.parse(str(terms))
    assert (terms >> fail.Off()).source is None
