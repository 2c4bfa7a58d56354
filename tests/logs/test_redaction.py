"""Nothing that can be told to be a secret gets through, and no value ends its line."""

import json
import logging
import time
from typing import Any

import psycopg2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fluxpay.core.credentials import mint
from fluxpay.core.tenants import Environment
from fluxpay.observability import errors, logs
from fluxpay.observability.redaction import TEXT_CHARS_MAX, is_unsaid, plain, redacted
from fluxpay.stores.problems import StoreUnavailable
from tests.logs.scanning import card_numbers

KEY = mint(Environment.LIVE, "key_01m82vkwk3e06ta73nzm82nhmn", bytes(range(24)))
PREFIX = "fp_live_01m82vkwk3e06ta73nzm82nhmn"
RECORD = logging.LogRecord("fluxpay.test", logging.INFO, "", 0, "", None, None)

LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
ALL_WICKED = LINE_ENDS + "\x00\x1b\x7f\x9b\u202e\u2066\u200f\ufeff\ud800\udfff\"'\\={}"
WICKED = st.text(
    st.one_of(
        st.sampled_from(ALL_WICKED),
        st.characters(),
    )
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=9), WICKED),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(WICKED, inner, max_size=3)
    ),
    max_leaves=8,
)


def written(style: str, **members: Any) -> str:
    record = logging.makeLogRecord(RECORD.__dict__)
    record.msg = members
    record.__dict__.update(_logger=logging.getLogger("fluxpay.test"), _name="info")
    return logs.formatter(style).format(record)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a key: {KEY}, {{{KEY}}}", f"a key: {PREFIX}_[redacted], {{{PREFIX}_[redacted]}}"),
        (f"{KEY[:50]} was cut", f"{PREFIX}_[redacted] was cut"),
        ("Authorization: Bearer abc.def", "Authorization: [redacted] [redacted]"),
        ("sent bearer s3cr3t, and", "sent bearer [redacted], and"),
        ("basic dXNlcjpwYXNz", "basic [redacted]"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln it was", "[redacted] it was"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "[redacted]"),
        ("postgresql://app:pass@word@db:5432/x failed", "postgresql://[redacted]@db:5432/x failed"),
        ("to rediss://:p/w@cache/0", "to rediss://[redacted]@cache/0"),
        ("host=db password=hunter2 dbname=x", "host=db password=[redacted] dbname=x"),
        ('{"token": "t0k3n", "a": 1}', '{"token": [redacted], "a": 1}'),
        ("4111111111111111", "[redacted]"),
        ("card 4111 1111-1111.1111 and 378282246310005.", "card [redacted] and [redacted]."),
        ("1 4111111111111111 2", "1 [redacted] 2"),
        ("x4222222222222y", "x[redacted]y"),
        ("4111111111111112", "4111111111111112"),
        ("https://pay.example.com/a@b", "https://[redacted]@b"),
        ("trf_01m82vqswfe478q2npxg1nm7mp", "trf_01m82vqswfe478q2npxg1nm7mp"),
        ("41111111-1111-1111-8111-111111111111", "41111111-1111-1111-8111-111111111111"),
        ("2026-11-28T16:02:00.123Z", "2026-11-28T16:02:00.123Z"),
    ],
)
def test_what_has_the_shape_of_a_secret_is_taken_out_and_no_more(text: str, expected: str) -> None:
    assert expected == redacted(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("password", True),
        ("X-Api-Key", True),
        ("client_secret", True),
        ("idempotency_key", True),
        ("metadata", True),
        ("description", True),
        ("authorization", True),
        ("key_id", False),
        ("tenant_id", False),
        ("error", False),
        ("request_id", False),
    ],
)
def test_a_member_s_name_tells_that_its_value_is_not_to_be_shown(name: str, expected: bool) -> None:
    assert expected == is_unsaid(name)
    shown = json.loads(written("json", event="x", **{name: "word", "deeper": {name: "word"}}))
    word = "[redacted]" if expected else "word"
    assert [word, {name: word}] == [shown[name], shown["deeper"]]


def test_numbers_that_are_cards_or_too_large_are_not_written() -> None:
    assert ["[redacted]", "[redacted]", 4111111111111112, "an integer of 20001 bits", "nan"] == [
        plain(value)
        for value in (
            4111111111111111,
            -4111111111111111,
            4111111111111112,
            1 << 20000,
            float("nan"),
        )
    ]


def test_every_value_is_bounded() -> None:
    deep: list[Any] = []
    for _ in range(2000):
        deep = [deep]
    for value in ("x" * 10**6, ["x"] * 10**5, dict.fromkeys(range(10**5)), deep):
        assert len(json.dumps(plain(value))) < 2 * TEXT_CHARS_MAX
    chained: Exception = ValueError()
    for _ in range(300):
        error = StoreUnavailable("x" * 10_000)
        error.__cause__ = chained
        chained = error
    assert len(written("json", event="x", exc_info=chained)) < 10_000


@pytest.mark.parametrize(
    "text", ["1 ", "://", "://@ ", 'token="', "bearer ", "eyJ.", "fp_live_", "1-", "password= ="]
)
def test_no_text_keeps_the_redaction_busy(text: str) -> None:
    # Ten thousand times the time of a short text would be hours; a second is far from both.
    begun_s = time.process_time()
    redacted(text * 100_000)
    assert time.process_time() - begun_s < 10


@pytest.mark.parametrize("style", ["json", "console"])
@example(event=ALL_WICKED, member={ALL_WICKED: [ALL_WICKED]})
@given(event=WICKED, member=VALUES)
def test_no_value_ends_a_line_or_speaks_to_a_terminal(
    style: str, event: str, member: object
) -> None:
    line = written(style, event=event, member=member)
    assert line.isascii()
    assert line.isprintable()
    if style == "json":
        assert {"timestamp", "level", "logger", "event"} <= set(json.loads(line))


@example(text=ALL_WICKED)
@given(text=WICKED)
def test_an_exception_ends_no_line_either(text: str) -> None:
    error = StoreUnavailable(text)
    line = written("json", event="x", exc_info=error)
    assert line.isascii()
    assert line.isprintable()
    assert "StoreUnavailable" in json.loads(line)["exception"]
    head, *frames = written("console", event="x", exc_info=error).split("\n")
    assert head.isprintable()
    assert all(one.startswith("    | ") and one.isprintable() for one in frames)


@given(
    before=st.text(max_size=9), digits=st.integers(10**11, 10**18 - 1), after=st.text(max_size=9)
)
def test_no_card_number_gets_through(before: str, digits: int, after: str) -> None:
    card = next(f"{digits}{check}" for check in range(10) if card_numbers(f"{digits}{check}"))
    assert [] == card_numbers(redacted(f"{before} {card} {after}"))


def test_the_text_of_an_exception_is_told_where_it_cannot_quote_a_customer() -> None:
    told = [
        errors.told(error)
        for error in (
            StoreUnavailable("host db\nrefused"),
            FileNotFoundError(2, "No such file", "/etc/x"),
            TypeError("int is not iterable"),
            ValueError("invalid literal: 'of a customer'"),
            KeyError("of a customer"),
            RuntimeError("of a customer"),
            psycopg2.OperationalError("of a customer"),
        )
    ]
    assert [
        "StoreUnavailable: host db refused",
        "FileNotFoundError: [Errno 2] No such file: '/etc/x'",
        "TypeError: int is not iterable",
        "ValueError",
        "KeyError",
        "RuntimeError",
        "OperationalError",
    ] == told


def test_a_traceback_tells_frames_causes_and_members_of_a_group_but_no_values() -> None:
    def fail(customer: str) -> None:
        try:
            int(customer)
        except ValueError as error:
            raise ExceptionGroup("of a customer", [KeyError(customer), OSError(1, "x")]) from error

    with pytest.raises(ExceptionGroup) as raised:
        fail("of a customer")
    told = errors.traced(raised.value)
    assert "of a customer" not in told
    lines = told.splitlines()
    assert 3 == len([line for line in lines if "test_redaction.py:" in line])
    assert [
        "ValueError",
        "which led to:",
        "ExceptionGroup",
        "holding:",
        "KeyError",
        "holding:",
        "PermissionError: [Errno 1] x",
    ] == [line for line in lines if "test_redaction.py" not in line]
