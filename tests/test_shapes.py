"""`@failpoint` on every shape of callable: idle and armed, it is as if nothing were there."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import operator
import pickle
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from failpy import fail, failpoint

# --- the shapes, each as a maker: name of the point -> (the decorated thing, how to use it) ---


def _function(point: str) -> Callable[[], Any]:
    @failpoint(point, returns=str)
    def function() -> str:
        return "body"

    return function


def _closure(point: str) -> Callable[[], Any]:
    text = "body"

    @failpoint(point, returns=str)
    def closure() -> str:
        return text

    return closure


def _method(point: str) -> Callable[[], Any]:
    class Base:
        def method(self) -> str:
            return "bo"

    class Derived(Base):
        @failpoint(point, returns=str)
        def method(self) -> str:
            return super().method() + "dy"

    return Derived().method


def _classmethod_outside(point: str) -> Callable[[], Any]:
    class Owner:
        @failpoint(point, returns=str)
        @classmethod
        def make(cls) -> str:
            return {"Owner": "body"}[cls.__name__]

    return Owner.make


def _classmethod_inside(point: str) -> Callable[[], Any]:
    class Owner:
        @classmethod
        @failpoint(point, returns=str)
        def make(cls) -> str:
            return {"Owner": "body"}[cls.__name__]

    return Owner().make


def _staticmethod_outside(point: str) -> Callable[[], Any]:
    class Owner:
        @failpoint(point, returns=str)
        @staticmethod
        def make() -> str:
            return "body"

    return Owner.make


def _staticmethod_inside(point: str) -> Callable[[], Any]:
    class Owner:
        @staticmethod
        @failpoint(point, returns=str)
        def make() -> str:
            return "body"

    return Owner().make


def _property_outside(point: str) -> Callable[[], Any]:
    class Owner:
        @failpoint(point, returns=str)
        @property
        def value(self) -> str:
            return "body"

    return lambda: Owner().value


def _property_inside(point: str) -> Callable[[], Any]:
    class Owner:
        @property
        @failpoint(point, returns=str)
        def value(self) -> str:
            return "body"

    return lambda: Owner().value


def _cached_property(point: str) -> Callable[[], Any]:
    class Owner:
        @failpoint(point, returns=str)
        @functools.cached_property
        def value(self) -> str:
            return "body"

    return lambda: Owner().value


def _coroutine(point: str) -> Callable[[], Any]:
    @failpoint(point, returns=str)
    async def coroutine() -> str:
        await asyncio.sleep(0)
        return "body"

    return lambda: asyncio.run(coroutine())


def _generator(point: str) -> Callable[[], Any]:
    @failpoint(point, returns=str)
    def generator() -> Iterator[str]:
        received = yield "item"
        return received  # type: ignore[return-value]

    def use() -> str:
        running = generator()
        try:
            next(running)
            running.send("body")  # type: ignore[attr-defined]
        except StopIteration as stop:
            return stop.value
        raise AssertionError("the generator went on")

    return use


def _partial(point: str) -> Callable[[], Any]:
    return failpoint(point, returns=str)(functools.partial("{}{}".format, "bo", "dy"))


def _builtin(point: str) -> Callable[[], Any]:
    decorated = failpoint(point, returns=str)(operator.concat)
    return lambda: decorated("bo", "dy")


def _lru_cache(point: str) -> Callable[[], Any]:
    @failpoint(point, returns=str)
    @functools.lru_cache
    def cached() -> str:
        return "body"

    return cached


def _callable_object(point: str) -> Callable[[], Any]:
    class Callable_:
        def __call__(self) -> str:
            return "body"

    return failpoint(point, returns=str)(Callable_())


def _async_callable_object(point: str) -> Callable[[], Any]:
    class Callable_:
        async def __call__(self) -> str:
            return "body"

    decorated = failpoint(point, returns=str)(Callable_())
    return lambda: asyncio.run(decorated())


def _partial_of_a_coroutine(point: str) -> Callable[[], Any]:
    async def coroutine(text: str) -> str:
        return text

    decorated = failpoint(point, returns=str)(functools.partial(coroutine, "body"))
    return lambda: asyncio.run(decorated())


def _bound_method(point: str) -> Callable[[], Any]:
    class Owner:
        def method(self) -> str:
            return "body"

    return failpoint(point, returns=str)(Owner().method)


SHAPES = [
    _function, _closure, _method, _classmethod_outside, _classmethod_inside, _staticmethod_outside,
    _staticmethod_inside, _property_outside, _property_inside, _cached_property, _coroutine, _generator,
    _partial, _builtin, _lru_cache, _callable_object, _async_callable_object, _partial_of_a_coroutine,
    _bound_method,
]  # fmt: skip


@pytest.fixture(params=SHAPES, ids=lambda make: make.__name__.strip("_"))
def use(request: pytest.FixtureRequest, name: str) -> Callable[[], Any]:
    """Call the decorated thing."""
    return request.param(name)


def test_idle_runs_the_body(use: Callable[[], Any]) -> None:
    assert use() == "body"


def test_return_takes_the_place_of_the_body(use: Callable[[], Any], name: str) -> None:
    with fail.scope({name: '1*return("injected")'}):
        assert use() == "injected"
        assert use() == "body"
    assert use() == "body"


def test_raise_takes_the_place_of_the_body(use: Callable[[], Any], name: str) -> None:
    with fail.scope({name: 'raise(OSError(28, "full"))'}):
        with pytest.raises(OSError, match="full") as caught:
            use()
    assert caught.value.errno == 28
    assert name in caught.value.__notes__[0]


def test_an_action_that_does_not_divert_goes_on_to_the_body(
    use: Callable[[], Any], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with fail.scope({name: "print"}):
        assert use() == "body"
    assert capsys.readouterr().out == f"failpoint print: {name}\n"


def test_armed_elsewhere_runs_the_body(use: Callable[[], Any], name: str) -> None:
    elsewhere = fail.scope({name: "panic"}, strict=False)
    import contextvars

    contextvars.copy_context().run(elsewhere.__enter__)
    try:
        assert use() == "body"
    finally:
        elsewhere.__exit__(None, None, None)


# --- async generators, which have no value to return ---


def test_async_generator(name: str) -> None:
    log: list[object] = []

    @failpoint(name)
    async def numbers() -> AsyncIterator[object]:
        try:
            for i in range(3):
                try:
                    log.append((yield i))
                except KeyError as exc:
                    log.append(type(exc))
                    try:
                        raise ValueError
                    except ValueError as inner:
                        log.append(inner.__context__ is exc)
        finally:
            log.append("closed")

    async def drive() -> None:
        running = numbers()
        assert await running.__anext__() == 0
        assert await running.asend("sent") == 1  # type: ignore[attr-defined]
        assert await running.athrow(KeyError("thrown")) == 2  # type: ignore[attr-defined]
        await running.aclose()  # type: ignore[attr-defined]

    expected = ["sent", KeyError, True, "closed"]
    asyncio.run(drive())
    assert log == expected

    log.clear()
    with fail.scope({name: "print"}):
        asyncio.run(drive())
    assert log == expected


def test_async_generator_ends_at_once_on_return(name: str) -> None:
    @failpoint(name)
    async def numbers() -> AsyncIterator[int]:
        yield 1

    async def collect() -> list[int]:
        return [i async for i in numbers()]

    with fail.scope({name: "1*return->1*raise(KeyError)"}):
        assert asyncio.run(collect()) == []
        with pytest.raises(KeyError):
            asyncio.run(collect())
        assert asyncio.run(collect()) == [1]


def test_an_async_generator_keeps_what_it_raises_apart_from_what_was_thrown_in(name: str) -> None:
    """An exception raised after the thrown one was handled has no context."""
    seen: list[BaseException] = []

    @failpoint(name)
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        except KeyError:
            pass
        try:
            raise ValueError
        except ValueError as exc:
            seen.append(exc)
        yield 2

    async def drive() -> None:
        running = numbers()
        await running.__anext__()
        await running.athrow(KeyError())  # type: ignore[attr-defined]
        await running.aclose()  # type: ignore[attr-defined]

    with fail.scope({name: "print"}):
        asyncio.run(drive())
    assert seen[0].__context__ is None


def test_a_generator_evaluates_at_its_first_step_and_closes_its_body(name: str) -> None:
    log: list[str] = []

    @failpoint(name)
    def numbers() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            log.append("closed")

    with fail.scope({name: "print"}) as scope:
        running = numbers()
        assert scope.status(name).hits == 0
        assert next(running) == 1
        assert scope.status(name).hits == 1
        running.close()  # type: ignore[attr-defined]
    assert log == ["closed"]


# --- a Python function stays the object it is ---


def sample(
    a: int, b: str = "b", /, c: float = 1.0, *args: int, d: int, e: str = "e", **kw: object
) -> tuple[Any, ...]:
    """Every kind of parameter there is."""
    return a, b, c, args, d, e, kw


sample_undecorated = sample
sample_decorated = failpoint("shapes.sample", returns=Any)(sample)


@pytest.fixture(params=["idle", "armed"])
def sampled(request: pytest.FixtureRequest) -> Iterator[None]:
    """The sample function, both while its point is idle and while it is armed."""
    if request.param == "idle":
        yield
    else:
        with fail.scope({"shapes.sample": "off"}):
            yield


def test_the_decorated_function_is_the_function() -> None:
    assert sample_decorated is sample_undecorated


@pytest.mark.usefixtures("sampled")
class TestNothingShows:
    def test_signature_and_names(self) -> None:
        assert str(inspect.signature(sample)) == (
            "(a: 'int', b: 'str' = 'b', /, c: 'float' = 1.0, *args: 'int', d: 'int', e: 'str' = 'e', "
            "**kw: 'object') -> 'tuple[Any, ...]'"
        )
        assert (sample.__name__, sample.__qualname__, sample.__module__) == ("sample", "sample", __name__)
        assert sample.__doc__ == "Every kind of parameter there is."
        assert sample.__dict__ == {}
        assert not hasattr(sample, "__wrapped__")

    def test_source(self) -> None:
        assert inspect.getsource(sample).startswith("def sample(")
        assert inspect.getsourcefile(sample) == __file__

    def test_arguments_arrive(self) -> None:
        assert sample(1, d=2) == (1, "b", 1.0, (), 2, "e", {})
        assert sample(1, "2", 3.0, 4, 5, d=6, e="7", f=8) == (1, "2", 3.0, (4, 5), 6, "7", {"f": 8})
        assert sample(1, c=2, d=3, a=4) == (1, "b", 2, (), 3, "e", {"a": 4})

    def test_wrong_arguments_are_named(self) -> None:
        with pytest.raises(TypeError, match=r"sample\(\) missing 1 required keyword-only argument: 'd'"):
            sample(1)  # type: ignore[call-arg]

    def test_defaults_can_be_changed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sample, "__defaults__", ("new", 2.0))
        assert sample(1, d=2)[:3] == (1, "new", 2.0)

    def test_pickle_and_copy(self) -> None:
        assert pickle.loads(pickle.dumps(sample)) is sample
        assert copy.copy(sample) is sample
        assert copy.deepcopy({"f": sample})["f"] is sample


@pytest.mark.parametrize("armed", [False, True])
def test_kinds_of_function_are_recognised(armed: bool, name: str) -> None:
    @failpoint(name)
    async def coroutine() -> None: ...

    @failpoint(name)
    async def async_generator() -> AsyncIterator[None]:
        yield

    @failpoint(name)
    def generator() -> Iterator[None]:
        yield

    with fail.scope({name: "off"} if armed else None):
        assert inspect.iscoroutinefunction(coroutine)
        assert inspect.isasyncgenfunction(async_generator)
        assert inspect.isgeneratorfunction(generator)


def test_idle_code_is_the_original(name: str) -> None:
    def function() -> None: ...

    code = function.__code__
    failpoint(name)(function)
    assert function.__code__ is code
    with fail.scope({name: "off"}):
        assert function.__code__ is not code
    assert function.__code__ is code


def test_early_imports_see_the_point(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec("def function(): return 'body'", namespace)
    early = namespace["function"]
    namespace["function"] = failpoint(name, returns=str)(namespace["function"])
    with fail.scope({name: 'return("injected")'}):
        assert early() == "injected"


def test_a_subclass_overrides_and_calls_super(name: str) -> None:
    class Base:
        @failpoint(name, returns=str)
        def method(self) -> str:
            return "base"

    class Derived(Base):
        def method(self) -> str:
            return f"derived, {super().method()}"

    with fail.scope({name: '1*return("injected")'}):
        assert Derived().method() == "derived, injected"
        assert Derived().method() == "derived, base"


def test_two_points_on_one_function_disarmed_in_any_order() -> None:
    for first, second in [("two.outer", "two.inner"), ("two.inner", "two.outer")]:

        @failpoint("two.outer", returns=str)
        @failpoint("two.inner", returns=str)
        def function() -> str:
            return "body"

        code = function.__code__
        fail.enable(first, f'return("{first}")')
        assert function() == first
        fail.enable(second, f'return("{second}")')
        assert function() == "two.outer"  # the outer decorator is asked first
        fail.disable(first)
        assert function() == second
        fail.disable(second)
        assert function.__code__ is code
        assert function() == "body"


def test_decorated_twice_with_one_name_is_one_point(name: str) -> None:
    @failpoint(name, returns=str)
    @failpoint(name, returns=str)
    def function() -> str:
        return "body"

    with fail.scope({name: 'return("injected")'}) as scope:
        assert function() == "injected"
        assert scope.status(name).hits == 1


def test_armed_in_two_scopes_and_disarmed_in_any_order(name: str) -> None:
    @failpoint(name, returns=str)
    def function() -> str:
        return "body"

    outer, inner = fail.scope({name: 'return("outer")'}), fail.scope({name: 'return("inner")'})
    outer.__enter__()
    assert function() == "outer"
    inner.__enter__()
    assert function() == "inner"
    outer.__exit__(None, None, None)
    assert function() == "inner"
    inner.__exit__(None, None, None)
    assert function() == "body"
    assert fail.current_scope() is None


def test_decorated_while_armed(name: str) -> None:
    with fail.scope({name: 'return("injected")'}):

        @failpoint(name, returns=str)
        def function() -> str:
            return "body"

        assert function() == "injected"
    assert function() == "body"


@pytest.mark.parametrize("armed", [False, True])
def test_a_function_is_garbage_collected(armed: bool, name: str) -> None:
    with fail.scope({name: "off"} if armed else None):

        @failpoint(name)
        def recursive(n: int) -> int:
            return n and recursive(n - 1)  # noqa: F821 - deleted below

        assert recursive(3) == 0
        gone = weakref.ref(recursive)
        del recursive
        gc.collect()
        assert gone() is None


def test_reloaded_code_is_gone_on_to(name: str) -> None:
    """What IPython's autoreload does: it gives the old function the new code."""

    def old() -> str:
        return "old"

    def new() -> str:
        return "new"

    failpoint(name, returns=str)(old)
    old.__code__ = new.__code__
    with fail.scope({name: '1*return("injected")'}):
        assert old() == "injected"
        assert old() == "new"
    assert old() == "new"
    assert old.__code__ is new.__code__


def test_many_free_variables_stay_in_order(name: str) -> None:
    namespace: dict[str, Any] = {}
    names = [f"v{i}" for i in range(120)]
    exec(
        f"def make():\n {'; '.join(f'{n} = {n!r}' for n in names)}\n"
        f" def function(): return [{', '.join(names)}]\n return function",
        namespace,
    )
    function = failpoint(name)(namespace["make"]())
    with fail.scope({name: "off"}):
        assert function() == names


# --- proxies of what is no Python function ---


def test_a_proxy_passes_for_its_target(name: str) -> None:
    target = functools.partial(int, base=2)
    decorated = failpoint(name, returns=int)(target)
    assert isinstance(decorated, functools.partial)
    assert decorated.keywords == {"base": 2}
    assert decorated("101") == 5


def test_a_proxied_cache_keeps_its_methods(name: str) -> None:
    @failpoint(name, returns=int)
    @functools.lru_cache
    def double(n: int) -> int:
        return 2 * n

    with fail.scope({name: "1*return(0)"}):
        assert double(2) == 0
        assert double(2) == 4
    assert double.cache_info().misses == 1  # type: ignore[attr-defined]


len_with_point = failpoint("shapes.len", returns=int)(functools.partial(len))


def test_a_proxy_is_copied_and_pickled_with_its_point() -> None:
    assert copy.copy(len_with_point) is len_with_point
    assert copy.deepcopy([len_with_point])[0] is len_with_point
    again = pickle.loads(pickle.dumps(len_with_point))
    with fail.scope({"shapes.len": "2*return(7)"}):
        assert again("abc") == 7
        assert len_with_point("abc") == 7
        assert again("abc") == 3


@failpoint("shapes.cached", returns=int)
@functools.lru_cache
def cached_length(text: str) -> int:
    return len(text)


def test_a_proxy_with_a_name_is_pickled_by_it() -> None:
    assert pickle.loads(pickle.dumps(cached_length)) is cached_length


def test_classmethod_of_a_callable_that_is_no_function(name: str) -> None:
    class Owner:
        make = failpoint(name, returns=str)(classmethod(functools.partial(lambda cls: cls.__name__)))

    with fail.scope({name: '1*return("injected")'}):
        assert Owner.make() == "injected"
        assert Owner.make() == "Owner"


def test_property_of_a_callable_that_is_no_function(name: str) -> None:
    class Owner:
        value = failpoint(name, returns=str)(property(operator.attrgetter("text")))
        text = "body"

    with fail.scope({name: '1*return("injected")'}):
        assert Owner().value == "injected"
        assert Owner().value == "body"


# --- what cannot be decorated ---


def test_a_class_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}' cannot stand on the class"):
        failpoint(name)(int)


@pytest.mark.parametrize("target", [5, None, property()])
def test_what_cannot_be_called_is_refused(target: object, name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}' cannot stand on"):
        failpoint(name)(target)


def test_decorator_without_a_name() -> None:
    with pytest.raises(TypeError, match="name"):

        @failpoint  # type: ignore[arg-type]
        def function() -> None: ...


def test_a_coroutine_function_that_raises_keeps_its_traceback_free_of_failpy(name: str) -> None:
    """The only frame that an injected exception adds is the decorated function's own."""

    @failpoint(name)
    def function() -> None: ...

    with fail.scope({name: "raise"}), pytest.raises(fail.Injected) as caught:
        function()
    assert [entry.name for entry in caught.traceback] == [
        "test_a_coroutine_function_that_raises_keeps_its_traceback_free_of_failpy",
        "function",
    ]
    assert {str(entry.path) for entry in caught.traceback} == {__file__}


def test_predicates_see_the_arguments(name: str) -> None:
    seen: list[tuple[Any, Any]] = []

    @failpoint(name)
    def function(a: int, b: int = 2, *rest: int, c: int = 3, **others: int) -> None: ...

    def note(call: fail.Hit[Any]) -> bool:
        seen.append((call.args, dict(call.kwargs)))
        return True

    with fail.scope() as scope:
        scope.enable(name, "off", when=note)
        function(1)
        function(1, 5, 6, c=7, d=8)
    assert seen == [
        ((1, 2), {"a": 1, "b": 2, "c": 3}),
        ((1, 5, 6), {"a": 1, "b": 5, "c": 7, "d": 8}),
    ]


def test_a_generator_based_coroutine_stays_awaitable(name: str) -> None:
    import types

    @failpoint(name, returns=str)
    @types.coroutine
    def legacy() -> Iterator[None]:
        yield
        return "body"

    async def use() -> str:
        return await legacy()

    with fail.scope({name: '1*return("injected")'}):
        assert asyncio.run(use()) == "injected"
        assert asyncio.run(use()) == "body"
