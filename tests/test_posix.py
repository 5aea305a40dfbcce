"""The catalogue of the operating system: what is hit, what is not, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import builtins
import errno
import gc
import importlib
import io
import json
import os
import pickle
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from failpy import fail
from failpy._config import config
from failpy._posix_caller import is_tool
from failpy._posix_calls import CALLS
from failpy._posix_file import FileIO
from failpy._posix_functions import PLACES
from failpy._posix_places import Place

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these are calls of POSIX")

OS_NAMES = [name for name in dir(os) if callable(getattr(os, name))]


def standing() -> dict[str, Any]:
    """Everything that the catalogue may replace, as it is now."""
    import ssl

    found: dict[str, Any] = {f"os.{name}": getattr(os, name) for name in OS_NAMES}
    for owner in (builtins, io, socket, socket.socket, sqlite3, sqlite3.dbapi2, ssl.SSLSocket, FileIO):
        found |= {f"{owner.__name__}.{name}": value for name, value in vars(owner).items()}
    return found


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a failing call leaves open is collected here, and is no surprise to another test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def attached() -> Iterator[Any]:
    before = standing()
    with fail.attach_posix() as attachment:
        yield attachment
    after = standing()
    assert before.keys() == after.keys()
    assert [name for name, value in before.items() if after[name] is not value] == []


# --- attaching and detaching ---


def test_detaching_puts_back_every_attribute() -> None:
    before = standing()
    with fail.attach_posix() as attachment:
        meanwhile = standing()
        replaced = {name for name, value in before.items() if meanwhile[name] is not value}
        assert {"builtins.open", "io.open", "os.rename", "os.write", "sqlite3.connect"} <= replaced
        assert {"socket.send", "socket.recv"} <= meanwhile.keys() - before.keys()
        assert open is io.open
        with fail.scope(dict.fromkeys(CALLS, "off")):
            assert "write" in vars(FileIO)
        assert "write" not in vars(FileIO)
        assert repr(attachment) == f"<PosixAttachment of {len(CALLS)} points: attached>"
    assert standing() == before
    assert all(standing()[name] is value for name, value in before.items())
    assert repr(attachment).endswith("detached>")
    assert fail.status("posix/io/write").sites == fail.status("posix/io/write").faults == ()
    attachment.detach()
    with pytest.raises(fail.FailpointError, match="stays so: attach it again"), attachment:
        pass


def test_attached_twice_it_stands_until_the_last_is_detached(tmp_path: Path) -> None:
    one = fail.attach_posix("io")
    two = fail.attach_posix("posix/io/mkdir", "posix/io/open")
    try:
        one.detach()
        with fail.scope({"posix/io/mkdir": "raise(ENOSPC)"}), pytest.raises(OSError, match="No space"):
            os.mkdir(tmp_path / "a")
        with fail.scope({"posix/io/rmdir": "panic"}, strict=False):
            os.mkdir(tmp_path / "a")
            os.rmdir(tmp_path / "a")
    finally:
        two.detach()
    with fail.scope({"posix/io/mkdir": "panic", "posix/io/open": "panic"}, strict=False):
        os.mkdir(tmp_path / "a")
        (tmp_path / "a" / "b").write_text("c")


def test_groups_names_and_patterns() -> None:
    def names(*which: str) -> list[str]:
        with fail.attach_posix(*which) as attachment:
            return [point.name for point in attachment.points]

    assert names() == list(CALLS)
    assert names("net") == [name for name in CALLS if name.startswith("posix/net/")]
    assert names("posix/io/*nk", "posix/io/unlink", "sqlite") == [
        "posix/io/link", "posix/io/unlink",
        "posix/sqlite/connect", "posix/sqlite/execute", "posix/sqlite/commit",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("ios", "no group or point 'ios'; did you mean 'io'"),
        ("posix/io/wriet", "did you mean 'posix/io/write'"),
    ],
)
def test_a_bad_group(which: str, message: str) -> None:
    with pytest.raises(fail.FailpointError, match=message):
        fail.attach_posix("net", which)
    with pytest.raises(TypeError, match="names of groups and points, such as 'io', not 5"):
        fail.attach_posix(5)  # type: ignore[arg-type]


def test_every_call_has_a_place_and_faults_that_read(attached: Any) -> None:
    for point in attached.points:
        assert PLACES[point.name], point.name
        assert point.faults, point.name
        assert point.sites, point.name
        for fault in point.faults:
            fail.parse(str(fault))


def test_a_conflict_leaves_nothing_attached() -> None:
    source = """
        import os
        from failpy import fail
        fail.point("posix/io/rename", returns=str)
        original = os.mkdir, open
        try:
            fail.attach_posix("posix/io/open", "posix/io/mkdir", "posix/io/rename")
        except fail.FailpointConflict:
            print(original == (os.mkdir, open), type(open).__name__)
    """
    assert run(source) == "True builtin_function_or_method\n"


def test_what_was_put_around_a_function_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    attachment = fail.attach_posix("io")
    ours = os.mkdir

    def around(path: Any) -> None:
        ours(path)

    monkeypatch.setattr(os, "mkdir", around)
    attachment.detach()
    assert os.mkdir is around
    with fail.attach_posix("net"), fail.scope({"posix/io/mkdir": "panic"}, strict=False):
        around(tmp_path / "a")
    assert (tmp_path / "a").is_dir()


def test_compiled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "enabled", False)
    before = standing()
    with fail.attach_posix("posix/io/open") as attachment:
        assert standing() == before
        assert [point.name for point in attachment.points] == ["posix/io/open"]


def test_a_point_that_nothing_has_declared_yet_when_compiled_out() -> None:
    assert run(
        "from failpy import fail\nprint(fail.attach_posix('posix/io/open').points[0].name)", FAILPY="off"
    ) == ("posix/io/open\n")


def run(source: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments, "-c", textwrap.dedent(source)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_module_that_is_imported_later() -> None:
    source = """
        import sys
        from failpy import fail
        one = fail.attach_posix("sqlite")
        two = fail.attach_posix("posix/sqlite/connect", "posix/sqlite/commit")
        assert "sqlite3" not in sys.modules
        import sqlite3
        full = 'raise(sqlite3.OperationalError("unable to open database file"))'
        with fail.scope({"posix/sqlite/connect": full}):
            try:
                sqlite3.connect("x.db")
            except sqlite3.OperationalError as error:
                print(error, error.sqlite_errorname)
        one.detach()
        two.detach()
        print(type(sqlite3.connect).__name__)
        late = fail.attach_posix("posix/net/send")
        late.detach()
        import ssl
        print(type(ssl.SSLSocket.send).__name__)
    """
    assert run(source) == (
        "unable to open database file SQLITE_CANTOPEN\nbuiltin_function_or_method\nfunction\n"
    )


def test_a_place_in_a_module_that_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def instead(wrapped: Any, instance: object, args: Any, kwargs: Any) -> str:
        return "instead"

    fail.point(name)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "posix_later.py").write_text("def call(): return 'called'")
    place = Place("posix_later", "call", instead, always=True)
    place.use(name)
    place.use(name)
    left = Place("posix_later", "call", instead)
    left.use(name)
    left.leave(name)
    later = importlib.import_module("posix_later")
    assert later.call() == "instead"
    place.use(name)
    place.leave(name)
    assert later.call() == "called"
    sys.modules.pop("posix_later")


def test_import_failpy_loads_nothing_of_it() -> None:
    source = """
        import sys, failpy
        heavy = "socket", "wrapt"
        print([name for name in sys.modules if name.startswith("failpy._posix") or name in heavy])
    """
    assert run(source) == "[]\n"


# --- which calls are hit ---


def synced(sync: Callable[[int], None], folder: Path) -> None:
    with open(folder / "file") as file:
        sync(file.fileno())


CALLED: list[tuple[str, str, Callable[[Path], object]]] = [
    ("open", "builtin", lambda d: open(d / "file")),
    ("open", "os", lambda d: os.open(d / "file", os.O_RDONLY)),
    ("open", "read_text", lambda d: (d / "file").read_text()),
    ("open", "write_bytes", lambda d: (d / "new").write_bytes(b"")),
    ("open", "touch", lambda d: (d / "new").touch()),
    ("open", "copy", lambda d: shutil.copy(d / "file", d / "new")),
    ("open", "named", lambda d: tempfile.NamedTemporaryFile(dir=d)),
    ("open", "mkstemp", lambda d: tempfile.mkstemp(dir=d)),
    ("open", "temporary", lambda d: tempfile.TemporaryFile(dir=d)),
    ("read", "read_bytes", lambda d: (d / "file").read_bytes()),
    ("read", "json", lambda d: json.load(open(d / "file"))),
    ("read", "os", lambda d: os.read(os.open(d / "file", os.O_RDONLY), 5)),
    ("read", "readv", lambda d: os.readv(os.open(d / "file", os.O_RDONLY), [bytearray(5)])),
    ("write", "write_text", lambda d: (d / "new").write_text("text")),
    ("write", "sendfile", lambda d: shutil.copyfile(d / "file", d / "new")),
    ("write", "os", lambda d: os.write(os.open(d / "new", os.O_RDWR | os.O_CREAT), b"text")),
    ("write", "pwrite", lambda d: os.pwrite(os.open(d / "new", os.O_RDWR | os.O_CREAT), b"text", 0)),
    ("write", "writev", lambda d: os.writev(os.open(d / "new", os.O_RDWR | os.O_CREAT), [b"text"])),
    ("write", "fdopen", lambda d: os.fdopen(os.open(d / "new", os.O_RDWR | os.O_CREAT), "wb", 0).write(b"t")),
    ("write", "named", lambda d: tempfile.NamedTemporaryFile(dir=d, buffering=0).write(b"text")),
    ("fsync", "file", lambda d: synced(os.fsync, d)),
    ("fsync", "data", lambda d: synced(os.fdatasync, d)),
    ("truncate", "file", lambda d: open(d / "file", "r+").truncate(1)),
    ("truncate", "os", lambda d: os.truncate(d / "file", 1)),
    ("close", "file", lambda d: open(d / "file").close()),
    ("close", "os", lambda d: os.close(os.open(d / "file", os.O_RDONLY))),
    ("rename", "rename", lambda d: (d / "file").rename(d / "new")),
    ("rename", "replace", lambda d: os.replace(d / "file", d / "new")),
    ("rename", "move", lambda d: os.renames(d / "file", d / "new")),
    ("link", "hard", lambda d: os.link(d / "file", d / "new")),
    ("link", "symbolic", lambda d: (d / "new").symlink_to(d / "file")),
    ("unlink", "unlink", lambda d: (d / "file").unlink()),
    ("unlink", "remove", lambda d: os.remove(d / "file")),
    ("unlink", "rmtree", lambda d: shutil.rmtree(d / "folder")),
    ("mkdir", "mkdir", lambda d: (d / "new").mkdir()),
    ("mkdir", "makedirs", lambda d: os.makedirs(d / "new" / "newer")),
    ("mkdir", "temporary", lambda d: tempfile.mkdtemp(dir=d)),
    ("rmdir", "rmdir", lambda d: os.rmdir(d / "folder")),
    ("stat", "stat", lambda d: (d / "file").stat()),
    ("stat", "lstat", lambda d: os.lstat(d / "file")),
    ("stat", "copymode", lambda d: shutil.copystat(d / "file", d / "folder")),
    ("listdir", "listdir", lambda d: os.listdir(d)),
    ("listdir", "scandir", lambda d: os.scandir(d)),
    ("listdir", "iterdir", lambda d: list(d.iterdir())),
    ("listdir", "copytree", lambda d: shutil.copytree(d / "folder", d / "new")),
]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("name", "how", "call"), CALLED, ids=[f"{name}-{how}" for name, how, _ in CALLED])
def test_a_call_fails_with_the_error_it_would_have(
    name: str, how: str, call: Callable[[Path], object], tmp_path: Path, attached: Any
) -> None:
    (tmp_path / "file").write_text("[1, 2, 3]")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").write_text("")
    with fail.scope({f"posix/io/{name}": "raise(EIO)"}), pytest.raises(OSError) as raised:
        call(tmp_path)
    error: BaseException | None = raised.value
    if isinstance(error, shutil.Error):
        assert "Input/output error" in str(error)
        return
    assert isinstance(error, OSError)
    assert error.errno == errno.EIO
    if name not in ("read", "write", "fsync", "close") and how not in (
        "file",
        "temporary",
        "mkstemp",
        "named",
    ):
        assert str(tmp_path) in str(error) or how == "rmtree"


@pytest.mark.parametrize(("name", "how", "call"), CALLED, ids=[f"{name}-{how}" for name, how, _ in CALLED])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_call_that_only_passes_its_point_does_what_it_does(
    name: str, how: str, call: Callable[[Path], object], tmp_path: Path, attached: Any
) -> None:
    (tmp_path / "file").write_text("[1, 2, 3]")
    (tmp_path / "folder").mkdir()
    with fail.scope(dict.fromkeys(CALLS, "off")) as scope:
        call(tmp_path)
        assert scope.status(f"posix/io/{name}").hits or how == "rmtree"


def test_a_rename_says_both_names(attached: Any) -> None:
    with fail.scope({"posix/io/rename": "raise(EXDEV)"}), pytest.raises(OSError) as raised:
        os.rename("a", b"b")
    assert (raised.value.filename, raised.value.filename2) == ("a", b"b")
    mine = OSError(errno.EIO, "mine")
    with fail.scope({"posix/io/rename": fail.Raise(mine)}), pytest.raises(OSError, match="mine") as raised:
        os.rename("a", "b")
    assert raised.value is mine
    assert mine.filename is None


def test_a_predicate_sees_the_call(tmp_path: Path, attached: Any) -> None:
    with fail.scope() as scope:
        scope.enable(
            "posix/io/write", "raise(ENOSPC)", when=lambda call: str(call.values["path"]).endswith(".json")
        )
        scope.enable("posix/io/rename", "raise(EXDEV)", when=lambda call: call.values["dst"] == "b")
        (tmp_path / "a.txt").write_text("a")
        with pytest.raises(OSError, match="No space"):
            (tmp_path / "a.json").write_text("a")
        with pytest.raises(FileNotFoundError):
            os.rename("a", "c")
        with pytest.raises(OSError, match="ross"):
            os.rename("a", dst="b")


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="no copy_file_range on this platform")
def test_arguments_may_be_given_by_name(tmp_path: Path, attached: Any) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    seen = []
    with (tmp_path / "a").open("rb") as reads, (tmp_path / "b").open("wb") as writes, fail.scope() as scope:
        fds = reads.fileno(), writes.fileno()
        scope.enable("posix/io/write", "return(2)", when=lambda call: seen.append(call.values) or True)
        assert os.copy_file_range(*fds, count=5, offset_dst=3) == 2
        assert os.copy_file_range(src=fds[0], dst=fds[1], count=5) == 2
        assert os.sendfile(out_fd=fds[1], in_fd=fds[0], offset=0, count=5) == 2
        with pytest.raises(TypeError):
            os.copy_file_range(src=fds[0], count=5)  # type: ignore[call-arg]
    assert [dict(values) for values in seen] == [
        {"fd": fds[1], "size": 5, "offset": 3},
        {"fd": fds[1], "size": 5},
        {"fd": fds[1], "size": 5},
    ]


def test_a_number_that_is_no_int_is_a_descriptor(tmp_path: Path, attached: Any) -> None:
    class Number:
        def __init__(self, number: int) -> None:
            self.number = number

        def __index__(self) -> int:
            return self.number

    with (tmp_path / "a").open("wb") as file, open(Number(file.fileno()), "wb", closefd=False) as same:  # type: ignore[call-overload]
        same.write(b"text")
    assert (tmp_path / "a").read_bytes() == b"text"


def test_return_at_open_is_the_file(attached: Any) -> None:
    with fail.scope({"posix/io/open": fail.Return(io.StringIO("instead"))}), open("nowhere") as file:
        assert file.read() == "instead"


# --- partial writes and short reads ---


def test_a_partial_write_leaves_what_was_written(tmp_path: Path, attached: Any) -> None:
    path = tmp_path / "a.json"
    with fail.scope({"posix/io/write": "1*return(3)->raise(ENOSPC)"}) as scope:
        file = path.open("w")
        json.dump({"a": 1}, file)
        assert scope.status("posix/io/write").hits == 0  # it is all in the buffer
        with pytest.raises(OSError, match="No space left") as raised:
            file.flush()
        assert raised.value.filename is None  # as after a real one
        assert path.read_bytes() == b'{"a'
        with pytest.raises(OSError, match="No space left"):
            file.close()
        assert file.closed
    assert path.read_bytes() == b'{"a'


def test_an_error_that_goes_away_loses_nothing(tmp_path: Path, attached: Any) -> None:
    with fail.scope({"posix/io/write": "1*raise(ENOSPC)"}):
        file = (tmp_path / "a").open("w")
        file.write("text")
        with pytest.raises(OSError):
            file.flush()
        file.close()
    assert (tmp_path / "a").read_text() == "text"


def test_short_writes_alone_are_made_good_by_the_buffer(tmp_path: Path, attached: Any) -> None:
    with fail.scope({"posix/io/write": "return(1)"}) as scope:
        (tmp_path / "a").write_bytes(b"abc")
        assert scope.status("posix/io/write").hits == 3
        with (tmp_path / "b").open("wb", 0) as raw:
            assert raw.write(memoryview(b"abcdefgh").cast("H")) == 1
            assert raw.write(b"") == 0
        fd = os.open(tmp_path / "c", os.O_RDWR | os.O_CREAT)
        assert os.write(fd, b"abc") == os.writev(fd, [b"", b"abc", b"d"]) == 1
        os.close(fd)
    assert (tmp_path / "a").read_bytes() == b"abc"
    assert (tmp_path / "c").read_bytes() == b"aa"


def test_a_write_of_nothing_cannot_go_well(tmp_path: Path, attached: Any) -> None:
    with fail.scope({"posix/io/write": "return(0)"}), open(tmp_path / "a", "wb", 0) as raw:
        with pytest.raises(fail.FailpointError, match="cannot move 0 bytes .* return 1 or more"):
            raw.write(b"abc")
    with pytest.raises(fail.ReturnTypeError):
        fail.enable("posix/io/write", "return")


def test_short_reads_and_the_end(tmp_path: Path, attached: Any) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abcdef")
    with fail.scope({"posix/io/read": "return(2)"}) as scope:
        assert path.read_bytes() == b"abcdef"
        assert scope.status("posix/io/read").hits == 4
        with path.open("rb", 0) as raw:
            assert raw.read(4) == b"ab"
            assert raw.readinto(bytearray(4)) == 2
            assert raw.read() == b"ef"
        with path.open("rb") as file:
            assert file.read1(10) == b"ab"
    with fail.scope({"posix/io/read": "1*return(2)->return(0)"}):
        assert path.read_text() == "ab"
        fd = os.open(path, os.O_RDONLY)
        buffers = [bytearray(2), bytearray(2)]
        assert os.read(fd, 2) == b""
        assert os.readv(fd, buffers) == 0
        os.close(fd)
    with fail.scope({"posix/io/read": "return(-1)"}), path.open("rb", 0) as raw:
        with pytest.raises(fail.FailpointError, match="return 0 or more"):
            raw.read(1)


def test_a_descriptor_that_would_block_says_so_as_it_does(tmp_path: Path, attached: Any) -> None:
    with fail.scope({"posix/io/write": "1*raise(EAGAIN)", "posix/io/read": "3*raise(EAGAIN)"}):
        with open(tmp_path / "a", "w+b", 0) as raw:
            assert raw.write(b"abc") is None
            assert raw.read(1) is None
            assert raw.readinto(bytearray(1)) is None
            assert raw.read() is None
    with fail.scope({"posix/io/write": "1*raise(EAGAIN)"}):
        file = open(tmp_path / "a", "wb")
        file.write(b"abc")
        with pytest.raises(BlockingIOError, match="could not complete"):
            file.flush()
        file.close()


def test_a_pipe_takes_part(attached: Any) -> None:
    source, sink = os.pipe()
    with fail.scope({"posix/io/write": "1*off->raise(EPIPE)", "posix/io/read": "off"}):
        with open(sink, "wb", 0) as writer, open(source, "rb", 0) as reader:
            writer.write(b"abc")
            with pytest.raises(BrokenPipeError):
                writer.write(b"abc")
            writer.close()
            assert reader.read() == b"abc"


def test_a_close_that_fails_has_closed(tmp_path: Path, attached: Any) -> None:
    file = open(tmp_path / "a", "w")
    file.write("text")
    fd = file.fileno()
    with fail.scope({"posix/io/close": "raise(EIO)"}):
        with pytest.raises(OSError, match="Input/output"):
            file.close()
        file.close()
        other = os.open(tmp_path / "a", os.O_RDONLY)
        with pytest.raises(OSError, match="Input/output"):
            os.close(other)
    assert file.closed
    assert (tmp_path / "a").read_text() == "text"
    for each in (fd, other):
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(each)


def test_a_descriptor_that_is_not_the_files_own_is_not_closed(tmp_path: Path, attached: Any) -> None:
    with open(tmp_path / "a", "wb") as owner, fail.scope({"posix/io/close": "panic"}, strict=False):
        open(owner.fileno(), "wb", closefd=False).close()


# --- files are as they always are ---

MODES = [
    ("r", {}), ("rb", {}), ("rb", {"buffering": 0}), ("w", {}), ("wb", {}), ("a", {}), ("ab", {}), ("r+", {}),
    ("w+b", {}), ("rt", {"encoding": "utf-8", "errors": "replace", "newline": ""}), ("w", {"buffering": 1}),
    ("wb", {"buffering": 512}), ("r+b", {"buffering": 0}), ("a+", {}),
]  # fmt: skip


def described(file: Any) -> dict[str, Any]:
    layers = [file, *[getattr(file, name, None) for name in ("buffer", "raw")]]
    layers.append(getattr(layers[1], "raw", None))
    said: dict[str, Any] = {"reprs": [repr(layer) for layer in layers]}
    said["types"] = [type(layer).__name__ for layer in layers]
    said["bases"] = [isinstance(layer, io.IOBase | None) for layer in layers]
    for name in ("name", "mode", "encoding", "errors", "newlines", "line_buffering", "closed"):
        said[name] = getattr(file, name, "none")
    said["can"] = file.readable(), file.writable(), file.seekable(), file.isatty(), file.tell()
    with pytest.raises(TypeError) as refused:
        pickle.dumps(file)
    said["pickle"] = str(refused.value).replace("_io.", "")
    return said


@pytest.mark.parametrize(("mode", "options"), MODES)
def test_a_file_is_described_as_ever(mode: str, options: Any, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one\ntwo\n")
    with open(path, mode, **options) as plain:
        expected = described(plain)
    path.write_text("one\ntwo\n")
    with fail.attach_posix("io"), open(path, mode, **options) as file:
        assert described(file) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("a", "q"), ("a", "rw"), ("a", "rr"), ("a", "tb"), ("a", 5), ("a", "r", 0), ("a", "r", "x"),
        ("a", "rb", -1, "utf-8"), ("a", ""), (None,), (object(),), ("a\0b",), ("missing",), ("/", "w"),
        ("a", "r", -1, None, None, "bad"), ("a", "r", -1, "no-such"), (1.5,), (99999,),
        ("a", "r", -1, None, None, None, False), ("a", "r", -1, None, None, None, True, None, "more"),
    ],
)  # fmt: skip
def test_bad_arguments_say_what_they_say(
    arguments: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").write_text("text")
    errors = []
    for attach in (False, True):
        with fail.attach_posix("io" if attach else "net"), pytest.raises(Exception) as raised:
            open(*arguments)
        errors.append((type(raised.value), str(raised.value)))
    assert errors[0] == errors[1]


def test_keywords_twice_and_unknown(tmp_path: Path) -> None:
    with fail.attach_posix("io"):
        with pytest.raises(TypeError):
            open("a", "w", mode="w")  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            open("a", moed="r")  # type: ignore[call-overload]


def test_exclusive_openers_and_iteration(tmp_path: Path, attached: Any) -> None:
    path = tmp_path / "a"
    with open(path, "x") as file:
        file.write("one\ntwo\n")
    with pytest.raises(FileExistsError):
        open(path, "x")
    opened = []

    def opener(name: str, flags: int) -> int:
        opened.append(name)
        return os.open(name, flags)

    with fail.scope({"posix/io/open": "off"}) as scope, open(path, opener=opener) as file:
        assert scope.status("posix/io/open").hits == 1  # that of the opener
        assert list(file) == ["one\n", "two\n"]
        file.seek(4)
        assert (file.tell(), file.readline()) == (4, "two\n")
    assert opened == [str(path)]
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_what_is_refused_is_no_hit(tmp_path: Path, attached: Any) -> None:
    path = tmp_path / "a"
    with fail.scope(
        dict.fromkeys(["posix/io/read", "posix/io/write", "posix/io/truncate"], "panic"), strict=False
    ):
        with open(path, "wb", 0) as writer, open(path, "rb", 0) as reader:
            for refused in (lambda: writer.read(1), writer.read, lambda: writer.readinto(bytearray(1))):
                with pytest.raises(io.UnsupportedOperation):
                    refused()
            with pytest.raises(OSError, match="Bad file"):
                writer.readall()
            for refused in (lambda: reader.write(b"a"), reader.truncate):
                with pytest.raises(io.UnsupportedOperation):
                    refused()
        for raw in (reader, writer):
            for refused in (
                raw.read,
                lambda raw=raw: raw.write(b"a"),
                raw.truncate,
                lambda raw=raw: raw.read(1),
            ):
                with pytest.raises(ValueError, match="closed"):
                    refused()
        with pytest.raises(TypeError):
            os.write()  # type: ignore[call-arg]


def test_a_binary_file_has_no_lines_to_buffer(tmp_path: Path, attached: Any) -> None:
    with pytest.warns(RuntimeWarning, match="line buffering") as caught:
        open(tmp_path / "a", "wb", 1).close()
    assert [each.filename for each in caught] == [__file__]


def test_warnings_point_at_the_caller(tmp_path: Path) -> None:
    source = """
        import warnings
        from failpy import fail
        with fail.attach_posix("io"), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            open("a", "wb", 1).close()
            open("a").close()
        for each in caught:
            print(each.category.__name__, each.filename, each.lineno)
    """
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", textwrap.dedent(source)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "RuntimeWarning <string> 6\nEncodingWarning <string> 7\n"


def test_names_of_functions_stay_what_they_are(attached: Any) -> None:
    class Holder:
        opened = open

    assert Holder().opened is not None
    with Holder().opened(os.devnull) as file:
        assert file.read() == ""
    assert os.unlink in os.supports_dir_fd
    assert isinstance(os.rename, types.BuiltinFunctionType)
    for function in (open, os.rename):
        assert pickle.loads(pickle.dumps(function)).__name__ == function.__name__


def test_a_file_outlives_what_it_was_opened_under(tmp_path: Path) -> None:
    with fail.attach_posix("io"):
        file = open(tmp_path / "a", "w")
        renamed = os.rename
    with (
        fail.attach_posix("net"),
        fail.scope(dict.fromkeys(("posix/io/write", "posix/io/rename"), "panic"), strict=False),
    ):
        file.write("text")
        file.close()
        renamed(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "text"


def test_a_terminal_is_buffered_by_line(attached: Any) -> None:
    import pty

    leader, follower = pty.openpty()
    with open(follower, "w") as file:
        assert file.line_buffering
    os.close(leader)


# --- the network ---


@pytest.fixture
def pair(attached: Any) -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture
def server(attached: Any) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_a_connection_is_refused(server: socket.socket) -> None:
    address = server.getsockname()
    with fail.scope({"posix/net/connect": "raise(ECONNREFUSED)"}) as scope:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        with socket.socket() as plain:
            assert plain.connect_ex(address) == errno.ECONNREFUSED
        scope.enable("posix/net/connect", "raise(ValueError)")
        with socket.socket() as plain, pytest.raises(ValueError):
            plain.connect_ex(address)
        scope.enable("posix/net/connect", "raise(OSError)")
        with socket.socket() as plain, pytest.raises(OSError):
            plain.connect_ex(address)
        scope.enable(
            "posix/net/connect", "1*return->off", when=lambda call: call.values["address"] == address
        )
        with socket.socket() as plain:
            assert plain.connect_ex(address) == 0  # and it is not connected
            assert plain.connect_ex(address) == 0
    socket.create_connection(address).close()


def test_names_ports_and_accepting(server: socket.socket) -> None:
    with fail.scope({"posix/net/resolve": 'raise(socket.gaierror(-2, "Name or service not known"))'}):
        with pytest.raises(socket.gaierror, match="not known"):
            socket.create_connection(("localhost", 1))
        with pytest.raises(socket.gaierror):
            socket.gethostbyname("localhost")
    with fail.scope({"posix/net/bind": "raise(EADDRINUSE)"}), pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", 0))
    with fail.scope({"posix/net/accept": "raise(EMFILE)"}), pytest.raises(OSError, match="Too many"):
        server.accept()


def test_sends_fail_and_are_short(pair: Any) -> None:
    one, other = pair
    with fail.scope({"posix/net/send": "return(2)"}) as scope:
        assert one.send(b"abc") == one.sendmsg([b"a", b"bc", b"d"]) == 2
        assert scope.status("posix/net/send").hits == 2
        one.sendall(b"cdefg")
        assert scope.status("posix/net/send").hits == 5
        one.sendall(b"")
    assert other.recv(100) == b"ababcdefg"
    with fail.scope({"posix/net/send": "1*return(2)->raise(EPIPE)"}):
        with pytest.raises(BrokenPipeError):
            one.sendall(b"abcdef")
        with pytest.raises(TypeError):
            one.sendall()
    assert other.recv(100) == b"ab"


def test_receives_fail_are_short_and_end(pair: Any) -> None:
    one, other = pair
    one.sendall(b"abcdefgh")
    buffer = bytearray(5)
    with fail.scope({"posix/net/recv": "3*return(2)->1*off->1*return(0)->1*return(0)->raise(ECONNRESET)"}):
        assert other.recv(5) == b"ab"
        assert other.recv_into(buffer) == 2
        assert other.recv_into(buffer=buffer, nbytes=1) == 1
        assert other.recv_into(buffer, 2) == 2
        assert bytes(buffer) == b"fg\0\0\0"
        assert other.recv(5) == b""
        assert other.recv_into(buffer) == 0
        with pytest.raises(ConnectionResetError):
            other.recv(5)
        with pytest.raises(TypeError):
            other.recv_into()
    assert other.recv(5) == b"h"


def test_a_file_of_a_socket_takes_part(pair: Any) -> None:
    one, other = pair
    with fail.scope({"posix/net/send": "raise(EPIPE)", "posix/net/recv": "return(0)"}):
        with one.makefile("wb", 0) as writer, pytest.raises(BrokenPipeError):
            writer.write(b"abc")
        with other.makefile("rb") as reader:
            assert reader.read() == b""


async def test_streams_of_asyncio(server: socket.socket) -> None:
    server.setblocking(False)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    address = server.getsockname()
    listening = await asyncio.start_server(echo, sock=server.dup())
    async with listening:
        with fail.scope({"posix/net/connect": "raise(ECONNREFUSED)"}), pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"abc")
        assert await reader.read(3) == b"abc"
        with fail.scope({"posix/net/send": "raise(EPIPE)"}):
            writer.write(b"abc")
            with pytest.raises(ConnectionError):
                await writer.drain()
                await writer.wait_closed()


def test_an_event_loop_still_wakes_up(attached: Any) -> None:
    async def main() -> str:
        return await asyncio.to_thread(lambda: "woken")

    with fail.scope({"posix/net/send": "panic", "posix/net/recv": "panic"}, strict=False):
        assert asyncio.run(main()) == "woken"


pytestmark = [pytestmark, pytest.mark.anyio]


# --- sqlite3 ---

FULL = 'raise(sqlite3.OperationalError("database or disk is full"))'


def test_sqlite_statements_fail(attached: Any) -> None:
    with sqlite3.connect(":memory:") as db:
        db.execute("create table t (x)")
        with fail.scope({"posix/sqlite/execute": FULL}):
            for call in (
                lambda: db.execute("insert into t values (1)"),
                lambda: db.executemany("insert into t values (?)", [(1,)]),
                lambda: db.executescript("insert into t values (1);"),
                lambda: db.cursor().execute("insert into t values (?)", (1,)),
            ):
                with pytest.raises(sqlite3.OperationalError, match="disk is full") as raised:
                    call()
                assert raised.value.sqlite_errorname == "SQLITE_FULL"
                assert raised.value.sqlite_errorcode == sqlite3.SQLITE_FULL
        db.executemany("insert into t values (?)", [(1,), (2,)])
        db.executescript("insert into t values (3);")
        with fail.scope() as scope:
            scope.enable(
                "posix/sqlite/execute",
                "raise(sqlite3.DatabaseError)",
                when=lambda call: "x" in call.values["sql"],
            )
            assert db.execute("select count(*) from t").fetchone() == (3,)
            with pytest.raises(sqlite3.DatabaseError):
                db.execute("select x from t")
    db.close()


@pytest.mark.filterwarnings("ignore:Passing more than 1 positional:DeprecationWarning")
def test_sqlite_commits_fail_and_roll_back(attached: Any, tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "a.db", 5.0, 0, "", True, sqlite3.Connection)
    assert isinstance(db, sqlite3.Connection)
    db.execute("create table t (x)")
    with fail.scope({"posix/sqlite/commit": FULL}):
        with pytest.raises(sqlite3.OperationalError), db:
            db.execute("insert into t values (1)")
        assert db.execute("select count(*) from t").fetchone() == (0,)
        db.execute("insert into t values (2)")
        with pytest.raises(sqlite3.OperationalError):
            db.commit()
        assert db.in_transaction
    with fail.scope({"posix/sqlite/commit": "return"}):
        db.commit()
        with db:
            pass
        assert db.in_transaction
    with pytest.raises(KeyError), db:
        raise KeyError
    with db:
        db.execute("insert into t values (3)")
    db.commit()
    assert db.execute("select x from t").fetchall() == [(3,)]
    db.close()


def test_sqlite_with_classes_of_the_users_own(attached: Any) -> None:
    class Connection(sqlite3.Connection):
        def commit(self) -> None:
            committed.append(1)
            super().commit()

    class Cursor(sqlite3.Cursor):
        pass

    committed: list[int] = []
    db = sqlite3.connect(":memory:", factory=Connection)
    assert isinstance(db, Connection)
    assert type(db).__name__ == "Connection"
    cursor = db.cursor(Cursor)
    assert isinstance(cursor, Cursor)
    with fail.scope({"posix/sqlite/execute": "return(7)", "posix/sqlite/commit": "off"}):
        assert cursor.execute("select 1") == 7
        assert cursor.executemany("select ?", []) == cursor.executescript("") == 7
        db.commit()
    assert committed == [1]
    made = sqlite3.connect(":memory:", factory=lambda *args, **kwargs: sqlite3.Connection(*args))  # type: ignore[arg-type]
    with fail.scope({"posix/sqlite/execute": "panic", "posix/sqlite/connect": "return"}):
        assert made.execute("select 1").fetchone() == (1,)  # not seen
        assert sqlite3.connect(database=":memory:") is None
        with pytest.raises(fail.FailpointPanic):
            db.execute("")
    with (
        fail.scope({"posix/sqlite/connect": "raise(sqlite3.DatabaseError)"}),
        pytest.raises(sqlite3.DatabaseError),
    ):
        sqlite3.connect(":memory:")
    for each in (db, made):
        each.close()


# --- whom it hits ---


def test_another_thread_without_the_scope_is_never_hit(tmp_path: Path, attached: Any) -> None:
    written = threading.Event()
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            for number in range(50):
                (tmp_path / f"{number}").write_text("text")
                os.mkdir(tmp_path / f"d{number}")
        except BaseException as exc:
            errors.append(exc)
        written.set()

    with fail.scope({"posix/io/write": "raise(ENOSPC)", "posix/io/mkdir": "raise(ENOSPC)"}, threads=False):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        for _ in range(50):
            with pytest.raises(OSError):
                (tmp_path / "mine").write_text("text")
            with pytest.raises(OSError):
                os.mkdir(tmp_path / "mine")
        thread.join()
    assert written.is_set()
    assert errors == []


def test_threads_of_the_scope_are_hit_whatever_they_run(tmp_path: Path, attached: Any) -> None:
    with fail.scope({"posix/io/mkdir": "raise(ENOSPC)"}), ThreadPoolExecutor(1) as pool:
        with pytest.raises(OSError, match="No space"):
            pool.submit(os.mkdir, tmp_path / "a").result()  # called by no code of the program's own
        with pytest.raises(OSError, match="No space"):
            asyncio.run(asyncio.to_thread(os.mkdir, tmp_path / "a"))
        with pytest.raises(OSError, match="No space"):
            pytest.raises(KeyError, os.mkdir, tmp_path / "a")


def test_source_read_for_a_traceback_is_not_the_programs(tmp_path: Path, attached: Any) -> None:
    import linecache

    (tmp_path / "a.py").write_text("one line\n")
    with fail.scope(
        dict.fromkeys(("posix/io/open", "posix/io/stat", "posix/io/read"), "panic"), strict=False
    ):
        assert linecache.getline(str(tmp_path / "a.py"), 1) == "one line\n"


def test_the_search_for_the_folder_of_temporary_files_is_not_the_programs(
    monkeypatch: pytest.MonkeyPatch, attached: Any
) -> None:
    """It is made once in a process: the first run of a program would differ from those that follow."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    points = dict.fromkeys(CALLS, "off")
    with fail.scope(points) as scope:
        folder = tempfile.mkdtemp()
    os.rmdir(folder)
    assert [(each.point, each.nth) for each in scope.trace] == [("posix/io/mkdir", 1)]


def test_imports_are_never_hit_but_what_a_module_does_is(
    tmp_path: Path, attached: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "posix_plain.py").write_text("x = 1")
    (tmp_path / "posix_reading.py").write_text("open(__file__)")
    with fail.scope(dict.fromkeys(CALLS, "panic"), strict=False):
        import posix_plain  # type: ignore[import-not-found]

        assert posix_plain.x == 1
        with pytest.raises(fail.FailpointPanic):
            import posix_reading  # type: ignore[import-not-found]  # noqa: F401


def test_code_of_no_module_is_the_programs() -> None:
    space: dict[str, Any] = {"sys": sys, "is_tool": is_tool}
    exec("def ask(): return is_tool(sys._getframe())", space)
    assert is_tool(None) is False
    for name in (None, 5, "failpy", "_pytest.made", "no.such", "wrapt.wrappers"):
        space["ask"].__code__ = space["ask"].__code__.replace(co_filename=f"<{name}>")
        space["__name__"] = name
        assert space["ask"]() is False


def test_sqlite_of_coverage_is_not_hit(attached: Any, tmp_path: Path) -> None:
    from coverage import CoverageData

    with fail.scope(dict.fromkeys(CALLS, "panic"), strict=False):
        data = CoverageData(str(tmp_path / ".coverage"))
        data.add_lines({"a.py": [1]})
        data.write()
        data.close()
    assert (tmp_path / ".coverage").exists()


SUITE = """
import json, logging, os, pathlib, sqlite3
import pytest
from failpy import fail

@pytest.fixture(scope="session", autouse=True)
def attached():
    with fail.attach_posix():
        yield

@pytest.mark.failpoints({"posix/io/write": "raise(ENOSPC)", "posix/io/open": "off"})
def test_full(tmp_path, capfd, request):
    print("printed")
    logging.getLogger().warning("logged")
    with pytest.raises(OSError, match="No space"):
        (tmp_path / "a").write_text("text")
    assert "printed" in capfd.readouterr().out
    request.config.cache.set("a/b", 1)

@pytest.mark.failpoints({"posix/io/open": "raise(EMFILE)"})
def test_files(tmp_path, capsys, recwarn, monkeypatch):
    import asserted
    print("printed")
    with pytest.raises(OSError, match="Too many open files"):
        open(tmp_path / "a")
    with pytest.raises(OSError, match="Too many open files"):
        pathlib.Path(__file__).read_text()
    assert asserted.works(1)

@pytest.mark.failpoints("posix/io/open=raise(EMFILE);posix/io/stat=off;posix/io/mkdir=raise(EIO)")
def test_failing(tmp_path_factory):
    with pytest.raises(OSError):
        os.mkdir("new")
    tmp_path_factory.mktemp("own")
    with pytest.raises(OSError):
        open("a")
    os.path.exists("a")
    assert 1 == 2, "on purpose"

def test_process():
    fail.enable("posix/io/write", "raise(ENOSPC)")
    try:
        with pytest.raises(OSError):
            pathlib.Path("b").write_text("text")
    finally:
        fail.disable("posix/io/write")
"""


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_in_pytest_only_the_tests_own_writes_fail(capture: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SUITE, asserted="def works(x):\n    assert x\n    return x\n")
    pytester.makeconftest("import pytest\npytest.register_assert_rewrite('asserted')\n")
    result = pytester.runpytest_subprocess(
        "-p",
        "no:xdist",
        f"--capture={capture}",
        "--junitxml=out.xml",
        "--log-file=out.log",
        "-p",
        "no:asyncio",
    )
    result.stdout.fnmatch_lines(["*on purpose*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    result.assert_outcomes(passed=3, failed=1)
    assert "on purpose" in (pytester.path / "out.xml").read_text()
    assert "logged" in (pytester.path / "out.log").read_text()
    assert "assert 1 == 2" in result.stdout.str()


@pytest.mark.parametrize("term", ["posix/io/write=raise(ENOSPC)", "posix/io/open=raise(EMFILE)"])
def test_a_whole_run_under_coverage_with_the_process_armed(term: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        conftest="""
            from failpy import fail
            fail.attach_posix()
        """,
        test_it="""
            import pytest

            def test_it(tmp_path):
                print("printed")
                with pytest.raises(OSError):
                    (tmp_path / "a").write_text("text")

            def test_failing():
                assert [1] == [2]
        """,
    )
    result = pytester.run(
        sys.executable, "-m", "coverage", "run", "--source=.", "-m", "pytest", f"--failpoints={term}",
        "--failpoints-report=json:report.json", "--junitxml=out.xml",
    )  # fmt: skip
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    result.assert_outcomes(passed=1, failed=1)
    assert "[1] == [2]" in result.stdout.str()
    assert (pytester.path / "out.xml").exists()
    assert (pytester.path / ".coverage").exists()


# --- what it cannot see ---


def test_what_is_not_seen_is_told(attached: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    early = types.ModuleType("posix_early")
    early.swap = PLACES["posix/io/rename"][1].original  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "posix_early", early)
    monkeypatch.setitem(sys.modules, "numpy", types.ModuleType("numpy"))
    monkeypatch.setitem(sys.modules, "posix_gone", None)  # type: ignore[arg-type]
    assert "numpy reads and writes in C" in attached.unseen
    assert "posix_early.swap is os.replace, imported by name before" in attached.unseen
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attached.detach()
    assert not any("posix_early" in each for each in attached.unseen)


def test_a_platform_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fdatasync")
    with fail.attach_posix("posix/io/fsync"):
        assert not hasattr(os, "fdatasync")
    assert not hasattr(os, "fdatasync")


def test_tls_sockets(attached: Any) -> None:
    import ssl

    class Talking:
        def write(self, data: bytes) -> int:
            return len(data)

        def read(self, size: int, buffer: Any = None) -> Any:
            if buffer is None:
                return b"x" * size
            buffer[:size] = b"x" * size
            return size

    one, other = socket.socketpair()
    secure = ssl.create_default_context().wrap_socket(one, server_hostname="x", do_handshake_on_connect=False)
    with other, secure:
        secure._sslobj, real = Talking(), secure._sslobj
        with fail.scope({"posix/net/send": "1*return(2)->raise(EPIPE)"}):
            assert secure.send(b"abc") == 2
            with pytest.raises(BrokenPipeError):
                secure.sendall(b"abc")
        with fail.scope({"posix/net/recv": "2*return(2)->2*return(0)->1*off->raise(ECONNRESET)"}):
            assert secure.recv(5) == b"xx"
            assert secure.recv_into(bytearray(5)) == 2
            assert secure.recv(5) == b""
            assert secure.recv_into(bytearray(5)) == 0
            assert secure.recv(3) == b"xxx"
            with pytest.raises(ConnectionResetError):
                secure.recv(5)
        secure._sslobj = None
        with fail.scope({"posix/net/send": "off"}) as scope:
            secure.send(b"plain")
            assert scope.status("posix/net/send").hits == 1
        assert other.recv(10) == b"plain"
        secure._sslobj = real


# --- when a point was armed in vain ---


def test_a_scope_says_who_does_what_its_points_do_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    early = types.ModuleType("posix_early")
    early.__dict__["swap"] = os.replace
    monkeypatch.setitem(sys.modules, "posix_early", early)
    for name in ("numpy", "h5py", "lmdb"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    with fail.attach_posix("posix/io/rename", "sqlite"):
        with pytest.raises(fail.NeverFired) as never, fail.scope({"posix/io/rename": "raise(EIO)"}):
            pass
        said = str(never.value).partition("past it: ")[2]
        assert re.match(r"\S+ is os\.\w+, imported by name before, .* and \d+ more$", said, re.MULTILINE)
        with pytest.raises(fail.NeverFired) as never, fail.scope({"posix/sqlite/commit": "raise(EIO)"}):
            pass
        assert "past it" not in str(never.value)


def test_a_scope_says_that_nothing_is_attached() -> None:
    with fail.attach_posix("posix/io/rename"):
        pass
    with (
        pytest.raises(fail.NeverFired, match=r"it stands nowhere now\); it was detached: arm it while it is"),
        fail.scope({"posix/io/rename": "raise(EIO)"}),
    ):
        pass
    with (
        pytest.raises(fail.UnknownFailpoint, match="while fail.attach_posix"),
        fail.scope({"posix/io/renam": "raise(EIO)"}),
    ):
        pass


# --- what becomes of an error ---


def test_an_error_that_a_buffer_drops_for_a_second_one_is_not_said_to_be_handled_by_failpy(
    tmp_path: Path, attached: Any
) -> None:
    def body() -> None:
        with suppress(OSError):
            (tmp_path / "file").write_text("a line")

    report = fail.explore(body, points={"posix/io/write": ["2*raise(ENOSPC)"]})
    assert report.cases[0].endings[:1] == (
        "posix/io/write #1 2*raise(ENOSPC): handled by the buffer of the file",
    )


# --- arguments that can be gone through once ---


def test_buffers_may_come_from_an_iterator() -> None:
    ours, theirs = socket.socketpair()
    reads, writes = os.pipe()
    with ours, theirs, fail.attach_posix("posix/net/send", "posix/io/write"):
        with fail.scope({"posix/net/send": "1*off->return(2)", "posix/io/write": "5*off"}):
            assert ours.sendmsg(iter([b"abc", b"def"])) == 6
            assert ours.sendmsg(iter([b"ghi"])) == 2
            assert os.writev(writes, [b"abc"]) == 3
        assert theirs.recv(100) == b"abcdefgh"
    assert os.read(reads, 100) == b"abc"
    os.close(reads)
    os.close(writes)


def test_asyncio_sends_what_is_too_much_for_one_call() -> None:
    size = 3_000_000

    async def main() -> int:
        count = 0
        ended = asyncio.Event()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            while part := await reader.read(1 << 16):
                count += len(part)
            writer.close()
            ended.set()

        server = await asyncio.start_server(take, "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            for _ in range(3):
                writer.write(bytes(size // 3))
            writer.write_eof()
            await asyncio.wait_for(ended.wait(), 60)
            writer.close()
            await writer.wait_closed()
        return count

    with fail.attach_posix("net"), fail.scope({"posix/net/send": "1*off->50*return(7)->off"}):
        assert asyncio.run(main()) == size
