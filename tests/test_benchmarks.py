"""The benchmarks run to their end, say what missed a bar, and do not fall over another tool."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.surroundings import plain_environ

ROOT = Path(__file__).parents[1]
SHOWN = "idle builtin (through wrapt)"  # a cheap row, and one without a bar
GONE = {
    "fault-injection": (
        "import sys; sys.modules['fault_injection'] = None",
        r"@raise_\(disable=True\) +not here: pip install fault-injection$",
    ),
    "libfiu": (
        "import sys; sys.modules['fiu'] = None; from benchmarks import others; others.DEBIAN = 'nowhere'",
        r"call with fiu\.fail, disabled +not here: apt install python3-fiu, and the Python it is for: 3\.11",
    ),
    "gofail": (
        "import os; os.environ['PATH'] = ''",
        r"in Go, disabled +not here: Go, .*: apt install .*gofail-dev \(10\.5 ns .* not in this run\)$",
    ),
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: the benchmarks declare points, and measure with what they import."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=plain_environ(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "benchmarks", "--quick", *arguments)


def program(source: str) -> subprocess.CompletedProcess[str]:
    """The benchmarks with other rows, or with another tool in the way."""
    return run("-c", textwrap.dedent(source))


def line(printed: str, start: str) -> str:
    """The one line that begins so."""
    (found,) = (text for text in printed.splitlines() if text.startswith(start))
    return found


def test_a_row_is_measured_and_printed() -> None:
    ended = benchmarks("--row", f"^{re.escape(SHOWN)}$")
    assert (ended.returncode, ended.stderr) == (0, "")
    number = r" +[\d.,]+"
    assert re.fullmatch(
        rf"{re.escape(SHOWN)}{number} +undecorated{number}{number}{number} +[\d.]+ to [\d.]+ +shown",
        line(ended.stdout, SHOWN),
    )
    assert ended.stdout.startswith(sys.implementation.name.replace("cp", "CP"))
    assert ended.stdout.endswith("\nno of 1 rows missed the bar\n")


def test_a_markdown_table_has_cells_for_its_titles() -> None:
    ended = benchmarks("--markdown", "--row", f"^{re.escape(SHOWN)}$")
    table = [text for text in ended.stdout.splitlines() if text.startswith("|")]
    assert [text.count("|") for text in table] == [10] * 3, ended.stderr
    assert table[2].startswith(f"| `{SHOWN}` | ")


def test_a_bar_that_is_missed_is_the_exit_status() -> None:
    ended = program(
        """
        import sys
        from benchmarks import sides
        from benchmarks.__main__ import main
        from benchmarks.row import Row

        bars = (
            Row("held", "another", 1e9, sides.held_block, sides.null_block),
            Row("impossible", "another", 0.0, sides.held_block, sides.null_block),
        )
        sys.exit(main(["--quick"], bars=bars, peers=(), growth=()))
        """
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    assert line(ended.stdout, "held").endswith(" pass")
    assert line(ended.stdout, "impossible").endswith(" MISS (measured 4 times)")
    assert ended.stdout.endswith("\n1 of 2 rows missed the bar\n")


def test_a_pattern_that_no_row_matches_is_an_error_with_the_names() -> None:
    ended = benchmarks("--row", "no such row")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no row matches 'no such row'; there are: idle function, " in ended.stderr
    assert "gofail: idle call" in ended.stderr


def test_every_tool_that_is_here_is_measured_and_every_other_says_how_to_get_it() -> None:
    ended = benchmarks("--row", r"^(mock|fault-injection|libfiu|gofail): ")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "failed: " not in ended.stdout
    rows = re.findall(r"^(\w[\w-]*): .* (shown|not here: \w.*)$", ended.stdout, re.MULTILINE)
    assert [tool for tool, _ in rows] == (
        ["mock"] * 2 + ["fault-injection"] * 4 + ["libfiu"] * 5 + ["gofail"] * 4
    )
    assert rows[0][1] == "shown"


def test_requests_are_served_with_a_scope_left_aside_and_nothing_is_printed() -> None:
    ended = benchmarks("--row", "^a request ")
    assert ended.stderr == ""
    assert re.findall(r"^a request (.*?) {2,}.*(?:pass|MISS)", ended.stdout, re.MULTILINE) == [
        "without a scope, Starlette",
        "without a scope, Flask",
        "with a bad header, Starlette",
        "with a bad header, Flask",
    ]


def test_a_framework_that_is_missing_leaves_its_row_out() -> None:
    ended = program(
        """
        import sys
        sys.modules["flask"] = None
        from benchmarks.__main__ import main
        sys.exit(main(["--quick", "--row", "^a request without a scope, Flask"]))
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert line(ended.stdout, "a request").endswith("not here: pip install flask")


@pytest.mark.parametrize("tool", GONE)
def test_a_tool_that_is_missing_says_how_to_get_it(tool: str) -> None:
    without, says = GONE[tool]
    ended = program(
        f"""
        {without}
        import sys
        from benchmarks.__main__ import main
        sys.exit(main(["--quick", "--row", "^{tool}: idle call"]))
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.search(says, line(ended.stdout, f"{tool}: idle call"))


def test_a_tool_that_fails_says_why_and_the_next_is_measured() -> None:
    ended = program(
        """
        import sys
        from benchmarks import sides
        from benchmarks.__main__ import main
        from benchmarks.processes import answering
        from benchmarks.row import Row

        def broken(seconds):
            raise ValueError("out of order\\nin two lines")

        def dying(seconds):
            return answering("json.tool", "--version-of-nothing")

        peers = (
            Row("broken", "a tool", None, sides.held_block, broken),
            Row("dying", "a process", None, sides.held_block, dying),
            Row("sound", "a block", None, sides.held_block, sides.null_block, note="Both do nothing."),
        )
        sys.exit(main(["--quick"], bars=(), peers=peers, growth=()))
        """
    )
    assert ended.returncode == 0, ended.stderr
    assert line(ended.stdout, "broken").endswith("  failed: ValueError: out of order in two lines")
    assert re.search(r"failed: RuntimeError: .*json\.tool .* ended with 2$", line(ended.stdout, "dying"))
    assert line(ended.stdout, "sound").endswith(" shown")
    assert line(ended.stdout, "- sound") == "- sound: Both do nothing."
