"""The sides that need a process of their own: what is imported or declared stays so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import failpy
from benchmarks.timing import Clock

__all__ = ["answering", "asked", "crowd", "environment", "fresh_import"]


def environment() -> dict[str, str]:
    """The environment of this process without settings of failpy, and with both packages found."""
    # Without bytecode, an import would be timed that compiles: what is installed has some, a clone has none.
    dropped = ("FAILPY", "PYTHONDONTWRITEBYTECODE")
    kept = {key: text for key, text in os.environ.items() if not key.startswith(dropped)}
    folders = [str(Path(path).parents[1]) for path in (failpy.__file__, __file__)]
    folders += filter(None, [kept.get("PYTHONPATH")])
    return kept | {"PYTHONPATH": os.pathsep.join(folders)}


@contextmanager
def fresh_import(_seconds: float, *, statement: str) -> Iterator[Clock]:
    """An import statement: every round runs it in a new interpreter, which times it."""
    clock = "from time import perf_counter_ns as now"
    source = f"{clock}\nstart = now()\n{statement}\nprint(now() - start)"
    command = [sys.executable, "-c", source]
    yield lambda: float(subprocess.check_output(command, env=environment()))


@contextmanager
def asked(command: Sequence[str], environ: Mapping[str, str]) -> Iterator[Clock]:
    """A process that runs a round for every line of input, and answers with the time of one execution."""
    with subprocess.Popen(
        command, bufsize=0, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        writer, reader = process.stdin, process.stdout
        assert writer is not None
        assert reader is not None

        def clock() -> float:
            try:
                writer.write(b"\n")
                line = reader.readline()
            except BrokenPipeError:
                line = b""
            if not line:
                raise RuntimeError(f"{' '.join(command)} ended with {process.wait()}")
            return float(line)

        yield clock
        # Popen closes its input on the way out, which ends it.


def answering(module: str, *arguments: str) -> AbstractContextManager[Clock]:
    """A module of these benchmarks as such a process."""
    return asked([sys.executable, "-m", module, *arguments], environment())


@contextmanager
def crowd(seconds: float, *, count: int, statement: str) -> Iterator[Clock]:
    """A statement about one point among many: every round runs it in the process of the crowd."""
    with answering("benchmarks.crowd", str(count), statement, str(seconds)) as clock:
        yield clock
