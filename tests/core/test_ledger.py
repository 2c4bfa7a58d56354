"""Laws of the ledger: whatever is posted balances, because nothing else can be written."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.ids import IdKind, encode, is_id
from fluxpay.core.ledger import (
    Account,
    AccountKind,
    Direction,
    Transfer,
    TransferKind,
    account,
    capture,
    entries,
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
