"""State machines of Hypothesis whose steps run with drawn faults."""

from __future__ import annotations

import io
import threading
import unittest
from typing import Any

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from failpy import fail, failpoint
from failpy.hypothesis import FaultyMachine, Schedule, schedules

QUICK = settings(
    max_examples=60,
    stateful_step_count=6,
    database=None,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
)


@failpoint("hypshop.save", faults=("raise(ENOSPC)", "raise(EIO)"))
def save() -> None: ...


@failpoint("hypshop.mail", faults=(TimeoutError,))
def mail() -> None: ...


def run(machine: type[RuleBasedStateMachine]) -> None:
    run_state_machine_as_test(machine, settings=QUICK)


def failure(machine: type[RuleBasedStateMachine]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        run(machine)
    assert fail.current_scope() is None
    return caught.value


class Shop(FaultyMachine, RuleBasedStateMachine):
    """Everything that a state machine can have."""

    failpoints = schedules("hypshop.*", max_faults=2, max_hit=4)
    orders = Bundle("orders")

    def __init__(self) -> None:
        super().__init__()
        assert fail.current_scope() is None
        self.saved = self.known = 0
        self.ready: list[str] = []

    @initialize()
    def a_comes_first_by_name(self) -> None:
        assert fail.current_scope() is self.scope
        self.ready.append("a")

    @initialize(target=orders, number=st.integers(0, 3))
    def z_comes_last_by_name(self, number: int) -> int:
        assert fail.current_scope() is self.scope
        self.ready.append("z")
        return number

    @rule(target=orders, number=st.integers(0, 3))
    def order(self, number: int) -> int:
        try:
            save()
        except OSError:
            return number
        self.saved += 1
        return number

    @rule(order=orders)
    def confirm(self, order: int) -> None:
        try:
            mail()
        except TimeoutError:
            pass

    @precondition(lambda self: self.saved > 2)
    @rule()
    def inspect(self) -> None:
        assert fail.current_scope() is self.scope

    @invariant()
    def the_scope_is_open(self) -> None:
        assert sorted(self.ready) == ["a", "z"]
        assert fail.current_scope() is self.scope
        assert set(self.schedule) <= {"hypshop.save", "hypshop.mail"}


TestShop = Shop.TestCase
TestShop.settings = QUICK


class LostOrder(Shop):
    """The planted bug: an order counts as saved though the disk was full."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = 0

    @rule()
    def order_twice(self) -> None:
        for _ in range(2):
            try:
                save()
                self.disk += 1
            except OSError as error:
                self.disk -= 2 * (error.errno == 28)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.disk >= 0


def test_a_planted_bug_is_found_and_shrunk_and_its_steps_print_the_schedule() -> None:
    error = failure(LostOrder)
    assert isinstance(error, AssertionError)
    steps = error.__notes__
    at = steps.index("state = LostOrder()")
    assert steps[at + 1 : at + 3] == [
        "FAILPY_FAILPOINTS='hypshop.save=1*raise(ENOSPC)'",
        "state.arm_failpoints(schedule=Schedule('hypshop.save=1*raise(ENOSPC)'))",
    ]
    assert [step for step in steps if step.startswith("state.order")] == ["state.order_twice()"]


def test_the_machine_runs_under_unittest() -> None:
    runner = unittest.TextTestRunner(stream=io.StringIO())
    assert runner.run(unittest.defaultTestLoader.loadTestsFromTestCase(TestShop)).wasSuccessful()


class Plain(FaultyMachine):
    """Without the second base, and with a rule that does nothing."""

    failpoints: Any = schedules("hypshop.*")

    @rule()
    def step(self) -> None:
        try:
            save()
        except OSError:
            pass


def test_the_base_alone_will_do() -> None:
    run(Plain)


def test_a_machine_without_failpoints_says_so() -> None:
    class Bare(FaultyMachine, RuleBasedStateMachine):
        @rule()
        def step(self) -> None: ...

    error = failure(Bare)
    assert isinstance(error, TypeError)
    assert str(error) == "Bare has no failpoints: write `failpoints = schedules(...)` in its body"


def test_failpoints_must_be_a_strategy() -> None:
    class Wrong(Plain):
        failpoints = "hypshop.*"

    error = failure(Wrong)
    assert isinstance(error, TypeError)
    assert "must be a strategy, not 'hypshop.*'" in str(error)


def test_a_mapping_that_some_strategy_draws_is_a_schedule() -> None:
    class Given(Plain):
        failpoints = st.just({"hypshop.save": "9*off->1*raise"})

        @invariant()
        def armed(self) -> None:
            assert self.schedule == Schedule("hypshop.save=9*off->1*raise")

    run(Given)


def test_a_name_that_nobody_declared_is_a_verdict_of_the_scope() -> None:
    class Unknown(Plain):
        failpoints = schedules({"hypshop.svae": ["raise"]}, max_hit=1)

    error = failure(Unknown)
    assert isinstance(error, fail.UnknownFailpoint)
    assert "did you mean 'hypshop.save'" in str(error)


def test_a_teardown_may_forget_the_one_above_it() -> None:
    closed = []

    class Forgetful(Plain):
        def teardown(self) -> None:
            closed.append(self.scope)

    run(Forgetful)
    assert len(closed) > 10
    assert all(scope.closed for scope in closed)


def test_a_mixin_may_forget_it_too() -> None:
    class Rude:
        def teardown(self) -> None: ...

    class Mixed(Rude, Plain): ...

    run(Mixed)
    assert fail.current_scope() is None


def test_a_teardown_may_close_the_scope_before_it_cleans_up() -> None:
    class Tidy(Plain):
        def teardown(self) -> None:
            super().teardown()
            assert self.scope.closed
            save()

    class Tidier(Tidy): ...

    run(Tidier)


def test_a_step_may_close_the_scope() -> None:
    class Closing(Plain):
        @rule()
        def close(self) -> None:
            self.scope.close()

    run(Closing)


def test_a_teardown_that_fails_still_closes() -> None:
    class Broken(Plain):
        def teardown(self) -> None:
            raise KeyError("broken")

    assert isinstance(failure(Broken), KeyError)


threads_die = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def in_thread() -> None:
    thread = threading.Thread(target=mail, name="mailer")
    thread.start()
    thread.join()


class Threaded(FaultyMachine, RuleBasedStateMachine):
    failpoints = schedules("hypshop.mail", max_hit=2)

    @rule()
    def mail_in_a_thread(self) -> None:
        in_thread()


@threads_die
def test_what_a_thread_died_of_comes_out_at_the_end() -> None:
    error = failure(Threaded)
    assert isinstance(error, ExceptionGroup)
    assert error.subgroup(TimeoutError)
    assert "state.arm_failpoints(schedule=Schedule('hypshop.mail=1*raise(TimeoutError)'))" in error.__notes__


@threads_die
def test_it_comes_out_even_if_an_unrelated_exception_is_being_handled() -> None:
    try:
        raise KeyError("unrelated")
    except KeyError:
        assert isinstance(failure(Threaded), ExceptionGroup)


@threads_die
def test_it_does_not_mask_what_a_step_raised() -> None:
    class Both(FaultyMachine, RuleBasedStateMachine):
        failpoints = schedules("hypshop.mail", max_hit=1)

        @rule()
        def mail_and_break(self) -> None:
            in_thread()
            if any(entry.term for entry in self.scope.trace):
                raise ZeroDivisionError

    error = failure(Both)
    assert isinstance(error, ExceptionGroup)
    assert error.subgroup(TimeoutError)
    assert error.subgroup(ZeroDivisionError)


@threads_die
def test_an_example_that_is_given_up_takes_its_failures_with_it() -> None:
    class Assuming(FaultyMachine, RuleBasedStateMachine):
        failpoints = schedules("hypshop.mail", max_hit=1)

        @rule()
        def mail_and_give_up(self) -> None:
            in_thread()
            assume(not any(entry.term for entry in self.scope.trace))

    run(Assuming)
    assert fail.current_scope() is None


def test_the_same_failure_again_and_again_is_one_bug() -> None:
    class Careless(FaultyMachine):
        failpoints = schedules("hypshop.mail", max_hit=1)

        @rule()
        def complain(self) -> None:
            self.scope.error("x")

    error = failure(Careless)
    assert isinstance(error, ExceptionGroup)
    assert [str(each) for each in error.exceptions] == ["x"]
