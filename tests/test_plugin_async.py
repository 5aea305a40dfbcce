"""The pytest plugin with async tests and fixtures: under pytest-asyncio, and anyio on asyncio and trio."""

from __future__ import annotations

import pytest

from .plugin_tools import ANYIO, ASYNCIO, alone, line_of, names_of, places, run, run_source, write

pytest.importorskip("pytest_asyncio")

SCOPES = ("function", "class", "module", "package", "session")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)


# What holds under any of them: `{asynctest}` marks an async test, `{asyncfixture}` an async fixture.
ANYWHERE = """
import contextvars

told = []
variable = contextvars.ContextVar("variable", default="unset")
marked = pytest.mark.failpoints({"plugin.value": 'return("marked")'})
again = pytest.mark.failpoints({"plugin.value": 'return("again")'})

@failpoint("plugin.coroutine", returns=str)
async def coroutine():
    return "body"

@ASYNCFIXTURE
async def returned():
    return value()

@ASYNCFIXTURE
async def yielded():
    told.append("before " + value())
    try:
        yield value()
    finally:
        told.append("after " + value())

@ASYNCFIXTURE
async def outer(yielded):
    told.append("outer before " + value())
    yield yielded
    told.append("outer after " + value())

@pytest.fixture
def plain_one():
    yield value()
    told.append("plain after " + value())

@ASYNCTEST
async def test_01_plain(returned, yielded):
    assert [value(), returned, yielded] == ["body"] * 3
    assert fail.current_scope() is None

def test_02_told():
    assert told == ["before body", "after body"]
    told.clear()

@ASYNCTEST
@marked
async def test_03_marked(returned, outer, plain_one, failpoints):
    assert [value(), returned, outer, plain_one] == ["marked"] * 4
    assert fail.current_scope() is failpoints

def test_04_told():
    assert told == ["before marked", "outer before marked", "plain after marked", "outer after marked",
                    "after marked"]
    told.clear()

@ASYNCTEST
async def test_05_plain_again(returned, yielded):
    assert [value(), returned, yielded] == ["body"] * 3
    assert fail.current_scope() is None

@ASYNCTEST
async def test_06_fixture(failpoints):
    failpoints.enable("plugin.coroutine", 'return("enabled")')
    assert await coroutine() == "enabled"
    with fail.scope({"plugin.value": 'return("inner")'}):
        assert value() == "inner"
    async with fail.scope({"plugin.value": 'return("inner")'}):
        assert (value(), await coroutine()) == ("inner", "enabled")
    assert fail.current_scope() is failpoints

@pytest.mark.usefixtures("failpoints")
@ASYNCTEST
async def test_07_used():
    fail.current_scope().enable("plugin.value", 'return("used")')
    assert value() == "used"

def test_08_sync_test_of_the_same_file():
    assert value() == "body" and fail.current_scope() is None

@pytest.mark.parametrize("wanted", ["body", pytest.param("marked", marks=marked)])
@ASYNCTEST
async def test_09_parameter(wanted, returned):
    assert value() == returned == wanted

@marked
@ASYNCTEST
async def test_10_fails():
    assert value() == "what?"

@ASYNCTEST
async def test_11_plain():
    assert value() == "body"

@pytest.mark.failpoints({"plugin.value": "panic"})  # never
@ASYNCTEST
async def test_12_never(): pass

@marked
@ASYNCTEST
async def test_13_skips():
    value()
    pytest.skip("not now")

@marked
@pytest.mark.xfail
@ASYNCTEST
async def test_14_xfails():
    assert value() == "what?"

class TestClass:
    @ASYNCFIXTURE
    async def mine(self):
        self.kept = value()
        yield self
        told.append("self " + value() + self.after)

    @marked
    @ASYNCTEST
    async def test_15_self(self, mine):
        assert mine is self and self.kept == "marked"
        self.after = " after " + value()

    @ASYNCTEST
    async def test_16_told(self, mine):
        assert told.pop() == "self marked after marked" and self.kept == "body"
        self.after = ""

@ASYNCFIXTURE
async def sets_variable():
    variable.set(value())
    yield

@marked
@ASYNCTEST
async def test_17_variables_of_fixtures(sets_variable):
    assert variable.get() in VARIABLE

@ASYNCFIXTURE
async def broken_after():
    yield
    raise OSError("broken after, in " + value())

@marked
@ASYNCTEST
async def test_18_broken_after(broken_after):
    value()

@ASYNCTEST
async def test_19_plain():
    assert value() == "body" and fail.current_scope() is None

@again
@marked
@ASYNCTEST
async def test_20_in_a_child():
    assert value() == "marked"
    await in_a_child()

async def in_a_child():
    assert value() == "marked"
"""


def anywhere(asynctest: str, asyncfixture: str, variable: tuple[str, ...] = ("marked",)) -> str:
    source = ANYWHERE.replace("@ASYNCTEST", asynctest).replace("@ASYNCFIXTURE", asyncfixture)
    return source.replace("VARIABLE", repr(variable))


def check_anywhere(pytester: pytest.Pytester, result: pytest.RunResult) -> None:
    assert names_of(result, "FAILED") == {"test_10_fails", "test_12_never"}
    result.assert_outcomes(passed=17, failed=2, errors=1, skipped=1, xfailed=1)
    assert f"test_it.py:{line_of(pytester, '# never')}" in places(result)
    assert {each.partition(":")[0] for each in places(result)} == {"test_it.py"}
    result.stdout.fnmatch_lines(["*OSError: broken after, in marked"])


@pytest.mark.parametrize("loop_scope", SCOPES)
def test_pytest_asyncio_with_every_scope_of_loops(pytester: pytest.Pytester, loop_scope: str) -> None:
    source = anywhere(
        f'@pytest.mark.asyncio(loop_scope="{loop_scope}")',
        f'@pytest_asyncio.fixture(loop_scope="{loop_scope}")',
    )
    result = run_source(pytester, "import pytest_asyncio\n" + source, plugins=[ASYNCIO])
    check_anywhere(pytester, result)


def test_pytest_asyncio_in_auto_mode(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    result = run_source(pytester, anywhere("", "@pytest.fixture"), plugins=[ASYNCIO])
    check_anywhere(pytester, result)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio(pytester: pytest.Pytester, backend: str) -> None:
    source = anywhere("@pytest.mark.anyio", "@pytest.fixture") + (
        f'\n@pytest.fixture\ndef anyio_backend():\n    return "{backend}"\n'
    )
    result = run_source(pytester, source, plugins=[ANYIO])
    check_anywhere(pytester, result)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio_with_one_runner_for_a_whole_module(pytester: pytest.Pytester, backend: str) -> None:
    """A fixture of the module keeps the runner, and with it one task and one context, for all tests."""
    source = anywhere("@pytest.mark.anyio", "@pytest.fixture") + (
        f"""
@pytest.fixture(scope="module")
def anyio_backend():
    return "{backend}"

@pytest.fixture(scope="module", autouse=True)
async def keeps_the_runner(anyio_backend):
    yield value()
"""
    )
    result = run_source(pytester, source, plugins=[ANYIO])
    check_anywhere(pytester, result)


WIDE = """
import pytest_asyncio

told = []
marked = pytest.mark.failpoints({"plugin.value": 'return("marked")'})

@ASYNCFIXTURE
async def wide():
    told.append("up " + value())
    yield "wide"
    told.append("down " + value())

@ASYNCFIXTURE
async def above(wide):
    return wide + " " + value()

class TestIt:
    @marked
    @ASYNCTEST
    async def test_1(self, above):
        assert above == "wide marked" and value() == "marked"
        assert told == ["up marked"]

    @ASYNCTEST
    async def test_2(self, above):
        assert value() == "body" and fail.current_scope() is None
        assert above == "wide body" if len(told) > 1 else "wide marked"

    @pytest.mark.failpoints({"plugin.value": '1*return("again")'})
    @ASYNCTEST
    async def test_3(self, wide, failpoints):
        assert value() == "again" and fail.current_scope() is failpoints
        assert len(failpoints.trace) == 2 if len(told) == 5 else 1

    def test_4(self):
        assert value() == "body"

    @ASYNCTEST
    async def test_5(self, above):
        assert value() == "body" and fail.current_scope() is None

def test_6():
    assert value() == "body" and fail.current_scope() is None
"""


def test_async_fixtures_of_every_scope_on_loops_of_every_scope(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(__init__="")
    count = 0
    for at, scope in enumerate(SCOPES[1:], 1):
        for loop_scope in SCOPES[at:]:
            count += 1
            source = WIDE.replace("@ASYNCTEST", f'@pytest.mark.asyncio(loop_scope="{loop_scope}")').replace(
                "@ASYNCFIXTURE", f'@pytest_asyncio.fixture(scope="{scope}", loop_scope="{loop_scope}")'
            )
            write(pytester, source, f"test_{scope}_{loop_scope}")
    for scope in SCOPES[1:]:
        for backend in ("asyncio", "trio"):
            count += 1
            source = WIDE.replace("@ASYNCTEST", "@pytest.mark.anyio").replace(
                "@ASYNCFIXTURE", f'@pytest.fixture(scope="{scope}")'
            )
            source += f'\n@pytest.fixture(scope="{scope}")\ndef anyio_backend():\n    return "{backend}"\n'
            write(pytester, source, f"test_anyio_{scope}_{backend}")
    run(pytester, plugins=[ASYNCIO, ANYIO]).assert_outcomes(passed=6 * count)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tasks_of_an_async_test(pytester: pytest.Pytester, backend: str) -> None:
    result = run_source(
        pytester,
        f"""
        import anyio

        pytestmark = pytest.mark.anyio

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "{backend}"

        @pytest.fixture(scope="module", autouse=True)
        async def keeps_the_runner(anyio_backend):
            yield

        async def see(into):
            into.append(value())
            into.append(await anyio.to_thread.run_sync(value))

        @pytest.mark.failpoints({{"plugin.value": 'return("marked")'}})
        async def test_1_children():
            seen = []
            async with anyio.create_task_group() as group:
                group.start_soon(see, seen)
                group.start_soon(see, seen)
            assert seen == ["marked"] * 4

        async def test_2_plain():
            seen = []
            async with anyio.create_task_group() as group:
                group.start_soon(see, seen)
            assert seen == ["body"] * 2

        @pytest.mark.failpoints
        async def test_3_fatal_in_a_child(failpoints):
            async def child():
                failpoints.fatal("fatal in a child")
            async with anyio.create_task_group() as group:
                group.start_soon(child)
            raise AssertionError("not reached")

        async def test_4_plain():
            assert value() == "body" and fail.current_scope() is None

        @pytest.mark.failpoints
        async def test_5_dies():
            async def child():
                raise OSError("died in a child")
            async with anyio.create_task_group() as group:
                group.start_soon(child)

        @pytest.mark.failpoints
        async def test_6_error_in_a_thread(failpoints):
            await anyio.to_thread.run_sync(failpoints.error, "error in a thread")

        async def test_7_plain():
            assert value() == "body" and fail.current_scope() is None
        """,
        plugins=[ANYIO],
    )
    result.assert_outcomes(passed=4, failed=3)
    assert names_of(result, "FAILED") == {
        "test_3_fatal_in_a_child",
        "test_5_dies",
        "test_6_error_in_a_thread",
    }
    text = result.stdout.str()
    assert "not reached" not in text.replace('raise AssertionError("not reached")', "")
    for each in ("fatal in a child", "died in a child", "error in a thread"):
        assert each in text


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_panic_fails_its_own_test_and_no_other(pytester: pytest.Pytester, backend: str) -> None:
    """What is no `Exception` ends the runner of anyio, unless it is kept from it."""
    result = run_source(
        pytester,
        f"""
        pytestmark = pytest.mark.anyio

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "{backend}"

        @pytest.fixture(scope="module", autouse=True)
        async def keeps_the_runner(anyio_backend):
            yield

        @pytest.fixture
        async def panics():
            value()

        @pytest.fixture
        async def panics_after():
            yield
            value()

        @pytest.mark.failpoints({{"plugin.value": "panic"}})
        async def test_1_panics():
            value()

        async def test_2_plain():
            assert value() == "body"

        @pytest.mark.failpoints({{"plugin.value": "panic"}})
        async def test_3_fixture_panics(panics):
            pass

        async def test_4_plain():
            assert value() == "body"

        @pytest.mark.failpoints({{"plugin.value": "1*return('once')->panic"}})
        async def test_5_fixture_panics_after(panics_after):
            assert value() == "once"

        async def test_6_plain():
            assert value() == "body"
        """,
        plugins=[ANYIO],
    )
    result.assert_outcomes(passed=4, failed=1, errors=2)
    assert names_of(result, "FAILED") == {"test_1_panics"}
    assert names_of(result, "ERROR") == {"test_3_fixture_panics", "test_5_fixture_panics_after"}
    result.stdout.fnmatch_lines(["E*FailpointPanic*plugin.value*"])


def test_a_task_that_dies_unseen_fails_the_test_that_started_it(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        import asyncio
        import gc
        import pytest_asyncio

        @pytest.mark.failpoints
        @pytest.mark.asyncio(loop_scope="module")
        async def test_1_task(failpoints):
            async def child():
                raise OSError("died unseen")
            task = asyncio.create_task(child())
            await asyncio.wait([task])

        @pytest.mark.asyncio(loop_scope="module")
        async def test_2_plain():
            assert value() == "body"

        background = []

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def server():
            async def serve():
                while True:
                    asked = await queue.get()
                    asked.set_result(value())
            queue = asyncio.Queue()
            task = asyncio.create_task(serve())
            async def ask():
                asked = asyncio.get_running_loop().create_future()
                await queue.put(asked)
                return await asked
            yield ask
            task.cancel()

        @pytest.mark.failpoints({"plugin.value": 'return("first")'})
        @pytest.mark.asyncio(loop_scope="module")
        async def test_3_the_task_of_a_fixture(server):
            assert await server() == "first"

        @pytest.mark.asyncio(loop_scope="module")
        async def test_4_is_in_no_scope_then(server):
            assert await server() == "body"
        """,
        plugins=[ASYNCIO],
    )
    result.assert_outcomes(passed=3, failed=1)
    assert names_of(result, "FAILED") == {"test_1_task"}
    result.stdout.fnmatch_lines(["*died unseen*"])
    result.stdout.no_fnmatch_line("*PytestUnraisableExceptionWarning*")


def test_a_wide_async_fixture_is_taken_down_as_a_sync_one_is(pytester: pytest.Pytester) -> None:
    """In the scope of the test that it ends with, whatever test it began with."""
    source = """
    told = []

    @pytest.fixture(scope="module")
    def anyio_backend():
        return "asyncio"

    @pytest.fixture(scope="module")
    async def wide(anyio_backend):
        yield
        told.append("async " + value())

    @pytest.fixture(scope="module")
    def wide_too():
        yield
        told.append("sync " + value())

    class TestIt:
        @pytest.mark.anyio
        async def test_plain(self, wide, wide_too):
            pass

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        @pytest.mark.anyio
        async def test_marked(self, wide, wide_too):
            assert value() == "marked"
    """
    write(pytester, source)
    pytester.makepyfile(
        test_told="""
        from test_it import told

        def test_told():
            assert sorted(told) == ["async marked", "sync marked"]
        """
    )
    run(pytester, plugins=[ANYIO]).assert_outcomes(passed=3)


def test_hypothesis_and_async(pytester: pytest.Pytester) -> None:
    source = """
    from hypothesis import given, settings, strategies as st
    import pytest_asyncio

    few = settings(max_examples=4, database=None, deadline=None)
    numbers = []

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
    @MARK
    @few
    @given(n=st.integers())
    async def test_marked(n):
        numbers.append(n)
        assert value() == "marked"

    @MARK
    @few
    @given(n=st.integers())
    async def test_plain(n):
        assert numbers and value() == "body"

    @pytest.mark.failpoints({"plugin.value": "panic"})
    @MARK
    @few
    @given(n=st.integers())
    async def test_never(n):
        pass
    """
    for mark, plugin in (("pytest.mark.asyncio", ASYNCIO), ("pytest.mark.anyio", ANYIO)):
        result = run_source(
            pytester, source.replace("MARK", mark), plugins=[plugin, "_hypothesis_pytestplugin"]
        )
        result.assert_outcomes(passed=2, failed=1)
        assert names_of(result, "FAILED") == {"test_never"}


def test_both_plugins_at_once(pytester: pytest.Pytester) -> None:
    run_source(
        pytester,
        """
        marked = pytest.mark.failpoints({"plugin.value": 'return("marked")'})

        @marked
        @pytest.mark.asyncio
        async def test_asyncio():
            assert value() == "marked"

        @marked
        @pytest.mark.anyio
        async def test_anyio(anyio_backend):
            assert value() == "marked"

        @pytest.mark.anyio
        async def test_plain(anyio_backend):
            assert value() == "body"

        @marked
        def test_sync():
            assert value() == "marked"
        """,
        plugins=[ASYNCIO, ANYIO],
    ).assert_outcomes(passed=6)


def test_an_async_test_that_no_plugin_runs(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        @pytest.mark.failpoints({"plugin.value": "panic"})
        async def test_async():
            pass

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_sync():
            assert value() == "marked"
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*async def functions are not natively supported*"])
