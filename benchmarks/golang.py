"""The side in Go: a function with a failpoint of gofail in it, built from `gofail/main.go` and run."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.processes import asked
from benchmarks.row import NotHere
from benchmarks.timing import Clock

__all__ = ["in_go", "provenance"]

PACKAGE = "go.etcd.io/gofail"
SOURCE = Path(__file__).parent / "gofail" / "main.go"
DEBIAN = Path("/usr/share/gocode")
GET = "Go, and gofail's source: apt install golang-go golang-github-etcd-io-gofail-dev"
# What gofail's runtime took on another machine, for those who have it not.
QUOTED = {"disabled": "10.5 ns", "returning": "24 ns"}
STATES = {
    "bare": ("bare", "default", ""),
    "disabled": ("failpoint", "default", ""),
    "off": ("failpoint", "default", "off"),
    "returning": ("failpoint", "hello", 'return("hello")'),
}


@contextmanager
def in_go(seconds: float, *, state: str) -> Iterator[Clock]:
    """A call in a compiled program, in one of the `STATES` of its failpoint."""
    try:
        binary = program()
    except NotHere as missing:
        if state not in QUOTED:
            raise
        quoted = f"{QUOTED[state]} when measured with gofail's runtime on another machine, not in this run"
        raise NotHere(f"{missing} ({quoted})") from missing
    function, expected, terms = STATES[state]
    arming = {"GOFAIL_FAILPOINTS": f"main/Call={terms}"} if terms else {}
    with asked([str(binary), function, expected, str(seconds)], plain_environ() | arming) as clock:
        yield clock


def provenance() -> str:
    """Which source is measured, and which Go built it."""
    return f"{source()}, built with {run([compiler(), 'version']).strip()}"


@cache
def program() -> Path:
    """Build the program once, in a folder that lasts as long as this process.

    The tool and the runtime are compiled from the same source, and the tool writes the failpoint's code.
    """
    go, found = compiler(), source()
    workspace = Path(mkdtemp(prefix="failpy-benchmarks-"))
    atexit.register(shutil.rmtree, workspace, ignore_errors=True)
    main, package = workspace / "src" / "main", workspace / "src" / PACKAGE
    main.mkdir(parents=True)
    package.parent.mkdir()
    package.symlink_to(found)
    shutil.copy(SOURCE, main)
    # A workspace of the old kind needs no network, whether the source is Debian's or a module's.
    settings = {"GOPATH": str(workspace), "GO111MODULE": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
    environ = plain_environ() | settings
    tool, binary = workspace / "gofail", workspace / "program"
    run([go, "build", "-o", str(tool), PACKAGE], environ)
    run([str(tool), "enable", str(main)], environ)
    run([go, "build", "-o", str(binary), "main"], environ)
    return binary


def compiler() -> str:
    """The path of `go`."""
    found = shutil.which("go")
    if found is None:
        raise NotHere(GET)
    return found


@cache
def source() -> Path:
    """The folder with gofail's source: a module that was downloaded, else a package of GOPATH or Debian."""
    modules, *paths = run([compiler(), "env", "GOMODCACHE", "GOPATH"]).splitlines()
    versions = Path(modules).glob(f"{PACKAGE}@*")
    newest = sorted(versions, key=lambda folder: [int(digits) for digits in re.findall(r"\d+", folder.name)])
    roots = [Path(path) for path in "".join(paths).split(os.pathsep)]
    for folder in (*reversed(newest), *(root / "src" / PACKAGE for root in (*roots, DEBIAN))):
        if (folder / "runtime").is_dir():
            return folder
    raise NotHere(GET)


def plain_environ() -> dict[str, str]:
    """The environment without terms for gofail, which would arm what is measured disarmed."""
    return {key: text for key, text in os.environ.items() if not key.startswith("GOFAIL")}


def run(command: Sequence[str], environ: dict[str, str] | None = None) -> str:
    """Run a command to its end, and return what it printed."""
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600)
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip()
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}: {said}")
    return ended.stdout
