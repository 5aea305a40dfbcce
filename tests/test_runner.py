"""`failpy run`: a program started with points armed and the endpoint on, as if the shell had started it."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from failpy import _runner
from failpy.__main__ import main

BARE = {key: value for key, value in os.environ.items() if not key.startswith("FAILPY")}
ENVIRON = (
    "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('FAILPY')}))"
)
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.startswith("FAILPY"):
            monkeypatch.delenv(variable)


def environ_of(capfd: Capture, *options: str) -> dict[str, str]:
    assert main(["run", *options, "--", sys.executable, "-S", "-c", ENVIRON]) == 0
    return dict(json.loads(capfd.readouterr().out))


def test_points_are_armed_through_the_environment(capfd: Capture) -> None:
    environ = environ_of(capfd, "-f", "A=panic", "-f", 'b.c=2*return("x;y=z")->off; D=off', "--seed", "7")
    assert environ["FAILPY_FAILPOINTS"] == 'A=panic;b.c=2*return("x;y=z")->off;D=off'
    assert environ["FAILPY_SEED"] == "7"


def test_what_is_armed_already_stays(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILPY_FAILPOINTS", "A=off;B=off")
    assert environ_of(capfd, "-f", "B=panic")["FAILPY_FAILPOINTS"] == "A=off;B=panic"
    assert "FAILPY_SEED" not in environ_of(capfd)


def test_the_endpoint_has_a_socket_of_its_own(capfd: Capture) -> None:
    program = (
        "import os; p = os.environ['FAILPY_HTTP'][5:]; print(oct(os.stat(os.path.dirname(p)).st_mode), p)"
    )
    assert main(["run", sys.executable, "-S", "-c", program]) == 0
    out, err = capfd.readouterr()
    mode, path = out.split()
    assert mode == "0o40700"
    assert err.endswith(f" with: failpy --url unix:{path} list\n")
    assert not Path(path).parent.exists()


def test_the_endpoint_may_have_an_address(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert environ_of(capfd, "--http", "127.0.0.1:5")["FAILPY_HTTP"] == "127.0.0.1:5"
    monkeypatch.setenv("FAILPY_HTTP", "127.0.0.1:6")
    assert environ_of(capfd)["FAILPY_HTTP"] == "127.0.0.1:6"
    assert environ_of(capfd, "--http", "127.0.0.1:5")["FAILPY_HTTP"] == "127.0.0.1:5"
    monkeypatch.setenv("FAILPY_HTTP_SERVED", "127.0.0.1:6")  # by a process above this one
    assert environ_of(capfd)["FAILPY_HTTP"].startswith("unix:")


def test_a_temporary_folder_with_a_long_name(
    capfd: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = SimpleNamespace(
        gettempdir=lambda: str(tmp_path / ("x" * 100)), TemporaryDirectory=tempfile.TemporaryDirectory
    )
    monkeypatch.setattr(_runner, "tempfile", long)
    assert environ_of(capfd)["FAILPY_HTTP"].startswith("unix:/tmp/failpy-")


def test_it_says_how_to_reach_the_program(capfd: Capture) -> None:
    for options, said in (
        (["--http", "127.0.0.1:5"], "failpy --url 127.0.0.1:5 list"),
        (["--http", "127.0.0.1:0"], "listens at a port that it chooses, of 127.0.0.1"),
        (["--http", "unix:/run/a b"], "failpy --url 'unix:/run/a b' list"),
        (["-q"], ""),
    ):
        assert main(["run", *options, "true"]) == 0
        err = capfd.readouterr().err
        assert said in err
        assert err.count("\n") == (1 if said else 0)
    assert main(["run", "--json", "--http", "unix:/run/{pid}", "true"]) == 0
    said_json = json.loads(capfd.readouterr().err)
    assert said_json["url"] == f"unix:/run/{said_json['pid']}"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-f", "A=5*"], "-f: a modifier needs an action"),
        (["-f", "A"], "-f: an entry of a set is name=terms"),
        (["-f", "A=off", "-f", "A=off"], "-f names 'A' twice"),
        (["--http", "x"], "'x' is no address of an HTTP endpoint"),
        (["--http", "0.0.0.0:1"], "needs a token"),
        (["--seed", "x"], "--seed"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(
    capfd: Capture, tmp_path: Path, options: list[str], reason: str
) -> None:
    assert main(["run", *options, "--", "touch", str(tmp_path / "started")]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert reason in err
    assert not (tmp_path / "started").exists()


def test_malformed_terms_have_a_caret(capfd: Capture) -> None:
    assert main(["run", "-f", "A=off;B=5*", "true"]) == 2
    assert capfd.readouterr().err.endswith("\n  A=off;B=5*\n            ^\n")


def test_the_environment_is_read_with_care(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILPY", "off")
    assert main(["run", "-q", "true"]) == 0
    assert main(["run", "-f", "A=off", "true"]) == 2
    assert "FAILPY=off lets nothing be armed" in capfd.readouterr().err
    monkeypatch.setenv("FAILPY", "on")
    monkeypatch.setenv("FAILPY_FAILPOINTS", "A")
    assert main(["run", "true"]) == 2
    assert "FAILPY_FAILPOINTS: an entry of a set" in capfd.readouterr().err


def test_the_exit_status_is_that_of_the_program() -> None:
    assert main(["run", "-q", "sh", "-c", "exit 42"]) == 42
    assert main(["run", "-q", "sh", "-c", "kill -KILL $$"]) == 128 + 9
    assert main(["run", "-q", "--", "sh", "-c", "kill -TERM $$"]) == 128 + 15


def test_a_program_that_cannot_be_started(capfd: Capture, tmp_path: Path) -> None:
    assert main(["run", "no-such-program"]) == 127
    assert capfd.readouterr().err == "failpy: cannot start 'no-such-program': No such file or directory\n"
    assert main(["run", "--json", str(tmp_path)]) == 126
    assert json.loads(capfd.readouterr().err)["error"]["type"] == "NotStarted"
    assert main(["run"]) == 2


def test_a_system_without_posix(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_spawnp")
    assert main(["run", "true"]) == 2
    assert "failpy run needs a POSIX system" in capfd.readouterr().err


def test_the_program_has_its_options_and_streams() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "failpy", "run", "-q", "sh", "-c", "cat; echo $0 $1 >&2", "--json", "-f"],
        input="in",
        env=BARE,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "in", "--json -f\n")


def test_signals_are_as_the_shell_leaves_them() -> None:
    program = (
        "import signal; print([signal.getsignal(s).name for s in (signal.SIGCHLD, signal.SIGTERM)], "
        "sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    )
    command = [sys.executable, "-m", "failpy", "run", "-q", sys.executable, "-c", program]
    child = (
        "import os, signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
        f"os.execv({sys.executable!r}, {command!r})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", child], env=BARE, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (0, "['SIG_DFL', 'SIG_DFL'] []\n"), ended.stderr


# --- signals ---

COUNTS = """
import signal, sys, time
seen = []
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, _: seen.append(number))
print("ready", flush=True)
end = time.monotonic() + 30
while len(seen) < int(sys.argv[1]) and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.1)
print(*map(int, seen))
sys.exit(5)
"""


def test_signals_are_forwarded() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "failpy", "run", "-q", "--", sys.executable, "-c", COUNTS, "4"],
        stdout=subprocess.PIPE,
        env=BARE,
        text=True,
    ) as ended:
        assert ended.stdout is not None
        assert ended.stdout.readline() == "ready\n"
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            ended.send_signal(number)
            time.sleep(0.1)
        assert ended.stdout.read() == "15 2 1 10\n"
    assert ended.returncode == 5


def test_control_c_comes_once() -> None:
    """The terminal sends it to the program already; a `kill` of the command does not."""
    pid, terminal = pty.fork()
    if pid == 0:
        arguments = [sys.executable, "-m", "failpy", "run", "-q", "--", sys.executable, "-c", COUNTS, "2"]
        os.execve(sys.executable, arguments, BARE)
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 4096)
    os.write(terminal, b"\x03")
    time.sleep(0.3)
    os.kill(pid, signal.SIGINT)
    try:
        while chunk := os.read(terminal, 4096):
            seen += chunk
    except OSError:  # the terminal is closed
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert b"2 2\r\n" in seen


def in_a_moment(send: Callable[[], None]) -> threading.Thread:
    def later() -> None:
        time.sleep(0.5)
        send()

    thread = threading.Thread(target=later)
    thread.start()
    return thread


def test_a_signal_of_this_thread_is_forwarded(capfd: Capture) -> None:
    """In this process, where coverage sees it; and here a look at the child ends the wait, now and then."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    sender = in_a_moment(lambda: signal.pthread_kill(main_thread, signal.SIGUSR1))
    assert main(["run", "-q", sys.executable, "-S", "-c", COUNTS, "1"]) == 5
    sender.join()
    assert capfd.readouterr().out == "ready\n10\n"


def test_a_system_that_does_not_say_who_sent_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "sigtimedwait")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for terminal, expected in ((True, None), (False, signal.SIGINT)):
            monkeypatch.setattr(os, "isatty", lambda _, terminal=terminal: terminal)
            signal.raise_signal(signal.SIGINT)
            assert _runner._wait_for({signal.SIGINT}) == expected
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_the_program_can_be_steered(tmp_path: Path) -> None:
    program = tmp_path / "app.py"
    program.write_text(
        "import time\n"
        "from failpy import fail\n"
        "point = fail.point('app.step', returns=int)\n"
        "print('up', flush=True)\n"
        "while not (hit := point.hit()): pass\n"
        "time.sleep(0.5)\n"  # for the reply to get out
        "raise SystemExit(hit.value)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "failpy", "run", "-f", "app.step=off", "--", sys.executable, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**BARE, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
    ) as ended:
        assert ended.stderr is not None
        assert ended.stdout is not None
        *_, reach = ended.stderr.readline().partition("with: failpy ")
        assert ended.stdout.readline() == "up\n"
        *where, _ = shlex.split(reach)
        assert main([*where, "enable", "app.step", "return(9)"]) == 0
    assert ended.returncode == 9
