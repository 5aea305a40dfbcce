"""The page of the HTTP endpoint, in a browser: what an operator sees is what the program does."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from failpy import _reports, fail, failpoint
from failpy._registry import names
from tests.surroundings import collect

sync_api = pytest.importorskip("playwright.sync_api", reason="the page is tested with Playwright")
expect = sync_api.expect

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_TIMEOUT = 10_000  # milliseconds; only what fails waits as long
_NOTE_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
_REFUSED = re.compile(r"Failed to load resource: .*status of (\d+) ")

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = os.environ.get("FAILPY_TEST_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: install one of {', '.join(_NAMES)}, or name it by FAILPY_TEST_CHROMIUM")
    collect()
    with sync_api.sync_playwright() as playwright:
        expect.set_options(timeout=_TIMEOUT)
        running = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(autouse=True)
def own_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page shows what its test declares, and not the thousand points of all the others."""
    before = {each for each in names() if each.startswith("test.")}
    monkeypatch.setattr(_reports, "names", lambda: [each for each in names() if each not in before])


@pytest.fixture
def server() -> Iterator[fail.Server]:
    with fail.serve() as running:
        yield running


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Open pages that must run clean: no error, no violation of the policy, no request to anybody else."""
    opened: list[tuple[Any, list[str], set[int]]] = []

    def open_it(
        url: str, *, refused: Iterable[int] = (), lost: bool = False, ready: bool = True, **options: Any
    ) -> Any:
        """Open one, where these statuses, and lost connections, are what the test is about."""
        context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        page, problems, allowed = context.new_page(), [], set(refused)
        page.set_default_timeout(_TIMEOUT)
        host = urlsplit(url).netloc

        def said(message: Any) -> None:
            status = _REFUSED.match(message.text)
            if message.type not in ("error", "warning") or (status and int(status[1]) in allowed):
                return
            if not (lost and "net::ERR_" in message.text):
                problems.append(f"{message.type}: {message.text}")

        def asked(request: Any) -> None:
            if urlsplit(request.url).netloc != host:
                problems.append(f"a request to {request.url}")

        page.on("console", said)
        page.on("pageerror", lambda error: problems.append(f"{error}\n{error.stack}"))
        page.on("request", asked)
        page.on("dialog", lambda dialog: (problems.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        context.add_init_script(_NOTE_VIOLATIONS)
        opened.append((page, problems, allowed))
        page.goto(url)
        if ready:
            expect(page.locator("#link")).to_have_text("live")
        return page

    yield open_it
    for page, problems, _ in opened:
        violations = page.evaluate("window.violations")
        page.context.close()
        assert problems == []
        assert violations == []


def terms_of(page: Any, name: str) -> Any:
    return page.get_by_label(f"Terms of {name}", exact=True)


def row_of(page: Any, name: str) -> Any:
    return page.locator("tr.point").filter(has=terms_of(page, name))


def state_of(page: Any, name: str) -> Any:
    return row_of(page, name).locator(".tag")


def press(page: Any, what: str) -> None:
    page.get_by_role("button", name=what, exact=True).click()


def declare(name: str, *, faults: tuple[str, ...] = ()) -> Callable[[], str]:
    @failpoint(name, returns=str, faults=faults)
    def function() -> str:
        return "real"

    return function


class Held:
    """A thread that calls a function, which pauses."""

    def __init__(self, function: Callable[[], str], name: str) -> None:
        self.result = ""
        self._function = function
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def _run(self) -> None:
        self.result = self._function()

    def join(self) -> str:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.result


# --- seeing ---


def test_the_page_lists_what_is_declared_and_what_is_armed(
    server: fail.Server, open_page: Open, name: str
) -> None:
    declare(name)
    other = f"{name}.armed"
    declare(other)
    fail.enable(other, '2*return("x")')
    page = open_page(server.url)
    row = row_of(page, name)
    expect(row.locator(".name")).to_have_text(name)
    expect(row.locator(".site")).to_have_attribute("title", re.compile(rf"^{re.escape(__file__)}:\d+$"))
    expect(row.locator(".returns code")).to_have_text("str")
    expect(state_of(page, name)).to_have_text("idle")
    expect(terms_of(page, name)).to_have_value("")
    expect(state_of(page, other)).to_have_text("armed")
    expect(terms_of(page, other)).to_have_value('2*return("x")')
    expect(page.locator("#meta")).to_contain_text(f"pid {os.getpid()}, failpy {fail.__version__}")
    expect(page.locator("#n-armed")).to_have_text("1")


def test_counts_plot_and_last_hits_move_with_the_program(
    server: fail.Server, open_page: Open, name: str
) -> None:
    function = declare(name)
    fail.enable(name, '2*off->return("x")')
    page = open_page(server.url)
    stream = page.get_by_label("The last 100 hits, newest first")
    expect(page.locator("#log-state")).to_have_text("")
    assert [Held(function, "a-thread-of-mine").join() for _ in range(3)] == ["real", "real", "x"]
    row = row_of(page, name)
    expect(row.locator(".num").nth(0)).to_have_text("3 hits")
    expect(row.locator(".num").nth(1)).to_have_text("1 fired")
    row.scroll_into_view_if_needed()  # what nobody sees is not drawn
    for figure in (page.locator("#plot"), row.locator(".spark")):
        expect(figure.locator("path.hits")).to_have_attribute("d", re.compile("^M"))
        expect(figure.locator("path.fired")).to_have_attribute("d", re.compile("^M"))
    newest = stream.get_by_role("listitem").first
    expect(newest).to_contain_text('return("x")')
    expect(newest).to_contain_text("hit 3")
    expect(newest).to_contain_text("a-thread-of-mine")
    page.set_viewport_size({"width": 390, "height": 400})
    before = page.evaluate("() => { scrollTo(0, 400); return scrollY; }")  # the list is at the upper edge
    assert before > 0
    for _ in range(5):
        function()
    expect(newest).to_contain_text("hit 8")
    assert page.evaluate("() => new Promise((done) => setTimeout(() => done(scrollY), 100))") == before
    fail.enable(name, "off")  # counts from nothing again
    expect(row.locator(".num").nth(0)).to_have_text("0 hits")
    expect(page.locator("#rate-hits")).to_have_text("0")


def test_searching_and_filtering(server: fail.Server, open_page: Open, name: str) -> None:
    declare(f"{name}.first")
    function = declare(f"{name}.second")
    fail.enable(f"{name}.second", "print")
    function()
    page = open_page(server.url)
    first, second = row_of(page, f"{name}.first"), row_of(page, f"{name}.second")
    page.keyboard.press("/")
    search = page.get_by_label("Search failpoints")
    expect(search).to_be_focused()
    page.keyboard.type(f"{name}. SECOND")
    expect(first).to_be_hidden()
    expect(second).to_be_visible()
    page.keyboard.press("Escape")
    expect(search).to_have_value("")
    expect(first).to_be_visible()
    for chip in ("Armed", "Fired"):
        page.get_by_role("button", name=re.compile(f"^{chip} ")).click()
        expect(first).to_be_hidden()
        expect(second).to_be_visible()
    page.get_by_role("button", name=re.compile("^Paused ")).click()
    expect(second).to_be_hidden()
    expect(page.locator("#blank")).to_contain_text("No point matches")
    press(page, "Show all points")
    expect(first).to_be_visible()


# --- arming ---


def test_what_is_armed_in_the_page_acts_in_the_program(
    server: fail.Server, open_page: Open, name: str
) -> None:
    function = declare(name)
    page = open_page(server.url)
    terms_of(page, name).fill('return("from the page")')
    press(page, f"Arm {name}")
    expect(state_of(page, name)).to_have_text("armed")
    assert function() == "from the page"
    press(page, f"Disarm {name}")
    expect(state_of(page, name)).to_have_text("idle")
    expect(terms_of(page, name)).to_have_value("")
    assert function() == "real"


def test_the_keyboard_is_enough(server: fail.Server, open_page: Open, name: str) -> None:
    function = declare(name)
    page = open_page(server.url)
    page.keyboard.press("/")
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    expect(terms_of(page, name)).to_be_focused()
    page.keyboard.type('return("typed")')
    page.keyboard.press("Enter")
    expect(state_of(page, name)).to_have_text("armed")
    assert function() == "typed"
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name=f"Arm {name}", exact=True)).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(state_of(page, name)).to_have_text("idle")
    expect(terms_of(page, name)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("group", name=f"Details of {name}")).to_be_visible()


def test_an_error_is_shown_where_it_is_typed(server: fail.Server, open_page: Open, name: str) -> None:
    declare(name)
    page = open_page(server.url, refused=[400, 403])
    field, box = terms_of(page, name), row_of(page, name).locator(".msg")
    for terms, cursor in (
        ("3*return(x)", 9),
        ('return("\N{GRINNING FACE}")*2', 12),
    ):  # UTF-16, as browsers count
        with pytest.raises(fail.TermSyntaxError) as caught:
            fail.parse(terms)
        error = caught.value
        field.fill(terms)
        field.press("Enter")
        expect(box.locator("p")).to_have_text(f"{error.reason} (column {error.column})")
        assert box.locator("pre").text_content() == error.caret
        expect(box).to_have_attribute("aria-live", "polite")
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_attribute("aria-describedby", box.get_attribute("id"))
        expect(field).to_be_focused()
        assert field.evaluate("(input) => [input.selectionStart, input.selectionEnd]") == [cursor, cursor]
    field.fill("return(5)")
    expect(box).to_be_empty()
    field.press("Enter")
    expect(box).to_contain_text("str")  # what the point returns
    field.fill("kill")
    field.press("Enter")
    expect(box).to_contain_text("kill is not allowed over HTTP here")
    assert fail.status(name).terms == ""
    field.press("Escape")
    expect(field).to_have_value("")
    expect(box).to_be_empty()
    expect(field).not_to_have_attribute("aria-invalid", "true")


def test_a_fault_of_the_catalogue_for_a_while(server: fail.Server, open_page: Open, name: str) -> None:
    function = declare(name, faults=("raise(TimeoutError)",))
    page = open_page(server.url)
    press(page, f"Details of {name}")
    details = page.get_by_role("group", name=f"Details of {name}")
    expect(details.locator(".sites")).to_contain_text(__file__)
    details.get_by_role("button", name="raise(TimeoutError)", exact=True).click()
    expect(terms_of(page, name)).to_have_value("raise(TimeoutError)")
    expect(terms_of(page, name)).to_be_focused()
    details.get_by_label("30 s").check()
    press(page, f"Arm 30 s: {name}")
    expect(row_of(page, name).locator(".left")).to_have_text(re.compile(r"^(30|[12]?\d) s left$"))
    with pytest.raises(TimeoutError):
        function()


def test_what_is_being_typed_is_left_alone(server: fail.Server, open_page: Open, name: str) -> None:
    function = declare(name)
    fail.enable(name, "off")
    page = open_page(server.url)
    field = terms_of(page, name)
    field.fill("sleep(10)")
    field.evaluate("(input) => { input.mine = true; input.setSelectionRange(2, 4); }")
    declare(f"{name}.new")  # its row comes below
    function()
    expect(row_of(page, name).locator(".num").nth(0)).to_have_text("1 hits")
    expect(terms_of(page, f"{name}.new")).to_be_visible()
    kept = "(input) => [input.mine, input.value, input.selectionStart, input.selectionEnd]"
    assert field.evaluate(kept) == [True, "sleep(10)", 2, 4]
    expect(field).to_be_focused()


def test_somebody_else_changes_the_point_meanwhile(server: fail.Server, open_page: Open, name: str) -> None:
    declare(name)
    page = open_page(server.url, refused=[412])
    field = terms_of(page, name)
    field.fill('return("mine")')
    fail.enable(name, 'return("theirs")')
    field.press("Enter")
    box = row_of(page, name).locator(".msg")
    expect(box).to_contain_text('It is now: return("theirs")')
    assert fail.status(name).terms == 'return("theirs")'
    expect(field).to_have_value('return("mine")')
    box.get_by_role("button", name="Load theirs").click()
    expect(field).to_have_value('return("theirs")')
    expect(box).to_be_empty()

    field.fill('return("mine again")')
    fail.disable(name)
    expect(box).to_contain_text("It is disarmed now.")  # before anything is sent
    field.press("Enter")
    box.get_by_role("button", name="Overwrite").click()
    expect(box).to_be_empty()
    expect(state_of(page, name)).to_have_text("armed")
    assert fail.status(name).terms == 'return("mine again")'


def test_several_at_once_and_names_not_declared_yet(server: fail.Server, open_page: Open, name: str) -> None:
    function = declare(f"{name}.reader")
    page = open_page(server.url, refused=[400, 404])
    press(page, "Arm by name")
    one = page.get_by_role("form", name="One name, declared or not yet")
    one.get_by_label("Name").fill(f"{name}.raeder")
    one.get_by_label("Terms").fill('return("near")')
    one.get_by_role("button", name="Arm", exact=True).click()
    one.get_by_role("button", name=f"{name}.reader", exact=True).click()
    expect(one.get_by_label("Name")).to_have_value(f"{name}.reader")
    expect(one.get_by_label("Terms")).to_be_focused()
    page.keyboard.press("Enter")
    expect(state_of(page, f"{name}.reader")).to_have_text("armed")
    assert function() == "near"

    one.get_by_label("Name").fill(f"{name}.later")
    one.get_by_label("Terms").fill('return("pending")')
    one.get_by_role("button", name="Arm", exact=True).click()
    one.get_by_role("button", name="Wait until code declares it").click()
    expect(state_of(page, f"{name}.later")).to_have_text("pending")
    assert declare(f"{name}.later")() == "pending"
    expect(state_of(page, f"{name}.later")).to_have_text("armed")

    several = page.get_by_role("form", name="Several at once: all of them or none")
    text = several.get_by_role("textbox")
    text.fill(f"{name}.reader=off;{name}.later=retrun(1)")
    several.get_by_role("button").click()
    expect(several.locator("pre")).to_contain_text("retrun(1)")
    assert fail.status(f"{name}.reader").terms == 'return("near")'
    text.fill(f"{name}.reader=off;{name}.later=print")
    text.press("Control+Enter")
    expect(terms_of(page, f"{name}.later")).to_have_value("print")
    expect(terms_of(page, f"{name}.reader")).to_have_value("off")


# --- steering ---


def test_paused_hits_are_resumed(server: fail.Server, open_page: Open, name: str) -> None:
    function = declare(name)
    fail.enable(name, "pause")
    held = [Held(function, "one-of-mine")]
    page = open_page(server.url)
    expect(state_of(page, name)).to_have_text("1 paused")
    held.append(Held(function, "another-of-mine"))
    press(page, f"Details of {name}")
    details = page.get_by_role("group", name=f"Details of {name}")
    expect(details).to_contain_text("Hit 1 in one-of-mine")
    expect(details).to_contain_text("Hit 2 in another-of-mine")
    press(page, f"Resume hit 2 of {name}")
    assert held[1].join() == "real"
    expect(state_of(page, name)).to_have_text("1 paused")
    press(page, f"Resume {name}")
    assert held[0].join() == "real"
    expect(state_of(page, name)).to_have_text("armed")


def test_everything_is_disarmed_after_a_question(server: fail.Server, open_page: Open, name: str) -> None:
    for part in "ab":
        declare(f"{name}.{part}")
        fail.enable(f"{name}.{part}", "off")
    page = open_page(server.url, refused=[412])
    press(page, "Disarm all")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Disarm all 2 armed points?")
    dialog.get_by_role("button", name="Keep them").click()
    expect(dialog).to_be_hidden()
    assert fail.status(f"{name}.a").terms == "off"

    press(page, "Disarm all")
    declare(f"{name}.c")
    fail.enable(f"{name}.c", "off")  # who confirms must know of it
    dialog.get_by_role("button", name="Disarm all").click()
    expect(dialog).to_contain_text("Disarm all 3 armed points?")
    dialog.get_by_role("button", name="Disarm all").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#n-armed")).to_have_text("0")
    assert [each.name for each in fail.points() if each.terms] == []


# --- connecting ---


def test_the_page_asks_for_the_token(open_page: Open, name: str) -> None:
    declare(name)
    with fail.serve(token="s3cret-\N{KEY}") as server:
        page = open_page(server.url, refused=[401], lost=True, ready=False)  # it outlives the server
        field = page.get_by_label("Token", exact=True)
        expect(field).to_be_focused()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#token-msg")).to_contain_text("did not accept that token")
        field.fill("s3cret-\N{KEY}")
        press(page, "Connect")
        expect(field).to_be_hidden()
        expect(terms_of(page, name)).to_be_visible()
        expect(page.locator("#log-state")).to_have_text("")
        page.reload()  # the tab remembers it
        expect(terms_of(page, name)).to_be_visible()

        page = open_page(f"{server.url}/#token=s3cret-%F0%9F%94%91", lost=True)
        expect(terms_of(page, name)).to_be_visible()
        assert page.url == f"{server.url}/"


def test_a_program_that_goes_away_and_comes_back(open_page: Open, name: str) -> None:
    declare(name)
    with fail.serve() as server:
        page = open_page(server.url, lost=True)
    link = page.locator("#link")
    expect(link).to_have_text(re.compile("^(reconnecting|lost)$"))
    field = terms_of(page, name)
    field.fill("off")
    field.press("Enter")
    box = row_of(page, name).locator(".msg")
    expect(box).to_contain_text("The program does not answer")
    with fail.serve(server.address):
        expect(link).to_have_text("live")
        box.get_by_role("button", name="Try again").click()
        expect(state_of(page, name)).to_have_text("armed")


def test_a_hidden_tab_asks_for_nothing(server: fail.Server, open_page: Open) -> None:
    page = open_page(server.url)
    page.clock.install()
    page.reload()
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.clock.run_for(3000)
    expect(page.locator("#log-state")).to_have_text("")
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/events")):
        page.evaluate(hide, True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(20_000)
    assert asked == []
    with page.expect_request(re.compile("/events$")):
        page.evaluate(hide, False)
        page.clock.run_for(1000)
    assert f"{server.url}/" in asked


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Threading(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def test_the_page_works_below_a_prefix(open_page: Open, name: str) -> None:
    function = declare(f"{name}/with?strange#parts%2F")
    mounted, prefix = fail.wsgi(), "/debug/failpoints"

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith(prefix):
            start_response("404 Not Found", [("Content-Length", "0")])
            return [b""]
        environ["wsgi.multithread"] = True  # which wsgiref does not know of
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = prefix, environ["PATH_INFO"].removeprefix(prefix)
        return mounted(environ, start_response)

    with make_server("127.0.0.1", 0, application, _Threading, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        page = open_page(f"http://127.0.0.1:{server.server_port}{prefix}", lost=True)
        assert urlsplit(page.url).path == f"{prefix}/"
        field = terms_of(page, f"{name}/with?strange#parts%2F")
        field.fill('return("mounted")')
        field.press("Enter")
        expect(state_of(page, f"{name}/with?strange#parts%2F")).to_have_text("armed")
        assert function() == "mounted"
        expect(page.get_by_role("listitem").first).to_contain_text("hit 1")
        page.goto("about:blank")  # ends the stream
        server.shutdown()
        thread.join()


# --- harm ---


_HOSTILE = (
    "<script>alert(1)</script>",
    "<svg/onload>alert(1)",
    "\"'><b>",
    "__proto__",
    "constructor",
    "a/../b",
    "..",
    "//example.com/x",
    "\\\\example.com",
    "Failpoints",
    "events",
    "a/resume",
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{GRINNING FACE}",
)


def test_names_and_terms_are_only_text(server: fail.Server, open_page: Open) -> None:
    image = "<img src=x onerror=alert(1)>"
    functions = {each: declare(each, faults=(f'return("{image}")',)) for each in _HOSTILE}
    page = open_page(server.url)
    press(page, f"Details of {_HOSTILE[0]}")
    press(page, f'return("{image}")')
    expect(terms_of(page, _HOSTILE[0])).to_have_value(f'return("{image}")')
    for each in _HOSTILE:
        terms_of(page, each).fill(f'return("{image}")')
        terms_of(page, each).press("Enter")
    for each, function in functions.items():
        expect(state_of(page, each)).to_have_text("armed")
        assert Held(function, image).join() == image
        assert row_of(page, each).locator(".name").text_content() == each
    for each in _HOSTILE:
        expect(row_of(page, each).locator(".fires")).to_have_text("1 fired")
    expect(page.get_by_role("listitem").filter(has_text=image)).to_have_count(len(_HOSTILE))
    expect(page.locator("#points img, #points script, #points b b, #log img")).to_have_count(0)


def test_light_and_dark_wide_and_narrow(
    server: fail.Server, open_page: Open, name: str, tmp_path: Path
) -> None:
    long = f"{name}.{'long' * 30}"
    declare(long, faults=("raise(TimeoutError)",))
    fail.enable(long, f'return("{"long" * 60}")')
    pictures = set()
    for scheme in ("light", "dark"):
        page = open_page(server.url, color_scheme=scheme, reduced_motion="reduce")
        press(page, f"Details of {long}")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            picture = page.screenshot(path=tmp_path / f"{scheme}-{width}.png")
            assert len(picture) > 10_000
            pictures.add(picture)
            assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out
    assert len(pictures) == 4
