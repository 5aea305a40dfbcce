"""What persist-queue's file queue does when the disk does not do as it is told.

A test with `weak` is a strict xfail: it says what one would expect, and fails as long as that is not so.
"""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from persistqueue import Queue

from failpy import fail
from failpy.hypothesis import Schedule, schedules

PRODUCER = Path(__file__).with_name("producer.py")


def weak(reason: str, raises: type[Exception] = AssertionError) -> pytest.MarkDecorator:
    return pytest.mark.xfail(reason=f"persist-queue 1.1.0: {reason}", raises=raises)


def drained(queue: Queue) -> list[Any]:
    """All items that are in the queue."""
    items = []
    while queue.qsize():
        items.append(queue.get())
    return items


def put(queue: Queue, item: str) -> None:
    """Put an item, as a program does that gives the disk a second chance, and a third."""
    for _ in range(2):
        try:
            return queue.put(item)
        except OSError:
            continue
    return queue.put(item)


# --- what holds ---


@pytest.mark.failpoints("queue.dump=1*raise(ENOSPC)")
def test_an_item_that_cannot_be_written_is_not_put(queue: Queue) -> None:
    with pytest.raises(OSError):
        queue.put("lamp")
    put(queue, "lamp")
    assert drained(queue) == ["lamp"]


@pytest.mark.failpoints("queue.load=1*raise(EIO)")
def test_an_item_that_cannot_be_read_stays(queue: Queue) -> None:
    queue.put("lamp")
    with pytest.raises(OSError):
        queue.get()
    assert drained(queue) == ["lamp"]


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("point", ["queue.dump", "queue.tempfile", "queue.rename"])
def test_a_crash_loses_nothing_that_was_accepted(folder: str, point: str, nth: int) -> None:
    with fail.scope({point: f"{nth - 1}*off->1*kill"}, strict=False) as scope:
        command = [sys.executable, str(PRODUCER), folder, "lamp", "chair", "desk"]
        done = subprocess.run(command, env=scope.environ(), capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    accepted = done.stdout.split()
    assert drained(Queue(folder)) == accepted


@settings(max_examples=30, deadline=None, derandomize=True)
@given(schedule=schedules(["queue.dump", "queue.tempfile", "queue.rename"], max_faults=2))
@example(schedule=Schedule("queue.tempfile=1*raise(EMFILE)"))
def test_an_item_that_is_put_again_comes_out_in_its_place(schedule: Schedule) -> None:
    with tempfile.TemporaryDirectory() as folder, fail.scope(schedule):
        queue = Queue(folder)
        for item in "lamp", "chair", "desk":
            put(queue, item)
        # Twice in a row, it may be.
        assert list(dict.fromkeys(queue.get() for _ in range(queue.qsize()))) == ["lamp", "chair", "desk"]


# --- what does not ---


@weak("an item that put() raised for is in the queue, so a retry puts it twice")
@pytest.mark.failpoints("queue.tempfile=1*raise(ENOSPC)")
def test_an_item_that_is_put_again_comes_out_once(queue: Queue) -> None:
    put(queue, "lamp")
    assert drained(queue) == ["lamp"]


@weak("an item that get() raised for is gone, and nobody has got it")
def test_an_item_that_nobody_has_got_stays(queue: Queue) -> None:
    queue.put("lamp")
    queue.put("desk")
    with fail.scope({"queue.rename": "1*raise(EIO)"}), pytest.raises(OSError):
        queue.get()
    assert drained(queue) == ["lamp", "desk"]


@weak("a chunk file that cannot be created leaves a queue that takes no more items", raises=ValueError)
@pytest.mark.failpoints("queue.next_chunk=2*off->1*raise(ENOSPC)")
def test_a_full_disk_is_survived(folder: str) -> None:
    queue = Queue(folder, chunksize=1)
    put(queue, "lamp")
    assert drained(queue) == ["lamp"]
