"""The double-entry ledger: accounts, and transfers that move money from one to another.

A transfer is one balanced pair: it debits one account and credits another with the same amount,
so a ledger made of transfers cannot be out of balance. Entries are how a transfer reads from
either side. Must not know payments' lifecycles nor storage.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from fluxpay.core.ids import IdKind, encode

if TYPE_CHECKING:
    from datetime import datetime

    from fluxpay.core.money import Money

_UUID_VERSION_8: Final = 8 << 76
_UUID_VERSION_MASK: Final = 15 << 76
_UUID_VARIANT: Final = 2 << 62
_UUID_VARIANT_MASK: Final = 3 << 62


class AccountKind(StrEnum):
    """What an account stands for in a tenant's books."""

    MERCHANT = "merchant"
    """What is owed to the tenant: payments credit it."""
    PLATFORM = "platform"
    """What the platform has received for the tenant: payments debit it."""
    RESERVE = "reserve"
    """What of the tenant's money is held back, for refunds to come."""
    PAYOUT = "payout"
    """What of the tenant's money is on its way to the tenant's bank."""


class Direction(StrEnum):
    """The side of a transfer that an entry shows."""

    DEBIT = "debit"
    CREDIT = "credit"


class Layer(StrEnum):
    """Whether money has moved, or is only set aside."""

    PENDING = "pending"
    POSTED = "posted"


class TransferKind(StrEnum):
    """Why money moved, or was set aside."""

    AUTHORIZATION = "authorization"
    """Sets aside what may be captured; pending."""
    RELEASE = "release"
    """Takes back what was set aside, because it was captured, voided or expired; pending."""
    CAPTURE = "capture"
    REFUND = "refund"
    """Reverses a capture, or a part of one."""
    TRANSFER = "transfer"
    """Moves money between accounts of a tenant, for no payment in particular."""


_PENDING_KINDS: Final = frozenset({TransferKind.AUTHORIZATION, TransferKind.RELEASE})


@dataclass(frozen=True, slots=True)
class Account:
    """An account of a tenant, of one kind and one currency."""

    id: str
    tenant_id: str
    kind: AccountKind
    currency: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money moved from one account to another.

    Args:
        reverses: The id of the transfer that this one takes back, wholly or in part.

    Raises:
        ValueError: The pair could not balance: same account, other tenant, or other currency.
    """

    id: str
    kind: TransferKind
    debit: Account
    credit: Account
    money: Money
    created_at: datetime
    reverses: str | None = None

    @property
    def layer(self) -> Layer:
        """Whether it moves money or sets it aside; its kind says."""
        return Layer.PENDING if self.kind in _PENDING_KINDS else Layer.POSTED

    def __post_init__(self) -> None:
        """Refuse what may not be posted. Postgres holds the same as constraints."""
        if self.debit.id == self.credit.id:
            message = "a transfer needs two accounts"
            raise ValueError(message)
        if self.debit.tenant_id != self.credit.tenant_id:
            message = "a transfer never leaves its tenant"
            raise ValueError(message)
        if not self.debit.currency == self.credit.currency == self.money.currency:
            message = "a transfer has one currency"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a transfer."""

    id: str
    account_id: str
    direction: Direction
    money: Money
    created_at: datetime
    layer: Layer = Layer.POSTED


@lru_cache(maxsize=65_536)
def account(tenant_id: str, kind: AccountKind, currency: str) -> Account:
    """The tenant's account of this kind and currency.

    Its id follows from what it is (a UUIDv8 over a SHA-256), so that posting a payment never has
    to look an account up, and two services that open it at once open the same one.
    """
    name = f"{tenant_id}\n{kind}\n{currency}"
    value = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16])
    value = value & ~_UUID_VERSION_MASK | _UUID_VERSION_8
    value = value & ~_UUID_VARIANT_MASK | _UUID_VARIANT
    return Account(encode(IdKind.ACCOUNT, value), tenant_id, kind, currency)


def authorize(transfer_id: str, tenant_id: str, *, money: Money, now: datetime) -> Transfer:
    """The transfer of an authorization: like a capture, but pending."""
    return _received(TransferKind.AUTHORIZATION, transfer_id, tenant_id, money=money, now=now)


def capture(transfer_id: str, tenant_id: str, *, money: Money, now: datetime) -> Transfer:
    """The transfer of a captured payment: the platform's debit, the merchant's credit."""
    return _received(TransferKind.CAPTURE, transfer_id, tenant_id, money=money, now=now)


def release(authorization: Transfer, transfer_id: str, *, money: Money, now: datetime) -> Transfer:
    """Take back what an authorization set aside, or a part of it."""
    return _reversal(TransferKind.RELEASE, authorization, transfer_id, money=money, now=now)


def refund(capture_: Transfer, transfer_id: str, *, money: Money, now: datetime) -> Transfer:
    """Give back what a capture took, or a part of it."""
    return _reversal(TransferKind.REFUND, capture_, transfer_id, money=money, now=now)


def _received(
    kind: TransferKind, transfer_id: str, tenant_id: str, *, money: Money, now: datetime
) -> Transfer:
    return Transfer(
        id=transfer_id,
        kind=kind,
        debit=account(tenant_id, AccountKind.PLATFORM, money.currency),
        credit=account(tenant_id, AccountKind.MERCHANT, money.currency),
        money=money,
        created_at=now,
    )


def _reversal(
    kind: TransferKind, reversed_: Transfer, transfer_id: str, *, money: Money, now: datetime
) -> Transfer:
    return Transfer(
        id=transfer_id,
        kind=kind,
        debit=reversed_.credit,
        credit=reversed_.debit,
        money=money,
        created_at=now,
        reverses=reversed_.id,
    )


def entries(transfer: Transfer) -> tuple[Entry, Entry]:
    """How a transfer reads from either side; the `ledger_entries` view says the same in SQL."""
    sides = ((Direction.DEBIT, transfer.debit), (Direction.CREDIT, transfer.credit))
    debit, credit = (
        Entry(
            id=f"{transfer.id}_{direction}",
            account_id=side.id,
            direction=direction,
            money=transfer.money,
            created_at=transfer.created_at,
            layer=transfer.layer,
        )
        for direction, side in sides
    )
    return debit, credit
