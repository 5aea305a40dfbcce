"""A linter: what is wrong, or looks wrong, with the failpoints of a project, told from its source."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from failpy._errors import InvalidName, ReturnTypeError, TermSyntaxError, did_you_mean
from failpy._findings import CODES, Finding
from failpy._grammar import as_terms
from failpy._likeness import look_alikes, matches
from failpy._mentions import ARMING, Declaration, Place, Source, Use
from failpy._names import check_name
from failpy._objects import built_in_type
from failpy._returns import accepted, check_terms
from failpy._source import read_source
from failpy._terms import Terms

__all__ = ["findings", "lint", "unused"]


def lint(paths: Iterable[str | os.PathLike[str]]) -> list[Finding]:
    """Read source and tell what is wrong with its failpoints, by file and line. Nothing is imported.

    Give source and tests together: a name that is declared in a file which is not read is unknown.
    A comment `# failpy: ignore` silences the findings of its line, and `# failpy: ignore[FP003]` those
    with this code.

    Args:
        paths: Files and folders.

    Raises:
        TypeError: when it is a single path.
        FailpointError: when there is nothing at one of the paths.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "shop.py")
        ...     _ = file.write_text("import failpy; failpy.point('db.write'); failpy.disable('db.wirte')")
        ...     for each in lint([folder]):
        ...         print(each.column, each.code, each.severity)
        16 FP009 note
        57 FP001 error
    """
    return findings(read_source(paths))


def findings(source: Source) -> list[Finding]:
    """The findings in source that has been read, by file and line."""
    found = {each for check in _CHECKS for each in check(source)}
    return sorted(each for each in found if not _is_silenced(each, source))


def unused(source: Source) -> list[Declaration]:
    """The first declaration of each name that nothing arms, by place."""
    armed = [each.pattern for each in source.uses if each.kind in ARMING]
    known = {each.name for each in source.uses if each.kind in ARMING}
    return [
        first
        for name, (first, *_) in _by_name(source).items()
        if name not in known and not any(matches(name, pattern) for pattern in armed)
    ]


def _is_silenced(finding: Finding, source: Source) -> bool:
    codes = source.silenced.get((finding.file, finding.line))
    return codes is not None and (not codes or finding.code in codes)


def _finding(code: str, place: Place, message: str, severity: str | None = None) -> Finding:
    return Finding(*place, code, severity or CODES[code].severity, message)


def _by_name(source: Source) -> dict[str, list[Declaration]]:
    """The declarations of each name that a failpoint can have."""
    found: defaultdict[str, list[Declaration]] = defaultdict(list)
    for each in source.declarations:
        if each.name is not None and _refused(each.name) is None:
            found[each.name].append(each)
    return found


def _mentions(source: Source) -> Iterator[Declaration | Use]:
    yield from source.declarations
    yield from source.uses


def _refused(name: str) -> InvalidName | None:
    try:
        check_name(name)
    except InvalidName as exc:
        return exc
    return None


def _problems(source: Source) -> Iterator[Finding]:
    for each in source.problems:
        yield _finding("FP000", Place(each.file, each.line, 1), f"{each.file!r}: {each.reason}")


def _unknown(source: Source) -> Iterator[Finding]:
    names = _by_name(source)
    computed = [each for each in source.declarations if each.name is None]
    anything = next((each for each in computed if not each.pattern.strip("*")), None)
    for use in source.uses:
        if use.name is None or use.name in names or _refused(use.name) is not None:
            continue
        if any(each is not anything and matches(use.name, each.pattern) for each in computed):
            continue
        hint = did_you_mean(use.name, names) or "."
        message = f"no code that was read declares a failpoint {use.name!r}{hint}"
        if anything is None:
            way = "Mend the name, or read the files that declare it, too"
            yield _finding("FP001", use.place, f"{message} {way}")
        else:
            way = f"Mend the name, unless it is one of those computed, such as at {anything.place}"
            yield _finding("FP001", use.place, f"{message} {way}", "warning")


def _types(source: Source) -> Iterator[Finding]:
    for name, declarations in _by_name(source).items():
        first, *others = [each for each in declarations if each.claims] or declarations
        for each in others:
            if each.claims and _type(each) != _type(first):
                yield _finding(
                    "FP002",
                    each.place,
                    f"failpoint {name!r} is declared with returns={_type(each)} here, but with "
                    f"returns={_type(first)} at {first.place}: one name has one type, so let them agree, "
                    "or give one of them another name",
                )


def _type(declaration: Declaration) -> str:
    return declaration.returns or "None"


def _alike(source: Source) -> Iterator[Finding]:
    names = _by_name(source)
    once = {name for name, places in names.items() if len(places) == 1}
    for one, other in look_alikes(names, once):
        first, second = sorted((names[one][0], names[other][0]), key=lambda each: each.place)
        yield _finding(
            "FP003",
            second.place,
            f"failpoint {second.name!r} is hard to tell from {first.name!r}, declared at {first.place}: "
            "if they are one, give them one name, else names further apart",
        )


def _scattered(source: Source) -> Iterator[Finding]:
    for name, (first, *others) in _by_name(source).items():
        # A stub says again what its module says.
        seen = {Path(first.place.file).with_suffix("")}
        for each in others:
            file = Path(each.place.file).with_suffix("")
            if file not in seen:
                seen.add(file)
                yield _finding(
                    "FP004",
                    each.place,
                    f"failpoint {name!r} is also declared at {first.place}, and arming it arms both: "
                    "if that is not meant, give one of them another name",
                )


def _names(source: Source) -> Iterator[Finding]:
    for each in _mentions(source):
        refusal = None if each.name is None else _refused(each.name)
        if refusal is not None:
            yield _finding("FP005", each.place, str(refusal))


def _texts(source: Source) -> Iterator[tuple[Place, str | None, str]]:
    """The texts of terms: where each stands, for which point, and the text."""
    for use in source.uses:
        if use.terms is not None and not use.typed:
            yield use.place, use.name, use.terms
    for declaration in source.declarations:
        for fault in declaration.faults:
            if not fault.typed:
                yield fault.place, declaration.name, fault.text


def _terms(source: Source) -> Iterator[Finding]:
    for malformed in source.malformed:
        yield _finding("FP006", malformed.place, str(malformed.error))
    for place, name, text in _texts(source):
        try:
            as_terms(text)
        except TermSyntaxError as exc:
            point = "" if name is None else f"failpoint {name!r}: "
            yield _finding("FP006", place, f"{point}{exc}")


def _values(source: Source) -> Iterator[Finding]:
    types = {name: _checkable(places) for name, places in _by_name(source).items()}
    for place, name, text in _texts(source):
        returns = types.get(name or "")
        if name is None or returns is None:
            continue
        try:
            check_terms(name, returns[0], accepted(returns[0]), _read(text))
        except ReturnTypeError as exc:
            yield _finding("FP007", place, str(exc))


def _read(text: str) -> Terms:
    try:
        return as_terms(text)
    except TermSyntaxError:  # which is a finding of its own
        return as_terms("off")


def _checkable(declarations: list[Declaration]) -> tuple[object] | None:
    """The type that the sites of a point agree on, if it is made of plain built-in ones."""
    said = {_type(each) for each in declarations if each.claims}
    if any(each.returns not in (None, "None") and not each.claims for each in declarations) or len(said) > 1:
        return None
    return built_in_type(said.pop() if said else "None")


def _computed(source: Source) -> Iterator[Finding]:
    for each in _mentions(source):
        if each.name is None:
            like = f", like {each.pattern!r}," if each.pattern.strip("*") else ""
            what = "declared" if isinstance(each, Declaration) else "used"
            yield _finding(
                "FP008",
                each.place,
                f"the name of the failpoint that is {what} here{like} is computed, so nothing about it is "
                "checked: a constant name would be",
            )


def _idle(source: Source) -> Iterator[Finding]:
    for each in unused(source):
        yield _finding(
            "FP009",
            each.place,
            f"failpoint {each.name!r} is declared, and nothing that was read arms it: "
            "arm it in a test, or read the files that do, too",
        )


_CHECKS: tuple[Callable[[Source], Iterator[Finding]], ...] = (
    _problems,
    _unknown,
    _types,
    _alike,
    _scattered,
    _names,
    _terms,
    _values,
    _computed,
    _idle,
)
