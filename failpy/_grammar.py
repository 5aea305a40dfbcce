"""The term grammar: `3*return("x")->50%sleep(10)`, and sets of it: `A=terms;B=terms`."""

from __future__ import annotations

import re
from functools import lru_cache

from failpy._arguments import ACTIONS
from failpy._errors import InvalidName, did_you_mean
from failpy._literals import MAX_DIGITS, shown
from failpy._names import check_name
from failpy._scanner import Scanner
from failpy._terms import Chance, Count, Term, Terms

__all__ = ["as_terms", "parse", "parse_set"]

_MODIFIER = re.compile(r"[0-9]*+\.?[0-9]*+")
_NAME = re.compile(r"[^=;]*+")
_ENTRY = re.compile(r"[^\s=;()\"'`]++\s*+=")
_MAX_COUNT = 2**63 - 1
_SHORT = 200  # longer texts are not worth the memory


def parse(text: str) -> Terms:
    """Read a chain of terms.

    The grammar is gofail's, with more actions and literals. Durations without a unit are milliseconds.

    Args:
        text: Such as `3*return("x")->50%sleep(10)`.

    Raises:
        TypeError: when it is not a string.
        TermSyntaxError: when it is malformed, with the column of the fault.

    Examples:
        >>> parse('2*off -> 1*raise(ValueError("boom"))')
        2 * Off() >> 1 * Raise(ValueError('boom'))
    """
    if not isinstance(text, str):
        raise TypeError(f"terms are read from a string, not {shown(text)}: give one such as 'return(1)'")
    scan = Scanner(text)
    start = scan.skip()
    if _ENTRY.match(scan.text, start):
        raise scan.fault(
            "this is an entry of a set, name=terms, and here only terms are taken: leave the name out"
        )
    terms = _chain(scan)
    if not scan.at_end:
        raise scan.fault(
            "';' separates the entries of a set, and here only one chain of terms is taken: end it here"
        )
    return terms


def parse_set(text: str) -> dict[str, Terms]:
    """Read a set of named terms, as the environment, HTTP and the command line give it.

    Args:
        text: Such as `A=panic;B=2*off->print`. Blank text is the empty set.

    Raises:
        TypeError: when it is not a string.
        TermSyntaxError: when it is malformed or gives a name twice, with the column in the whole text.

    Examples:
        >>> parse_set("A=panic;B=2*off->print")
        {'A': Terms([Panic()]), 'B': 2 * Off() >> Print()}
    """
    if not isinstance(text, str):
        raise TypeError(
            f"a set of terms is read from a string, not {shown(text)}: give one such as 'A=panic;B=off'"
        )
    scan = Scanner(text)
    entries: dict[str, Terms] = {}
    while True:
        scan.skip()
        if scan.at_end:
            return entries
        if scan.take(";"):
            continue
        name = _name(scan, entries)
        entries[name] = _chain(scan)


# Tests arm the same few texts over and over, and chains never change.
_parse_again = lru_cache(maxsize=256)(parse)


def as_terms(value: object) -> Terms:
    """The chain that text, a term or a chain stands for.

    Raises:
        TypeError: when it is none of these.
        TermSyntaxError: when it is malformed text.
    """
    if isinstance(value, str):  # first: whether it is `Terms`, a sequence, takes longer to ask
        return _parse_again(value) if len(value) <= _SHORT else parse(value)
    if isinstance(value, Terms):
        return value
    if isinstance(value, Term):
        return Terms((value,))
    if value is None:
        way = "use Off() for a term that does nothing, or disable the point"
    elif isinstance(value, BaseException) or (isinstance(value, type) and issubclass(value, BaseException)):
        way = f"did you mean fail.Raise({value.__qualname__ if isinstance(value, type) else shown(value)})?"
    elif isinstance(value, type) and issubclass(value, Term):
        way = f"did you mean fail.{value.__name__}(...)?"
    elif callable(value):
        way = "did you mean fail.Call(...) of it?"
    else:
        way = "did you mean fail.Return(...) of it?"
    raise TypeError(f"terms must be a text such as 'return(1)', or typed terms, not {shown(value)}: {way}")


def _name(scan: Scanner, entries: dict[str, Terms]) -> str:
    start = scan.pos
    match = _NAME.match(scan.text, start)
    assert match is not None  # it matches the empty string too
    text = match[0].rstrip()
    if match.end() == len(scan.text) or scan.text[match.end()] == ";":
        raise scan.fault(
            "an entry of a set is name=terms, and this one has no '=': write it as in A=panic", start
        )
    try:
        name = check_name(text)
    except InvalidName as exc:
        raise scan.fault(str(exc), start) from None
    if name in entries:
        raise scan.fault(f"{shown(name)} is there twice: take one away, or chain its terms with '->'", start)
    scan.pos = match.end() + 1
    return name


def _chain(scan: Scanner) -> Terms:
    """Read terms up to the end of the text or a semicolon."""
    start = scan.skip()
    terms = [_term(scan, "there are no terms here: give one, such as off or return(1)")]
    while scan.take("->"):
        terms.append(_term(scan, "'->' needs a term after it: add one such as off, or take it away"))
    if scan.next and scan.next != ";":
        if scan.next in "0123456789.%*":
            raise scan.fault("a modifier stands before its action: write 3*return, not return*3")
        if scan.next == ")":
            raise scan.fault("this ')' closes nothing: take it away")
        raise scan.fault(
            f"'->' or the end is due here, {scan.found()}: separate terms with '->', "
            "entries with ';', and put arguments in brackets, as in raise(ValueError)"
        )
    return Terms(terms, scan.text[start : scan.pos].rstrip())


def _term(scan: Scanner, missing: str) -> Term:
    modifiers = []
    scan.skip()
    while scan.next and scan.next in "0123456789.+-*%" and not scan.text.startswith("->", scan.pos):
        modifiers.append(_modifier(scan))
        scan.skip()
    start = scan.pos
    word = scan.word()
    if not word:
        if modifiers:
            missing = "a modifier needs an action after it, such as return or sleep(10)"
        elif scan.next == "(":
            missing = "an action is due before '(', such as return(1) or sleep(10)"
        elif scan.next and scan.next != ";" and not scan.text.startswith("->", scan.pos):
            missing = f"an action is due here, {scan.found()}: give one such as return or sleep(10)"
        raise scan.fault(missing)
    if word not in ACTIONS:
        hint = did_you_mean(word.lower(), ACTIONS) or f": the actions are {', '.join(ACTIONS)}"
        raise scan.fault(f"there is no action {shown(word)}{hint}", start)
    read = ACTIONS[word]
    opened = scan.pos
    if scan.take("("):
        opened = scan.pos - 1
        empty = scan.take(")")
        term = read(scan, not empty, word)
        if not empty and not scan.take(")"):
            if scan.at_end:
                raise scan.fault("'(' is not closed: end it with ')'", opened)
            raise scan.fault(f"')' is due here, {scan.found()}: {word} takes one argument")
    else:
        scan.pos = opened
        term = read(scan, False, word)
    return term.modified(*modifiers) if modifiers else term


def _modifier(scan: Scanner) -> Count | Chance:
    start = scan.pos
    if scan.next in "+-":
        raise scan.fault("a modifier has no sign: write a count such as 3* or a percentage such as 50%")
    match = _MODIFIER.match(scan.text, start)
    assert match is not None  # it matches the empty string too
    number = match[0]
    if not number.strip("."):
        raise scan.fault(f"a number is due here, {scan.found()}: write 3* or 50% before an action")
    scan.pos = match.end()
    if scan.take("*"):
        if "." in number:
            raise scan.fault("a count is a whole number: write 2*, or 2% for a percentage", start)
        significant = number.lstrip("0") or "0"
        if len(significant) > 19 or int(significant) > _MAX_COUNT:
            raise scan.fault("a count is at most 2**63 - 1: leave it out for no limit", start)
        return Count(int(significant))
    if scan.take("%"):
        if len(number) > MAX_DIGITS:
            raise scan.fault(f"a percentage has at most {MAX_DIGITS} digits: round it", start)
        probability = float(f"{number}e-2")
        if probability > 1:
            raise scan.fault("a percentage is at most 100: write 100%, or leave it out", start)
        return Chance(probability)
    raise scan.fault(f"'*' or '%' is due after a number, {scan.found()}: write 3* or 50% before an action")
