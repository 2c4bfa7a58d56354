"""The contract of reading the books: accounts, totals at an instant, statements, the trial."""

from datetime import timedelta

from fluxpay.core.books import (
    AccountFilter,
    OpenAccount,
    Place,
    Statement,
    StatementLine,
    Totals,
    TrialLine,
)
from fluxpay.core.effects import (
    FindAccount,
    ListAccounts,
    PostPayment,
    ReadStatement,
    ReadTotals,
    ReadTrialBalance,
)
from fluxpay.core.idempotency import Posted
from fluxpay.core.ids import IdKind
from fluxpay.core.ledger import Account, AccountKind, account, entries
from fluxpay.core.money import Money
from fluxpay.core.payment_creation import Posting
from fluxpay.core.payments import CaptureMode
from tests.contracts.law import World, law, new_id, new_tenant
from tests.contracts.posting import posting_of

MOMENT = timedelta(milliseconds=1)


def account_of(tenant_id: str, kind: AccountKind = AccountKind.MERCHANT) -> Account:
    return account(tenant_id, kind, "EUR")


async def three_payments(world: World, tenant_id: str) -> list[Posting]:
    """A payment of 100 and one of 20 in euros, and an authorization of 3."""
    made: list[Posting] = []
    for amount_minor, capture in (
        (100, CaptureMode.AUTOMATIC),
        (20, CaptureMode.AUTOMATIC),
        (3, CaptureMode.MANUAL),
    ):
        money = Money(amount_minor, "EUR")
        posting = posting_of(tenant_id, f"k-{amount_minor}", money=money, capture=capture)
        assert Posted() == await world.perform(PostPayment(posting))
        made.append(posting)
    return made


@law
async def accounts_are_found_and_listed_by_id(world: World) -> None:
    tenant = await new_tenant(world)
    euros = (await three_payments(world, tenant.id))[0]
    yen = posting_of(tenant.id, "yen", money=Money(7, "JPY"))
    assert Posted() == await world.perform(PostPayment(yen))
    opened = sorted(
        (
            OpenAccount(one, no_overdraft=False, created_at=posting.transfer.created_at)
            for posting in (euros, yen)
            for one in (posting.transfer.debit, posting.transfer.credit)
        ),
        key=lambda one: one.account.id,
    )
    for one in opened:
        assert one == await world.perform(FindAccount(tenant.id, one.account.id))
    first_id = opened[0].account.id
    merchant = [one for one in opened if one.account.kind is AccountKind.MERCHANT]
    cases = [
        (AccountFilter(), None, 10, opened),
        (AccountFilter(), None, 2, opened[:2]),
        (AccountFilter(), first_id, 2, opened[1:3]),
        (AccountFilter(kind=AccountKind.MERCHANT), None, 10, merchant),
        (AccountFilter(currency="KWD"), None, 10, []),
        (
            AccountFilter(currency="JPY", kind=AccountKind.MERCHANT),
            None,
            10,
            [one for one in merchant if one.account.currency == "JPY"],
        ),
    ]
    for wanted, after, limit, expected in cases:
        question = ListAccounts(tenant.id, wanted, after, limit)
        assert tuple(expected) == await world.perform(question)


@law
async def totals_are_what_was_booked_up_to_the_instant(world: World) -> None:
    tenant = await new_tenant(world)
    made = await three_payments(world, tenant.id)
    merchant, platform = (
        account_of(tenant.id, kind).id for kind in (AccountKind.MERCHANT, AccountKind.PLATFORM)
    )
    last = made[-1].transfer.created_at
    credited, debited = Totals(0, 120, 0, 3), Totals(120, 0, 3, 0)
    for at in (None, last, last + MOMENT):
        question = ReadTotals(tenant.id, (merchant, platform), at)
        assert {merchant: credited, platform: debited} == await world.perform(question)
        trial = await world.perform(ReadTrialBalance(tenant.id, at))
        assert (TrialLine("EUR", Totals(120, 120, 3, 3)),) == trial
    before = made[0].transfer.created_at - MOMENT
    assert {} == await world.perform(ReadTotals(tenant.id, (merchant,), before))
    assert () == await world.perform(ReadTrialBalance(tenant.id, before))


@law
async def a_statement_shows_the_entries_of_one_account_with_running_totals(world: World) -> None:
    tenant = await new_tenant(world)
    made = await three_payments(world, tenant.id)
    merchant = account_of(tenant.id)
    running = (Totals(0, 100), Totals(0, 120), Totals(0, 120, 0, 3))
    lines = tuple(
        StatementLine(
            entries(posting.transfer)[1],
            posting.transfer.id,
            posting.payment.id,
            posting.transfer.kind,
            totals,
            seq=None,
        )
        for posting, totals in zip(made, running, strict=True)
    )
    first_id = made[0].transfer.id
    for after, limit, expected in (
        (Place(), 10, lines),
        (Place(), 2, lines[:2]),
        (Place(0, first_id), 1, lines[1:2]),
        (Place(0, new_id(IdKind.TRANSFER)), 10, lines),
    ):
        question = ReadStatement(tenant.id, merchant.id, after, limit)
        assert Statement(merchant, expected) == await world.perform(question)


@law
async def the_books_of_another_tenant_are_not_there(world: World) -> None:
    tenant, stranger = await new_tenant(world), await new_tenant(world)
    await three_payments(world, tenant.id)
    merchant_id = account_of(tenant.id).id
    assert await world.perform(FindAccount(stranger.id, merchant_id)) is None
    assert await world.perform(ReadStatement(stranger.id, merchant_id, Place(), 10)) is None
    assert {} == await world.perform(ReadTotals(stranger.id, (merchant_id,), None))
    assert () == await world.perform(ReadTrialBalance(stranger.id, None))
    assert () == await world.perform(ListAccounts(stranger.id, AccountFilter(), None, 10))
