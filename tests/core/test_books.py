"""The books as they are read: signs of balances, and pages of a statement that grows meanwhile."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.books import (
    SIDE,
    AccountBalance,
    Balance,
    OpenAccount,
    Place,
    Statement,
    StatementLine,
    StatementPage,
    Totals,
    balance,
    read_balance,
    read_statement,
)
from fluxpay.core.effects import FindAccount, ReadStatement, ReadTotals
from fluxpay.core.ids import IdKind, encode
from fluxpay.core.ledger import AccountKind, TransferKind, account, capture, entries
from tests.core.conversation import converse
from tests.core.examples import EUROS, NOW, TENANT_ID

MERCHANT = account(TENANT_ID, AccountKind.MERCHANT, "EUR")
OPENED = OpenAccount(MERCHANT, no_overdraft=False, created_at=NOW)
FIND = FindAccount(TENANT_ID, MERCHANT.id)
sums = st.integers(min_value=0, max_value=2**80)
totals = st.builds(Totals, sums, sums, sums, sums)


def transfer_id(number: int) -> str:
    return encode(IdKind.TRANSFER, number)


def line(number: int, *, seq: int | None = None) -> StatementLine:
    """The merchant's entry of the capture with this number."""
    moment = NOW + timedelta(seconds=number)
    _, credit = entries(capture(transfer_id(number), TENANT_ID, money=EUROS, now=moment))
    running = Totals(posted_credit_minor=number * EUROS.amount_minor)
    return StatementLine(credit, transfer_id(number), None, TransferKind.CAPTURE, running, seq)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (AccountKind.MERCHANT, Balance(posted_minor=70, pending_minor=-4)),
        (AccountKind.RESERVE, Balance(posted_minor=70, pending_minor=-4)),
        (AccountKind.PAYOUT, Balance(posted_minor=70, pending_minor=-4)),
        (AccountKind.PLATFORM, Balance(posted_minor=-70, pending_minor=4)),
    ],
)
def test_a_balance_is_what_the_normal_side_has_more_than_the_other(
    kind: AccountKind, expected: Balance
) -> None:
    assert expected == balance(Totals(30, 100, 9, 5), kind)


def test_every_kind_of_account_has_a_normal_side() -> None:
    assert set(AccountKind) == set(SIDE)


@pytest.mark.parametrize(("pending_minor", "available_minor"), [(5, 100), (0, 100), (-5, 95)])
def test_pending_money_is_available_only_where_it_is_missing(
    pending_minor: int, available_minor: int
) -> None:
    assert available_minor == Balance(100, pending_minor).available_minor


@given(one=totals, kind=st.sampled_from(AccountKind))
def test_the_two_sides_of_the_same_bookings_have_opposite_balances(
    one: Totals, kind: AccountKind
) -> None:
    mirrored = Totals(
        one.posted_credit_minor,
        one.posted_debit_minor,
        one.pending_credit_minor,
        one.pending_debit_minor,
    )
    there, back = balance(one, kind), balance(mirrored, kind)
    assert (there.posted_minor, there.pending_minor) == (-back.posted_minor, -back.pending_minor)


def test_a_balance_is_read_from_the_totals_at_the_instant() -> None:
    found = converse(
        read_balance(TENANT_ID, MERCHANT.id, at=NOW),
        (FIND, OPENED),
        (ReadTotals(TENANT_ID, (MERCHANT.id,), NOW), {MERCHANT.id: Totals(1, 8, 2, 2)}),
    )
    assert AccountBalance(MERCHANT, Balance(posted_minor=7, pending_minor=0)) == found


def test_an_account_without_entries_holds_nothing() -> None:
    found = converse(
        read_balance(TENANT_ID, MERCHANT.id, at=None),
        (FIND, OPENED),
        (ReadTotals(TENANT_ID, (MERCHANT.id,), None), {}),
    )
    assert AccountBalance(MERCHANT, Balance(posted_minor=0, pending_minor=0)) == found


def test_no_totals_are_asked_of_an_account_that_is_not_there() -> None:
    assert converse(read_balance(TENANT_ID, MERCHANT.id, at=None), (FIND, None)) is None


def page(lines: list[StatementLine], *, after: Place, limit: int) -> StatementPage | None:
    """The page that comes of these lines."""
    return converse(
        read_statement(TENANT_ID, MERCHANT.id, after=after, limit=limit),
        (
            ReadStatement(TENANT_ID, MERCHANT.id, after, limit + 1),
            Statement(MERCHANT, tuple(lines)),
        ),
    )


def test_a_full_page_is_followed_by_what_comes_after_its_last_entry() -> None:
    lines = [line(1, seq=4), line(2, seq=5), line(3, seq=6)]
    expected = StatementPage(Statement(MERCHANT, tuple(lines[:2])), Place(5), Place(5))
    assert expected == page(lines, after=Place(3), limit=2)


def test_the_last_page_still_tells_where_to_read_on_later() -> None:
    lines = [line(1, seq=4), line(2, seq=5), line(3)]
    expected = StatementPage(Statement(MERCHANT, tuple(lines)), None, Place(5))
    assert expected == page(lines, after=Place(3), limit=3)


def test_a_page_that_ends_among_entries_without_a_place_goes_on_there_and_resumes_before() -> None:
    lines = [line(1, seq=4), line(2), line(3)]
    expected = StatementPage(
        Statement(MERCHANT, tuple(lines[:2])), Place(4, transfer_id(2)), Place(4)
    )
    assert expected == page(lines, after=Place(3), limit=2)


def test_a_page_of_entries_without_a_place_moves_no_later_reading_on() -> None:
    lines = [line(2), line(3)]
    after = Place(4, transfer_id(1))
    expected = StatementPage(Statement(MERCHANT, (lines[0],)), Place(4, transfer_id(2)), Place(4))
    assert expected == page(lines, after=after, limit=1)


def test_an_empty_page_resumes_where_it_began() -> None:
    expected = StatementPage(Statement(MERCHANT, ()), None, Place(7))
    assert expected == page([], after=Place(7, transfer_id(1)), limit=1)


def test_a_statement_of_an_account_that_is_not_there_is_none() -> None:
    step = read_statement(TENANT_ID, MERCHANT.id, after=Place(), limit=1)
    assert converse(step, (ReadStatement(TENANT_ID, MERCHANT.id, Place(), 2), None)) is None


@given(
    final=st.integers(min_value=0, max_value=8),
    others=st.integers(min_value=0, max_value=8),
    limit=st.integers(min_value=1, max_value=5),
)
def test_a_walk_shows_every_entry_once_while_nothing_gets_its_place(
    final: int, others: int, limit: int
) -> None:
    everything = [line(number, seq=number) for number in range(1, final + 1)]
    everything += [line(number) for number in range(final + 1, final + others + 1)]

    def from_place(after: Place) -> list[StatementLine]:
        """What a store answers with: sealed entries by number, the others by instant."""
        rest = [one for one in everything if one.seq is None or one.seq > after.seq]
        ids = [one.transfer_id for one in rest]
        if rest and rest[0].seq is None and after.transfer_id in ids:
            return rest[ids.index(after.transfer_id) + 1 :]
        return rest

    shown: list[StatementLine] = []
    place: Place | None = Place()
    while place is not None:
        found = page(from_place(place)[: limit + 1], after=place, limit=limit)
        assert found is not None
        shown += found.statement.lines
        place = found.following
    assert everything == shown


def test_the_direction_of_a_normal_side_is_the_side_of_an_entry_that_adds() -> None:
    debit, credit = entries(capture(transfer_id(1), TENANT_ID, money=EUROS, now=NOW))
    directions = {AccountKind.PLATFORM: debit.direction, AccountKind.MERCHANT: credit.direction}
    assert directions == {kind: SIDE[kind] for kind in directions}
