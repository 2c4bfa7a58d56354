"""Laws of the ledger: whatever is posted balances, because nothing else can be written."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.ids import IdKind, encode, is_id
from fluxpay.core.ledger import (
    Account,
    AccountKind,
    Direction,
    Layer,
    Transfer,
    TransferKind,
    account,
    authorize,
    capture,
    entries,
    refund,
    release,
)
from fluxpay.core.money import AMOUNT_MINOR_MAX, EXPONENTS, Money
from tests.core.examples import NOW, TENANT_ID, UUID

moneys = st.builds(
    Money,
    st.integers(min_value=1, max_value=AMOUNT_MINOR_MAX),
    st.sampled_from(sorted(EXPONENTS)),
)
tenant_ids = st.integers(min_value=0, max_value=2**128 - 1).map(
    lambda value: encode(IdKind.TENANT, value)
)
TRANSFER_ID = encode(IdKind.TRANSFER, UUID)
REVERSAL_ID = encode(IdKind.TRANSFER, UUID + 1)
OTHER_TENANT_ID = encode(IdKind.TENANT, 7)
SIGNS = {Direction.DEBIT: 1, Direction.CREDIT: -1}


@given(st.lists(st.tuples(tenant_ids, moneys), max_size=20))
def test_the_entries_of_any_transfers_sum_to_zero_in_every_currency(
    captures: list[tuple[str, Money]],
) -> None:
    sums: Counter[tuple[str, str]] = Counter()
    for tenant_id, money in captures:
        for entry in entries(capture(TRANSFER_ID, tenant_id, money=money, now=NOW)):
            sums[tenant_id, entry.money.currency] += (
                SIGNS[entry.direction] * entry.money.amount_minor
            )
    assert [] == [place for place, sum_minor in sums.items() if sum_minor != 0]


@given(tenant_id=tenant_ids, money=moneys)
def test_a_transfer_reads_as_one_debit_and_one_credit_on_two_accounts(
    tenant_id: str, money: Money
) -> None:
    transfer = capture(TRANSFER_ID, tenant_id, money=money, now=NOW)
    debit, credit = entries(transfer)
    assert (Direction.DEBIT, Direction.CREDIT) == (debit.direction, credit.direction)
    assert (transfer.debit.id, transfer.credit.id) == (debit.account_id, credit.account_id)
    assert debit.account_id != credit.account_id
    assert debit.id != credit.id
    assert (money, money, NOW, NOW) == (
        debit.money,
        credit.money,
        debit.created_at,
        credit.created_at,
    )


def test_a_capture_debits_the_platform_and_credits_the_merchant() -> None:
    transfer = capture(TRANSFER_ID, TENANT_ID, money=Money(5, "EUR"), now=NOW)
    assert transfer == Transfer(
        id=TRANSFER_ID,
        kind=TransferKind.CAPTURE,
        debit=account(TENANT_ID, AccountKind.PLATFORM, "EUR"),
        credit=account(TENANT_ID, AccountKind.MERCHANT, "EUR"),
        money=Money(5, "EUR"),
        created_at=NOW,
    )


def test_an_authorization_is_a_capture_that_has_not_moved_yet() -> None:
    pending = authorize(TRANSFER_ID, TENANT_ID, money=Money(5, "EUR"), now=NOW)
    posted = capture(TRANSFER_ID, TENANT_ID, money=Money(5, "EUR"), now=NOW)
    assert pending == replace(posted, kind=TransferKind.AUTHORIZATION)


def test_a_refund_takes_back_a_part_of_a_capture_and_names_it() -> None:
    taken = capture(TRANSFER_ID, TENANT_ID, money=Money(5, "EUR"), now=NOW)
    later = NOW + timedelta(days=1)
    assert refund(taken, REVERSAL_ID, money=Money(3, "EUR"), now=later) == Transfer(
        id=REVERSAL_ID,
        kind=TransferKind.REFUND,
        debit=taken.credit,
        credit=taken.debit,
        money=Money(3, "EUR"),
        created_at=later,
        reverses=TRANSFER_ID,
    )


@pytest.mark.parametrize(
    ("received", "reverse", "layer", "kind"),
    [
        pytest.param(authorize, release, Layer.PENDING, TransferKind.RELEASE, id="pending"),
        pytest.param(capture, refund, Layer.POSTED, TransferKind.REFUND, id="posted"),
    ],
)
@given(money=moneys)
def test_a_reversal_in_full_undoes_a_transfer_in_its_own_layer(
    received: Any, reverse: Any, layer: Layer, kind: TransferKind, money: Money
) -> None:
    first = received(TRANSFER_ID, TENANT_ID, money=money, now=NOW)
    back = reverse(first, REVERSAL_ID, money=money, now=NOW)
    assert (kind, TRANSFER_ID) == (back.kind, back.reverses)
    sums: Counter[str] = Counter()
    for entry in (*entries(first), *entries(back)):
        assert layer is entry.layer
        sums[entry.account_id] += SIGNS[entry.direction] * entry.money.amount_minor
    assert {first.debit.id: 0, first.credit.id: 0} == sums


def test_every_kind_of_transfer_is_in_one_layer() -> None:
    example = capture(TRANSFER_ID, TENANT_ID, money=Money(5, "EUR"), now=NOW)
    layers = {kind: replace(example, kind=kind).layer for kind in TransferKind}
    assert layers == {
        TransferKind.AUTHORIZATION: Layer.PENDING,
        TransferKind.RELEASE: Layer.PENDING,
        TransferKind.CAPTURE: Layer.POSTED,
        TransferKind.REFUND: Layer.POSTED,
        TransferKind.TRANSFER: Layer.POSTED,
    }


@pytest.mark.parametrize(
    ("debit", "credit", "refusal"),
    [
        pytest.param(
            account(TENANT_ID, AccountKind.MERCHANT, "EUR"),
            account(TENANT_ID, AccountKind.MERCHANT, "EUR"),
            "two accounts",
            id="one account on both sides",
        ),
        pytest.param(
            account(TENANT_ID, AccountKind.PLATFORM, "EUR"),
            account(OTHER_TENANT_ID, AccountKind.MERCHANT, "EUR"),
            "leaves its tenant",
            id="another tenant's account",
        ),
        pytest.param(
            account(TENANT_ID, AccountKind.PLATFORM, "EUR"),
            account(TENANT_ID, AccountKind.MERCHANT, "JPY"),
            "one currency",
            id="accounts of two currencies",
        ),
        pytest.param(
            account(TENANT_ID, AccountKind.PLATFORM, "JPY"),
            account(TENANT_ID, AccountKind.MERCHANT, "JPY"),
            "one currency",
            id="money of a third currency",
        ),
    ],
)
def test_a_transfer_that_could_not_balance_cannot_be_made(
    debit: Account, credit: Account, refusal: str
) -> None:
    with pytest.raises(ValueError, match=refusal):
        Transfer(
            id=TRANSFER_ID,
            kind=TransferKind.CAPTURE,
            debit=debit,
            credit=credit,
            money=Money(5, "EUR"),
            created_at=NOW,
        )


places = st.tuples(
    tenant_ids, st.sampled_from(list(AccountKind)), st.sampled_from(["EUR", "USD", "JPY"])
)


@given(first=places, second=places)
def test_two_accounts_have_one_id_only_where_they_are_one(
    first: tuple[str, AccountKind, str], second: tuple[str, AccountKind, str]
) -> None:
    assert (account(*first).id == account(*second).id) is (first == second)


@given(places)
def test_an_account_id_is_a_uuid_of_version_8_that_needs_no_look_up(
    place: tuple[str, AccountKind, str],
) -> None:
    made = account.__wrapped__(*place)
    assert made == account(*place)
    assert is_id(IdKind.ACCOUNT, made.id)
    value = 0
    for character in made.id.removeprefix("acc_"):
        value = value * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(character)
    assert (8, 2) == (value >> 76 & 15, value >> 62 & 3)
