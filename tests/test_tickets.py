"""What travels: signatures, tickets, reports and the member of baggage that they are in."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failpy import FailpointError
from failpy._baggage import Carried, member_of, with_member
from failpy._feedback import Account, Feedback, Run, read, runs_of, summed, written
from failpy._keys import LONGEST, read_keys
from failpy._signing import MOST, Refused, keys_for, sign, verify
from failpy._ticket import Ticket, joined, separate

KEYS = (b"the key of these tests",)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~%,;= \x00é"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def ticket(**changes: Any) -> Ticket:
    return Ticket(
        "scope", {"a": "raise", "b:c": '2*return("x")'}, 7, 3, math.ceil(time.time()) + 60
    )._replace(**changes)


def refusal(text: str, keys: tuple[bytes, ...] = KEYS) -> str:
    with pytest.raises(Refused) as refused:
        Ticket.read(text, keys)
    return str(refused.value)


# --- keys ---


def test_keys_are_read_from_a_text_and_shown_in_no_error() -> None:
    assert read_keys("", "K") == read_keys(" , ", "K") == ()
    assert read_keys("abcdefghijklmnop, qrstuvwxyz012345,abcdefghijklmnop", "K") == (
        b"abcdefghijklmnop",
        b"qrstuvwxyz012345",
    )
    with pytest.raises(FailpointError, match="K has a key of 5 characters, and 16 are the least") as short:
        read_keys("abcdefghijklmnop,short", "K")
    assert "short" not in str(short.value).replace("characters", "")
    with pytest.raises(FailpointError, match="of 1 character,"):
        read_keys("x", "K")


def test_a_key_that_a_program_gives_is_no_empty_one() -> None:
    assert keys_for("abcdefghijklmnop") == (b"abcdefghijklmnop",)
    with pytest.raises(FailpointError, match="key is empty"):
        keys_for(" ")
    with pytest.raises(TypeError, match="key must be a string, not bytes"):
        keys_for(b"abcdefghijklmnop")  # type: ignore[arg-type]


# --- signatures ---


@given(JSON)
def test_what_is_signed_is_read_again(content: Any) -> None:
    assert verify("kind", sign("kind", content, KEYS), KEYS) == content


@given(st.data())
def test_no_other_text_passes_for_a_signed_one(data: st.DataObject) -> None:
    text = ticket().text(KEYS)
    at = data.draw(st.integers(0, len(text) - 1))
    other = text[:at] + data.draw(st.sampled_from(ALPHABET)) + text[at + 1 :]
    for each in (other, text[:at], text[at + 1 :], text + data.draw(st.sampled_from(ALPHABET))):
        if each != text:
            assert refusal(each)


@given(st.text() | st.text(ALPHABET))
def test_any_text_is_refused_without_another_error(text: str) -> None:
    assert refusal(text)
    assert all(isinstance(each, Refused) for each in read(text, KEYS))


def test_the_first_key_signs_and_each_is_accepted() -> None:
    old, new = b"the old key for them", b"the new key for them"
    assert Ticket.read(ticket().text((new, old)), (new,))
    assert Ticket.read(ticket().text((old,)), (new, old))
    assert "none of the keys" in refusal(ticket().text((old,)), (new,))
    assert "no key here" in refusal(ticket().text((old,)), ())


def test_a_ticket_is_no_report_and_a_report_no_ticket() -> None:
    text = ticket().text(KEYS)
    assert [str(each) for each in read(text, KEYS)] == ["its signature is of none of the keys here"]
    told = Feedback("scope", "1", ["pay"], [], [], []).text(KEYS)
    assert told is not None
    assert "none of the keys" in refusal(told)


def test_what_is_wrong_is_said() -> None:
    assert "4,001 characters, and 4,000 are the most" in refusal("x" * 4001)
    assert "malformed" in refusal("1.é.x")
    assert "of version '2', and this failpy reads 1" in refusal(ticket().text(KEYS).replace("1.", "2.", 1))
    assert "signed, and malformed" in refusal(signed_raw("{"))
    assert "signed, and malformed" in refusal(signed_raw("[" * 2500))
    assert "signed, and malformed" in refusal(signed_raw("\udcff"))


def signed_raw(text: str) -> str:
    """A text that is signed as no failpy would."""
    from failpy import _signing

    body = _signing._text(text.encode("utf-8", "surrogateescape"))
    return f"1.{body}.{_signing._mac('scope', body, KEYS[0])}"


# --- tickets ---


def test_a_ticket_comes_back_as_it_was() -> None:
    for each in (ticket(), ticket(terms={}), ticket(seed=-(2**60)), ticket(terms={"ü\udcff": "x" * 1000})):
        assert Ticket.read(each.text(KEYS), KEYS) == each


def test_a_ticket_is_good_until_it_expires() -> None:
    now = math.floor(time.time())
    assert "it expired 1" in refusal(ticket(expires=now - 10).text(KEYS))
    assert Ticket.read(ticket(expires=now + LONGEST).text(KEYS), KEYS)
    assert "compare the clocks" in refusal(ticket(expires=now + 2 * LONGEST).text(KEYS))


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        [],
        ["scope", {}, 1, 2],
        ["scope", {}, 1, 2, 3, 4],
        [1, {}, 1, 2, 3],
        ["scope", [], 1, 2, 3],
        ["scope", {"a": 1}, 1, 2, 3],
        ["scope", {}, True, 2, 3],
        ["scope", {}, 1, 2.0, 3],
        ["scope", {}, 1, 2, 2**200],
        ["scope", {}, 1, 2, math.inf],
    ],
)
def test_a_ticket_of_another_make_is_refused(content: Any) -> None:
    assert refusal(sign("scope", content, KEYS)) == "it is signed, and no ticket"


def test_tickets_are_in_one_another() -> None:
    texts = [ticket(number=each).text(KEYS) for each in range(4)]
    assert separate(joined(texts)) == texts
    with pytest.raises(Refused, match="5 scopes in one another, and 4 are the most"):
        separate(joined([*texts, texts[0]]))


# --- the member of baggage ---


@pytest.mark.parametrize(
    ("headers", "member"),
    [
        ([], None),
        ([""], None),
        (["other=1"], None),
        (["failpyx=1, xfailpy=failpy"], None),
        (["failpy="], None),
        (["failpy=1.a.b"], "1.a.b"),
        (["a=1 , failpy = 1.a.b ;property=1;failpy=2, b=failpy"], "1.a.b"),
        (["failpy=1%2Ea%2eb"], "1.a.b"),
        (["a=1", "failpy=x", "b=2"], "x"),
        (["failpy=x", "failpy=x,failpy="], "x"),
        (["x" * 9000], None),
    ],
)
def test_the_member_is_found(headers: list[str], member: str | None) -> None:
    assert member_of(headers) == member


def test_a_member_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(Refused, match="more than once"):
        member_of(["failpy=x,failpy=y"])
    with pytest.raises(Refused, match="8,200 characters, and 8,192 are the most"):
        member_of(["failpy=" + "x" * 8193])


def test_the_member_is_put_in_beside_the_others() -> None:
    assert with_member(None, "x") == with_member("", "x") == with_member("failpy=y", "x") == "failpy=x"
    assert with_member("a=1, failpy=y;p, b=2", "x") == "a=1,b=2,failpy=x"
    assert member_of([with_member("a=1, b=2;c", "x~y")]) == "x~y"


def test_a_carried_value_is_made_when_it_is_written_and_shows_nothing_else() -> None:
    numbers = iter("123")
    carried = Carried(lambda: next(numbers))
    assert (f"{carried!s}", str(carried), repr(carried), carried + "") == ("1", "2", "''", "")
    assert carried.__reduce__() == (str, ("3",))


# --- reports ---

FEEDBACK = Feedback(
    "scope",
    "1",
    ["pay"],
    [Account("pay", 42, "a", 3, 2, 1, [Run(1, -1, None), Run(2, 0, "handled")])],
    [["pay", "boom"]],
    [["pay", "b", "unknown"]],
)


def test_a_report_comes_back_as_it_was() -> None:
    text = FEEDBACK.text(KEYS)
    assert text is not None
    assert list(read(written([text, text]), KEYS)) == [FEEDBACK, FEEDBACK]
    assert list(read(f"{text}, {text}", KEYS)) == [FEEDBACK, FEEDBACK]


def test_runs_are_hits_one_after_the_other() -> None:
    assert runs_of([]) == []
    hits = [(0, None), (0, None), (1, "a"), (1, "b"), (0, None)]
    assert runs_of(hits) == [(2, 0, None), (1, 1, "a"), (1, 1, "b"), (1, 0, None)]
    assert runs_of((0, None) for _ in range(5000)) == [(1000, 0, None)]


def test_a_report_is_shortened_until_it_fits() -> None:
    def runs(text: str | None) -> list[int]:
        assert text is not None
        assert len(text) <= MOST
        (found,) = read(text, KEYS)
        assert isinstance(found, Feedback)
        assert [each.hits for each in found.accounts] == [1000] * len(found.accounts)
        return [len(each.runs) for each in found.accounts]

    def big(points: int) -> Feedback:
        alternating = [Run(1, each % 2, f"handled by a function {each}") for each in range(1000)]
        accounts = [
            Account("pay", 42, f"a.point.{each}", 1000, 1000, 500, alternating) for each in range(points)
        ]
        return FEEDBACK._replace(accounts=accounts)

    assert runs(big(1).text(KEYS)) == [20]
    assert runs(big(5).text(KEYS)) == [5] * 5
    assert runs(big(20).text(KEYS)) == [0] * 20
    assert big(1000).text(KEYS, 60) is None
    long = FEEDBACK._replace(failures=[["pay", "x" * 9000]] * 50, refusals=[["pay", "b", "y" * 9000]])
    (found,) = read(long.text(KEYS) or "", KEYS)
    assert isinstance(found, Feedback)
    assert len(found.failures) == 10


def test_of_very_many_points_a_report_has_those_that_fired() -> None:
    accounts = [Account("pay", 42, f"a.point.{each}", each, 0, each // 999, []) for each in range(1000)]
    refusals = [["pay", f"b.{each}", "why"] for each in range(1000)]
    text = FEEDBACK._replace(accounts=accounts, refusals=refusals).text(KEYS)
    assert text is not None
    assert len(text) <= MOST
    (found,) = read(text, KEYS)
    assert isinstance(found, Feedback)
    assert found.accounts[0] == accounts[-1]
    assert [each.hits for each in found.accounts] == list(range(999, 999 - len(found.accounts), -1))
    left_out = 2000 - len(found.accounts) - (len(found.refusals) - 1)
    assert found.refusals[0] == ["pay", "", f"{left_out:,} points were left out of a report"]


def test_accounts_of_one_process_are_summed() -> None:
    first = Account("pay", 42, "a", 900, 3, 2, [Run(900, 0, None)])
    second = Account("pay", 42, "a", 200, 1, 1, [Run(150, 0, "x"), Run(50, 1, None)])
    other = Account("pay", 43, "a", 1, 1, 1, [])
    assert summed([first, other, second]) == [
        Account("pay", 42, "a", 1100, 4, 3, [Run(900, 0, None), Run(100, 0, "x")]),
        other,
    ]


def test_a_header_has_no_more_reports_than_are_worth_reading() -> None:
    (found,) = read("~" * 60_000, KEYS)
    assert str(found) == "it is 60,001 reports, and 16 are the most"


@pytest.mark.parametrize(
    "change",
    [
        {"scope": 1},
        {"key": None},
        {"services": []},
        {"services": "pay"},
        {"services": [1]},
        {"accounts": {}},
        {"accounts": [1]},
        {"accounts": [["pay", 42, "a", 3, 2, 1]]},
        {"accounts": [["pay", 42, "a", -1, 2, 1, []]]},
        {"accounts": [["pay", 42, "a", 2**60, 2, 1, []]]},
        {"accounts": [["pay", 42, "a", True, 2, 1, []]]},
        {"accounts": [["pay", 42, "a", 3, 2, 1, [[4, 0, None]]]]},
        {"accounts": [["pay", 42, "a", 10**6, 2, 1, [[10**6, 0, None]]]]},
        {"accounts": [["pay", 42, "a", 3, 2, 1, [[1, "0", None]]]]},
        {"accounts": [["pay", 42, "a", 3, 2, 1, [[1, 0, 1]]]]},
        {"failures": [["pay"]]},
        {"failures": [["pay", "a", "b"]]},
        {"refusals": [["pay", "a", 1]]},
        {"refusals": 1},
    ],
)
def test_a_report_of_another_make_is_refused(change: dict[str, Any]) -> None:
    (found,) = read(sign("report", FEEDBACK._replace(**change), KEYS), KEYS)
    assert str(found) == "it is signed, and no report"
