"""The contract of moving money between a tenant's own accounts, and of opening accounts for it."""

import json
from typing import Any

from uuid_utils import uuid7

from fluxpay.core.effects import (
    FindRecord,
    FindTransfer,
    PostPayment,
    PostTransfer,
    PutAccount,
    SetNoOverdraft,
)
from fluxpay.core.idempotency import Claim, Mismatched, Posted, Replayed, fingerprint
from fluxpay.core.ids import IdKind
from fluxpay.core.ledger import AccountKind, TransferKind, account
from fluxpay.core.money import Money
from fluxpay.core.payment_changes import Changed
from fluxpay.core.problems import Code, Refused
from fluxpay.core.transfers import TransferRequest, document
from tests.contracts.law import World, law, new_id, new_tenant, now
from tests.contracts.posting import posting_of


def account_id(tenant_id: str, kind: AccountKind) -> str:
    """The tenant's account of this kind in euros."""
    return account(tenant_id, kind, "EUR").id


def claiming(tenant_id: str, key: str, what: object) -> Claim:
    """The claim of a request for this."""
    return Claim(tenant_id, key, fingerprint("POST", "/v1/x", repr(what).encode()))


def moving(
    tenant_id: str, debit_id: str, credit_id: str, *, amount_minor: int = 700, key: str = "move"
) -> PostTransfer:
    """A request to move euros, with a fresh UUID as each attempt has."""
    money = Money(amount_minor, "EUR")
    request = TransferRequest(debit_id, credit_id, money, 'für "später" 100 % \\')
    return PostTransfer(request, claiming(tenant_id, key, request), uuid7().int, now())


async def opened(
    world: World, tenant_id: str, kind: AccountKind, *, no_overdraft: bool | None = None
) -> dict[str, Any]:
    """Open an account that it may be moved to; what is told of it."""
    claim = claiming(tenant_id, uuid7().hex, (kind, no_overdraft))
    effect = PutAccount(account(tenant_id, kind, "EUR"), no_overdraft, claim, now())
    outcome = await world.perform(effect)
    assert isinstance(outcome, Changed)
    told: dict[str, Any] = json.loads(outcome.reply.body)
    return told


async def ruled(world: World, tenant_id: str, wanted_id: str) -> object:
    """Give an account the rule."""
    claim = claiming(tenant_id, uuid7().hex, wanted_id)
    return await world.perform(SetNoOverdraft(wanted_id, True, claim, now()))


@law
async def a_transfer_is_found_as_it_was_told_and_its_claim_is_settled(world: World) -> None:
    tenant_id = (await new_tenant(world)).id
    reserve, payout = [
        await opened(world, tenant_id, kind) for kind in (AccountKind.RESERVE, AccountKind.PAYOUT)
    ]
    asked = moving(tenant_id, reserve["id"], payout["id"])
    changed = await world.perform(asked)
    assert isinstance(changed, Changed)
    assert changed.reply == await world.perform(FindRecord(asked.claim))
    again = moving(tenant_id, reserve["id"], payout["id"])
    assert Replayed(changed.reply) == await world.perform(again)
    other = moving(tenant_id, reserve["id"], payout["id"], amount_minor=1)
    assert Mismatched() == await world.perform(other)
    told = json.loads(changed.reply.body)
    found = await world.perform(FindTransfer(tenant_id, told["id"]))
    assert found is not None
    assert told == document(found)
    stranger_id = (await new_tenant(world)).id
    assert await world.perform(FindTransfer(stranger_id, told["id"])) is None


@law
async def the_transfer_of_a_payment_is_found_too(world: World) -> None:
    tenant_id = (await new_tenant(world)).id
    posting = posting_of(tenant_id, "pay")
    assert Posted() == await world.perform(PostPayment(posting))
    found = await world.perform(FindTransfer(tenant_id, posting.transfer.id))
    assert found is not None
    assert (posting.transfer, posting.payment.id) == (found.transfer, found.payment_id)
    assert TransferKind.CAPTURE is found.transfer.kind


@law
async def accounts_that_are_not_the_tenants_are_refused_alike_and_claim_nothing(
    world: World,
) -> None:
    tenant_id, stranger_id = [(await new_tenant(world)).id for _ in range(2)]
    foreign = await opened(world, stranger_id, AccountKind.RESERVE)
    own = await opened(world, tenant_id, AccountKind.RESERVE)
    unknown_id = new_id(IdKind.ACCOUNT)
    asked = [moving(tenant_id, one_id, own["id"]) for one_id in (foreign["id"], unknown_id)]
    refused = [await world.perform(one) for one in asked]
    assert isinstance(refused[0], Refused)
    assert refused[0] == refused[1]
    assert [None, None] == [await world.perform(FindRecord(one.claim)) for one in asked]
    rules = [await ruled(world, tenant_id, one_id) for one_id in (foreign["id"], unknown_id)]
    assert [None, None] == rules


@law
async def an_account_with_the_rule_gives_what_payments_and_transfers_left_in_it(
    world: World,
) -> None:
    tenant_id = (await new_tenant(world)).id
    assert Posted() == await world.perform(
        PostPayment(posting_of(tenant_id, "pay", money=Money(1250, "EUR")))
    )
    merchant_id = account_id(tenant_id, AccountKind.MERCHANT)
    reserve = await opened(world, tenant_id, AccountKind.RESERVE)
    assert isinstance(await ruled(world, tenant_id, merchant_id), Changed)
    outcomes = [
        await world.perform(
            moving(tenant_id, merchant_id, reserve["id"], amount_minor=minor, key=f"k-{number}")
        )
        for number, minor in enumerate((1251, 1000, 251, 250, 1))
    ]
    assert [Refused, Changed, Refused, Changed, Refused] == [type(one) for one in outcomes]
    told = [
        (one.code, dict(one.members)["available"]) for one in outcomes if isinstance(one, Refused)
    ]
    assert [(Code.INSUFFICIENT_FUNDS, left_minor) for left_minor in (1250, 250, 0)] == told


@law
async def an_account_that_is_opened_again_is_the_same_and_keeps_its_rule(world: World) -> None:
    tenant_id = (await new_tenant(world)).id
    told = [
        await opened(world, tenant_id, AccountKind.PAYOUT, no_overdraft=wanted)
        for wanted in (None, True, None, False)
    ]
    assert [False, True, True, False] == [one.pop("no_overdraft") for one in told]
    assert [told[0]] * 4 == told
    assert account_id(tenant_id, AccountKind.PAYOUT) == told[0]["id"]
