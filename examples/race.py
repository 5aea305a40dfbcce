"""A lost update, made to happen every time.

    python examples/race.py

Two deposits arrive at once. Each reads the balance, adds to it and writes it back. When both read before
either writes, one deposit is lost. Left to chance that happens once in a long while, and never in a test.
The points `deposit.read` and `deposit.write` stand after the read and before the write, and an order of
hits says what chance would have to bring about:

    scope.order("deposit.read", "deposit.read", "deposit.write", "deposit.write")

Both read, then both write. The demonstration runs it twenty times in threads and twenty times in asyncio
tasks, and loses a deposit each time. Then it puts the same order to the versions with a lock. There the
second deposit cannot read before the first has written, so the order cannot be kept: a hit waits for its
turn until the time is up, and `WaitTimeout` says who waits for whom. The opposite order, one deposit after
the other, passes with the right balance.

The exit status is 0 when everything came out as told.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from failpy import fail

RUNS = 20
INTERLEAVED = ("deposit.read", "deposit.read", "deposit.write", "deposit.write")
ONE_BY_ONE = ("deposit.read", "deposit.write", "deposit.read", "deposit.write")


# --- the program, with threads ---


class Account:
    """A balance, in a store that can read and write, and no more."""

    def __init__(self) -> None:
        self.balance = 0

    def deposit(self, amount: int) -> None:
        balance = self.balance
        fail.point("deposit.read").hit(amount=amount)  # has been read
        fail.point("deposit.write").hit(amount=amount)  # is about to be written
        self.balance = balance + amount


class LockedAccount(Account):
    """Nobody reads between a read and its write."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def deposit(self, amount: int) -> None:
        with self._lock:
            super().deposit(amount)


def two_deposits(account: Account) -> int:
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(account.deposit, amount) for amount in (10, 20)]:
            done.result()
    return account.balance


# --- the program, with asyncio ---


class AsyncAccount:
    """The same in one thread: an `await` between a read and its write is enough."""

    def __init__(self) -> None:
        self.balance = 0

    async def deposit(self, amount: int) -> None:
        balance = self.balance
        await fail.point("deposit.read").ahit(amount=amount)
        await fail.point("deposit.write").ahit(amount=amount)
        self.balance = balance + amount


class LockedAsyncAccount(AsyncAccount):
    """Nobody reads between a read and its write."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = asyncio.Lock()

    async def deposit(self, amount: int) -> None:
        async with self._lock:
            await super().deposit(amount)


def two_deposits_async(account: AsyncAccount) -> int:
    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            for amount in (10, 20):
                group.create_task(account.deposit(amount), name=f"deposit of {amount}")

    asyncio.run(both())
    return account.balance


# --- the story ---


def ordered(names: tuple[str, ...], run: Callable[[], int], timeout: float = 5.0) -> int:
    """Run the deposits with their hits in this order, and return the balance."""
    with fail.scope() as scope:
        scope.order(*names, timeout=timeout)
        return run()


def lost(name: str, run: Callable[[], int]) -> list[str]:
    """Make a deposit get lost, and return where the outcome differs from the story."""
    began = time.monotonic()
    balances = [ordered(INTERLEAVED, run) for _ in range(RUNS)]
    seconds = time.monotonic() - began
    losses = sum(balance in (10, 20) for balance in balances)
    print(f"  {name}: 10 + 20 made {sorted(set(balances))}, lost in {losses} of {RUNS} runs")
    return [] if losses == RUNS and seconds < 5 else [f"{name}: {balances} in {seconds:.1f} s"]


def kept(name: str, run: Callable[[], int]) -> list[str]:
    """Try the same with a lock, then the order that a lock allows."""
    try:
        balance = ordered(INTERLEAVED, run, timeout=0.2)
    except fail.WaitTimeout as error:
        refusal: BaseException = error
    except BaseExceptionGroup as group:  # as it comes out of a task group
        refusal = first_timeout(group)
    else:
        return [f"{name}: the order was kept, and the balance is {balance}"]
    print(f"  {name}: both reads first cannot be:")
    for line in str(refusal).splitlines():
        print(f"    {line.replace(__file__, Path(__file__).name)}")
    balance = ordered(ONE_BY_ONE, run)
    print(f"  {name}: one after the other: 10 + 20 made {balance}\n")
    told = "'deposit.write' waited 0.2 s" in str(refusal) and "'deposit.read' is next" in str(refusal)
    checks = {"what the timeout says": told, "the balance one after the other": balance == 30}
    return [f"{name}: {what}: {refusal!r}, {balance}" for what, true in checks.items() if not true]


def first_timeout(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The timeout in a group, or the group itself when there is none."""
    for each in group.exceptions:
        found = first_timeout(each) if isinstance(each, BaseExceptionGroup) else each
        if isinstance(found, fail.WaitTimeout):
            return found
    return group


def main() -> int:
    if os.environ.get("FAILPY", "").strip().lower() == "off":
        print("FAILPY=off: failpoints are compiled out, so nothing can be ordered", file=sys.stderr)
        return 1

    print("Read, read, write, write:")
    mistakes = lost("threads", lambda: two_deposits(Account()))
    mistakes += lost("tasks", lambda: two_deposits_async(AsyncAccount()))

    print("\nWith a lock around the read and the write:")
    mistakes += kept("threads", lambda: two_deposits(LockedAccount()))
    mistakes += kept("tasks", lambda: two_deposits_async(LockedAsyncAccount()))

    for mistake in mistakes:
        print(f"not as told: {mistake}", file=sys.stderr)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
