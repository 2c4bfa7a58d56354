"""Moving money between a tenant's own accounts, and opening accounts for it.

The store shows `post` the accounts as they are, locked where a balance decides, and writes what it
says in the same transaction. `no_overdraft` on an account means that no transfer takes it below
zero; payments and refunds are not transfers in this sense, and are never held up by it.

Refusals, in order: one account twice; an account that is not the tenant's; another currency than
the accounts'; more than the debited account has, then than the credited one has.

Must not know how an account is locked, nor how its totals are come by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from fluxpay.core import books, ledger
from fluxpay.core.effects import PostTransfer, PutAccount, SetNoOverdraft
from fluxpay.core.events import Event, EventType
from fluxpay.core.idempotency import StoredReply
from fluxpay.core.ids import IdKind, suffix
from fluxpay.core.ledger import Direction, Transfer, TransferKind
from fluxpay.core.payment_changes import settled
from fluxpay.core.payments import encode, instant, to_milliseconds
from fluxpay.core.problems import Code, FieldError, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fluxpay.core.books import OpenAccount, Totals
    from fluxpay.core.effects import Step
    from fluxpay.core.idempotency import Claim, Settled
    from fluxpay.core.ledger import Account, AccountKind
    from fluxpay.core.money import Money

NO_SUCH_ACCOUNT: Final = Refused(Code.NOT_FOUND, "There is no such account.")

_CREATED: Final = 201
_CHANGED: Final = 200
_DEBIT_POINTER: Final = "#/debit_account_id"
_CREDIT_POINTER: Final = "#/credit_account_id"


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """What a client asks for."""

    debit_account_id: str
    credit_account_id: str
    money: Money
    description: str | None = None


@dataclass(frozen=True, slots=True)
class BookedTransfer:
    """A transfer of any kind as it is kept.

    Args:
        payment_id: The payment that it belongs to; None for a transfer that a client made.
    """

    transfer: Transfer
    payment_id: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class TransferPosting:
    """All that is committed together for a new transfer."""

    booked: BookedTransfer
    event: Event

    def reply(self, claim: Claim) -> StoredReply:
        """The reply to the request that asked for this."""
        location = f"/v1/transfers/{self.booked.transfer.id}"
        return StoredReply(claim.fingerprint, 201, self.event.data, location)


@dataclass(frozen=True, slots=True)
class AccountChange:
    """An account as it is from now on, and how that is answered."""

    after: OpenAccount
    status: int

    def reply(self, claim: Claim) -> StoredReply:
        """The reply to the request that asked for this."""
        body = encode(account_document(self.after))
        location = f"/v1/accounts/{self.after.account.id}" if self.status == _CREATED else None
        return StoredReply(claim.fingerprint, self.status, body, location)


def post_transfer(
    request: TransferRequest, *, claim: Claim, uuid: int, now: datetime
) -> Step[Settled | Refused]:
    """Make a transfer once, however often it is asked for.

    Args:
        request: What the client asks for.
        claim: The idempotency claim of this very request.
        uuid: A fresh UUIDv7 as an integer; transfer and event share it.
        now: The current instant, in UTC.
    """
    return settled((yield from PostTransfer(request, claim, uuid, now)))


def open_account(
    kind: AccountKind, currency: str, *, no_overdraft: bool | None, claim: Claim, now: datetime
) -> Step[Settled | Refused]:
    """Open the tenant's account of this kind and currency, or find it open.

    Any currency will do: what a tenant no longer takes may still have to be paid out.

    Args:
        no_overdraft: Whether the account gets the rule; None leaves it as it is, at first without.
        claim: The idempotency claim of this very request.
        now: The current instant, in UTC.
    """
    account = ledger.account(claim.tenant_id, kind, currency)
    return settled((yield from PutAccount(account, no_overdraft, claim, now)))


def set_no_overdraft(
    account_id: str, *, no_overdraft: bool, claim: Claim, now: datetime
) -> Step[Settled | Refused]:
    """Give an account the rule, or take it away. Neither changes a balance."""
    outcome = yield from SetNoOverdraft(account_id, no_overdraft, claim, now)
    if outcome is None:
        return NO_SUCH_ACCOUNT
    return settled(outcome)


def post(
    request: TransferRequest,
    *,
    accounts: Mapping[str, OpenAccount],
    totals: Mapping[str, Totals],
    uuid: int,
    now: datetime,
) -> TransferPosting | Refused:
    """Decide on a transfer.

    Args:
        accounts: Those of the two that are the tenant's, by id.
        totals: Of those that have the rule, by id; an account without entries may be missing.
        uuid: A fresh UUIDv7 as an integer.
        now: The current instant, in UTC.
    """
    debit = accounts.get(request.debit_account_id)
    credit = accounts.get(request.credit_account_id)
    if request.debit_account_id == request.credit_account_id:
        return _invalid(FieldError(_CREDIT_POINTER, "Must be another account than the debited."))
    if debit is None or credit is None:
        found = ((_DEBIT_POINTER, debit), (_CREDIT_POINTER, credit))
        return _invalid(*(FieldError(at, "Is no account.") for at, one in found if one is None))
    foreign = _foreign_currency(request.money.currency, debit.account, credit.account)
    if foreign:
        return _invalid(*foreign)
    for side, direction in ((debit, Direction.DEBIT), (credit, Direction.CREDIT)):
        kind = side.account.kind
        if not side.no_overdraft or direction is books.SIDE[kind]:
            # It may be overdrawn, or this puts money into it.
            continue
        known = totals.get(side.account.id, books.Totals())
        available_minor = books.balance(known, kind).available_minor
        if request.money.amount_minor > available_minor:
            return _insufficient(side.account, available_minor)
    return _posting(request, debit.account, credit.account, uuid=uuid, now=now)


def opened(
    account: Account, observed: OpenAccount | None, *, no_overdraft: bool | None, now: datetime
) -> AccountChange:
    """Decide what opening an account comes to.

    Args:
        observed: The account as it is, if it is open already.
        no_overdraft: None leaves the rule as it is.
    """
    after = observed or books.OpenAccount(
        account, no_overdraft=False, created_at=to_milliseconds(now)
    )
    has_rule = after.no_overdraft if no_overdraft is None else no_overdraft
    return AccountChange(replace(after, no_overdraft=has_rule), status=_CREATED)


def ruled(observed: OpenAccount, *, no_overdraft: bool) -> AccountChange:
    """Decide what giving an account the rule, or taking it away, comes to."""
    return AccountChange(replace(observed, no_overdraft=no_overdraft), status=_CHANGED)


def document(booked: BookedTransfer) -> dict[str, object]:
    """The transfer as clients see it."""
    transfer = booked.transfer
    return {
        "id": transfer.id,
        "object": "transfer",
        "kind": transfer.kind,
        "debit_account_id": transfer.debit.id,
        "credit_account_id": transfer.credit.id,
        "amount": transfer.money.amount_minor,
        "currency": transfer.money.currency,
        "description": booked.description,
        "payment_id": booked.payment_id,
        "layer": transfer.layer,
        "reverses": transfer.reverses,
        "created_at": instant(transfer.created_at),
    }


def account_document(opened_: OpenAccount) -> dict[str, object]:
    """The account as clients see it."""
    account = opened_.account
    return {
        "id": account.id,
        "object": "account",
        "kind": account.kind,
        "currency": account.currency,
        "normal_side": books.SIDE[account.kind],
        "no_overdraft": opened_.no_overdraft,
        "created_at": instant(opened_.created_at),
    }


def _posting(
    request: TransferRequest, debit: Account, credit: Account, *, uuid: int, now: datetime
) -> TransferPosting:
    transfer = Transfer(
        id=f"{IdKind.TRANSFER}_{suffix(uuid)}",
        kind=TransferKind.TRANSFER,
        debit=debit,
        credit=credit,
        money=request.money,
        created_at=to_milliseconds(now),
    )
    booked = BookedTransfer(transfer, description=request.description)
    event = Event(
        id=f"{IdKind.EVENT}_{suffix(uuid)}",
        type=EventType.TRANSFER_CREATED,
        subject_id=transfer.id,
        data=encode(document(booked)),
        created_at=transfer.created_at,
    )
    return TransferPosting(booked, event)


def _foreign_currency(currency: str, debit: Account, credit: Account) -> tuple[FieldError, ...]:
    sides = ((debit, "debited"), (credit, "credited"))
    return tuple(
        FieldError("#/currency", f"Must be {account.currency}, as the {side} account's.")
        for account, side in sides
        if account.currency != currency
    )


def _insufficient(account: Account, available_minor: int) -> Refused:
    return Refused(
        Code.INSUFFICIENT_FUNDS,
        f"At most {max(0, available_minor)} minor units can be taken out of {account.id}.",
        members=(("account_id", account.id), ("available", available_minor)),
    )


def _invalid(*errors: FieldError) -> Refused:
    many = "1 field is" if len(errors) == 1 else f"{len(errors)} fields are"
    return Refused(Code.VALIDATION_FAILED, f"{many} not valid.", errors=errors)
