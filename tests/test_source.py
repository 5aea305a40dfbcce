"""What source says about failpoints, read from files that are never run."""

from __future__ import annotations

import ast
import os
import random
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import failpy
from failpy import FailpointError
from failpy._mentions import Fault, Place, Problem, Source
from failpy._source import read_source

Read = Callable[..., Source]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write files, given by their paths, and read them all."""

    def write_and_read(main: str = "", **files: str) -> Source:
        return read_files(
            tmp_path, {"main.py": main, **{name.replace("__", "."): t for name, t in files.items()}}
        )

    return write_and_read


def read_files(folder: Path, files: dict[str, str]) -> Source:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return read_source([folder])


def declared(source: Source) -> list[str | None]:
    assert source.problems == ()
    return [each.name for each in source.declarations]


def used(source: Source) -> str:
    """The kind, the name and the terms of each use."""
    assert source.problems == ()
    uses = [(each.kind, each.name, each.terms) for each in source.uses]
    return " | ".join(" ".join("?" if part is None else part for part in each) for each in uses)


# --- imports ---


@pytest.mark.parametrize(
    "code",
    [
        "from failpy import fail\nfail.point('a')",
        "from failpy import fail as f\nf.point('a')",
        "import failpy\nfailpy.point('a')",
        "import failpy\nfailpy.fail.fail.point('a')",
        "import failpy as fp\nfp.point('a')",
        "import failpy._point\nfailpy.point('a')",
        "from failpy import point as p\np('a')",
        "from failpy import *\nfail.point('a')",
        "from failpy import *\npoint('a')",
        "def f():\n    from failpy import fail\n    fail.point('a')",
        "def f():\n    fail.point('a')\nfrom failpy import fail",
        "def f():\n    import failpy as fp\n    return lambda: fp.point('a')",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from failpy import fail\nfail.point('a')",
        "try:\n    from failpy import fail\nexcept ImportError:\n    fail = None\nfail.point('a')",
        "def f():\n    global fail\n    from failpy import fail\nf()\nfail.point('a')",
        "def f():\n fail = None\n def g():\n  nonlocal fail\n  import failpy as fail\n fail.point('a')",
        "class C:\n  def f(self):\n    global fail\n    from failpy import fail\nfail.point('a')",
        "global fail\nfrom failpy import fail\nfail.point('a')",
        "from failpy import fail\npoint = fail.point\npoint('a')",
        "from failpy import fail\np = q = (fail or None).point\nq('a')",
        "from failpy import fail\nclass C:\n    p = fail.point\nC.p('a')",
        "from failpy import fail\n(point := fail.point)('a')",
        "from failpy import fail\n[point('a') for _ in range(3) if (point := fail.point)]\npoint('a')",
        "from failpy import fail\n(fail if True else None).point('a')",
        "from failpy import fail\nfail.point(name='a')",
        "from failpy import fail\npoint, other = fail.point, 5\npoint('a')",
        "from failpy import fail\n[(point, other)] = [(fail.point, 5)]\npoint('a')",
        "from failpy import fail\npoint: object = fail.point\npoint('a')",
    ],
)
def test_imports(read: Read, code: str) -> None:
    assert set(declared(read(code))) == {"a"}


@pytest.mark.parametrize(
    "code",
    [
        "from other import fail\nfail.point('a')",
        "fail.point('a')",
        "from other import *\nfail.point('a')",
        "import failpy\nfailpy.other.point('a')",
        "from failpy import fail\ndef f(fail):\n    fail.point('a')",
        "class C:\n    from failpy import fail\n    def f(self):\n        fail.point('a')",
        "from failpy import fail\n[fail.point('a') for fail in []]",
        "from failpy import fail\nlambda fail: fail.point('a')",
        "from failpy import fail\ndef f():\n    for fail in []:\n        fail.point('a')",
        "from failpy import fail\ndef f():\n  fail: str\n  try: pass\n  except E as fail: fail.point('a')",
        "from failpy import fail\ndef f(x):\n  match x:\n    case [1, *fail]: fail.point('a')",
        "from failpy import fail\ndef f(x):\n  match x:\n    case {'a': 1, **fail}: fail.point('a')",
        "from failpy import fail\ndef f(x):\n match x:\n  case {'b': [_]} | int() as fail: fail.point('a')",
        "from failpy import fail\ndef f(x):\n    (fail, *_) = x\n    fail.point('a')",
        "from failpy import fail\ndef f(x):\n    fail, y = *x, 5\n    fail.point('a')",
        "from failpy import fail\nfail.point()\nfail.attach()\nfail.point",
        "from failpy import point\npoint.point('a')\npoint[0]('a')",
        "from failpy import *\nprint('a')\nstr('a')",
        "x = 'a'\nx.upper.point('b')",
    ],
)
def test_what_is_no_failpoint(read: Read, code: str) -> None:
    assert declared(read(code)) == []


# --- declarations ---


def test_every_kind_of_declaration(read: Read, tmp_path: Path) -> None:
    source = read(
        """\
        from failpy import fail, failpoint

        @failpoint("plain")
        def plain(): ...

        class C:
            @property
            @failpoint("method", returns=str, faults=["raise(ENOSPC)", OSError(5, "é"), fail.Sleep(1)])
            def m(self):
                def inner():
                    with fail.point("body"):
                        return "éé", fail.point("expression", returns=int).hit()

        @failpoint("async")
        async def coroutine():
            async with fail.point("lambda") as hit: (lambda: fail.point("in lambda"))

        time = failpoint("call")(len)
        fail.attach("requests:get", "attached")
        fail.attach("requests:put")
        fail.attach(target="requests:head", name=None, returns=int)
        """
    )
    file = str(tmp_path / "main.py")
    assert [each[:6] for each in source.declarations] == [
        ("plain", Place(file, 3, 2), "decorator", "plain", None, True),
        ("method", Place(file, 8, 6), "decorator", "C.m", "str", True),
        ("body", Place(file, 11, 18), "point", "C.m.<locals>.inner", None, False),
        ("expression", Place(file, 12, 30), "point", "C.m.<locals>.inner", "int", True),
        ("async", Place(file, 14, 2), "decorator", "coroutine", None, True),
        ("lambda", Place(file, 16, 16), "point", "coroutine", None, False),
        ("in lambda", Place(file, 16, 54), "point", "coroutine.<locals>.<lambda>", None, False),
        ("call", Place(file, 18, 8), "decorator", "<module>", None, True),
        ("attached", Place(file, 19, 1), "attach", "<module>", None, True),
        ("requests:put", Place(file, 20, 1), "attach", "<module>", None, True),
        ("requests:head", Place(file, 21, 1), "attach", "<module>", "int", True),
    ]  # fmt: skip
    assert source.declarations[1].faults == (
        Fault("raise(ENOSPC)", typed=False, place=Place(file, 8, 47)),
        Fault("OSError(5, 'é')", typed=True, place=Place(file, 8, 64)),
        Fault("sleep(1000)", typed=False, place=Place(file, 8, 81)),
    )
    assert str(source.declarations[0].place) == f"{file}:3"


def test_a_decorator_of_a_class_and_a_default_are_read(read: Read) -> None:
    source = read(
        """\
        from failpy import fail, failpoint
        @failpoint("class")
        class C(fail.point("base"), metaclass=fail.point("meta")):
            def f(self, x=fail.point("default"), *, y=fail.point("keyword"), **z): ...
        """
    )
    assert [(each.name, each.where) for each in source.declarations] == [
        ("class", "C"),
        ("base", "<module>"),
        ("meta", "<module>"),
        ("default", "C"),
        ("keyword", "C"),
    ]


@pytest.mark.parametrize(
    ("returns", "text"),
    [
        ("str", "str"),
        ("None", "None"),
        ("int | None", "int | None"),
        ("None | int", "int | None"),
        ("Optional[int]", "int | None"),
        ("t.Optional[int]", "int | None"),
        ("Union[int, None, str]", "int | str | None"),
        ("Union[int]", "int"),
        ("Any", "Any"),
        ("t.Any", "Any"),
        ("typing.Any", "Any"),
        ("dict[str, None | int]", "dict[str, int | None]"),
        ("tuple[int, ...]", "tuple[int, ...]"),
        ("decimal.Decimal", "Decimal"),
        ("D", "Decimal"),
        ("Local", "Local"),
        ("Outer.Inner", "Inner"),
        ("Alias", "int | None"),
        ("Either", "int"),
    ],
)
def test_types(read: Read, returns: str, text: str) -> None:
    source = read(
        f"""\
        import decimal, typing
        import typing as t
        from decimal import Decimal as D
        from typing import Any, Optional, Union
        from failpy import fail
        class Local: ...
        class Outer:
            class Inner: ...
        Alias = Optional[int]
        if Any:
            Either = int
        else:
            Either = int
        fail.failpoint("a", returns={returns})
        """
    )
    assert [(each.returns, each.claims) for each in source.declarations] == [(text, True)]


@pytest.mark.parametrize(
    ("code", "returns"),
    [
        ("def f(kind): fail.point('a', returns=kind)", "kind"),
        ("def f(kind): fail.point('a', returns=list[kind])", "list[kind]"),
        ("def f(kind): fail.point('a', returns=int | kind)", "int | kind"),
        ("def f(kind): fail.point('a', returns=kind[int])", "kind[int]"),
        ("fail.point('a', returns='str')", "'str'"),
        ("fail.point('a', returns=type(5))", "type(5)"),
        ("fail.point('a', returns=fail.scope())", "fail.scope()"),
        ("A = list['A']\nfail.point('a', returns=A)", "A"),
        ("A = list[A]\nfail.point('a', returns=A)", "A"),
        ("if x: A = int\nelse: A = str\nfail.point('a', returns=A)", "A"),
        ("A = A\nfail.point('a', returns=A)", "A"),
        ("fail.failpoint('a', **options)", None),
        ("fail.point('a')", None),
    ],
)
def test_a_type_that_source_does_not_say(read: Read, code: str, returns: str | None) -> None:
    source = read(f"from failpy import fail\n{code}")
    assert [(each.returns, each.claims) for each in source.declarations] == [(returns, False)]


def test_a_look_up_with_none_claims_nothing(read: Read) -> None:
    source = read("from failpy import fail\nfail.point('a', returns=None)")
    assert [(each.returns, each.claims) for each in source.declarations] == [("None", False)]


def test_faults(read: Read) -> None:
    source = read(
        """\
        from failpy import fail, failpoint
        FAULTS = ("panic", TimeoutError)
        failpoint("a", faults=FAULTS)
        failpoint("b", faults=make())
        failpoint("c", faults=faults if x else ())
        failpoint("d", faults="panic")
        """
    )
    assert [tuple(fault[:2] for fault in each.faults) for each in source.declarations] == [
        (("panic", False), ("TimeoutError", True)),
        (),
        (),
        (),
    ]


# --- names ---


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("NAME", "db.write"),
        ("'db.' + 'write'", "db.write"),
        ("'db.' 'write'", "db.write"),
        ("f'db.{KIND}'", "db.write"),
        ("f'{'db'}.{KIND}'".replace("'db'", '"db"'), "db.write"),
        ("PREFIX + '.' + KIND", "db.write"),
        ("f'shard{1}'", "shard1"),
        ("SHARD", "shard1"),
        ("Names.WRITE", "db.write"),
        ("Names.WRITE.value", "db.write"),
        ("ALIAS", "db.write"),
        ("TWICE", "same"),
        ("(name := 'a')", "a"),
    ],
)
def test_constant_names(read: Read, expression: str, name: str) -> None:
    source = read(
        f"""\
        import enum
        from failpy import fail
        NAME = "db.write"
        PREFIX, KIND = "db", "write"
        SHARD = f"shard{{1}}"
        ALIAS = NAME
        class Names(enum.StrEnum):
            WRITE = "db.write"
        if NAME:
            TWICE = "same"
        else:
            TWICE = "same"
        fail.point({expression})
        """
    )
    assert declared(source) == [name]


@pytest.mark.parametrize(
    ("expression", "pattern"),
    [
        ("name", "*"),
        ("f'db.{name}'", "db.*"),
        ("f'{name!r}.a'", "*.a"),
        ("f'{name:>5}.a'", "*.a"),
        ("'db.' + name + '.' + name", "db.*.*"),
        ("name + name", "*"),
        ("f'{name}{name}'", "*"),
        ("MADE", "db.*"),
        ("CHANGED", "*"),
        ("ADDED", "*"),
        ("LOOPED", "*"),
        ("DELETED", "*"),
        ("SELF", "*.a"),
        ("LONG", "*"),
        ("UNKNOWN", "*"),
        ("Names.OTHER", "*"),
        ("name.value", "*"),
        ("1 + 2", "*"),
        ("5", "*"),
        ("'a' 'b' if name else 'c'", "*"),
        ("*names", "*"),
        ("**names", "*"),
        ("await name", "*"),
    ],
)
def test_computed_names_are_not_guessed(read: Read, expression: str, pattern: str) -> None:
    doubled = "\n        ".join(f"LONG{n} = LONG{n - 1} + LONG{n - 1}" for n in range(1, 30))
    source = read(
        f"""\
        from failpy import fail
        LONG0 = "0123456789"
        {doubled}
        LONG = LONG29
        MADE = "db." + make()
        CHANGED = "a"
        CHANGED = "b"
        ADDED = "a"
        ADDED += "b"
        LOOPED = "a"
        for LOOPED in "ab": pass
        DELETED = "a"
        del DELETED
        SELF = f"{{SELF}}.a"
        class Names:
            WRITE = "db.write"
        async def f(name, names):
            fail.point({expression})
        """
    )
    assert [(each.name, each.pattern) for each in source.declarations] == [(None, pattern)]


PACKAGE = {
    "src/shop/__init__.py": "",
    "src/shop/names.py": "WRITE = 'db.write'\nfrom .more import *\nfrom .more import READ as AGAIN",
    "src/shop/more.py": "READ = 'db.read'\nfrom shop.names import *\nfrom failpy import *",
    "src/shop/sub/__init__.py": "from . import deep",
    "src/shop/sub/deep.py": "NAME = 'deep'",
    "src/other/names.py": "WRITE = 'other.write'",
}


@pytest.mark.parametrize(
    ("file", "code", "name"),
    [
        ("tests/test.py", "from shop.names import WRITE\nfail.point(WRITE)", "db.write"),
        ("tests/test.py", "from shop import names\nfail.point(names.WRITE)", "db.write"),
        ("tests/test.py", "import shop.names\nfail.point(shop.names.WRITE)", "db.write"),
        ("tests/test.py", "import shop.names as n\nfail.point(n.WRITE)", "db.write"),
        ("tests/test.py", "from src.shop.names import WRITE\nfail.point(WRITE)", "db.write"),
        ("tests/test.py", "from shop.names import *\nfail.point(WRITE)", "db.write"),
        ("tests/test.py", "from shop.names import READ\nfail.point(READ)", "db.read"),
        ("tests/test.py", "from shop.names import AGAIN\nfail.point(AGAIN)", "db.read"),
        ("tests/test.py", "from shop.names import MISSING\nfail.point(MISSING)", None),
        ("tests/test.py", "from shop import sub\nfail.point(sub.deep.NAME)", "deep"),
        ("tests/test.py", "from shop.more import fail as f\nf.point('re-exported')", "re-exported"),
        ("tests/test.py", "from other.names import WRITE\nfail.point(WRITE)", "other.write"),
        # `names` in the package `shop` is `shop.names`; the other folder is none, and may be on the path.
        ("tests/test.py", "from names import WRITE\nfail.point(WRITE)", "other.write"),
        ("src/shop/db.py", "from .names import WRITE\nfail.point(WRITE)", "db.write"),
        ("src/shop/db.py", "from . import names\nfail.point(names.WRITE)", "db.write"),
        ("src/shop/sub/db.py", "from ..names import WRITE\nfail.point(WRITE)", "db.write"),
        ("src/shop/sub/db.py", "from .. import names as n\nfail.point(n.WRITE)", "db.write"),
        ("src/shop/sub/db.py", "from .names import WRITE\nfail.point(WRITE)", None),
    ],
)
def test_a_name_from_another_file(tmp_path: Path, file: str, code: str, name: str | None) -> None:
    source = read_files(tmp_path, {**PACKAGE, file: f"from failpy import fail\n{code}"})
    assert declared(source) == [name]


def test_a_name_that_may_come_from_two_files_is_not_guessed(tmp_path: Path) -> None:
    files = {
        "a/names.py": "X = 'x'; Y = 'y'",
        "b/names.py": "X = 'x'; Y = 'other'",
        "main.py": "from failpy import fail\nfrom names import X, Y\nfail.point(X)\nfail.point(Y)",
    }
    assert declared(read_files(tmp_path, files)) == ["x", None]


# --- uses ---


@pytest.mark.parametrize(
    ("code", "uses"),
    [
        ("fail.scope({'A': 'panic', 'B': '2*off->print'})", "scope A panic | scope B 2*off->print"),
        ("fail.scope('A=panic;B=off')", "scope A panic | scope B off"),
        ("fail.scope(terms={'A': 'off'})", "scope A off"),
        ("fail.scope()\nfail.scope(None)\nfail.scope(strict=False)\nfail.scope(**options)", ""),
        ("@fail.scope({'A': 'off'})\ndef f(): ...", "scope A off"),
        ("fail.scope(dict(A='off', B=make()))", "scope A off | scope B ?"),
        ("fail.scope(dict({'A': 'off'}, **{'B': 'off'}))", "scope A off | scope B off"),
        ("fail.scope(dict([('A', 'off'), ('B', 'off')]))", "scope A off | scope B off"),
        ("fail.scope({'A': 'off'} | {**{'B': 'off'}})", "scope A off | scope B off"),
        ("fail.scope({'A': 'off'} & other)", "scope ? ?"),
        ("BASE = {'A': 'off'}\nfail.scope(BASE)\nfail.scope({**BASE})", "scope A off"),
        ("BASE = {'A': 'off'}\nBASE = {**BASE, 'B': 'off'}\nfail.scope(BASE)",
            "scope A off | scope B off"),
        ("fail.scope('A=off' if x else {'B': 'off'})", "scope A off | scope B off"),
        ("fail.scope('A=off' and {'B': 'off'})", "scope B off"),
        ("fail.scope({'A': 'off'} or 'B=off')", "scope B off | scope A off"),
        ("fail.scope(make())", "scope ? ?"),
        ("fail.scope(*args)", "scope ? ?"),
        ("fail.scope(f'A={x}')", "scope ? ?"),
        ("def f(terms): fail.scope(terms)", "scope ? ?"),
        ("fail.scope({f'db.{x}': 'off'})", "scope ? off"),
        ("fail.enable('A', 'off')", "enable A off"),
        ("fail.enable(name='A', terms='off')", "enable A off"),
        ("fail.enable('A', make())", "enable A ?"),
        ("fail.enable(*args)", "enable ? ?"),
        ("fail.enable(**args)", "enable ? ?"),
        ("fail.enable()\nfail.disable()", ""),
        ("fail.disable('A')", "disable A ?"),
        ("fail.status('A')", "status A ?"),
        ("fail.enable_all('A=off')", "enable_all A off"),
        ("fail.enable_all({'A': 'off'})", "enable_all A off"),
        ("with fail.scope() as s: s.enable('A', 'off')", "enable A off"),
        ("async def f():\n async with fail.scope() as s: s.disable('A')", "disable A ?"),
        ("s = fail.scope()\ndef f(): s.status('A')", "status A ?"),
        ("with fail.scope() as s: s.wait_for_hit('A')", "wait_for_hit A ?"),
        ("async def f():\n with fail.scope() as s: s.await_for_hit('A')", "wait_for_hit A ?"),
        ("with fail.scope() as s: s.order('A', 'B', timeout=1)", "order A ? | order B ?"),
        ("STEPS = ['A', 'B']\nwith fail.scope() as s: s.order(*STEPS, 'C')",
            "order A ? | order B ? | order C ?"),
        ("with fail.scope() as s: s.order(*steps, *{'A'})", "order ? ? | order ? ?"),
        ("def test(failpoints): failpoints.enable('A', 'off')", "enable A off"),
        ("def f(s: fail.Scope): s.enable('A', 'off')", "enable A off"),
        ("def f(s: int): s.enable('A', 'off')", ""),
        ("with stack.enter_context(fail.scope()) as s: s.enable('A', 'off')", "enable A off"),
        ("s = stack.enter_context(fail.scope())\ns.enable('A', 'off')", "enable A off"),
        ("async def f():\n s = await e.enter_async_context(fail.scope())\n s.disable('A')", "disable A ?"),
        ("stack.enter_context().enable('A', 'off')", ""),
        ("fail.current_scope().enable('A', 'off')", "enable A off"),
        ("with open(x) as s, y as (a, b), z: s.enable('A', 'off')", ""),
        ("@pytest.mark.failpoints({'A': 'off'})\ndef test(): ...", "marker A off"),
        ("pytestmark = pytest.mark.failpoints('A=off', seed=1)", "marker A off"),
        ("@mark.failpoints(A)\ndef test(): ...", "marker ? ?"),
        ("monkeypatch.setenv('FAILPY_FAILPOINTS', 'A=off')", "environ A off"),
        ("monkeypatch.setitem(os.environ, 'FAILPY_FAILPOINTS', 'A=off')", "environ A off"),
        ("monkeypatch.setenv('FAILPY_SEED', 'A=off')\nget('FAILPY_FAILPOINTS', 'A=off')", ""),
        ("os.environ['FAILPY_FAILPOINTS'] = 'A=off'", "environ A off"),
        ("os.environ['OTHER'] = x.y = 'A=off'", ""),
        ("env['FAILPY_FAILPOINTS'] = make()", "environ ? ?"),
        ("V = 'FAILPY_FAILPOINTS'\nrun(env={**os.environ, V: 'A=off', 'B': '1'})", "environ A off"),
        ("run(FAILPY_FAILPOINTS='A=off;B=panic', other=1)", "environ A off | environ B panic"),
        ("T = 'A=off'\nrun(FAILPY_FAILPOINTS=T)", "environ A off"),
    ],
)  # fmt: skip
def test_uses(read: Read, code: str, uses: str) -> None:
    source = read(f"import os, pytest\nfrom pytest import mark\nfrom failpy import fail\n{code}")
    assert used(source) == uses
    assert declared(source) == []


@pytest.mark.parametrize(
    ("terms", "text", "typed"),
    [
        ("'off'", "off", False),
        ("TEXT", "panic", False),
        ("fail.Return(5)", "return(5)", False),
        ("fail.Return(value=[1])", "return([1])", False),
        ("Return()", "return", False),
        ("3 * fail.Sleep(0.01) >> 1 * fail.Off().chance(0.5) >> Return('x')", "SEE", False),
        ("TYPED", "2*off", False),
        ("fail.Raise(KeyError)", "fail.Raise(KeyError)", True),
        ("fail.Return(x) >> fail.Off()", "fail.Return(x) >> fail.Off()", True),
        ("x >> fail.Off()", "x >> fail.Off()", True),
        ("made() >> fail.Off()", "made() >> fail.Off()", True),
        ("fail.parse('1*off') >> fail.Print()", "1*off->print", False),
        ("fail.parse('1*off->print')", "1*off->print", False),
        ("fail.parse('nonsense')", "fail.parse('nonsense')", True),
        ("fail.Off() | fail.Off()", "fail.Off() | fail.Off()", True),
        ("n * fail.Off()", "n * fail.Off()", True),
        ("3 * (fail.Off() >> fail.Off())", "3 * (fail.Off() >> fail.Off())", True),
        ("(fail.Off() >> fail.Off()).chance(1)", "(fail.Off() >> fail.Off()).chance(1)", True),
        ("fail.Sleep(-1)", "fail.Sleep(-1)", True),
        ("fail.Return(**x)", "fail.Return(**x)", True),
        ("fail.Return((1, 2))", "fail.Return((1, 2))", True),
        ("[fail.Off()]", None, False),
        ("make()", None, False),
        ("x", None, False),
    ],
)  # fmt: skip
def test_terms(read: Read, terms: str, text: str | None, typed: bool) -> None:
    source = read(
        "from failpy import fail, Return\nTEXT = 'panic'\nTYPED = 2 * fail.Off()\n"
        f"def f(x, n): fail.enable('A', {terms})"
    )
    text = '3*sleep(10)->1*50%off->return("x")' if text == "SEE" else text
    assert [(each.terms, each.typed) for each in source.uses] == [(text, typed)]


def test_the_place_of_a_use_is_where_its_name_stands(read: Read, tmp_path: Path) -> None:
    source = read(
        """\
        from failpy import fail
        TERMS = {
            "é": "off", "A": "off",
        }
        with fail.scope(TERMS), fail.scope(dict(B="off")), fail.scope(
            "C=off"
        ): ...
        """
    )
    assert [(each.name, *each.place[1:]) for each in source.uses] == [
        ("é", 3, 5),
        ("A", 3, 17),
        ("B", 5, 41),
        ("C", 6, 5),
    ]


def test_columns_are_of_characters_whatever_ends_the_lines(tmp_path: Path) -> None:
    code = b"# coding: latin-1\r\nimport failpy as f\r'\xe9\xe9'; f.point('\xe9')\nf.point('b')"
    (tmp_path / "a.py").write_bytes(code)
    source = read_source([tmp_path])
    assert [(each.name, *each.place[1:]) for each in source.declarations] == [("é", 3, 7), ("b", 4, 1)]


def test_a_malformed_set(read: Read, tmp_path: Path) -> None:
    source = read("from failpy import fail\nfail.scope('A=off;B=5*')")
    assert source.uses == ()
    assert [(each.place, each.error.column) for each in source.malformed] == [
        (Place(str(tmp_path / "main.py"), 2, 12), 11)
    ]


# --- files that are not Python ---


@pytest.mark.parametrize(
    ("name", "text", "uses"),
    [
        ("run.sh", "FAILPY_FAILPOINTS='A=return(\"x\")' python x.py", 'environ A return("x")'),
        ("run.sh", 'export FAILPY_FAILPOINTS="A=return(\\"x\\")"; ls', 'environ A return("x")'),
        ("run.sh", "FAILPY_FAILPOINTS=A=panic; echo B=x", "environ A panic"),
        ("run.sh", "FAILPY_FAILPOINTS=A=return'(\"x\")'\\;B=off ls", 'environ A return("x") | environ B off'),
        ("run.sh", "FAILPY_FAILPOINTS='\n A=off;\n B=off\n'", "environ A off | environ B off"),
        ("run.sh", "docker run -e FAILPY_FAILPOINTS=A=off x", "environ A off"),
        ("run.sh", "FAILPY_FAILPOINTS= python x.py", ""),
        ("run.sh", "FAILPY_FAILPOINTS=$TERMS ls", "environ ? ?"),
        ("run.sh", 'FAILPY_FAILPOINTS="A=$X" ls', "environ ? ?"),
        ("run.sh", "FAILPY_FAILPOINTS='A=off ls", "environ ? ?"),
        ("run.sh", "# FAILPY_FAILPOINTS=A=off\nls # FAILPY_FAILPOINTS=A=off", ""),
        ("run.sh", "echo $FAILPY_FAILPOINTS ${FAILPY_FAILPOINTS:=x} MY_FAILPY_FAILPOINTS=x", ""),
        ("run.sh", "failpy enable A '2*off->panic'", "command A 2*off->panic"),
        ("run.sh", "failpy enable A=panic B='50%off' --ttl=30s # C=x", "command A panic | command B 50%off"),
        ("run.sh", "failpy enable A $X", "command A ?"),
        ("run.sh", "failpy enable $X off", "command ? ?"),
        ("run.sh", "failpy enable 'a b' off", "command ? off"),
        ("run.sh", "python -m failpy disable A \\\n  B --url x\nls", "disable A ? | disable B ?"),
        ("run.sh", "failpy disable $X; failpy disable ;", "disable ? ?"),
        ("run.sh", "failpy enable --help\n# failpy enable A off\nmyfailpy enable A off", ""),
        ("run.sh", 'echo "do failpy enable A off"', ""),
        ("run.sh", "failpy enable A off # B", "command A off"),
        ("run.sh", "failpy enable A", ""),
        ("Makefile", "export FAILPY_FAILPOINTS := A=off;B=off # why\n", "environ A off | environ B off"),
        ("Makefile", "a:\n\tFAILPY_FAILPOINTS='A=off' a", "environ A off"),
        ("Makefile", "a:\n\tFAILPY_FAILPOINTS=$$X a", "environ ? ?"),
        ("Dockerfile", "ENV FAILPY_FAILPOINTS=A=off OTHER=x", "environ A off"),
        ("ci.yml", "env:\n  FAILPY_FAILPOINTS: A=panic;B=off # why", "environ A panic | environ B off"),
        ("ci.yml", "FAILPY_FAILPOINTS: 'A=print(''x'')'", 'environ A print("x")'),
        ("ci.yml", '"FAILPY_FAILPOINTS": "A=print(\\"x\\")"', 'environ A print("x")'),
        ("ci.yml", "FAILPY_FAILPOINTS: ${{ matrix.terms }}", "environ ? ?"),
        ("ci.yml", "FAILPY_FAILPOINTS: '{{ x }}'", "environ ? ?"),
        ("ci.yml", "FAILPY_FAILPOINTS: 'A=off", "environ ? ?"),
        ("ci.yml", "FAILPY_FAILPOINTS: >-\n  A=off;\n\n  B=off\nO: C=off", "environ A off | environ B off"),
        ("ci.yml", "FAILPY_FAILPOINTS: |\n  A=off", "environ A off"),
        ("ci.yml", "- FAILPY_FAILPOINTS=A=off;B=off\n- OTHER=1", "environ A off | environ B off"),
        ("ci.yml", '- "FAILPY_FAILPOINTS=A=off;B=off"', "environ A off | environ B off"),
        ("ci.yml", '- "FAILPY_FAILPOINTS=A=off', "environ ? ?"),
        ("ci.yml", "- run: FAILPY_FAILPOINTS='A=off' pytest", "environ A off"),
        ("ci.yml", "- run: failpy enable A off", "command A off"),
        ("ci.yml", "if: env.FAILPY_FAILPOINTS == 'x' && FAILPY_FAILPOINTS == 'x'", ""),
        (".env", "FAILPY_FAILPOINTS=A=off;B=off\nX=1", "environ A off | environ B off"),
        (".env", "FAILPY_FAILPOINTS='A=off'", "environ A off"),
        ("tox.ini", "setenv =\n  FAILPY_FAILPOINTS = A=off", "environ A off"),
        ("x.toml", "FAILPY_FAILPOINTS = \"A=off\"\ntext = 'failpy enable A off'", "environ A off"),
        ("x.toml", "env = ['FAILPY_FAILPOINTS=A=off']", "environ A off"),
        ("notes.txt", "FAILPY_FAILPOINTS=A=off", ""),
        ("other.sh", "ls", ""),
    ],
)  # fmt: skip
def test_settings(
    tmp_path: Path, name: str, text: str, uses: list[tuple[str, str | None, str | None]]
) -> None:
    (tmp_path / name).write_text(text)
    source = read_source([tmp_path])
    assert used(source) == uses
    assert source.malformed == ()


def test_the_place_in_settings(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_bytes(
        b"\xef\xbb\xbfls\r\n\r\n  FAILPY_FAILPOINTS=5 ls\r\n  failpy enable A off\r\n"
    )
    source = read_source([tmp_path])
    assert [each.place[1:] for each in source.malformed] == [(3, 3)]
    assert [(each.terms, *each.place[1:]) for each in source.uses] == [("off", 4, 3)]


# --- comments that silence ---


def test_silencing_comments(read: Read, tmp_path: Path) -> None:
    source = read(
        """\
        a = 1  # failpy: ignore
        b = "# failpy: ignore"
        c = 2  # why # failpy:ignore[FP001, FP003]
        # another comment
        """,
        run__sh="failpy enable A off # failpy: ignore[FP001]\n",
    )
    assert source.silenced == {
        (str(tmp_path / "main.py"), 1): frozenset(),
        (str(tmp_path / "main.py"), 3): {"FP001", "FP003"},
        (str(tmp_path / "run.sh"), 1): {"FP001"},
    }


# --- files and folders ---


def test_what_is_read_of_a_folder(tmp_path: Path) -> None:
    wanted = [
        ".env",
        ".github/workflows/ci.yml",
        "Dockerfile",
        "Makefile",
        "a.py",
        "b.pyi",
        "compose.yaml",
        "run.sh",
        "sub/c.py",
        "tox.ini",
    ]
    others = [
        ".git/a.py",
        ".hidden.py",
        ".hidden/a.py",
        ".venv/a.py",
        "README.md",
        "build/a.py",
        "data.bin",
        "dist/a.py",
        "env/pyvenv.cfg",
        "env/a.py",
        "node_modules/a.py",
        "shop.egg-info/a.py",
        "sub/__pycache__/a.py",
        "venv/a.py",
    ]
    source = read_files(tmp_path, dict.fromkeys([*wanted, *others], ""))
    assert sorted(os.path.relpath(each, tmp_path).replace(os.sep, "/") for each in source.files) == wanted
    assert source.files == read_source([tmp_path]).files
    # What is given itself is read, whatever it is called.
    assert len(read_source([tmp_path / "build", tmp_path / "data.bin", tmp_path / ".hidden.py"]).files) == 3


def test_a_file_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import failpy\nfailpy.point('a')")
    (tmp_path / "b.py").symlink_to("a.py")
    (tmp_path / "dangling.py").symlink_to("nowhere.py")
    (tmp_path / "loop").symlink_to(tmp_path)
    source = read_source([tmp_path, tmp_path / "a.py", str(tmp_path)])
    assert source.files == (str(tmp_path / "a.py"),)
    assert declared(source) == ["a"]


def test_a_script_without_a_suffix(tmp_path: Path) -> None:
    script, other = tmp_path / "script", tmp_path / "other"
    script.write_text("#!/usr/bin/env python3\nimport failpy\nfailpy.point('a')")
    other.write_text("#!/bin/sh\nFAILPY_FAILPOINTS=A=off ls")
    source = read_source([script, other])
    assert declared(source) == ["a"]
    assert used(source) == "environ A off"


def test_relative_paths_stay_as_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("import failpy\nfailpy.point('a')")
    monkeypatch.chdir(tmp_path)
    assert read_source(["."]).declarations[0].place.file == "a.py"


def test_a_path_with_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FailpointError, match="nothing to read at '.*missing': give"):
        read_source([tmp_path / "missing"])


def test_a_single_path_is_refused() -> None:
    with pytest.raises(TypeError, match=r"paths must be a list of paths, not 'a': write \['a'\]"):
        read_source("a")


@pytest.mark.parametrize(
    ("name", "data", "line", "says"),
    [
        ("a.py", b"x = 1\nx = (", 2, "it is no Python that Python 3"),
        ("a.py", b"x = 1\n\n'\xff'", 3, "it is not utf-8"),
        ("a.py", b"# coding: nonsense\n", 1, "nonsense"),
        ("a.py", b"x = 1\0", 1, "null bytes"),
        ("a.py", b"x = " + b"(" * 5000, 1, "it is no Python that Python 3"),
        ("a.py", b"x = " + b"-" * 100_000 + b"1", 1, "it is no Python that Python 3"),
        ("run.sh", b"ls\nfailpy \xff", 2, "it is not utf-8"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, data: bytes, line: int, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "b.py").write_text("import failpy\nfailpy.point('b')")
    source = read_source([tmp_path])
    assert [(each.file, each.line) for each in source.problems] == [(str(tmp_path / name), line)]
    assert says in source.problems[0].reason
    assert [each.name for each in source.declarations] == ["b"]


def test_an_expression_that_is_nested_too_deeply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = "\n".join(f"N{n} = (N{n + 1})" for n in range(3000))
    (tmp_path / "a.py").write_text(f"import failpy\n{chain}\nN3000 = 'a'\nfailpy.point(N0)")
    (tmp_path / "b.py").write_text("import failpy\nfailpy.point('b')")
    source = read_source([tmp_path])
    assert [each.name for each in source.declarations] == ["b"]
    assert source.problems == (
        Problem(
            str(tmp_path / "a.py"), 1, "an expression in it is nested too deeply to be read; leave it out"
        ),
    )


def test_a_file_and_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, since root may read anything."""
    for name in ("a.py", "closed/b.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def denied(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    listing = os.scandir
    monkeypatch.setattr(Path, "read_bytes", denied)
    monkeypatch.setattr(
        os, "scandir", lambda path: denied(path) if str(path).endswith("closed") else listing(path)
    )
    source = read_source([tmp_path])
    reason = "it cannot be read: Permission denied; see to its permissions, or leave it out"
    assert source.problems == (
        Problem(str(tmp_path / "a.py"), 1, reason),
        Problem(str(tmp_path / "closed"), 1, reason),
    )


# --- whatever there is ---


def test_the_standard_library_and_failpy_itself_are_read() -> None:
    files = sorted(Path(os.__file__).parent.rglob("*.py"))
    sample = random.Random(0).sample([each for each in files if "site-packages" not in each.parts], 300)
    source = read_source([*sample, Path(failpy.__file__).parent])
    # lib2to3 is tested with files that are no Python.
    assert [each.file for each in source.problems if "test" not in each.file] == []
    assert len(source.files) > 300


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_a_problem(tmp_path: Path, data: bytes) -> None:
    for name in ("a.py", "a.sh", "a.yml", ".env"):
        (tmp_path / name).write_bytes(data if name == "a.py" else b"FAILPY_FAILPOINTS=" + data)
    source = read_source([tmp_path])
    assert len(source.files) == 4
    assert all(1 <= each.line <= data.count(b"\n") + data.count(b"\r") + 2 for each in source.problems)


STATEMENTS = """
import failpy as fail
import failpy as X
from failpy import *
from a import *
from a import X
from . import X
from .a import fail as X
X = fail
fail = X
X = X + X
X = f"{X}.{fail}"
X += "a"
X: fail = "a"
X = fail.scope
X = fail.point("a") if X else fail.X
X = {**X, "a": fail}
X = [X, *X]
X = Union[int, X]
X = list[X]
X, fail = fail, X
for X in X: X.point(X)
del X
def X(X=X, *fail, **failpoints): fail.point(X)
def f(X: fail.Scope): global fail; fail = X; X.enable(X, X)
class X(X): X = X; fail = X.X
with X as X, fail.scope(X) as (X, fail), fail.scope(X) as fail: fail.order(X, *X)
fail.point(X, returns=X, faults=X)
fail.scope(X); fail.scope({X: X}); fail.scope(dict(X, **X)); fail.scope(X or X)
fail.enable(X, 3 * X >> X.chance(X)); fail.enable(X.value, fail.Return(X)); fail.attach(X, X)
[X := X for X in X if (fail := X)]
(lambda X: fail(X))(X)(X)
X[X] = X["FAILPY_FAILPOINTS"] = X(FAILPY_FAILPOINTS=X)
try: X.setenv("FAILPY_FAILPOINTS", X)|except X as X: pass
match X:| case {"a": X, **fail}: fail.point(X)| case [X, *fail]: pass
"""


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(STATEMENTS.strip().split("\n")), max_size=20))
def test_any_code_is_read(tmp_path: Path, code: list[str]) -> None:
    text = "\n".join(code).replace("|", "\n")
    ast.parse(text)
    (tmp_path / "a.py").write_text(text)
    source = read_source([tmp_path])
    assert source.problems == ()
    assert len(source.files) == 1


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failpy._source._LARGE", {True: 10, False: 10})
    for name in ("a.py", "b.sh"):
        (tmp_path / name).write_text("# failpy and more of it")
    source = read_source([tmp_path])
    assert [Path(each.file).name for each in source.problems] == ["a.py", "b.sh"]
    assert "too large" in source.problems[0].reason


def test_an_encoding_that_gives_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("# coding: rot13\n")
    (problem,) = read_source([tmp_path]).problems
    assert "no Python" in problem.reason
