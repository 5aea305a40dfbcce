"""The faults of a point, and terms that inject them at exactly the chosen hits."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failpy import fail, failpoint, parse
from failpy._faults import at_hit, faults_of, schedule_terms, span
from failpy._schedule import Schedule


@failpoint("faults.point")
def reach() -> str:
    return "passed"


def texts(name: str) -> list[str]:
    return [str(fault) for fault in faults_of(name)]


@pytest.mark.parametrize(
    ("returns", "faults"),
    [
        (None, []),
        (bool, ["return(False)", "return(True)"]),
        (int, ["return(0)", "return(-1)"]),
        (float, ["return(0.0)", "return(-1.0)"]),
        (str, ['return("")']),
        (list, ["return([])"]),
        (dict[str, int], ["return({})"]),
        (str | None, ['return("")', "return(None)"]),
        (bytes, []),
        (Sequence, []),
        (Any, ["return(None)"]),
    ],
)
def test_a_point_without_a_catalogue_raises_and_returns_what_its_type_allows(
    name: str, returns: Any, faults: list[str]
) -> None:
    failpoint(name, returns=returns)(lambda: None)
    assert texts(name) == ["raise", *faults]
    for fault in faults_of(name):
        assert fault.text is not None
        with fail.scope({name: fault}, strict=False):
            pass


def test_a_catalogue_is_taken_as_it_is(name: str) -> None:
    failpoint(name, returns=int, faults=("2*raise(EAGAIN)", OSError(28, "full")))(lambda: 1)
    assert texts(name) == ["2*raise(EAGAIN)", 'raise(OSError(28, "full"))']


def test_a_point_that_nobody_declared_has_no_faults() -> None:
    with pytest.raises(fail.UnknownFailpoint, match="did you mean 'faults.point'"):
        faults_of("faults.poimt")


def test_each_hit_gets_a_list_of_its_own(name: str) -> None:
    items = failpoint(name, returns=list)(lambda: [1])
    with fail.scope({name: faults_of(name)[1]}):
        items().append(2)
        assert items() == []


def fault(text: str) -> fail.Terms:
    return parse(text)


@pytest.mark.parametrize(
    ("hits", "terms"),
    [
        ({1: "raise"}, "1*raise"),
        ({3: "raise(ENOSPC)"}, "2*off->1*raise(ENOSPC)"),
        (
            {2: "raise(ENOSPC)", 3: "raise(EIO)", 5: "return"},
            "1*off->1*raise(ENOSPC)->1*raise(EIO)->1*off->1*return",
        ),
        ({5: "raise", 1: "return"}, "1*return->3*off->1*raise"),
        ({2: "2*raise(EAGAIN)"}, "1*off->2*raise(EAGAIN)"),
        ({1: "2*raise(EAGAIN)", 2: "return", 3: "panic"}, "2*raise(EAGAIN)->1*return->1*panic"),
        ({1: "1*off->raise"}, "1*off->1*raise"),
        ({2: "2*raise->return", 4: "panic"}, "1*off->2*raise->1*return->1*panic"),
        ({1: "50%raise"}, "1*raise"),
        ({1: "3*50%2*raise"}, "2*raise"),
        ({1: "0*raise"}, "off"),
        ({1: "0*raise", 3: "raise"}, "2*off->1*raise"),
    ],
)
def test_schedule_terms(hits: dict[int, str], terms: str) -> None:
    made = schedule_terms({nth: parse(text) for nth, text in hits.items()})
    assert made.text == terms
    assert parse(terms) == made


def test_at_hit() -> None:
    assert at_hit(1, parse("raise")).text == "1*raise"
    assert at_hit(3, parse("raise(ENOSPC)")).text == "2*off->1*raise(ENOSPC)"


@pytest.mark.parametrize("nth", [True, 1.0, "1", None])
def test_the_number_of_a_hit_is_an_integer(nth: Any) -> None:
    with pytest.raises(TypeError, match="must be an integer"):
        at_hit(nth, parse("raise"))


@pytest.mark.parametrize("nth", [0, -1])
def test_the_first_hit_is_1(nth: int) -> None:
    with pytest.raises(ValueError, match="the first hit is 1"):
        at_hit(nth, parse("raise"))


def test_there_is_at_least_one_hit() -> None:
    with pytest.raises(ValueError, match="at least one hit"):
        schedule_terms({})


def seen(terms: fail.Terms | str, hits: int) -> list[str]:
    """What each hit came to."""
    results = []
    with fail.scope({"faults.point": terms}, strict=False):
        for _ in range(hits):
            try:
                results.append(reach())
            except Exception as error:
                results.append(str(error))
    return results


def raising(label: object) -> fail.Terms:
    return parse(f'raise(ValueError("{label}"))')


@settings(max_examples=80, deadline=None)
@given(st.sets(st.integers(1, 12)).filter(bool))
def test_exactly_the_chosen_hits_fire(hits: set[int]) -> None:
    terms = schedule_terms({nth: raising(nth) for nth in hits})
    expected = [str(nth) if nth in hits else "passed" for nth in range(1, 15)]
    assert seen(terms, 14) == expected
    assert seen(str(terms), 14) == expected


LENGTHS = st.lists(st.integers(0, 3), min_size=1, max_size=3)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.integers(1, 8), LENGTHS, min_size=1, max_size=4))
def test_faults_of_any_length_come_in_order_and_whole(hits: dict[int, list[int]]) -> None:
    chains = {
        nth: parse("->".join(f'{count}*raise(ValueError("{nth}.{i}"))' for i, count in enumerate(counts)))
        for nth, counts in hits.items()
    }
    expected: list[str] = []
    for nth in sorted(hits):
        assert span(chains[nth]) == sum(hits[nth])
        if sum(hits[nth]):
            expected += ["passed"] * (nth - 1 - len(expected))
        expected += [f"{nth}.{i}" for i, count in enumerate(hits[nth]) for _ in range(count)]
    terms = schedule_terms(chains)
    assert terms.text is not None
    assert seen(terms.text, 60) == expected + ["passed"] * (60 - len(expected))


def test_a_schedule_is_a_mapping() -> None:
    schedule = Schedule({"a": "1*raise", "b": fail.Return(1)})
    assert list(schedule) == ["a", "b"]
    assert len(schedule) == 2
    assert schedule["b"] == parse("return(1)")
    assert schedule.text == str(schedule) == "a=1*raise;b=return(1)"
    assert repr(schedule) == "Schedule('a=1*raise;b=return(1)')"
    assert eval(repr(schedule)) == schedule == Schedule("b=return(1);a=1*raise")
    assert hash(schedule) == hash(Schedule("b=return(1);a=1*raise"))
    assert schedule != Schedule("a=1*raise")
    assert schedule != {"a": "1*raise"}
    assert pickle.loads(pickle.dumps(schedule)) == copy.deepcopy(schedule) == schedule


def test_an_empty_schedule() -> None:
    assert not Schedule()
    assert Schedule().text == str(Schedule("")) == ""
    assert repr(Schedule({})) == "Schedule()"
    with fail.scope(Schedule()) as scope:
        assert reach() == "passed"
    assert scope.trace == []


def test_a_schedule_does_not_change() -> None:
    schedule = Schedule("a=1*raise")
    with pytest.raises(AttributeError, match="cannot be changed"):
        schedule.other = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        schedule.text = "b=raise"  # type: ignore[misc]


def test_a_schedule_says_honestly_what_text_cannot() -> None:
    class Thing:
        def __repr__(self) -> str:
            return "<a thing>"

    schedule = Schedule({"a": 1 * fail.Return(Thing())})
    assert schedule.text is None
    assert str(schedule) == "a=1*return(<a thing>)"
    assert repr(schedule) == "Schedule({'a': Terms([1 * Return(<a thing>)])})"
    typed = Schedule({"a": 1 * fail.Return((1, 2))})
    assert eval(repr(typed), vars(fail) | {"Schedule": Schedule}) == typed


@pytest.mark.parametrize(
    ("terms", "error"),
    [("a=retrun", fail.TermSyntaxError), ({"a b": "raise"}, fail.InvalidName), (3, TypeError)],
)
def test_a_schedule_of_nonsense(terms: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Schedule(terms)


def test_a_strict_scope_lets_a_schedule_be() -> None:
    with fail.scope(Schedule("faults.point=5*off->1*raise")):
        reach()
    with pytest.raises(fail.NeverFired), fail.scope("faults.point=5*off->1*raise"):
        reach()
    with pytest.raises(fail.UnknownFailpoint), fail.scope(Schedule("faults.poimt=1*raise")):
        reach()
