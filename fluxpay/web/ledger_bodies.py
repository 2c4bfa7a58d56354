"""What readers of the books send and get, as types that validate and document at once.

Each constraint stands here once: the validator and the OpenAPI document both read it. Must not
know HTTP, nor how an answer is put together.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fluxpay.core.ledger import AccountKind, Direction, Layer, TransferKind
from fluxpay.web.bodies import (
    AmountMinor,
    CurrencyCode,
    Instant,
    InstantUtc,
    NextCursor,
    PageCursor,
    PageLimit,
)
from fluxpay.web.transfer_bodies import AccountAnswer, AccountId

Posted = Annotated[int, Meta(description="Minor units that have moved.", examples=[1250])]
Pending = Annotated[
    int, Meta(description="Minor units that are set aside and have not moved.", examples=[0])
]
TotalMinor = Annotated[int, Meta(ge=0, description="In minor units.")]


class AccountQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which accounts a list shows, and how many."""

    currency: CurrencyCode | None = None
    kind: Annotated[AccountKind, Meta(description="Only accounts of this kind.")] | None = None
    limit: PageLimit = 20
    cursor: PageCursor | None = None


class AccountList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of accounts, by id."""

    data: tuple[AccountAnswer, ...]
    next_cursor: NextCursor


class InstantQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The instant that is asked about."""

    at: Instant | None = None


class BalanceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What an account held at an instant; negative where its other side weighs more."""

    account_id: AccountId
    object: Literal["balance"]
    currency: CurrencyCode
    posted: Posted
    pending: Pending
    available: Annotated[
        int, Meta(description="Posted, less what is set aside to go out.", examples=[1250])
    ]
    at: InstantUtc


class StatementQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which page of a statement, and how many entries it holds."""

    limit: PageLimit = 20
    cursor: PageCursor | None = None


class RunningBalance(msgspec.Struct, frozen=True, kw_only=True):
    """The balance of the account with this entry."""

    posted: Posted
    pending: Pending


class StatementEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of an account, and its balance with it."""

    id: str
    transfer_id: Annotated[str, Meta(examples=["trf_01h455vb4pex5vsknk084sn02q"])]
    payment_id: Annotated[
        str | None, Meta(description="Null for a transfer that belongs to no payment.")
    ]
    kind: TransferKind
    account_id: AccountId
    direction: Direction
    layer: Layer
    amount: AmountMinor
    currency: CurrencyCode
    created_at: InstantUtc
    balance: RunningBalance


class StatementAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of an account's statement, oldest first.

    The newest entries may still change places among each other, and their running balances with
    them; all others stay for ever as they are.
    """

    data: tuple[StatementEntry, ...]
    next_cursor: NextCursor
    resume_cursor: Annotated[
        str,
        Meta(
            description="Pass it as `cursor` at any later time to read on without missing an "
            "entry. It stands after the last entry whose place is final, so that the newest "
            "entries may be shown once more."
        ),
    ]


class TrialLineAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All that was ever booked in a currency; debits and credits are equal, in either layer."""

    currency: CurrencyCode
    debits: TotalMinor
    credits: TotalMinor
    pending_debits: TotalMinor
    pending_credits: TotalMinor


class TrialBalanceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of all the tenant's accounts at an instant."""

    object: Literal["trial_balance"]
    at: InstantUtc
    currencies: tuple[TrialLineAnswer, ...]
