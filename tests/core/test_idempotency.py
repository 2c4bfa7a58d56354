"""The key's syntax, the fingerprint, and what a second request with the same key gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.effects import FindRecord, ReadReply, Unavailable
from fluxpay.core.idempotency import (
    Claim,
    Expired,
    Mismatched,
    Replayed,
    StoredReply,
    fingerprint,
    parse_key,
    recall,
    refusal,
    settle,
)
from fluxpay.core.problems import Code, Refused
from tests.core.conversation import Exchange, converse
from tests.core.examples import claim

VISIBLE = [chr(code) for code in range(0x21, 0x7F)]
visible_texts = st.text(VISIBLE, min_size=1, max_size=255)


def quoted(key: str) -> str:
    """Write a key as a string of RFC 9651."""
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@given(visible_texts)
def test_a_quoted_key_is_what_it_quotes(key: str) -> None:
    assert key == parse_key(quoted(key))


@given(visible_texts.filter(lambda key: not key.startswith('"')))
def test_a_bare_key_and_its_quoted_form_are_one_key(key: str) -> None:
    assert key == parse_key(key) == parse_key(quoted(key))


@given(st.text(VISIBLE, max_size=300) | st.text(max_size=10))
def test_whatever_is_read_as_a_key_is_1_to_255_visible_characters(header: str) -> None:
    key = parse_key(header)
    if isinstance(key, Refused):
        assert Code.IDEMPOTENCY_KEY_MALFORMED is key.code
        return
    assert 1 <= len(key) <= 255
    assert set(key) <= set(VISIBLE)


def test_a_missing_key_is_refused_as_missing() -> None:
    assert parse_key(None) == Refused(
        Code.IDEMPOTENCY_KEY_MISSING, "This request needs an Idempotency-Key."
    )


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        '""',
        '"',
        '"a',
        '"a"b"',
        '"a" ',
        '"a";b=1',
        '"a\\b"',
        '"a b"',
        '"a\\"',
        "a b",
        "a\n",
        "a\t",
        "\x7f",
        "ä",
        '"ä"',
        "a" * 256,
        quoted("a" * 256),
    ],
)
def test_a_malformed_key_is_refused_as_malformed(header: str) -> None:
    assert parse_key(header) == Refused(
        Code.IDEMPOTENCY_KEY_MALFORMED,
        "An Idempotency-Key has 1 to 255 visible ASCII characters.",
    )


def test_the_longest_key_is_long_in_either_form() -> None:
    longest = '\\"' + "a" * 253
    assert longest == parse_key(longest) == parse_key(quoted(longest))


# ---- fingerprints --------------------------------------------------------------------------------

methods = st.sampled_from(["POST", "PUT", "DELETE", "PATCH"])
paths = st.text([*VISIBLE], max_size=20).map(lambda text: "/" + text)
requests = st.tuples(methods, paths, st.binary(max_size=30))


@given(first=requests, second=requests)
def test_two_requests_share_a_fingerprint_only_when_they_are_the_same(
    first: tuple[str, str, bytes], second: tuple[str, str, bytes]
) -> None:
    assert (first == second) is (fingerprint(*first) == fingerprint(*second))


def test_a_fingerprint_differs_when_method_path_or_body_differ() -> None:
    same = ("POST", "/v1/payments", b"{}")
    others = [
        ("PUT", "/v1/payments", b"{}"),
        ("POST", "/v1/payments/x", b"{}"),
        ("POST", "/v1/payments", b'{"a":1}'),
        ("POST", "/v1/payment", b"s{}"),
    ]
    assert fingerprint(*same) == fingerprint(*same)
    assert 5 == len({fingerprint(*same), *(fingerprint(*other) for other in others)})
    assert set(fingerprint(*same)) <= set("0123456789abcdef")
    assert 64 == len(fingerprint(*same))


# ---- recall --------------------------------------------------------------------------------------

CLAIM = claim()
OTHER = claim(body=b"[]")
MADE = StoredReply(CLAIM.fingerprint, 201, b"made", location="/v1/payments/pay_1")
REJECTED = StoredReply(CLAIM.fingerprint, 422, b"rejected")


@pytest.mark.parametrize(
    ("asking", "outcome"), [(CLAIM, Replayed(MADE)), (OTHER, Mismatched())], ids=["same", "other"]
)
def test_a_stored_reply_is_for_the_request_that_it_answered(
    asking: Claim, outcome: Replayed | Mismatched
) -> None:
    assert outcome == settle(asking, MADE)
    assert outcome == converse(recall(asking), (ReadReply(asking), MADE))


@pytest.mark.parametrize("answer", [None, Unavailable("redis")])
def test_without_a_cached_reply_the_work_goes_on(answer: object) -> None:
    assert None is converse(recall(CLAIM), (ReadReply(CLAIM), answer))


@pytest.mark.parametrize(
    ("recorded", "outcome"),
    [
        pytest.param(None, Replayed(REJECTED), id="nothing was made"),
        pytest.param(MADE, Replayed(MADE), id="a twin made the payment"),
        pytest.param(
            StoredReply(OTHER.fingerprint, 201, b"other"), Mismatched(), id="made for another"
        ),
        pytest.param(Expired("pay_1"), None, id="made long ago: the work finds out"),
    ],
)
def test_a_cached_refusal_stands_only_if_the_database_knows_of_no_payment(
    recorded: object, outcome: object
) -> None:
    exchanges: tuple[Exchange, ...] = (
        (ReadReply(CLAIM), REJECTED),
        (FindRecord(CLAIM), recorded),
    )
    assert outcome == converse(recall(CLAIM), *exchanges)


def test_a_cached_refusal_of_another_request_is_a_mismatch() -> None:
    exchanges: tuple[Exchange, ...] = ((ReadReply(OTHER), REJECTED), (FindRecord(OTHER), None))
    assert Mismatched() == converse(recall(OTHER), *exchanges)


@pytest.mark.parametrize(
    ("outcome", "refused"),
    [
        (
            Mismatched(),
            Refused(
                Code.IDEMPOTENCY_KEY_REUSED,
                "This Idempotency-Key came with another method, path or body before.",
            ),
        ),
        (
            Expired("pay_1"),
            Refused(
                Code.IDEMPOTENCY_KEY_EXPIRED,
                "This Idempotency-Key made pay_1; the reply is no longer kept.",
                members=(("payment_id", "pay_1"),),
            ),
        ),
    ],
)
def test_a_claim_that_cannot_be_replayed_is_refused_with_its_reason(
    outcome: Mismatched | Expired, refused: Refused
) -> None:
    assert refused == refusal(outcome)
