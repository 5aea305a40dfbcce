"""Failpoints on callables that one does not own, and how they are taken away again."""

from __future__ import annotations

import asyncio
import os
import pickle
import posix
import socket
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import AsyncIterator, Iterator
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import Any

import pytest

from failpy import fail
from failpy._config import config
from failpy._registry import declared

SOURCE = '''
import functools

def plain(x=1):
    """The docstring."""
    return x

async def coroutine():
    return "body"

def generator():
    yield "body"

async def agenerator():
    yield "body"

def deco(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper

@deco
def wrapped():
    return "body"

class Base:
    def inherited(self):
        return "body"

class Thing(Base):
    def method(self):
        return "body"

    @classmethod
    def klass(cls):
        return "body"

    @staticmethod
    def static():
        return "body"

    @property
    def prop(self):
        return "body"

    @functools.cached_property
    def cached(self):
        return "body"

    @property
    def both(self):
        return "body"

    @both.setter
    def both(self, value):
        pass

    @staticmethod
    @functools.cache
    def static_cached():
        return "body"

    class Inner:
        def deep(self):
            return "body"

joined = functools.partial(max, 1)
number = 5
'''


@pytest.fixture
def owned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module of somebody else's, which is not imported yet."""
    name = f"owned_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def module(owned: str) -> Any:
    return __import__(owned)


async def first(items: AsyncIterator[Any]) -> Any:
    return await anext(aiter(items))


CALLS: dict[str, Any] = {
    "plain": lambda m: m.plain(),
    "coroutine": lambda m: asyncio.run(m.coroutine()),
    "wrapped": lambda m: m.wrapped(),
    "Base.inherited": lambda m: m.Thing().inherited(),
    "Thing.inherited": lambda m: m.Thing().inherited(),
    "Thing.method": lambda m: m.Thing().method(),
    "Thing.klass": lambda m: m.Thing.klass(),
    "Thing.static": lambda m: m.Thing.static(),
    "Thing.prop": lambda m: m.Thing().prop,
    "Thing.cached": lambda m: m.Thing().cached,
    "Thing.static_cached": lambda m: m.Thing.static_cached(),
    "Thing.Inner.deep": lambda m: m.Thing.Inner().deep(),
    "joined": lambda m: m.joined(3),
}


@pytest.mark.parametrize("path", CALLS)
def test_every_shape_is_reached_and_then_as_it_was(module: Any, path: str) -> None:
    call = CALLS[path]
    before = call(module)
    members = dict(vars(module)), dict(vars(module.Thing)), module.plain.__code__
    with fail.attach(f"{module.__name__}:{path}", returns=Any) as attachment:
        assert call(module) == before
        with fail.scope({attachment.name: 'return("armed")'}):
            assert call(module) == "armed"
        assert call(module) == before
    assert call(module) == before
    assert (dict(vars(module)), dict(vars(module.Thing)), module.plain.__code__) == members
    assert attachment.point.sites == ()


def test_generators(module: Any) -> None:
    with (
        fail.attach(f"{module.__name__}:generator", "g"),
        fail.attach(f"{module.__name__}:agenerator", "ag"),
        fail.scope({"g": "raise(EIO)", "ag": "raise(EIO)"}),
    ):
        with pytest.raises(OSError, match="injected by failpoint 'g'|Input/output"):
            list(module.generator())
        with pytest.raises(OSError, match="Input/output"):
            asyncio.run(first(module.agenerator()))
    assert list(module.generator()) == ["body"]


def test_a_name_imported_early_meets_it_too(module: Any) -> None:
    early = module.plain
    with fail.attach(early, "early", returns=int), fail.scope({"early": "return(7)"}):
        assert early() == module.plain() == 7
    assert early.__doc__ == "The docstring."
    assert early() == 1


def test_the_name_is_the_target_unless_given(module: Any) -> None:
    target = f"{module.__name__}:Thing.method"
    with fail.attach(target) as one, fail.attach(module.Thing().method, "other") as two:
        assert (one.name, one.target, two.name, two.target) == (target, target, "other", target)
        assert one.point.name == target
        assert fail.status(target).sites == (
            f"{module.__file__}:{module.Thing.method.__code__.co_firstlineno}",
        )
        with fail.scope({"other": "return", target: "off"}):
            assert module.Thing().method() is None


def test_faults_and_type_come_and_go(module: Any) -> None:
    target = f"{module.__name__}:plain"
    attachment = fail.attach(target, returns=int, faults=["raise(EIO)", "return(0)"])
    assert fail.status(target).faults == ("raise(EIO)", "return(0)")
    with pytest.raises(fail.ReturnTypeError):
        fail.enable(target, 'return("x")')
    attachment.detach()
    attachment.detach()
    assert fail.status(target).faults == ()
    assert fail.status(target).returns is None
    assert not attachment.attached
    with pytest.raises(fail.FailpointError, match="has been detached, and stays so"), attachment:
        pass


def test_it_may_be_armed_before_and_while_it_is_detached(module: Any) -> None:
    target = f"{module.__name__}:plain"
    with fail.scope({target: "return(9)"}, strict=False):
        attachment = fail.attach(target, returns=int)
        assert module.plain() == 9
        attachment.detach()
        assert module.plain() == 1
        with fail.attach(target, returns=int):
            assert module.plain() == 9


def test_two_on_one_function_are_apart(module: Any) -> None:
    one = fail.attach(module.plain, "one", returns=int)
    two = fail.attach(module.plain, "two", returns=int)
    with pytest.raises(fail.FailpointError, match="'one' stands on .*plain already"):
        fail.attach(module.plain, "one", returns=int)
    with fail.scope({"one": "return(1)", "two": "return(2)"}, strict=False):
        assert module.plain(5) == 2
        two.detach()
        assert module.plain(5) == 1
    one.detach()
    assert module.plain(5) == 5


def test_one_name_on_two_functions_keeps_what_the_other_says(module: Any) -> None:
    one = fail.attach(module.plain, "shared", returns=int, faults=("return(1)",))
    with fail.attach(module.Thing.method, "shared", returns=int, faults=("return(2)",)):
        one.detach()
        assert fail.status("shared").faults == ("return(2)",)
        assert fail.status("shared").returns is int
        with fail.scope({"shared": "return(2)"}):
            assert (module.plain(), module.Thing().method()) == (1, 2)


def test_another_type_is_a_conflict_and_changes_nothing(module: Any) -> None:
    with fail.attach(module.plain, "typed", returns=int):
        with pytest.raises(fail.FailpointConflict):
            fail.attach(module.wrapped, "typed", returns=str)
        assert len(fail.status("typed").sites) == 1


# --- what is written in C ---


def test_a_builtin_is_replaced_where_the_target_says(tmp_path: Path) -> None:
    original = os.replace
    (tmp_path / "a").write_text("a")
    with fail.attach("os:replace", faults=("raise(EACCES)",)) as attachment:
        with fail.scope({"os:replace": "1*raise(EACCES)"}):
            with pytest.raises(PermissionError):
                os.replace(tmp_path / "a", tmp_path / "b")
            os.replace(tmp_path / "a", tmp_path / "b")
        assert os.replace is not original
        assert attachment.point.sites == (f"{__file__}:{line_of('os:replace')}",)
    assert os.replace is original
    assert (tmp_path / "b").read_text() == "a"


def line_of(target: str) -> int:
    lines = Path(__file__).read_text("utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if f'fail.attach("{target}", faults' in line)


def test_a_method_in_c_that_a_class_inherits() -> None:
    assert "recv" not in vars(socket.socket)
    one, other = socket.socketpair()
    with one, other, fail.attach("socket:socket.recv", returns=bytes):
        other.send(b"ab")
        assert one.recv(1) == b"a"
        with fail.scope({"socket:socket.recv": fail.Return(b"instead")}):
            assert one.recv(1) == b"instead"
        assert one.recv(1) == b"b"
    assert "recv" not in vars(socket.socket)


def test_a_replaced_callable_still_pickles_and_what_was_put_around_it_stays() -> None:
    attachment = fail.attach("os:replace")
    assert pickle.loads(pickle.dumps(os.replace)) is posix.replace  # where it comes from, nothing is attached
    ours = os.replace

    @wraps(ours)
    def around(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs)

    os.replace = around
    try:
        attachment.detach()
        assert os.replace is around
        with fail.scope({"os:replace": "panic"}, strict=False), pytest.raises(FileNotFoundError):
            os.replace("nothing", "nowhere")
    finally:
        os.replace = posix.replace


def test_what_cannot_be_replaced_says_so() -> None:
    with pytest.raises(fail.FailpointError, match="'builtins:str.upper' cannot stand on builtins:str.upper"):
        fail.attach("builtins:str.upper")
    assert fail.status("builtins:str.upper").sites == ()


# --- modules that come later ---


def test_a_module_that_is_not_imported_yet_is_waited_for(owned: str) -> None:
    attachment = fail.attach(f"{owned}:plain", returns=int)
    assert repr(attachment) == f"<Attachment '{owned}:plain' to {owned}:plain: not imported yet>"
    assert not attachment.attached
    with fail.scope({f"{owned}:plain": "return(3)"}):
        module = __import__(owned)
        assert attachment.attached
        assert module.plain() == 3
    assert len(attachment.point.sites) == 1
    attachment.detach()
    assert repr(attachment).endswith(": detached>")
    assert module.plain() == 1


def test_detached_before_its_module_came(owned: str) -> None:
    attachment = fail.attach(f"{owned}:plain", returns=int, faults=("raise",))
    attachment.detach()
    assert fail.status(f"{owned}:plain").faults == ()
    module = __import__(owned)
    with fail.scope({f"{owned}:plain": "panic"}, strict=False):
        assert module.plain() == 1


def test_a_name_that_the_module_turns_out_not_to_have(owned: str) -> None:
    attachment = fail.attach(f"{owned}:plian")
    with pytest.raises(fail.FailpointError, match="has no 'plian'; did you mean 'plain'"):
        __import__(owned)
    attachment.detach()


# --- bad input ---


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("os.replace", "'os.replace' does not say where a callable is: write 'module:name'"),
        ("os:", "does not say"),
        (":replace", "does not say"),
        ("os:a b", "does not say"),
        ("no_such_module_anywhere:f", "there is no module 'no_such_module_anywhere'"),
        ("os:replcae", "os has no 'replcae'; did you mean 'replace'"),
        ("os:path.jion", "has no 'jion'; did you mean 'join'"),
        ("threading:Thread", "which is a class: attach it to a function or a method"),
        ("os:sep", "which is nothing that a failpoint can stand on"),
        ("threading:Thread.daemon", "cannot tell the getter of threading:Thread.daemon from its setter"),
    ],
)
def test_a_bad_target(target: str, message: str) -> None:
    with pytest.raises(fail.FailpointError, match=message):
        fail.attach(target)


@pytest.mark.parametrize("target", [5, os.replace, threading.Thread, partial(print), len, types])
def test_a_target_that_is_no_python_function(target: Any) -> None:
    with pytest.raises(TypeError, match="attach takes a Python function, or text"):
        fail.attach(target)


def test_bad_names_types_and_faults(module: Any, name: str) -> None:
    code = module.plain.__code__
    with pytest.raises(fail.InvalidName):
        fail.attach(module.plain, "a b")
    with pytest.raises(TypeError):
        fail.attach(module.plain, name, returns=5)
    with pytest.raises(fail.TermSyntaxError):
        fail.attach(module.plain, name, faults=["raies"])
    assert module.plain.__code__ is code
    assert declared(name) is None or fail.status(name).sites == ()


def test_a_lambda_and_a_local_function_have_names_that_fit() -> None:
    def local() -> int:
        return 1

    with fail.attach(local, returns=int) as attachment, fail.scope({attachment.name: "return(2)"}):
        assert local() == 2
    assert "<locals>.local" in attachment.name


def test_compiled_out() -> None:
    source = """
        import os
        from failpy import fail
        original = os.replace
        def f(): pass
        with fail.attach("os:replace") as one, fail.attach(f) as two, fail.attach("nothing_here:x") as three:
            assert os.replace is original
            print(one.attached, two.attached, three.attached)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        env={**os.environ, "FAILPY": "off"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False False False\n"


def test_compiled_out_in_this_process(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "enabled", False)
    code = module.plain.__code__
    for target in (module.plain, f"{module.__name__}:plain"):
        with fail.attach(target, f"off.{type(target).__name__}") as attachment:
            assert not attachment.attached
            assert attachment.point.name == attachment.name
            assert module.plain.__code__ is code


def test_attaching_and_detaching_in_threads_while_others_hit(module: Any) -> None:
    stop = threading.Event()
    seen: set[int] = set()

    def hit() -> None:
        while not stop.is_set():
            seen.add(module.plain())

    with fail.scope({"racing": "return(2)"}, strict=False):
        threads = [threading.Thread(target=hit) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(300):
            with fail.attach(module.plain, "racing", returns=int):
                assert module.plain() == 2
            assert module.plain() == 1
        with fail.attach(module.plain, "racing", returns=int):
            while 2 not in seen:
                pass
        stop.set()
        for thread in threads:
            thread.join()
    assert seen == {1, 2}


def test_cached_property_is_a_descriptor_of_a_class() -> None:
    class Own:
        @cached_property
        def value(self) -> str:
            return "body"

    function = vars(Own)["value"].func
    with fail.attach(function, "cached.value", returns=str), fail.scope({"cached.value": 'return("x")'}):
        assert Own().value == "x"
