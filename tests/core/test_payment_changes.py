"""`change` on payments and changes that are written out.

What holds for every life of every payment stands in `test_payment_laws`.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from fluxpay.core.events import Event, EventType
from fluxpay.core.ids import suffix
from fluxpay.core.ledger import AccountKind, Transfer, TransferKind, account
from fluxpay.core.money import Money
from fluxpay.core.payment_changes import (
    Change,
    Command,
    OpenTransfer,
    change,
)
from fluxpay.core.payments import (
    Action,
    CaptureMode,
    Payment,
    Refund,
    Status,
    document,
    encode,
    refund_document,
)
from fluxpay.core.problems import Code, FieldError, Refused
from tests.core.examples import NOW, TENANT_ID, UUID
from tests.core.lives import (
    BETWEEN_UUIDS,
    EXPIRE,
    VOID,
    Books,
    after,
    ask,
    born,
    capture,
    refund,
)

UUID_2 = UUID + 7 * BETWEEN_UUIDS
SHOWN = NOW.replace(microsecond=123000)
EXPIRES = SHOWN + timedelta(days=7)
MILLISECOND = timedelta(milliseconds=1)
PLATFORM = account(TENANT_ID, AccountKind.PLATFORM, "EUR")
MERCHANT = account(TENANT_ID, AccountKind.MERCHANT, "EUR")
RECEIVED = frozenset({TransferKind.AUTHORIZATION, TransferKind.CAPTURE})
AUTHORIZATION_ID = f"trf_{suffix(UUID)}"


def allowed(books: Books, command: Command, *, now: datetime = NOW) -> Change:
    """What the command changes."""
    decided = ask(books, command, uuid=UUID_2, now=now).decided
    assert isinstance(decided, Change)
    return decided


def refused(books: Books, command: Command, *, now: datetime = NOW) -> Refused:
    """Why the command is refused."""
    decided = ask(books, command, uuid=UUID_2, now=now).decided
    assert isinstance(decided, Refused)
    return decided


def moved(
    kind: TransferKind, amount_minor: int, *, number: int = 0, reverses: str | None = None
) -> Transfer:
    """A transfer of a change, written out independently."""
    is_received = kind in RECEIVED
    return Transfer(
        id=f"trf_{suffix(UUID_2 + number)}",
        kind=kind,
        debit=PLATFORM if is_received else MERCHANT,
        credit=MERCHANT if is_received else PLATFORM,
        money=Money(amount_minor, "EUR"),
        created_at=SHOWN,
        reverses=reverses,
    )


def amounts(payment: Payment) -> tuple[Status, int, int, bool]:
    """Status, captured, refunded, and whether an authorization is open."""
    return (
        payment.status,
        payment.amount_captured_minor,
        payment.amount_refunded_minor,
        payment.expires_at is not None,
    )


# ---- what each command does ---------------------------------------------------------------------


def test_a_capture_in_full_takes_the_money_and_releases_the_authorization() -> None:
    decided = allowed(born(1000), capture())
    payment = replace(
        born(1000).payment,
        status=Status.CAPTURED,
        amount_captured_minor=1000,
        expires_at=None,
    )
    body = encode(document(payment))
    assert decided == Change(
        payment=payment,
        transfers=(
            moved(TransferKind.CAPTURE, 1000),
            moved(TransferKind.RELEASE, 1000, number=1, reverses=AUTHORIZATION_ID),
        ),
        event=Event(f"evt_{suffix(UUID_2)}", EventType.PAYMENT_CAPTURED, payment.id, body, SHOWN),
        status=200,
        body=body,
    )


def test_a_capture_in_part_releases_that_part_and_leaves_the_rest_open() -> None:
    decided = allowed(born(1000), capture(300))
    assert (Status.PARTIALLY_CAPTURED, 300, 0, True) == amounts(decided.payment)
    assert EXPIRES == decided.payment.expires_at
    assert 700 == decided.payment.amount_open_minor
    assert decided.transfers == (
        moved(TransferKind.CAPTURE, 300),
        moved(TransferKind.RELEASE, 300, number=1, reverses=AUTHORIZATION_ID),
    )


def test_captures_in_parts_end_exactly_at_what_was_authorized() -> None:
    books = after(born(1000), capture(300), capture(300))
    assert (Status.CAPTURED, 1000, 0, False) == amounts(allowed(books, capture(400)).payment)
    assert (Status.CAPTURED, 1000, 0, False) == amounts(allowed(books, capture()).payment)


@pytest.mark.parametrize(
    ("command", "now", "status", "event_type"),
    [
        pytest.param(VOID, NOW, Status.VOIDED, EventType.PAYMENT_VOIDED, id="void"),
        pytest.param(EXPIRE, EXPIRES, Status.EXPIRED, EventType.PAYMENT_EXPIRED, id="expiry"),
    ],
)
def test_a_release_of_all_gives_back_the_whole_authorization(
    command: Command, now: datetime, status: Status, event_type: EventType
) -> None:
    decided = allowed(born(1000), command, now=now)
    assert (status, 0, 0, False) == amounts(decided.payment)
    released = moved(TransferKind.RELEASE, 1000, reverses=AUTHORIZATION_ID)
    assert (replace(released, created_at=now.replace(microsecond=123000)),) == decided.transfers
    assert event_type is decided.event.type
    assert (200, document(decided.payment)) == (decided.status, json.loads(decided.body))


@pytest.mark.parametrize(
    ("command", "now"), [(VOID, NOW), (EXPIRE, EXPIRES)], ids=["void", "expiry"]
)
def test_a_release_of_the_rest_leaves_what_was_captured(command: Command, now: datetime) -> None:
    decided = allowed(after(born(1000), capture(300)), command, now=now)
    assert (Status.CAPTURED, 300, 0, False) == amounts(decided.payment)
    assert [700] == [one.money.amount_minor for one in decided.transfers]
    assert 300 == decided.payment.amount_refundable_minor


@pytest.mark.parametrize(
    ("given", "status"),
    [
        pytest.param(refund(100), Status.PARTIALLY_REFUNDED, id="a part was refunded"),
        pytest.param(refund(300), Status.REFUNDED, id="all that was captured was refunded"),
    ],
)
def test_a_release_after_a_refund_tells_whether_anything_is_left(
    given: Command, status: Status
) -> None:
    books = after(born(1000), capture(300), given)
    assert Status.PARTIALLY_REFUNDED is books.payment.status
    for command, now in ((VOID, NOW), (EXPIRE, EXPIRES)):
        assert status is allowed(books, command, now=now).payment.status


def test_a_refund_in_full_reverses_the_capture_and_says_why() -> None:
    books = born(1000, capture=CaptureMode.AUTOMATIC)
    decided = allowed(books, refund(reason="Stale beans"))
    given = Refund(
        id=f"re_{suffix(UUID_2)}",
        payment_id=books.payment.id,
        money=Money(1000, "EUR"),
        reason="Stale beans",
        created_at=SHOWN,
    )
    body = encode(refund_document(given))
    assert decided == Change(
        payment=replace(books.payment, status=Status.REFUNDED, amount_refunded_minor=1000),
        transfers=(moved(TransferKind.REFUND, 1000, reverses=AUTHORIZATION_ID),),
        event=Event(f"evt_{suffix(UUID_2)}", EventType.REFUND_CREATED, given.id, body, SHOWN),
        status=201,
        body=body,
        refund=given,
    )


def test_a_refund_over_several_captures_splits_the_oldest_first() -> None:
    books = after(born(1000), capture(300), capture(200), capture(500), refund(100))
    ids = [one.id for one in books.transfers if one.kind is TransferKind.CAPTURE]
    decided = allowed(books, refund(450))
    assert decided.transfers == (
        moved(TransferKind.REFUND, 200, reverses=ids[0]),
        moved(TransferKind.REFUND, 200, number=1, reverses=ids[1]),
        moved(TransferKind.REFUND, 50, number=2, reverses=ids[2]),
    )
    assert (Status.PARTIALLY_REFUNDED, 1000, 550, False) == amounts(decided.payment)


def test_what_was_refunded_does_not_come_back_to_be_captured() -> None:
    books = after(born(1000), capture(300), refund(300))
    assert (Status.PARTIALLY_REFUNDED, 300, 300, True) == amounts(books.payment)
    decided = allowed(books, capture())
    assert (Status.PARTIALLY_REFUNDED, 1000, 300, False) == amounts(decided.payment)


# ---- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("books", "command", "now", "status", "taken"),
    [
        pytest.param(
            born(), refund(), NOW, "authorized", ("capture", "void"), id="nothing to refund"
        ),
        pytest.param(
            after(born(), capture()), VOID, NOW, "captured", ("refund",), id="nothing to void"
        ),
        pytest.param(
            after(born(), capture()), capture(), NOW, "captured", ("refund",), id="all is captured"
        ),
        pytest.param(after(born(), VOID), capture(), NOW, "voided", (), id="voided"),
        pytest.param(
            after(born(), capture(), refund()), refund(1), NOW, "refunded", (), id="refunded"
        ),
        pytest.param(born(), EXPIRE, NOW, "authorized", ("capture", "void"), id="it has time left"),
        pytest.param(
            born(), capture(), EXPIRES, "authorized", ("void",), id="its time is over, unexpired"
        ),
        pytest.param(
            after(born(), capture(1), VOID, refund(1)), VOID, EXPIRES, "refunded", (), id="all over"
        ),
    ],
)
def test_what_a_state_does_not_take_is_refused_with_what_it_takes(
    books: Books, command: Command, now: datetime, status: str, taken: tuple[str, ...]
) -> None:
    told = ", ".join(taken) or "nothing"
    assert refused(books, command, now=now) == Refused(
        Code.INVALID_TRANSITION,
        f"A payment that is {status} does not take {command.action}; it takes {told}.",
        members=(("payment_status", status), ("allowed", taken)),
    )


@pytest.mark.parametrize(
    ("books", "command", "left_minor", "left"),
    [
        pytest.param(born(1000), capture(1001), 1000, "10.00 EUR", id="capture"),
        pytest.param(
            after(born(1000), capture(300)), capture(701), 700, "7.00 EUR", id="another capture"
        ),
        pytest.param(after(born(1000), capture(300)), refund(301), 300, "3.00 EUR", id="refund"),
        pytest.param(
            after(born(1000), capture(300), refund(299)), refund(2), 1, "0.01 EUR", id="last cent"
        ),
    ],
)
def test_more_than_what_is_left_is_refused_with_the_limit(
    books: Books, command: Command, left_minor: int, left: str
) -> None:
    assert refused(books, command) == Refused(
        Code.AMOUNT_TOO_LARGE,
        f"At most {left} are left to {command.action}.",
        errors=(FieldError("#/amount", f"Must be at most {left_minor}."),),
        members=(("limit", left_minor),),
    )


def test_a_wrong_state_is_told_before_a_wrong_amount() -> None:
    assert Code.INVALID_TRANSITION is refused(born(1000), refund(5000)).code


@pytest.mark.parametrize("action", [Action.VOID, Action.EXPIRE], ids=str)
def test_a_release_of_a_part_cannot_be_asked_for(action: Action) -> None:
    with pytest.raises(ValueError, match="releases all that is left"):
        Command(action, amount_minor=1)


def test_a_capture_or_refund_of_nothing_or_less_cannot_be_made() -> None:
    books = after(born(1000), capture(300))
    for command in (capture(0), refund(0), capture(-1), refund(-1)):
        with pytest.raises(ValueError, match="an amount lies between"):
            ask(books, command, uuid=UUID_2, now=NOW)


def shifted(open_transfers: Iterable[OpenTransfer], by_minor: int) -> tuple[OpenTransfer, ...]:
    return tuple(replace(one, left_minor=one.left_minor + by_minor) for one in open_transfers)


@pytest.mark.parametrize("by_minor", [-1, 1], ids=["less", "more"])
@pytest.mark.parametrize(
    ("command", "now"),
    [(capture(1), NOW), (refund(1), NOW), (VOID, NOW), (EXPIRE, EXPIRES)],
    ids=["capture", "refund", "void", "expire"],
)
def test_a_payment_that_its_transfers_contradict_is_never_written_on(
    command: Command, now: datetime, by_minor: int
) -> None:
    books = after(born(1000), capture(300))
    sound = books.open_transfers
    authorization, captured = sound
    broken = [
        shifted(sound, by_minor),
        (*shifted([authorization], by_minor), captured),
        (authorization, *shifted([captured], by_minor)),
        (authorization,),
        (),
    ]
    for open_transfers in broken:
        with pytest.raises(ValueError, match=rf"{books.payment.id}.*disagree"):
            change(books.payment, command, open_transfers=open_transfers, uuid=UUID_2, now=now)


# ---- time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "made_at"),
    [
        pytest.param("Europe/Berlin", "2026-03-25T12:00:00", id="Berlin springs forward"),
        pytest.param("Europe/Berlin", "2026-10-20T02:30:00", id="Berlin falls back"),
        pytest.param("America/New_York", "2026-03-07T02:30:00", id="New York springs forward"),
        pytest.param("America/New_York", "2026-10-31T23:59:59", id="New York falls back"),
        pytest.param("Pacific/Auckland", "2026-04-01T00:00:00", id="Auckland falls back"),
        pytest.param("Pacific/Auckland", "2026-09-22T02:59:59", id="Auckland springs forward"),
        pytest.param("Australia/Lord_Howe", "2026-10-03T02:10:00", id="Lord Howe, half an hour"),
    ],
)
def test_an_authorization_lasts_168_hours_whatever_the_clocks_on_the_wall_do(
    zone: str, made_at: str
) -> None:
    local = datetime.fromisoformat(made_at).replace(tzinfo=ZoneInfo(zone))
    made = local.astimezone(NOW.tzinfo)
    expires = made + timedelta(hours=168)
    # The clocks change within these days, or the example proves nothing.
    assert local.utcoffset() != expires.astimezone(ZoneInfo(zone)).utcoffset()
    books = born(1000, now=made)
    assert expires == books.payment.expires_at
    assert Code.INVALID_TRANSITION is refused(books, EXPIRE, now=expires - MILLISECOND).code
    assert Status.CAPTURED is allowed(books, capture(), now=expires - MILLISECOND).payment.status
    assert Status.EXPIRED is allowed(books, EXPIRE, now=expires).payment.status
    assert Code.INVALID_TRANSITION is refused(books, capture(), now=expires).code


def test_what_was_captured_is_refunded_after_the_authorization_is_over() -> None:
    books = after(born(1000), capture(300))
    payment = allowed(books, refund(), now=EXPIRES + timedelta(days=400)).payment
    assert (Status.PARTIALLY_REFUNDED, 300, 300, True) == amounts(payment)
