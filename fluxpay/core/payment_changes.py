"""Changing a payment: capture, void, refund and expiry, as pure rules under one lock.

The store locks the payment, shows it to `change` together with the transfers that still count,
and writes what `change` says in the same transaction; so two captures at once can never take more
than was authorized. Must not know how a payment is locked or stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, assert_never

from fluxpay.core import idempotency, ledger
from fluxpay.core.effects import ChangePayment
from fluxpay.core.events import Event, EventType
from fluxpay.core.idempotency import Expired, Mismatched, Replayed, Settled, StoredReply
from fluxpay.core.ids import IdKind, suffix
from fluxpay.core.ledger import Transfer
from fluxpay.core.money import Money
from fluxpay.core.payments import (
    Action,
    Refund,
    Status,
    document,
    encode,
    refund_document,
    to_milliseconds,
)
from fluxpay.core.problems import Code, FieldError, Refused

if TYPE_CHECKING:
    from datetime import datetime

    from fluxpay.core.effects import Step
    from fluxpay.core.idempotency import Claim
    from fluxpay.core.payments import Payment

_RELEASES_ALL: Final = frozenset({Action.VOID, Action.EXPIRE})


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be done to a payment.

    Args:
        amount_minor: How much to capture or refund; None for all that is left.
        reason: Why it is refunded, in the client's words.

    Raises:
        ValueError: A void or an expiry of an amount; they release all that is left.
    """

    action: Action
    amount_minor: int | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        """Refuse what would leave a part of an authorization open with nobody to release it."""
        if self.amount_minor is not None and self.action in _RELEASES_ALL:
            message = f"{self.action} releases all that is left, never an amount"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class OpenTransfer:
    """A transfer of the payment, and how much of it has not been reversed yet."""

    transfer: Transfer
    left_minor: int


@dataclass(frozen=True, slots=True)
class Change:
    """All that is committed together for a changed payment.

    Args:
        payment: The payment as it is from now on.
        status: The HTTP status of the reply.
        body: The document that the reply and the event carry.
    """

    payment: Payment
    transfers: tuple[Transfer, ...]
    event: Event
    status: int
    body: bytes
    refund: Refund | None = None

    def reply(self, claim: Claim) -> StoredReply:
        """The reply to the request that asked for this."""
        return StoredReply(claim.fingerprint, self.status, self.body)


@dataclass(frozen=True, slots=True)
class Changed:
    """The change is committed; this is the reply to it."""

    reply: StoredReply


def change_payment(
    payment_id: str, command: Command, *, claim: Claim, uuid: int, now: datetime
) -> Step[Settled | Refused]:
    """Change a payment once, however often it is asked for.

    Args:
        payment_id: A TypeID, `pay_...`.
        command: What the client asks for.
        claim: The idempotency claim of this very request.
        uuid: A fresh UUIDv7 as an integer; the ids of all that is made follow from it.
        now: The current instant, in UTC.
    """
    outcome = yield from ChangePayment(payment_id, command, claim, uuid, now)
    if outcome is None:
        return Refused(Code.NOT_FOUND, "There is no such payment.")
    return settled(outcome)


def settled(outcome: Changed | Replayed | Mismatched | Expired | Refused) -> Settled | Refused:
    """What a claim gets, once the store has settled it."""
    match outcome:
        case Changed(reply):
            return Settled(reply, replayed=False)
        case Replayed(reply):
            return Settled(reply, replayed=True)
        case Mismatched() | Expired():
            return idempotency.refusal(outcome)
        case Refused():
            return outcome
        case _:
            assert_never(outcome)


def change(
    payment: Payment,
    command: Command,
    *,
    open_transfers: tuple[OpenTransfer, ...],
    uuid: int,
    now: datetime,
) -> Change | Refused:
    """Decide what a command does to a payment.

    Args:
        payment: As it is, locked against other changes.
        command: What is to be done.
        open_transfers: Its authorizations and captures, oldest first, with what is left of each.
        uuid: A fresh UUIDv7 as an integer.
        now: The current instant, in UTC.

    Raises:
        ValueError: The payment's amounts and its transfers disagree.
    """
    accepted = accepted_at(payment, now)
    if command.action not in accepted:
        return _not_allowed(payment, command.action, accepted)
    left_minor = _left_minor(payment, command.action)
    amount_minor = left_minor if command.amount_minor is None else command.amount_minor
    if amount_minor > left_minor:
        return _too_large(payment, command.action, left_minor=left_minor)
    _require_agreement(payment, open_transfers)
    made = _Made(payment, open_transfers, uuid=uuid, moment=to_milliseconds(now))
    money = Money(amount_minor, payment.money.currency)
    match command.action:
        case Action.CAPTURE:
            return made.captured(money)
        case Action.VOID:
            return made.released(money, EventType.PAYMENT_VOIDED)
        case Action.EXPIRE:
            return made.released(money, EventType.PAYMENT_EXPIRED)
        case Action.REFUND:
            return made.refunded(money, command.reason)
        case _:
            assert_never(command.action)


@dataclass(frozen=True, slots=True)
class _Made:
    """What an allowed command makes; every id follows from one UUID."""

    payment: Payment
    open_transfers: tuple[OpenTransfer, ...]
    uuid: int
    moment: datetime

    def captured(self, money: Money) -> Change:
        payment = self.payment
        captured_minor = payment.amount_captured_minor + money.amount_minor
        is_complete = captured_minor == payment.money.amount_minor
        after = replace(
            payment,
            amount_captured_minor=captured_minor,
            expires_at=None if is_complete else payment.expires_at,
        )
        capture = ledger.capture(
            self._transfer_id(0), payment.tenant_id, money=money, now=self.moment
        )
        releases = self._reversals(ledger.TransferKind.AUTHORIZATION, money, first_id=1)
        return self._changed(after, (capture, *releases), EventType.PAYMENT_CAPTURED)

    def released(self, money: Money, event_type: EventType) -> Change:
        releases = self._reversals(ledger.TransferKind.AUTHORIZATION, money, first_id=0)
        after = replace(self.payment, expires_at=None)
        if after.amount_captured_minor == 0:
            ended = Status.VOIDED if event_type is EventType.PAYMENT_VOIDED else Status.EXPIRED
            after = replace(after, status=ended)
        return self._changed(after, releases, event_type)

    def refunded(self, money: Money, reason: str | None) -> Change:
        payment = self.payment
        after = replace(
            payment, amount_refunded_minor=payment.amount_refunded_minor + money.amount_minor
        )
        refund = Refund(
            id=f"{IdKind.REFUND}_{suffix(self.uuid)}",
            payment_id=payment.id,
            money=money,
            reason=reason,
            created_at=self.moment,
        )
        transfers = self._reversals(ledger.TransferKind.CAPTURE, money, first_id=0)
        return self._changed(after, transfers, EventType.REFUND_CREATED, refund)

    def _changed(
        self,
        after: Payment,
        transfers: tuple[Transfer, ...],
        event_type: EventType,
        refund: Refund | None = None,
    ) -> Change:
        after = replace(after, status=status_of(after))
        body = encode(document(after) if refund is None else refund_document(refund))
        event = Event(
            id=f"{IdKind.EVENT}_{suffix(self.uuid)}",
            type=event_type,
            subject_id=after.id if refund is None else refund.id,
            data=body,
            created_at=self.moment,
        )
        status = 200 if refund is None else 201
        return Change(after, transfers, event, status=status, body=body, refund=refund)

    def _reversals(
        self, kind: ledger.TransferKind, money: Money, *, first_id: int
    ) -> tuple[Transfer, ...]:
        """Reverse an amount out of the transfers of a kind, oldest first."""
        reverse = ledger.release if kind is ledger.TransferKind.AUTHORIZATION else ledger.refund
        left_minor, made = money.amount_minor, list[Transfer]()
        for one in self.open_transfers:
            part_minor = min(left_minor, one.left_minor)
            if one.transfer.kind is not kind or part_minor == 0:
                continue
            part = Money(part_minor, money.currency)
            transfer_id = self._transfer_id(first_id + len(made))
            made.append(reverse(one.transfer, transfer_id, money=part, now=self.moment))
            left_minor -= part_minor
        return tuple(made)

    def _transfer_id(self, number: int) -> str:
        # The last bits of a UUIDv7 are random: counting on from them meets no other id.
        return f"{IdKind.TRANSFER}_{suffix(self.uuid + number)}"


def accepted_at(payment: Payment, now: datetime) -> tuple[Action, ...]:
    """What can be done to a payment at this instant: what is due can expire, but not be taken."""
    is_due = payment.expires_at is not None and now >= payment.expires_at
    untimely = Action.CAPTURE if is_due else Action.EXPIRE
    return tuple(action for action in payment.allowed if action is not untimely)


def _require_agreement(payment: Payment, open_transfers: tuple[OpenTransfer, ...]) -> None:
    """Stop where the books are broken: writing on would hide it."""
    told_minor = {
        ledger.TransferKind.AUTHORIZATION: payment.amount_open_minor,
        ledger.TransferKind.CAPTURE: payment.amount_refundable_minor,
    }
    for kind, amount_minor in told_minor.items():
        of_kind = (one for one in open_transfers if one.transfer.kind is kind)
        if amount_minor != sum(one.left_minor for one in of_kind):
            message = f"the amounts of {payment.id} and what is left of its {kind} disagree"
            raise ValueError(message)


def status_of(payment: Payment) -> Status:
    """The status that the amounts of a payment amount to."""
    if payment.amount_captured_minor == 0:
        return payment.status
    if payment.amount_refunded_minor == 0:
        return Status.PARTIALLY_CAPTURED if payment.amount_open_minor else Status.CAPTURED
    if payment.amount_refundable_minor or payment.amount_open_minor:
        return Status.PARTIALLY_REFUNDED
    return Status.REFUNDED


def _left_minor(payment: Payment, action: Action) -> int:
    if action is Action.REFUND:
        return payment.amount_refundable_minor
    return payment.amount_open_minor


def _not_allowed(payment: Payment, action: Action, accepted: tuple[Action, ...]) -> Refused:
    # No client can let a payment expire, so none is told of it.
    allowed = tuple(one for one in accepted if one is not Action.EXPIRE)
    told = ", ".join(allowed) or "nothing"
    return Refused(
        Code.INVALID_TRANSITION,
        f"A payment that is {payment.status} does not take {action}; it takes {told}.",
        members=(("payment_status", payment.status), ("allowed", allowed)),
    )


def _too_large(payment: Payment, action: Action, *, left_minor: int) -> Refused:
    most = Money(left_minor, payment.money.currency)
    return Refused(
        Code.AMOUNT_TOO_LARGE,
        f"At most {most} are left to {action}.",
        errors=(FieldError("#/amount", f"Must be at most {left_minor}."),),
        members=(("limit", left_minor),),
    )
