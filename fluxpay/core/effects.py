"""Questions the core asks the world, and the one contract a shell has to obey.

A *step* is a generator that yields effects and returns a decision. A shell drives it: take the
effect, perform it, send the answer back (or throw what went wrong). Each effect is atomic: what
must happen together is one effect, so nothing can interleave inside it.

This module knows the shape of every question and answer. It must not know who answers.
"""

# ruff: noqa: F401 - the answers' types stand quoted in `Effect["..."]`, where ruff does not look.

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fluxpay.core.batches import Aborted
    from fluxpay.core.books import AccountFilter, OpenAccount, Place, Statement, Totals, TrialLine
    from fluxpay.core.credentials import Credential
    from fluxpay.core.fraud import PaymentLimit, Velocity
    from fluxpay.core.idempotency import Claim, Expired, Mismatched, Posted, Replayed, StoredReply
    from fluxpay.core.keys import ApiKey, KeyOutcome
    from fluxpay.core.ledger import Account, Entry
    from fluxpay.core.limits import Quota, WindowCount
    from fluxpay.core.money import Money
    from fluxpay.core.payment_changes import Changed, Command
    from fluxpay.core.payment_creation import Posting
    from fluxpay.core.payments import Payment, PaymentFilter, Refund
    from fluxpay.core.problems import Refused
    from fluxpay.core.tenants import Registration, Tenant, TenantSpec
    from fluxpay.core.transfers import BookedTransfer, TransferRequest

R = TypeVar("R")
T = TypeVar("T")


class Effect(Generic[R]):
    """One atomic question to the world; the shell answers with an R."""

    __slots__ = ()

    def __iter__(self) -> Generator[Effect[R], Any, R]:
        """Let a step write `answer = yield from Question(...)` and keep the answer's type."""
        answer: R = yield self
        return answer


Step = Generator[Effect[Any], Any, T]
"""A sequence of effects that ends in a decision of type T."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The answer when a dependency that has a fail-open policy cannot be asked."""

    dependency: str


@dataclass(frozen=True, slots=True)
class FindApiKey(Effect["Credential | None"]):
    """Find the key with this SHA-256 digest (64 hex digits), together with its tenant."""

    digest: str


@dataclass(frozen=True, slots=True)
class CountRequest(Effect["tuple[WindowCount, ...] | Unavailable"]):
    """Count one request against all quotas, or against none when any of them is spent.

    The answer holds, per quota and in order, what was counted *before* this request.
    """

    tenant_id: str
    quotas: tuple[Quota, ...]


@dataclass(frozen=True, slots=True)
class CountRequestLocally(Effect["tuple[WindowCount, ...]"]):
    """The same count, kept in this process: the stand-in while Redis is gone."""

    tenant_id: str
    quotas: tuple[Quota, ...]


@dataclass(frozen=True, slots=True)
class CountVelocity(Effect["Velocity | Unavailable"]):
    """Count one payment of this amount, unless that would pass the limit.

    The answer holds the counts *with* this payment, whether it was counted or not.
    """

    tenant_id: str
    money: Money
    limit: PaymentLimit


@dataclass(frozen=True, slots=True)
class CountVelocityLocally(Effect["Velocity"]):
    """The same count, kept in this process: the stand-in while Redis is gone."""

    tenant_id: str
    money: Money
    limit: PaymentLimit


@dataclass(frozen=True, slots=True)
class ReadReply(Effect["StoredReply | Unavailable | None"]):
    """Look for the reply to this claim in the cache (idempotency, layer 1)."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class RememberReply(Effect[None]):
    """Put the reply to this claim into the cache. Best effort: losing it loses no truth."""

    claim: Claim
    reply: StoredReply


@dataclass(frozen=True, slots=True)
class FindRecord(Effect["StoredReply | Expired | None"]):
    """Look for the reply to this claim in the database (idempotency, layer 2)."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class RecordReply(Effect["StoredReply"]):
    """Record the reply to this claim, unless one is recorded; what is recorded comes back."""

    claim: Claim
    reply: StoredReply
    now: datetime


@dataclass(frozen=True, slots=True)
class PostPayment(Effect["Posted | Replayed | Mismatched | Expired"]):
    """Commit payment, transfer, idempotency record and event in one transaction, or nothing."""

    posting: Posting


@dataclass(frozen=True, slots=True)
class PostBatch(Effect["tuple[Posted | Replayed | Mismatched | Expired | Aborted, ...]"]):
    """Commit all these postings in one transaction, or none of them; an outcome each, in order.

    Where one is Mismatched or Expired, nothing was committed: all that were new are Aborted.
    """

    postings: tuple[Posting, ...]


@dataclass(frozen=True, slots=True)
class ChangePayment(Effect["Changed | Replayed | Mismatched | Expired | Refused | None"]):
    """Change a payment as `payment_changes.change` decides, with its row locked meanwhile.

    Payment, transfers, refund, idempotency record and event commit in one transaction, or
    nothing. None when this tenant has no such payment.
    """

    payment_id: str
    command: Command
    claim: Claim
    uuid: int
    now: datetime


@dataclass(frozen=True, slots=True)
class PostTransfer(Effect["Changed | Replayed | Mismatched | Expired | Refused"]):
    """Move money as `transfers.post` decides, with accounts that have a rule locked meanwhile.

    Transfer, idempotency record and event commit in one transaction, or nothing.
    """

    request: TransferRequest
    claim: Claim
    uuid: int
    now: datetime


@dataclass(frozen=True, slots=True)
class FindTransfer(Effect["BookedTransfer | None"]):
    """One transfer of this tenant, of whatever kind."""

    tenant_id: str
    transfer_id: str


@dataclass(frozen=True, slots=True)
class PutAccount(Effect["Changed | Replayed | Mismatched | Expired"]):
    """Open an account as `transfers.opened` decides, or find it open; None leaves its rule."""

    account: Account
    no_overdraft: bool | None
    claim: Claim
    now: datetime


@dataclass(frozen=True, slots=True)
class SetNoOverdraft(Effect["Changed | Replayed | Mismatched | Expired | None"]):
    """Write an account's rule, while no transfer is under way that saw it otherwise.

    None when this tenant has no such account.
    """

    account_id: str
    no_overdraft: bool
    claim: Claim
    now: datetime


@dataclass(frozen=True, slots=True)
class FindPayment(Effect["Payment | None"]):
    """One payment of this tenant."""

    tenant_id: str
    payment_id: str


@dataclass(frozen=True, slots=True)
class ListPayments(Effect["tuple[Payment, ...]"]):
    """At most `limit` payments of this tenant, newest first, those older than `after` only."""

    tenant_id: str
    filter: PaymentFilter
    after: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class ListPaymentEntries(Effect["tuple[Entry, ...] | None"]):
    """The ledger entries of one payment; None when this tenant has no such payment."""

    tenant_id: str
    payment_id: str


@dataclass(frozen=True, slots=True)
class ListRefunds(Effect["tuple[Refund, ...] | None"]):
    """The refunds of one payment, oldest first; None when this tenant has no such payment."""

    tenant_id: str
    payment_id: str


@dataclass(frozen=True, slots=True)
class FindAccount(Effect["OpenAccount | None"]):
    """One account of this tenant."""

    tenant_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class ListAccounts(Effect["tuple[OpenAccount, ...]"]):
    """At most `limit` accounts of this tenant by id, those after `after` only."""

    tenant_id: str
    filter: AccountFilter
    after: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class ReadTotals(Effect["Mapping[str, Totals]"]):
    """The totals of these accounts by id, all at one instant or (None) now.

    An account without entries up to then, or of another tenant, is not in the answer.
    """

    tenant_id: str
    account_ids: tuple[str, ...]
    at: datetime | None


@dataclass(frozen=True, slots=True)
class ReadTrialBalance(Effect["tuple[TrialLine, ...]"]):
    """The totals of all accounts of this tenant by currency, at one instant or (None) now."""

    tenant_id: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class ReadStatement(Effect["Statement | None"]):
    """At most `limit` entries of an account from a place on; None when there is no such account.

    Entries in their final places come first, then those that have none yet, by their instants.
    All of it is read at once: an entry that gets its place meanwhile is seen neither twice nor
    not at all.
    """

    tenant_id: str
    account_id: str
    after: Place
    limit: int


@dataclass(frozen=True, slots=True)
class PutTenant(Effect["Registration"]):
    """Write the tenant as `tenants.register` decides, with its row locked meanwhile."""

    tenant_id: str
    spec: TenantSpec
    now: datetime


@dataclass(frozen=True, slots=True)
class FindTenant(Effect["Tenant | None"]):
    """One tenant, closed ones included."""

    tenant_id: str


@dataclass(frozen=True, slots=True)
class ListTenants(Effect["tuple[Tenant, ...]"]):
    """At most `limit` tenants by id, those after `after` only."""

    after: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class CloseTenant(Effect["Tenant | None"]):
    """Close the tenant and revoke all its keys in one transaction; its books stay."""

    tenant_id: str
    now: datetime


@dataclass(frozen=True, slots=True)
class PutApiKey(Effect["KeyOutcome"]):
    """Write the key as `keys.register_key` decides, with its tenant's row locked meanwhile."""

    key: ApiKey


@dataclass(frozen=True, slots=True)
class ListApiKeys(Effect["tuple[ApiKey, ...] | None"]):
    """All keys of a tenant; None when there is no such tenant."""

    tenant_id: str


@dataclass(frozen=True, slots=True)
class RevokeApiKey(Effect["ApiKey | None"]):
    """Revoke one key; None when this tenant has no such key. Revoking twice changes nothing."""

    tenant_id: str
    key_id: str
    now: datetime


AnyEffect = (
    FindApiKey
    | CountRequest
    | CountRequestLocally
    | CountVelocity
    | CountVelocityLocally
    | ReadReply
    | RememberReply
    | FindRecord
    | RecordReply
    | PostPayment
    | PostBatch
    | ChangePayment
    | PostTransfer
    | FindTransfer
    | PutAccount
    | SetNoOverdraft
    | FindPayment
    | ListPayments
    | ListPaymentEntries
    | ListRefunds
    | FindAccount
    | ListAccounts
    | ReadTotals
    | ReadTrialBalance
    | ReadStatement
    | PutTenant
    | FindTenant
    | ListTenants
    | CloseTenant
    | PutApiKey
    | ListApiKeys
    | RevokeApiKey
)
"""The closed union: a shell that answers all of these can run the whole core."""
