"""Run the fenced blocks of one Markdown page, as its reader would.

    python tests/run_page.py PAGE.md

The blocks run in order, in the folder that is current, and share one namespace. What is done with a
block depends on its language:

    python               It runs. `await` may stand at the top level.
    python title="x.py"  It is written to that file.
    console              Each line that begins with `$ ` runs; the lines below it are what it prints.
    text                 Under the comment `<!-- output -->`, it is what the block above has printed.

A block may print only what is shown. Under `<!-- expect: NAME -->` a block must raise an exception of
that name, which counts as printed. Under `<!-- not run: REASON -->` any block is only looked at, and
blocks of other notations (`QUOTED`) always are. In output, `...` stands for anything.
"""

from __future__ import annotations

import asyncio
import doctest
import inspect
import io
import re
import subprocess
import sys
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

QUOTED = {"ebnf", "go", "toml"}

FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<info>.*)")
MARK = re.compile(r" *<!-- (?P<mark>output|expect|not run)(?:: (?P<detail>.+?))? -->")
TITLE = re.compile(r'title="(?P<title>[^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the rest of its first line, the mark above it, and where it begins."""

    language: str
    info: str
    mark: str
    detail: str
    line: int
    text: str


class Wrong(Exception):
    """The page does not do what it says."""


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines = text.splitlines()
    marked: re.Match[str] | None = None
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        fence = FENCE.fullmatch(line)
        if fence is None:
            marked = MARK.fullmatch(line) or (marked if not line.strip() else None)
            continue
        start, indent = number, len(fence["indent"])
        while number < len(lines) and lines[number].strip() != fence["ticks"]:
            number += 1
        if number == len(lines):
            raise Wrong(f"line {start}: this block is not closed")
        body = "".join(f"{each[indent:]}\n" for each in lines[start:number])
        language, _, info = fence["info"].strip().partition(" ")
        mark, detail = (marked["mark"], marked["detail"] or "") if marked else ("", "")
        yield Block(language, info, mark, detail, start, body)
        number += 1
        marked = None


class Page:
    """A page that is being run: its namespace, and what has been printed but not shown yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.namespace: dict[str, object] = {"__name__": "__main__"}
        self.printed = ""

    def run(self) -> None:
        """Run every block."""
        for block in blocks(self.path.read_text(encoding="utf-8")):
            try:
                self._run(block)
            except Wrong as wrong:
                raise Wrong(f"{self.path}:{block.line}: {wrong}") from wrong.__cause__
        self._nothing_hidden()

    def _run(self, block: Block) -> None:
        if block.mark == "output":
            printed, self.printed = self.printed, ""
            compare(block.text, printed)
            return
        self._nothing_hidden()
        if block.mark == "not run" and not block.detail:
            raise Wrong("`not run` needs a reason")
        if block.mark == "not run" or block.language in QUOTED:
            return
        titled = TITLE.search(block.info)
        if block.language == "python" and titled:
            Path(titled["title"]).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            self.printed = self._python(block)
        elif block.language == "console":
            console(block.text)
        else:
            raise Wrong(f"nobody knows how to run {block.language or 'a block without a language'!r}")

    def _python(self, block: Block) -> str:
        source = "\n" * block.line + block.text  # so that a traceback names the line of the page
        code = compile(source, self.path, "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        raised = ""
        with redirect_stdout(io.StringIO()) as stdout:
            try:
                result = eval(code, self.namespace)
                if inspect.isawaitable(result):
                    asyncio.run(wait_for(result))
            except BaseException as exc:
                if type(exc).__name__ != block.detail:
                    raise
                raised = "\n".join([f"{block.detail}: {exc}", *getattr(exc, "__notes__", ()), ""])
        if block.mark == "expect" and not raised:
            raise Wrong(f"it raised no {block.detail}")
        return stdout.getvalue() + raised

    def _nothing_hidden(self) -> None:
        if self.printed:
            raise Wrong(f"the block above has printed what is not shown:\n{self.printed}")


async def wait_for(awaitable: object) -> None:
    """Make a coroutine of what a block with `await` in it evaluates to."""
    await awaitable  # type: ignore[misc]


def console(text: str) -> None:
    """Run the commands of a session, and compare what each prints with what is shown."""
    for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, shown = command.partition("\n")
        done = subprocess.run(
            line, shell=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
        )
        compare(shown, done.stdout)


def compare(shown: str, printed: str) -> None:
    """Check that what a page shows is what was printed."""
    if not doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS):
        raise Wrong(f"the page shows:\n{shown}\nbut this was printed:\n{printed}")


if __name__ == "__main__":
    sys.path[0] = ""  # a page imports what it has written
    try:
        Page(Path(sys.argv[1])).run()
    except Wrong as wrong:
        sys.exit(str(wrong))
