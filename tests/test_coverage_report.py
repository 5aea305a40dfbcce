"""The coverage report: what a finished tally says of failure paths, in four forms."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any
from unicodedata import east_asian_width

import pytest

from failpy import fail
from failpy._coverage import STATES, Coverage, Row, coverage
from failpy._coverage_html import render as page
from failpy._coverage_json import render as document
from failpy._coverage_lcov import render as tracefile
from failpy._coverage_term import lines
from failpy._coverage_words import percentage
from failpy._registry import declared
from failpy._site import BODY
from failpy._source import read_source
from failpy._tally import PointTally, Tally
from tests.surroundings import collect

FULL, TIMEOUT = 'raise(OSError(28, "full"))', "raise(TimeoutError)"


def tally_of(**points: PointTally) -> Tally:
    tally = Tally()
    for name, point in points.items():
        point.sites = point.sites or {("/srv/shop/db.py", 3, BODY)}
        tally[name].add(point)
    return tally


def point(*faults: str, **counts: Any) -> PointTally:
    return PointTally(faults=list(faults), **{"armed": 1, **counts})


def only(covered: Coverage) -> Row:
    (row,) = covered.rows
    return row


def text_of(covered: Coverage, width: int = 80, *, verbose: bool = False) -> str:
    return "\n".join(text for text, _ in lines(covered, width, verbose=verbose))


# --- states and numbers ---


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        ("never", {"armed": 0}),
        ("armed", {}),
        ("hit", {"hits": 2}),
        ("partly", {"hits": 2, "fired": 1, "injected": Counter({FULL: 1})}),
        ("partly", {"hits": 2, "fired": 1, "others": Counter({"panic": 1})}),
        ("fired", {"hits": 2, "fired": 2, "injected": Counter({FULL: 1, TIMEOUT: 1})}),
    ],
)
def test_the_state_says_how_far_a_point_came(state: str, counts: dict[str, Any]) -> None:
    covered = coverage(tally_of(a=point(FULL, TIMEOUT, **counts)), Path("/srv"))
    assert only(covered).state == state
    assert covered.states == {each: int(each == state) for each in STATES}
    assert f"a     {state}" in text_of(covered)
    assert f'<li class="{state}"><details>' in page(covered)
    assert json.loads(document(covered))["points"][0]["state"] == state


def test_a_point_without_catalogue_needs_only_fire() -> None:
    row = only(coverage(tally_of(a=point(fired=1, others=Counter({"panic": 1}))), Path("/srv")))
    assert (row.state, row.faults, row.others) == ("fired", {}, {"panic": 1})


def test_the_percentages_are_of_points_and_of_faults() -> None:
    tally = tally_of(
        a=point(FULL, TIMEOUT, fired=4, injected=Counter({FULL: 4})),
        b=point(FULL),
        c=point(fired=1),
    )
    covered = coverage(tally, Path("/srv"))
    assert (covered.points, covered.fired, covered.faults, covered.injected) == (3, 2, 3, 1)
    assert covered.percent == pytest.approx(66.6666667)
    assert covered.faults_percent == pytest.approx(33.3333333)
    assert text_of(covered).endswith("\n2 of 3 failpoints fired (66.6 %), 1 of 3 faults injected")


def test_nothing_to_cover_is_covered() -> None:
    covered = coverage(Tally(), Path("/srv"))
    assert (covered.percent, covered.faults_percent, covered.rows) == (100.0, 100.0, ())
    assert text_of(covered) == "no failpoint was declared"
    assert tracefile(covered) == ""
    assert json.loads(document(covered))["points"] == []
    assert "No failpoint was declared" in page(covered)
    assert "100 %" not in page(covered)  # which would praise for nothing


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 0, "100 %"), (9999, 10_000, "99.9 %"), (29, 100, "29 %"), (1, 3000, "0 %"), (899, 1000, "89.9 %")],
)
def test_a_percentage_never_says_more_than_there_is(part: int, whole: int, text: str) -> None:
    assert percentage(part, whole) == text


def test_what_is_injected_and_in_no_catalogue_is_not_lost() -> None:
    counts = {
        "injected": Counter({"raise(KeyError)": 2}),
        "others": Counter({"panic": 1, "raise(KeyError)": 1}),
    }
    row = only(coverage(tally_of(a=point(FULL, fired=4, **counts)), Path("/srv")))
    assert row.faults == {FULL: 0}
    assert row.others == {"panic": 1, "raise(KeyError)": 3}


def test_rows_are_sorted_and_tests_too() -> None:
    tests = {"t.py::b": Counter(armed=2, hits=1), "t.py::a": Counter(armed=1)}
    covered = coverage(tally_of(b=point(), a=point(tests=tests)), Path("/srv"))
    assert [row.name for row in covered.rows] == ["a", "b"]
    assert list(covered.rows[0].tests.items()) == [
        ("t.py::a", {"armed": 1, "hits": 0, "fired": 0}),
        ("t.py::b", {"armed": 2, "hits": 1, "fired": 0}),
    ]


def test_a_name_that_nothing_declares_is_no_row() -> None:
    tally = Tally()
    tally["typo"].armed = 1
    assert coverage(tally, Path("/srv")).rows == ()


def test_names_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        "import failpy\nfailpy.point('db.c')\nfailpy.point('x' + y)\nfailpy.point('db.' + y)\n"
    )
    tally = tally_of(**{"db.a": point(), "DB.b": point(), "cache": point()})
    covered = coverage(tally, tmp_path, source=read_source([tmp_path]), omit=["db.*", "cach?"])
    assert [row.name for row in covered.rows] == ["DB.b"]
    assert [place.line for place in covered.unreadable] == [3]


# --- paths ---


def test_paths_are_relative_to_the_root(tmp_path: Path) -> None:
    inside, outside = tmp_path / "root" / "pkg" / "db.py", tmp_path / "elsewhere.py"
    endings = Counter({
        f"handled by C.save.<locals>.inner ({inside}:12)": 1,
        f"handled by save ({outside}:3)": 2,
        "handled by f (<stdin>:1)": 3,
        f"died in thread 'x ({inside}:1)'": 4,
        "reached the test": 5,
    })  # fmt: skip
    sites = {(str(inside), 1, BODY), (str(outside), 2, "f"), ("<stdin>", 3, BODY)}
    row = only(coverage(tally_of(a=point(sites=sites, endings=endings)), tmp_path / "root"))
    assert {(file, line) for file, line, _ in row.sites} == {
        ("pkg/db.py", 1), (outside.resolve().as_posix(), 2), ("<stdin>", 3),
    }  # fmt: skip
    assert row.endings == {
        "handled by C.save.<locals>.inner (pkg/db.py:12)": 1,
        f"handled by save ({outside.resolve().as_posix()}:3)": 2,
        "handled by f (<stdin>:1)": 3,
        f"died in thread 'x ({inside}:1)'": 4,
        "reached the test": 5,
    }


def test_one_file_by_two_paths_is_one_site(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    try:
        (tmp_path / "link").symlink_to("real")
    except OSError:
        pytest.skip("no symbolic links here")
    sites = {(str(tmp_path / folder / "m.py"), 2, BODY) for folder in ("real", "link")}
    row = only(coverage(tally_of(a=point(sites=sites)), tmp_path / "link"))
    assert row.sites == (("m.py", 2, BODY),)


# --- run time and source ---


class Program:
    """A module that is imported, and read."""

    def __init__(self, folder: Path, text: str, name: str) -> None:
        self.file = folder / f"program_{name.replace('.', '_')}.py"
        self.file.write_text(dedent(text).replace("NAME", name))
        self.name = name

    def load(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location(self.file.stem, self.file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def covered(self) -> Coverage:
        tally = Tally()
        for name in (self.name, f"{self.name}.other"):
            found = declared(name)
            if found is not None:
                tally[name].sites.update(map(tuple, found._sites))  # type: ignore[arg-type]
        return coverage(tally, self.file.parent, source=read_source([self.file.parent]))

    def places(self) -> list[tuple[int, str]]:
        return [(line, where) for _, line, where in only(self.covered()).sites]


SHAPES = {
    "function": ("""
        @failpoint("NAME", returns=str)
        def read(): return ""
    """, [(3, "read")]),
    "not the first decorator": ("""
        @plain
        @failpoint(
            "NAME",
        )
        def read(): return ""
    """, [(4, "read")]),
    "a generator, a coroutine": ("""
        class C:
            @failpoint("NAME")
            async def read(self): pass
            @failpoint("NAME")
            def rows(self): yield
    """, [(4, "C.read"), (6, "C.rows")]),
    "methods": ("""
        class C:
            @classmethod
            @failpoint("NAME")
            def one(cls): pass

            @failpoint("NAME")
            @staticmethod
            def two(): pass
    """, [(5, "C.one"), (8, "C.two")]),
    "getter and setter": ("""
        class C:
            @property
            @failpoint("NAME")
            def it(self): pass
            @it.setter
            @failpoint("NAME")
            def it(self, value): pass
    """, [(5, "C.it"), (8, "C.it")]),
    "a getter of computed name": ("""
        class C:
            @property
            @failpoint("NAME" + str())
            def it(self): pass
            @it.setter
            @failpoint("NAME")
            def it(self, value): pass
    """, [(5, "C.it"), (8, "C.it")]),
    "below wraps": ("""
        @failpoint("NAME")
        @plain
        def read(): pass
    """, [(3, "read")]),
    "a proxy": ("""
        @failpoint(
            "NAME"
        )
        @functools.cache
        def read(): pass
    """, [(3, BODY)]),
    "called": ("""
        def read(): pass
        faulty = failpoint("NAME")(read)
    """, [(3, "read")]),
    "a lambda": ("""
        faulty = failpoint("NAME")(lambda: None)
    """, [(3, "<lambda>")]),
    "one of two definitions": ("""
        if len("x") == 2:
            @failpoint("NAME")
            def read(): pass
        else:
            @failpoint("NAME")
            def read(): pass
    """, [(4, "read"), (7, "read")]),
    "nested": ("""
        def outer():
            @failpoint("NAME")
            def inner(): pass
        outer()
    """, [(4, "outer.<locals>.inner")]),
    "a block": ("""
        def save():
            with fail.point(
                "NAME"
            ):
                pass
        save()
    """, [(4, BODY)]),
    "a decorated function, and a block in it that never ran": ("""
        @plain
        @failpoint("NAME")
        def save():
            with fail.point("NAME"): pass
    """, [(4, "save"), (6, BODY)]),
    "a block that never ran": ("""
        def save():
            with fail.point("NAME"):
                pass
    """, [(4, BODY)]),
    "a function that was never defined": ("""
        def outer():
            @failpoint("NAME")
            def inner(): pass
    """, [(4, "outer.<locals>.inner")]),
    "two blocks, one of which ran": ("""
        def save():
            with fail.point("NAME"): pass
        def load():
            with fail.point("NAME"): pass
        load()
    """, [(4, BODY), (6, BODY)]),
    "an expression over lines": ("""
        def save():
            return (
                fail
                .point("NAME")
                .hit(
                    a=1,
                )
            )
        with fail.scope({"NAME": "off"}): save()
    """, [(5, BODY)]),
    "the second look-up, over lines": ("""
        def save():
            if len("x") == 1:
                hit = (
                    fail.point("NAME")
                    .hit()
                )
        fail.point("NAME")
        with fail.scope({"NAME": "off"}): save()
    """, [(6, BODY), (9, BODY)]),
    "several in one header": ("""
        def save(it):
            match (
                fail.point("NAME"), fail.point(
                    "NAME.other",
                ),
            ):
                case _: return it
        save(1)
    """, [(5, BODY)]),
    "held": ("""
        POINT = fail.point("NAME")
        def save():
            with POINT: pass
        with fail.scope({"NAME": "off"}): save()
    """, [(3, BODY), (5, BODY)]),
    "computed": ("""
        def at(name):
            return fail.point(name)
        at("NAME")
    """, [(4, BODY)]),
    "a computed decorator": ("""
        def read(): pass
        def put(name): return failpoint(name + "")(read)
        put("NAME")
    """, [(3, "read")]),
}  # fmt: skip

HEAD = """\
import functools; from failpy import fail, failpoint
def plain(f): return functools.wraps(f)(lambda *args: f(*args))"""


@pytest.mark.parametrize("shape", SHAPES)
def test_each_place_is_listed_once(shape: str, tmp_path: Path, name: str) -> None:
    text, places = SHAPES[shape]
    program = Program(tmp_path, HEAD + dedent(text), name)
    program.load()
    covered = program.covered()
    row = next(row for row in covered.rows if row.name == name)
    assert [(line, where) for _, line, where in row.sites] == places
    assert {site.file for site in row.sites} == {program.file.name}
    assert covered.unreadable == ()


def test_a_point_that_never_ran_is_a_row(tmp_path: Path, name: str) -> None:
    program = Program(
        tmp_path,
        """
        from failpy import fail
        def save():
            return fail.point("NAME", returns=str, faults=(TimeoutError, 'return("x")', 'return("x")')).hit()
        """,
        name,
    )
    program.load()
    covered = program.covered()
    row = only(covered)
    assert (row.state, row.hits, row.returns) == ("never", 0, "str")
    assert list(row.faults) == ["TimeoutError", 'return("x")']
    assert (covered.percent, covered.faults_percent) == (0.0, 0.0)


def test_the_catalogue_of_run_time_goes_first(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        "import failpy\nfailpy.point('a', returns=int, faults=(KeyError, 'panic'))\n"
    )
    source = read_source([tmp_path])
    ran = point(FULL, fired=1, injected=Counter({FULL: 1}), returns="str")
    row = only(coverage(tally_of(a=ran), tmp_path, source=source))
    assert (row.faults, row.returns, row.state) == ({FULL: 1}, "str", "fired")
    silent = only(coverage(tally_of(a=point()), tmp_path, source=source))
    assert list(silent.faults) == ["KeyError", "panic"]
    assert silent.returns == "int"


def test_what_was_armed_and_stands_only_in_source_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("import failpy\ndef f(): failpy.point('a').hit()\n")
    tally = Tally()
    tally["a"].armed = 2
    row = only(coverage(tally, tmp_path, source=read_source([tmp_path])))
    assert (row.state, row.armed, row.sites) == ("armed", 2, (("m.py", 2, BODY),))


def test_a_block_is_not_the_function_around_it(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text("import failpy\ndef f():\n    failpy.point('a').hit()\n")
    tally = tally_of(a=point(sites={(str(file), 1, "f")}))
    row = only(coverage(tally, tmp_path, source=read_source([tmp_path])))
    assert row.sites == (("m.py", 1, "f"), ("m.py", 3, BODY))


def test_stubs_and_other_files_add_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("from failpy import failpoint\n\n@failpoint('a')\ndef f(): pass\n")
    (tmp_path / "m.pyi").write_text("from failpy import failpoint\n@failpoint('a')\ndef f(): ...\n")
    assert only(coverage(Tally(), tmp_path, source=read_source([tmp_path]))).sites == (("m.py", 3, "f"),)


def test_attached_points_stand_where_run_time_says(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        "import failpy\nfailpy.attach('json:dumps', 'a')\nfailpy.attach('json:load', 'b')\n"
    )
    tally = tally_of(a=point(sites={("/usr/lib/json.py", 7, "dumps")}))
    rows = coverage(tally, tmp_path, source=read_source([tmp_path])).rows
    assert [row.sites for row in rows] == [(("/usr/lib/json.py", 7, "dumps"),), (("m.py", 3, BODY),)]


def test_a_function_of_another_file_is_a_site_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("import failpy, lib\nf = failpy.failpoint('a')(lib.f)\n")
    tally = tally_of(a=point(sites={("/usr/lib/lib.py", 7, "f")}))
    row = only(coverage(tally, tmp_path, source=read_source([tmp_path])))
    assert row.sites == (("/usr/lib/lib.py", 7, "f"), ("m.py", 2, BODY))


def test_computed_names_are_told_and_count_in_nothing(tmp_path: Path, name: str) -> None:
    text = """
        from failpy import fail
        def save(n): fail.point(f"NAME.{n}").hit()
        def load(n): fail.point(f"NAME.{n}").hit()
        """
    program = Program(tmp_path, text, name)
    program.load().save("other")
    covered = program.covered()
    assert [row.name for row in covered.rows] == [f"{name}.other"]
    assert [(place.file, place.line) for place in covered.unreadable] == [(program.file.name, 4)]
    assert f"  {program.file.name}:4" in text_of(covered).splitlines()
    assert f"<code><bdi>{program.file.name}:4</bdi></code>" in page(covered)
    assert json.loads(document(covered))["unreadable"] == [{"file": program.file.name, "line": 4}]


def test_a_function_of_computed_name_that_was_not_defined_is_told(tmp_path: Path, name: str) -> None:
    text = """
        from failpy import failpoint
        if str():
            @failpoint("NAME" + str())
            def read(): pass
        else:
            @failpoint("NAME" + str())
            def read(): pass
        """
    program = Program(tmp_path, text, name)
    program.load()
    covered = program.covered()
    assert [line for _, line, _ in only(covered).sites] == [7]
    assert [place.line for place in covered.unreadable] == [4]


def test_a_computed_name_of_another_pattern_did_not_run(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("import failpy\ndef f(n): failpy.point('db.' + n)\n")
    tally = tally_of(cache=point(sites={(str(tmp_path / "m.py"), 2, BODY)}))
    assert len(coverage(tally, tmp_path, source=read_source([tmp_path])).unreadable) == 1


def test_a_file_that_changed_or_went_is_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text("import failpy\nfailpy.point('a')\n")
    source = read_source([tmp_path])
    for text in ("def", None):
        file.unlink() if text is None else file.write_text(text)
        row = only(coverage(tally_of(a=point(sites={(str(file), 9, BODY)})), tmp_path, source=source))
        assert [line for _, line, _ in row.sites] == [2, 9]


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def\n")
    covered = coverage(Tally(), tmp_path, source=read_source([tmp_path]))
    assert [problem.file for problem in covered.problems] == ["m.py"]
    assert text_of(covered).startswith("not read: m.py:1: it is no Python")
    assert "m.py:1: it is no Python" in page(covered)
    assert json.loads(document(covered))["problems"][0]["line"] == 1


# --- the terminal ---


def full() -> Coverage:
    tests = {"tests/test_db.py::test_full": Counter(armed=2, hits=3, fired=2)}
    db = point(
        FULL, TIMEOUT, armed=2, hits=3, fired=2, tests=tests,
        injected=Counter({FULL: 1}), others=Counter({"panic": 1}), endings=Counter({"reached the test": 2}),
        sites={("/srv/db.py", 7, "save"), ("/srv/db.py", 9, BODY)},
    )  # fmt: skip
    return coverage(
        tally_of(db=db, done=point(hits=1, fired=1, tests=tests), gone=point(FULL, armed=0)), Path("/srv")
    )


def test_the_table_says_what_is_missing() -> None:
    assert list(lines(full(), 80)) == [
        ("name  state   armed  hits  fired  faults  tests", {"bold": True}),
        ("db    partly      2     3      2     1/2      1", {"yellow": True}),
        ("  at db.py:7 (save), db.py:9", {"light": True}),
        ("  never injected: raise(TimeoutError)", {"light": True}),
        ("done  fired       1     1      1              1", {"green": True}),
        ("gone  never       0     0      0     0/1      0", {"red": True, "bold": True}),
        ("  never armed, at shop/db.py:3", {"light": True}),
        ('  never injected: raise(OSError(28, "full"))', {"light": True}),
        ("", {}),
        ("2 of 3 failpoints fired (66.6 %), 1 of 3 faults injected", {"yellow": True, "bold": True}),
    ]


def test_verbose_says_the_rest() -> None:
    shown = text_of(full(), verbose=True).splitlines()
    begin = shown.index("  never injected: raise(TimeoutError)") + 1
    assert shown[begin : begin + 4] == [
        '  injected once: raise(OSError(28, "full"))',
        "  fired once: panic",
        "  ended 2 times: reached the test",
        "  in tests/test_db.py::test_full: armed 2, hits 3, fired 2",
    ]
    assert "  at shop/db.py:3" in shown


@pytest.mark.parametrize(
    ("points", "markup", "text"),
    [
        ({"a": point(fired=1)}, "green", "1 of 1 failpoint fired (100 %)"),
        ({"a": point(FULL)}, "red", "0 of 1 failpoint fired (0 %), 0 of 1 fault injected"),
        ({"a": point(FULL, fired=1)}, "yellow", "1 of 1 failpoint fired (100 %), 0 of 1 fault injected"),
    ],
)
def test_the_total_has_the_colour_of_the_run(points: dict[str, PointTally], markup: str, text: str) -> None:
    *_, total = lines(coverage(tally_of(**points), Path("/srv")), 80)
    assert total[0] == text
    assert total[1][markup]


def columns(text: str) -> int:
    return sum(1 + (east_asian_width(char) in "WF") for char in text)


HOSTILE = (
    "<script>alert(1)</script>", "\"'><b>&amp;", "{{policy}}", "a" * 200,
    "\N{CJK UNIFIED IDEOGRAPH-6F22}" * 60, "line\nSF:/etc/passwd\rend_of_record\x1b[2J\x00",
    "\N{RIGHT-TO-LEFT OVERRIDE}x", "\udc80", "two  words " * 30,
)  # fmt: skip


def hostile() -> Coverage:
    tally = Tally()
    for i, text in enumerate(HOSTILE):
        p = tally[text]
        p.sites |= {(f"/srv/{text.replace(chr(0), '')[:100]}.py", i, text), ("<stdin>", 1, BODY)}
        p.faults, p.returns, p.armed, p.hits, p.fired = [text, "b"], text, 10**6, 10**9, i % 2
        p.tests[text] = Counter(armed=1)
        p.endings[text] = p.others[text] = p.injected["b"] = 1
    return coverage(tally, Path("/srv"))


@pytest.mark.parametrize("width", [12, 24, 40, 60, 62, 80, 200])
@pytest.mark.parametrize("verbose", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, verbose: bool) -> None:
    for covered in (full(), hostile()):
        for text, _ in lines(covered, width, verbose=verbose):
            assert columns(text) <= width, text
            assert text.isprintable()


def test_nothing_of_a_long_text_is_lost() -> None:
    for width in (12, 40, 80):
        shown = text_of(hostile(), width).replace("\n", "").replace(" ", "")
        assert "a" * 200 in re.sub(r"fired\d+0/\d|1000000|[^a]", "", shown)
    narrow = text_of(full(), 34).splitlines()
    assert narrow[:3] == ["db", "  state partly, armed 2, hits 3,", "    fired 2, faults 1/2, tests 1"]


def test_what_would_move_the_cursor_is_escaped() -> None:
    shown = text_of(hostile(), 200, verbose=True)
    assert r"line\nSF:/etc/passwd\rend_of_record\x1b[2J\x00" in shown
    assert r"\u202ex" in shown
    assert "\N{CJK UNIFIED IDEOGRAPH-6F22}" in shown
    shown.encode()


def test_less_room_than_for_anything_is_taken_for_a_little() -> None:
    wide = "\N{CJK UNIFIED IDEOGRAPH-6F22}"
    text, _ = next(lines(coverage(tally_of(**{wide * 9: point()}), Path("/srv")), 1))
    assert text == wide * 5


# --- JSON ---


def test_the_json_has_everything() -> None:
    covered = full()
    data = json.loads(document(covered))
    assert data["failpy"] == fail.__version__
    assert data["format"] == 1
    assert data["totals"] == {
        "points": 3, "fired": 2, "percent": covered.percent, "faults": 3, "injected": 1,
        "faults_percent": covered.faults_percent,
        "states": {"never": 1, "armed": 0, "hit": 0, "partly": 1, "fired": 1},
    }  # fmt: skip
    assert data["points"][0] == {
        "name": "db", "state": "partly", "returns": "", "armed": 2, "hits": 3, "fired": 2,
        "sites": [{"file": "db.py", "line": 7, "where": "save"}, {"file": "db.py", "line": 9, "where": BODY}],
        "faults": [{"fault": FULL, "injected": 1}, {"fault": TIMEOUT, "injected": 0}],
        "others": {"panic": 1}, "endings": {"reached the test": 2},
        "tests": {"tests/test_db.py::test_full": {"armed": 2, "hits": 3, "fired": 2}},
    }  # fmt: skip


def test_hostile_texts_come_back_from_json() -> None:
    data = json.loads(document(hostile()).encode("ascii"))
    assert {each["name"] for each in data["points"]} == set(HOSTILE)
    assert all(each["faults"][0]["fault"] == each["name"] for each in data["points"])


# --- lcov ---


def test_a_tracefile_has_a_line_for_each_site_and_a_branch_for_each_fault() -> None:
    assert tracefile(full()).splitlines() == [
        "TN:failpoints", "SF:db.py",
        "BRDA:7,0,0,1", "BRDA:7,0,1,0", "BRDA:9,0,0,1", "BRDA:9,0,1,0", "BRF:4", "BRH:2",
        "DA:7,2", "DA:9,2", "LF:2", "LH:2", "end_of_record",
        "TN:failpoints", "SF:shop/db.py",
        "BRDA:3,1,0,-", "BRF:1", "BRH:0",
        "DA:3,0", "LF:1", "LH:0", "end_of_record",
    ]  # fmt: skip


def test_a_tracefile_without_catalogues_has_no_branches() -> None:
    sites = {("/srv/m.py", 3, "f"), ("/srv/m.py", 3, BODY), ("<stdin>", 1, BODY)}
    covered = coverage(tally_of(a=point(fired=2, sites=sites)), Path("/srv"))
    assert tracefile(covered).split() == [
        "TN:failpoints",
        "SF:m.py",
        "DA:3,2",
        "LF:1",
        "LH:1",
        "end_of_record",
    ]


def test_a_hostile_path_adds_no_line_to_the_tracefile() -> None:
    known = re.compile(r"(TN|SF|BRF|BRH|LF|LH):.+|BRDA:\d+,\d+,\d+,(\d+|-)|DA:\d+,\d+|end_of_record")
    shown = tracefile(hostile())
    assert all(known.fullmatch(line) for line in shown.splitlines())
    assert shown.count("end_of_record\n") == shown.count("SF:") - 1  # the one in the name
    shown.encode()


@pytest.mark.skipif(shutil.which("lcov") is None, reason="lcov is not installed")
def test_lcov_reads_the_tracefile(tmp_path: Path) -> None:
    (tmp_path / "failpoints.info").write_text(tracefile(full()))
    command = ["lcov", "--rc", "lcov_branch_coverage=1", "--summary", "failpoints.info"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "(2 of 3 lines)" in said
    assert "(2 of 5 branches)" in said


# --- HTML ---


class Reader(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_hostile_texts_are_only_texts() -> None:
    shown = page(hostile())
    shown.encode()
    read = Reader(shown)
    assert read.tags.count("script") == 1
    assert "img" not in read.tags
    assert "b" not in read.tags[read.tags.index("details") :]
    assert HOSTILE[0] in read.texts
    assert HOSTILE[1] in read.texts
    assert "{{policy}}" in read.texts
    assert r"\u202ex" in read.texts
    assert "\x1b" not in shown
    assert "\x00" not in shown
    assert not [name for name, _ in read.attributes if name.startswith("on") or name == "style"]


def test_the_page_asks_nobody() -> None:
    shown = page(full())
    assert "{{" not in shown
    assert "default-src 'none'; script-src 'sha256-" in shown
    assert not re.search(r"https?://|@import|url\(|src=", shown)


def test_what_never_fired_comes_first_on_the_page() -> None:
    names = re.findall(r'<bdi class="name">(\w+)<', page(full()))
    assert names == ["gone", "db", "done"]


def test_a_point_on_the_page_says_everything() -> None:
    texts = Reader(page(full())).texts
    for text in (
        "66.6 %", "2 of 3", "1 of 3", " +1", "1/2", "never injected", "injected once", "panic", "save",
        "reached the test", "2 times", "tests/test_db.py::test_full",
        "Never armed.", "Fired, but not with every fault of its catalogue.",
    ):  # fmt: skip
        assert text in texts, text
    returning = coverage(tally_of(a=point(returns="list[int]")), Path("/srv"))
    assert "<code>list[int]</code>" in page(returning)


# --- a browser ---


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page is tested with Playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("FAILPY_TEST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"no browser: install one of {', '.join(names)}, or name it by FAILPY_TEST_CHROMIUM")
    collect()
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


def opened(browser: Any, tmp_path: Path, covered: Coverage, problems: list[str], **options: Any) -> Any:
    file = tmp_path / "report.html"
    file.write_text(page(covered), "utf-8")
    shown = browser.new_context(**options).new_page()
    shown.on("console", lambda message: problems.append(message.text))
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    shown.goto(file.as_uri())
    return shown


def visible(shown: Any) -> list[str]:
    return [each.locator(".name").text_content() for each in shown.locator("#points > li:visible").all()]


def test_the_page_filters_by_text_and_state(browser: Any, tmp_path: Path) -> None:
    problems: list[str] = []
    shown = opened(browser, tmp_path, full(), problems)
    assert visible(shown) == ["gone", "db", "done"]
    assert shown.locator("#shown").text_content() == ""
    shown.keyboard.press("/")
    shown.keyboard.type("TEST_FULL save")
    assert visible(shown) == ["db"]
    assert shown.locator("#shown").text_content() == "1 of 3"
    shown.keyboard.press("Escape")
    shown.get_by_role("button", name="never").click()
    assert visible(shown) == ["gone"]
    shown.get_by_role("button", name="fired").click()
    assert visible(shown) == ["gone", "done"]
    shown.get_by_role("button", name="Unfold all").click()
    assert shown.locator("details[open]").count() == 2
    shown.get_by_role("button", name="Unfold all").click()
    assert shown.locator("details[open]").count() == 0
    shown.context.close()
    assert problems == []


def test_the_page_works_without_its_script(browser: Any, tmp_path: Path) -> None:
    problems: list[str] = []
    shown = opened(browser, tmp_path, full(), problems, java_script_enabled=False)
    assert visible(shown) == ["gone", "db", "done"]
    assert not shown.locator("#tools").is_visible()
    shown.locator("summary", has_text="gone").click()
    assert shown.get_by_text("never injected").first.is_visible()
    shown.context.close()
    assert problems == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_of_the_page(width: int, browser: Any, tmp_path: Path) -> None:
    problems: list[str] = []
    shown = opened(browser, tmp_path, hostile(), problems, viewport={"width": width, "height": 800})
    shown.get_by_role("button", name="Unfold all").click()
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    shown.context.close()
    assert problems == []
