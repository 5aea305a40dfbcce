"""The command line: what it prints, what it says on stderr, and its exit status."""

from __future__ import annotations

import builtins
import errno
import gc
import json
import os
import pty
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import failpy
from failpy import _remote, _watch, fail
from failpy._complaint import Complaint
from tests.cli_tools import Said, asking

BARE = {key: value for key, value in os.environ.items() if not key.startswith("FAILPY")}
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def says(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    return asking(capsys, monkeypatch)


@pytest.fixture
def asks(says: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Said]]:
    """The same, with this process as the running program."""
    fail.current_scope()
    with fail.serve() as server:
        monkeypatch.setenv("FAILPY_URL", server.url)
        yield says


Asks = Callable[..., Said]


# --- without a program ---


def test_no_command_shows_the_help(says: Asks) -> None:
    status, out, err = says()
    assert status == 2
    assert "Usage: failpy" in out
    assert "Exit status: 0 done" in out
    assert says("-h") == (0, out, err)


def test_version(says: Asks) -> None:
    assert says("--version") == (0, f"failpy {failpy.__version__}\n", "")


def test_wrong_usage_is_status_2(says: Asks) -> None:
    for arguments, reason in (
        (["nosuch"], "No such command 'nosuch'.\nSee 'failpy --help'"),
        (["list", "--nope"], "No such option"),
        (["status"], "Missing argument 'NAME'.\nSee 'failpy status --help'"),
        (["list", "--timeout", "x"], "valid"),
        (["list", "--timeout", "0"], "0 is no number of seconds"),
        (["watch", "--interval", "nan"], "nan is no number of seconds"),
        (["list"], "no program is named: give --url"),
        (["list", "--url", "x"], "--url='x' is no address"),
        (["check", "5*", "x"], "unexpected extra argument"),
    ):
        status, out, err = says(*arguments)
        assert (status, out) == (2, ""), arguments
        assert err.startswith("failpy: ")
        assert reason in err
        assert "Traceback" not in err


def test_errors_are_json_on_demand(says: Asks) -> None:
    for arguments in (["list", "--json"], ["--json", "list"], ["--json", "nosuch"]):
        status, out, err = says(*arguments)
        assert (status, out) == (2, "")
        assert json.loads(err)["error"]["type"] == "UsageError"
    assert says("status", "--", "--json").err.startswith("failpy: ")


def test_nothing_there_is_status_3(says: Asks, tmp_path: Path) -> None:
    status, out, err = says("list", "--url", "127.0.0.1:1")
    assert (status, out) == (3, "")
    assert "nothing answers at http://127.0.0.1:1 (Connection refused)" in err
    assert err.count("\n") == 1


def test_check_explains(says: Asks) -> None:
    assert says("check", "2*off->1*raise(KeyError)") == (
        0,
        "hits 1 and 2: pass\nhit 3: raise KeyError\nfrom hit 4 on: pass\n",
        "",
    )
    assert says("check", "A=off;b.c=print").out == (
        "A\n  every hit: pass\nb.c\n  every hit: print the name of the point, then go on\n"
    )
    said = says("check", "raise(OSError(28))", "--json").data
    assert said == [{"name": None, "terms": "raise(OSError(28))", "steps": ["every hit: raise OSError(28)"]}]


def test_check_shows_where_terms_are_wrong(says: Asks) -> None:
    for text in ("5*", "A=5*"):
        status, out, err = says("check", text)
        assert (status, out) == (1, "")
        *_, line, caret = err.splitlines()
        assert (line, len(caret)) == (f"  {text}", len(line) + 1)
    error = json.loads(says("--json", "check", "5*").err)["error"]
    assert (error["type"], error["column"], error["text"]) == ("TermSyntaxError", 3, "5*")


SHOP = """
from failpy import fail, failpoint

@failpoint("shop.price", returns=int, faults=["return(0)", "raise(TimeoutError)"])
def price(): ...

def sell(n):
    fail.point("shop|sell`x")
    fail.point("shop.sell" + n)
    fail.point("shop.sell" + n)
    fail.enable("shop.price", "off")
    fail.enable("shop.prize", "5*")
"""


@pytest.fixture
def shop(tmp_path: Path) -> str:
    (tmp_path / "shop.py").write_text(SHOP)
    return str(tmp_path / "shop.py")


def test_lint(says: Asks, shop: str) -> None:
    status, out, err = says("lint", shop)
    assert status == 1
    assert f"{shop}:12:17: FP006 error: failpoint 'shop.prize': a modifier needs an action" in out
    assert "\n  5*\n    ^\n" in out
    assert "2 errors" in err
    assert err.endswith(" in 1 file\n")
    found = says("lint", shop, "--json")
    assert found.status == 1
    assert {"FP001", "FP006"} <= {each["code"] for each in found.data}
    assert found.err == ""


def test_lint_shows_notes_when_asked(says: Asks, shop: str) -> None:
    assert "note: " not in says("lint", shop).out
    assert "FP008 note: " in says("lint", "--notes", shop).out


def test_lint_without_findings(says: Asks, tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    (tmp_path / "b.py").touch()
    assert says("lint", str(tmp_path)) == (0, "", "nothing wrong in 2 files\n")
    assert says("lint", str(tmp_path), "--json").data == []


def test_paths_that_are_not_there(says: Asks) -> None:
    for command in ("lint", "points"):
        status, out, err = says(command, "nosuch")
        assert (status, out) == (2, "")
        assert "nothing to read at 'nosuch'" in err


def test_points_of_source(says: Asks, shop: str) -> None:
    out = says("points", shop).out.splitlines()
    assert out[0].split() == ["name", "returns", "faults", "declared", "at", "armed", "at"]
    assert out[1].split() == ["shop.price", "int", "return(0)", f"{shop}:4", f"{shop}:11"]
    assert out[2].split() == ["raise(TimeoutError)"]
    assert out[3].split() == ["shop.sell*", "(computed)", "None", f"{shop}:9"]
    assert out[4].split() == [f"{shop}:10"]
    assert out[5].split() == ["shop|sell`x", "None", f"{shop}:8"]


def test_points_of_source_for_machines(says: Asks, shop: str) -> None:
    said = says("points", shop, "--json").data
    assert said[0] == {
        "name": "shop.price",
        "computed": False,
        "returns": "int",
        "faults": ["return(0)", "raise(TimeoutError)"],
        "declared": [f"{shop}:4"],
        "armed": [f"{shop}:11"],
    }
    assert says("points", "--format", "json", shop).data == said


def test_points_of_source_for_a_document(says: Asks, shop: str) -> None:
    out = says("points", shop, "--format", "markdown").out
    assert out == (
        "| name | returns | faults | declared at | armed at |\n"
        "|---|---|---|---|---|\n"
        f"| `shop.price` | `int` | `return(0)`, `raise(TimeoutError)` | `{shop}:4` | `{shop}:11` |\n"
        f"| `shop.sell*` | `None` |  | `{shop}:9`, `{shop}:10` |  |\n"
        f"| `` shop\\|sell`x `` | `None` |  | `{shop}:8` |  |\n"
    )


# --- with a program ---


def row(out: str, name: str) -> list[str]:
    return next(line.split() for line in out.splitlines() if line.startswith(f"{name} "))


def test_list(asks: Asks, name: str) -> None:
    point = fail.point(name)
    other = fail.point(f"{name}.other", returns=str)
    fail.enable(name, "1*off->print")
    point.hit()
    assert not other.hit()
    out = asks("list").out
    assert out.splitlines()[0].split() == ["name", "terms", "hits", "fired", "paused", "returns", "sites"]
    assert row(out, name)[1:6] == ["1*off->print", "1", "0", "0", "None"]
    assert row(out, f"{name}.other")[1:5] == ["0", "0", "0", "str"]
    assert [line.split()[0] for line in asks("list", f"{name}*", "--armed").out.splitlines()] == [
        "name",
        name,
    ]
    said = asks("list", f"{name}.?ther", "--json").data
    assert [each["name"] for each in said["failpoints"]] == [f"{name}.other"]
    assert said["pid"] == os.getpid()


def test_a_point_with_several_sites(asks: Asks, name: str) -> None:
    fail.point(name)
    fail.point(name)
    fail.point(name, returns=None)
    assert row(asks("list", name).out, name)[-1] == "+1"
    assert asks("status", name).out.count("test_cli.py:") == 2


def test_list_of_nothing(asks: Asks) -> None:
    status, out, err = asks("list", "no.such*")
    assert (status, out) == (0, "")
    assert "points is like that" in err
    assert asks("list", "no.such*", "--json").data["failpoints"] == []


def test_where_may_stand_before_the_command(says: Asks, name: str) -> None:
    fail.current_scope()
    fail.point(name)
    with fail.serve(token="t") as server:
        before = says("--url", server.url, "--token", "t", "--timeout", "3", "--json", "status", name)
        after = says("status", name, "--url", server.url, "--token", "t", "--timeout", "3", "--json")
        both = says("--url", "127.0.0.1:1", "status", name, "--url", server.url, "--token", "t", "--json")
        assert before.data == after.data == both.data
        assert says("status", name, "--url", server.url).err.startswith(
            "failpy: this endpoint needs its token"
        )


def test_the_token_may_come_from_the_environment(says: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    fail.current_scope()
    with fail.serve(token="t") as server:
        monkeypatch.setenv("FAILPY_HTTP", server.address)
        monkeypatch.setenv("FAILPY_HTTP_TOKEN", "t")
        assert says("list", "--json").status == 0


def test_status(asks: Asks, name: str) -> None:
    point = fail.point(name, returns=str, faults=("raise(TimeoutError)", 'return("")'))
    fail.enable(name, "1*off->1*print")
    for _ in range(3):
        point.hit()
    lines = [line.split(maxsplit=1) for line in asks("status", name).out.splitlines()]
    said = {line[0]: line[1] for line in lines if len(line) == 2}
    assert said["terms"] == "1*off->1*print"
    assert said["hits"] == "3, 2 took a term"
    assert said["fired"] == "1"
    assert said["returns"] == "str"
    assert said["faults"] == "raise(TimeoutError)"
    assert "test_cli.py:" in said["sites"]


def test_status_of_what_is_armed_for_a_while_and_not_declared(asks: Asks, name: str) -> None:
    assert asks("enable", name, "panic", "--pending", "--ttl", "1h").status == 0
    out = asks("status", name).out
    assert "terms     panic  for 3" in out
    assert "sites     (no code has declared it yet)" in out
    asks("disable", name)


def test_an_unknown_name_is_status_1(asks: Asks, name: str) -> None:
    fail.point(name)
    for command in (["status", f"{name}x"], ["enable", f"{name}x", "off"], ["resume", f"{name}x"]):
        status, out, err = asks(*command)
        assert (status, out) == (1, "")
        assert f"did you mean {name!r}" in err
    error = json.loads(asks("status", f"{name}x", "--json").err)["error"]
    assert (error["type"], error["near"][0]) == ("UnknownFailpoint", name)


def test_enable(asks: Asks, name: str) -> None:
    fail.point(name)
    status, out, err = asks("enable", name, "3*print", "--ttl", "1h")
    assert (status, err) == (0, "")
    assert out.startswith("armed (revision ")
    assert fail.status(name).terms == "3*print"
    revision = asks("status", name, "--json").data["revision"]
    assert asks("enable", name, "off", "--if-match", "1.0").status == 1
    assert asks("enable", name, "off", "--if-match", revision, "--json").data["revision"] != revision


def test_enable_several_at_once(asks: Asks, name: str) -> None:
    fail.point(name)
    fail.point(f"{name}.b")
    assert asks("enable", f"{name}=panic", f'{name}.b=return("x=y;z")').status == 1
    assert fail.status(name).terms == ""
    assert asks("enable", f"{name}=panic", f"{name}.b=2*off->print").status == 0
    assert [fail.status(each).terms for each in (name, f"{name}.b")] == ["panic", "2*off->print"]
    assert asks("enable", f"{name}=off;{name}.b=off").status == 0
    assert [fail.status(each).terms for each in (name, f"{name}.b")] == ["off", "off"]


def test_enable_shows_where_terms_are_wrong(asks: Asks, name: str) -> None:
    fail.point(name)
    status, out, err = asks("enable", name, "5*")
    assert (status, out) == (1, "")
    assert err.endswith("\n  5*\n    ^\n")


def test_enable_tells_what_it_takes(asks: Asks) -> None:
    for words, reason in (
        (["a"], "with what? failpy enable a TERMS"),
        (["a", "off", "off"], "in quotes"),
        (["a=off", "b"], "'b' is not NAME=TERMS"),
    ):
        status, _, err = asks("enable", *words)
        assert status == 2
        assert reason in err


def test_disable(asks: Asks, name: str) -> None:
    points = [fail.point(f"{name}.{letter}").name for letter in "ab"]
    for each in points:
        fail.enable(each, "panic")
    assert asks("disable", *points) == (0, "disarmed\n", "")
    assert [fail.status(each).terms for each in points] == ["", ""]
    assert asks("disable", points[0], "--json").data == {"disabled": [points[0]]}
    fail.enable(points[0], "panic")
    assert asks("disable", "--all", "--json").data == {"disabled": True}
    assert fail.status(points[0]).terms == ""


def test_disable_does_what_it_can(asks: Asks, name: str) -> None:
    fail.point(name)
    fail.enable(name, "panic")
    status, out, err = asks("disable", "no.such", name)
    assert (status, out) == (1, "")
    assert "no code has declared a failpoint 'no.such'" in err
    assert "The others are disarmed." in err
    assert fail.status(name).terms == ""
    assert "others" not in asks("disable", "no.such").err


def test_disable_takes_names_or_all(asks: Asks) -> None:
    for words in ([], ["a", "--all"]):
        status, _, err = asks("disable", *words)
        assert status == 2
        assert "--all" in err


def test_resume(asks: Asks, name: str) -> None:
    point = fail.point(name)
    fail.enable(name, "pause")
    threads = [threading.Thread(target=point.hit, name=f"worker {i}") for i in range(3)]
    for thread in threads:
        thread.start()
    while fail.status(name).paused < 3:
        time.sleep(0.01)
    out = asks("status", name).out
    assert "paused    #1 worker" in out
    assert asks("resume", name, "--nth", "2").out == "resumed 1 paused hit\n"
    assert asks("resume", name, "--json").data == {"resumed": 2}
    assert asks("resume", name) == (1, "resumed 0 paused hits\n", "")
    for thread in threads:
        thread.join()


def test_names_are_no_markup_and_move_no_cursor(asks: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"name": "[red]a[/red]\x1b[31m", "terms": ":boom:\n\x07", "sites": ["\x9b\u202e"]}
    monkeypatch.setattr("failpy._client.Client.everything", lambda _: {"failpoints": [said]})
    monkeypatch.setattr("failpy._client.Client.status", lambda *_: said)
    listed = row(asks("list").out, "[red]a[/red]\\x1b[31m")
    assert listed[1:] == [":boom:\\n\\x07", "0", "0", "0", "\\x9b\\u202e"]
    assert "name      [red]a[/red]\\x1b[31m\n" in asks("status", "a").out


# --- watch ---


@pytest.fixture
def beat(name: str) -> Iterator[str]:
    """A point that is hit all the time."""
    point = fail.point(name)
    fail.enable(name, "1000000*print->off")
    over = threading.Event()

    def hit() -> None:
        while not over.wait(0.005):
            point.hit(x=1)

    thread = threading.Thread(target=hit, name="beat")
    fail.enable(name, "50%yield")
    thread.start()
    yield name
    over.set()
    thread.join()


def test_watch_prints_a_line_for_each_hit(asks: Asks, beat: str) -> None:
    lines = asks("watch", beat, "--count", "20").out.splitlines()
    assert len(lines) == 20
    assert all(line.split()[1] == beat and line.endswith("beat") for line in lines)
    assert {line.split()[3] for line in lines} <= {"50%yield", "passed"}


def test_a_hit_without_a_time(asks: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [("hit", {"point": "a\x1b", "nth": 1, "time": 1e300, "thread": "T", "task": "t"})]
    monkeypatch.setattr("failpy._client.Client.events", lambda _: (each for each in said))
    assert asks("watch", "--count", "1").out == "--:--:--.---  a\\x1b #1  passed  T t\n"


def test_watch_for_machines(asks: Asks, beat: str) -> None:
    lines = asks("watch", "--count", "2", "--json").out.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["hit", "hit"]


def test_watch_in_a_terminal(asks: Asks, beat: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_remote, "on_terminal", lambda: True)
    status, out, _ = asks("watch", beat, "--count", "3", "--interval", "0.1")
    assert status == 0
    assert "hits/s" in out
    assert float(row(out, beat)[2]) > 0


def test_a_rate_survives_terms_enabled_anew() -> None:
    rates = _watch._Rates()
    assert rates.of([{"name": "a", "hits": 100}]) == {}
    assert rates.of([{"name": "a", "hits": 3}, {"name": "b"}])["a"] > 0


@pytest.mark.parametrize("terminal", [True, False])
def test_watch_ends_with_control_c(asks: Asks, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_remote, "on_terminal", lambda: terminal)
    monkeypatch.setattr(_watch.time, "sleep", interrupt)
    monkeypatch.setattr("failpy._client.Client.events", interrupt)
    status, _, err = asks("watch", "no.such")
    assert (status, err) == (0, "")


def test_hits_that_are_left_out_are_told(asks: Asks, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def events(_: object) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "dropped", {"count": 7}
        yield "hit", {"point": "other"}
        yield "later", {}

    monkeypatch.setattr("failpy._client.Client.events", events)
    status, out, err = asks("watch", name)
    assert (status, out) == (3, "")
    assert "7 hits were too quick to show" in err
    assert "the program has ended" in err
    assert json.loads(asks("watch", name, "--json").out) == {"event": "dropped", "count": 7}


# --- completion ---


# httpcore leaves a unix socket that it cannot connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_names_are_completed(asks: Asks, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fail.point(name)
    monkeypatch.setenv("_FAILPY_COMPLETE", "complete_bash")
    for words in (f"failpy status {name}", f"failpy enable {name}", f"failpy disable x {name}"):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
        status, out, err = asks()
        assert (status, err) == (0, "")
        assert name in out.split()
    fail.point(f"{name}\\`id`")  # which a shell would run
    assert "id" not in asks().out
    monkeypatch.setenv("FAILPY_URL", "unix:/no/such")
    status, out, err = asks()
    assert (status, out.split(), err) == (0, [], "")
    gc.collect()


def test_completion_can_be_shown(says: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert "--show-completion" in says("--help").out


# --- streams ---


def test_a_closed_pipe_ends_it_quietly(says: Asks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number, expected in ((errno.EPIPE, 141), (errno.ENOSPC, 1)):

        class Full:
            def __init__(self, path: Path) -> None:
                self.file = path.open("w")

            def write(self, text: str, number: int = number) -> int:
                raise OSError(number, os.strerror(number))

            def fileno(self) -> int:
                return self.file.fileno()

            def isatty(self) -> bool:
                return False

        full = Full(tmp_path / "out")
        with full.file:
            monkeypatch.setattr(sys, "stdout", full)
            status, _, err = says("check", "off")
        assert status == expected
        assert err == (
            "" if number == errno.EPIPE else "failpy: stdout takes no more: No space left on device\n"
        )


def test_streams_that_are_closed(says: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert says("check", "off").status == 0
    sys.stdout.close()


def test_colours_are_for_a_terminal(says: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[36mA" in says("check", "A=off").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert says("check", "A=off").out == "A\n  every hit: pass\n"


def test_a_pipe_has_no_width(asks: Asks, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    long = name + "x" * 300
    fail.point(long)
    assert long in asks("list", f"{name}*").out
    monkeypatch.setenv("COLUMNS", "60")
    out = asks("list", f"{name}*").out
    assert long not in out
    assert max(map(len, out.splitlines())) <= 60
    assert out.count("x") >= 300


# --- what ends it ---


def test_an_error_of_failpy_is_a_line(says: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise fail.FailpointError("broken")

    monkeypatch.setattr("failpy._files.parse", broken)
    assert says("check", "off") == (1, "", "failpy: broken\n")
    assert Complaint("").data == {"error": {"type": "UsageError", "message": ""}}


def test_a_defect_is_not_hidden(says: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("failpy._files.parse", broken)
    with pytest.raises(ZeroDivisionError):
        says("check", "off")


@pytest.mark.parametrize(("code", "status"), [(3, 3), (None, 0), ("x", 0)])
def test_an_exit_of_a_library(says: Asks, monkeypatch: pytest.MonkeyPatch, code: Any, status: int) -> None:
    def leave(*_: object) -> None:
        raise SystemExit(code)

    monkeypatch.setattr("failpy._files.parse", leave)
    assert says("check", "off").status == status


def test_control_c_is_status_130(says: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("failpy._files.parse", interrupt)
    assert says("check", "off").status == 130


def test_a_missing_extra_is_told(says: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "failpy._cli", raising=False)
    original = builtins.__import__

    def without(missing: str) -> Callable[..., Any]:
        def find(name: str, *rest: Any) -> Any:
            if name == missing:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return original(name, *rest)

        return find

    monkeypatch.setattr(builtins, "__import__", without("typer"))
    status, out, err = says("list")
    assert (status, out) == (2, "")
    assert (
        err == "failpy: the command line needs typer, which is not installed: run pip install 'failpy[cli]'\n"
    )
    monkeypatch.setattr(builtins, "__import__", without("failpy._cli"))
    with pytest.raises(ModuleNotFoundError):
        says("list")


# --- as a process ---


def process(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "failpy", *arguments],
        env={**BARE, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_module_runs() -> None:
    ended = process("check", "5*", FAILPY_FAILPOINTS="nonsense", FAILPY_HTTP="nonsense")
    assert ended.returncode == 1
    assert ended.stderr.endswith("\n  5*\n    ^\n")


def test_the_module_ends_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["failpy", "check", "5*"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(failpy.__main__.__file__, run_name="__main__")
    assert caught.value.code == 1


def test_a_reader_that_has_enough() -> None:
    fail.current_scope()
    for i in range(100):
        fail.point(f"pipe.{i}")
    with fail.serve() as server:
        listing = subprocess.Popen(
            [sys.executable, "-m", "failpy", "list", "--url", server.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=BARE,
        )
        assert listing.stdout is not None
        listing.stdout.close()
        _, err = listing.communicate(timeout=60)
    assert (listing.returncode, err) == (141, b"")


def test_watch_in_a_real_terminal(beat: str) -> None:
    """Control-C ends it with status 0, and the cursor is shown again."""
    fail.current_scope()
    with fail.serve() as server:
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm", COLUMNS="100")
            arguments = [sys.executable, "-m", "failpy", "watch", beat, "--url", server.url]
            os.execv(sys.executable, arguments)
        seen = b""
        while seen.count(b"hits/s") < 2:
            seen += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        try:
            while chunk := os.read(terminal, 4096):
                seen += chunk
        except OSError:  # the terminal is closed
            pass
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"Traceback" not in seen
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")


def test_points_says_what_it_could_not_read(says: Asks, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def")
    said = says("points", str(tmp_path), "--json")
    assert said.data == []
    assert "a.py:1: it is no Python" in said.err
