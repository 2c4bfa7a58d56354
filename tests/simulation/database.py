"""A database in a few dicts: what it takes in stays, whatever happens to the processes around it.

Knows what the schema promises (what is unique, what is committed together) and calls the same pure
rules that the real stores call. Must not know time, chance or the scheduler: every method is one
transaction, and nothing can come in between. The contract suite holds it and Postgres together.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime

from fluxpay.core.batches import Aborted, Outcome
from fluxpay.core.books import OpenAccount
from fluxpay.core.credentials import Credential
from fluxpay.core.effects import ChangePayment, ListPayments
from fluxpay.core.events import Event
from fluxpay.core.idempotency import (
    Claim,
    Expired,
    Mismatched,
    Posted,
    Replayed,
    StoredReply,
    settle,
)
from fluxpay.core.keys import ApiKey, KeyOutcome, KeyWritten, register_key
from fluxpay.core.ledger import Entry, Transfer, TransferKind, entries
from fluxpay.core.payment_changes import Change, Changed, Command, OpenTransfer, change
from fluxpay.core.payment_creation import Posting
from fluxpay.core.payments import Action, Payment, PaymentFilter, Refund
from fluxpay.core.problems import Refused
from fluxpay.core.tenants import Registration, Tenant, TenantSpec, Written, register
from fluxpay.core.transfers import BookedTransfer

KeyOfTenant = tuple[str, str]
"""A tenant's id, and an id or an idempotency key of that tenant."""
REVERSED = frozenset({TransferKind.AUTHORIZATION, TransferKind.CAPTURE})


@dataclass(slots=True)
class Database:
    """The durable half of the world.

    Args:
        claims: The payment that each idempotency key of a tenant made.
        transfers: By payment.
        refunds: By payment.
        booked: Transfers that no payment made, by their ids.
        accounts: Those that were opened or ruled, by their ids.
        events: By the event's own id.
    """

    tenants: dict[str, Tenant] = field(default_factory=dict)
    keys: dict[KeyOfTenant, ApiKey] = field(default_factory=dict)
    payments: dict[KeyOfTenant, Payment] = field(default_factory=dict)
    claims: dict[KeyOfTenant, str] = field(default_factory=dict)
    transfers: defaultdict[KeyOfTenant, list[Transfer]] = field(
        default_factory=lambda: defaultdict(list)
    )
    refunds: defaultdict[KeyOfTenant, list[Refund]] = field(
        default_factory=lambda: defaultdict(list)
    )
    booked: dict[KeyOfTenant, BookedTransfer] = field(default_factory=dict)
    accounts: dict[KeyOfTenant, OpenAccount] = field(default_factory=dict)
    events: dict[KeyOfTenant, Event] = field(default_factory=dict)
    records: dict[KeyOfTenant, StoredReply] = field(default_factory=dict)

    def post(self, posting: Posting) -> Posted | Replayed | Mismatched | Expired:
        """Commit payment, transfer, record and event together, unless the claim is taken."""
        taken = self.settled(posting.claim)
        if taken is not None:
            return taken
        self.insert_payment(posting)
        self.insert_record(posting)
        return Posted()

    def post_together(self, postings: tuple[Posting, ...]) -> tuple[Outcome, ...]:
        """Post all of a batch, or nothing where a claim of it cannot be replayed."""
        taken = [self.settled(posting.claim) for posting in postings]
        fits = all(one is None or isinstance(one, Replayed) for one in taken)
        if not fits:
            return tuple(Aborted() if one is None else one for one in taken)
        return tuple(self.post(posting) for posting in postings)

    def insert_payment(self, posting: Posting) -> None:
        """Write the payment with its transfer and event."""
        claim, payment_id = posting.claim, posting.payment.id
        self.payments[claim.tenant_id, payment_id] = posting.payment
        self.claims[claim.tenant_id, claim.key] = payment_id
        self.transfers[claim.tenant_id, payment_id].append(posting.transfer)
        self.events[claim.tenant_id, posting.event.id] = posting.event

    def insert_record(self, posting: Posting) -> None:
        """Write the idempotency record."""
        self.records[posting.claim.tenant_id, posting.claim.key] = posting.reply

    def change(
        self, effect: ChangePayment
    ) -> Changed | Replayed | Mismatched | Expired | Refused | None:
        """Change a payment as the rule decides, unless the claim is taken."""
        claim = effect.claim
        taken = self.settled(claim)
        if taken is not None:
            return taken
        decided = self.decide(effect)
        return self.write(decided, claim) if isinstance(decided, Change) else decided

    def decide(self, effect: ChangePayment) -> Change | Refused | None:
        """What the rule says about a change of this payment as it is now."""
        place = (effect.claim.tenant_id, effect.payment_id)
        return self._decide(place, effect.command, uuid=effect.uuid, now=effect.now)

    def write(self, decided: Change, claim: Claim) -> Changed:
        """Write a change and the record of its reply."""
        self._write(decided, claim.tenant_id)
        reply = decided.reply(claim)
        self.records[claim.tenant_id, claim.key] = reply
        return Changed(reply)

    def expire(self, place: KeyOfTenant, *, uuid: int, now: datetime) -> bool:
        """Release what is left of an authorization whose time is over, if nobody did before."""
        decided = self._decide(place, Command(Action.EXPIRE), uuid=uuid, now=now)
        if not isinstance(decided, Change):
            return False
        self._write(decided, place[0])
        return True

    def due(self, *, now: datetime, at_most: int) -> list[KeyOfTenant]:
        """Where authorizations stand whose time is over, the oldest first."""
        due = [
            (payment.expires_at, place)
            for place, payment in self.payments.items()
            if payment.expires_at is not None and payment.expires_at <= now
        ]
        return [place for _, place in sorted(due)[:at_most]]

    def settled(self, claim: Claim) -> Replayed | Mismatched | Expired | None:
        """What a claim gets whose key was used before; None if it was not."""
        taken = self.find_record(claim)
        return settle(claim, taken) if isinstance(taken, StoredReply) else taken

    def find_record(self, claim: Claim) -> StoredReply | Expired | None:
        """The reply under the claim's key; `Expired` where only the payment is left."""
        place = (claim.tenant_id, claim.key)
        if place in self.records:
            return self.records[place]
        return Expired(self.claims[place]) if place in self.claims else None

    def list_payments(self, effect: ListPayments) -> tuple[Payment, ...]:
        """The newest payments that pass the filter."""
        own = (
            one for (tenant_id, _), one in self.payments.items() if tenant_id == effect.tenant_id
        )
        older = (one for one in own if effect.after is None or one.id < effect.after)
        shown = (one for one in older if _passes(one, effect.filter))
        return tuple(sorted(shown, key=lambda one: one.id, reverse=True)[: effect.limit])

    def list_entries(self, tenant_id: str, payment_id: str) -> tuple[Entry, ...] | None:
        """The entries of a payment, if this tenant has it."""
        if (tenant_id, payment_id) not in self.payments:
            return None
        transfers = sorted(self.transfers[tenant_id, payment_id], key=lambda one: one.id)
        return tuple(entry for one in transfers for entry in entries(one))

    def list_refunds(self, tenant_id: str, payment_id: str) -> tuple[Refund, ...] | None:
        """The refunds of a payment, if this tenant has it."""
        if (tenant_id, payment_id) not in self.payments:
            return None
        return tuple(sorted(self.refunds[tenant_id, payment_id], key=lambda one: one.id))

    def put_tenant(self, tenant_id: str, spec: TenantSpec, *, now: datetime) -> Registration:
        """Write the tenant as `register` decides."""
        decision = register(tenant_id, spec, observed=self.tenants.get(tenant_id), now=now)
        if isinstance(decision, Written):
            self.tenants[tenant_id] = decision.tenant
        return decision

    def list_tenants(self, *, after: str | None, limit: int) -> tuple[Tenant, ...]:
        """Tenants in the order of their ids."""
        ids = sorted(one for one in self.tenants if after is None or one > after)
        return tuple(self.tenants[one] for one in ids[:limit])

    def close_tenant(self, tenant_id: str, *, now: datetime) -> Tenant | None:
        """Close the tenant and revoke its keys; a closed one stays as it is."""
        tenant = self.tenants.get(tenant_id)
        if tenant is None or tenant.closed_at is not None:
            return tenant
        self.tenants[tenant_id] = replace(tenant, closed_at=now)
        for key in self.list_keys(tenant_id) or ():
            self.revoke_key(tenant_id, key.id, now=now)
        return self.tenants[tenant_id]

    def put_key(self, key: ApiKey) -> KeyOutcome:
        """Write the key as `register_key` decides."""
        holder = next((place for place, one in self.keys.items() if one.digest == key.digest), None)
        outcome = register_key(
            key,
            tenant=self.tenants.get(key.tenant_id),
            observed=self.keys.get((key.tenant_id, key.id)),
            digest_holder=holder,
        )
        if isinstance(outcome, KeyWritten):
            self.keys[key.tenant_id, key.id] = outcome.key
        return outcome

    def list_keys(self, tenant_id: str) -> tuple[ApiKey, ...] | None:
        """All keys of a tenant, if there is one."""
        if tenant_id not in self.tenants:
            return None
        return tuple(key for key in self.keys.values() if key.tenant_id == tenant_id)

    def revoke_key(self, tenant_id: str, key_id: str, *, now: datetime) -> ApiKey | None:
        """Revoke one key; a revoked one keeps its instant."""
        key = self.keys.get((tenant_id, key_id))
        if key is not None and key.revoked_at is None:
            key = replace(key, revoked_at=now)
            self.keys[tenant_id, key_id] = key
        return key

    def find_key(self, digest: str) -> Credential | None:
        """The key of this digest with its tenant."""
        key = next((one for one in self.keys.values() if one.digest == digest), None)
        return None if key is None else Credential(key, self.tenants[key.tenant_id])

    def _decide(
        self, place: KeyOfTenant, command: Command, *, uuid: int, now: datetime
    ) -> Change | Refused | None:
        payment = self.payments.get(place)
        if payment is None:
            return None
        open_transfers = _open(self.transfers[place])
        return change(payment, command, open_transfers=open_transfers, uuid=uuid, now=now)

    def _write(self, decided: Change, tenant_id: str) -> None:
        place = (tenant_id, decided.payment.id)
        self.payments[place] = decided.payment
        self.transfers[place] += decided.transfers
        self.events[tenant_id, decided.event.id] = decided.event
        if decided.refund is not None:
            self.refunds[place].append(decided.refund)


def _open(transfers: list[Transfer]) -> tuple[OpenTransfer, ...]:
    """What is left of each authorization and capture, in the order of their ids."""
    reversed_minor: Counter[str | None] = Counter()
    for one in transfers:
        reversed_minor[one.reverses] += one.money.amount_minor
    return tuple(
        OpenTransfer(one, one.money.amount_minor - reversed_minor[one.id])
        for one in sorted(transfers, key=lambda one: one.id)
        if one.kind in REVERSED
    )


def _passes(payment: Payment, wanted: PaymentFilter) -> bool:
    return (
        wanted.status in (None, payment.status)
        and wanted.currency in (None, payment.money.currency)
        and wanted.reference in (None, payment.reference)
        and (wanted.created_gte is None or wanted.created_gte <= payment.created_at)
        and (wanted.created_lt is None or payment.created_at < wanted.created_lt)
    )
