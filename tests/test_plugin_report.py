"""The report of the pytest plugin, end to end: what a run and all its processes did with failpoints."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from failpy import _config, fail
from failpy._collector import Collector
from failpy._observer import observing
from failpy._tally import PointTally, Tally
from failpy._tally_file import gathered, imported_files

from .plugin_tools import alone, line_of, names_of, run, write

XDIST = "xdist.plugin"

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")

SHOP = """
from failpy import fail, failpoint
from failpy import Raise


@failpoint("shop.read", returns=str)
def read():
    return "body"


@failpoint("shop.write", faults=["raise(TimeoutError)", 'raise(OSError(28, "full"))'])
def write():
    return "written"


def save():
    try:
        return write()
    except OSError:
        return "not saved"


@failpoint("shop.idle")
def idle():
    pass


@failpoint("shop.unreached")
def unreached():
    pass


@failpoint("shop.passed")
def passed():
    pass


def never_called():
    with fail.point("shop.in_a_body"):
        pass


def computed(name):
    with fail.point("shop.computed." + name):
        pass


@failpoint("internal.secret")
def secret():
    pass
"""

TESTS = """
import pytest
import shop
from failpy import fail

@pytest.mark.failpoints({"shop.read": 'return("x")'})
def test_read():
    assert shop.read() == shop.read() == "x"

@pytest.mark.failpoints({"shop.write": "raise(TimeoutError)"})
def test_write():
    with pytest.raises(TimeoutError):
        shop.write()

@pytest.mark.failpoints({"shop.write": "1*raise(TimeoutError)->sleep(0)"})
def test_save():
    assert shop.save() == "not saved"
    assert shop.save() == "written"

@pytest.mark.failpoints({"shop.unreached": "raise", "shop.passed": "off"}, strict=False)
def test_armed():
    shop.passed()

def test_scope():
    for _ in range(2):
        with fail.scope({"shop.read": "1*return('y')"}):
            shop.read(), shop.read()

def test_process():
    fail.enable("shop.read", "return('z')")
    shop.read()
    fail.disable("shop.read")
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)


@pytest.fixture
def shop(pytester: pytest.Pytester) -> pytest.Pytester:
    """A program and its tests."""
    (pytester.path / "shop.py").write_text(SHOP, "utf-8")
    (pytester.path / "unused.py").write_text(SHOP.replace('"shop.', '"unused.'), "utf-8")
    (pytester.path / "test_shop.py").write_text(TESTS, "utf-8")
    return pytester


def found(pytester: pytest.Pytester, name: str = "failpoints.json") -> dict[str, Any]:
    """The points of a report, by name."""
    data = json.loads((pytester.path / name).read_text("utf-8"))
    return {each["name"]: each for each in data["points"]}


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files, with a short name as sockets need it."""
    with tempfile.TemporaryDirectory(prefix="fp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


STATES = {
    "shop.read": "fired",
    "shop.write": "partly",
    "shop.idle": "never",
    "shop.unreached": "armed",
    "shop.passed": "hit",
    "shop.in_a_body": "never",
    "internal.secret": "never",
}


def test_every_kind_of_report_of_one_run(shop: pytest.Pytester, temporary: Path) -> None:
    result = run(
        shop,
        "--failpoints-report",
        "--failpoints-report=json",
        "--failpoints-report=html:out/deep/page.html",
        "--failpoints-report=lcov",
        "--failpoints-fail-under=28",
        apart=True,
    )
    result.assert_outcomes(passed=6)
    assert result.ret == 0
    assert list(temporary.glob("failpy-*")) == []

    result.stdout.fnmatch_lines(
        [
            "=* failpoints =*",
            "name *state*armed*hits*fired*faults*tests",
            "internal.secret *never *0 *0 *0 *0",
            "shop.read *fired *4 *7 *5 *3",
            "shop.unreached *armed *1 *0 *0 *1",
            "shop.write *partly *2 *3 *3 *1/2 *2",
            "  never injected: raise(OSError(28, *full*))",
            "2 of 7 failpoints fired (28.5 %), 1 of 2 faults injected",
            "json report: failpoints.json",
            "html report: out/deep/page.html",
            "lcov report: failpoints.lcov",
        ]
    )
    assert result.stdout.str().count("name source does not say") == 1
    line = line_of(shop, '"shop.computed."', "shop.py")
    result.stdout.fnmatch_lines([f"  shop.py:{line}"])

    points = found(shop)
    assert {name: each["state"] for name, each in points.items()} == STATES
    read = points["shop.read"]
    assert (read["armed"], read["hits"], read["fired"], read["returns"]) == (4, 7, 5, "str")
    assert read["tests"] == {
        "test_shop.py::test_process": {"armed": 1, "hits": 1, "fired": 1},
        "test_shop.py::test_read": {"armed": 1, "hits": 2, "fired": 2},
        "test_shop.py::test_scope": {"armed": 2, "hits": 4, "fired": 2},
    }
    assert read["sites"] == [
        {"file": "shop.py", "line": line_of(shop, '@failpoint("shop.read"', "shop.py"), "where": "read"}
    ]
    assert read["others"] == {'return("x")': 2, 'return("y")': 2, 'return("z")': 1}
    wrote = points["shop.write"]
    assert [each["injected"] for each in wrote["faults"]] == [2, 0]
    assert wrote["others"] == {"sleep(0)": 1}
    assert sum(wrote["endings"].values()) == 2
    assert wrote["endings"]["reached the test"] == 1
    [handled] = set(wrote["endings"]) - {"reached the test"}
    assert re.fullmatch(r"handled by save \(shop\.py:\d+\)", handled)

    data = json.loads((shop.path / "failpoints.json").read_text("utf-8"))
    assert data["totals"]["points"] == 7
    assert data["totals"]["fired"] == 2
    assert data["unreadable"] == [{"file": "shop.py", "line": line_of(shop, '"shop.computed."', "shop.py")}]
    assert data["problems"] == []

    page = (shop.path / "out/deep/page.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert all(name in page for name in STATES)
    assert "test_shop.py::test_scope" in page

    trace = (shop.path / "failpoints.lcov").read_text("utf-8")
    assert "SF:shop.py" in trace
    assert f"DA:{read['sites'][0]['line']},5" in trace
    assert trace.endswith("end_of_record\n")


def test_what_fails_a_run_and_what_the_ini_file_says(shop: pytest.Pytester) -> None:
    (shop.path / "below").mkdir()
    result = run(shop, "--failpoints-fail-under=28.6", "-q", apart=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAIL: 28.5 % of the failpoints have fired, less than the 28.6 %*"])
    assert "shop.idle" not in result.stdout.str()

    shop.makeini(
        """
        [pytest]
        failpoints_report = term json:below/found.json
        failpoints_fail_under = 35%
        failpoints_omit = shop.i* internal.*
        failpoints = shop.idle=print; unused.idle=raise
        failpoints_seed = 12
        """
    )
    result = run(shop, "-v", apart=True)
    result.assert_outcomes(passed=6)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["json report: below/found.json"],
    )
    result.stdout.fnmatch_lines(
        [
            "shop.write *",
            "  injected 2 times: raise(TimeoutError)",
            "  fired once: sleep(0)",
            "  ended once: reached the test",
            "  in test_shop.py::test_write: armed 1, hits 1, fired 1",
            "2 of 4 failpoints fired (50 %)*",
        ]
    )
    assert set(found(shop, "below/found.json")) == {
        "shop.read",
        "shop.write",
        "shop.unreached",
        "shop.passed",
    }
    (shop.path / "below/found.json").unlink()
    result = run(shop, "--failpoints-report=lcov:x.lcov", "--failpoints-fail-under=99", apart=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert (shop.path / "x.lcov").is_file()
    assert not (shop.path / "below/found.json").exists()
    result.stdout.fnmatch_lines(["FAIL: 50 % of the failpoints have fired, less than the 99 %*"])


def test_a_file_that_cannot_be_written_fails_the_run(shop: pytest.Pytester) -> None:
    (shop.path / "folder").mkdir()
    result = run(
        shop,
        "--failpoints-report=json:folder",
        "--failpoints-report=lcov:shop.py/x.lcov",
        "--failpoints-report=html",
        "--failpoints-fail-under=100",
    )
    result.assert_outcomes(passed=6)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines_random(
        [
            "FAIL: --failpoints-report=json cannot write '*folder': *give another file*",
            "FAIL: --failpoints-report=lcov cannot write '*x.lcov': *",
            "html report: failpoints.html",
            "FAIL: * of the failpoints have fired, less than the 100 %*",
        ]
    )


def test_a_run_without_failpoints_and_one_that_is_collected_only(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = run(pytester, "--failpoints-report", apart=True)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["no failpoint was declared"])
    result = run(pytester, "--failpoints-fail-under=100", apart=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAIL: no failpoint was declared, so --failpoints-fail-under *"])
    result = run(pytester, "--failpoints-report=json", "--failpoints-fail-under=100", "--co", apart=True)
    assert result.ret == 0
    assert not (pytester.path / "failpoints.json").exists()
    result = run(pytester, "-p", "no:terminal", "--failpoints-report=json", apart=True)
    assert result.ret == 0
    assert found(pytester) == {}


def test_paths_are_those_of_the_root_and_files_those_of_the_folder(
    shop: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.makeini("[pytest]\npythonpath = .\n")
    below = shop.mkdir("below")
    monkeypatch.chdir(below)
    result = run(shop, "..", "--failpoints-report=json", apart=True)
    result.assert_outcomes(passed=6)
    points = found(shop, "below/failpoints.json")
    assert {name: each["state"] for name, each in points.items()} == STATES
    assert {site["file"] for each in points.values() for site in each["sites"]} == {"shop.py"}


def test_outcomes_phases_and_threads(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        import threading

        @pytest.fixture
        def around():
            value()
            yield
            value()

        def test_phases(around):
            value()

        def test_fails(around):
            assert 0

        @pytest.mark.skip
        def test_skipped():
            value()

        def test_threads():
            threads = [threading.Thread(target=lambda: [value() for _ in range(500)]) for _ in range(4)]
            [each.start() for each in threads]
            [each.join() for each in threads]

        def test_errors():
            with fail.scope({"plugin.other": "raise(OSError)"}):
                thread = threading.Thread(target=other)
                thread.start()
                thread.join()

        @pytest.mark.failpoints({"plugin.other": "raise(OSError('in a fixture'))"})
        def test_setup(request):
            try:
                other()
            except OSError:
                pass
        """,
    )
    result = run(
        pytester,
        "--failpoints=plugin.value=3*return('x')",
        "--failpoints-report=json",
        "--failpoints-report=term",
        "--failpoints-fail-under=100",
        apart=True,
    )
    result.assert_outcomes(passed=3, failed=2, skipped=1)
    assert names_of(result, "FAILED") == {"test_fails", "test_errors"}
    points = found(pytester)
    counts = {name: (each["hits"], each["fired"]) for name, each in points["plugin.value"]["tests"].items()}
    assert counts == {
        "test_it.py::test_phases": (3, 3),
        "test_it.py::test_fails": (2, 2),
        "test_it.py::test_threads": (2000, 3),
    }
    assert points["plugin.value"]["hits"] == 2005
    assert points["plugin.value"]["fired"] == 8
    other = points["plugin.other"]
    assert (other["hits"], other["fired"]) == (2, 2)
    assert sum(other["endings"].values()) == 2
    assert other["endings"].get("reached the test") == 1


CHILDREN = '''
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest
import work
from failpy import fail

RUN = "import work; work.{0}()"


def started(scope, program, code=0):
    ended = subprocess.run([sys.executable, "-c", program], env=scope.environ(), stderr=subprocess.PIPE)
    assert ended.returncode == code, ended.stderr


@pytest.mark.failpoints({"work.child": "return"}, strict=False)
def test_child(failpoints):
    started(failpoints, "import work; work.child(); work.child()")

@pytest.mark.failpoints({"work.grandchild": "return"}, strict=False)
def test_grandchild(failpoints):
    program = "import work; work.grandchild()"
    started(failpoints, f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])")

@pytest.mark.failpoints({"work.dies": "1*return->kill"}, strict=False)
def test_killed(failpoints):
    started(failpoints, "import work; work.dies(); work.dies()", -signal.SIGKILL)

@pytest.mark.failpoints({"work.exits": "1*return->exit(3)"}, strict=False)
def test_exits(failpoints):
    started(failpoints, "import work; work.exits(); work.exits()", 3)

@pytest.mark.failpoints({"work.raises": "raise(OSError('unhandled'))"}, strict=False)
def test_raises(failpoints):
    started(failpoints, "import work; work.raises()", 1)

@pytest.mark.failpoints({"work.handled": "raise(OSError('handled'))"}, strict=False)
def test_handled(failpoints):
    started(failpoints, "import work; work.handles()")

@pytest.mark.failpoints({"work.murdered": "return"}, strict=False)
def test_murdered(failpoints):
    """It is killed from outside, while it waits for more."""
    program = "import work; work.murdered(); print('hit', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", program],
                             env=failpoints.environ(), stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert child.stdout.readline() == b"hit\\n"
    child.kill()
    child.communicate()

@pytest.mark.failpoints({"work.only_declared": "return"}, strict=False)
def test_only_there(failpoints):
    started(failpoints, "import only")

@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.failpoints({"work.process": "return(1)"}, strict=False)
def test_multiprocessing(method, failpoints, monkeypatch):
    monkeypatch.setenv("FAILPY_FAILPOINTS", failpoints.environ()["FAILPY_FAILPOINTS"])
    context = multiprocessing.get_context(method)
    child = context.Process(target=work.process)
    child.start()
    child.join()
    assert child.exitcode == 0

@pytest.mark.failpoints({"work.pooled": "return(1)"}, strict=False)
def test_pool():
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        assert list(pool.map(work.pooled, range(10))) == [1] * 10

@pytest.mark.failpoints({"work.forked": "return(1)"})
def test_fork():
    assert work.forked() == 1
    child = os.fork()
    if child == 0:
        work.forked()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert work.forked() == 1

@pytest.mark.failpoints({"work.forked_and_killed": "2*return(1)->kill"})
def test_fork_and_kill():
    assert work.forked_and_killed() == 1
    child = os.fork()
    if child == 0:
        work.forked_and_killed()
        work.forked_and_killed()
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

@pytest.mark.failpoints({"work.many": "return(1)"}, strict=False)
def test_many_hits(failpoints):
    started(failpoints, "import work; [work.many() for _ in range(1000)]")
'''

WORK = "from failpy import failpoint\n" + "".join(
    f'@failpoint("work.{name}", returns=int)\ndef {name}(n=0):\n    return n\n'
    for name in (
        "process",
        "pooled",
        "forked",
        "forked_and_killed",
        "many",
    )
)
WORK += "".join(
    f'@failpoint("work.{name}")\ndef {name}():\n    pass\n'
    for name in ("child", "grandchild", "dies", "exits", "raises", "handled", "murdered")
)
WORK += """
def handles():
    try:
        handled()
    except OSError:
        pass
"""

ONLY = """
from failpy import fail, failpoint

@failpoint("work.only_declared")
def only():
    pass

only()

@failpoint("work.never_in_the_run")
def never():
    pass
"""

# hits and fired
DONE = {
    "work.child": (2, 2),
    "work.grandchild": (1, 1),
    "work.dies": (2, 2),
    "work.exits": (2, 2),
    "work.raises": (1, 1),
    "work.handled": (1, 1),
    "work.murdered": (1, 1),
    "work.only_declared": (1, 1),
    "work.never_in_the_run": (0, 0),
    "work.process": (3, 3),
    "work.pooled": (10, 10),
    "work.forked": (3, 3),
    "work.forked_and_killed": (3, 3),
    "work.many": (1000, 1000),
}


@needs_fork
@pytest.mark.parametrize("workers", [0, 2])
def test_processes_of_a_run_are_put_together(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, temporary: Path, workers: int
) -> None:
    if workers:
        pytest.importorskip("xdist")
    for name, text in (("work.py", WORK), ("only.py", ONLY), ("test_children.py", CHILDREN)):
        (pytester.path / name).write_text(text, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=os.pathsep)
    result = run(
        pytester,
        "--failpoints-report=json",
        "--failpoints-report",
        "-W",
        "ignore::DeprecationWarning",  # a fork beside threads
        *(("-n", str(workers)) if workers else ()),
        plugins=[XDIST] if workers else [],
        apart=True,
    )
    result.assert_outcomes(passed=15)
    assert result.ret == 0
    assert result.stdout.str().count("failpoints fired (") == 1
    assert list(temporary.glob("failpy-*")) == []
    points = found(pytester)
    assert {name: (each["hits"], each["fired"]) for name, each in points.items()} == DONE
    tests = {
        name: {test: counts["hits"] for test, counts in each["tests"].items()}
        for name, each in points.items()
    }
    assert tests["work.child"] == {"test_children.py::test_child": 2}
    assert tests["work.dies"] == {"test_children.py::test_killed": 2}
    assert tests["work.grandchild"] == {"test_children.py::test_grandchild": 1}
    assert tests["work.forked"] == {"test_children.py::test_fork": 3}
    assert tests["work.pooled"] == {"test_children.py::test_pool": 10}
    assert set(tests["work.process"].values()) == {1}
    assert len(tests["work.process"]) == 3
    assert points["work.never_in_the_run"]["state"] == "never"
    assert {site["file"] for each in points.values() for site in each["sites"]} == {"work.py", "only.py"}
    assert points["work.dies"]["others"] == {"return": 1, "kill": 1}
    assert points["work.exits"]["others"] == {"return": 1, "exit(3)": 1}
    [ending] = points["work.handled"]["endings"]
    assert ending.startswith("handled by handles (work.py:")
    assert list(points["work.raises"]["endings"].values()) == [1]


def test_workers_of_xdist_are_put_together(shop: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    words = ("--failpoints-report=term", "--failpoints-fail-under=28")
    result = run(shop, *words, "--failpoints-report=json:one.json", "-vv", apart=True)
    assert result.ret == 0
    result = run(shop, *words, "--failpoints-report=json:two.json", "-n2", "-vv", plugins=[XDIST], apart=True)
    result.assert_outcomes(passed=6)
    assert result.ret == 0
    assert found(shop, "one.json") == found(shop, "two.json")
    assert result.stdout.str().count("2 of 7 failpoints fired") == 1
    result = run(shop, "-n2", "--failpoints-fail-under=29", plugins=[XDIST], apart=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.stdout.str().count("FAIL: 28.5 %") == 1


def test_a_worker_that_dies_is_counted_too(pytester: pytest.Pytester) -> None:
    """The test that a failpoint killed is in the report of the run that went on."""
    pytest.importorskip("xdist")
    write(
        pytester,
        """
        @pytest.mark.failpoints({"plugin.value": "1*return('x')->kill"})
        def test_dies():
            value(), value()

        @pytest.mark.failpoints({"plugin.other": "return('x')"})
        @pytest.mark.parametrize("n", range(3))
        def test_lives(n):
            other()
        """,
    )
    result = run(
        pytester, "-n1", "--failpoints-report=json", "--failpoints-report", plugins=[XDIST], apart=True
    )
    result.assert_outcomes(passed=3, failed=1)
    points = found(pytester)
    assert points["plugin.value"]["others"] == {'return("x")': 1, "kill": 1}
    assert (points["plugin.other"]["hits"], points["plugin.other"]["armed"]) == (3, 3)


def test_a_report_of_points_from_elsewhere(pytester: pytest.Pytester) -> None:
    """What failpy's own modules declare, or the standard library has, is no point of the program."""
    pytester.makepyfile(
        broken="from failpy import failpoint\n",
        test_it="""
        import sys
        import types
        import broken
        import pytest
        from failpy import fail, failpoint

        typed = '@failpoint("typed.in")\\ndef typed(): pass'
        exec(compile(typed, "<typed>", "exec"))
        fake = types.ModuleType("fake")
        fake.__file__ = "/no/such/failpy.py"
        sys.modules["fake"] = fake
        sys.modules["none"] = None

        def test_it():
            with open(broken.__file__, "w") as file:
                file.write("from failpy import failpoint\\nthis is no Python")
            import json
            dumps = failpoint("wrapped.dumps")(json.encoder.encode_basestring_ascii)
            with fail.scope({"wrapped.dumps": "return"}):
                assert dumps("text") is None
        """,
    )
    result = run(
        pytester,
        "--failpoints-report=json",
        "--failpoints-report=lcov",
        "--failpoints-report=html",
        "--failpoints-report",
        apart=True,
    )
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    points = found(pytester)
    assert set(points) == {"typed.in", "wrapped.dumps"}
    assert points["typed.in"]["sites"][0]["file"] == "<typed>"
    result.stdout.fnmatch_lines(["not read: broken.py:2: *"])


@pytest.mark.slow
def test_the_report_is_made_in_one_process_too(shop: pytest.Pytester) -> None:
    """In a run within this one, where other tests have declared points of their own."""
    result = run(shop, "--failpoints-report=json", "--failpoints-report", "--failpoints-report=lcov")
    result.assert_outcomes(passed=6)
    points = found(shop)
    assert {name: points[name]["state"] for name in STATES} == STATES
    assert points["shop.read"]["hits"] == 7
    result = run(shop, "--failpoints-report=json", "-k", "test_read")
    assert found(shop)["shop.read"]["hits"] == 2
    assert "FAILPY_REPORT_DIR" not in os.environ
    assert fail.status("shop.read").terms == ""


@pytest.mark.slow
def test_children_of_a_run_in_this_process(shop: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(shop.path), prepend=os.pathsep)
    (shop.path / "test_shop.py").write_text(
        """
import subprocess
import sys
import pytest

@pytest.mark.failpoints({"shop.write": "raise(TimeoutError)"}, strict=False)
def test_child(failpoints):
    program = "import shop; shop.save()"
    ended = subprocess.run([sys.executable, "-c", program], env=failpoints.environ())
    assert ended.returncode == 0
""",
        "utf-8",
    )
    run(shop, "--failpoints-report=json").assert_outcomes(passed=1)
    wrote = found(shop)["shop.write"]
    assert (wrote["armed"], wrote["hits"], wrote["fired"]) == (2, 1, 1)
    assert wrote["tests"] == {"test_shop.py::test_child": {"armed": 2, "hits": 1, "fired": 1}}
    assert [each["injected"] for each in wrote["faults"]] == [1, 0]


WORKER = """
def pytest_configure(config):
    config.workerinput = {"failpoints_seed": 5}
    config.workeroutput = {}

def pytest_unconfigure(config):
    print("worked:", config.workeroutput.get("failpoints_worked"))
"""


def test_a_worker_in_this_process(
    shop: pytest.Pytester, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.makeconftest(WORKER)
    (shop.path / "test_more.py").write_text("def test_more():\n    __import__('shop').idle()\n", "utf-8")
    terms = "--failpoints=shop.secret=print; shop.idle=print"
    result = run(shop, "--failpoints-report=json", terms, "-p", "no:xdist", "-s")
    result.assert_outcomes(passed=7)
    result.stdout.fnmatch_lines(["worked: ['shop.idle']"])
    assert not (shop.path / "failpoints.json").exists()
    assert tallied(collector)["shop.write"].hits == 3
    assert tallied(collector)["shop.write"].tests.keys() == {
        "test_shop.py::test_save",
        "test_shop.py::test_write",
    }


def test_a_worker_that_cannot_tell_its_run_says_so(shop: pytest.Pytester) -> None:
    if any(isinstance(each, Collector) for each in observing.now):
        pytest.skip("this run makes a report itself")
    shop.makeconftest(WORKER)
    seed = _config.config.seed
    result = run(shop, "--failpoints-report=json")
    assert _config.config.seed == seed
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--failpoints-report needs workers on this machine*"])


@pytest.mark.slow
def test_a_run_with_a_report_within_another(shop: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILPY_REPORT_DIR", "that of the run outside")
    run(shop, "--failpoints-report=json", "-x", "--failpoints-fail-under=100", "-k", "test_read")
    assert os.environ["FAILPY_REPORT_DIR"] == "that of the run outside"
    assert found(shop)["shop.read"]["state"] == "fired"


def test_modules_of_every_kind_are_looked_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Lazy(ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError("it was loaded")

    here = tmp_path / "here.py"
    here.write_text("import failpy\n", "utf-8")
    other = tmp_path / "other.py"
    other.write_text("import os\n", "utf-8")
    odd: dict[str, Any] = {"none": None, "number": 3, "lazy": Lazy("lazy")}
    for name, file in (("gone", tmp_path / "gone.py"), ("here", here), ("other", other), ("so", "x.so")):
        odd[name] = ModuleType(name)
        odd[name].__file__ = str(file)
    for name, module in odd.items():
        monkeypatch.setitem(sys.modules, f"odd_{name}", module)
    files = imported_files()
    assert str(here) in files
    assert str(Path(__file__)) in files
    assert not {str(other), str(tmp_path / "gone.py"), "x.so"} & set(files)
    package = str(Path(fail.__file__).parent)
    assert not any(each.startswith(package + os.sep) for each in files)


# --- what a child process does ---


def folder_of(collector: Collector) -> Path:
    return Path(collector._folder)


def tallied(collector: Collector) -> dict[str, PointTally]:
    """What a child has written down so far."""
    together = Tally()
    for tally, _ in gathered(str(folder_of(collector))):
        together.add(tally)
    return dict(together)


def hit(name: str, times: int = 1) -> None:
    for _ in range(times):
        fail.point(name).hit()


def test_a_child_writes_down_what_it_did(collector: Collector, name: str) -> None:
    collector.begin("test_it.py::test_it", None)
    with fail.scope({name: "2*return->print"}):
        assert tallied(collector) == {}
        hit(name, 2)
        assert tallied(collector)[name].hits == 2
        hit(name, 298)
        assert 150 <= tallied(collector)[name].hits < 300
    collector.finish()
    told = tallied(collector)[name]
    assert (told.armed, told.hits, told.fired) == (1, 300, 300)
    assert told.others == {"return": 2, "print": 298}
    assert told.tests == {"test_it.py::test_it": {"armed": 1, "hits": 300, "fired": 300}}
    [(_, files)] = gathered(str(folder_of(collector)))
    assert str(Path(__file__)) in files


def test_a_child_that_outlives_its_run_goes_on(collector: Collector, name: str) -> None:
    shutil.rmtree(folder_of(collector))
    with fail.scope({name: "return"}):
        hit(name, 100)
    collector.finish()


def test_a_forked_child_counts_from_nothing(collector: Collector, name: str) -> None:
    from multiprocessing import util

    before = dict(util._finalizer_registry)  # type: ignore[attr-defined]
    with fail.scope({name: "return"}):
        hit(name)
        collector.after_fork()
        hit(name, 2)
    added = [key for key in util._finalizer_registry if key not in before]  # type: ignore[attr-defined]
    assert len(added) == 1  # multiprocessing ends its children by os._exit
    for key in added:
        del util._finalizer_registry[key]  # type: ignore[attr-defined]
    assert tallied(collector)[name].hits == 3
    assert len(list(folder_of(collector).glob("*.json"))) == 2


def test_a_collector_without_a_folder_writes_nothing(name: str) -> None:
    collector = Collector("", writes=False)
    observing.add(collector)
    try:
        with fail.scope({name: "return"}):
            hit(name)
        collector.after_fork()
        collector.finish()
        assert collector.tally()[name].hits == 1
    finally:
        observing.drop(collector)


def test_what_tells_the_faults_of_a_catalogue_apart(name: str) -> None:
    class Odd(Exception):
        ends = False

        def __init__(self) -> None:
            if self.ends:
                raise RuntimeError("cannot be made any more")

    catalogue = (fail.Raise(OSError(28, "full")), fail.Raise(ValueError("a")), fail.Return())
    point = fail.point(name, faults=catalogue)
    collector = Collector("", writes=False)
    observing.add(collector)
    try:
        for terms in ('raise(OSError(28, "other words"))', "1*raise(ValueError('a'))", "50%return->return"):
            with fail.scope({name: terms}, seed=1), contextlib.suppress(OSError, ValueError):
                point.hit()
        for terms in ('raise(OSError("no errno"))', "raise(ValueError('b'))", fail.Raise(Odd)):
            with fail.scope({name: terms}), contextlib.suppress(OSError, ValueError, TypeError):
                Odd.ends = True
                point.hit()
            Odd.ends = False
    finally:
        observing.drop(collector)
    told = collector.tally()[name]
    assert sum(told.injected.values()) == 3
    assert len(told.injected) == 3
    assert sum(told.others.values()) == 3
