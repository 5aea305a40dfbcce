"""What the tests of the command line share: how a command is run in this process, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from failpy.__main__ import main

if TYPE_CHECKING:
    import pytest


class Said(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err)["error"]

    @property
    def rows(self) -> list[list[str]]:
        """What stands in the table, below its head."""
        return [line.split() for line in self.out.splitlines()[1:]]


def asking(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """What runs a command, with nothing in the environment that names a program."""
    for variable in ("FAILPY_URL", "FAILPY_HTTP", "FAILPY_HTTP_TOKEN", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments: str) -> Said:
        status = main(arguments)
        return Said(status, *capsys.readouterr())

    return run
