"""The endpoint under load: 16 clients arm and disarm what several threads hit as fast as they can.

Every number is exact: what the clients armed is what fired, what fired is what the program counted, and
what the readers of the events saw or were told they missed is what was hit.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

CONNECTIONS = 16
ROUNDS = int(os.environ.get("FAILPY_TEST_ROUNDS", "10000"))
"""How often a point is armed, read and disarmed, over all connections."""
SHARED = 4
PATIENCE = 60.0
"""How long anything may take, in seconds; what works never needs it."""

PROGRAM = """
import gc, json, os, sys, threading
from collections import Counter
from pathlib import Path
from failpy import fail

sys.setswitchinterval(1e-5)
own = [fail.point(f"own.{i}", returns=int) for i in range(16)]
shared = [fail.point(f"shared.{i}", returns=int) for i in range(4)]
finite = [fail.point(f"finite.{i}", returns=int) for i in range(4)]
going = threading.Event()
tallies = []
threads = []

def hit_as_fast_as_possible():
    tally = Counter()
    tallies.append(tally)
    points = own + shared
    while going.is_set():
        for point in points:
            hit = point.hit()
            if hit:
                tally[point.name] += hit.value

def hit_so_often(point, times):
    for _ in range(times):
        point.hit()

def count(folder):
    return len(list(Path(folder).iterdir())) if Path(folder).exists() else 0

def resident():
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") if status.exists() else 0

def do(verb, *arguments):
    if verb == "start":
        going.set()
        tallies.clear()
        begin([(hit_as_fast_as_possible, ())] * int(arguments[0]))
    elif verb == "stop":
        going.clear()
        end()
        return dict(sum(tallies, Counter()))
    elif verb == "finite":
        begin([(hit_so_often, (point, int(arguments[0]))) for point in finite])
        end()
    elif verb == "last":
        finite[0].hit()
    elif verb == "usage":
        gc.collect()
        return {
            "threads": sorted(thread.name for thread in threading.enumerate()),
            "descriptors": count("/proc/self/fd"),
            "objects": len(gc.get_objects()),
            "resident": resident(),
        }
    return None

def begin(works):
    threads.extend(threading.Thread(target=work, args=arguments, daemon=True) for work, arguments in works)
    for thread in threads:
        thread.start()

def end():
    while threads:
        threads.pop().join()

server = fail.serve()
print(server.port, flush=True)
for line in sys.stdin:
    print(json.dumps(do(*line.split())), flush=True)
"""


class Reply(NamedTuple):
    status: int
    etag: str
    text: str

    @property
    def revision(self) -> int:
        """How many changes led to it."""
        return int(self.etag.strip('"').partition(".")[2])


Talk = Generator[bytes, Reply, None]
"""What one client has to say: it yields requests, and gets the reply to each."""


class Program:
    """The program under test, in a process of its own. Whatever it prints to stderr fails the test."""

    def __init__(self) -> None:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("FAILPY")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def do(self, *words: object) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        try:
            _, errors = self.process.communicate(timeout=PATIENCE)
            assert (self.process.returncode, errors) == (0, "")
        finally:
            self.process.kill()

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        return connection


@pytest.fixture
def program() -> Iterator[Program]:
    program = Program()
    yield program
    program.close()


def request(method: str, path: str, body: str = "", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", body)).encode()


def take_reply(buffer: bytearray) -> Reply | None:
    """The reply that the buffer begins with, if it is all there."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *rest = buffer[:end].decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in rest)
    length = end + 4 + int(headers.get("Content-Length", "0"))
    if len(buffer) < length:
        return None
    text = buffer[end + 4 : length].decode()
    del buffer[:length]
    version, status, _ = first.split(" ", 2)
    assert version == "HTTP/1.1"
    return Reply(int(status), headers.get("ETag", ""), text)


class Client:
    """One connection that stays open, and what is said over it."""

    def __init__(self, connection: socket.socket, talk: Talk) -> None:
        self.connection = connection
        self.talk = talk
        self.buffer = bytearray()
        self.statuses: Counter[int] = Counter()
        connection.sendall(next(talk))

    def go_on(self) -> bool:
        """Take what has come, and say what follows; False at the end."""
        data = self.connection.recv(65536)
        assert data, "the endpoint closed a connection"
        self.buffer += data
        reply = take_reply(self.buffer)
        if reply is None:
            return True
        assert not self.buffer
        self.statuses[reply.status] += 1
        try:
            self.connection.sendall(self.talk.send(reply))
        except StopIteration:
            return False
        return True


def converse(program: Program, talks: Iterable[Talk]) -> Counter[int]:
    """Do all of it at once, each over a connection of its own, and count the statuses of the replies."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        clients = [Client(stack.enter_context(program.connect()), talk) for talk in talks]
        for client in clients:
            selector.register(client.connection, selectors.EVENT_READ, client)
        while selector.get_map():
            ready = selector.select(PATIENCE)
            assert ready, "the endpoint has gone silent"
            for key, _ in ready:
                if not key.data.go_on():
                    selector.unregister(key.fileobj)
        return sum((client.statuses for client in clients), Counter())


def ask(program: Program, *requests: bytes) -> list[Reply]:
    replies = [Reply(0, "", "")] * len(requests)

    def talk() -> Talk:
        for nth, each in enumerate(requests):
            replies[nth] = yield each

    converse(program, [talk()])
    return replies


def usage(program: Program, nudge: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """What the program uses as soon as the endpoint has seen its clients go."""
    while True:
        used: dict[str, Any] = program.do("usage")
        if used["threads"] == ["MainThread", "failpy-http"]:
            return used
        nudge()


def back_to(program: Program, before: dict[str, Any], nudge: Callable[[], object] = lambda: None) -> None:
    """Whatever the clients used up is there again."""
    after = usage(program, nudge)
    assert after["descriptors"] == before["descriptors"]
    assert after["objects"] - before["objects"] < 2000
    assert after["resident"] - before["resident"] < 16 * 2**20


# --- what the clients do ---


class Tally:
    """What the clients did, to be compared with what the program says."""

    def __init__(self) -> None:
        self.armed: Counter[str] = Counter()
        self.changes = 0
        self.polls = 0


def arm_wait_disarm(index: int, rounds: int, tally: Tally) -> Talk:
    """Arm a point for a few hits, wait until all of them have fired, and disarm it."""
    name = f"own.{index}"
    for nth in range(rounds):
        count = 1 + (nth + index) % 3
        armed = yield request("PUT", f"/{name}", f"{count}*return(1)")
        assert armed.status == 204
        tally.armed[name] += count
        read = yield request("GET", f"/{name}")
        assert (read.status, read.text, read.etag) == (200, f"{count}*return(1)\n", armed.etag)
        while True:
            fired = yield request("GET", f"/{name}/count")
            assert fired.status == 200
            assert 0 <= int(fired.text) <= count
            tally.polls += 1
            if int(fired.text) == count:
                break
        gone = yield request("DELETE", f"/{name}")
        assert gone.status == 204
        assert gone.revision > armed.revision
        tally.changes += 2


def change_if_unchanged(index: int, rounds: int, chains: dict[str, dict[str, str]]) -> Talk:
    """Arm a point that others arm too, but only if it is as it was when last seen."""
    name = f"shared.{index % SHARED}"
    seen = yield request("GET", f"/{name}")
    for nth in range(rounds):
        given = seen.etag
        seen = yield request("PUT", f"/{name}", f"{index}*off->{nth}*return(1)", If_Match=given)
        if seen.status == 204:
            assert seen.etag not in chains[name].values()
            assert given not in chains[name], "two changed the same revision"
            chains[name][given] = seen.etag
        else:
            assert seen.status == 412
            seen = yield request("GET", f"/{name}")
            assert seen.status == 200


def read_terms(index: int, rounds: int, written: dict[str, str]) -> Talk:
    """Arm a point that others arm too, and read it: the revision is that of the terms."""
    name = f"shared.{index % SHARED}"
    for nth in range(rounds):
        terms = f"{index}*off->{nth + 1}*return(1)->yield"
        armed = yield request("PUT", f"/{name}", terms)
        assert armed.status == 204
        written[armed.etag] = f"{terms}\n"
        read = yield request("GET", f"/{name}")
        assert written.get(read.etag, read.text) == read.text


def read_counts(index: int, rounds: int, written: dict[str, str]) -> Talk:
    """Read the numbers of a point while it is hit: they are of one moment."""
    name = f"shared.{index % SHARED}"
    yield request("PUT", f"/{name}", "yield")
    for _ in range(rounds):
        said = json.loads((yield request("GET", f"/{name}/count", Accept="application/json")).text)
        assert said["hits"] == said["selected"] == said["fired"]


def disarm_what_others_arm(index: int, rounds: int, written: dict[str, str]) -> Talk:
    """The revision of what was disarmed is not that of what somebody else has armed since."""
    for _ in range(rounds):
        armed = yield request("PUT", f"/shared.{index % SHARED}", "off")
        gone = yield request("DELETE", f"/shared.{index % SHARED}")
        assert (armed.status, gone.status) == (204, 204)
        assert written.setdefault(armed.etag, "armed") == "armed"
        assert written.setdefault(gone.etag, "gone") == "gone"


def arm_and_disarm(index: int, rounds: int) -> Talk:
    """Arm and disarm without a look at what became of it."""
    for nth in range(rounds):
        for path in (f"/shared.{(index + nth) % SHARED}", f"/own.{index}"):
            assert (yield request("PUT", path, "2*return(1)")).status == 204
            assert (yield request("DELETE", path)).status == 204
            assert (yield request("GET", path)).status == 200


def shares(rounds: int) -> list[int]:
    return [len(range(i, rounds, CONNECTIONS)) for i in range(CONNECTIONS)]


@pytest.mark.slow
def test_what_was_armed_is_what_fired(program: Program) -> None:
    ask(program, request("PUT", "/own.0", "off"), request("DELETE", "/own.0"), request("GET", "/"))
    before = usage(program)
    start = ask(program, request("GET", "/"))[0].revision
    tally = Tally()
    program.do("start", 3)
    statuses = converse(
        program, [arm_wait_disarm(i, rounds, tally) for i, rounds in enumerate(shares(ROUNDS))]
    )
    assert program.do("stop") == tally.armed
    assert statuses == {204: 2 * ROUNDS, 200: ROUNDS + tally.polls}
    end = ask(program, request("GET", "/"))[0]
    assert end.revision - start == tally.changes == 2 * ROUNDS
    assert all(line.endswith("=") for line in end.text.splitlines())
    back_to(program, before)


def test_of_those_who_saw_the_same_one_wins(program: Program) -> None:
    rounds = ROUNDS // 4
    chains: dict[str, dict[str, str]] = {f"shared.{i}": {} for i in range(SHARED)}
    start = ask(program, request("GET", "/"))[0].revision
    program.do("start", 2)
    statuses = converse(
        program, [change_if_unchanged(i, each, chains) for i, each in enumerate(shares(rounds))]
    )
    program.do("stop")
    won = sum(map(len, chains.values()))
    assert statuses == {204: won, 412: rounds - won, 200: CONNECTIONS + rounds - won}
    everything, *points = ask(program, *(request("GET", f"/{name}") for name in ("", *chains)))
    assert everything.revision - start == won
    for chain, point in zip(chains.values(), points, strict=True):
        # Each took over from the one before it, with none left out, from the first to what is there now.
        first = next(iter(chain))
        path = [first]
        while path[-1] in chain:
            path.append(chain[path[-1]])
        assert len(path) == len(chain) + 1
        assert path[-1] == point.etag
        revisions = [Reply(204, etag, "").revision for etag in path]
        assert all(one < other for one, other in pairwise(revisions))
    ask(program, request("DELETE", "/failpoints"))


@pytest.mark.parametrize(
    "talk",
    [
        read_terms,
        pytest.param(read_counts),
        pytest.param(disarm_what_others_arm),
    ],
)
def test_what_is_read_belongs_together(
    program: Program, talk: Callable[[int, int, dict[str, str]], Talk]
) -> None:
    written: dict[str, str] = {}
    program.do("start", 2)
    converse(program, [talk(i, each, written) for i, each in enumerate(shares(ROUNDS // 4))])
    program.do("stop")
    ask(program, request("DELETE", "/failpoints"))


class Reader:
    """A reader of the events, which adds up what it sees and what it was told that it missed."""

    def __init__(self, program: Program, *, buffer: int | None = None) -> None:
        self.connection = socket.socket()
        self.connection.settimeout(PATIENCE)
        if buffer is not None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.connection.connect(("127.0.0.1", program.port))
        self.connection.sendall(request("GET", "/events"))
        self.file = self.connection.makefile("rb")
        assert self.file.readline() == b"HTTP/1.1 200 OK\r\n"
        while self.file.readline() != b": the hits of the process scope\n":
            pass
        self.seen = 0
        self.dropped = 0
        self.nths: dict[str, int] = {}

    def read(self, total: int) -> None:
        """Read until as many hits are accounted for."""
        while self.seen + self.dropped < total:
            self.read_one()

    def read_one(self) -> dict[str, Any]:
        while not (line := self.file.readline()).startswith(b"event: "):
            assert line == b"\n" or line.startswith(b":")
        data: dict[str, Any] = json.loads(self.file.readline().removeprefix(b"data: "))
        if line == b"event: dropped\n":
            assert data["count"] > 0
            self.dropped += data["count"]
        else:
            assert line == b"event: hit\n"
            self.seen += 1
            assert data["nth"] > self.nths.get(data["point"], 0), "out of order"
            self.nths[data["point"]] = data["nth"]
        return data

    def close(self) -> None:
        self.file.close()
        self.connection.close()


def test_readers_see_every_hit_or_how_many_they_missed(program: Program) -> None:
    """While the clients go on; what they arm then is hit by nobody."""
    times = 5 * ROUNDS // 4
    names = [f"finite.{i}" for i in range(4)]

    def nudge() -> None:
        program.do("last")  # that a reader has gone shows when something is sent to it

    ask(program, request("PUT", "/finite.0", "off"))
    Reader(program).close()
    before = usage(program, nudge)
    ask(program, *(request("PUT", f"/{name}", "off") for name in names))
    readers = [Reader(program), Reader(program), Reader(program, buffer=4096)]

    def burst() -> Talk:
        yield request("GET", "/")
        program.do("finite", times)  # the others wait for their replies meanwhile, and their threads work

    converse(program, [burst(), *(arm_and_disarm(i, ROUNDS // 1000) for i in range(CONNECTIONS))])
    counts = [
        int(reply.text) for reply in ask(program, *(request("GET", f"/{name}/count") for name in names))
    ]
    assert counts == [times] * 4
    for reader in readers:
        reader.read(sum(counts))
        assert reader.seen + reader.dropped == sum(counts)
        assert reader.seen >= 1000
    ask(program, request("PUT", "/finite.0", "2*return(1)"))
    program.do("last")
    for reader in readers:  # the next is the last, and nothing was counted twice
        reader.nths.clear()
        assert reader.read_one()["term"] == "2*return(1)"
        reader.close()
    back_to(program, before, nudge)
    ask(program, request("DELETE", "/failpoints"))


def test_connections_come_and_go(program: Program) -> None:
    """A connection for each request, and the rest of it not waited for."""
    ask(program, request("PUT", "/own.0", "off"), request("GET", "/"))
    before = usage(program)
    program.do("start", 2)
    waiting: deque[socket.socket] = deque()
    for nth in range(ROUNDS // 10):
        connection = program.connect()
        connection.sendall(request("PUT", f"/own.{nth % CONNECTIONS}", "return(1)", Connection="close"))
        waiting.append(connection)
        if len(waiting) == CONNECTIONS:
            with waiting.popleft() as oldest:
                assert oldest.recv(65536).startswith(b"HTTP/1.1 204 ")
    for connection in waiting:
        with connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 204 ")
    assert all(program.do("stop").values())
    ask(program, request("DELETE", "/failpoints"))
    back_to(program, before)


def test_a_program_may_fork_as_soon_as_it_serves() -> None:
    """The threads of the endpoint are just beginning then."""
    program = "import os; from failpy import fail; fail.serve(); os.fork() or os._exit(0); os.wait()"
    command = [sys.executable, "-W", "ignore", "-c", program]
    assert subprocess.run(command, capture_output=True, timeout=PATIENCE).stderr == b""
