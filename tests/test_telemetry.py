"""What a hit that fires leaves in traces and logs: all of it, before the action, and nothing else."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from benchmarks.shapes import SHAPES
from failpy import fail, failpoint
from failpy._observer import Observer, observing
from failpy._telemetry import TRACE, Telemetry, telemetry
from tests.surroundings import plain_environ

ROOT = Path(__file__).parents[1]
FIRED = logging.getLogger("failpy.fired")


class Kept(logging.Handler):
    """Keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]


class Spans:
    """A provider of its own, and the spans that have ended."""

    def __init__(self, *processors: SpanProcessor) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        for each in (*processors, SimpleSpanProcessor(self._exporter)):
            provider.add_span_processor(each)
        self.tracer = provider.get_tracer("tests")

    def __call__(self, name: str) -> Any:
        return self.tracer.start_as_current_span(name)

    @property
    def events(self) -> dict[str, list[Any]]:
        """The events of each span."""
        return {span.name: list(span.events) for span in self._exporter.get_finished_spans()}

    @property
    def terms(self) -> dict[str, list[Any]]:
        """The terms that each span has an event of."""
        return {
            name: [event.attributes["failpoint.term"] for event in events]
            for name, events in self.events.items()
        }


@pytest.fixture
def level() -> Iterator[None]:
    """The level of the logger is put back after the test."""
    before = FIRED.level
    yield
    FIRED.setLevel(before)


@pytest.fixture
def log(level: None) -> Iterator[Kept]:
    """A handler on the logger, which takes what is of level INFO."""
    kept = Kept()
    FIRED.addHandler(kept)
    FIRED.setLevel(logging.INFO)
    yield kept
    FIRED.removeHandler(kept)


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What went to `sys.unraisablehook`."""
    seen: list[BaseException] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_value))
    return seen


def program(source: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", source, *arguments],
        cwd=ROOT,
        env=plain_environ() | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


# --- what is told ---


def test_a_record_has_what_fired_in_its_text_and_in_fields(name: str, log: Kept) -> None:
    with fail.scope({name: '2*off->return("hello")'}):
        hits = [fail.point(name, returns=str).hit() for _ in range(3)]
    assert [hit is not None for hit in hits] == [False, False, True]
    (record,) = log.records
    assert record.name == "failpy.fired"
    assert record.levelno == logging.INFO
    assert record.getMessage() == f"""failpoint '{name}' fired: return("hello") (hit 3)"""
    fields = {key: text for key, text in vars(record).items() if key.startswith("failpoint")}
    assert fields == {
        "failpoint": name,
        "failpoint_term": 'return("hello")',
        "failpoint_nth": 3,
        "failpoint_action": "return",
    }


def test_an_event_has_it_in_its_attributes(name: str, spans: Spans) -> None:
    with fail.scope({name: '2*off->1*return("hello")'}), spans("request"):
        for _ in range(4):
            fail.point(name, returns=str).hit()
    (event,) = spans.events["request"]
    assert event.name == "failpoint.fired"
    assert dict(event.attributes) == {
        "failpoint.name": name,
        "failpoint.term": '1*return("hello")',
        "failpoint.nth": 3,
        "failpoint.action": "return",
    }


@pytest.mark.parametrize(
    "term",
    [
        "return", "raise(KeyError)", "panic", "sleep(0)", "sleep(1)", "delay(0)", "yield", 'print("x")',
        'call("builtins:repr")', "pause(1)", "break",
    ],
)  # fmt: skip
def test_every_action_is_told_of_but_off(
    term: str, name: str, log: Kept, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "breakpointhook", lambda: None)
    with fail.scope({name: f"1*off->1*{term}->0%raise", f"{name}.not": "off"}, strict=False):
        with spans("request"):
            for _ in range(3):
                try:
                    fail.point(f"{name}.not").hit()
                    fail.point(name, returns=object).hit()
                except BaseException:
                    pass
    assert [record.failpoint_action for record in log.records] == [term.partition("(")[0]]
    assert len(spans.events["request"]) == 1


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_shape_of_function_is_told_of_once(shape: Any, name: str, log: Kept, spans: Spans) -> None:
    names = shape.build(failpoint(name)) | {"__name__": "program"}
    with fail.scope({name: "1*raise(KeyError)"}), spans("request"):
        with pytest.raises(KeyError):
            exec(shape.statement, names)
        exec(shape.statement, names)
    assert log.texts == [f"failpoint '{name}' fired: 1*raise(KeyError) (hit 1)"]
    assert spans.terms == {"request": ["1*raise(KeyError)"]}
    assert log.records[0].pathname == "<string>"  # where the program is, and not where failpy is


def test_every_spelling_in_a_body_is_told_of_where_it_stands(name: str, log: Kept) -> None:
    async def with_await() -> None:
        async with fail.point(name):
            pass
        await fail.point(name).ahit()

    with fail.scope({name: "return"}):
        with fail.point(name):
            pass
        fail.point(name).hit()
        asyncio.run(with_await())
    lines = [with_await.__code__.co_firstlineno + number for number in (1, 3, 6, 8)]
    assert {record.pathname for record in log.records} == {__file__}
    assert sorted(record.lineno for record in log.records) == lines
    assert {record.funcName for record in log.records} == {
        "with_await",
        "test_every_spelling_in_a_body_is_told_of_where_it_stands",
    }


def test_a_function_in_c_and_the_operating_system_are_told_of(name: str, log: Kept, tmp_path: Path) -> None:
    with fail.attach("zlib:crc32", name, returns=int), fail.scope({name: "return(5)"}):
        import zlib

        assert zlib.crc32(b"x") == 5
    with fail.attach_posix("io"), fail.scope({"posix/io/open": "raise(ENOENT)"}):
        with pytest.raises(FileNotFoundError):
            (tmp_path / "none").open()
    assert [(record.failpoint, record.pathname) for record in log.records] == [
        (name, __file__),
        ("posix/io/open", Path.open.__code__.co_filename),
    ]


def test_a_function_in_c_is_told_of_at_the_call_where_wrapt_is_written_in_python() -> None:
    ended = program(
        """
import logging, zlib
from failpy import fail
logging.basicConfig(level=logging.INFO, format="%(filename)s:%(lineno)d")
with fail.attach("zlib:crc32", "crc", returns=int), fail.scope({"crc": "return(5)"}):
    zlib.crc32(b"x")
""",
        WRAPT_DISABLE_EXTENSIONS="1",
    )
    assert ended.stderr == "<string>:6\n"


def test_the_process_scope_is_told_of_as_a_scope_is(name: str, log: Kept) -> None:
    fail.enable(name, "return")
    fail.point(name).hit()
    with fail.scope({name: "1*raise"}), pytest.raises(fail.Injected):
        fail.point(name).hit()
    fail.disable(name)
    fail.point(name).hit()
    assert [record.failpoint_term for record in log.records] == ["return", "1*raise"]


def test_what_is_no_hit_and_what_does_not_fire_is_not_told_of(name: str, log: Kept) -> None:
    scope = fail.scope({name: "1*return"}, strict=False)
    with scope:
        scope.enable(f"{name}.when", "return", when=lambda hit: False)
        scope.order(name, f"{name}.other")
        for _ in range(2):  # once it is used up
            fail.point(name).hit()
        fail.point(f"{name}.other").hit()
        fail.point(f"{name}.when").hit()
        fail.point(f"{name}.unarmed").hit()
    assert [record.failpoint for record in log.records] == [name]


def test_a_long_term_is_cut(name: str, log: Kept) -> None:
    with fail.scope({name: fail.Return("x" * 5000)}):
        fail.point(name, returns=str).hit()
    (record,) = log.records
    assert record.failpoint_term == 'return("' + "x" * 992 + "..."


def test_a_term_is_rendered_once_and_hits_no_failpoint_in_it(name: str, log: Kept) -> None:
    rendered = 0

    class Value:
        def __repr__(self) -> str:
            nonlocal rendered
            rendered += 1
            assert fail.point(name).hit() is None
            return "value"

    with fail.scope({name: fail.Return(Value())}):
        for _ in range(3):
            fail.point(name, returns=Any).hit()
    assert rendered == 1
    assert [record.failpoint_term for record in log.records] == ["return(<value>)"] * 3


# --- who is told ---


def test_each_thread_and_task_has_the_event_in_its_own_span(name: str, spans: Spans, log: Kept) -> None:
    def in_thread(number: int) -> None:
        with spans(f"thread {number}"), fail.scope({name: f"return({number})"}):
            fail.point(name, returns=int).hit()

    async def in_task(number: int) -> None:
        with spans(f"task {number}"):
            async with fail.scope({name: f"sleep(1)->return({number})"}):
                await fail.point(name).ahit()

    async def tasks() -> None:
        await asyncio.gather(*map(in_task, range(5)))

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(in_thread, range(5)))
    asyncio.run(tasks())
    expected = {f"thread {number}": [f"return({number})"] for number in range(5)}
    expected |= {f"task {number}": ["sleep(1)"] for number in range(5)}
    assert spans.terms == expected
    assert len(log.records) == 10


def test_the_innermost_span_has_the_event(name: str, spans: Spans) -> None:
    with fail.scope({name: "return"}), spans("outer"), spans("inner"):
        fail.point(name).hit()
    assert spans.terms == {"inner": ["return"], "outer": []}


def test_without_a_span_that_records_there_is_nothing_to_do(name: str, spans: Spans) -> None:
    unsampled = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("tests")
    with fail.scope({name: "return"}):
        assert fail.point(name).hit()
        with unsampled.start_as_current_span("unsampled"):
            assert fail.point(name).hit()
        with spans("request") as span:
            span.end()
            assert fail.point(name).hit()
    assert spans.terms == {"request": []}


def test_a_level_may_change_while_a_point_is_armed(name: str, level: None) -> None:
    kept = Kept()
    with fail.scope({name: "return"}):
        point = fail.point(name)
        FIRED.addHandler(kept)
        try:
            for change, arguments in [
                (FIRED.setLevel, [logging.WARNING]),
                (FIRED.setLevel, [logging.INFO]),
                (logging.disable, [logging.INFO]),
                (logging.disable, [logging.NOTSET]),
                (FIRED.setLevel, [logging.CRITICAL]),
                (FIRED.setLevel, [logging.DEBUG]),
            ]:
                change(*arguments)
                point.hit()
            FIRED.disabled = True
            point.hit()
        finally:
            FIRED.disabled = False
            logging.disable(logging.NOTSET)
            FIRED.removeHandler(kept)
    assert [record.failpoint_nth for record in kept.records] == [2, 4, 6]


def test_nobody_is_asked_more_than_once_whether_it_listens(
    name: str, level: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, TRACE)
    asked: list[object] = []
    real = Telemetry.tell
    FIRED.setLevel(logging.WARNING)
    with fail.scope({name: "return"}):
        monkeypatch.setattr(Telemetry, "tell", lambda *args: (asked.append(args), real(*args)))
        for _ in range(5):
            fail.point(name).hit()
        assert len(asked) == 1


def test_what_is_not_loaded_is_not_asked_for(
    name: str, log: Kept, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = Telemetry()
    monkeypatch.setattr("failpy._activation.telemetry", fresh)
    with fail.scope({name: "return"}), spans("request"):
        for module in ("logging", TRACE):
            for loaded in (None, object()):  # kept out, or in the middle of its import
                monkeypatch.setitem(sys.modules, module, loaded)  # type: ignore[arg-type]
                fail.point(name).hit()
    assert [record.failpoint_nth for record in log.records] == []
    assert len(spans.events["request"]) == 2  # until its turn came
    monkeypatch.undo()
    monkeypatch.setattr("failpy._activation.telemetry", fresh)
    with fail.scope({name: "return"}):
        fail.point(name).hit()
    assert len(log.records) == 1


def test_nothing_is_imported_for_it_and_what_comes_late_is_found() -> None:
    ended = program("""
import sys
from failpy import fail
assert not {"logging", "opentelemetry"} & set(sys.modules)
fail.enable("late", "return")
fail.point("late").hit()
assert "opentelemetry" not in sys.modules

from opentelemetry.sdk.trace import TracerProvider
with TracerProvider().get_tracer("late").start_as_current_span("late") as span:
    fail.point("late").hit()
print([event.attributes["failpoint.nth"] for event in span.events])
""")
    assert (ended.stdout, ended.stderr) == ("[2]\n", "")


def test_a_logger_of_a_class_of_the_programs_own_decides_for_itself(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Picky(logging.Logger):
        loud = False

        def isEnabledFor(self, level: int) -> bool:
            return super().isEnabledFor(level) or self.loud

    picky, kept = Picky("failpy.fired", logging.WARNING), Kept()
    picky.addHandler(kept)
    monkeypatch.setattr("failpy._activation.telemetry", Telemetry())
    with fail.scope({name: "return"}):
        with monkeypatch.context() as patch:
            patch.setattr(logging, "getLogger", lambda _: picky)
            fail.point(name).hit()
        monkeypatch.setattr(Picky, "loud", True)
        fail.point(name).hit()
    assert [record.failpoint_nth for record in kept.records] == [2]


# --- when it is told ---


@pytest.mark.parametrize("term", ["kill", "exit(7)"])
@pytest.mark.parametrize("hit", ['fail.point("end").hit()', 'asyncio.run(fail.point("end").ahit())'])
def test_what_ends_the_process_has_left_its_record(term: str, hit: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    ended = program(
        f"""
import asyncio, logging, sys
from failpy import fail
logging.basicConfig(filename=sys.argv[1], level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
fail.enable("end", {term!r})
{hit}
print("lived")
""",
        str(log),
    )
    assert (ended.returncode, ended.stdout) == (7 if term == "exit(7)" else -signal.SIGKILL, "")
    assert log.read_text() == f"INFO failpy.fired failpoint 'end' fired: {term} (hit 1)\n"


def test_a_pause_is_told_of_before_it(name: str, log: Kept, spans: Spans) -> None:
    written = threading.Event()
    log.emit = lambda record: (log.records.append(record), written.set())  # type: ignore[method-assign]
    with fail.scope({name: "pause"}) as scope:
        with ThreadPoolExecutor(1) as pool, spans("request"):
            waiting = pool.submit(lambda: fail.point(name, returns=int).hit())
            assert written.wait(30)
            assert not waiting.done()
            scope.wait_for_hit(name).return_(5)
            assert waiting.result(30).value == 5
    assert log.texts == [f"failpoint '{name}' fired: pause (hit 1)"]


def test_the_action_comes_after_what_is_told(name: str, log: Kept) -> None:
    seen: list[int] = []
    with fail.scope({name: fail.Call(lambda hit: seen.append(len(log.records)))}):
        fail.point(name).hit()
    assert seen == [1]


# --- what the program sees of it: nothing ---


def _raises(*_: object, **__: object) -> Any:
    raise RuntimeError("of no concern to the program")


def _in_handler(log: Kept, span: Any, patch: pytest.MonkeyPatch) -> None:
    log.emit = _raises  # type: ignore[method-assign]


def _in_filter(log: Kept, span: Any, patch: pytest.MonkeyPatch) -> None:
    log.addFilter(_raises)


def _in_level(log: Kept, span: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FIRED, "isEnabledFor", _raises)
    patch.setattr(telemetry, "levels", {})


def _in_span(log: Kept, span: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(type(span), "add_event", _raises)


def _in_recording(log: Kept, span: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(type(span), "is_recording", _raises)


@pytest.mark.parametrize("breaks", [_in_handler, _in_filter, _in_level, _in_span, _in_recording])
def test_what_raises_is_shown_and_changes_nothing(
    breaks: Callable[..., None],
    name: str,
    log: Kept,
    unraisable: list[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spans = Spans()
    with fail.scope({name: '1*return("x")->1*raise(KeyError("k"))->sleep(0)'}) as scope:
        point = fail.point(name, returns=str)
        with spans("request") as span:
            with monkeypatch.context() as patch:
                breaks(log, span, patch)
                hit = point.hit()
                assert hit is not None
                assert hit.value == "x"
                with pytest.raises(KeyError, match="k"):
                    point.hit()
                assert point.hit() is None
        assert scope.status(name).fired == 3
        assert scope.status(name).paused == 0
    assert [str(each) for each in unraisable] == ["of no concern to the program"] * 3
    told = [record.failpoint_nth for record in log.records], spans.terms["request"]
    # The one has nothing to do with the other.
    assert list(map(len, told)) == ([0, 3] if breaks in (_in_handler, _in_filter, _in_level) else [3, 0])


def test_what_is_no_exception_is_raised_and_nothing_is_left_waiting(name: str, log: Kept) -> None:
    def interrupted(record: logging.LogRecord) -> None:
        raise KeyboardInterrupt

    log.emit = interrupted  # type: ignore[method-assign]
    with fail.scope({name: "1*pause->return"}) as scope:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                fail.point(name).hit()
        assert scope.status(name).paused == 0


def test_the_exception_that_is_being_handled_is_left_alone(
    name: str, log: Kept, unraisable: list[BaseException]
) -> None:
    log.emit = _raises  # type: ignore[method-assign]
    with fail.scope({name: "raise(KeyError)"}):
        with pytest.raises(KeyError) as caught:
            fail.point(name).hit()
    assert caught.value.__context__ is None
    assert len(unraisable) == 1


# --- failpoints that it comes to itself ---


def test_a_handler_and_a_span_hit_no_failpoint(
    name: str, level: None, spans: Spans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    handler = logging.FileHandler(log, delay=True, encoding="utf-8")
    handler.addFilter(lambda record: fail.point(name).hit() is None)
    FIRED.addHandler(handler)
    FIRED.setLevel(logging.INFO)
    try:
        with fail.attach_posix("io"), spans("request") as span:
            real = span.add_event

            def hitting(*args: Any) -> None:
                assert fail.point(name).hit() is None
                real(*args)

            monkeypatch.setattr(span, "add_event", hitting)
            with fail.scope({name: "return", "posix/io/open": "raise", "posix/io/write": "raise"}) as scope:
                assert fail.point(name).hit()
                assert scope.status(name).hits == 1
                assert {entry.point for entry in scope.trace} == {name}
                scope.disable("posix/io/open")
                scope.disable("posix/io/write")
    finally:
        FIRED.removeHandler(handler)
        handler.close()
    assert log.read_text() == f"failpoint '{name}' fired: return (hit 1)\n"
    assert spans.terms == {"request": ["return"]}


def test_a_failpoint_on_what_is_asked_does_not_ask_again(
    name: str, log: Kept, unraisable: list[BaseException]
) -> None:
    with fail.attach(trace.get_current_span, f"{name}.asked"):
        with fail.scope({name: "return", f"{name}.asked": "raise(KeyError)"}) as scope:
            for _ in range(3):
                assert fail.point(name).hit()
            assert scope.status(f"{name}.asked").fired == 3
    assert [record.failpoint for record in log.records] == [name] * 3
    assert [type(each) for each in unraisable] == [KeyError] * 3


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal on this platform")
def test_a_signal_handler_hits_what_it_hits_while_it_is_asked_who_listens(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled: list[object] = []
    real = trace.get_current_span

    def interrupted(*args: Any) -> Any:
        if not handled:
            signal.raise_signal(signal.SIGUSR1)
        return real(*args)

    monkeypatch.setattr(trace, "get_current_span", interrupted)
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.append(fail.point(name).hit()))
    try:
        with fail.scope({name: "return"}) as scope:
            fail.point(name).hit()
            assert scope.status(name).fired == 2
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(handled) == 1
    assert handled[0] is not None


def test_what_fires_while_a_record_is_written_has_none_of_its_own(name: str, log: Kept, spans: Spans) -> None:
    class Locked(logging.Handler):
        lock_of_its_own = threading.Lock()

        def emit(self, record: logging.LogRecord) -> None:
            assert self.lock_of_its_own.acquire(timeout=10), "twice in one thread"
            try:
                fail.point(name).hit()
            finally:
                self.lock_of_its_own.release()

    handler = Locked()
    logging.getLogger().addHandler(handler)
    try:
        with fail.scope({name: "return"}) as scope, spans("request"):
            logging.getLogger("program").warning("something")
            assert scope.status(name).fired == 1
    finally:
        logging.getLogger().removeHandler(handler)
    assert log.records == []
    assert spans.terms == {"request": ["return"]}


def test_a_handler_in_a_thread_of_its_own_has_no_end_of_records(name: str, level: None) -> None:
    class Hitting(Kept):
        def emit(self, record: logging.LogRecord) -> None:
            super().emit(record)
            fail.point(name).hit()

    records: queue.SimpleQueue[Any] = queue.SimpleQueue()
    handler, hitting = QueueHandler(records), Hitting()
    listener = QueueListener(records, hitting)
    FIRED.addHandler(handler)
    FIRED.setLevel(logging.INFO)
    listener.start()
    fail.enable(name, "return")
    try:
        fail.point(name).hit()
    finally:
        listener.stop()  # it writes what is in the queue first
        FIRED.removeHandler(handler)
    assert hitting.texts == [f"failpoint '{name}' fired: return (hit 1)"]
    assert records.empty()
    assert fail.status(name).fired == 2


def test_what_fires_inside_of_the_sdk_has_no_event(name: str, log: Kept) -> None:
    class Hitting(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            fail.point(name).hit()

    spans = Spans(Hitting())
    with fail.scope({name: "return"}) as scope, spans("outer"), spans("inner"):
        assert scope.status(name).fired == 2
    assert spans.terms == {"inner": [], "outer": []}
    assert log.records == []


# --- locks ---


def test_a_handler_that_hits_the_point_and_one_that_is_told_of_it_do_not_wait_for_each_other(
    name: str, log: Kept, spans: Spans
) -> None:
    told, inside = threading.Event(), threading.Event()

    class Both(Kept):
        def emit(self, record: logging.LogRecord) -> None:  # this holds the lock of the handler
            super().emit(record)
            if record.name == "program":
                inside.set()
                assert told.wait(10)
                fail.point(name).hit()  # and this wants that of the point

    handler = Both()
    # The filter of a handler comes before its lock.
    handler.addFilter(lambda record: record.name == "program" or told.set() is None)
    root = logging.getLogger()
    root.addHandler(handler)
    fail.enable(name, "return")
    threads = [
        threading.Thread(target=lambda: logging.getLogger("program").warning("something"), daemon=True),
        threading.Thread(target=lambda: inside.wait(10) and fail.point(name).hit(), daemon=True),
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads), "they wait for each other"
    finally:
        root.removeHandler(handler)
    assert {record.name for record in handler.records} == {"program", "failpy.fired"}
    assert fail.status(name).fired == 2


def test_a_signal_handler_that_comes_while_a_term_is_chosen_is_not_told_of(name: str, log: Kept) -> None:
    class Choosing(Observer):
        def hit(self, hit: Any, layer: Any) -> None:  # under the lock of the point
            if hit.nth == 1:
                fail.point(name).hit()

    observer = Choosing()
    observing.add(observer)
    try:
        with fail.scope({name: "return"}) as scope:
            fail.point(name).hit()
            assert scope.status(name).fired == 2
    finally:
        observing.drop(observer)
    assert [record.failpoint_nth for record in log.records] == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_tells_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ended = program(
        """
import logging, os, sys
from failpy import fail
logging.basicConfig(filename=sys.argv[1], level=logging.INFO, format="%(message)s")
fail.enable("forked", "return")
fail.point("forked").hit()
child = os.fork()
if not child:
    fail.point("forked").hit()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
""",
        str(log),
    )
    assert ended.returncode == 0, ended.stderr
    lines = [f"failpoint 'forked' fired: return (hit {nth})" for nth in (1, 2)]
    assert log.read_text().splitlines() == lines


def test_nothing_is_printed_as_long_as_nobody_asked_for_it() -> None:
    ended = program("""
import logging
from failpy import fail
logging.basicConfig()
with fail.scope({"quiet": "return"}):
    fail.point("quiet").hit()
""")
    assert (ended.stdout, ended.stderr, ended.returncode) == ("", "", 0)
    assert isinstance(sys.stderr, io.TextIOBase)
