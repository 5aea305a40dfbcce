"""What is said of terms, and that it is what they do."""

from __future__ import annotations

import re
from collections import Counter
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failpy import Call, Panic, Print, Raise, Return, Sleep, Term, Terms, fail, parse
from failpy._explain import Range, explain, ranges


class Odd(Exception):
    pass


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        # actions
        ("off", ["every hit: pass"]),
        ("return", ["every hit: return, without a value"]),
        ("return(None)", ["every hit: return None"]),
        ('return("x")', ['every hit: return "x"']),
        ("return([1, {'a': true}])", ['every hit: return [1, {"a": True}]']),
        ("raise", ["every hit: raise Injected"]),
        ("raise(KeyError)", ["every hit: raise KeyError"]),
        ('raise(ValueError("boom"))', ['every hit: raise ValueError("boom")']),
        ("raise(shop.errors.Conflict(code=3))", ["every hit: raise shop.errors.Conflict(code=3)"]),
        ("raise(ENOSPC)", ["every hit: raise OSError ENOSPC (No space left on device)"]),
        ("panic", ["every hit: raise FailpointPanic, which `except Exception` does not catch"]),
        ("panic('x')", ['every hit: raise FailpointPanic("x"), which `except Exception` does not catch']),
        ("sleep(0)", ["every hit: sleep 0 ms, then go on"]),
        ("sleep(10)", ["every hit: sleep 10 ms, then go on"]),
        ("sleep(100us)", ["every hit: sleep 0.1 ms, then go on"]),
        ("sleep(1500)", ["every hit: sleep 1.5 s, then go on"]),
        ("sleep(90.5s)", ["every hit: sleep 90.5 s, then go on"]),
        ("delay(1m30s)", ["every hit: keep the CPU busy for 1 min 30 s, then go on"]),
        ("pause", ["every hit: pause until resumed, and raise PauseTimeout after 1 min"]),
        ("pause(2h5s)", ["every hit: pause until resumed, and raise PauseTimeout after 2 h 5 s"]),
        ("print", ["every hit: print the name of the point, then go on"]),
        ("print('here')", ['every hit: print the name of the point and "here", then go on']),
        ("yield", ["every hit: give up the turn once, then go on"]),
        ("break", ["every hit: call breakpoint(), then go on"]),
        ("exit(3)", ["hit 1: end the process at once, with status 3"]),
        ("kill", ["hit 1: kill the process at once"]),
        ('call("os:getpid")', ["every hit: call os:getpid, and return what it returns, unless that is None"]),
        # counts
        (
            "2*off->1*raise(ENOSPC)",
            [
                "hits 1 and 2: pass",
                "hit 3: raise OSError ENOSPC (No space left on device)",
                "from hit 4 on: pass",
            ],
        ),
        ("3*return", ["hits 1 to 3: return, without a value", "from hit 4 on: pass"]),
        ("1*off->raise", ["hit 1: pass", "from hit 2 on: raise Injected"]),
        ("3*2*raise", ["hits 1 and 2: raise Injected", "from hit 3 on: pass"]),
        ("2*3*raise", ["hits 1 and 2: raise Injected", "from hit 3 on: pass"]),
        ("0*raise", ["every hit: pass", "never: `0*raise`, because of its modifiers"]),
        (
            "0*raise->1*off->raise",
            ["hit 1: pass", "from hit 2 on: raise Injected", "never: `0*raise`, because of its modifiers"],
        ),
        (
            "raise->off->0*off",
            [
                "every hit: raise Injected",
                "never: `off`, because `raise` before it acts on every hit that comes to it",
                "never: `0*off`, because `raise` before it acts on every hit that comes to it",
            ],
        ),
        (
            "1*off->2*kill->raise",
            [
                "hit 1: pass",
                "hit 2: kill the process at once",
                "never: `raise`, because `2*kill` before it ends the process",
            ],
        ),
        # chances
        ("100%raise", ["every hit: raise Injected"]),
        ("0%raise", ["every hit: pass", "never: `0%raise`, because of its modifiers"]),
        ("50%raise", ["every hit, with a chance of 50%: raise Injected", "otherwise: pass"]),
        ("0.5%raise", ["every hit, with a chance of 0.5%: raise Injected", "otherwise: pass"]),
        ("3*50%raise", ["hits 1 to 3, with a chance of 50%: raise Injected", "otherwise: pass"]),
        ("1*50%raise", ["hit 1, with a chance of 50%: raise Injected", "otherwise: pass"]),
        (
            "50%3*raise",
            ["every hit, with a chance of 50%, at most 3 times: raise Injected", "otherwise: pass"],
        ),
        ("50%1*raise", ["every hit, with a chance of 50%, at most once: raise Injected", "otherwise: pass"]),
        ("3*50%3*raise", ["hits 1 to 3, with a chance of 50%: raise Injected", "otherwise: pass"]),
        (
            "5*50%3*20%2*raise",
            [
                (
                    "hits 1 to 5, with a chance of 50%, of those the first 3, with a chance of 20%, "
                    "at most 2 times: raise Injected"
                ),
                "otherwise: pass",
            ],
        ),
        (
            "2*off->0*off->50%raise->sleep(10)->off",
            [
                "hits 1 and 2: pass",
                "from hit 3 on, with a chance of 50%: raise Injected",
                "otherwise: sleep 10 ms, then go on",
                "never: `0*off`, because of its modifiers",
                "never: `off`, because `sleep(10)` before it acts on every hit that comes to it",
            ],
        ),
        (
            "2*off->3*50%raise->0%off->1*off->2*print->20%return",
            [
                "hits 1 and 2: pass",
                "hits 3 to 5, with a chance of 50%: raise Injected",
                "otherwise, the first time: pass",
                "otherwise, the first 2 times: print the name of the point, then go on",
                "otherwise, with a chance of 20%: return, without a value",
                "otherwise: pass",
                "never: `0%off`, because of its modifiers",
            ],
        ),
        (
            "50%off->2*exit->raise",
            [
                "every hit, with a chance of 50%: pass",
                "otherwise: end the process at once, with status 1",
                "never: `raise`, because `2*exit` before it ends the process",
            ],
        ),
        (
            "50%kill->raise",
            ["every hit, with a chance of 50%: kill the process at once", "otherwise: raise Injected"],
        ),
    ],
)
def test_words(text: str, lines: list[str]) -> None:
    assert explain(parse(text)) == lines


@pytest.mark.parametrize(
    ("term", "line"),
    [
        (Return((1, 2)), "every hit: return <(1, 2)>"),
        (Raise(KeyError("x")), 'every hit: raise KeyError("x")'),
        (Raise(Odd), f"every hit: raise {__name__}.Odd"),
        (Raise(Odd(object)), "every hit: raise <Odd(<class 'object'>)>"),
        (Sleep(0.1), "every hit: sleep 100 ms, then go on"),
        (Call(len), "every hit: call builtins:len, and return what it returns, unless that is None"),
        (Print("\ud800"), r"every hit: print the name of the point and <'\ud800'>, then go on"),
        (
            Panic("\ud800"),
            r"every hit: raise FailpointPanic(<'\ud800'>), which `except Exception` does not catch",
        ),
    ],
)
def test_words_of_typed_terms(term: Term, line: str) -> None:
    assert explain(Terms([term])) == [line]


def test_words_of_a_callable_without_a_text() -> None:
    (line,) = explain(Terms([Call(lambda hit: None)]))
    assert line.startswith("every hit: call <function ")
    assert line.endswith("and return what it returns, unless that is None")


counts = st.lists(st.integers(0, 4), max_size=3).map(lambda each: "".join(f"{count}*" for count in each))
actions = st.sampled_from(["off", "return(1)", "return(2)", "yield"])
chains = st.lists(st.builds(str.__add__, counts, actions), min_size=1, max_size=6).map("->".join)


@settings(deadline=None)
@given(chains)
def test_the_ranges_are_what_happens(text: str) -> None:
    """Failpy evaluates the chain, and each hit is due to the term that its range says."""
    terms = parse(text)
    said = ranges(terms)
    assert said[0].first == 1
    assert [each.first for each in said[1:]] == [(each.last or 0) + 1 for each in said[:-1]]
    assert said[-1].last is None
    point = fail.point("explain.ranges", returns=int)
    with fail.scope({"explain.ranges": text}, strict=False) as scope:
        for _ in range(30):
            point.hit()
        trace = scope.trace
    for entry in trace:
        (due,) = [
            each for each in said if each.first <= entry.nth and (each.last is None or entry.nth <= each.last)
        ]
        assert entry.term == ("" if due.step is None else str(terms[due.step]))


@settings(deadline=None)
@given(chains)
def test_each_range_is_a_line_and_each_other_term_is_named(text: str) -> None:
    terms = parse(text)
    lines = explain(terms)
    said = ranges(terms)
    assert len(list(takewhile(lambda line: not line.startswith("never"), lines))) == len(said)
    due = {each.step for each in said}
    idle = [f"never: `{term}`, because" for i, term in enumerate(terms) if i not in due]
    assert [line.partition(" because")[0] + " because" for line in lines[len(said) :]] == idle


modifiers = st.lists(st.sampled_from(["0*", "1*", "2*", "3*", "0%", "50%", "100%"]), max_size=3).map("".join)
chancy = st.lists(st.builds(str.__add__, modifiers, actions), min_size=1, max_size=4).map("->".join)


@settings(deadline=None)
@given(chancy, st.integers(0, 100))
def test_what_is_said_to_be_certain_is_and_what_never_acts_does_not(text: str, seed: int) -> None:
    terms = parse(text)
    said = ranges(terms)
    lines = explain(terms)
    point = fail.point("explain.chancy", returns=int)
    with fail.scope({"explain.chancy": text}, strict=False, seed=seed) as scope:
        for _ in range(20):
            point.hit()
        trace = scope.trace
    acted = {entry.term for entry in trace}
    never = Counter(line.split("`")[1] for line in lines if line.startswith("never"))
    assert acted - {""} <= set(Counter(map(str, terms)) - never)
    for entry in trace:
        for due in said:
            if due.first <= entry.nth and (due.last is None or entry.nth <= due.last):
                assert entry.term == ("" if due.step is None else str(terms[due.step]))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["1*", "2*", "3*", "5*", "60%", "90%"]), min_size=1).map("".join),
    st.integers(0, 100),
)
def test_limits_that_are_said_are_kept(modifiers: str, seed: int) -> None:
    first = explain(parse(f"{modifiers}return(1)"))[0]
    last = re.match(r"hits? (?:1(?: and| to) )?(\d+)", first)
    most = re.search(r"at most (\w+)", first)
    point = fail.point("explain.limits", returns=int)
    with fail.scope({"explain.limits": f"{modifiers}return(1)"}, strict=False, seed=seed):
        fired = [bool(point.hit()) for _ in range(30)]
    if last:
        assert not any(fired[int(last[1]) :])
    if most:
        assert sum(fired) <= (1 if most[1] == "once" else int(most[1]))
    if "chance" not in first:
        assert last is not None
        assert all(fired[: int(last[1])])
    assert any(fired) or "chance" in first


def test_ranges_stop_at_chance_and_at_the_end_of_the_process() -> None:
    assert ranges(parse("2*off->50%raise->off")) == [Range(1, 2, 0)]
    assert ranges(parse("50%raise")) == []
    assert ranges(parse("1*off->3*exit->off")) == [Range(1, 1, 0), Range(2, 2, 1)]
