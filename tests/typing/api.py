"""What type checkers say of the public API. Checked, and never run.

An error that is expected has an ignore comment, and the checkers complain of one that is not needed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cached_property
from typing import Any, assert_type

from failpy import Hit, Point, Scope, Status, Terms, fail, failpoint


@failpoint("function", returns=str)
def function(x: int, *, y: str = "") -> str:
    return y * x


assert_type(function(1, y="a"), str)
function("1")  # type: ignore[arg-type]


@failpoint("coroutine", returns=int)
async def coroutine(x: int) -> int:
    return x


@failpoint("generator")
def generator() -> Iterator[int]:
    yield 1


@failpoint("async generator")
async def async_generator() -> AsyncIterator[int]:
    yield 1


@failpoint("optional", returns=str | None)
def optional() -> str | None:
    return None


@failpoint("any", returns=Any)
def anything(x: int) -> tuple[int, ...]:
    return (x,)


class Owner:
    @failpoint("method", returns=int)
    def method(self, x: int) -> int:
        return x

    @classmethod
    @failpoint("classmethod", returns=int)
    def make(cls, x: int) -> int:
        return x

    @staticmethod
    @failpoint("staticmethod", returns=int)
    def static(x: int) -> int:
        return x

    @property
    @failpoint("property", returns=int)
    def value(self) -> int:
        return 1

    @cached_property
    @failpoint("cached property", returns=int)
    def cached(self) -> int:
        return 1


assert_type(Owner().method(1), int)
assert_type(Owner.make(1), int)
assert_type(Owner.static(1), int)
assert_type(Owner().value, int)
assert_type(Owner().cached, int)
assert_type(list(generator()), list[int])
assert_type(optional(), str | None)


@failpoint("wrong", returns=int)  # type: ignore[arg-type]
def wrong() -> str:
    return ""


assert_type(fail.point("p", returns=int), Point[int])
if hit := fail.point("p", returns=int).hit(row=1):
    assert_type(hit, Hit[int])
    assert_type(hit.value, int)
with fail.point("p", returns=str) as in_block:
    if in_block:
        assert_type(in_block.value, str)


@fail.scope("a=off")
def test(x: int) -> str:
    return str(x)


assert_type(test(1), str)


async def use() -> None:
    assert_type(await coroutine(1), int)
    async with fail.scope({"a": 3 * fail.Return("x") >> fail.Raise(KeyError("k"))}) as scope:
        assert_type(scope, Scope)
        assert_type(scope.points(), list[Status])
        assert_type((await scope.await_for_hit("a")).value, Any)
    async with fail.point("p", returns=str) as hit:
        if hit:
            assert_type(hit.value, str)


assert_type(fail.parse("off"), Terms)
assert_type(fail.current_scope(), Scope | None)
fail.enable("a", 5)  # type: ignore[arg-type]
fail.scope(on_swallowed="warn")  # type: ignore[arg-type]
