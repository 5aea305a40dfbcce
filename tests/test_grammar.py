"""The grammar: what it takes, and what it says about what it does not take."""

from __future__ import annotations

import errno
import importlib.util
import json
import math
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failpy import (
    Break,
    Call,
    Delay,
    Exit,
    Injected,
    InvalidName,
    Kill,
    Off,
    Panic,
    Pause,
    PauseTimeout,
    Print,
    Raise,
    Return,
    Sleep,
    TermSyntaxError,
    Yield,
    parse,
)
from failpy._grammar import _parse_again, as_terms, parse_set
from failpy._names import check_name
from failpy._resolve import resolve
from failpy._terms import Term, Terms

ROWS = json.loads((Path(__file__).parent / "data" / "gofail_terms.json").read_text(encoding="utf-8"))

# Rows that gofail takes, and why they are refused here.
REFUSED = {
    'return("abc"]': "')' is due here",
    "return(12x": "not a number",
    "return(FALSE)": "did you mean 'False'",
    "return(hello)": "needs quotes",
    "return(world)->print": "needs quotes",
    "print->": "needs a term after it",
    "return(1)->": "needs a term after it",
    'return("x")->': "needs a term after it",
    "(5)": "an action is due before '('",
    "5*": "a modifier needs an action after it",
    "5*()": "a modifier needs an action after it",
    "5*->print": "a modifier needs an action after it",
    "50.0%": "a modifier needs an action after it",
    "sleep": "needs a duration",
    'sleep("10")': "needs a unit",
    'sleep("abc")': "is not a duration",
    "sleep(true)": "a duration is due here",
    "sleep(-5)": "cannot be negative",
    'sleep("-5ms")': "cannot be negative",
}


def refused(text: str, how: Callable[[str], Any] = parse) -> TermSyntaxError:
    with pytest.raises(TermSyntaxError) as caught:
        how(text)
    assert caught.value.text == text
    assert 1 <= caught.value.column <= len(text) + 1
    return caught.value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["terms"])
def test_what_gofail_takes_is_taken_or_refused_for_a_reason(row: dict[str, Any]) -> None:
    if row["outcome"] == "ok" and row["terms"] not in REFUSED:
        parse(row["terms"])
    elif row["outcome"] == "ok":
        assert REFUSED[row["terms"]] in refused(row["terms"]).reason


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("off", Off()),
        ("return", Return()),
        ("return()", Return()),
        ("return(None)", Return(None)),
        ('return("x")', Return("x")),
        ("return([1, {'a': true}])", Return([1, {"a": True}])),
        ("raise", Raise()),
        ("raise()", Raise()),
        ("raise(Injected)", Raise(Injected)),
        ("raise(ValueError)", Raise(ValueError)),
        ('raise(ValueError("boom"))', Raise(ValueError("boom"))),
        ("raise(PauseTimeout(1,))", Raise(PauseTimeout(1))),
        ("raise(KeyError())", Raise(KeyError())),
        ("panic", Panic()),
        ('panic("why")', Panic("why")),
        ("panic(1)", Panic("1")),
        ("sleep(10)", Sleep(0.01)),
        ("sleep(10s)", Sleep(10)),
        ('sleep("1m30s")', Sleep(90)),
        ("delay(1.5s)", Delay(1.5)),
        ("print", Print()),
        ("print()", Print()),
        ("print('here')", Print("here")),
        ("print(true)", Print("True")),
        ("pause", Pause()),
        ("pause()", Pause()),
        ("pause(60s)", Pause()),
        ("pause(5s)", Pause(5)),
        ("yield", Yield()),
        ("yield()", Yield()),
        ("break", Break()),
        ("exit", Exit()),
        ("exit()", Exit()),
        ("exit(3)", Exit(3)),
        ("kill", Kill()),
        ('call("builtins:print")', Call(print)),
        ("3*off", 3 * Off()),
        ("002*off", 2 * Off()),
        ("0*off", 0 * Off()),
        (f"{2**63 - 1}*off", (2**63 - 1) * Off()),
        ("50%off", Off().chance(0.5)),
        ("50.%off", Off().chance(0.5)),
        ("50.0%off", Off().chance(0.5)),
        (".5%off", Off().chance(0.005)),
        ("100%off", Off().chance(1)),
        ("0%off", Off().chance(0)),
        ("3*50%off", 3 * Off().chance(0.5)),
        ("50%3*off", (3 * Off()).chance(0.5)),
        (" 3 * 50 % return ( 'x' ) ", 3 * Return("x").chance(0.5)),
    ],
)
def test_term(text: str, terms: Term) -> None:
    assert parse(text) == Terms([terms])


def test_chain() -> None:
    assert parse('2*off -> 1*raise\n->return("->")') == 2 * Off() >> 1 * Raise() >> Return("->")


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "there are no terms here"),
        ("  ", 3, "there are no terms here"),
        ("->", 1, "there are no terms here"),
        (";", 1, "there are no terms here"),
        ("->off", 1, "there are no terms here"),
        ("()", 1, "an action is due before '('"),
        ("?", 1, "an action is due here, not '?'"),
        ("5*", 3, "a modifier needs an action after it, such as return or sleep(10)"),
        ("off->", 6, "'->' needs a term after it"),
        ("off->->off", 6, "'->' needs a term after it"),
        ("RETURN(1)", 1, "did you mean 'return'"),
        ("off->print5", 6, "did you mean 'print'"),
        ("zzz", 1, "the actions are off, return, raise"),
        ("x" * 201, 1, "no name is that long"),
        ("return*3", 7, "a modifier stands before its action"),
        ("off 50%", 5, "a modifier stands before its action"),
        ("off)", 4, "closes nothing"),
        ("return(1)return(2)", 10, "separate terms with '->'"),
        ("return(1)-", 10, "separate terms with '->'"),
        ("off;off", 4, "';' separates the entries of a set"),
        ("A=panic", 1, "leave the name out"),
        (" pkg/a.b =panic", 2, "leave the name out"),
        ("return(1", 7, "'(' is not closed"),
        ("return(1 2)", 10, "return takes one argument"),
        ("return(1, 2)", 9, "return takes one argument"),
        ("return(hello)", 8, "needs quotes"),
        ("return(<object>)", 8, "give the term as an object"),
        ("raise(<E>)", 7, "give the term as an object"),
        ("call(<f>)", 6, "give the term as an object"),
        ("off(1)", 5, "off takes no argument"),
        ("yield(1)", 7, "yield takes no argument"),
        ("break(1)", 7, "break takes no argument"),
        ("kill(1)", 6, "kill takes no argument"),
        ("print([1])", 7, "a value is due here"),
        ("panic({})", 7, "a value is due here"),
        ("sleep", 6, "sleep needs a duration"),
        ("sleep()", 8, "sleep needs a duration"),
        ("delay", 6, "delay needs a duration"),
        ("pause( 0)", 8, "more than 0"),
        ("exit(256)", 6, "from 0 to 255"),
        ("exit(-1)", 6, "from 0 to 255"),
        ("exit(true)", 6, "from 0 to 255"),
        ("150%off", 1, "at most 100"),
        ("100.01%off", 1, "at most 100"),
        (f"{'1' * 501}%off", 1, "at most 500 digits"),
        (f"off->{2**63}*off", 6, "at most 2**63 - 1"),
        ("9" * 1000 + "*off", 1, "at most 2**63 - 1"),
        ("2.0*off", 1, "a whole number"),
        ("-1*off", 1, "no sign"),
        ("+1*off", 1, "no sign"),
        ("%off", 1, "a number is due here, not '%'"),
        (".*off", 1, "a number is due here, not '.'"),
        ("5 off", 3, "'*' or '%' is due after a number, not 'o'"),
        ("5.0", 4, "'*' or '%' is due after a number, and the text ends here"),
        ('raise("x")', 7, 'raise(Injected("..."))'),
        ("raise(1)", 7, "an exception is due here, not '1'"),
        ("raise(ValueErorr)", 7, "did you mean 'ValueError'"),
        ("raise(ENOSPCE)", 7, "did you mean 'ENOSPC'"),
        ("raise(Whatever)", 7, "give the full path"),
        ("raise(int)", 7, "give the full path"),
        ("raise(ENOSPC(1))", 14, "ENOSPC takes no arguments"),
        ("raise(KeyError(1)", 6, "'(' is not closed"),
        ("raise(KeyError(1", 15, "'(' is not closed"),
        ("raise(KeyError(1 2))", 18, "',' or ')' is due here, not '2'"),
        ("raise(KeyError(k))", 16, "needs quotes"),
        ("raise(a.B(c=1, c=2))", 16, "give each name once"),
        ("raise(a.B(c.d=1))", 11, "without dots"),
        ("raise(a.B(c=1, 2))", 16, "stands before those with one"),
        ("call", 5, "call takes one string"),
        ("call(1)", 6, "call takes one string"),
        ("call(", 6, "call takes one string"),
        ('call("os.getpid")', 6, "names no function"),
        ('call("os:")', 6, "names no function"),
        ('call(":f")', 6, "names no function"),
        ('call("a b:f")', 6, "names no function"),
        (f'call("os:{"f" * 200}")', 6, "names no function"),
        ('return("abc"', 7, "'(' is not closed"),
        ('return("abc', 8, "the string is not closed"),
        ("off\x00", 4, "separate terms with '->'"),
        ("\ud800", 1, "an action is due here"),
    ],
)
def test_malformed(text: str, column: int, says: str) -> None:
    error = refused(text)
    assert says in error.reason
    assert error.column == column


@settings(deadline=None)
@given(st.text() | st.text(st.sampled_from("3*50%->;=()[]{}\"'`\\ ,:.-+aoffreturnsleep\n\ud800\0")))
def test_text_raises_nothing_but_syntax_errors(text: str) -> None:
    check_that_only_a_syntax_error_is_raised(text)


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("[", 100_000),
        ("return([", 1),
        ("return([[", 50_000),
        ("return({1:", 100_000),
        ("(", 10**6),
        ("9", 10**6),
        ("a", 10**6),
        ("1*", 10**5),
        ("\ud800", 10**6),
        ("\0", 10**6),
        ("A=", 10**5),
    ],
)
def test_long_text_raises_nothing_but_syntax_errors(unit: str, times: int) -> None:
    for front in ("", "return(", 'return("', "raise(", "sleep(", "A="):
        check_that_only_a_syntax_error_is_raised(front + unit * times)


def check_that_only_a_syntax_error_is_raised(text: str) -> None:
    for how in (parse, parse_set):
        error = None
        try:
            how(text)
        except TermSyntaxError as exc:
            error = exc
        if error is not None:
            assert 1 <= error.column <= len(text) + 1
            assert len(error.reason) < 600
            assert error.text == text


@pytest.mark.parametrize(
    "unit",
    [
        "1*",
        "->off",
        "off->",
        " ",
        "50%",
        "A=off;",
        ";",
        "9",
        "a.",
        "a",
        "((",
        "=",
        'print("x")->',
        "raise(",
        "\\",
    ],
)
def test_time_is_linear(unit: str) -> None:
    """Sixteen times the text takes nowhere near 256 times as long, in the same run."""

    def cost(text: str) -> float:
        best = math.inf
        for _ in range(2):
            begin = time.perf_counter()
            for how in (parse, parse_set):
                with suppress(TermSyntaxError):
                    how(text)
            best = min(best, time.perf_counter() - begin)
        return best

    # Two fronts: some units go wrong at once unless something stands before them.
    for front in ("", "off", "return("):
        small, large = front + unit * 1_000, front + unit * 16_000
        assert cost(large) < 100 * cost(small) + 1e-3


@pytest.mark.parametrize("how", [parse, parse_set])
def test_a_text_that_is_no_string(how: Any) -> None:
    with pytest.raises(TypeError, match="not b'off'"):
        how(b"off")


def test_a_string_of_a_subclass_is_read_as_what_it_holds() -> None:
    class Odd(str):
        __slots__ = ()

        def __str__(self) -> str:
            raise AssertionError

        def startswith(self, *_: object) -> bool:
            return True

    assert parse(Odd("2*off")) == parse("2*off")
    assert type(check_name(Odd("a"))) is str


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", {}),
        (" \n ", {}),
        (";; ;", {}),
        ("A=panic", {"A": "panic"}),
        ("A=panic;B=2*off->print", {"A": "panic", "B": "2*off->print"}),
        (" ;a/b.c = off ;; B=off ; ", {"a/b.c": "off", "B": "off"}),
        ('A=return("a;B=c");B=off', {"A": 'return("a;B=c")', "B": "off"}),
    ],
)
def test_set(text: str, terms: dict[str, str]) -> None:
    assert parse_set(text) == {name: parse(each) for name, each in terms.items()}
    assert list(parse_set(text)) == list(terms)


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("panic", 1, "this one has no '='"),
        ("A=off; B;C=off", 8, "this one has no '='"),
        ("=off", 1, "a name is not empty"),
        ("A=off; A b=off", 8, "white space"),
        ("A\x01=off", 1, "a control character"),
        ("A/count=off", 1, "'A.count'"),
        ("A=off;A=panic", 7, "'A' is there twice"),
        ("A=off;B=", 9, "there are no terms here"),
        ("A=;B=off", 3, "there are no terms here"),
        ("A=off;B=5*;C=off", 11, "a modifier needs an action"),
        ("A=off;B==off", 9, "an action is due here, not '='"),
        ("A=off->;", 8, "'->' needs a term after it"),
    ],
)
def test_malformed_set(text: str, column: int, says: str) -> None:
    error = refused(text, parse_set)
    assert says in error.reason
    assert error.column == column


@pytest.mark.parametrize("name", ["a", "pkg/mod.Point", "a->b", "é", "count", "a/counts", "50%"])
def test_name(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "not empty"),
        ("a b", "white space at character 2"),
        ("a\u2028", "white space"),
        ("a=b", "it has '=' at character 2"),
        ("a;b", "it has ';'"),
        ("\x7f", "a control character"),
        ("a\x9fb", "a control character"),
        ("a/count", "the counter of NAME"),
        ("/count", "the counter of NAME"),
    ],
)
def test_bad_name(name: str, says: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check_name(name)
    assert says in str(caught.value)
    assert repr(name) in str(caught.value)


def test_a_name_that_is_no_string() -> None:
    with pytest.raises(TypeError, match="not 3"):
        check_name(3)


def test_as_terms() -> None:
    chain = parse("2*off->panic")
    assert as_terms(chain) is chain
    assert as_terms("2*off->panic") == chain
    assert as_terms(Panic()) == parse("panic")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, r"use Off\(\)"),
        (ValueError, r"did you mean fail\.Raise\(ValueError\)"),
        (ValueError("x"), r"did you mean fail\.Raise\(ValueError\('x'\)\)"),
        (print, r"did you mean fail\.Call"),
        (Off, r"did you mean fail\.Off\(\.\.\.\)"),
        (3, r"did you mean fail\.Return"),
    ],
)
def test_what_stands_for_no_terms(value: object, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        as_terms(value)


# --- names in terms -------------------------------------------------------------------------------

MODULE = """
from collections.abc import Callable

class Conflict(Exception):
    def __init__(self, key, *, code):
        super().__init__(key)
        self.key, self.code = key, code

class Outer:
    class Inner(Exception):
        pass

class Wrong(Exception):
    def __new__(cls):
        return 3

class Handler:
    def handle(self, hit):
        return hit

handler = Handler()
error_attribute = 3

def __getattr__(name):
    if name == "Lazy":
        import failpy_lazy_target
        return failpy_lazy_target.Lazy
    if name == "Broken":
        raise RuntimeError("broken")
    raise AttributeError(name)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a package, not imported yet, with a module `errors`."""
    root = tmp_path / "failpy_example"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "errors.py").write_text(MODULE)
    (root / "broken.py").write_text("import failpy_no_such_module")
    (root / "raising.py").write_text("raise RuntimeError('cannot start')")
    (tmp_path / "failpy_lazy_target.py").write_text("class Lazy(Exception): pass")
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield root.name
    for name in set(sys.modules) - before:
        if name.startswith("failpy_"):
            del sys.modules[name]


def unresolved(text: str, importing: bool = True) -> TermSyntaxError:
    terms = parse(text)
    with pytest.raises(TermSyntaxError) as caught:
        resolve(terms, importing=importing)
    assert caught.value.text == text
    return caught.value


def made(text: str) -> BaseException:
    terms = parse(text)
    resolve(terms)
    (term,) = terms
    assert isinstance(term, Raise)
    return term.make()


def test_an_exception_of_a_module(package: str) -> None:
    error: Any = made(f"raise({package}.errors.Conflict(['k'], code=3))")
    assert type(error) is sys.modules[f"{package}.errors"].Conflict
    assert (error.key, error.code) == (["k"], 3)
    assert isinstance(made(f"raise({package}.errors.Outer.Inner)"), Exception)


def test_each_hit_raises_a_new_exception_with_arguments_of_its_own(package: str) -> None:
    terms = parse(f"raise({package}.errors.Conflict([], code=[]))")
    resolve(terms)
    first, second = terms[0].make(), terms[0].make()  # type: ignore[attr-defined]
    assert first is not second
    first.key.append(1)
    first.code.append(1)
    assert second.key == second.code == []


def test_an_errno() -> None:
    error = made("raise(ENOSPC)")
    assert isinstance(error, OSError)
    assert (error.errno, error.strerror) == (errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert isinstance(made("raise(ENOENT)"), FileNotFoundError)


def test_own_exceptions_by_bare_name() -> None:
    assert repr(made('raise(Injected("x"))')) == repr(Injected("x"))
    assert isinstance(made("raise(PauseTimeout)"), PauseTimeout)
    assert isinstance(made("raise(KeyboardInterrupt)"), KeyboardInterrupt)


def test_a_callable(package: str) -> None:
    for text, result in (("builtins:repr", "1"), (f"{package}.errors:handler.handle", 1)):
        terms = parse(f'call("{text}")')
        resolve(terms)
        assert terms[0].function(1) == result  # type: ignore[attr-defined]


def test_without_resolve_it_is_found_at_the_hit(package: str) -> None:
    assert parse(f"raise({package}.errors.Outer.Inner)")[0].make()  # type: ignore[attr-defined]
    assert parse('call("builtins:repr")')[0].function is repr  # type: ignore[attr-defined]


def test_what_was_found_when_enabling_is_what_a_hit_uses(package: str) -> None:
    terms = parse(f'raise({package}.errors.Outer.Inner)->call("{package}.errors:Outer")')
    resolve(terms)
    module = sys.modules.pop(f"{package}.errors")
    del sys.modules[package]
    assert type(terms[0].make(importing=False)) is module.Outer.Inner  # type: ignore[attr-defined]
    assert terms[1].function is module.Outer  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("off->raise(nowhere_at_all.X)", 12, "there is no module 'nowhere_at_all'"),
        ("raise(PKG.nothing.X)", 7, "has no 'nothing'"),
        ("raise(PKG.errors.Conflit)", 7, "did you mean 'Conflict'"),
        ("raise(PKG.errors.Conflict.a.b)", 7, "has no 'a': check its spelling"),
        ("raise(PKG.errors.handler.nothing)", 7, "has no 'nothing': check its spelling"),
        ("raise(PKG.errors.error_attribute)", 7, "is not an exception class"),
        ("raise(PKG.errors.Outer)", 7, "is not an exception class"),
        ("raise(PKG.errors.Conflict)", 7, "cannot be built from no arguments"),
        ("raise(PKG.errors.Conflict('x'))", 7, "cannot be built from these arguments"),
        ("raise(PKG.errors.Wrong)", 7, "built 3 from no arguments, which is no exception"),
        ("raise(UnicodeDecodeError)", 7, "cannot be built from no arguments"),
        ("raise(PKG.errors.Broken)", 7, "has no 'Broken'"),
        ("raise(PKG.broken.X)", 7, "importing PKG.broken raised ModuleNotFoundError"),
        ("raise(PKG.raising.X)", 7, "importing PKG.raising raised RuntimeError('cannot start')"),
        ('call("PKG.raising:f")', 6, "importing PKG.raising raised RuntimeError('cannot start')"),
        ('call("PKG.nothing:f")', 6, "there is no module 'PKG.nothing'"),
        ('call("PKG.errors:handle")', 6, "did you mean 'handler'"),
        ('call("PKG.errors:handler")', 6, "is not callable"),
    ],
)
def test_a_name_that_leads_nowhere(package: str, text: str, column: int, says: str) -> None:
    error = unresolved(text.replace("PKG", package))
    assert says.replace("PKG", package) in error.reason
    assert error.column == column


def test_the_column_is_in_the_whole_set() -> None:
    text = "A=off;B=raise(nowhere_at_all.X)"
    with pytest.raises(TermSyntaxError) as caught:
        resolve(parse_set(text)["B"])
    assert (caught.value.text, caught.value.column) == (text, text.index("nowhere") + 1)


def test_an_import_that_fails_is_the_cause(package: str) -> None:
    assert isinstance(unresolved(f"raise({package}.raising.X)").__cause__, RuntimeError)
    assert isinstance(unresolved(f"raise({package}.errors.Broken)").__cause__, RuntimeError)
    assert isinstance(unresolved(f"raise({package}.errors.Conflict)").__cause__, TypeError)
    assert unresolved(f"raise({package}.errors.Nothing)").__cause__ is None


@pytest.mark.parametrize(
    "text", ["raise(PKG.errors.Conflict('x', code=1))", 'call("PKG.errors:handler.handle")']
)
def test_nothing_is_imported_for_a_request(package: str, text: str) -> None:
    text = text.replace("PKG", package)
    assert "import it in the program" in unresolved(text, importing=False).reason
    assert package not in sys.modules

    __import__(package)
    assert "import it in the program" in unresolved(text, importing=False).reason
    assert f"{package}.errors" not in sys.modules

    __import__(f"{package}.errors")
    resolve(parse(text), importing=False)
    assert "failpy_lazy_target" not in sys.modules


def test_a_lazy_attribute_is_not_loaded_for_a_request(package: str) -> None:
    __import__(f"{package}.errors")
    text = f"raise({package}.errors.Lazy)"
    unresolved(text, importing=False)
    assert "failpy_lazy_target" not in sys.modules
    resolve(parse(text))
    assert "failpy_lazy_target" in sys.modules


def test_a_typo_is_told_for_a_request_too(package: str) -> None:
    __import__(f"{package}.errors")
    assert "did you mean 'Conflict'" in unresolved(f"raise({package}.errors.Conflit)", importing=False).reason


def test_a_typed_class_is_built_once_when_enabling() -> None:
    resolve(Raise(KeyError) >> Raise(KeyError("k")) >> Call(print) >> Off())
    with pytest.raises(TypeError, match=r"UnicodeDecodeError cannot be built .* or an instance"):
        resolve(Off() >> Raise(UnicodeDecodeError))


class Getter:
    """A descriptor that does something when it is asked, as those of six.moves do."""

    asked = 0

    def __get__(self, instance: object, owner: type) -> type:
        Getter.asked += 1
        return ValueError


class Sly(type):
    @property
    def __dict__(cls) -> dict[str, object]:  # type: ignore[override]
        raise SystemExit("asked")


class Holder(metaclass=Sly):
    lazy = Getter()

    class Inner(Exception):
        pass

    @classmethod
    def made(cls) -> str:
        return cls.__name__

    @staticmethod
    def plain() -> None: ...


class SlyModule(types.ModuleType):
    lazy = Getter()

    @property
    def asked(self) -> None:
        raise SystemExit("asked")


def test_nothing_of_the_program_is_run_to_find_a_name_for_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    sly = SlyModule("failpy_sly")
    vars(sly)["Holder"] = Holder
    monkeypatch.setitem(sys.modules, "failpy_sly", sly)
    for path in ("lazy", "asked", "Holder.lazy.x", "Holder.nothing"):
        assert "has no" in unresolved(f"raise(failpy_sly.{path})", importing=False).reason
    assert Getter.asked == 0
    resolve(parse("raise(failpy_sly.Holder.Inner)"), importing=False)
    (made,) = parse('call("failpy_sly:Holder.made")')
    resolve([made], importing=False)
    assert made.function() == "Holder"
    resolve(parse('call("failpy_sly:Holder.plain")'), importing=False)


def test_a_module_that_loads_itself_later_is_not_loaded_for_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failpy_later.py").write_text("import failpy_nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.find_spec("failpy_later")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "failpy_later", module)
    spec.loader.exec_module(module)
    assert "has no 'Error'" in unresolved("raise(failpy_later.Error)", importing=False).reason


def test_long_texts_are_not_kept() -> None:
    before = _parse_again.cache_info().currsize
    for i in range(3):
        as_terms(f'return("{"0" * 300}{i}")')
    assert _parse_again.cache_info().currsize == before


def test_a_class_of_the_script_goes_by_both_its_names_for_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = types.ModuleType("__main__")
    vars(main).update(__file__=str(tmp_path / "failpy_script.py"), SoldOut=type("SoldOut", (Exception,), {}))
    monkeypatch.setitem(sys.modules, "__main__", main)
    for module in ("failpy_script", "__main__"):
        (term,) = parse(f"raise({module}.SoldOut)")
        resolve([term], importing=False)
        assert type(term.make()) is vars(main)["SoldOut"]
