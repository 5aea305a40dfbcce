"""Exploring on a cluster of Dask: real workers in processes of their own, on this machine."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failpy import fail, failpoint

distributed = pytest.importorskip("distributed", reason="the package distributed is not installed")
dask = pytest.importorskip("dask")


@failpoint("dask.write", faults=("raise(ENOSPC)", "raise(EIO)"))
def write(disk: list[int], number: int) -> None:
    disk.append(number)


def body() -> None:
    disk: list[int] = []
    for number in range(4):
        try:
            write(disk, number)
        except OSError as error:
            if number == 2 and error.errno == 5:
                raise AssertionError("lost") from None


def dies() -> None:
    for number in range(3):
        try:
            fail.point("dask.dies").hit()
        except fail.Injected:
            if number == 1:
                os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    before = set(threading.enumerate())
    with (
        # Else a case is tried on four workers, and each of them dies of it.
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, silence_logs=50, host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        yield client
    gc.collect()
    assert multiprocessing.active_children() == []
    assert [each for each in set(threading.enumerate()) - before if not each.daemon] == []


def test_cases_on_a_cluster_come_to_the_same(client: Any) -> None:
    alone = fail.explore(body, points="dask.*", depth=2, persistent=True)
    report = fail.explore(body, points="dask.*", depth=2, persistent=True, executor=client.get_executor())
    assert {case.terms: case.outcome for case in report.cases} == {
        case.terms: case.outcome for case in alone.cases
    }
    assert report.failures[0].text == "dask.write=2*off->1*raise(EIO)"
    assert "in body" in report.failures[0].traceback


def test_a_closure_goes_by_cloudpickle(client: Any, tmp_path: Path, name: str) -> None:
    def closure() -> None:
        with fail.point(name, faults=("raise(EIO)",)):
            (tmp_path / str(os.getpid())).touch()

    report = fail.explore(closure, points=name, may_escape=OSError, executor=client.get_executor())
    assert report.counts == {"escaped": 1}
    assert list(tmp_path.iterdir())
    assert not (tmp_path / str(os.getpid())).exists()


def test_what_no_cluster_can_send_is_refused(client: Any) -> None:
    lock = threading.Lock()

    def locking() -> None:
        with lock:
            pass

    with pytest.raises(fail.FailpointError, match="does not take .*locking"):
        fail.explore(locking, executor=client.get_executor())


def test_a_worker_that_dies_is_a_case_and_the_others_go_on(client: Any) -> None:
    report = fail.explore(dies, points="dask.dies", executor=client.get_executor())
    assert report.stopped is None
    assert [case.text for case in report.cases] == [
        "dask.dies=1*raise", "dask.dies=1*off->1*raise", "dask.dies=2*off->1*raise",
    ]  # fmt: skip
    guilty = report.cases[1]
    assert guilty.outcome == "crashed"
    # Dask blames what was on its way to the same worker, too.
    assert all(case.why.startswith("KilledWorker: ") for case in report.failures)
    assert "CRASHED KilledWorker" in str(report)
    again = fail.explore(body, points="dask.*", executor=client.get_executor())
    assert again.counts == {"passed": 7, "failed": 1}


def test_an_executor_that_was_shut_down(client: Any) -> None:
    executor = client.get_executor()
    executor.shutdown()
    with pytest.raises(fail.FailpointError, match="after shutdown; give an executor that is open"):
        fail.explore(body, points="dask.*", executor=executor)


def test_an_async_body_runs_in_a_loop_of_its_own(client: Any, name: str) -> None:
    async def main() -> None:
        async with fail.point(name, faults=("raise(EIO)",)):
            pass

    report = fail.explore(
        lambda: asyncio.run(main()), points=name, may_escape=OSError, executor=client.get_executor()
    )
    assert report.counts == {"escaped": 1}
