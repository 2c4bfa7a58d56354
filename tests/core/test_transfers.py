"""Transfers between a tenant's own accounts: the rule, its order of refusals, and the steps."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.books import SIDE, OpenAccount, Totals, balance
from fluxpay.core.effects import PostTransfer, PutAccount, SetNoOverdraft
from fluxpay.core.events import EventType
from fluxpay.core.idempotency import (
    Expired,
    Mismatched,
    Replayed,
    Settled,
    StoredReply,
    refusal,
)
from fluxpay.core.ids import suffix
from fluxpay.core.ledger import AccountKind, Direction, TransferKind, account, entries
from fluxpay.core.money import Money
from fluxpay.core.payment_changes import Changed
from fluxpay.core.problems import Code, FieldError, Refused
from fluxpay.core.transfers import (
    NO_SUCH_ACCOUNT,
    TransferPosting,
    TransferRequest,
    account_document,
    document,
    open_account,
    opened,
    post,
    post_transfer,
    ruled,
    set_no_overdraft,
)
from tests.core.conversation import converse
from tests.core.examples import EUROS, NOW, TENANT_ID, UUID, claim

CLAIM = claim()
SHOWN_NOW = "2026-03-01T12:30:15.123Z"


def an_account(
    kind: AccountKind = AccountKind.MERCHANT, *, no_overdraft: bool = False, currency: str = "EUR"
) -> OpenAccount:
    moment = NOW.replace(microsecond=123_000)
    return OpenAccount(account(TENANT_ID, kind, currency), no_overdraft, moment)


MERCHANT, RESERVE = an_account(), an_account(AccountKind.RESERVE)
PLATFORM = an_account(AccountKind.PLATFORM)


def asking(debit: OpenAccount, credit: OpenAccount, money: Money = EUROS) -> TransferRequest:
    return TransferRequest(debit.account.id, credit.account.id, money, "Week 9")


def deciding(
    request: TransferRequest, *accounts: OpenAccount, totals: dict[str, Totals] | None = None
) -> TransferPosting | Refused:
    known = {one.account.id: one for one in accounts}
    return post(request, accounts=known, totals=totals or {}, uuid=UUID, now=NOW)


def holding(amount_minor: int, of: OpenAccount, *, pending_minor: int = 0) -> dict[str, Totals]:
    """Totals with which an account has this balance."""
    if SIDE[of.account.kind] is Direction.CREDIT:
        totals = Totals(posted_credit_minor=amount_minor, pending_credit_minor=pending_minor)
    else:
        totals = Totals(posted_debit_minor=amount_minor, pending_debit_minor=pending_minor)
    return {of.account.id: totals}


def test_a_transfer_debits_one_account_and_credits_the_other() -> None:
    posting = deciding(asking(MERCHANT, RESERVE), MERCHANT, RESERVE)
    assert isinstance(posting, TransferPosting)
    transfer = posting.booked.transfer
    sides = [(side.account_id, side.direction, side.money) for side in entries(transfer)]
    expected = [
        (MERCHANT.account.id, Direction.DEBIT, EUROS),
        (RESERVE.account.id, Direction.CREDIT, EUROS),
    ]
    assert expected == sides
    assert (TransferKind.TRANSFER, "Week 9", None) == (
        transfer.kind,
        posting.booked.description,
        posting.booked.payment_id,
    )


def test_reply_and_event_of_a_transfer_carry_the_same_document() -> None:
    posting = deciding(asking(MERCHANT, RESERVE), MERCHANT, RESERVE)
    assert isinstance(posting, TransferPosting)
    transfer_id = f"trf_{suffix(UUID)}"
    expected = {
        "id": transfer_id,
        "object": "transfer",
        "kind": "transfer",
        "debit_account_id": MERCHANT.account.id,
        "credit_account_id": RESERVE.account.id,
        "amount": 1250,
        "currency": "EUR",
        "description": "Week 9",
        "payment_id": None,
        "layer": "posted",
        "reverses": None,
        "created_at": SHOWN_NOW,
    }
    reply = posting.reply(CLAIM)
    assert expected == document(posting.booked) == json.loads(posting.event.data)
    assert StoredReply(
        CLAIM.fingerprint, 201, posting.event.data, f"/v1/transfers/{transfer_id}"
    ) == (reply)
    assert (f"evt_{suffix(UUID)}", EventType.TRANSFER_CREATED, transfer_id) == (
        posting.event.id,
        posting.event.type,
        posting.event.subject_id,
    )


def test_every_account_that_is_not_the_tenants_is_named() -> None:
    request = asking(MERCHANT, RESERVE)
    at_debit, at_credit = (
        FieldError(f"#/{side}_account_id", "Is no account.") for side in ("debit", "credit")
    )
    found = [deciding(request, *known) for known in ((), (RESERVE,), (MERCHANT,))]
    expected = [
        Refused(Code.VALIDATION_FAILED, "2 fields are not valid.", errors=(at_debit, at_credit)),
        Refused(Code.VALIDATION_FAILED, "1 field is not valid.", errors=(at_debit,)),
        Refused(Code.VALIDATION_FAILED, "1 field is not valid.", errors=(at_credit,)),
    ]
    assert expected == found


def test_the_currency_has_to_be_that_of_both_accounts() -> None:
    yen = an_account(AccountKind.RESERVE, currency="JPY")
    found = [
        deciding(asking(MERCHANT, yen), MERCHANT, yen),
        deciding(asking(yen, MERCHANT), MERCHANT, yen),
        deciding(asking(MERCHANT, RESERVE, Money(1, "JPY")), MERCHANT, RESERVE),
    ]
    expected = [
        ["Must be JPY, as the credited account's."],
        ["Must be JPY, as the debited account's."],
        ["Must be EUR, as the debited account's.", "Must be EUR, as the credited account's."],
    ]
    assert expected == [
        [error.detail for error in one.errors] for one in found if isinstance(one, Refused)
    ]


@pytest.mark.parametrize(
    ("debit", "credit", "emptied"),
    [
        pytest.param(
            an_account(no_overdraft=True), RESERVE, "debit", id="a credit-normal one is debited"
        ),
        pytest.param(
            RESERVE,
            an_account(AccountKind.PLATFORM, no_overdraft=True),
            "credit",
            id="a debit-normal one is credited",
        ),
    ],
)
def test_an_account_with_the_rule_gives_all_that_is_available_and_no_more(
    debit: OpenAccount, credit: OpenAccount, emptied: str
) -> None:
    ruled_one = debit if emptied == "debit" else credit
    decided = [
        deciding(asking(debit, credit), debit, credit, totals=holding(had, ruled_one))
        for had in (1250, 1249, 0, -5)
    ]
    expected = [
        Refused(
            Code.INSUFFICIENT_FUNDS,
            f"At most {most} minor units can be taken out of {ruled_one.account.id}.",
            members=(("account_id", ruled_one.account.id), ("available", available)),
        )
        for most, available in ((1249, 1249), (0, 0), (0, -5))
    ]
    assert isinstance(decided[0], TransferPosting)
    assert expected == decided[1:]


def test_an_account_with_the_rule_that_nothing_was_booked_on_has_nothing_to_give() -> None:
    debit = an_account(no_overdraft=True)
    refused = deciding(asking(debit, RESERVE), debit, RESERVE)
    assert isinstance(refused, Refused)
    assert ("available", 0) in refused.members


def test_money_that_is_set_aside_to_go_out_is_not_available_and_to_come_in_neither() -> None:
    debit = an_account(no_overdraft=True)
    going = deciding(
        asking(debit, RESERVE), debit, RESERVE, totals=holding(1300, debit, pending_minor=-51)
    )
    coming = deciding(
        asking(debit, RESERVE), debit, RESERVE, totals=holding(1249, debit, pending_minor=51)
    )
    found = [dict(one.members)["available"] for one in (going, coming) if isinstance(one, Refused)]
    assert [1249, 1249] == found


@pytest.mark.parametrize(
    ("debit", "credit"),
    [
        pytest.param(RESERVE, an_account(no_overdraft=True), id="a credit-normal one is credited"),
        pytest.param(
            an_account(AccountKind.PLATFORM, no_overdraft=True),
            RESERVE,
            id="a debit-normal one is debited",
        ),
        pytest.param(RESERVE, PLATFORM, id="neither has the rule"),
    ],
)
def test_putting_money_into_an_account_is_never_held_up(
    debit: OpenAccount, credit: OpenAccount
) -> None:
    assert isinstance(deciding(asking(debit, credit), debit, credit), TransferPosting)


def test_refusals_come_in_the_order_that_is_promised() -> None:
    debit = an_account(no_overdraft=True)
    credit = an_account(AccountKind.PLATFORM, no_overdraft=True)
    yen = Money(1, "JPY")
    decided = [
        deciding(asking(debit, debit, yen)),
        deciding(asking(debit, credit, yen), debit),
        deciding(asking(debit, credit, yen), debit, credit),
        deciding(asking(debit, credit), debit, credit),
        deciding(asking(debit, credit), debit, credit, totals=holding(1250, debit)),
    ]
    found = [
        (one.code, [error.pointer for error in one.errors], dict(one.members).get("account_id"))
        for one in decided
        if isinstance(one, Refused)
    ]
    expected: list[tuple[Code, list[str], str | None]] = [
        (Code.VALIDATION_FAILED, ["#/credit_account_id"], None),
        (Code.VALIDATION_FAILED, ["#/credit_account_id"], None),
        (Code.VALIDATION_FAILED, ["#/currency", "#/currency"], None),
        (Code.INSUFFICIENT_FUNDS, [], debit.account.id),
        (Code.INSUFFICIENT_FUNDS, [], credit.account.id),
    ]
    assert expected == found


@given(
    kinds=st.lists(st.sampled_from(AccountKind), min_size=2, max_size=2, unique=True),
    has_rule=st.tuples(st.booleans(), st.booleans()),
    sums=st.lists(st.integers(0, 3000), min_size=8, max_size=8),
    amount_minor=st.integers(1, 3000),
)
def test_no_transfer_that_is_let_pass_leaves_less_than_nothing_where_the_rule_is(
    kinds: list[AccountKind], has_rule: tuple[bool, bool], sums: list[int], amount_minor: int
) -> None:
    debit, credit = (
        an_account(kind, no_overdraft=rule) for kind, rule in zip(kinds, has_rule, strict=True)
    )
    totals = {debit.account.id: Totals(*sums[:4]), credit.account.id: Totals(*sums[4:])}
    request = asking(debit, credit, Money(amount_minor, "EUR"))
    decided = deciding(request, debit, credit, totals=totals)
    before_debit, before_credit = totals[debit.account.id], totals[credit.account.id]
    moves = [
        (debit, before_debit, _plus(before_debit, debit_minor=amount_minor)),
        (credit, before_credit, _plus(before_credit, credit_minor=amount_minor)),
    ]
    is_overdrawn = any(
        side.no_overdraft
        and balance(after, side.account.kind).available_minor < 0
        and balance(after, side.account.kind).available_minor
        < balance(before, side.account.kind).available_minor
        for side, before, after in moves
    )
    assert is_overdrawn == isinstance(decided, Refused)


def _plus(totals: Totals, *, debit_minor: int = 0, credit_minor: int = 0) -> Totals:
    return replace(
        totals,
        posted_debit_minor=totals.posted_debit_minor + debit_minor,
        posted_credit_minor=totals.posted_credit_minor + credit_minor,
    )


def test_a_transfer_is_asked_for_once_and_answered_as_it_was_settled() -> None:
    request = asking(MERCHANT, RESERVE)
    reply = StoredReply(CLAIM.fingerprint, 201, b"{}", "/v1/transfers/trf_1")
    poor = Refused(Code.INSUFFICIENT_FUNDS, "Too little.")
    outcomes = (Changed(reply), Replayed(reply), Mismatched(), Expired("pay_1"), poor)
    decided = [
        converse(
            post_transfer(request, claim=CLAIM, uuid=UUID, now=NOW),
            (PostTransfer(request, CLAIM, UUID, NOW), outcome),
        )
        for outcome in outcomes
    ]
    expected = [
        Settled(reply, replayed=False),
        Settled(reply, replayed=True),
        refusal(Mismatched()),
        refusal(Expired("pay_1")),
        poor,
    ]
    assert expected == decided


@pytest.mark.parametrize("no_overdraft", [True, False, None])
def test_an_account_is_asked_for_by_what_it_is(no_overdraft: bool | None) -> None:
    reply = StoredReply(CLAIM.fingerprint, 201, b"{}")
    step = open_account(AccountKind.RESERVE, "EUR", no_overdraft=no_overdraft, claim=CLAIM, now=NOW)
    effect = PutAccount(RESERVE.account, no_overdraft, CLAIM, NOW)
    assert Settled(reply, replayed=False) == converse(step, (effect, Changed(reply)))


def test_the_rule_of_an_account_that_is_not_there_cannot_be_set() -> None:
    reply = StoredReply(CLAIM.fingerprint, 200, b"{}")
    effect = SetNoOverdraft("acc_1", True, CLAIM, NOW)
    decided = [
        converse(
            set_no_overdraft("acc_1", no_overdraft=True, claim=CLAIM, now=NOW), (effect, outcome)
        )
        for outcome in (None, Replayed(reply))
    ]
    assert [NO_SUCH_ACCOUNT, Settled(reply, replayed=True)] == decided


def test_an_account_is_opened_without_the_rule_unless_it_is_wanted() -> None:
    found = [
        opened(RESERVE.account, None, no_overdraft=wanted, now=NOW).after
        for wanted in (None, False, True)
    ]
    assert [RESERVE, RESERVE, replace(RESERVE, no_overdraft=True)] == found


def test_an_account_that_is_open_keeps_its_age_and_its_rule_unless_another_is_wanted() -> None:
    older = replace(RESERVE, no_overdraft=True, created_at=NOW.replace(year=2020))
    found = [
        opened(RESERVE.account, older, no_overdraft=wanted, now=NOW).after
        for wanted in (None, True, False)
    ]
    assert [older, older, replace(older, no_overdraft=False)] == found


def test_an_opened_account_is_answered_with_its_place_and_a_ruled_one_without() -> None:
    ruled_one = replace(RESERVE, no_overdraft=True)
    change = opened(RESERVE.account, None, no_overdraft=True, now=NOW)
    body = {
        "id": RESERVE.account.id,
        "object": "account",
        "kind": "reserve",
        "currency": "EUR",
        "normal_side": "credit",
        "no_overdraft": True,
        "created_at": SHOWN_NOW,
    }
    assert body == account_document(ruled_one) == json.loads(change.reply(CLAIM).body)
    place = f"/v1/accounts/{RESERVE.account.id}"
    assert (201, place) == (change.reply(CLAIM).status, change.reply(CLAIM).location)
    switched = ruled(RESERVE, no_overdraft=True)
    assert ruled_one == switched.after
    assert (200, None) == (switched.reply(CLAIM).status, switched.reply(CLAIM).location)
    assert account_document(PLATFORM)["normal_side"] == "debit"
