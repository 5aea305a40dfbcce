"""The commands that read terms and source, and need no running program."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from failpy._catalogue import catalogue, markdown
from failpy._complaint import Complaint
from failpy._errors import FailpointError
from failpy._explain import explain
from failpy._grammar import parse, parse_set
from failpy._lint import findings
from failpy._literals import printable
from failpy._mentions import Source
from failpy._screen import note, tell, tell_json
from failpy._session import JSON
from failpy._source import read_source
from failpy._tables import declared, finding_line

__all__ = ["check", "lint", "points"]

_ENTRY = re.compile(r"\s*[^\s=;()\"'`]+\s*=")
_Paths = Annotated[
    list[Path], typer.Argument(metavar="PATH", show_default=False, help="Files and folders to read.")
]


class Form(StrEnum):
    """A form in which points can be printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"


def check(
    text: Annotated[
        str, typer.Argument(metavar="TERMS | 'NAME=TERMS;...'", show_default=False, help="What to explain.")
    ],
    as_json: JSON = False,
) -> None:
    """Explain terms in words, hit by hit, or show where they are wrong. Nothing is armed.

    failpy check '2*off->1*raise(TimeoutError)->50%sleep(10)'
    """
    named = parse_set(text) if _ENTRY.match(text) else {None: parse(text)}
    if as_json:
        tell_json(
            [{"name": name, "terms": str(terms), "steps": explain(terms)} for name, terms in named.items()]
        )
        return
    for name, terms in named.items():
        indent = "" if name is None else "  "
        if name is not None:
            tell(Text(printable(name), "cyan"))
        for step in explain(terms):
            tell(Text(indent + printable(step)))


def lint(
    paths: _Paths,
    notes: Annotated[bool, typer.Option("--notes", help="Also what is only worth knowing.")] = False,
    as_json: JSON = False,
) -> None:
    """Find what is wrong with the failpoints of a project, from its source. Exit status 1: there are errors.

    Give source and tests together, so that names armed in tests are found in the source.
    """
    source = _read(paths)
    found = [each for each in findings(source) if notes or each.severity != "note"]
    if as_json:
        tell_json([each._asdict() for each in found])
    for each in () if as_json else found:
        tell(finding_line(each))
    if not as_json:
        note(_summary([each.severity for each in found], len(source.files)))
    if any(each.severity == "error" for each in found):
        raise typer.Exit(1)


def points(
    paths: _Paths,
    form: Annotated[Form, typer.Option("--format", help="How to print them.")] = Form.TABLE,
    as_json: JSON = False,
) -> None:
    """List the points that source declares: their types, where they stand, and where they are armed."""
    source = _read(paths)
    for problem in source.problems:
        note(f"{problem.file}:{problem.line}: {problem.reason}")
    entries = catalogue(source)
    if as_json or form is Form.JSON:
        tell_json([each._asdict() for each in entries])
    elif form is Form.MARKDOWN:
        tell(Text(markdown(entries)))
    else:
        tell(declared(entries))


def _read(paths: list[Path]) -> Source:
    try:
        return read_source(paths)
    except FailpointError as exc:
        raise Complaint(str(exc)) from None


def _summary(severities: list[str], files: int) -> str:
    parts = []
    for severity in ("error", "warning", "note"):
        number = severities.count(severity)
        if number:
            parts.append(f"{number} {severity}{'' if number == 1 else 's'}")
    return f"{', '.join(parts) or 'nothing wrong'} in {files} {'file' if files == 1 else 'files'}"
