"""What the environment and the marker of pytest say of scopes that travel."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from failpy import FailpointError
from failpy._config import Config, config
from failpy._environment import load
from tests.plugin_tools import alone, run, write
from tests.surroundings import plain_environ
from tests.travelling import KEY


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in Config.__slots__:
        monkeypatch.setattr(config, each, getattr(config, each))
    monkeypatch.setattr(sys, "argv", ["program"])


def test_nothing_comes_in_unless_it_is_said() -> None:
    load({})
    assert (config.propagation_keys, config.propagation_names, config.propagation_allow) == ((), None, ())
    load({"FAILPY_PROPAGATION_KEY": " "})
    assert config.propagation_keys == ()


def test_what_is_said_is_read() -> None:
    load(
        {
            "FAILPY_PROPAGATION_KEY": "abcdefghijklmnop,qrstuvwxyz012345",
            "FAILPY_PROPAGATION_NAMES": "db.*, cards.*",
            "FAILPY_PROPAGATION_ALLOW": "kill sleep",
            "FAILPY_SERVICE": " pay ",
            "OTEL_SERVICE_NAME": "another",
        }
    )
    assert config.propagation_keys == (b"abcdefghijklmnop", b"qrstuvwxyz012345")
    assert config.propagation_names == ("db.*", "cards.*")
    assert config.propagation_allow == ("kill", "sleep")
    assert config.service == "pay"
    load({"FAILPY_PROPAGATION_NAMES": "", "OTEL_SERVICE_NAME": "my service"})
    assert (config.propagation_names, config.service) == ((), "my service")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FAILPY_PROPAGATION_KEY", "short", "FAILPY_PROPAGATION_KEY has a key of 5 characters"),
        ("FAILPY_PROPAGATION_ALLOW", "kil", "FAILPY_PROPAGATION_ALLOW cannot be applied: 'kil' is no action"),
        (
            "FAILPY_SERVICE",
            "a b",
            "FAILPY_SERVICE cannot be applied, since names of failpoints begin with it, as in 'a b:db.write'",
        ),
    ],
)
def test_a_malformed_value_stops_the_import(name: str, value: str, words: str) -> None:
    with pytest.raises(FailpointError) as error:
        load({name: value})
    assert words in str(error.value)
    assert KEY not in str(error.value)


def test_a_program_that_sends_and_lets_in_nothing_loads_nothing_for_it() -> None:
    program = """
        import sys
        from failpy import fail
        with fail.scope({"a": "off"}, strict=False):
            pass
        assert not {"hmac", "opentelemetry", "failpy._propagation", "failpy._visit"} & sys.modules.keys()
        """
    environ = plain_environ() | {"FAILPY_PROPAGATION_KEY": KEY}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=environ, check=True, timeout=60)


def test_the_scope_of_a_marker_travels(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)
    monkeypatch.setattr(config, "propagation_keys", (KEY.encode(),))
    write(
        pytester,
        """
        from opentelemetry import baggage
        from failpy._feedback import Account, Feedback, Run

        @pytest.mark.failpoints({"pay:db": "raise"}, propagate=True)
        def test_it(failpoints):
            assert "failpy" in baggage.get_all()
            assert failpoints.headers()["baggage"].startswith("failpy=1.")
            travels = failpoints.propagation
            told = [Account("pay", 7, "pay:db", 2, 2, 2, [Run(2, 0, "handled by x")])]
            text = Feedback(travels.identity, "1", ["pay"], told, [], []).text(travels.keys)
            assert failpoints.collect({"failpy-report": text})
            assert False

        def test_after():
            assert "failpy" not in baggage.get_all()

        @pytest.mark.failpoints({"pay:db": "raise"}, propagate=True)
        def test_never():
            pass
        """,
    )
    result = run(pytester, "--failpoints-report=term")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "  pay:db=raise  (the test's scope): hit 2 times, fired 2 times",
            "trace:",
            "  pay:db #1 raise in pay, process 7: handled by x",
            "  pay:db #2 raise in pay, process 7: handled by x",
            "*NeverFired: failpoint 'pay:db' was armed with raise and never fired: no code here has*",
            "pay:db *fired *2 *2 *2 *2",
        ]
    )
