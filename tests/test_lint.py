"""What the linter finds, and what it leaves alone."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failpy import FailpointError, fail
from failpy._findings import CODES, Finding
from failpy._likeness import look_alikes, matches
from failpy._lint import findings, lint, unused
from failpy._source import read_source

Lint = Callable[..., list[Finding]]


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lint:
    """Lint files that are given by name, and leave out what is not asked for."""
    monkeypatch.chdir(tmp_path)

    def lint_files(
        code: str, main: str, *, besides: str = "", others: dict[str, str] | None = None
    ) -> list[Finding]:
        for name, text in {
            "main.py": f"from failpy import fail, failpoint\n{main}",
            **(others or {}),
        }.items():
            Path(name).write_text(textwrap.dedent(text), encoding="utf-8")
        every = lint(["."])
        wanted = {code, *besides.split()}
        assert {each.code for each in every} <= wanted | {"FP009"}
        return [each for each in every if each.code == code]

    return lint_files


def says(finding: Finding) -> str:
    return str(finding)


# --- FP000 ---


def test_a_file_that_cannot_be_read(found: Lint) -> None:
    (finding,) = found("FP000", "fail.point('a')", others={"b.py": "x =\n(", "c.py": "fail = 1"})
    assert says(finding).startswith("b.py:1:1: FP000 error: 'b.py': it is no Python that Python 3")
    assert finding.message.endswith("; mend it, or leave it out")


def test_a_path_with_nothing_there(found: Lint) -> None:
    with pytest.raises(FailpointError, match="'missing'"):
        lint(["missing"])


# --- FP001 ---


@pytest.mark.parametrize(
    "use",
    [
        "fail.enable('db.wirte', 'off')",
        "fail.disable('db.wirte')",
        "fail.status('db.wirte')",
        "fail.scope({'db.wirte': 'off'})",
        "fail.enable_all('db.wirte=off')",
        "fail.current_scope().order('db.wirte')",
        "import os; os.environ['FAILPY_FAILPOINTS'] = 'db.wirte=off'",
    ],
)
def test_a_name_that_no_code_declares(found: Lint, use: str) -> None:
    (finding,) = found("FP001", f"fail.point('db.write')\nfail.enable('db.write', 'off')\n{use}")
    assert (finding.file, finding.line, finding.severity) == ("main.py", 4, "error")
    assert finding.message == (
        "no code that was read declares a failpoint 'db.wirte'; did you mean 'db.write'? "
        "Mend the name, or read the files that declare it, too"
    )


def test_a_name_in_a_script_that_no_code_declares(found: Lint) -> None:
    (finding,) = found("FP001", "", others={"run.sh": "FAILPY_FAILPOINTS=other=off ls"})
    assert says(finding) == (
        "run.sh:1:1: FP001 error: no code that was read declares a failpoint 'other'. "
        "Mend the name, or read the files that declare it, too"
    )


@pytest.mark.parametrize(
    "declaration",
    [
        "failpoint('a')(len)",
        "fail.attach(len, 'a')",
        "fail.attach('a')",
        "fail.point('a')",
        "fail.point(f'a{x}')",
    ],
)
def test_a_name_that_is_declared(found: Lint, declaration: str) -> None:
    assert found("FP001", f"fail.enable('a', 'off')\n{declaration}", besides="FP008") == []


def test_a_name_that_may_be_computed(found: Lint) -> None:
    (finding,) = found("FP001", "fail.enable('a', 'off')\nfail.point(x)\nfail.point(y)", besides="FP008")
    assert finding.severity == "warning"
    assert finding.message == (
        "no code that was read declares a failpoint 'a'. "
        "Mend the name, unless it is one of those computed, such as at main.py:3"
    )


# --- FP002 ---


@pytest.mark.parametrize(
    ("one", "other", "types"),
    [
        ("fail.point('a', returns=int)", "fail.point('a', returns=str)", ("str", "int")),
        ("fail.point('a', returns=int)", "failpoint('a')(len)", ("None", "int")),
        ("failpoint('a', returns=int | None)(len)", "fail.attach('a', returns=int)", ("int", "int | None")),
    ],
)
def test_types_that_disagree(found: Lint, one: str, other: str, types: tuple[str, str]) -> None:
    (finding,) = found("FP002", f"fail.point('a')\n{one}\n{other}")
    assert (finding.line, finding.severity) == (4, "error")
    assert finding.message == (
        f"failpoint 'a' is declared with returns={types[0]} here, but with returns={types[1]} at main.py:3: "
        "one name has one type, so let them agree, or give one of them another name"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fail.point('a', returns=int | None)", "fail.point('a', returns=Optional[int])"),
        ("fail.point('a', returns=int)", "fail.point('a')"),
        ("fail.point('a', returns=int)", "fail.point('a', returns=None)"),
        ("fail.point('a', returns=int)", "def f(kind): fail.point('a', returns=kind)"),
        ("failpoint('a')(len)", "failpoint('a', returns=None)(len)"),
    ],
)
def test_types_that_agree(found: Lint, one: str, other: str) -> None:
    assert found("FP002", f"from typing import Optional\n{one}\n{other}") == []
    assert found("FP002", f"from typing import Optional\n{other}\n{one}") == []


# --- FP003 ---


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("db.write", "db.wirte"),
        ("db.write", "db.wrte"),
        ("db.write", "db.writte"),
        ("db.write", "db.wrixe"),
        ("db.write", "DB.write"),
        ("db.write", "db_write"),
        ("db.write", "dbWrite"),
        ("dbwrite", "db-wr/ite"),
        ("shards", "shavds"),
        ("checkout", "chekcout"),
        ("a1.b", "a1b"),
    ],
)
def test_names_that_look_alike(found: Lint, one: str, other: str) -> None:
    (finding,) = found("FP003", f"fail.point({one!r})\nfail.point({other!r})")
    assert (finding.line, finding.severity) == (3, "warning")
    assert finding.message == (
        f"failpoint {other!r} is hard to tell from {one!r}, declared at main.py:2: "
        "if they are one, give them one name, else names further apart"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("shard1", "shard2"),
        ("shard1", "shard10"),
        ("shard9", "shard10"),
        ("shards", "shards2"),
        ("step.a", "step.b"),
        ("step.one.a", "step.one.b"),
        ("cache.get", "cache.set"),
        ("mail.send", "mail.sent"),
        ("user.read", "users.read"),
        ("file.close", "file.closed"),
        ("v1.1.write", "v11.write"),
        ("short", "shotr"),
        ("db.write", "db.w.rite.a"),
        ("db.write.before", "db.wirte.befroe"),
        ("db.write", "db.wrtei"),
        ("db.write", "db.flush"),
        ("writexy", "write.xz"),
        ("db.writer", "db.wrotes"),
        ("db.write", "db.writing"),
    ],
)
def test_names_that_do_not(found: Lint, one: str, other: str) -> None:
    assert found("FP003", f"fail.point({one!r})\nfail.point({other!r})") == []


def test_a_name_that_is_declared_twice_is_no_slip(found: Lint) -> None:
    twice = "fail.point('db.write')\nfail.point('db.write')\n"
    assert found("FP003", f"{twice}fail.point('db.wirte')") == []
    assert len(found("FP003", f"{twice}fail.point('DB.write')")) == 1


@given(st.lists(st.text("ab1._", max_size=8), unique=True))
def test_look_alikes_are_pairs_of_names_in_order(names: list[str]) -> None:
    pairs = list(look_alikes(names, names))
    assert pairs == sorted(set(pairs))
    assert set(pairs) <= set(combinations(sorted(names), 2))


@given(st.text("abcdefgh", min_size=6, max_size=9), st.data())
def test_any_one_slip_within_a_word_is_seen(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word) - 2))
    letter = data.draw(st.sampled_from("xyz"))
    for slip in (
        word[:at] + letter + word[at:],
        word[:at] + letter + word[at + 1 :],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
    ):
        pair = {f"db.{word}", f"db.{slip}"}
        assert [set(each) for each in look_alikes(pair, pair)] == ([pair] if len(pair) == 2 else [])


# --- FP004 ---


def test_a_name_in_two_files(found: Lint) -> None:
    one = "fail.point('a')\nfail.point('a')"
    other = "import failpy\nfailpy.point('a')\nfailpy.point('a')"
    finding, again = found("FP004", one, others={"other.py": other, "more.py": other})
    assert (finding.file, again.file) == ("more.py", "other.py")
    assert says(again) == (
        "other.py:2:1: FP004 warning: failpoint 'a' is also declared at main.py:2, and arming it arms both: "
        "if that is not meant, give one of them another name"
    )


def test_a_stub_of_a_module_is_no_second_file(found: Lint) -> None:
    assert found("FP004", "fail.point('a')", others={"main.pyi": "import failpy\nfailpy.point('a')"}) == []


# --- FP005 ---


@pytest.mark.parametrize(
    "code", ["fail.point('a b')", "fail.enable('a b', 'off')", "fail.scope({'a b': 'off'})"]
)
def test_a_name_that_no_failpoint_can_have(found: Lint, code: str) -> None:
    (finding,) = found("FP005", code)
    assert (finding.line, finding.severity) == (2, "error")
    assert finding.message.startswith("'a b' cannot name a failpoint: it has white space at character 2;")


# --- FP006 ---


@pytest.mark.parametrize(
    "code",
    [
        "fail.point('a')\nfail.enable('a', '3*retrun')",
        "TERMS = '3*retrun'\nfail.scope({'a': TERMS})\nfail.point('a')",
        "failpoint('a', faults=('off', '3*retrun'))(len)",
    ],
)
def test_malformed_terms(found: Lint, code: str) -> None:
    (finding,) = found("FP006", code)
    assert finding.severity == "error"
    assert finding.message == (
        "failpoint 'a': there is no action 'retrun'; did you mean 'return'? (column 3)\n  3*retrun\n    ^"
    )


def test_malformed_terms_of_a_computed_name(found: Lint) -> None:
    (finding,) = found("FP006", "fail.enable(x, '5*')", besides="FP008")
    assert finding.message.startswith("a modifier needs an action after it")


def test_a_malformed_set(found: Lint) -> None:
    (finding,) = found("FP006", "fail.scope('a=off;b')")
    assert finding.column == 12
    assert finding.message.endswith("(column 7)\n  a=off;b\n        ^")


def test_typed_terms_are_not_read_as_text(found: Lint) -> None:
    assert found("FP006", "fail.point('a', faults=(KeyError(5),))\nfail.enable('a', fail.Raise(x))") == []


# --- FP007 ---


@pytest.mark.parametrize(
    ("returns", "terms", "gives"),
    [
        ("returns=str", "'return(1)'", "int"),
        ("returns=str", "fail.Return(1)", "int"),
        ("returns=str", "'off->return'", "no value"),
        ("returns=int", "'return(true)'", "bool"),
        ("returns=int | None", "'return(\"x\")'", "str"),
        ("returns=None | dict[str, int | None]", "'return([])'", "list"),
        ("returns=list[int | str] | dict[str, int]", "'return(1)'", "int"),
        ("returns=bytes", "'return(1)'", "int"),
        ("", "'return(1)'", "int"),
        ("returns=None", "'return(1)'", "int"),
    ],
)
def test_a_value_of_another_type(found: Lint, returns: str, terms: str, gives: str) -> None:
    code = f"failpoint('a', {returns})(len)\nfail.point('a')\nfail.enable('a', {terms})"
    (finding,) = found("FP007", code)
    assert (finding.line, finding.severity) == (4, "error")
    assert finding.message.startswith("failpoint 'a' declares ")
    assert f" gives {gives}: give a value of that type" in finding.message


@pytest.mark.parametrize(
    ("returns", "terms"),
    [
        ("returns=str", "'return(\"x\")'"),
        ("returns=float", "'return(1)'"),
        ("returns=int | None", "'return'"),
        ("returns=list[int | str] | dict[str, int]", "'return({})'"),
        ("returns=Any", "'return(1)'"),
        ("returns=Decimal", "'return(1)'"),
        ("returns=int | Decimal", "'return(\"x\")'"),
        ("returns=kind()", "'return(1)'"),
        ("", "'return'"),
        ("", "make()"),
        ("", "'raise'"),
    ],
)
def test_a_value_of_the_type_or_of_one_not_known(found: Lint, returns: str, terms: str) -> None:
    assert found("FP007", f"failpoint('a', {returns})(len)\nfail.enable('a', {terms})") == []


def test_a_fault_of_another_type(found: Lint) -> None:
    (finding,) = found("FP007", "fail.point('a', returns=str, faults=('return(5)', 'panic'))")
    assert finding.column == 38


def test_a_value_for_types_that_disagree_is_not_judged(found: Lint) -> None:
    code = "failpoint('a', returns=int)(len)\nfailpoint('a', returns=str)(len)\nfail.enable('a', 'return(b)')"
    assert found("FP007", code.replace("(b)", "([])"), besides="FP002") == []


def test_a_value_for_a_point_that_is_only_looked_up(found: Lint) -> None:
    (finding,) = found("FP007", "fail.point('a')\nfail.enable('a', 'return(1)')")
    assert "declares no returns, but return(1) gives int" in finding.message


# --- FP008 ---


def test_computed_names(found: Lint) -> None:
    first, second, third = found("FP008", "fail.point(x)\nfail.point(f'db.{x}')\nfail.enable(x, 'off')")
    assert first.severity == "note"
    assert first.message == (
        "the name of the failpoint that is declared here is computed, so nothing about it is checked: "
        "a constant name would be"
    )
    assert second.message.startswith(
        "the name of the failpoint that is declared here, like 'db.*', is computed"
    )
    assert third.message.startswith("the name of the failpoint that is used here is computed")


# --- FP009 ---


@pytest.mark.parametrize(
    ("use", "codes"),
    [
        ("", "FP009"),
        ("fail.status('db.write')", "FP009"),
        ("fail.enable(x, 'off')", "FP009 FP008"),
        ("fail.disable('db.write')", "FP009"),
        ("fail.enable('db.write', 'off')", ""),
        ("fail.enable(f'db.{x}', 'off')", "FP008"),
        ("fail.scope({f'{x}e': 'off'})", "FP008"),
        ("fail.current_scope().order('db.write')", ""),
    ],
)
def test_names_that_nothing_arms(tmp_path: Path, use: str, codes: str) -> None:
    (tmp_path / "a.py").write_text(
        f"from failpy import fail\nfail.point('db.write')\nfail.point('db.write')\n{use}"
    )
    every = findings(read_source([tmp_path]))
    assert [each.code for each in every] == codes.split()
    idle = [each for each in every if each.code == "FP009"]
    for each in idle:
        assert (each.line, each.severity) == (2, "note")
        assert each.message == (
            "failpoint 'db.write' is declared, and nothing that was read arms it: "
            "arm it in a test, or read the files that do, too"
        )
    assert [each.name for each in unused(read_source([tmp_path]))] == ["db.write"] * len(idle)


# --- all of them ---


@pytest.mark.parametrize(
    ("comment", "codes"),
    [
        ("", ["FP001", "FP005"]),
        ("# failpy: ignore", []),
        ("# failpy: ignore[FP005]", ["FP001"]),
        ("# failpy: ignore[FP001, FP005]", []),
        ("# failpy: ignore[FP002]", ["FP001", "FP005"]),
        ("; x = '# failpy: ignore'", ["FP001", "FP005"]),
    ],
)
def test_silencing(tmp_path: Path, comment: str, codes: list[str]) -> None:
    (tmp_path / "a.py").write_text(
        f"import failpy\nfailpy.enable_all({{'a': 'off', 'a b': 'off'}}) {comment}"
    )
    assert [each.code for each in lint([tmp_path])] == codes


def test_findings_are_in_order(tmp_path: Path) -> None:
    for name in ("b.py", "a.py"):
        (tmp_path / name).write_text(
            "import failpy\nfailpy.disable('b'); failpy.disable('a')\nfailpy.disable('c')"
        )
    every = lint([tmp_path / "b.py", tmp_path / "a.py"])
    assert [(Path(each.file).name, each.line, each.message.split("failpoint ")[1][:3]) for each in every] == [
        (name, line, repr(point))
        for name in ("a.py", "b.py")
        for line, point in ((2, "b"), (2, "a"), (3, "c"))
    ]


def test_codes_have_a_severity_and_a_summary() -> None:
    assert list(CODES) == [f"FP{number:03}" for number in range(10)]
    assert {each.severity for each in CODES.values()} == {"error", "warning", "note"}
    assert all(each.summary for each in CODES.values())


def test_failpy_itself_has_no_finding_but_notes() -> None:
    package, examples = Path(fail.__file__).parent, Path(__file__).parent.parent / "examples"
    every = lint([package, examples])
    assert [str(each) for each in every if each.severity != "note"] == []


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("db.write", "db.*", True),
        ("db.write", "*.write", True),
        ("db.write", "db.*.write", False),
        ("db.a.write", "db.*.write", True),
        ("db.a.write", "*.a.*", True),
        ("db.a.write", "*a*b*", False),
        ("xaxb", "*a*b", True),
        ("db.write", "x.*", False),
        ("aba", "ab*ba", False),
        ("a", "*", False),
        ("", "", False),
    ],
)
def test_matches(name: str, pattern: str, expected: bool) -> None:
    assert matches(name, pattern) is expected
