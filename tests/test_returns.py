"""`returns=`: what a point may return is declared, and checked when terms meet it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Literal, Optional

import pytest

from failpy import fail, failpoint
from tests.ids import without_addresses

ACCEPTED = [
    (str, "x"), (int, 3), (float, 2.5), (float, 3), (bool, True), (list, [1]), (dict, {"a": 1}),
    (str | None, None), (str | None, "x"), (Optional[int], 1),  # noqa: UP045 - the old spelling counts, too
    (Any, object()), (Any, None), (None, None),
    (list[int], [1]), (object, True), (int | bool, True), (str | Any, 5),
]  # fmt: skip
REFUSED = [
    (str, 5), (str, None), (int, "x"), (int, True), (float, True), (bool, 1), (int, 2.5), (None, 5),
    (str | None, 5), (list, {}), (type(None), 1),
]  # fmt: skip


@pytest.mark.parametrize(("returns", "value"), ACCEPTED, ids=without_addresses)
def test_accepted(returns: Any, value: object, name: str) -> None:
    @failpoint(name, returns=returns)
    def function() -> Any:
        return "body"

    with fail.scope({name: fail.Return(value)}):
        assert function() is value


@pytest.mark.parametrize(("returns", "value"), REFUSED, ids=without_addresses)
def test_refused_when_enabling(returns: Any, value: object, name: str) -> None:
    @failpoint(name, returns=returns)
    def function() -> Any:
        return "body"

    fail.enable(name, "1*off")
    for arm in (
        lambda: fail.enable(name, fail.Return(value)),
        lambda: fail.scope({name: fail.Return(value)}).open(),
    ):
        with pytest.raises(fail.ReturnTypeError) as caught:
            arm()
        assert repr(name) in str(caught.value)
    assert fail.status(name).terms == "1*off"  # what was armed stays armed
    assert isinstance(caught.value, TypeError)


def test_a_bare_return_gives_no_value(name: str) -> None:
    failpoint(name)(lambda: 1)
    fail.enable(name, "return")
    failpoint(f"{name}.str", returns=str)(lambda: "")
    with pytest.raises(fail.ReturnTypeError, match="gives no value"):
        fail.enable(f"{name}.str", "return")


def test_checked_at_declaration_when_the_terms_came_first(name: str) -> None:
    fail.enable(name, "return(5)")
    with pytest.raises(fail.ReturnTypeError, match="declares returns=str"):
        failpoint(name, returns=str)(lambda: "")
    assert fail.status(name).sites == ()  # the refused declaration left nothing behind
    function = failpoint(name, returns=int)(lambda: 1)
    assert function() == 5


def test_every_term_of_the_chain_is_checked(name: str) -> None:
    fail.point(name, returns=int)
    with pytest.raises(fail.ReturnTypeError):
        fail.enable(name, 'return(1)->2*off->return("x")')


@pytest.mark.parametrize("bad", ["str", 5, Literal["a"], [int]], ids=repr)
def test_a_type_that_nothing_can_be_checked_against(bad: Any, name: str) -> None:
    with pytest.raises(TypeError, match="give a class, a union of classes, None or typing.Any"):
        failpoint(name, returns=bad)


def test_one_name_has_one_type(name: str) -> None:
    failpoint(name, returns=str)(lambda: "")
    with pytest.raises(
        fail.FailpointConflict, match=r"returns=int at .*test_returns.py:\d+, but with returns=str at"
    ):
        failpoint(name, returns=int)(lambda: 1)
    with pytest.raises(fail.FailpointConflict):
        failpoint(name)(lambda: None)
    with pytest.raises(fail.FailpointConflict):
        fail.point(name, returns=int)
    assert fail.point(name).returns is str


def test_sites_that_agree_share_the_point(name: str) -> None:
    first = failpoint(name, returns=Optional[str])(lambda: "first")  # noqa: UP045
    second = failpoint(name, returns=str | None)(lambda: "second")
    with fail.scope({name: 'return("x")'}) as scope:
        assert (first(), second()) == ("x", "x")
        assert scope.status(name).hits == 2


def test_a_body_may_come_before_the_decorator_that_says_the_type(name: str) -> None:
    fail.point(name)
    failpoint(name, returns=str)(lambda: "")
    assert fail.point(name).returns is str


def test_reloading_a_module_is_not_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    source = tmp_path / "reloaded_module.py"
    text = (
        "from failpy import failpoint\n"
        f"@failpoint({name!r}, returns=str)\n"
        "def function():\n    return 'body'\n"
    )
    source.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module("reloaded_module")
    old = module.function
    try:
        importlib.reload(module)
        source.write_text("# a line more\n" + text.replace("returns=str", "returns=int"))
        importlib.invalidate_caches()
        importlib.reload(module)
        assert module.function is not old
        with fail.scope({name: "2*return(5)"}):
            assert module.function() == 5
            assert old() == 5
    finally:
        del sys.modules["reloaded_module"]
