"""Run the fenced blocks of one Markdown page, as its reader would.

    python tests/run_page.py PAGE.md

The blocks run in order, in the folder that is current, and share one namespace. What is done with a
block depends on its language:

    python               It runs. `await` may stand at the top level.
    python title="x.py"  It is written to that file.
    console              Each line that begins with `$ ` runs; the lines below it are what it prints.
                         One that ends in ` &` runs until the page ends, and the next one waits until it
                         listens at its `FAILPY_HTTP` or `--port`, with as many processes as `--workers` says.
                         An `export` is for what comes after it. The ports 1234, 8001 and 8002 stand for some
                         that are free, in Python too.
    text                 Under the comment `<!-- output -->`, it is what the block above has printed.

A block may print only what is shown. Under `<!-- expect: NAME -->` a block must raise an exception of
that name, which counts as printed. Under `<!-- not run: REASON -->` any block is only looked at, and
blocks of other notations (`QUOTED`) always are. In output, `...` stands for anything.
"""

from __future__ import annotations

import asyncio
import doctest
import glob
import inspect
import io
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

QUOTED = {"ebnf", "go", "toml"}

FENCE = re.compile(r"^ *```", re.MULTILINE)
BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>output|expect|not run)(?:: (?P<detail>.+))? -->\s*)?"
    r"^(?P<indent> *)```(?P<language>\S*) *(?P<info>.*)\n(?P<text>(?:.*\n)*?)(?P=indent)```$",
    re.MULTILINE,
)
TITLE = re.compile(r'title="(.+?)"')


class Wrong(Exception):
    """The page does not do what it says."""


class Block(NamedTuple):
    """A fenced block: its first line in parts, the comment above it, its text, and the line before that."""

    language: str
    info: str
    mark: str | None
    detail: str | None
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    matches = list(BLOCK.finditer(page))
    if len(FENCE.findall(page)) != 2 * len(matches):
        raise Wrong("a block is not closed")
    for match in matches:
        line = page.count("\n", 0, match.start("text"))
        text = textwrap.dedent(match["text"])
        yield Block(match["language"], match["info"], match["mark"], match["detail"], text, line)


class Page:
    """A page that is being run: its namespace, and what has been printed and not been shown yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.namespace: dict[str, object] = {"__name__": "__main__"}
        self.printed = ""
        self.ports = {shown: str(free_port()) for shown in ("1234", "8001", "8002")}
        self.running: list[subprocess.Popen[bytes]] = []

    def run(self) -> None:
        """Run every block."""
        for block in blocks(self.path.read_text(encoding="utf-8")):
            try:
                self._run(block)
            except Wrong as wrong:
                raise Wrong(f"{self.path}:{block.line}: {wrong}") from None
        self._check_shown()

    def _run(self, block: Block) -> None:
        if block.mark == "output":
            compare(block.text, self.printed)
            self.printed = ""
            return
        self._check_shown()
        title = TITLE.search(block.info)
        if block.mark == "not run" or block.language in QUOTED:
            if block.mark == "not run" and not block.detail:
                raise Wrong("`not run` needs a reason")
        elif block.language == "python" and title:
            Path(title[1]).write_text(self._with_ports(block.text), encoding="utf-8")
        elif block.language == "python":
            self.printed = self._python(block)
        elif block.language == "console":
            self.console(block.text)
        else:
            raise Wrong(f"nobody knows how to run {block.language or 'a block without a language'!r}")

    def _python(self, block: Block) -> str:
        source = "\n" * block.line + self._with_ports(
            block.text
        )  # so that a traceback names the line of the page
        code = compile(source, self.path, "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        raised = ""
        with redirect_stdout(io.StringIO()) as stdout:
            try:
                result = eval(code, self.namespace)
                if inspect.iscoroutine(result):
                    asyncio.run(result)
            except BaseException as exc:
                if type(exc).__name__ != block.detail:
                    raise
                raised = "\n".join([f"{block.detail}: {exc}", *getattr(exc, "__notes__", ()), ""])
        if block.mark == "expect" and not raised:
            raise Wrong(f"it raised no {block.detail}")
        return stdout.getvalue() + raised

    def _check_shown(self) -> None:
        if self.printed:
            raise Wrong(f"the block above has printed what is not shown:\n{self.printed}")

    def console(self, text: str) -> None:
        """Run the commands of a session, and compare what each prints with what is shown."""
        for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            line, _, shown = command.partition("\n")
            line = self._with_ports(line)
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                os.environ[name] = value
                continue
            if line.endswith(" &"):
                self._start(line.removesuffix(" &"))
                continue
            done = subprocess.run(
                line, shell=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
            )
            compare(shown, self._with_ports(done.stdout, back=True))

    def _with_ports(self, text: str, *, back: bool = False) -> str:
        for shown, own in self.ports.items():
            old, new = (own, shown) if back else (shown, own)
            text = re.sub(rf"(:|--port ){old}\b", rf"\g<1>{new}", text)
        return text

    def _start(self, line: str) -> None:
        program = subprocess.Popen(
            f"exec env {line}", shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.running.append(program)
        address = re.search(r"(?:FAILPY_HTTP=|--port )'?([^'\s]+)", line)
        workers = re.search(r"--workers (\d+)", line)
        deadline = time.monotonic() + 30
        while address and listening(address[1]) < (int(workers[1]) if workers else 1):
            if program.poll() is not None or time.monotonic() > deadline:
                raise Wrong(f"{line!r} ended, or listens nowhere")
            time.sleep(0.02)

    def end(self) -> None:
        """End what runs in the background."""
        for program in self.running:
            program.terminate()
            program.wait(timeout=30)


def listening(address: str) -> int:
    """How many listen at an address, which may have `{pid}` in it."""
    pattern = address.replace("{pid}", "*").removeprefix("unix:")
    return sum(map(listens, glob.glob(pattern) or [address]))  # noqa: PTH207 - it may be an absolute one


def listens(address: str) -> bool:
    """Whether somebody listens at `HOST:PORT` or `unix:/path`."""
    path = address.removeprefix("unix:")
    local = path != address or not re.search(r"(^|:)\d+$", address)
    with socket.socket(socket.AF_UNIX if local else socket.AF_INET) as probe:
        try:
            probe.connect(path if local else ("127.0.0.1", int(address.rpartition(":")[2])))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def compare(shown: str, printed: str) -> None:
    """Check that what a page shows is what was printed."""
    if not doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS):
        raise Wrong(f"the page shows:\n{shown}\nbut this was printed:\n{printed}")


if __name__ == "__main__":
    sys.path[0] = ""  # a page imports what it has written
    page = Page(Path(sys.argv[1]))
    try:
        page.run()
    except Wrong as wrong:
        sys.exit(str(wrong))
    finally:
        page.end()
