"""The command line and several processes: real ones, some of which refuse, hang, or die in the middle."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from failpy import _fleet, _remote, _streams, fail
from failpy._change import Before
from failpy._client import Client
from failpy._complaint import Complaint, Refused, Unreachable
from failpy._fleet import Fleet, _labels, joint
from failpy._fleet_tables import fleet_overview
from failpy._sse import Event
from failpy._streams import Streams
from failpy._target import Target, find_targets
from tests.cli_tools import Said, asking
from tests.http_tools import BARE, SECONDS, Program, in_thread, until

# httpcore leaves a unix socket that it cannot connect to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

Capture = pytest.CaptureFixture[str]


Asks = Callable[..., Said]


@pytest.fixture
def says(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asks]:
    yield asking(capsys, monkeypatch)
    gc.collect()


# --- processes ---

WORKER = """
import sys, threading
from failpy import fail
returns = {"int": int, "str": str}[sys.argv[1]]
work, rest = fail.point("work", returns=returns), fail.point("rest")
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Worker(Program):
    """A process with an endpoint, that runs lines of Python."""

    def __init__(self, path: Path, returns: str = "int", **environ: str) -> None:
        super().__init__(WORKER, returns, FAILPY_HTTP=f"unix:{path}", **environ)
        assert self.read() == "ready"
        self.path = str(path).replace("{pid}", str(self.process.pid))
        self.url = f"unix:{self.path}"
        self.label = Path(self.path).stem

    def run(self, line: str) -> None:
        self.tell(line)
        assert self.read() == "done"

    @property
    def client(self) -> Client:
        return Client(Target(self.url, "http://localhost", socket=self.path))

    def status(self, name: str) -> dict[str, Any]:
        with self.client as client:
            return client.status(name)

    def terms(self, name: str = "work") -> str:
        return str(self.status(name)["terms"])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)


class Workers(ExitStack):
    """Those of one deployment."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.all: list[Worker] = []

    def add(self, *arguments: str, **environ: str) -> Worker:
        worker = Worker(self.folder / f"w{len(self.all)}.sock", *arguments, **environ)
        self.all.append(self.enter_context(worker))
        return worker

    @property
    def urls(self) -> list[str]:
        return _urls(each.url for each in self.all)

    def terms(self, name: str = "work") -> list[str]:
        return [each.terms(name) for each in self.all]


def _urls(urls: Any) -> list[str]:
    return [word for url in urls for word in ("--url", url)]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with Workers(tmp_path) as started:
        yield started


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with Workers(tmp_path_factory.mktemp("w")) as started:
        for _ in range(3):
            started.add()
        yield started


@pytest.fixture
def three(shared: Workers) -> Iterator[Workers]:
    """Three of them, with nothing armed."""
    yield shared
    for worker in shared.all:
        with worker.client as client:
            client.disable_all()


@pytest.fixture
def silent() -> Iterator[str]:
    """An address where somebody takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def nowhere(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/none.sock"


# --- which ---


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a:1,b:2", ["http://a:1", "http://b:2"]),
        (" a:1 \n b:2 ,", ["http://a:1", "http://b:2"]),
        ("a:1, ,unix:/x,", ["http://a:1", "unix:/x"]),
        ("unix:/x http://h/p,https://h", ["unix:/x", "http://h/p", "https://h"]),
        ("[::1]:1 [::1]:2", ["http://[::1]:1", "http://[::1]:2"]),
        # As one, since what follows is no address.
        ("unix:/a b/c,d.sock", ["unix:/a b/c,d.sock"]),
        ("http://h/a,b", ["http://h/a,b"]),
    ],
)
def test_the_variable_may_name_several(text: str, found: list[str]) -> None:
    targets = find_targets((), {"FAILPY_URL": text})
    assert [each.text for each in targets.found] == found
    assert targets.several == (len(found) > 1)


def test_the_address_of_a_server_is_one() -> None:
    with pytest.raises(Complaint, match="FAILPY_HTTP='a:1,b:2' is no address"):
        find_targets((), {"FAILPY_HTTP": "a:1,b:2"})


def test_each_is_asked_once(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    urls = ["a:1", "http://a:1/", f"unix:{tmp_path}/s", f"unix:{tmp_path}/link/s", "http://me:x@a:1", "a:1"]
    targets = find_targets(urls, {})
    assert [each.text for each in targets.found] == ["http://a:1", f"unix:{tmp_path}/s"]
    assert find_targets(["a:1", "a:1"], {}).several


def test_the_one_that_is_malformed_is_named() -> None:
    with pytest.raises(Complaint, match="--url='nonsense' is no address: it is none of HOST:PORT"):
        find_targets(["a:1", "nonsense"], {})
    with pytest.raises(Complaint, match="FAILPY_URL='b:0' is no address: a port is"):
        find_targets((), {"FAILPY_URL": "a:1 b:0"})
    with pytest.raises(Complaint, match="give --url once for each of several"):
        find_targets(["a:1,b:2"], {})


@pytest.mark.parametrize("given", ["http://me:secret@host/?a", "me:secret@host:1", "https://secret@host:0"])
def test_a_password_is_in_no_error(given: str) -> None:
    with pytest.raises(Complaint) as caught:
        find_targets([given], {})
    assert "secret" not in str(caught.value)
    assert "host" in str(caught.value)


def test_the_number_of_the_process_stands_for_all_of_them(says: Asks, tmp_path: Path) -> None:
    for name in ("w-007.sock", "w-x.sock", "w-8x.sock"):
        (tmp_path / name).touch()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{tmp_path}/w-4.sock")  # and nobody listens
    pattern = f"unix:{tmp_path}/w-{{pid}}.sock"
    with Workers(tmp_path) as started:
        for _ in range(2):
            started.all.append(started.enter_context(Worker(tmp_path / "w-{pid}.sock")))
        several = find_targets([pattern], {})
        assert [each.text for each in several.found] == sorted(
            (each.url for each in started.all), key=lambda url: int(url.rpartition("-")[2][:-5])
        )
        said = says("list", "--url", pattern)
        assert said.status == 0
        assert said.rows[1][:2] == ["work", "all"]
        assert said.err == f"nobody listens at unix:{tmp_path}/w-4.sock any more: left out\n"
        assert says("list", "--json", "--url", pattern).err == ""
        started.all.pop().kill()
        # Of one process, but as it would be of more.
        assert [each["pid"] for each in says("list", "--json", "--url", pattern).data["processes"]] == [
            started.all[0].process.pid
        ]
    status, out, err = says("list", "--url", pattern)
    assert (status, out) == (3, "")
    assert f"no process listens at {pattern}, whatever number {{pid}} is" in err


def test_numbers_in_a_path_are_ordered_as_numbers_and_agree(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for path in ("10/a-10", "9/a-9", "9/a-10"):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(f"{tmp_path}/{path}")
            listening.listen()
        found = find_targets([f"unix:{tmp_path}/{{pid}}/a-{{pid}}"], {}).found
    assert [each.socket for each in found] == [f"{tmp_path}/9/a-9", f"{tmp_path}/10/a-10"]


def test_a_socket_that_is_busy_is_no_stale_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, ExitStack() as stack:
        busy.bind(f"{tmp_path}/w-1")
        busy.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(f"{tmp_path}/w-1")
        assert find_targets([f"unix:{tmp_path}/w-{{pid}}"], {}).stale == ()


def test_labels_are_what_differs() -> None:
    def of(*texts: str) -> list[str]:
        return list(_labels(texts).values())

    assert of("http://a:1") == ["http://a:1"]
    assert of("unix:/run/w.sock") == ["unix:/run/w.sock"]
    assert of("http://a:1", "http://a:2/x") == ["a:1", "a:2/x"]
    assert of("unix:/run/w-1.sock", "unix:/run/w-2.sock") == ["w-1", "w-2"]
    assert of("unix:/run/w-1.sock", "unix:/run/x") == ["w-1.sock", "x"]
    assert of("unix:a.sock", "unix:b/c.sock") == ["a", "b/c"]
    assert of("unix:/run/w-1", "unix:w-1") == ["/run/w-1", "w-1"]
    assert of("unix:/run/w-1", "http://a:1") == ["unix:/run/w-1", "http://a:1"]
    assert of("unix:/run/", "unix:/run/x") == ["unix:/run/", "unix:/run/x"]


# --- side by side ---


def clients(number: int) -> list[Client]:
    return [Client(Target(f"http://h:{i}", f"http://h:{i}")) for i in range(1, number + 1)]


def test_they_are_asked_side_by_side_and_in_order() -> None:
    together = threading.Barrier(_fleet._AT_ONCE)

    def question(client: Client) -> str:
        together.wait(SECONDS)  # which nobody passes alone
        return client.target.text

    fleet = Fleet(clients(_fleet._AT_ONCE))
    assert [each.said for each in fleet.ask(question)] == [each.target.text for each in fleet.clients]


def test_no_more_than_so_many_at_a_time() -> None:
    lock, most = threading.Lock(), [0, 0]

    def question(client: Client) -> None:
        with lock:
            most[0] += 1
            most[1] = max(most)
        threading.Event().wait(0.001)
        with lock:
            most[0] -= 1

    fleet = Fleet(clients(3 * _fleet._AT_ONCE))
    assert len(fleet.ask(question)) == 3 * _fleet._AT_ONCE
    assert most[1] <= _fleet._AT_ONCE


def test_control_c_does_not_wait_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Client] = []
    go_on = threading.Event()

    def question(client: Client) -> None:
        asked.append(client)
        go_on.wait(SECONDS)

    class Interrupted(_fleet.SimpleQueue):  # type: ignore[type-arg]
        def get(self, *args: Any, **kwargs: Any) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr(_fleet, "SimpleQueue", Interrupted)
    fleet = Fleet(clients(2 * _fleet._AT_ONCE))
    with pytest.raises(KeyboardInterrupt):
        fleet.ask(question)
    go_on.set()
    fleet.wait()
    assert len(asked) <= _fleet._AT_ONCE


def test_a_defect_is_no_reply() -> None:
    with pytest.raises(ZeroDivisionError):
        Fleet(clients(2)).ask(lambda client: 1 // 0)


def test_one_complaint_for_all() -> None:
    def replies(*complaints: Complaint | None) -> list[_fleet.Reply[None]]:
        made = zip(clients(len(complaints)), complaints, strict=True)
        return [_fleet.Reply(client, None, each) for client, each in made if each]

    no, gone = Refused("no\nreally", kind="No"), Unreachable("nothing at x")
    assert joint(replies(no, no), 2).message == "each of 2 processes: no\nreally"
    assert joint(replies(no), 1).message == "http://h:1: no\nreally"
    assert joint(replies(no, None, no), 3).message == "http://h:1, http://h:3: no\nreally"
    both = joint(replies(no, gone), 2, "more")
    assert both.message == "http://h:1: no\nreally\nnothing at x\nmore"
    assert (both.status, both.kind) == (3, "Unreachable")
    assert both.details["processes"] == [
        {"url": "http://h:1", "error": {"type": "No", "message": "no\nreally"}},
        {"url": "http://h:2", "error": {"type": "Unreachable", "message": "nothing at x"}},
    ]


# --- list and status ---


def test_list_is_one_table(says: Asks, three: Workers) -> None:
    assert says("enable", "work", "2*off->return(1)", *three.urls) == (0, "armed in 3 processes\n", "")
    for number, worker in enumerate(three.all):
        worker.run(f"for _ in range({number + 1}): work.hit()")
    said = says("list", *three.urls)
    head = said.out.splitlines()[0].split()
    assert head == ["name", "processes", "terms", "hits", "fired", "paused", "returns", "sites"]
    assert said.rows == [
        ["rest", "all", "3", "0", "0", "0", "None", "<string>:5"],
        # The second site is where it was hit.
        ["work", "all", "3", "2*off->return(1)", "6", "1", "0", "int", "<string>:5", "+1"],
    ]
    assert [row[0] for row in says("list", "--armed", "w*", *three.urls).rows] == ["work"]
    assert says("list", "no.such", *three.urls) == (0, "", "no point of 3 processes is like that\n")


def test_list_shows_where_they_differ(says: Asks, three: Workers) -> None:
    first, second, third = three.all
    says("enable", "work", "panic", "--url", second.url)
    rows = says("list", "work", *three.urls).rows
    assert [row[:4] for row in rows] == [
        ["work", "w0,", "w2", "0"],
        ["work", "w1", "panic", "0"],
    ]
    says("enable", "work", "off", "--url", third.url)
    assert [row[:2] for row in says("list", "work", *three.urls).rows] == [
        ["work", "w0"],
        ["work", "w1"],
        ["work", "w2"],
    ]
    assert [row[:3] for row in says("list", "work", *_urls([third.url, first.url])).rows] == [
        ["work", "w2", "off"],
        ["work", "w0", "0"],
    ]


def test_most_of_them_are_named_by_the_rest() -> None:
    def which(*labels: str) -> list[str]:
        shown = [(each, [{"name": "a", "terms": "" if each in labels else "off"}], None) for each in "pqrst"]
        column = fleet_overview(shown).columns[1]
        return [str(cell) for cell in column.cells]

    assert which() == ["all 5"]
    assert which("s") == ["all but s", "s"]
    assert which("q", "s") == ["p, r, t", "q, s"]
    alone = fleet_overview([("p", [{"name": "a"}], None)]).columns[1]
    assert [str(cell) for cell in alone.cells] == ["p"]


def test_sites_are_those_that_any_of_them_knows() -> None:
    said = [
        ("p", [{"name": "a", "sites": ["x:1"]}], None),
        ("q", [{"name": "a", "sites": ["y:1", "x:1"]}], None),
    ]
    assert str(next(fleet_overview(said).columns[-1].cells)) == "x:1 +1"


def test_rates_are_summed() -> None:
    point = {"name": "a", "hits": 2, "paused": "x"}
    table = fleet_overview([("p", [point], {"a": 1.5}), ("q", [point], {}), ("r", [point], {"a": 2.0})])
    cells = {str(column.header): [str(cell) for cell in column.cells] for column in table.columns}
    assert (cells["hits/s"], cells["hits"], cells["paused"]) == (["3.5"], ["6"], ["0"])


def test_list_for_machines(says: Asks, three: Workers) -> None:
    said = says("list", "work", "--json", *three.urls).data["processes"]
    assert [each["url"] for each in said] == [each.url for each in three.all]
    assert [each["pid"] for each in said] == [each.process.pid for each in three.all]
    assert [[point["name"] for point in each["failpoints"]] for each in said] == [["work"]] * 3
    twice = says("list", "--json", *_urls([three.all[0].url] * 2)).data["processes"]
    assert len(twice) == 1


def test_one_that_is_not_there_hides_no_other(says: Asks, three: Workers, nowhere: str, silent: str) -> None:
    urls = _urls([nowhere, three.all[0].url, silent, three.all[1].url])
    said = says("list", "--timeout", "0.3", *urls)
    assert said.status == 3
    assert [row[:3] for row in said.rows] == [["rest", "all", "2"], ["work", "all", "2"]]
    missing, hanging = said.err.splitlines()
    assert missing.startswith(f"failpy: nothing answers at {nowhere} (No such file or directory)")
    assert hanging.startswith(f"{silent} does not answer within 0.3 s")
    said = says("list", "--timeout", "0.3", "--json", *urls)
    assert [each["url"] for each in said.data["processes"]] == urls[1::2]
    assert ["error" in each for each in said.data["processes"]] == [True, False, True, False]
    assert [each["url"] for each in said.error["processes"]] == [nowhere, silent]
    said = says("list", *_urls([nowhere, f"{nowhere}x"]))
    assert (said.status, said.out, said.err.count("\n")) == (3, "", 2)


def test_two_addresses_of_one_process(says: Asks, name: str) -> None:
    fail.point(name)
    fail.current_scope()
    with fail.serve() as one, fail.serve() as other:
        both = _urls([one.url, other.url])
        for command in (["list"], ["enable", "--all-or-nothing", name, "panic"]):
            status, out, err = says(*command, *both)
            assert (status, out) == (2, "")
            assert err == f"failpy: {one.url} and {other.url} lead to the same process: name it once\n"
    assert fail.status(name).terms == ""


def test_a_token_for_all(says: Asks, workers: Workers) -> None:
    for token in ("right", "right", "wrong"):
        workers.add(FAILPY_HTTP_TOKEN=token)
    said = says("list", "--token", "right", *workers.urls)
    assert (said.status, said.rows[0][1:3]) == (1, ["all", "2"])
    assert said.err.startswith(f"failpy: {workers.all[2].url}: the token is not that of this endpoint\n")
    assert "right" not in said.err


def test_status_of_each(says: Asks, three: Workers, nowhere: str) -> None:
    three.all[1].run("only = fail.point('only')")
    said = says("status", "work", *three.urls)
    assert said.status == 0
    sections = said.out.split("\n\n")
    assert [each.split()[:4] for each in sections] == [
        ["process", worker.url, "name", "work"] for worker in three.all
    ]
    said = says("status", "only", *three.urls, "--url", nowhere)
    assert said.status == 3
    assert said.out.split()[:4] == ["process", three.all[1].url, "name", "only"]
    assert f"{three.all[0].url}, {three.all[2].url}: no code has declared a failpoint 'only'" in said.err
    data = says("status", "only", "--json", *three.urls).data["processes"]
    assert [each.get("name") for each in data] == [None, "only", None]
    assert data[0]["error"]["type"] == "UnknownFailpoint"


# --- enable, disable, resume ---


def test_what_works_stays_and_what_does_not_is_named(says: Asks, workers: Workers, nowhere: str) -> None:
    for returns in ("int", "str", "int"):
        workers.add(returns)
    said = says("enable", "work=return(1)", "rest=off", *workers.urls, "--url", nowhere)
    assert (said.status, said.out) == (3, "armed in 2 of 4 processes\n")
    refused, missing = said.err.splitlines()
    assert refused.startswith(f"failpy: {workers.all[1].url}: failpoint 'work' declares returns=str")
    assert missing.startswith(f"nothing answers at {nowhere}")
    assert workers.terms() == ["return(1)", "", "return(1)"]
    assert workers.terms("rest") == ["off", "", "off"]
    said = says("enable", "work", "return(2)", "--json", *workers.urls)
    assert said.status == 1
    assert ["revision" in each for each in said.data["processes"]] == [True, False, True]
    assert said.error["type"] == "ReturnTypeError"
    assert says("disable", "work", "no.such", *workers.urls).err.startswith(
        "failpy: each of 3 processes: no code has declared a failpoint 'no.such'"
    )
    assert workers.terms() == ["", "", ""]


def test_what_is_wrong_everywhere_is_found_before_anybody_is_asked(says: Asks, nowhere: str) -> None:
    urls = _urls([nowhere, f"{nowhere}x"])
    for words, status, reason in (
        (["work", "5*"], 1, "failpoint 'work': a modifier needs an action"),
        (["work=5*"], 1, "a modifier needs an action"),
        (["wo rk", "off"], 1, "cannot name a failpoint"),
        (["work"], 2, "with what?"),
        (["work", "off", "--if-match", "1.1"], 2, "--if-match names the revision of one program"),
    ):
        said = says("enable", *words, *urls)
        assert (said.status, said.out) == (status, "")
        assert reason in said.err
        assert "nothing answers" not in said.err
    assert "--nth counts the hits of one program" in says("resume", "work", "--nth", "1", *urls).err


def test_disable_all_of_them(says: Asks, three: Workers) -> None:
    says("enable", "work=panic", "rest=off", *three.urls)
    assert says("disable", "work", *three.urls) == (0, "disarmed in 3 processes\n", "")
    assert (three.terms(), three.terms("rest")) == ([""] * 3, ["off"] * 3)
    said = says("disable", "--all", "--json", *three.urls)
    assert said.data == {"processes": [{"url": each.url, "disabled": True} for each in three.all]}
    assert three.terms("rest") == [""] * 3


def test_resume_in_each(says: Asks, three: Workers, nowhere: str) -> None:
    says("enable", "work", "pause", *three.urls)
    for worker, hits in zip(three.all, (2, 0, 1), strict=True):
        worker.run(f"for _ in range({hits}): threading.Thread(target=work.hit).start()")
        until(lambda worker=worker, hits=hits: worker.status("work")["paused"] == hits)
    assert says("resume", "work", *three.urls) == (0, "resumed 3 paused hits in 2 processes\n", "")
    said = says("resume", "work", "--json", *three.urls)
    assert said.status == 1
    assert (said.data["resumed"], [each["resumed"] for each in said.data["processes"]]) == (0, [0, 0, 0])
    three.all[1].run("threading.Thread(target=work.hit).start()")
    until(lambda: three.all[1].status("work")["paused"] == 1)
    said = says("resume", "work", *three.urls, "--url", nowhere)
    assert (said.status, said.out) == (3, "resumed 1 paused hit in 1 process\n")
    assert says("resume", "work", *_urls([nowhere, f"{nowhere}x"])).out == ""


# --- all or nothing ---

WHOLE = "--all-or-nothing"


def test_all_of_them(says: Asks, three: Workers) -> None:
    said = says("enable", WHOLE, "work", "return(1)", "--ttl", "1h", *three.urls)
    assert said == (0, "armed in 3 processes\n", "")
    assert three.terms() == ["return(1)"] * 3
    assert 3500 < three.all[2].status("work")["expires_in"] <= 3600
    said = says("disable", WHOLE, "--all", *three.urls)
    assert said == (0, "disarmed in 3 processes\n", "")
    assert says("enable", WHOLE, "work=off", "new=off", "--pending", *three.urls).status == 0
    assert three.terms("new") == ["off"] * 3
    assert says("disable", WHOLE, "work", "new", *three.urls).status == 0
    # It says for one what it says for several.
    one = three.all[0].url
    assert says("enable", WHOLE, "work", "off", "--url", one).out == "armed in 1 process\n"
    assert says("disable", WHOLE, "work", "--url", one).out == "disarmed in 1 process\n"


def revisions(workers: Workers) -> list[str]:
    return [each.status("work")["revision"] for each in workers.all]


def test_most_of_what_is_wrong_is_found_before_anything_changes(
    says: Asks, three: Workers, nowhere: str
) -> None:
    three.all[2].run("late = fail.point('late')")
    before = revisions(three)
    urls = three.urls
    for words, status, reason in (
        (["enable", "work", "off", *urls, "--url", nowhere], 3, f"nothing answers at {nowhere}"),
        (["enable", "late", "off", *urls], 1, f"{three.all[0].url}, {three.all[1].url}: no code has"),
        (["disable", "late", *urls], 1, "no code has declared a failpoint 'late'"),
        # The first of them refuses what all would.
        (["enable", "work", "return('x')", *urls], 1, f"{three.all[0].url}: failpoint 'work' declares"),
        (["enable", "work", "exit", *urls], 1, f"{three.all[0].url}: failpoint 'work': exit is not allowed"),
        (["enable", "work", "off", "--ttl", "soon", *urls], 1, f"{three.all[0].url}: ttl=soon"),
    ):
        said = says(words[0], WHOLE, *words[1:])
        assert (said.status, said.out) == (status, "")
        assert said.err.startswith(f"failpy: {reason}") or reason in said.err
        assert said.err.endswith("\nNothing has changed.\n")
        assert revisions(three) == before


@pytest.fixture
def unlike(workers: Workers) -> Workers:
    """Three workers, the last of which refuses what the others take."""
    workers.add(FAILPY_HTTP_ALLOW="exit")
    workers.add(FAILPY_HTTP_ALLOW="exit")
    workers.add()
    return workers


def test_what_was_changed_is_put_back(says: Asks, unlike: Workers) -> None:
    first, second, third = unlike.all
    with first.client as client:
        client.enable("work", " 3*return(1) -> off")
        client.enable("rest", "off", ttl="1h")
        client.enable("later", "panic", pending=True)
    said = says("enable", WHOLE, "work=exit", "rest=exit", "later=exit", "--pending", *unlike.urls)
    assert (said.status, said.out) == (1, "")
    refused, back = said.err.splitlines()
    assert refused.startswith(f"failpy: {third.url}: failpoint 'work': exit is not allowed over HTTP")
    assert back == "Put back as before: 2 processes."
    assert unlike.terms() == ["3*return(1) -> off", "", ""]
    assert unlike.terms("rest") == ["off", "", ""]
    assert 3400 < first.status("rest")["expires_in"] <= 3600
    assert first.status("work")["expires_in"] is None
    assert first.terms("later") == "panic"
    assert [point["name"] for point in _points(second)] == ["rest", "work"]
    said = says("enable", WHOLE, "--json", "work", "exit", *unlike.urls)
    assert said.out == ""
    assert said.error["put_back"] == [first.url, second.url]
    assert said.error["not_put_back"] == []


def steered(
    monkeypatch: pytest.MonkeyPatch, method: str, worker: Worker, before: Callable[[], Any], after: Any = None
) -> None:
    """Have something happen around the change of one process."""
    original = getattr(Client, method)

    def changed(self: Client, *args: Any, **kwargs: Any) -> Any:
        ours = self.target.text == worker.url
        if ours:
            before()
        answer = original(self, *args, **kwargs)
        if ours and after:
            after()
        return answer

    monkeypatch.setattr(Client, method, changed)


def nothing() -> None:
    """Nothing happens."""


def test_one_that_dies_in_the_middle(says: Asks, unlike: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    steered(monkeypatch, "enable_all", unlike.all[1], unlike.all[1].kill)
    said = says("enable", WHOLE, "work", "off", *unlike.urls)
    assert (said.status, said.out) == (3, "")
    first, back, unknown = said.err.splitlines()
    assert first.startswith(f"failpy: nothing answers at {unlike.all[1].url} (Connection refused)")
    assert back == "Put back as before: 2 processes."
    assert unknown == f"Not known whether it has changed: {unlike.all[1].url}"
    assert [unlike.all[0].terms(), unlike.all[2].terms()] == ["", ""]


def test_one_that_hangs_in_the_middle(says: Asks, unlike: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    second = unlike.all[1]

    def stop() -> None:
        second.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, second.process.pid, os.WSTOPPED)

    steered(monkeypatch, "enable_all", second, stop)
    said = says("enable", WHOLE, "work", "off", "--json", "--timeout", "1", *unlike.urls)
    second.process.send_signal(signal.SIGCONT)
    assert said.status == 3
    assert f"{second.url} does not answer within 1 s" in said.error["message"]
    assert f"Not known whether it has changed: {second.url}" in said.error["message"]
    assert said.error["put_back"] == [unlike.all[0].url, unlike.all[2].url]
    assert [each["url"] for each in said.error["not_put_back"]] == [second.url]
    assert [unlike.all[0].terms(), unlike.all[2].terms()] == ["", ""]


def test_one_that_dies_after_it_was_changed(
    says: Asks, unlike: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = unlike.all
    steered(monkeypatch, "enable_all", first, nothing, first.kill)
    said = says("enable", WHOLE, "work", "exit", *unlike.urls)
    assert said.status == 1
    _, back, left = said.err.splitlines()
    assert back == "Put back as before: 1 process."
    assert left.startswith(f"Not put back: nothing answers at {first.url}")
    assert (second.terms(), third.terms()) == ("", "")


def test_one_that_has_started_anew(says: Asks, unlike: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    first = unlike.all[0]

    def renew() -> None:
        first.kill()
        unlike.enter_context(Worker(Path(first.path)))

    steered(monkeypatch, "enable_all", first, nothing, renew)
    said = says("enable", WHOLE, "work", "exit", *unlike.urls)
    assert f"Not put back: {first.url}: another process is there by now" in said.err


def test_somebody_else_is_not_overwritten(
    says: Asks, unlike: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = unlike.all[0]

    def other(worker: Worker, terms: str) -> Callable[[], Any]:
        return lambda: worker.run(f"fail.enable('work', {terms!r})")

    with monkeypatch.context() as between:
        # After the look, and before the change.
        steered(between, "enable_all", first, other(first, "1*off"))
        said = says("enable", WHOLE, "work", "off", *unlike.urls)
    assert (said.status, said.err.splitlines()[-1]) == (1, "Nothing has changed.")
    assert f"{first.url}: the failpoints have changed since you looked" in said.err
    assert unlike.terms() == ["1*off", "", ""]
    with monkeypatch.context() as between:
        # After the change, and before it is put back.
        steered(between, "enable_all", first, nothing, other(first, "2*off"))
        said = says("enable", WHOLE, "work", "exit", *unlike.urls)
    assert said.err.splitlines()[1:] == [
        "Put back as before: 1 process.",
        f"Not put back: {first.url}: failpoint 'work' has been changed by somebody else since, and stays so",
    ]
    assert unlike.terms() == ["2*off", "", ""]
    with monkeypatch.context() as between:
        # After the look before it is put back.
        steered(between, "enable", first, other(first, "3*off"))
        said = says("enable", WHOLE, "work", "exit", *unlike.urls)
    assert "failpoint 'work' has changed since you looked" in said.err.splitlines()[2]
    assert unlike.terms() == ["3*off", "", ""]
    first.run("fail.disable('work')")
    with monkeypatch.context() as between:
        steered(between, "disable", first, other(first, "4*off"))
        said = says("enable", WHOLE, "work", "exit", *unlike.urls)
    assert unlike.terms() == ["4*off", "", ""]
    with monkeypatch.context() as between:
        # With terms that no text says.
        typed = "fail.enable('work', fail.Call(lambda hit: None))"
        steered(between, "enable_all", first, nothing, lambda: first.run(typed))
        said = says("enable", WHOLE, "work", "exit", *unlike.urls)
    assert "has been changed by somebody else since" in said.err


def test_what_cannot_be_put_back_is_not_touched(says: Asks, three: Workers) -> None:
    three.all[1].run("fail.enable('work', 'off', when=bool)")
    three.all[2].run("fail.enable('work', fail.Call(lambda hit: None))")
    before = revisions(three)
    for command in (["enable", WHOLE, "work", "panic"], ["disable", WHOLE, "--all"]):
        said = says(*command, *three.urls)
        assert said.status == 1
        assert f"{three.all[1].url}: failpoint 'work' is armed with a when= of the program" in said.err
        assert f"{three.all[2].url}: failpoint 'work' is armed with call(<function" in said.err
        assert said.err.endswith("Nothing has changed.\n")
        assert revisions(three) == before
    assert says("enable", "work", "panic", *three.urls).status == 0


def test_disarming_is_put_back_too(says: Asks, unlike: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = unlike.all
    with first.client as client:
        client.enable("work", "return(1)")
        client.enable("later", "panic", pending=True, ttl="1h")
    for worker in (second, third):
        with worker.client as client:
            client.enable("work", "off")
            client.enable("later", "off", pending=True)
    for method, words in (("disable", ["work", "later"]), ("disable_all", ["--all"])):
        with monkeypatch.context() as between:
            steered(between, method, third, lambda: third.run("fail.enable('work', 'panic')"))
            said = says("disable", WHOLE, *words, *unlike.urls)
        assert said.status == 1
        assert "changed since you looked" in said.err
        assert said.err.splitlines()[-1] == "Put back as before: 2 processes."
        assert unlike.terms() == ["return(1)", "off", "panic"]
        assert unlike.terms("later") == ["panic", "off", "off"]
        assert 3400 < first.status("later")["expires_in"] <= 3600


def test_what_may_not_be_armed_again_is_told(says: Asks, workers: Workers) -> None:
    first = workers.add(FAILPY_FAILPOINTS="work=exit")
    workers.add("str")
    said = says("enable", WHOLE, "work=return(1)", *workers.urls)
    assert said.status == 1
    assert said.err.splitlines()[1].startswith(
        f"Not put back: {first.url}: failpoint 'work': exit is not allowed over HTTP here"
    )
    assert first.terms() == "return(1)"


def test_what_would_have_ended_meanwhile_is_not_armed_again(
    says: Asks, unlike: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_, third = unlike.all
    with first.client as client:
        client.enable("work", "off", ttl="1h")
        client.enable("later", "off", ttl="1h", pending=True)
        client.enable("rest", "off")

    def left(before: Before, point: dict[str, Any]) -> float | None:
        return None if point.get("expires_in") is None else -1.0

    monkeypatch.setattr(Before, "left", left)
    assert "Put back as before" in says("enable", WHOLE, "work", "exit", *unlike.urls).err
    assert first.terms() == ""
    steered(monkeypatch, "disable_all", third, lambda: third.run("fail.enable('rest', 'off')"))
    assert "Put back as before" in says("disable", WHOLE, "--all", *unlike.urls).err
    assert first.terms("rest") == "off"
    assert [each["name"] for each in _points(first)] == ["rest", "work"]


def _points(worker: Worker) -> list[dict[str, Any]]:
    with worker.client as client:
        return list(client.everything()["failpoints"])


def test_a_defect_in_the_middle_is_put_back_and_not_hidden(
    says: Asks, three: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    steered(monkeypatch, "enable_all", three.all[2], lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError) as caught:
        says("enable", WHOLE, "work", "off", *three.urls)
    assert caught.value.__notes__ == ["Put back as before: 2 processes."]
    assert three.terms() == ["", "", ""]


def test_an_interruption_in_the_middle(says: Asks, three: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    steered(monkeypatch, "enable_all", three.all[2], interrupt)
    handler = signal.getsignal(signal.SIGINT)
    said = says("enable", WHOLE, "--json", "work", "off", *three.urls)
    assert (said.status, said.out, said.error["type"]) == (130, "", "Interrupted")
    assert said.error["put_back"] == [each.url for each in three.all[:2]]
    assert three.terms() == ["", "", ""]
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.slow
def test_what_is_under_way_is_waited_for(says: Asks, three: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second takes the change after the interruption."""
    go_on = threading.Event()
    wait = Fleet.wait

    def interrupt() -> None:
        raise KeyboardInterrupt

    def let_go(self: Fleet) -> None:
        go_on.set()
        wait(self)

    monkeypatch.setattr(Fleet, "wait", let_go)
    steered(monkeypatch, "enable_all", three.all[1], lambda: go_on.wait(SECONDS))
    steered(monkeypatch, "enable_all", three.all[2], interrupt)
    said = says("enable", WHOLE, "--json", "work", "off", *three.urls)
    assert said.error["put_back"] == [each.url for each in three.all[:2]]
    assert three.terms() == ["", "", ""]


def test_putting_back_is_not_interrupted(
    says: Asks, unlike: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter((nothing, lambda: os.kill(os.getpid(), signal.SIGINT)))
    steered(monkeypatch, "everything", unlike.all[0], lambda: next(looks)())
    said = says("enable", WHOLE, "work", "exit", *unlike.urls)
    assert said.status == 1
    assert said.err.endswith("Put back as before: 2 processes.\n")
    assert next(looks, None) is None


def command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "failpy", *arguments],
        env=BARE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_control_c_waits_for_nobody_who_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"127.0.0.1:{listening.getsockname()[1]}"
        running = command("list", "--timeout", "1000", *_urls([url, url]))
        connection, _ = listening.accept()
        with connection:
            running.send_signal(signal.SIGINT)
            out, _ = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "")


def test_control_c_in_the_middle_puts_it_back(workers: Workers) -> None:
    """The second hangs when it is to be changed: there is a proxy before it that keeps that to itself."""
    first, second = workers.add(), workers.add()
    held = threading.Event()
    path = f"{workers.folder}/proxy.sock"

    def carry(listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=relay, args=(near,), daemon=True).start()

    def relay(near: socket.socket) -> None:
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(second.path)
            while data := near.recv(65536):
                if data.startswith(b"PUT"):
                    held.set()
                    with suppress(OSError):
                        while near.recv(65536):  # until the client gives up
                            pass
                    return
                far.sendall(data)
                near.sendall(far.recv(2**20))

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        threading.Thread(target=carry, args=(listening,), daemon=True).start()
        running = command(
            *("enable", WHOLE, "work", "off", "--timeout", "3"), *_urls([first.url, f"unix:{path}"])
        )
        assert held.wait(SECONDS)
        assert first.terms() == "off"
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
        listening.shutdown(socket.SHUT_RDWR)
    assert (running.returncode, out) == (130, "")
    assert err == "failpy: interrupted\nPut back as before: 1 process.\n"
    assert first.terms() == ""


# --- watch ---


def hits(worker: Worker, number: int) -> None:
    worker.run(f"for _ in range({number}): work.hit()")


def readers(worker: Worker) -> None:
    """Wait for somebody to watch it."""
    worker.run("from failpy._events import readers")
    worker.run("while not readers(): threading.Event().wait(0.002)")


def test_watch_is_one_stream_in_the_order_of_time(
    says: Asks, three: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_streams, "_PATIENCE", 2.0)  # for a busy machine
    says("enable", "work", "off", *three.urls)

    def hit() -> None:
        for worker in three.all:
            readers(worker)
        for i in range(9):
            hits(three.all[(2 * i) % 3], 1)
        three.all[0].run("rest.hit()")

    with in_thread(hit):
        said = says("watch", "work", "--count", "9", *three.urls)
    assert (said.status, said.err) == (0, "")
    lines = [line.split() for line in said.out.splitlines()]
    assert [line[1] for line in lines] == ["w0", "w2", "w1"] * 3
    assert [line[0] for line in lines] == sorted(line[0] for line in lines)
    assert {tuple(line[2:]) for line in lines} == {
        ("work", f"#{nth}", "off", "MainThread") for nth in (1, 2, 3)
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_one_that_goes_away_ends_no_other(workers: Workers, as_json: bool) -> None:
    one, other = workers.add(), workers.add()
    with one.client as client:
        client.enable("work", "off")
    watching = command("watch", *(["--json"] if as_json else []), *workers.urls)
    readers(one), readers(other)
    assert watching.stdout is not None
    assert watching.stderr is not None
    other.kill()
    gone = (watching.stdout if as_json else watching.stderr).readline()
    hits(one, 2)
    lines = [watching.stdout.readline() for _ in range(2)]
    one.kill()
    out, err = watching.communicate(timeout=60)
    assert watching.returncode == 3
    if as_json:
        events = [json.loads(line) for line in (gone, *lines, out)]
        assert [(each["event"], each["url"], each.get("nth")) for each in events] == [
            ("gone", other.url, None),
            ("hit", one.url, 1),
            ("hit", one.url, 2),
            ("gone", one.url, None),
        ]
        assert events[0]["error"]["type"] == json.loads(err)["error"]["type"] == "Unreachable"
    else:
        assert other.url in gone
        assert [line.split()[1:4] for line in lines] == [["w0", "work", "#1"], ["w0", "work", "#2"]]
        assert out == ""
        second, last = err.splitlines()
        assert one.url in second
        assert last == "failpy: none of 2 processes is there to be watched any more"


def test_one_that_was_never_there_is_told_and_counts(says: Asks, three: Workers, nowhere: str) -> None:
    first = three.all[0]
    says("enable", "work", "off", "--url", first.url)

    def hit() -> None:
        readers(first)
        hits(first, 1)

    with in_thread(hit):
        said = says("watch", "--count", "1", *_urls([first.url, nowhere]))
    assert said.status == 3
    assert said.out.split()[2:4] == ["work", "#1"]
    assert said.err.startswith(f"nothing answers at {nowhere}")


def test_a_refusal_says_whose_it_is(says: Asks, workers: Workers) -> None:
    one = workers.add(FAILPY_HTTP_TOKEN="t")
    said = says("watch", *_urls([one.url, one.url]))
    assert said.status == 1
    assert said.err.startswith(f"{one.url}: this endpoint needs its token")
    assert said.err.endswith("failpy: it is not there to be watched any more\n")


def test_watch_takes_so_many(says: Asks) -> None:
    urls = _urls(f"127.0.0.1:{port}" for port in range(1, _streams.MOST + 2))
    said = says("watch", *urls)
    assert said.status == 2
    assert "65 processes are more than can be watched hit by hit, which is 64" in said.err


def test_watch_in_a_terminal(says: Asks, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = workers.add(), workers.add()
    monkeypatch.setattr(_remote, "on_terminal", lambda: True)
    said = says("watch", "work", "--count", "2", "--interval", "0.1", *workers.urls)
    assert said.status == 0
    assert said.rows[-1][:3] == ["work", "all", "2"]
    assert "hits/s" in said.out
    other.kill()
    said = says("watch", "--count", "2", "--interval", "0.1", *workers.urls)
    assert said.status == 3
    assert said.out.count(f"nothing answers at {other.url}") == 1
    assert said.rows[-1][:2] == ["work", "w0"]
    one.kill()
    said = says("watch", *workers.urls)
    assert said.status == 3
    assert "none of 2 processes is there" in said.err


def test_control_c_ends_the_stream(three: Workers) -> None:
    watching = command("watch", *three.urls)
    for worker in three.all:
        readers(worker)
    watching.send_signal(signal.SIGINT)
    assert watching.communicate(timeout=60) == ("", "")
    assert watching.returncode == 0


class Fake(Client):
    """A process that tells what a test says."""

    def __init__(self, number: int, events: Callable[[], Iterator[Event]]) -> None:
        super().__init__(Target(f"http://h:{number}", f"http://h:{number}"))
        self._said = events

    def events(self) -> Any:
        return self._said()


def streams(*sources: Callable[[], Iterator[Event]]) -> Streams:
    return Streams(tuple(Fake(i, source) for i, source in enumerate(sources, 1)))


def hit_at(at: Any) -> Event:
    return "hit", {"time": at}


def seen(made: Streams) -> list[tuple[str, Any]]:
    return [
        (client.target.text[-1], said[1].get("time") if isinstance(said, tuple) else type(said).__name__)
        for client, said in made
    ]


def test_what_comes_late_is_put_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_streams, "_PATIENCE", 20.0)  # it takes that only to fail
    gone = threading.Event()

    def early() -> Iterator[Event]:
        gone.wait(SECONDS)
        yield hit_at(1.0)
        yield "dropped", {}
        yield hit_at(3.0)

    def late() -> Iterator[Event]:
        yield hit_at(2.0)
        yield hit_at(4.0)
        gone.set()

    assert seen(streams(early, late)) == [
        ("1", 1.0),
        ("1", None),
        ("2", 2.0),
        ("1", 3.0),
        ("1", "Unreachable"),
        ("2", 4.0),
        ("2", "Unreachable"),
    ]


def test_clocks_that_disagree_starve_nobody() -> None:
    """What is ahead does not wait until the others have caught up."""
    over = threading.Event()

    def behind() -> Iterator[Event]:
        at = 0.0
        while not over.wait(0.001):
            yield hit_at(at := at + 0.001)

    def ahead() -> Iterator[Event]:
        yield hit_at(1e9)
        over.wait(SECONDS)

    made = streams(behind, ahead)
    for _, said in made:
        if said == hit_at(1e9):
            over.set()
    assert over.is_set()


@pytest.mark.parametrize("time", [None, "x", -1.0, 1e12, float("nan")])
def test_a_time_that_is_none_is_that_of_what_came_before(time: Any) -> None:
    def events() -> Iterator[Event]:
        yield hit_at(5.0)
        yield hit_at(time)
        yield hit_at(6.0)

    first, _, third, last = seen(streams(events))
    assert (first, third, last) == (("1", 5.0), ("1", 6.0), ("1", "Unreachable"))


def test_a_reader_waits_while_nobody_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_streams, "_KEPT", 3)
    given: list[int] = []
    ended = threading.Event()

    def events() -> Iterator[Event]:
        try:
            for i in range(10):
                given.append(i)
                yield hit_at(float(i))
        finally:
            ended.set()

    made = streams(events)
    around = iter(made)
    next(around)
    assert len(given) <= 8  # three at a time, and one in the hand
    made.close()
    assert ended.wait(SECONDS)
    assert len(given) < 10


def test_who_has_hung_up_reads_nothing() -> None:
    fail.current_scope()
    with fail.serve() as server, Client(find_targets([server.url], {}).found[0]) as client:
        client.hang_up()
        assert list(client.events()) == []


def test_a_defect_of_a_reader_is_not_hidden(says: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Client) -> Iterator[Event]:
        raise ZeroDivisionError
        yield

    monkeypatch.setattr(Client, "events", broken)
    with pytest.raises(ZeroDivisionError):
        says("watch", "--url", "a:1", "--url", "a:2")


def test_what_was_too_quick_is_told(says: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    def events(_: Client) -> Iterator[Event]:
        yield "dropped", {"count": 7}
        yield "hit", {"point": "other"}
        yield "later", {}

    monkeypatch.setattr(Client, "events", events)
    status, out, err = says("watch", "name", *_urls(["a:1", "a:2"]))
    assert (status, out) == (3, "")
    assert "http://a:1: 7 hits were too quick to show" in err
    said = says("watch", "name", "--json", *_urls(["a:1", "a:2"]))
    assert {"event": "dropped", "url": "http://a:2", "count": 7} in map(json.loads, said.out.splitlines())
    said = says("watch", "--json", *_urls(["a:1", "a:2"]))
    assert {"event": "hit", "url": "http://a:2", "point": "other"} in map(json.loads, said.out.splitlines())


# --- completion ---


def test_the_names_of_all_are_completed(
    says: Asks, three: Workers, nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.all[1].run("fail.point('extra')")
    monkeypatch.setenv("_FAILPY_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "failpy status ")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("FAILPY_URL", " ".join([nowhere, *(each.url for each in three.all)]))
    names = says().out.split()
    assert names == sorted(names)
    assert {"extra", "rest", "work"} <= set(names)
    monkeypatch.setenv("FAILPY_URL", "nonsense")
    assert says() == (0, "\n", "")


# --- a deployment ---

APP = """
from failpy import failpoint

@failpoint("price", returns=int)
def price():
    return 5

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "close")])
    return [str(price()).encode()]
"""


def test_all_workers_of_gunicorn(says: Asks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "app.py").write_text(APP)
    pattern = f"unix:{tmp_path}/g-{{pid}}.sock"
    monkeypatch.setenv("FAILPY_HTTP", pattern)
    arguments = ["--no-control-socket", "--workers", "3", "--bind", f"unix:{tmp_path}/app.sock", "app"]
    program = (
        f"import os, sys; os.chdir({str(tmp_path)!r}); sys.path.insert(0, ''); sys.argv[0] = 'gunicorn'; "
        "from gunicorn.app.wsgiapp import run; run()"
    )

    def prices() -> set[str]:
        said = set()
        for _ in range(30):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(f"{tmp_path}/app.sock")
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                reply = b""
                while data := sock.recv(65536):
                    reply += data
            said.add(reply.rpartition(b"\n")[2].decode())
        return said

    with Program(program, *arguments, FAILPY_HTTP=pattern) as server:

        def ready() -> bool:
            assert server.process.poll() is None, server.end()
            return len(list(tmp_path.glob("g-*.sock"))) == 3 and says("list", "price").out.count("all 3") == 1

        until(ready)
        assert prices() == {"5"}
        assert says("enable", WHOLE, "price", "return(0)") == (0, "armed in 3 processes\n", "")
        assert prices() == {"0"}
        said = says("list", "price")
        assert said.rows[0][:5] == ["price", "all", "3", "return(0)", "30"]
        assert says("disable", "price").out == "disarmed in 3 processes\n"
        assert prices() == {"5"}
        server.process.terminate()
        server.process.wait(SECONDS)
