"""The actions of the grammar, and how the argument of each is read."""

from __future__ import annotations

from collections.abc import Callable

from failpy._errors import did_you_mean
from failpy._literals import MAX_WORD, WORD, shown
from failpy._lookup import known_names, named
from failpy._scanner import Scanner
from failpy._specs import CallSpec, ExceptionSpec
from failpy._terms import (
    Break,
    Call,
    Delay,
    Exit,
    Kill,
    Off,
    Panic,
    Pause,
    Print,
    Raise,
    Return,
    Sleep,
    Term,
    Yield,
)

__all__ = ["ACTIONS"]

# Takes the text, whether an argument is next in it, and the word for the action.
Reader = Callable[[Scanner, bool, str], Term]


def _plain(kind: Callable[[], Term]) -> Reader:
    def read(scan: Scanner, argument: bool, word: str) -> Term:
        if argument:
            raise scan.fault(f"{word} takes no argument: write {word} alone")
        return kind()

    return read


def _lasting(kind: Callable[..., Term], *, needed: bool) -> Reader:
    def read(scan: Scanner, argument: bool, word: str) -> Term:
        if not argument:
            if needed:
                raise scan.fault(f"{word} needs a duration: write {word}(10) for 10 ms, or {word}(1.5s)")
            return kind()
        start = scan.skip()
        seconds = scan.duration()
        if not needed and seconds == 0:
            raise scan.fault(f"{word} needs more than 0: use yield to give up one turn", start)
        return kind(seconds)

    return read


def _saying(kind: Callable[..., Term]) -> Reader:
    def read(scan: Scanner, argument: bool, word: str) -> Term:
        return kind(str(scan.scalar())) if argument else kind()

    return read


def _return(scan: Scanner, argument: bool, word: str) -> Term:
    return Return.read(scan.literal()) if argument else Return()


def _exit(scan: Scanner, argument: bool, word: str) -> Term:
    if not argument:
        return Exit()
    start = scan.skip()
    code = scan.scalar()
    if type(code) is not int or not 0 <= code <= 255:
        raise scan.fault("an exit status is an integer from 0 to 255: write it as in exit(3)", start)
    return Exit(code)


def _raise(scan: Scanner, argument: bool, word: str) -> Term:
    if not argument:
        return Raise()
    start = scan.skip()
    path = scan.word()
    if not path:
        if scan.next and scan.next in "\"'`":
            raise scan.fault('raise takes an exception, not a text: write raise(Injected("..."))')
        if scan.next == "<":
            raise scan.no_text()
        raise scan.fault(f"an exception is due here, {scan.found()}: write it as in raise(ValueError)")
    found = named(path)
    if found is None and "." not in path:
        hint = did_you_mean(path, known_names()) or ":"
        raise scan.fault(
            f"there is no exception {path}{hint} for one of yours give the full path, "
            "as in raise(pkg.errors.Conflict)",
            start,
        )
    if not scan.take("("):
        return Raise(ExceptionSpec(path, None, None, scan.text, start + 1))
    if isinstance(found, int):
        raise scan.fault(f'{path} takes no arguments: write raise({path}) or raise(OSError({found}, "..."))')
    args, kwargs = _arguments(scan)
    return Raise(ExceptionSpec(path, args, kwargs, scan.text, start + 1))


def _arguments(scan: Scanner) -> tuple[tuple[object, ...], dict[str, object]]:
    opened = scan.pos - 1
    args: list[object] = []
    kwargs: dict[str, object] = {}
    while not scan.take(")"):
        _argument(scan, args, kwargs)
        if not scan.take(",") and scan.next != ")":
            if scan.at_end:
                raise scan.fault("'(' is not closed: end it with ')'", opened)
            raise scan.fault(f"',' or ')' is due here, {scan.found()}")
    return tuple(args), kwargs


def _argument(scan: Scanner, args: list[object], kwargs: dict[str, object]) -> None:
    start = scan.skip()
    key = scan.word()
    if key and scan.take("="):
        if "." in key or key in kwargs:
            raise scan.fault(f"{key} cannot be an argument here: give each name once, without dots", start)
        kwargs[key] = scan.literal()
        return
    scan.pos = start
    if kwargs:
        raise scan.fault("an argument without a name stands before those with one: move it to the left")
    args.append(scan.literal())


def _call(scan: Scanner, argument: bool, word: str) -> Term:
    start = scan.skip()
    if argument and scan.next == "<":
        raise scan.no_text()
    if not argument or not scan.next or scan.next not in "\"'`":
        raise scan.fault('call takes one string: write it as in call("pkg.mod:function")')
    path = scan.string()
    module, _, name = path.partition(":")
    if len(path) > MAX_WORD or not (WORD.fullmatch(module) and WORD.fullmatch(name)):
        raise scan.fault(f'{shown(path)} names no function: write it as in call("pkg.mod:function")', start)
    return Call(CallSpec(path, scan.text, start + 1))


ACTIONS: dict[str, Reader] = {
    "off": _plain(Off),
    "return": _return,
    "raise": _raise,
    "panic": _saying(Panic),
    "sleep": _lasting(Sleep, needed=True),
    "delay": _lasting(Delay, needed=True),
    "print": _saying(Print),
    "pause": _lasting(Pause, needed=False),
    "yield": _plain(Yield),
    "break": _plain(Break),
    "exit": _exit,
    "kill": _plain(Kill),
    "call": _call,
}
