"""The typed terms: what they take, how they read as text, and when two are the same."""

from __future__ import annotations

import copy
import enum
import math
import os
import pickle
from collections.abc import Callable
from typing import Any, Self

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import failpy
from failpy import (
    Break,
    Call,
    Delay,
    Exit,
    Injected,
    Kill,
    Off,
    Panic,
    Pause,
    Print,
    Raise,
    Return,
    Sleep,
    Yield,
    parse,
)
from failpy._scanner import MAX_SECONDS
from failpy._terms import Chance, Count, Term, Terms
from tests.test_scanner import LITERALS

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SECONDS = st.floats(0, MAX_SECONDS)


class ConflictError(Exception):
    class InnerError(Exception):
        pass


class CustomError(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)


class MadeError(Exception):
    def __new__(cls, *_: object) -> Self:
        return super().__new__(cls)


class Meta(type):
    def __call__(cls, *args: Any) -> Any:
        return super().__call__(*args)


class BuiltError(Exception, metaclass=Meta):
    pass


class SlottedError(Exception):
    __slots__ = ("code",)
    code: int


def handler(hit: object) -> object:
    return hit


CALLABLES: list[Callable[..., Any]] = [print, handler, os.path.join]
ACTIONS: st.SearchStrategy[Term] = st.one_of(
    st.sampled_from([Off(), Return(), Raise(), Panic(), Print(), Pause(), Yield(), Break(), Exit(), Kill()]),
    LITERALS.map(Return),
    TEXT.map(Panic),
    TEXT.map(Print),
    SECONDS.map(Sleep),
    SECONDS.map(Delay),
    st.floats(0, MAX_SECONDS, exclude_min=True).map(Pause),
    st.integers(0, 255).map(Exit),
    st.sampled_from(
        [ValueError, OSError, Injected, failpy.PauseTimeout, ConflictError, ConflictError.InnerError]
    ).map(Raise),
    st.lists(LITERALS, max_size=2).map(lambda args: Raise(ValueError(*args))),
    st.lists(LITERALS, max_size=2).map(lambda args: Raise(ConflictError(*args))),
    st.sampled_from(CALLABLES).map(Call),
)
MODIFIERS = st.integers(0, 2**63 - 1).map(Count) | st.floats(0, 1).map(Chance)
TERMS = st.builds(
    lambda action, modifiers: action.modified(*modifiers), ACTIONS, st.lists(MODIFIERS, max_size=3)
)
CHAINS = st.lists(TERMS, min_size=1, max_size=4).map(Terms)

NAMESPACE = {
    **vars(failpy),
    "Terms": Terms,
    "failpy": failpy,
    "posixpath": os.path,
    "tests": __import__(__name__),
}


@settings(deadline=None)
@given(CHAINS)
def test_text_reads_back_as_the_same_chain(chain: Terms) -> None:
    assert chain.text == str(chain)
    again = parse(str(chain))
    assert again == chain
    assert hash(again) == hash(chain)
    assert str(again) == str(chain)


@settings(deadline=None)
@given(CHAINS)
def test_repr_evaluates_back_as_the_same_chain(chain: Terms) -> None:
    for each in (chain, parse(str(chain))):
        assert eval(repr(each), NAMESPACE) == each


@settings(deadline=None)
@given(st.floats(0, 1))
def test_a_probability_round_trips_float_for_float(probability: float) -> None:
    chance = parse(str(Off().chance(probability)))[0].modifiers[0]
    assert isinstance(chance, Chance)
    assert chance.probability == probability


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (Off(), "off"),
        (Return(), "return"),
        (Return(None), "return(None)"),
        (Return("x"), 'return("x")'),
        (Return([True, {"a": 1.0}]), 'return([True, {"a": 1.0}])'),
        (Raise(), "raise"),
        (Raise(ValueError), "raise(ValueError)"),
        (Raise(Injected("x")), 'raise(Injected("x"))'),
        (Raise(OSError(28, "full")), 'raise(OSError(28, "full"))'),
        (Raise(ConflictError.InnerError), "raise(tests.test_terms.ConflictError.InnerError)"),
        (Raise(ConflictError("k", 1)), 'raise(tests.test_terms.ConflictError("k", 1))'),
        (Panic(), "panic"),
        (Panic(""), 'panic("")'),
        (Sleep(0.01), "sleep(10)"),
        (Sleep(0), "sleep(0)"),
        (Sleep(-0.0), "sleep(0)"),
        (Sleep(0.0105), "sleep(0.0105s)"),
        (Sleep(1e-9), "sleep(0.000000001s)"),
        (Sleep(9e9), "sleep(9000000000000)"),
        (Delay(1.5), "delay(1500)"),
        (Print("a\nb"), r'print("a\nb")'),
        (Pause(), "pause"),
        (Pause(60), "pause"),
        (Pause(0.5), "pause(500)"),
        (Yield(), "yield"),
        (Break(), "break"),
        (Exit(), "exit"),
        (Exit(3), "exit(3)"),
        (Kill(), "kill"),
        (Call(print), 'call("builtins:print")'),
        (Call(handler), 'call("tests.test_terms:handler")'),
        (3 * Off(), "3*off"),
        (Off().chance(0.5), "50%off"),
        (Off().chance(0.125), "12.5%off"),
        (Off().chance(1), "100%off"),
        (Off().chance(0), "0%off"),
        (Off().chance(-0.0), "0%off"),
        (Off().chance(1e-7), "0.00001%off"),
        (3 * Return("x").chance(0.5), '3*50%return("x")'),
        ((3 * Return("x")).chance(0.5), '50%3*return("x")'),
        (3 * (2 * Off()), "3*2*off"),
    ],
)
def test_canonical_text(term: Term, text: str) -> None:
    assert term.text == str(term) == text


def test_some_spellings_are_kept() -> None:
    for text in ("raise(ENOSPC)", "raise(ValueError())", "raise(a.b.C(1, code=[2]))", 'call("a.b:c.d")'):
        assert parse(text).text == text


@pytest.mark.parametrize(
    ("terms", "shown"),
    [
        (3 * Return("x") >> Raise(KeyError("k")), "3 * Return('x') >> Raise(KeyError('k'))"),
        ((3 * Return()).chance(0.5), "(3 * Return()).chance(0.5)"),
        (3 * (2 * Off()), "3 * (2 * Off())"),
        (Terms([Off()]), "Terms([Off()])"),
        (Raise() >> Raise(KeyError), "Raise() >> Raise(KeyError)"),
        (Call(print) >> Call(handler), "Call(print) >> Call(tests.test_terms.handler)"),
        (parse("raise(KeyError('k'))")[0], "Raise(KeyError('k'))"),
        (parse("raise(KeyError)")[0], "Raise(KeyError)"),
        (parse("raise(ENOSPC)")[0], "parse('raise(ENOSPC)')[0]"),
        (parse("raise(a.b)")[0], "parse('raise(a.b)')[0]"),
        (parse("raise(UnicodeError(1))")[0], "Raise(UnicodeError(1))"),
        (parse("raise(UnicodeDecodeError(1))")[0], "parse('raise(UnicodeDecodeError(1))')[0]"),
        (parse("raise(ImportError(name='x'))")[0], """parse('raise(ImportError(name="x"))')[0]"""),
        (parse("3*raise(OSError(2, 'x'))")[0], """3 * parse('raise(OSError(2, "x"))')[0]"""),
        (parse('call("a:b")')[0], """parse('call("a:b")')[0]"""),
        (Panic("x") >> Print("y") >> Panic(), "Panic('x') >> Print('y') >> Panic()"),
        (Sleep(1) >> Delay(2) >> Pause(3) >> Exit(4), "Sleep(1.0) >> Delay(2.0) >> Pause(3.0) >> Exit(4)"),
        (Return("x" * 300), f"Return({'x' * 300!r})"),
        (Count(3), "Count(3)"),
        (Chance(0.5), "Chance(0.5)"),
    ],
)
def test_repr(terms: object, shown: str) -> None:
    assert repr(terms) == shown


class Number(enum.IntEnum):
    ONE = 1


def with_cause() -> Exception:
    error = ValueError("x")
    error.__cause__ = KeyError()
    return error


def with_attribute() -> Exception:
    error = ValueError("x")
    error.code = 3  # type: ignore[attr-defined]
    return error


def with_slot() -> Exception:
    error = SlottedError("x")
    error.code = 3
    return error


def local_class() -> type[Exception]:
    class LocalError(Exception):
        pass

    return LocalError


class StrangerError(Exception):
    __qualname__ = "ConflictError"  # what is found there is another class


class NowhereError(Exception):
    __module__ = "no.such.module"


OBJECT = object()
# Without types, to be given what the types forbid.
loose: Any = failpy
LOOSE_TERMS: Any = Terms


@pytest.mark.parametrize(
    "term",
    [
        Return(OBJECT),
        Return(math.nan),
        Return(Number.ONE),
        Return((1,)),
        Return([OBJECT]),
        Raise(ValueError(OBJECT)),
        Raise(CustomError("x")),
        Raise(MadeError("x")),
        Raise(BuiltError("x")),
        Raise(OSError(2, "x", "file")),
        Raise(ImportError("x", name="y")),
        Raise(with_cause()),
        Raise(with_attribute()),
        Raise(with_slot()),
        Raise(local_class()),
        Raise(local_class()()),
        Raise(StrangerError),
        Raise(NowhereError),
        Raise(ExceptionGroup("x", [ValueError()])),
        Call(lambda _: None),
        Call(OBJECT.__repr__),
        Call(str.upper),
        Call(type("Callable", (), {"__call__": handler})()),
        Print("\ud800"),
        Panic("\ud800"),
    ],
    ids=range(25),
)
def test_what_no_text_says_is_shown_and_cannot_be_read(term: Term) -> None:
    assert term.text is None
    assert (Off() >> term).text is None
    shown = str(3 * term)
    assert shown.startswith(f"3*{term.action}(<")
    assert shown.endswith(">)")
    assert repr(term).startswith(f"{type(term).__name__}(")
    with pytest.raises(failpy.TermSyntaxError, match="give the term as an object"):
        parse(shown)


def test_an_exception_that_refuses_its_own_args_has_no_text() -> None:
    error = UnicodeEncodeError("ascii", "x", 0, 1, "why")
    assert Raise(error).text is not None
    error.args = ("ascii",)
    assert Raise(error).text is None


def test_a_note_does_not_take_the_text_away() -> None:
    error = ValueError("x")
    error.add_note("injected")
    assert Raise(error).text == 'raise(ValueError("x"))'


def test_each_hit_gets_a_copy_of_a_value_from_text() -> None:
    term: Any = 3 * parse("return([{'a': [1]}])")[0]
    first = term.fresh()
    first[0]["a"].append(2)
    assert term.fresh() == term.value == [{"a": [1]}]


def test_each_hit_gets_the_very_object_that_was_given() -> None:
    value: list[int] = []
    assert (3 * Return(value)).fresh() is value


def test_a_bare_return_is_not_the_same_as_one_of_none() -> None:
    assert Return().value is None
    assert Return().bare
    assert not Return(None).bare
    assert Return() != Return(None)


def test_raise_makes_a_new_exception_of_a_class_and_keeps_an_instance() -> None:
    error = KeyError("k")
    assert Raise(error).make() is error
    made = Raise(KeyError).make()
    assert type(made) is KeyError
    assert Raise(KeyError).make() is not made
    assert type(Raise().make()) is Injected


def test_raise_says_when_a_class_takes_arguments() -> None:
    with pytest.raises(TypeError, match=r"give what it takes, or an instance: Raise\(CustomError") as caught:
        Raise(CustomError).make()
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: loose.Raise("x"), TypeError, r"give Injected\('x'\)"),
        (lambda: loose.Raise(int), TypeError, "an exception class or instance, not <class 'int'>"),
        (lambda: loose.Raise(None), TypeError, "not None"),
        (lambda: loose.Panic(3), TypeError, "the message of Panic must be a string, not 3"),
        (lambda: loose.Print(3), TypeError, "the message of Print must be a string, not 3"),
        (lambda: loose.Sleep("10"), TypeError, r"in text it is sleep\(10\)"),
        (lambda: loose.Sleep(None), TypeError, "not None"),
        (lambda: loose.Sleep(True), TypeError, "not True"),
        (lambda: loose.Sleep(-1), ValueError, "not -1"),
        (lambda: loose.Sleep(math.nan), ValueError, "not nan"),
        (lambda: loose.Sleep(math.inf), ValueError, "not inf"),
        (lambda: loose.Sleep(10**400), ValueError, "292 years"),
        (lambda: loose.Delay(-1), ValueError, "Delay takes from 0"),
        (lambda: loose.Delay(1j), TypeError, "Delay takes a number of seconds"),
        (lambda: loose.Pause(None), TypeError, "nothing waits for ever"),
        (lambda: loose.Pause(0), ValueError, "more than 0"),
        (lambda: loose.Pause(-1), ValueError, "Pause takes from 0"),
        (lambda: loose.Exit("1"), TypeError, "not '1'"),
        (lambda: loose.Exit(True), TypeError, "not True"),
        (lambda: loose.Exit(256), ValueError, "between 0 and 255"),
        (lambda: loose.Exit(-1), ValueError, "between 0 and 255"),
        (lambda: loose.Call("os:getpid"), TypeError, r"in text it is call\('os:getpid'\)"),
        (lambda: loose.Call(3), TypeError, "not 3: give a function"),
        (lambda: 1.5 * loose.Off(), TypeError, "a count must be an integer, not 1.5"),
        (lambda: True * loose.Off(), TypeError, "not True"),
        (lambda: "x" * loose.Off(), TypeError, "not 'x'"),
        (lambda: -1 * loose.Off(), ValueError, "between 0 and 2"),
        (lambda: 2**63 * loose.Off(), ValueError, "between 0 and 2"),
        (lambda: loose.Off().chance(True), TypeError, "not True"),
        (lambda: loose.Off().chance("50"), TypeError, "not '50'"),
        (lambda: loose.Off().chance(50), ValueError, "50% is 0.5"),
        (lambda: loose.Off().chance(-0.1), ValueError, "between 0 and 1"),
        (lambda: loose.Off().chance(math.nan), ValueError, "not nan"),
        (lambda: loose.Off() >> "off", TypeError, "unsupported operand"),
        (lambda: (loose.Off() >> loose.Off()) >> 3, TypeError, "unsupported operand"),
        (lambda: LOOSE_TERMS([]), ValueError, "at least one term"),
        (lambda: LOOSE_TERMS("off"), TypeError, "not 'o'"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(make: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make()


def test_a_chain_is_a_sequence() -> None:
    a, b, c = 2 * Off(), Panic(), Return(1)
    chain = a >> b >> c
    assert list(chain) == [a, b, c]
    assert (len(chain), chain[0], chain[-1], chain[1:]) == (3, a, c, (b, c))
    assert b in chain
    assert a >> (b >> c) == chain == (a >> b) >> c
    assert (a >> b) >> (c >> a) == Terms([a, b, c, a])


def test_modifiers_are_to_the_left_of_those_there_are() -> None:
    term = Off()
    assert (3 * term.chance(0.5)).modifiers == (Count(3), Chance(0.5))
    assert (3 * term).chance(0.5).modifiers == (Chance(0.5), Count(3))
    assert term.modifiers == ()


class Same:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same)

    __hash__ = None  # type: ignore[assignment]


class Array:
    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


ARRAY = Array()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Return(1), Return(1)),
        (Return([1]), Return([1])),
        (Return(Same()), Return(Same())),
        (Return(ARRAY), Return(ARRAY)),
        (Raise(KeyError("k")), Raise(KeyError("k"))),
        (Raise(KeyError("k")), parse('raise(KeyError("k"))')[0]),
        (Raise(ConflictError), parse("raise(tests.test_terms.ConflictError)")[0]),
        (Call(handler), parse('call("tests.test_terms:handler")')[0]),
        (Sleep(1), Sleep(1.0)),
        (3 * Off(), 3 * Off()),
        (Terms([Off()]), parse("off")),
    ],
)
def test_equal_terms_have_equal_hashes(one: object, other: object) -> None:
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Return(1), Return(True)),
        (Return(1), Return(1.0)),
        (Return(1), Return(Number.ONE)),
        (Return(0.0), Return(-0.0)),
        (Return((1,)), Return((2,))),
        (Return({1}), Return(frozenset({1}))),
        (Return(Array()), Return(Array())),
        (Return(Same()), Return(OBJECT)),
        (Raise(KeyError), Raise(KeyError())),
        (Raise(CustomError("x")), Raise(CustomError("x"))),
        (Panic("x"), Print("x")),
        (Panic("1"), Return("1")),
        (3 * Off(), Off()),
        (3 * Off(), Off().chance(1)),
        (Off(), Terms([Off()])),
        (Terms([Off()]), [Off()]),
        (Off(), "off"),
        (Count(1), 1),
        (Count(1), Chance(1)),
        (Chance(1), 1.0),
    ],
)
def test_different_terms(one: object, other: object) -> None:
    assert one != other


@settings(deadline=None)
@given(TERMS, TERMS)
def test_terms_are_equal_just_when_their_texts_are(one: Term, other: Term) -> None:
    assume(one.text is not None)
    assert (one == other) is (one.text == other.text)


def test_the_hash_of_a_term_outlives_a_change_of_its_value() -> None:
    value: list[int] = []
    term = Return(value)
    before = hash(term)
    value.append(1)
    assert hash(term) == before


@pytest.mark.parametrize("thing", [Off(), 3 * Return([1]), Off() >> Panic("x"), Count(1), Chance(0.5)])
def test_a_term_cannot_be_changed_and_can_be_copied(thing: Any) -> None:
    for name in ("modifiers", "value", "new"):
        with pytest.raises(AttributeError, match="make a new one"):
            setattr(thing, name, 1)
        with pytest.raises(AttributeError, match="make a new one"):
            delattr(thing, name)
    for twin in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
        assert twin == thing


def test_terms_from_text_can_be_pickled_too() -> None:
    chain = parse('raise(a.b.C(1))->call("a:b")->return([1])')
    assert pickle.loads(pickle.dumps(chain)) == chain


def test_subclasses_of_numbers_and_strings_become_plain() -> None:
    class Odd(str):
        __slots__ = ()

        def __str__(self) -> str:
            raise AssertionError

    assert type(Exit(Number.ONE).code) is int
    assert type(Count(Number.ONE).count) is int
    assert type(Print(Odd("x")).msg) is str
