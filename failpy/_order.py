"""An order of hits: each hit of a named point waits until it is its turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import RLock, Thread, current_thread

from failpy._errors import Deadlock
from failpy._gate import Gate

__all__ = ["Order", "refuse_contradiction"]


class Order:
    """Names of points in the order in which their next hits shall happen.

    Borrowed from RocksDB's sync points, but by turns: a name may come more than once.

    Args:
        names: The order.
        timeout: How long a hit waits for its turn at the most, in seconds.
    """

    long = True  # waiting may be so long that an event loop must not block for it

    __slots__ = ("_gates", "_lock", "_position", "_taker", "names", "timeout")

    def __init__(self, names: Sequence[str], timeout: float) -> None:
        self.names = tuple(names)
        self.timeout = timeout
        self._position = 0
        self._taker: Thread | None = None  # whose turn it is, while that is so
        # Reentrant: a signal handler may hit a point of the order while its thread is in here.
        self._lock = RLock()
        self._gates: list[tuple[str, Gate]] = []

    def __str__(self) -> str:
        return " -> ".join(self.names)

    @property
    def waiting(self) -> list[tuple[str, Gate]]:
        """The points whose hits wait for their turn, and where."""
        with self._lock:
            return list(self._gates)

    @property
    def remaining(self) -> tuple[str, ...]:
        """The names whose turn is still to come."""
        return self.names[self._position :]

    def arrive(self, name: str) -> Gate | None:
        """A hit of this point is there. Gives a gate to wait at when it is not its turn yet.

        Who may go on must call `done` once the hit has happened.
        """
        with self._lock:
            if name not in self.remaining or self._take_turn(name, current_thread()):
                return None
            gate = Gate(self.timeout)
            gate.thread = current_thread()
            self._gates.append((name, gate))
            return gate

    def _take_turn(self, name: str, taker: Thread | None) -> bool:
        if self._taker is not None or self.names[self._position] != name:
            return False
        self._taker = taker or current_thread()
        return True

    def done(self, name: str, *, happened: bool, gate: Gate | None = None) -> None:
        """A hit that arrived is through: let the next one go on.

        Args:
            name: The point.
            happened: False when it gave up, or was no hit after all, and its turn is another's.
            gate: Where it waited.
        """
        with self._lock:
            waits = [entry for entry in self._gates if entry[1] is gate]
            if waits:  # it gave up before its turn came
                self._gates.remove(waits[0])
                return
            if self._taker is None or self.remaining[:1] != (name,):
                return
            self._taker = None
            self._position += happened
            due = self._due()
        for each in due:
            each.open()

    def _due(self) -> list[Gate]:
        """The gate of whose turn it is now, if it waits already, and of all whose name comes no more."""
        free = [(name, gate) for name, gate in self._gates if name not in self.remaining]
        waiting = [(name, gate) for name, gate in self._gates if name in self.remaining]
        for entry in waiting:
            if self._take_turn(entry[0], entry[1].thread):
                free.append(entry)
                waiting.remove(entry)
                break
        self._gates = waiting
        return [gate for _, gate in free]

    def bars(self, thread: Thread) -> bool:
        """Whether hits of this thread pass rather than wait."""
        return False

    def forget_threads(self) -> None:
        """In a forked child: nobody else is left to wait, to take a turn or to hold the lock."""
        self._lock = RLock()
        self._gates = []
        if self._taker is not current_thread():
            self._taker = None

    def close(self) -> None:
        """Let everybody go on."""
        with self._lock:
            self._position = len(self.names)
            gates, self._gates = self._gates, []
        for _, gate in gates:
            gate.open()


def refuse_contradiction(orders: Iterable[Order]) -> None:
    """Refuse orders that cannot all be kept: then the hits would wait for each other for ever.

    Raises:
        Deadlock: naming the points that wait for each other.
    """
    # Nodes are hits to come, as (name, which one); an edge goes from a hit to the one right after it.
    after: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for order in orders:
        seen: dict[str, int] = {}
        previous = None
        for name in order.remaining:
            seen[name] = seen.get(name, 0) + 1
            node = (name, seen[name])
            after.setdefault(node, set())
            if previous is not None:
                after[previous].add(node)
            previous = node
    for name, count in [node for node in after if node[1] > 1]:
        after.setdefault((name, count - 1), set()).add((name, count))
    # Take away what nothing waits for, until nothing is left or a circle is.
    while after:
        awaited = {node for nodes in after.values() for node in nodes}
        free = [node for node in after if node not in awaited]
        if not free:
            circle = ", ".join(f"{name!r} (hit {count})" for name, count in sorted(after))
            raise Deadlock(
                f"these orders contradict each other, so that {circle} would wait for each other for ever: "
                "take one of the orders away"
            )
        for node in free:
            del after[node]
