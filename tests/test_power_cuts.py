"""Power cuts: what was not synced is torn, what was synced stays, and every tear is told."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failpy import _crash_process, _crashes, _tear, fail
from failpy._crash_child import Errand, done
from failpy._explore import prepared
from failpy._posix import PosixAttachment
from failpy._schedule import Schedule
from failpy._tear import MOST, Tear, Tears, find_tears, tear_files
from failpy._undo_log import Change, File, read_log

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tear=True is for Linux")

explore = partial(fail.explore_crashes, tear=True, method="fork", timeout=20.0)


@pytest.fixture(autouse=True)
def points() -> Iterator[PosixAttachment]:
    with fail.attach_posix("io") as attachment:
        yield attachment


# --- programs ---


def begin(folder: Path) -> Path:
    (folder / "state.json").write_text('{"n": 0}')
    return folder


@pytest.fixture
def setup(tmp_path: Path) -> Callable[[], Path]:
    return lambda: begin(Path(tempfile.mkdtemp(dir=tmp_path)))


def save(folder: Path, number: int, *, sync: bool) -> None:
    with (folder / "new").open("w") as file:
        json.dump({"n": number}, file)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    (folder / "new").replace(folder / "state.json")


def careless(folder: Path) -> None:
    save(folder, 1, sync=False)


def careful(folder: Path) -> None:
    save(folder, 1, sync=True)
    save(folder, 2, sync=True)


def loads(folder: Path) -> None:
    assert json.loads((folder / "state.json").read_text())["n"] in (0, 1, 2)


# --- what is found ---


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_rename_lands_before_its_data(setup: Callable[[], Path], method: Any) -> None:
    report = explore(careless, loads, setup=setup, points="posix/io/*", method=method)
    assert {case.terms for case in report.failures} == {
        "a power cut: 'state.json' has 4 of its 8 bytes",
        "a power cut: 'state.json' has 0 of its 8 bytes",
    }
    assert all(case.again == "failed" for case in report.failures)
    # Before the rename nothing but the new file is torn, and nobody reads that.
    assert "posix/io/rename=1*kill, then a power cut: 'new' has 0 of its 8 bytes" in {
        case.terms for case in report.cases if case.outcome == "passed"
    }
    said = str(report)
    assert "  nothing armed in run, which goes to its end\n" in said
    assert "  run: passed\n  power cut: 'state.json' has 4 of its 8 bytes\n  check: failed\n" in said
    assert json.loads(report.json())["cases"][-1]["torn"] == ["'new' has 0 of its 8 bytes"]


def test_without_tear_nothing_is_found(setup: Callable[[], Path]) -> None:
    report = fail.explore_crashes(careless, loads, setup=setup, points="posix/io/*", method="fork")
    assert set(report.counts) == {"passed"}


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2])
def test_what_is_synced_survives(setup: Callable[[], Path], depth: int) -> None:
    report = explore(careful, loads, setup=setup, points="posix/io/*", depth=depth)
    assert set(report.counts) == {"passed"}
    torn = [case.torn for case in report.cases if case.torn]
    assert ("'new' has 0 of its 8 bytes",) in torn
    assert not any("state.json" in said for said, *_ in torn)


def test_a_crash_within_the_recovery_is_torn_too(setup: Callable[[], Path]) -> None:
    def recovers(folder: Path) -> None:
        loads(folder)
        save(folder, 2, sync=False)

    report = explore(careful, recovers, setup=setup, points="posix/io/rename", depth=2)
    assert set(report.counts) == {"passed", "failed"}
    assert all(case.endings[-1] == "check: failed" for case in report.failures)
    first = report.distinct[0][0]
    assert first.endings == (
        "run: killed at posix/io/rename #1",
        "check: passed",
        "power cut: 'state.json' has 4 of its 8 bytes",
        "check: failed",
    )
    assert (
        "  FAILPY_FAILPOINTS='posix/io/rename=1*kill' for run, "
        "then nothing armed in check, which goes to its end\n"
    ) in str(report)
    assert first.then == (Schedule(),)


def test_a_power_cut_within_the_recovery_takes_what_was_not_synced_before() -> None:
    def writes(folder: Path) -> None:
        (folder / "data").write_bytes(b"1234")
        with fail.point("power.run"):
            pass

    def trusts(folder: Path) -> None:
        """It says that the data is there, in a file that is synced, where it has but read it."""
        if (folder / "known").exists():
            assert (folder / "data").read_bytes() == b"1234"
        elif (folder / "data").exists() and (folder / "data").read_bytes() == b"1234":
            with (folder / "known").open("wb") as file:
                os.fsync(file)
            with fail.point("power.check"):
                pass

    report = explore(writes, trusts, points="power.*", depth=2)
    assert {case.endings for case in report.failures} == {
        (
            "run: killed at power.run #1",
            end,
            f"power cut: 'data' has {left} of its 4 bytes",
            "check: failed",
        )
        for end in ("check: killed at power.check #1", "check: passed")
        for left in (0, 2)
    }


def test_files_are_torn_one_by_one_and_all_together() -> None:
    def two(folder: Path) -> None:
        for name in ("a", "b"):
            (folder / name).write_bytes(b"1")

    def both_or_one(folder: Path) -> None:
        sizes = [(folder / name).stat().st_size for name in ("a", "b") if (folder / name).exists()]
        assert sizes != [0, 0]

    report = explore(two, both_or_one, points="posix/io/mkdir")
    assert report.problem is not None  # the only point is never hit
    assert {case.torn: case.outcome for case in report.cases} == {
        ("'a' has 0 of its 1 bytes",): "passed",
        ("'b' has 0 of its 1 bytes",): "passed",
        ("'a' has 0 of its 1 bytes", "'b' has 0 of its 1 bytes"): "failed",
    }


def test_of_many_changes_some_are_tried_and_the_others_told() -> None:
    def logs(folder: Path) -> None:
        with (folder / "log").open("wb", buffering=0) as log:
            for number in range(100):
                log.write(b"%02d" % number)

    report = explore(logs, lambda: None, points="posix/io/close")
    at_end = [case.torn[0] for case in report.cases if case.torn and not case.schedule]
    assert len(at_end) == MOST
    assert at_end[0] == "'log' has 199 of its 200 bytes"
    assert at_end[-1] == "'log' has 0 of its 200 bytes"
    # 199 or 200 ways at each of the two crashes, the end being one.
    assert f"{2 * (200 - MOST)} more ways to tear a file were not tried" in str(report)


def test_a_write_that_does_not_come_again_is_missed(tmp_path: Path) -> None:
    def once(folder: Path) -> None:
        if not (tmp_path / "before").exists():
            (tmp_path / "before").mkdir()
            (folder / "data").write_text("data")
        with fail.point("power.cut"):
            pass

    report = explore(once, lambda: None, points="power.cut")
    missed = [case for case in report.cases if case.outcome == "missed"]
    assert [str(case.divergence) for case in missed] == [
        "it has not written what was to be lost so that 'data' has 2 of its 4 bytes",
        "it has not written what was to be lost so that 'data' has 0 of its 4 bytes",
    ]
    assert missed[0].endings == (
        "run: passed",
        "power cut: 'data' has 2 of its 4 bytes",
        "power cut: missed",
    )


@pytest.mark.parametrize("is_path", [True, False])
def test_files_outside_of_the_state_and_files_that_moved(tmp_path: Path, is_path: bool) -> None:
    other, state = tmp_path / "other", tmp_path / "state"
    other.mkdir()

    def moves(_: object) -> None:
        (other / "draft").write_text("text")
        (state / "deep").mkdir(parents=True)
        (other / "draft").rename(state / "deep" / "final")
        (other / "note").write_text("x")
        (other / "note").rename(other / "notes")
        (other / "log").write_text("x")
        (other / "gone").write_text("x")
        (other / "gone").unlink()

    def checks(_: object) -> None:
        for name in ("log", "notes"):
            (other / name).unlink(missing_ok=True)
        shutil.rmtree(state)

    report = explore(moves, checks, setup=lambda: state if is_path else None, points="posix/io/listdir")
    final = "deep/final" if is_path else str(state / "deep" / "final")
    said = {said for case in report.cases for said in case.torn}
    assert {f"{final!r} has {left} of its 4 bytes" for left in (2, 0)} <= said
    outside = {f"{str(other / name)!r} has 0 of its 1 bytes" for name in ("log", "notes")}
    spared = [
        f"{str(other / name)!r} was not torn, as it is outside of the state" for name in ("notes", "log")
    ]
    if is_path:
        assert not outside & said
        assert sorted(each for each in report.notes if "not torn" in each) == sorted(spared)
    else:
        assert outside <= said


def test_a_state_that_is_a_file_may_have_others_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "state.json"

    def saves(path: Path) -> None:
        path.with_suffix(".new").write_text("12")
        path.with_suffix(".new").replace(path)

    def begins() -> Path:
        file.write_text("0")
        return file

    report = explore(saves, lambda: None, setup=begins, points="posix/io/rename")
    assert {said for case in report.cases for said in case.torn} == {
        f"{name!r} has {left} of its 2 bytes" for name in ("state.json", "state.new") for left in (0, 1)
    }


def test_a_file_that_is_too_large_is_told(tmp_path: Path) -> None:
    def body(state: Path) -> None:
        with (state / "data").open("wb") as file:
            file.truncate(1 << 40)

    tears = find_tears(read_log(logged(tmp_path, body)), None)
    assert tears.each == ()
    assert tears.spared == (f"{str(tmp_path / 'state' / 'data')!r} was not torn, as it has more than 256 MB",)


# --- when there is nothing to tear ---


def test_a_program_whose_files_are_not_seen(setup: Callable[[], Path]) -> None:
    def unseen(folder: Path) -> None:
        with fail.point("power.cut"):
            pass

    report = explore(unseen, loads, setup=setup, points="power.cut")
    with pytest.raises(fail.FailpointError, match=r"run has changed no file .* put `with fail.attach_posix"):
        report.raise_for_failures()
    assert report.counts == {"passed": 1}


def test_a_sync_that_is_not_seen(points: PosixAttachment) -> None:
    points.detach()
    with fail.attach_posix("posix/io/write", "posix/io/rename"):
        with pytest.raises(fail.FailpointError, match="and 'posix/io/fsync' is not attached as others are"):
            explore(careful, loads)


def test_a_sync_that_is_armed_around_it(setup: Callable[[], Path]) -> None:
    with fail.scope({"posix/io/fsync": "off"}):
        report = explore(careful, loads, setup=setup, points="posix/io/write")
    assert report.cases == ()
    with pytest.raises(fail.FailpointError, match="'posix/io/fsync' is armed around the exploration"):
        report.raise_for_failures()


@pytest.mark.parametrize("tear", [1, "yes", None])
def test_what_is_no_bool(tear: Any) -> None:
    with pytest.raises(TypeError, match=f"tear must be True or False, not {tear!r}"):
        fail.explore_crashes(careless, loads, tear=tear)


def test_a_system_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_crashes, "_DESCRIPTORS", Path("/no/such/folder"))
    with pytest.raises(fail.FailpointError, match="tear=True needs /no/such/folder"):
        explore(careless, loads)


# --- the log and the tears, in this process ---


def logged(folder: Path, body: Callable[[Path], object]) -> Path:
    """The log of what the body changes in the folder."""
    state = folder / "state"
    state.mkdir()
    _, rules = prepared(points="posix/io/stat", timeout=5.0)
    errand = Errand("run", body, (state,), Schedule(), rules, folder, None, logs=True)
    outcome = done(errand, lambda **_: None)
    assert outcome.verdict == "passed", outcome.traceback
    return folder / "undo"


def contents(log: Path, file: Path) -> list[bytes]:
    """What the file may be left as, what is lost last first."""
    (found,) = [each for each in read_log(log) if Path(each.path) == file]
    now = file.read_bytes()
    return [_tear._torn(now, found.changes, cut) for cut in _tear._cuts(found) if not cut.part]


def by_open(path: Path) -> None:
    path.open("w").close()


def by_overwriting(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(2)
        file.write(b"XY")


def by_pwrite(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    os.pwrite(descriptor, b"XY", 8)
    os.pwritev(descriptor, [b"Z", b"Z"], 0)
    os.close(descriptor)


def by_append(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, b"XY")
    os.writev(descriptor, [b"Z", b"Z"])
    os.close(descriptor)


def by_os_open(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT))


def by_truncate(path: Path) -> None:
    os.truncate(path, 3)
    with path.open("r+b") as file:
        os.ftruncate(file.fileno(), 5)
        file.truncate(4)
        file.seek(1)
        file.truncate()


def by_copy(path: Path) -> None:
    source = path.with_name("source")
    source.write_bytes(b"longer than before")
    shutil.copyfile(source, path)


def by_copy_to_a_place(path: Path) -> None:
    source = path.with_name("source")
    source.write_bytes(b"longer than before")
    with source.open("rb") as reads, path.open("r+b") as writes:
        os.copy_file_range(reads.fileno(), writes.fileno(), offset_dst=2, count=3)


def by_truncate_with_names(path: Path) -> None:
    os.truncate(path=path, length=3)
    with path.open("r+b") as file:
        os.ftruncate(file.fileno(), 2)


def by_open_from_a_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    os.close(os.open(path.name, os.O_WRONLY | os.O_TRUNC, 0o600, dir_fd=folder))
    os.close(folder)


def by_a_rename_to_itself(path: Path) -> None:
    path.write_bytes(b"new")
    path.rename(path)


def by_hole(path: Path) -> None:
    with path.open("r+b", buffering=0) as file:
        file.seek(9)
        file.write(b"end")


@pytest.mark.parametrize(
    "change",
    [
        *(by_open, by_overwriting, by_pwrite, by_append, by_os_open, by_truncate, by_copy, by_hole),
        *(by_copy_to_a_place, by_truncate_with_names, by_open_from_a_folder, by_a_rename_to_itself),
    ],
)
def test_each_change_can_be_undone(tmp_path: Path, change: Callable[[Path], None]) -> None:
    def body(state: Path) -> None:
        (state / "data").write_bytes(b"before")
        with (state / "data").open("r+b") as file:
            os.fsync(file)
        change(state / "data")

    found = contents(logged(tmp_path, body), tmp_path / "state" / "data")
    assert found[-1] == b"before"
    assert b"before" not in found[:-1]


def test_a_file_of_another_folder_is_not_taken_for_one_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body(state: Path) -> None:
        monkeypatch.chdir(state)
        for folder in (state, state / "sub", state / "other"):
            folder.mkdir(exist_ok=True)
            (folder / "data").write_bytes(b"data")
        shutil.rmtree(state / "sub")
        other = os.open(state / "other", os.O_RDONLY)
        os.rename("data", "other", src_dir_fd=other, dst_dir_fd=other)
        os.unlink("other", dir_fd=other)
        os.close(other)

    assert [file.path for file in read_log(logged(tmp_path, body))] == [str(tmp_path / "state" / "data")]


def test_what_is_not_logged(tmp_path: Path) -> None:
    def body(state: Path) -> None:
        descriptor = os.open(state / "at-once", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
        os.write(descriptor, b"x")
        os.close(descriptor)
        reads, writes = os.pipe()
        os.write(writes, b"x")
        os.close(writes)
        os.close(reads)
        (state / "old").write_text("x")
        (state / "new").write_text("x")
        os.fsync(os.open(state / "new", os.O_RDONLY))
        (state / "new").replace(state / "old")
        (state / "link").symlink_to("old")
        (state / "link").unlink()
        (state / "same").touch()
        os.truncate(state / "same", 0)
        with pytest.raises(OSError, match="Is a directory"):
            os.truncate(state, 0)
        with pytest.raises(OSError, match="Bad file"):
            os.fsync(99_999)

    assert read_log(logged(tmp_path, body)) == ()


def test_a_file_with_the_number_of_one_that_is_gone_is_another(tmp_path: Path) -> None:
    keys = []

    def body(state: Path) -> None:
        for name in "abc":
            (state / name).write_text("x")
            keys.append((state / name).stat().st_ino)
            if name != "c":
                (state / name).unlink()

    (file,) = read_log(logged(tmp_path, body))
    # Whether the system gives a number again does not matter.
    assert (file.number, len(file.changes), len(keys)) == (2, 1, 3)


def test_a_child_that_is_spawned_attaches_what_the_parent_has(
    tmp_path: Path, points: PosixAttachment
) -> None:
    points.detach()
    _, rules = prepared(points="posix/io/mkdir", timeout=5.0)

    def body() -> None:
        (tmp_path / "new").mkdir()

    one = Errand("run", body, (), Schedule(), rules, tmp_path, None, attached=("posix/io/mkdir",))
    assert done(one, lambda **_: None).names == ("posix/io/mkdir",)
    assert fail.status("posix/io/mkdir").sites == ()
    done(replace(one, call=int), lambda **_: None)
    problem = _crash_process._read(replace(one, call=int), 0).problem
    assert "did not hit the one failpoint that matches 'posix/io/mkdir': " in str(problem)


def test_standard_streams_are_not_torn(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def body(state: Path) -> None:
        os.write(1, b"said")
        with pytest.raises(OSError, match="Invalid"):
            os.ftruncate(0, 3)

    assert read_log(logged(tmp_path, body)) == ()
    assert capfd.readouterr().out == "said"


def test_a_log_that_ends_within_a_record(tmp_path: Path) -> None:
    log = logged(tmp_path, lambda state: [(state / name).write_text("x") for name in "ab"])
    log.write_bytes(log.read_bytes()[:-3])
    assert [Path(file.path).name for file in read_log(log)] == ["a"]
    assert read_log(tmp_path / "none") == ()


def test_files_of_a_folder_that_was_renamed(tmp_path: Path) -> None:
    def body(state: Path) -> None:
        (state / "old").mkdir()
        (state / "old" / "a").write_text("x")
        (state / "old" / "b").write_text("x")
        (state / "old").rename(state / "new")

    each = find_tears(read_log(logged(tmp_path, body)), tmp_path / "state").each
    assert [tear.said for tear in each] == [
        ("'new/a' has 0 of its 1 bytes",),
        ("'new/b' has 0 of its 1 bytes",),
        ("'new/a' has 0 of its 1 bytes", "'new/b' has 0 of its 1 bytes"),
    ]


def test_a_file_that_is_gone_is_not_torn(tmp_path: Path) -> None:
    log = logged(tmp_path, lambda state: (state / "a").write_text("xy"))
    files = read_log(log)
    (tear, *_) = find_tears(files, None).each
    (tmp_path / "state" / "a").unlink()
    assert find_tears(files, None).each == ()
    assert tear_files(tear, files, None) is not None
    assert tear_files(Tear((), ()), files, None) is None


@pytest.mark.parametrize("is_written", [True, False])
def test_a_new_file_with_the_number_of_one_that_is_gone_is_another(tmp_path: Path, is_written: bool) -> None:
    def body(state: Path) -> None:
        with (state / "old").open("w+b", buffering=0) as file:
            file.write(b"old")
            file.write(b"old")
            file.seek(0)
            file.write(b"OLD")
        # As if by code in C: it has the number of the old one, which nobody saw go.
        with fail.scope({"posix/io/open": "off"}):
            (state / "old").open("wb").close()
        if is_written:
            with (state / "old").open("ab", buffering=0) as file:
                file.write(b"new")

    each = find_tears(read_log(logged(tmp_path, body)), tmp_path / "state").each
    said = [said for tear in each for said in tear.said]
    assert said == [f"'old' has {left} of its 3 bytes" for left in (1, 0)] * is_written


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_torn(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "new"
    make(path)
    status = path.lstat()
    gone = File(0, (status.st_dev, status.st_ino), str(path), (Change(0, b"", 0, 4),))
    assert find_tears([gone], tmp_path) == Tears()


def test_a_call_that_asks_for_more_than_there_is_may_be_half_done(tmp_path: Path) -> None:
    def body(state: Path) -> None:
        (state / "data").write_bytes(b"0123456789")
        (state / "data").replace(state / "source")
        shutil.copyfile(state / "source", state / "copy")

    each = find_tears(read_log(logged(tmp_path, body)), tmp_path / "state").each
    assert "'copy' has 5 of its 10 bytes" in {said for tear in each for said in tear.said}


@pytest.mark.parametrize("mode", [0o444, 0o200, 0o000])
def test_a_file_that_nobody_may_write_is_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    def body(state: Path) -> None:
        (state / "object").write_bytes(b"content")
        (state / "object").chmod(mode)

    def guarded(needed: int, do: Callable[..., Any]) -> Callable[..., Any]:
        # The tests may be run by root, who may do anything.
        def guard(path: Path, *args: Any) -> Any:
            if not path.stat().st_mode & needed:
                raise PermissionError(13, "Permission denied")
            return do(path, *args)

        return guard

    log = logged(tmp_path, body)
    path = tmp_path / "state" / "object"
    files = read_log(log)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", guarded(0o400, Path.read_bytes))
        patch.setattr(Path, "write_bytes", guarded(0o200, Path.write_bytes))
        (*_, tear) = find_tears(files, None).each
        assert tear_files(tear, files, None) is None
    assert (path.stat().st_size, path.stat().st_mode & 0o777) == (0, mode)


def test_how_a_tear_is_said(tmp_path: Path) -> None:
    def body(state: Path) -> None:
        (state / "data").write_bytes(b"before")
        with (state / "data").open("r+b", buffering=0) as file:
            os.fsync(file)
            file.write(b"abcd")
            file.write(b"x")

    each = find_tears(read_log(logged(tmp_path, body)), tmp_path / "state").each
    assert [said for tear in each for said in tear.said] == [
        "'data' has 1 of its last 2 changes",
        "'data' has 0 of its last 2 changes and 2 bytes of the next",
        "'data' is what it was before its last 2 changes",
    ]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 12), st.binary(max_size=9)),
        st.tuples(st.just("append"), st.just(0), st.binary(max_size=9)),
        st.tuples(st.just("truncate"), st.integers(0, 12), st.just(b"")),
        st.tuples(st.just("sync"), st.just(0), st.just(b"")),
        st.tuples(st.just("rename"), st.just(0), st.just(b"")),
    ),
    max_size=12,
)


@given(steps=STEPS)
def test_every_prefix_of_what_is_not_synced_can_be_had(steps: list[tuple[str, int, bytes]]) -> None:
    seen: list[bytes] = []

    def body(state: Path) -> None:
        path = state / "data"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        seen[:] = [b""]
        for number, (kind, offset, data) in enumerate(steps):
            if kind == "write":
                os.pwrite(descriptor, data, offset)
            elif kind == "append":
                with path.open("ab") as file:
                    file.write(data)
            elif kind == "truncate":
                os.ftruncate(descriptor, offset)
            elif kind == "sync":
                os.fsync(descriptor)
                seen.clear()
            else:
                path = path.rename(state / str(number))
            seen.append(path.read_bytes())
        os.close(descriptor)

    with tempfile.TemporaryDirectory() as name:
        log = logged(Path(name), body)
        files = read_log(log)
        # Steps that change nothing are not told apart.
        expected = {left for left in seen if left != seen[-1]}
        found: set[bytes] = set()
        for file, path in _tear._found(files, Path(name, "state")):
            now = path.read_bytes()
            assert now == seen[-1]
            found = {_tear._torn(now, file.changes, cut) for cut in _tear._cuts(file) if not cut.part} - {now}
        assert found == expected
        # A file is really left so, and another tear begins from there.
        for tear in find_tears(files, Path(name, "state")).each:
            if not tear.cuts[0].part:
                assert tear_files(tear, files, Path(name, "state")) is None
                ((_, path),) = _tear._found(files, Path(name, "state"))
                assert path.read_bytes() in expected
                break


def test_what_sqlite_writes_is_said_not_to_be_seen() -> None:
    def both(folder: Path) -> None:
        (folder / "log").write_text("x")
        with closing(sqlite3.connect(folder / "db")) as database:
            database.execute("CREATE TABLE t (x)")

    with fail.attach_posix("sqlite"):
        report = explore(both, lambda: None, points="posix/sqlite/connect")
    assert "tear=True sees nothing of what SQLite writes, since it does that in C" in report.notes
