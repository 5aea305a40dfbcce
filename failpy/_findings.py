"""Findings: what the linter may find, each kind with a code of its own."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CODES", "Code", "Finding"]


class Code(NamedTuple):
    """A kind of finding.

    Attributes:
        severity: `error`: it fails when it runs. `warning`: it may be meant. `note`: good to know.
        summary: What it is about.
    """

    severity: str
    summary: str


CODES = {
    "FP000": Code("error", "a file cannot be read"),
    "FP001": Code("error", "a name is armed or steered that no code declares"),
    "FP002": Code("error", "a name is declared with types that disagree"),
    "FP003": Code("warning", "two declared names look alike"),
    "FP004": Code("warning", "a name is declared in more than one file"),
    "FP005": Code("error", "no failpoint can have this name"),
    "FP006": Code("error", "terms are malformed"),
    "FP007": Code("error", "a `return` gives a value that is not of the declared type"),
    "FP008": Code("note", "a name is computed, so that it is not checked"),
    "FP009": Code("note", "a name is declared and nowhere armed"),
}
"""The codes, which never change their meaning."""


class Finding(NamedTuple):
    """Something found in source.

    Attributes:
        file: The file.
        line: The line in it, from 1.
        column: The column, in characters from 1.
        code: One of `CODES`.
        severity: `error`, `warning` or `note`.
        message: What is wrong, and the way out. Where text is malformed, lines with a caret follow.
    """

    file: str
    line: int
    column: int
    code: str
    severity: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.code} {self.severity}: {self.message}"
