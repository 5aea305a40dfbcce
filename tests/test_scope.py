"""`fail.scope`: what it reaches, how it nests, and how it ends."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from failpy import fail, failpoint
from failpy._config import config
from failpy._registry import armed


@failpoint("scope.greet", returns=str)
def greet() -> str:
    return "body"


async def agreet() -> str:
    await asyncio.sleep(0)
    return greet()


GREET = "scope.greet"


def test_terms_as_a_mapping_and_as_a_text() -> None:
    with fail.scope({GREET: 'return("a")'}):
        assert greet() == "a"
    with fail.scope(f'{GREET}=return("b")'):
        assert greet() == "b"
    with fail.scope({GREET: 2 * fail.Return("c") >> fail.Raise(KeyError("k"))}):
        assert [greet(), greet()] == ["c", "c"]
        with pytest.raises(KeyError):
            greet()
    assert greet() == "body"


def test_the_innermost_scope_that_arms_the_name_decides(name: str) -> None:
    with fail.scope({GREET: 'return("outer")'}):
        with fail.scope({name: "off"}):
            assert greet() == "outer"
            with fail.scope({GREET: 'return("inner")'}):
                assert greet() == "inner"
            fail.point(name)
        assert greet() == "outer"


def test_off_masks_the_outer_scope() -> None:
    with fail.scope({GREET: 'return("outer")'}):
        assert greet() == "outer"
        with fail.scope({GREET: "off"}):
            assert greet() == "body"
        with fail.scope({GREET: '1*return("inner")'}):
            # A chain that is used up lets execution pass; it does not fall through to the outer scope.
            assert [greet(), greet()] == ["inner", "body"]


def test_the_process_scope_is_outermost() -> None:
    fail.enable(GREET, 'return("process")')
    with fail.scope({GREET: 'return("scope")'}):
        assert greet() == "scope"
    assert greet() == "process"


def test_enable_disable_and_read() -> None:
    with fail.scope() as scope:
        assert scope.points() == []
        scope.enable(GREET, '1*return("a")')
        assert greet() == "a"
        assert greet() == "body"
        status = scope.status(GREET)
        assert (status.name, status.terms, status.hits, status.fired, status.selected, status.paused) == (
            GREET, '1*return("a")', 2, 1, 1, 0,
        )  # fmt: skip
        assert status.returns is str
        assert any(site.startswith(__file__) for site in status.sites)
        assert [each.name for each in scope.points()] == [GREET]
        scope.enable(GREET, 'return("b")')
        assert scope.status(GREET).hits == 0  # counts belong to what is enabled
        assert greet() == "b"
        scope.disable(GREET)
        scope.disable(GREET)
        assert scope.status(GREET).terms == ""
        assert greet() == "body"
    assert fail.status(GREET).hits == 0


def test_status_and_trace_can_be_read_after_the_scope_has_closed() -> None:
    with fail.scope({GREET: '1*off->1*return("a")'}) as scope:
        for _ in range(3):
            greet()
    assert scope.status(GREET).fired == 1
    assert [(entry.point, entry.nth, entry.term, entry.action) for entry in scope.trace] == [
        (GREET, 1, "1*off", "off"),
        (GREET, 2, '1*return("a")', "return"),
        (GREET, 3, "", None),
    ]
    assert {entry.thread for entry in scope.trace} == {threading.current_thread().name}
    assert scope.trace[0].task is None


def test_current_scope() -> None:
    assert fail.current_scope() is None
    with fail.scope() as outer:
        with fail.scope() as inner:
            assert fail.current_scope() is inner
        assert fail.current_scope() is outer
    assert fail.current_scope() is None


# --- opening and closing ---


def test_nothing_is_armed_when_one_of_the_terms_is_refused(name: str) -> None:
    fail.point(f"{name}.int", returns=int)
    with pytest.raises(fail.ReturnTypeError):
        fail.scope({GREET: 'return("a")', f"{name}.int": 'return("x")'}).__enter__()
    assert armed() == {}
    assert greet() == "body"


def test_malformed_terms_are_refused_when_the_scope_is_made() -> None:
    with pytest.raises(fail.TermSyntaxError):
        fail.scope({GREET: "5*"})
    with pytest.raises(fail.TermSyntaxError):
        fail.scope("scope.greet")
    with pytest.raises(fail.InvalidName):
        fail.scope({"a;b": "off"})


@pytest.mark.parametrize("bad", [5, ["A=off"], b"A=off"])
def test_terms_of_a_wrong_type(bad: Any) -> None:
    with pytest.raises(TypeError, match="terms must be a mapping"):
        fail.scope(bad)


@pytest.mark.parametrize("bad", [5, None, KeyError, KeyError("k"), print, b"off"])
def test_a_chain_of_a_wrong_type(bad: Any) -> None:
    with pytest.raises(TypeError):
        fail.scope({GREET: bad})
    with pytest.raises(TypeError):
        fail.enable(GREET, bad)


@pytest.mark.parametrize("bad", ["1", 1.5, True])
def test_a_seed_is_a_whole_number(bad: Any) -> None:
    with pytest.raises(TypeError, match="seed"):
        fail.scope(seed=bad)


def test_a_predicate_is_callable() -> None:
    with fail.scope() as scope, pytest.raises(TypeError, match="when must be a callable"):
        scope.enable(GREET, "off", when=5)  # type: ignore[arg-type]


def test_entered_twice() -> None:
    scope = fail.scope({GREET: "off"})
    with scope, pytest.raises(fail.ScopeError, match="already been entered"):
        scope.__enter__()
    with pytest.raises(fail.ScopeError, match="already been entered"):
        scope.__enter__()
    with pytest.raises(fail.ScopeError, match="cannot decorate"):
        scope(greet)
    assert armed() == {}


def test_used_before_it_is_open_and_after_it_has_closed() -> None:
    scope = fail.scope()
    for use in (lambda: scope.enable(GREET, "off"), lambda: scope.disable(GREET)):
        with pytest.raises(fail.ScopeError, match="not open"):
            use()
    with scope:
        pass
    for use in (lambda: scope.enable(GREET, "off"), lambda: scope.disable(GREET)):
        with pytest.raises(fail.ScopeError, match="closed"):
            use()
    assert armed() == {}


def test_a_scope_closed_while_another_thread_arms_it_stays_closed(name: str) -> None:
    """`enable` looks at the scope again once it holds the lock."""
    scope = fail.scope(strict=False)
    scope.__enter__()
    resolving, closed = threading.Event(), threading.Event()

    class Slow(dict[str, Any]):
        pass

    def late() -> None:
        from failpy import _arming

        original = _arming.resolve

        def resolve(*args: Any, **kwargs: Any) -> None:
            resolving.set()
            closed.wait(10)
            original(*args, **kwargs)

        _arming.resolve = resolve
        try:
            with pytest.raises(fail.ScopeError, match="closed"):
                scope.enable(GREET, "off")
        finally:
            _arming.resolve = original

    thread = threading.Thread(target=late)
    thread.start()
    assert resolving.wait(10)
    scope.__exit__(None, None, None)
    closed.set()
    thread.join()
    assert armed() == {}


def test_exit_in_a_foreign_context() -> None:
    scope = fail.scope({GREET: 'return("a")'})
    home, foreign = contextvars.copy_context(), contextvars.copy_context()
    home.run(scope.__enter__)
    assert home.run(greet) == "a"
    assert foreign.run(greet) == "body"
    foreign.run(scope.__exit__, None, None, None)
    assert home.run(greet) == "body"  # inert, though the context still holds it
    assert home.run(fail.current_scope) is None

    def reuse() -> None:
        with fail.scope({GREET: 'return("b")'}):
            assert greet() == "b"

    home.run(reuse)


def test_closed_scopes_do_not_pile_up_in_a_context() -> None:
    context = contextvars.copy_context()
    for _ in range(3):
        scope = fail.scope()
        context.run(scope.__enter__)
        scope.__exit__(None, None, None)  # in another context, so that the first keeps it
        assert scope.parent is not None
        assert scope.parent.parent is None


def test_exceptions_of_the_block_pass_through() -> None:
    with pytest.raises(ZeroDivisionError):
        with fail.scope({GREET: 'return("never")'}):
            1 / 0  # noqa: B018
    assert armed() == {}


def test_a_scope_that_was_never_closed_warns_and_disarms() -> None:
    context = contextvars.copy_context()
    context.run(fail.scope({GREET: 'return("a")'}).__enter__)
    assert context.run(greet) == "a"
    with pytest.warns(ResourceWarning, match="never closed"):
        del context
        gc.collect()
    assert armed() == {}


# --- tasks ---


@pytest.mark.anyio
async def test_arming_reaches_a_task_that_has_started() -> None:
    go = asyncio.Event()

    async def work() -> str:
        await go.wait()
        return greet()

    async with fail.scope() as scope:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        scope.enable(GREET, 'return("late")')
        go.set()
        assert await task == "late"


@pytest.mark.anyio
async def test_a_task_that_outlives_the_scope_is_left_alone() -> None:
    go = asyncio.Event()

    async def work() -> str:
        await go.wait()
        return greet()

    async with fail.scope({GREET: 'return("a")'}):
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        assert greet() == "a"
    go.set()
    assert await task == "body"


@pytest.mark.anyio
async def test_a_thousand_tasks_each_with_its_own_terms() -> None:
    async def work(i: int) -> bool:
        async with fail.scope({GREET: f'3*return("{i}")->off'}) as scope:
            seen = []
            for _ in range(5):
                await asyncio.sleep(0)
                seen.append(greet())
            return seen == [str(i)] * 3 + ["body"] * 2 and scope.status(GREET).hits == 5

    assert all(await asyncio.gather(*map(work, range(1000))))
    assert armed() == {}


def test_two_threads_each_with_its_own_terms() -> None:
    wrong: list[str] = []

    def work(text: str) -> None:
        for _ in range(200):
            with fail.scope({GREET: f'2*return("{text}")'}):
                seen = [greet(), greet(), greet()]
            if seen != [text, text, "body"]:
                wrong.append(f"{text}: {seen}")

    threads = [threading.Thread(target=work, args=(text,)) for text in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.anyio
async def test_a_cancelled_block_closes_its_scope() -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with fail.scope({GREET: 'return("a")'}):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert armed() == {}


@pytest.mark.anyio
async def test_the_trace_names_the_task() -> None:
    async with fail.scope({GREET: 'return("a")'}) as scope:
        await asyncio.create_task(agreet(), name="worker-7")
    assert [entry.task for entry in scope.trace] == ["worker-7"]
    assert "worker-7" in str(scope.trace[0])


# --- as a decorator ---


def test_decorates_a_function() -> None:
    @fail.scope({GREET: '1*return("a")'})
    def function(x: int) -> tuple[int, str]:
        """The docstring."""
        return x, greet()

    assert function(1) == (1, "a")
    assert function(2) == (2, "a")  # a fresh scope for every call
    assert function.__doc__ == "The docstring."
    assert greet() == "body"


@pytest.mark.anyio
async def test_decorates_a_coroutine() -> None:
    @fail.scope({GREET: '1*return("a")'})
    async def function() -> str:
        return await agreet()

    assert await function() == "a"
    assert await asyncio.gather(function(), function()) == ["a", "a"]
    assert await agreet() == "body"


def test_decorates_a_generator_and_stays_inside_it() -> None:
    @fail.scope({GREET: '2*return("a")'})
    def function() -> Iterator[str]:
        received = yield greet()
        try:
            yield f"{received}, {greet()}"
        except KeyError:
            yield greet()
        return "result"

    running = function()
    assert next(running) == "a"
    assert greet() == "body"  # between two steps the consumer is outside
    assert running.send("sent") == "sent, a"  # type: ignore[attr-defined]
    assert running.throw(KeyError()) == "body"  # type: ignore[attr-defined]
    with pytest.raises(StopIteration) as stop:
        next(running)
    assert stop.value.value == "result"
    assert armed() == {}


def test_a_decorated_generator_closed_early_closes_its_scope() -> None:
    closed = []

    @fail.scope({GREET: 'return("a")'})
    def function() -> Iterator[str]:
        try:
            yield "first"
        finally:
            closed.append(greet())

    running = function()
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert closed == ["a"]
    assert armed() == {}


def test_a_scope_inside_a_decorated_generator_stays_there_too() -> None:
    @fail.scope({GREET: '1*return("outer")'})
    def function() -> Iterator[str]:
        with fail.scope({GREET: '2*return("inner")'}):
            yield greet()
            yield greet()
        yield greet()

    seen = [(each, greet()) for each in function()]
    assert seen == [("inner", "body"), ("inner", "body"), ("outer", "body")]


@pytest.mark.anyio
async def test_decorates_an_async_generator_and_stays_inside_it() -> None:
    closed = []

    @fail.scope({GREET: 'return("a")'}, strict=False)
    async def function() -> AsyncIterator[str]:
        try:
            received = yield await agreet()
            try:
                yield f"{received}, {await agreet()}"
            except KeyError:
                yield await agreet()
        finally:
            closed.append(greet())

    running = function()
    assert await running.__anext__() == "a"
    assert greet() == "body"
    assert await running.asend("sent") == "sent, a"  # type: ignore[attr-defined]
    assert await running.athrow(KeyError()) == "a"  # type: ignore[attr-defined]
    with pytest.raises(StopAsyncIteration):
        await running.__anext__()
    early = function()
    await early.__anext__()
    await early.aclose()  # type: ignore[attr-defined]
    assert closed == ["a", "a"]
    assert armed() == {}


def test_a_strict_decorated_generator_speaks_at_its_end(name: str) -> None:
    fail.point(name)

    @fail.scope({name: "raise"})
    def function() -> Iterator[int]:
        yield 1

    running = function()
    next(running)
    with pytest.raises(fail.NeverFired):
        next(running)


@pytest.mark.parametrize("bad", [int, 5, None])
def test_decorates_functions_only(bad: Any) -> None:
    with pytest.raises(TypeError, match="decorates functions and methods"):
        fail.scope({GREET: "off"})(bad)


# --- strictness ---


def test_a_name_with_a_typo(name: str) -> None:
    with pytest.raises(fail.UnknownFailpoint, match="did you mean 'scope.greet'") as caught:
        with fail.scope({"scope.gret": "raise", GREET: 'return("a")'}):
            pass
    assert "NeverFired" in caught.value.__notes__[0]  # the other complaint is not lost


def test_terms_that_never_fired_say_why(name: str) -> None:
    with pytest.raises(fail.NeverFired) as caught:
        with fail.scope({GREET: 'return("a")', name: "2*off->raise"}, seed=42):
            with fail.point(name):
                pass
    text = str(caught.value)
    assert "execution did not reach it" in text
    assert "execution reached it once, and no term but `off` was due" in text
    assert GREET in text
    assert name in text
    assert "strict=False" in text
    assert "seed 42" in text
    assert __file__ in text


def test_what_strictness_lets_pass(name: str) -> None:
    fail.point(name)
    with fail.scope({GREET: "off", name: "0.0000001%raise"}):
        with fail.point(name):  # a term with a probability need only be hit
            pass
    with fail.scope({name: "raise", "no.such": "panic"}, strict=False):
        pass
    with fail.scope() as scope:
        scope.enable(name, "raise")
        scope.disable(name)
    with pytest.raises(KeyError), fail.scope({name: "panic"}):
        raise KeyError


def test_a_probability_that_was_never_hit(name: str) -> None:
    fail.point(name)
    with pytest.raises(fail.NeverFired), fail.scope({name: "50%raise"}):
        pass


# --- randomness ---


def draws(seed: int | None, names: list[str], order: list[str]) -> dict[str, list[bool]]:
    seen: dict[str, list[bool]] = {name: [] for name in names}
    with fail.scope(dict.fromkeys(names, "50%return"), seed=seed, strict=False):
        for name in order:
            seen[name].append(bool(fail.point(name).hit()))
    return seen


def test_the_draws_of_a_point_depend_on_the_seed_and_its_name_only(name: str) -> None:
    a, b = f"{name}.a", f"{name}.b"
    alone = draws(7, [a], [a] * 40)[a]
    mixed = draws(7, [a, b], [a, b, b] * 40)
    assert mixed[a] == alone
    assert mixed[b][:40] != alone
    assert draws(8, [a], [a] * 40)[a] != alone
    assert 0 < sum(alone) < 40


def test_a_seed_is_drawn_and_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "seed", None)  # which the plugin has drawn for the run
    fail.point(name)
    scope = fail.scope({name: "raise"})
    with pytest.raises(fail.NeverFired, match=f"seed {scope.seed}"), scope:
        pass
    assert fail.scope().seed != fail.scope().seed


@pytest.mark.parametrize(("terms", "expected"), [("0%return", 0), ("100%return", 200)])
def test_the_ends_of_probability(terms: str, expected: int, name: str) -> None:
    fail.point(name)
    with fail.scope({name: terms}):
        assert sum(bool(fail.point(name).hit()) for _ in range(200)) == expected


def test_modifiers_run_left_to_right(name: str) -> None:
    """`3*0%` spends its count on misses, `0%3*` does not (gofail)."""
    point = fail.point(name)
    with fail.scope({name: "3*0%return->return"}, strict=False):
        assert [bool(point.hit()) for _ in range(2)] == [True, True]
    with fail.scope({name: "2*3*return"}):
        assert [bool(point.hit()) for _ in range(3)] == [True, True, False]


def test_repr() -> None:
    scope = fail.scope({GREET: 'return("a")'})
    assert repr(scope) == "<Scope not entered>"
    with scope:
        assert repr(scope) == f'<Scope open: {GREET}=return("a")>'
        assert greet() == "a"
    assert repr(scope).startswith("<Scope closed")
